/** A worker runs jobs one after the other, as a kernel workqueue with one thread does. */
import type { Sim, Task } from "./sim.ts";

/** One task that takes jobs from a queue in the order in which they were posted. */
export class Worker {
  #sim: Sim;
  #jobs: (() => Task)[] = [];
  #running = false;
  #closed = false;

  /** An idle worker. */
  constructor(sim: Sim) {
    this.#sim = sim;
  }

  /** Whether no job runs or waits. */
  get idle(): boolean {
    return !this.#running && this.#jobs.length === 0;
  }

  /** Appends a job; it starts as an event of the present instant when the worker is idle. */
  post(job: () => Task): void {
    if (this.#closed) return;
    this.#jobs.push(job);
    if (this.#running) return;
    this.#running = true;
    this.#sim.spawn(this.#run());
  }

  /** Drops the jobs that wait and takes no more; the one that runs goes on to its end. */
  close(): void {
    this.#closed = true;
    this.#jobs.length = 0;
  }

  *#run(): Task {
    for (let job = this.#jobs.shift(); job !== undefined; job = this.#jobs.shift()) yield* job();
    this.#running = false;
  }
}
