/**
 * Merges the users of one virtual CPU to a stream of operations.
 *
 * The user that is due first acts; what it asks for follows without a pause, so that a burst takes as long as its operations
 * cost. As in every closed loop a pause is the time from one act to the next: costs and stalls delay what follows.
 */
import { Op, OpColumns, OpFlag, type OpStream } from "../../sim/guest/operations.ts";
import { MOVABLE, PAGEBLOCK_ORDER } from "../../sim/guest/allocator.ts";
import type { MemoryUser, OpSink } from "./user.ts";

/** Handles of one slab; a huge page fault takes one whole, as it may need a handle for each page. */
const SLAB = 512;

/** A user and the phase it belongs to. */
export interface PhaseUser {
  /** The user. */
  readonly user: MemoryUser;
  /** Start of its phase, ns. */
  readonly startNs: number;
  /** End of its phase, ns. */
  readonly endNs: number;
  /** Whether what it holds at the end stays allocated. */
  readonly keep: boolean;
}

/** The handles of one CPU: slabs of 512 that alternate between the CPUs, above the ranges of files. */
class HandleSlabs {
  #next: number;
  #step: number;
  #free: number[] = [];
  #slabs: number[] = [];

  constructor(first: number, cpu: number, cpus: number) {
    this.#next = first + cpu * SLAB;
    this.#step = cpus * SLAB;
  }

  take(): number {
    if (this.#free.length === 0) {
      const base = this.takeSlab();
      for (let n = SLAB - 1; n >= 0; n--) this.#free.push(base + n);
    }
    return this.#free.pop()!;
  }

  give(handle: number): void {
    this.#free.push(handle);
  }

  takeSlab(): number {
    const reused = this.#slabs.pop();
    if (reused !== undefined) return reused;
    const base = this.#next;
    this.#next += this.#step;
    return base;
  }

  giveSlab(base: number): void {
    this.#slabs.push(base);
  }
}

/** The stream of one CPU, which is also where its users put their operations. */
export class UserStream implements OpStream, OpSink {
  readonly open = false;
  readonly cpu: number;
  nowNs = 0;
  #users: PhaseUser[];
  #durationNs: number;
  #handles: HandleSlabs;
  /** Handles of huge faults in use. */
  #huge = new Set<number>();
  #pending = new OpColumns(1024);
  #row = 0;
  #count = 0;
  /** When the last operation was, since the start, ns. */
  #timeNs = 0;
  /** Pause before the next operation. */
  #pauseNs = 0;
  #ended = false;

  /** A stream of `users` until `durationNs`; handles below `firstHandle` belong to files. */
  constructor(users: readonly PhaseUser[], durationNs: number, firstHandle: number, cpu: number, cpus: number) {
    this.#users = [...users];
    this.#durationNs = durationNs;
    this.#handles = new HandleSlabs(firstHandle, cpu, cpus);
    this.cpu = cpu;
  }

  fill(columns: OpColumns): number {
    let rows = 0;
    while (rows < columns.size) {
      if (this.#row < this.#count) {
        const count = Math.min(columns.size - rows, this.#count - this.#row);
        rows += this.#copy(columns, rows, count);
      } else if (!this.#act()) break;
    }
    return rows;
  }

  alloc(order: number, migratetype: number, touch: number, flags = 0): number {
    const handle = this.#handles.take();
    this.#add(Op.alloc, handle, order, migratetype, touch, flags);
    return handle;
  }

  allocHuge(touch: number): number {
    const handle = this.#handles.takeSlab();
    this.#huge.add(handle);
    this.#add(Op.alloc, handle, PAGEBLOCK_ORDER, MOVABLE, touch, OpFlag.fallback);
    return handle;
  }

  free(handle: number): void {
    if (this.#huge.delete(handle)) {
      this.#add(Op.free, handle, PAGEBLOCK_ORDER, 0, 0, OpFlag.fallback);
      this.#handles.giveSlab(handle);
      return;
    }
    this.#add(Op.free, handle, 0, 0, 0, 0);
    this.#handles.give(handle);
  }

  touch(handle: number, pages: number): void {
    this.#add(Op.touch, handle, 0, 0, pages, 0);
  }

  read(handle: number, order: number): void {
    this.#add(Op.alloc, handle, order, MOVABLE, 2 ** order, OpFlag.cache);
  }

  dropCaches(what: number): void {
    this.#add(Op.dropCaches, 0, 0, 0, what, 0);
  }

  /** Lets the user that is due first act, or a phase end; false at the end of the stream. */
  #act(): boolean {
    this.#row = this.#count = 0;
    let first: PhaseUser | undefined;
    let firstNs = Infinity;
    for (const phaseUser of this.#users) {
      const dueNs = Math.min(phaseUser.startNs + phaseUser.user.dueNs, phaseUser.endNs);
      if (dueNs < firstNs) [first, firstNs] = [phaseUser, dueNs];
    }
    if (first === undefined) return this.#waitForEnd();
    const timeNs = Math.max(firstNs, this.#timeNs);
    this.#pauseNs += timeNs - this.#timeNs;
    this.#timeNs = timeNs;
    this.nowNs = timeNs - first.startNs;
    if (firstNs < first.endNs) first.user.act(this);
    else {
      this.#users.splice(this.#users.indexOf(first), 1);
      if (!first.keep) first.user.end(this);
    }
    return true;
  }

  #waitForEnd(): boolean {
    if (this.#ended) return false;
    this.#ended = true;
    this.#pauseNs += this.#durationNs - this.#timeNs;
    this.#add(Op.wait, 0, 0, 0, 0, 0);
    return true;
  }

  #add(kind: number, handle: number, order: number, migratetype: number, touch: number, flags: number): void {
    if (this.#count === this.#pending.size) this.#grow();
    this.#pending.set(
      this.#count++,
      kind,
      handle,
      order,
      migratetype,
      this.#pauseNs,
      touch,
      this.cpu,
      -1,
      -1,
      flags,
    );
    this.#pauseNs = 0;
  }

  #grow(): void {
    const larger = new OpColumns(2 * this.#count);
    larger.copy(this.#pending, 0, this.#count);
    this.#pending = larger;
  }

  #copy(columns: OpColumns, row: number, count: number): number {
    const from = this.#pending;
    for (let n = 0; n < count; n++) {
      const at = this.#row++;
      columns.set(
        row + n,
        from.kind[at],
        from.handle[at],
        from.order[at],
        from.migratetype[at],
        from.timeNs[at],
        from.touch[at],
        this.cpu,
        -1,
        -1,
        from.flags[at],
      );
    }
    return count;
  }
}
