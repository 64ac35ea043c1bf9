/** A thread of the VMM that serves several queues, one message at a time, in the order in which they asked. */
import { Signal, type Sim, type Task } from "../core/sim.ts";

/** The main loop of a VMM, or an I/O thread. */
export class HostThread {
  #sim: Sim;
  #busy = false;
  #waiting: Signal[] = [];

  /** A thread that has nothing to do. */
  constructor(sim: Sim) {
    this.#sim = sim;
  }

  /** Waits for the thread and takes it. */
  *enter(): Task {
    if (!this.#busy) {
      this.#busy = true;
      return;
    }
    const turn = new Signal();
    this.#waiting.push(turn);
    yield turn;
  }

  /** Lets go of the thread; whoever waits longest has it now. */
  leave(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#busy = false;
    else this.#sim.notify(next);
  }
}
