/**
 * The engine: a clock in integer nanoseconds, a totally ordered event list, and tasks.
 *
 * Events run in the order (time, priority, insertion). A task is a generator that yields what it waits for: a number of
 * nanoseconds or a {@link Signal}. Nothing here is asynchronous and nothing reads the wall clock.
 */
import { LadderQueue } from "./ladder_queue.ts";
import { Trace } from "./trace.ts";

/** What a task waits for: a delay in ns, or a signal. */
export type Wait = number | Signal;

/** A process of the model. It yields {@link Wait}s and may return a result to the task that delegates to it. */
export type Task<T = void> = Generator<Wait, T, void>;

/** Runs one event: `target` and `payload` are what was given to {@link Sim.at}. */
export type Handler = (target: number, payload: number) => void;

/** How {@link Sim.run} ended: nothing left, the time limit, the event limit of this call, a pause, or a halt. */
export type RunEnd = "done" | "until" | "limit" | "paused" | "halted";

/** The largest virtual time: 2^53 ns, 104 days. */
export const TIME_MAX_NS: number = Number.MAX_SAFE_INTEGER;

/** A condition that tasks can wait for. A task that waits is resumed at the time of the next notification. */
export class Signal {
  /** Slots of the waiting tasks, in the order of arrival. For the engine only. */
  readonly waiting: number[] = [];
}

/** A time that has to be asked of the queue. */
const UNKNOWN = -1;

/** The priority of an ordinary event; smaller numbers run first at the same time. */
export const PRIORITY_NORMAL = 0;
/** The priority of what comes before all events of an instant, such as the end of a run. */
export const PRIORITY_FIRST = -100;

/**
 * A simulation.
 *
 * ```ts
 * import { Sim, type Task } from "./sim.ts";
 * const sim = new Sim();
 * function* tick(): Task {
 *   for (let i = 0; i < 3; i++) yield 10;
 * }
 * sim.spawn(tick());
 * sim.run();
 * if (sim.now !== 30) throw new Error("expected 30 ns");
 * ```
 */
export class Sim {
  /** The trace that the models write. */
  readonly trace: Trace;
  #now = 0;
  #queue = new LadderQueue();
  #handlers: Handler[] = [];
  #names: string[] = [];
  #tasks: (Task | undefined)[] = [];
  #freeTasks: number[] = [];
  #executed = 0;
  #lastKind = -1;
  #halted: string | undefined;
  #paused = false;
  /** The limits of the present {@link Sim.run}; outside of one no time may pass. */
  #untilNs = -1;
  #stopAt = 0;
  /** Time of the next event, where it is known: it is asked for after each operation that needs no event. */
  #nextNs = UNKNOWN;
  readonly #resumeKind: number;

  /** A simulation at time 0. Without a trace, rows go nowhere. */
  constructor(trace: Trace = new Trace([])) {
    this.trace = trace;
    this.#resumeKind = this.register("task", (slot) => this.#resume(slot));
  }

  /** The virtual time, ns. */
  get now(): number {
    return this.#now;
  }

  /** Events run so far. */
  get executed(): number {
    return this.#executed;
  }

  /** Events waiting. */
  get pending(): number {
    return this.#queue.size;
  }

  /** Why the run was halted, or undefined. */
  get haltReason(): string | undefined {
    return this.#halted;
  }

  /** The time of the next event, ns; Infinity when there is none. */
  get nextTimeNs(): number {
    return this.#queue.peekTimeNs();
  }

  /** Names a kind of event and the function that runs it; returns the kind. At most 65,535 kinds. */
  register(name: string, handler: Handler): number {
    this.#names.push(name);
    return this.#handlers.push(handler) - 1;
  }

  /**
   * Schedules an event of `kind` at `timeNs`, an integer not before now. Returns a handle for {@link Sim.cancel}.
   * Throws RangeError for a time in the past, a fraction, or one beyond {@link TIME_MAX_NS}.
   */
  at(timeNs: number, kind: number, target = 0, payload = 0, priority: number = PRIORITY_NORMAL): number {
    if (!(timeNs >= this.#now && timeNs <= TIME_MAX_NS) || Math.floor(timeNs) !== timeNs) {
      throw new RangeError(`Cannot schedule "${this.#names[kind]}" at ${timeNs} ns when it is ${this.#now} ns`);
    }
    return this.#push(timeNs, kind, target, payload, priority);
  }

  /** Schedules an event `delayNs` from now; see {@link Sim.at}. */
  after(delayNs: number, kind: number, target = 0, payload = 0, priority: number = PRIORITY_NORMAL): number {
    return this.at(this.#now + delayNs, kind, target, payload, priority);
  }

  /**
   * Moves the clock on to `timeNs`, as an event of `kind` would, when nothing else happens before and the present
   * {@link Sim.run} may go on: the caller then does at once what its event would have done. Else false, and the caller schedules
   * its event. An event that a handler schedules for itself needs no queue this way.
   */
  proceed(timeNs: number, kind: number): boolean {
    if (timeNs > this.#untilNs || this.#executed >= this.#stopAt) return false;
    if (this.#nextNs === UNKNOWN) this.#nextNs = this.#queue.peekTimeNs();
    if (timeNs >= this.#nextNs) return false;
    if (this.#paused || this.#halted !== undefined || timeNs < this.#now || Math.floor(timeNs) !== timeNs) return false;
    if (timeNs !== this.#now) this.#moveTo(timeNs);
    this.#executed++;
    this.#lastKind = kind;
    return true;
  }

  /** Takes an event out of the list in constant time; false when it has run or was cancelled. */
  cancel(handle: number): boolean {
    this.#nextNs = UNKNOWN;
    return this.#queue.cancel(handle);
  }

  /** Starts a task: its first step runs as an event of the present instant. */
  spawn(task: Task): void {
    const slot = this.#freeTasks.pop() ?? this.#tasks.length;
    this.#tasks[slot] = task;
    this.#push(this.#now, this.#resumeKind, slot, 0, PRIORITY_NORMAL);
  }

  /** Resumes every task that waits for the signal, in the order in which they came. */
  notify(signal: Signal): void {
    const waiting = signal.waiting;
    for (let i = 0; i < waiting.length; i++) {
      this.#push(this.#now, this.#resumeKind, waiting[i], 0, PRIORITY_NORMAL);
    }
    waiting.length = 0;
  }

  /** Makes {@link Sim.run} return after the present event; the next call goes on. */
  pause(): void {
    this.#paused = true;
  }

  /** Ends the run after the present event, with a reason that the caller reports as a finding. */
  halt(reason: string): void {
    this.#halted ??= reason;
  }

  /**
   * Runs events up to and including `untilNs`, at most `eventsMax` of them.
   * After "until" the clock stands at `untilNs`, after "done" at the last event. A run may be cut into calls at any event: the rows are the same.
   */
  run(untilNs = Infinity, eventsMax = Infinity): RunEnd {
    this.#stopAt = this.#executed + eventsMax;
    this.#untilNs = Math.min(untilNs, TIME_MAX_NS);
    this.#paused = false;
    try {
      return this.#loop();
    } finally {
      this.#untilNs = -1;
    }
  }

  /** Where the run stands, for messages about limits: the last kind of event, the time, and what waits. */
  where(): string {
    const last = this.#lastKind < 0 ? "the start" : `an event of "${this.#names[this.#lastKind]}"`;
    return `at ${this.#now} ns, after ${last}, with ${this.#queue.size} events pending`;
  }

  #loop(): RunEnd {
    const queue = this.#queue;
    const handlers = this.#handlers;
    while (this.#halted === undefined) {
      if (this.#paused) return "paused";
      if (this.#executed >= this.#stopAt) return this.#endAtLimit();
      if (!queue.popUntil(this.#untilNs)) return this.#endWithout();
      const { kind, timeNs } = queue;
      this.#nextNs = UNKNOWN;
      if (timeNs !== this.#now) this.#moveTo(timeNs);
      this.#executed++;
      this.#lastKind = kind;
      handlers[kind](queue.target, queue.payload);
    }
    return "halted";
  }

  /** No event is due: none is left, or the limit of time is reached. */
  #endWithout(): RunEnd {
    if (this.#queue.size === 0) return "done";
    if (this.#untilNs > this.#now) this.#moveTo(this.#untilNs);
    return "until";
  }

  /** As many events as wanted have run. Time stands still, so that whoever wants to end here ends at the last of them. */
  #endAtLimit(): RunEnd {
    return this.#queue.size === 0 ? "done" : "limit";
  }

  #push(timeNs: number, kind: number, target: number, payload: number, priority: number): number {
    if (timeNs < this.#nextNs) this.#nextNs = timeNs;
    return this.#queue.push(timeNs, priority, kind, target, payload);
  }

  #moveTo(timeNs: number): void {
    this.#now = timeNs;
    this.trace.timeNs = timeNs;
  }

  #resume(slot: number): void {
    const task = this.#tasks[slot]!;
    for (;;) {
      const step = task.next();
      if (step.done) {
        this.#tasks[slot] = undefined;
        this.#freeTasks.push(slot);
        return;
      }
      if (typeof step.value !== "number") {
        step.value.waiting.push(slot);
        return;
      }
      const timeNs = this.#now + step.value;
      if (this.proceed(timeNs, this.#resumeKind)) continue;
      this.at(timeNs, this.#resumeKind, slot);
      return;
    }
  }
}
