/**
 * A virtual CPU: takes operations from a stream and runs them on the guest.
 *
 * A closed stream pauses after each operation, so that costs and stalls delay what follows. An open stream (a recording) runs
 * operations at their times; only waiting for memory or for the zone lock delays it.
 */
import { Signal, type Sim, type Task } from "../core/sim.ts";
import { Event, NONE } from "../core/trace.ts";
import { ORDER_PAGES } from "../memory/range.ts";
import { FAILED, type Guest } from "./guest.ts";
import { Op, OpColumns, OpFlag, type OpStream } from "./operations.ts";
import { lockedUntilNs } from "./zone_use.ts";

const BATCH = 1024;

/** How often an allocation is tried again after the policy or a returned block gave hope. */
const RETRIES_MAX = 1000;

/** A stream that runs: the rows it filled last, and the next of them. */
interface StreamState {
  readonly stream: OpStream;
  readonly open: boolean;
  readonly columns: OpColumns;
  row: number;
  count: number;
}

/** The virtual CPUs of one guest. */
export class Vcpus {
  /** Streams that have not ended. */
  running = 0;
  /** Operations run. */
  operations = 0;
  /** Notified when the last stream has ended. */
  readonly finished: Signal = new Signal();
  #sim: Sim;
  #guest: Guest;
  #streams: StreamState[] = [];
  #kind: number;
  #stopped = false;

  /** CPUs that run operations on `guest`. */
  constructor(sim: Sim, guest: Guest) {
    this.#sim = sim;
    this.#guest = guest;
    this.#kind = sim.register("workload", (index) => this.#step(index));
  }

  /** Starts a stream now. */
  start(stream: OpStream): void {
    const columns = new OpColumns(BATCH);
    const index = this.#streams.push({ stream, open: stream.open, columns, row: 0, count: 0 }) - 1;
    this.running++;
    this.#next(index, 0);
  }

  /** No operation starts any more. */
  stop(): void {
    this.#stopped = true;
  }

  /** Schedules the next operation of a stream; `costNs` is what the one before took. */
  #next(index: number, costNs: number): void {
    const timeNs = this.#nextTimeNs(this.#streams[index], costNs);
    if (timeNs >= 0) this.#sim.at(timeNs, this.#kind, index);
  }

  /** When the next operation of a stream is due, ns; -1 at the end of the stream. */
  #nextTimeNs(state: StreamState, costNs: number): number {
    if (state.row === state.count && !this.#refill(state)) return -1;
    const timeNs = state.columns.timeNs[state.row];
    const now = this.#sim.now;
    if (!state.open) return now + costNs + timeNs;
    return timeNs > now ? timeNs : now;
  }

  #refill(state: StreamState): boolean {
    state.row = 0;
    state.count = state.stream.fill(state.columns);
    if (state.count > 0) return true;
    if (--this.running === 0) this.#sim.notify(this.finished);
    return false;
  }

  /** Runs operations of a stream until something else happens before the next one, or one has to wait. */
  #step(index: number): void {
    const state = this.#streams[index];
    for (;;) {
      if (this.#stopped) return;
      const costNs = this.#operate(index, state);
      if (costNs < 0) return;
      state.row++;
      const timeNs = this.#nextTimeNs(state, costNs);
      if (timeNs < 0) return;
      if (this.#sim.proceed(timeNs, this.#kind)) continue;
      this.#sim.at(timeNs, this.#kind, index);
      return;
    }
  }

  /** Runs one operation; returns what it takes, ns, or -1 when it goes on as an event or a task of its own. */
  #operate(index: number, { columns, row }: StreamState): number {
    const guest = this.#guest;
    const kind = columns.kind[row];
    const handle = columns.handle[row];
    const cpu = columns.cpu[row];
    if (kind <= Op.free && guest.locksUntilNs > this.#sim.now && this.#waitsForLock(index)) return -1;
    this.operations++;
    if (kind === Op.free) return guest.free(handle, cpu);
    if (kind === Op.touch) return guest.touch(handle, columns.touch[row], cpu);
    if (kind !== Op.alloc) return 0;
    const order = columns.order[row];
    const atomic = (columns.flags[row] & OpFlag.atomic) !== 0;
    const costNs = guest.alloc(handle, order, columns.migratetype[row], columns.zone[row], cpu, atomic);
    if (atomic && costNs === FAILED) {
      guest.allocFailed(handle, order, columns.zone[row], cpu);
      return 0;
    }
    if (costNs !== FAILED && !guest.needsUse(handle)) return costNs + guest.use(handle, columns.touch[row], cpu);
    this.#sim.spawn(this.#finishAlloc(index, costNs));
    return -1;
  }

  /** While the driver holds the zone lock an operation waits: the step runs again when the lock is free. */
  #waitsForLock(index: number): boolean {
    const { columns, row } = this.#streams[index];
    const free = columns.kind[row] === Op.free;
    const zone = free ? this.#guest.zoneOfHandle(columns.handle[row]) : columns.zone[row];
    if (free && zone < 0) return false;
    const waitNs = lockedUntilNs(this.#guest.zones, zone, ORDER_PAGES[columns.order[row]]) - this.#sim.now;
    if (waitNs <= 0) return false;
    this.#stallRow(waitNs, columns.cpu[row]);
    this.#sim.after(waitNs, this.#kind, index);
    return true;
  }

  /** The slow way of an allocation: waits for memory that the driver has or can get, then runs the policy's hook. */
  *#finishAlloc(index: number, firstNs: number): Task {
    const { columns, row } = this.#streams[index];
    const guest = this.#guest;
    const handle = columns.handle[row];
    const order = columns.order[row];
    const cpu = columns.cpu[row];
    const startNs = this.#sim.now;
    let costNs = firstNs;
    for (let tries = 0; costNs === FAILED && tries < RETRIES_MAX; tries++) {
      // The first try again is at once: blocks may have come back in this very instant.
      if (tries > 0 && (!(yield* this.#memoryMayReturn(order)) || this.#stopped)) break;
      costNs = guest.alloc(handle, order, columns.migratetype[row], columns.zone[row], cpu);
    }
    if (this.#stopped) return;
    if (this.#sim.now > startNs) this.#stallRow(this.#sim.now - startNs, cpu);
    if (costNs === FAILED) {
      guest.allocFailed(handle, order, columns.zone[row], cpu);
      costNs = 0;
    } else {
      if (guest.needsUse(handle)) yield* guest.beforeUse(handle);
      costNs += guest.use(handle, columns.touch[row], cpu);
    }
    this.#streams[index].row++;
    this.#next(index, costNs);
  }

  /**
   * Lets the policy get memory back, or waits for blocks that the driver is about to put back, or for kswapd to lower the marks;
   * false when none of it helps.
   */
  *#memoryMayReturn(order: number): Task<boolean> {
    const guest = this.#guest;
    if (guest.policy.onPressure !== undefined && (yield* guest.policy.onPressure(order))) return true;
    const heldPages = guest.policy.keepsHeld ? 0 : guest.heldPages;
    if (guest.isolatedPages + heldPages === 0 && !guest.marksBoosted) return false;
    yield guest.returned;
    return true;
  }

  #stallRow(waitNs: number, cpu: number): void {
    this.#sim.trace.write(Event.stall, NONE, NONE, NONE, NONE, NONE, NONE, waitNs, this.#guest.index, cpu);
  }
}
