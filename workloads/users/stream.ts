/**
 * Merges the users of one virtual CPU to a stream of operations.
 *
 * The user that is due first acts; what it asks for follows without a pause, so that a burst takes as long as its operations
 * cost. As in every closed loop a pause is the time from one act to the next: costs and stalls delay what follows.
 */
import { CapacityError } from "../../sim/core/capacity_error.ts";
import { Op, OpColumns, OpFlag, type OpStream } from "../../sim/guest/operations.ts";
import { MOVABLE, PAGEBLOCK_ORDER } from "../../sim/guest/allocator.ts";
import { ORDER_PAGES } from "../../sim/memory/range.ts";
import type { MemoryUser, OpSink } from "./user.ts";

/** Handles of one slab; a fault of a folio takes a run, as it may need a handle for each page, a huge one the whole slab. */
const SLAB = 512;

/** Handles and numbers of processes alternate between the CPUs up to here: a column holds 32 bits. */
const NUMBER_MAX = 2 ** 31 - 1;

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

/** The handles of one CPU: slabs of 512 that alternate between the CPUs, above the ranges of files; each is cut into equal runs. */
class HandleSlabs {
  #first: number;
  #slabs = 0;
  #step: number;
  /** Free runs, by their order. */
  #free: number[][] = Array.from({ length: PAGEBLOCK_ORDER + 1 }, () => []);
  /** Order of the runs of each slab. */
  #orders: number[] = [];

  constructor(first: number, cpu: number, cpus: number) {
    this.#first = first + cpu * SLAB;
    this.#step = cpus * SLAB;
  }

  /** A run of 2^order handles; its first. Throws {@link CapacityError} when there are no more. */
  take(order: number): number {
    const free = this.#free[order];
    if (free.length === 0) {
      const base = this.#first + this.#slabs++ * this.#step;
      if (base + SLAB - 1 > NUMBER_MAX) {
        throw new CapacityError(
          `a CPU has asked for ${this.#orders.length * SLAB} blocks and pages, as many as it can`,
        );
      }
      this.#orders.push(order);
      for (let n = SLAB - ORDER_PAGES[order]; n >= 0; n -= ORDER_PAGES[order]) free.push(base + n);
    }
    return free.pop()!;
  }

  /** The order of the run that begins with a handle; 0 for a page of a file. */
  orderOf(handle: number): number {
    return handle < this.#first ? 0 : this.#orders[Math.floor((handle - this.#first) / this.#step)];
  }

  /** Takes a run back; a page of a file keeps its handle. */
  give(handle: number): void {
    if (handle >= this.#first) this.#free[this.orderOf(handle)].push(handle);
  }
}

/** The stream of one CPU, which is also where its users put their operations. */
export class UserStream implements OpStream, OpSink {
  readonly open = false;
  readonly cpu: number;
  nowNs = 0;
  owner = 0;
  #users: PhaseUser[];
  #durationNs: number;
  #handles: HandleSlabs;
  #cpus: number;
  /** Processes so far. */
  #owners = 0;
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
    this.#cpus = cpus;
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

  newOwner(): number {
    const owner = this.#owners++ * this.#cpus + this.cpu + 1;
    if (owner > NUMBER_MAX) {
      throw new CapacityError(`a CPU has started ${this.#owners - 1} processes, as many as it can`);
    }
    return owner;
  }

  alloc(order: number, migratetype: number, touch: number, flags = 0): number {
    const handle = this.#handles.take((flags & OpFlag.fallback) !== 0 ? order : 0);
    this.#add(Op.alloc, handle, order, migratetype, touch, order > 0 ? flags : flags & ~OpFlag.fallback);
    return handle;
  }

  fault(order: number, touch: number): number {
    const handle = this.#handles.take(order);
    this.#add(Op.alloc, handle, order, MOVABLE, touch, order > 0 ? OpFlag.fallback : 0);
    return handle;
  }

  faultSingles(order: number): number {
    const handle = this.#handles.take(order);
    this.#add(Op.alloc, handle, order, MOVABLE, ORDER_PAGES[order], OpFlag.fallback | OpFlag.singles);
    return handle;
  }

  free(handle: number): void {
    const order = this.#handles.orderOf(handle);
    this.#add(Op.free, handle, order, 0, 0, order > 0 ? OpFlag.fallback : 0);
    this.#handles.give(handle);
  }

  touch(handle: number, pages: number): void {
    const order = this.#handles.orderOf(handle);
    this.#add(Op.touch, handle, order, 0, pages, order > 0 ? OpFlag.fallback : 0);
  }

  read(handle: number, order: number, migratetype: number = MOVABLE): void {
    this.#add(Op.alloc, handle, order, migratetype, ORDER_PAGES[order], OpFlag.cache);
  }

  dropCaches(what: number): void {
    this.#add(Op.dropCaches, 0, 0, 0, what, 0);
  }

  reclaim(pages: number): void {
    this.#add(Op.reclaim, 0, 0, 0, pages, 0);
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
    this.owner = 0;
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
    this.owner = 0;
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
      this.owner,
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
        from.owner[at],
      );
    }
    return count;
  }
}
