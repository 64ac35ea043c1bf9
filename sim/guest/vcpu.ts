/**
 * A virtual CPU: takes operations from a stream and runs them on the guest.
 *
 * A closed stream pauses after each operation, so that costs and stalls delay what follows. An open stream (a recording) runs
 * operations at their times; only waiting for memory or for the zone lock delays it.
 */
import { Signal, type Sim, type Task } from "../core/sim.ts";
import { ORDER_PAGES } from "../memory/range.ts";
import { FAILED, type Guest } from "./guest.ts";
import { Op, OpColumns, OpFlag, type OpStream } from "./operations.ts";
import { FolioFault, freeFolios, touchFolios } from "./folio_fault.ts";
import { PageRequests } from "./page_requests.ts";
import { dropCaches, reclaimPages } from "./slow_path.ts";
import { lockedUntilNs } from "./zone_use.ts";

const BATCH = 1024;

/** A stream that runs: the rows it filled last, and the next of them. */
interface StreamState {
  readonly stream: OpStream;
  readonly open: boolean;
  readonly columns: OpColumns;
  row: number;
  count: number;
}

/** The order of the folios that a fault wants. */
function wantedOrder({ flags, order }: OpColumns, row: number): number {
  return (flags[row] & OpFlag.singles) !== 0 ? 0 : order[row];
}

/** Whether an operation cannot wait. */
function isAtomic({ flags }: OpColumns, row: number): boolean {
  return (flags[row] & OpFlag.atomic) !== 0;
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
  #folio: FolioFault;
  #requests: PageRequests;

  /** CPUs that run operations on `guest`. */
  constructor(sim: Sim, guest: Guest) {
    this.#sim = sim;
    this.#guest = guest;
    this.#folio = new FolioFault(guest);
    this.#requests = new PageRequests(sim, guest);
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
    this.#requests.stopped = true;
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
      if (this.#requests.stopped) return;
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
    const owner = columns.owner[row];
    if (owner !== 0 && guest.oom.isDead(owner)) return 0;
    if (kind <= Op.free && guest.locksUntilNs > this.#sim.now && this.#waitsForLock(index)) return -1;
    this.operations++;
    const flags = columns.flags[row];
    const order = columns.order[row];
    const folios = (flags & OpFlag.fallback) !== 0;
    if (kind === Op.free) return folios ? freeFolios(guest, handle, order, cpu) : guest.free(handle, cpu);
    if (kind === Op.touch) {
      const touch = columns.touch[row];
      return folios ? touchFolios(guest, handle, order, touch, cpu) : guest.touch(handle, touch, cpu);
    }
    if (kind === Op.dropCaches || kind === Op.reclaim) {
      this.#sim.spawn(this.#housework(index));
      return -1;
    }
    if (kind !== Op.alloc) return 0;
    const cache = (flags & OpFlag.cache) !== 0;
    if (cache && guest.hit(handle)) return 0;
    guest.oom.own(handle, folios ? ORDER_PAGES[order] : 1, cache ? 0 : owner);
    if (folios) return this.#faultFolios(index);
    const atomic = isAtomic(columns, row);
    const costNs = guest.alloc(handle, order, columns.migratetype[row], columns.zone[row], cpu, atomic);
    if (atomic && costNs === FAILED) {
      guest.allocFailed(handle, order, columns.zone[row], cpu);
      return 0;
    }
    if (costNs !== FAILED && !guest.needsUse(handle)) {
      const useNs = guest.use(handle, columns.touch[row], cpu);
      if (cache) guest.mayDrop(handle, columns.migratetype[row]);
      return costNs + useNs;
    }
    this.#sim.spawn(this.#finishAlloc(index, costNs));
    return -1;
  }

  /** A fault of one folio, or of smaller ones. Returns what it takes, ns, or -1 as {@link Vcpus.#operate}. */
  #faultFolios(index: number): number {
    const { columns, row } = this.#streams[index];
    const guest = this.#guest;
    const handle = columns.handle[row];
    const touch = columns.touch[row];
    const cpu = columns.cpu[row];
    const folio = this.#folio;
    const order = wantedOrder(columns, row);
    const pages = ORDER_PAGES[columns.order[row]];
    const atomic = isAtomic(columns, row);
    let ns = 0;
    for (let page = 0; page < pages;) {
      const takenNs = folio.take(handle, page, order, columns.migratetype[row], cpu, atomic);
      ns += folio.workNs;
      if (takenNs === FAILED && atomic) {
        guest.allocFailed(handle + page, 0, columns.zone[row], cpu);
        return ns;
      }
      if (takenNs === FAILED || guest.needsUse(handle + page)) {
        this.#sim.spawn(this.#finishFolios(index, page, takenNs, ns, folio.order));
        return -1;
      }
      ns += takenNs + guest.use(handle + page, Math.max(0, touch - page), cpu);
      page += ORDER_PAGES[folio.order];
    }
    return ns;
  }

  /** The rest of a fault from a folio on whose allocation took `firstNs`, or failed; `doneNs` is the time so far. */
  *#finishFolios(index: number, from: number, firstNs: number, doneNs: number, firstOrder: number): Task {
    const { columns, row } = this.#streams[index];
    const handle = columns.handle[row];
    const touch = columns.touch[row];
    const cpu = columns.cpu[row];
    const migratetype = columns.migratetype[row];
    const wanted = wantedOrder(columns, row);
    const owner = columns.owner[row];
    const pages = ORDER_PAGES[columns.order[row]];
    const atomic = isAtomic(columns, row);
    let ns = doneNs;
    for (let page = from; page < pages;) {
      const first = page === from;
      const takenNs = first ? firstNs : this.#folio.take(handle, page, wanted, migratetype, cpu, atomic);
      // A huge page is tried for with the first page alone, which the step has done.
      const order = first ? firstOrder : this.#folio.order;
      const request = { handle: handle + page, order, migratetype, zone: -1, cpu, owner };
      if (takenNs === FAILED && atomic) {
        this.#guest.allocFailed(handle + page, 0, -1, cpu);
        break;
      }
      const useNs: number = yield* this.#requests.takeAndUse(request, Math.max(0, touch - page), takenNs);
      if (useNs === FAILED && this.#requests.stopped) return;
      // Where one page cannot be had the next cannot, either.
      if (useNs === FAILED) break;
      ns += useNs;
      page += ORDER_PAGES[order];
    }
    this.#streams[index].row++;
    this.#next(index, ns);
  }

  /** Drops caches or reclaims; the stream goes on when that is done. */
  *#housework(index: number): Task {
    const { columns, row } = this.#streams[index];
    const drops = columns.kind[row] === Op.dropCaches;
    yield* (drops ? dropCaches : reclaimPages)(this.#guest, columns.touch[row], columns.cpu[row]);
    if (this.#requests.stopped) return;
    this.#streams[index].row++;
    this.#next(index, 0);
  }

  /** While the driver holds the zone lock an operation waits: the step runs again when the lock is free. */
  #waitsForLock(index: number): boolean {
    const { columns, row } = this.#streams[index];
    const free = columns.kind[row] === Op.free;
    const zone = free ? this.#guest.zoneOfHandle(columns.handle[row]) : columns.zone[row];
    if (free && zone < 0) return false;
    const waitNs = lockedUntilNs(this.#guest.zones, zone, ORDER_PAGES[columns.order[row]]) - this.#sim.now;
    if (waitNs <= 0) return false;
    this.#requests.stallRow(waitNs, columns.cpu[row]);
    this.#sim.after(waitNs, this.#kind, index);
    return true;
  }

  /** The slow way of an allocation: gets the pages, and runs the policy's hook; then the stream goes on. */
  *#finishAlloc(index: number, firstNs: number): Task {
    const { columns, row } = this.#streams[index];
    const guest = this.#guest;
    const handle = columns.handle[row];
    const migratetype = columns.migratetype[row];
    const order = columns.order[row];
    const owner = columns.owner[row];
    const request = { handle, order, migratetype, zone: columns.zone[row], cpu: columns.cpu[row], owner };
    const ns = yield* this.#requests.takeAndUse(request, columns.touch[row], firstNs);
    if (ns === FAILED && this.#requests.stopped) return;
    if (ns !== FAILED && (columns.flags[row] & OpFlag.cache) !== 0) guest.mayDrop(handle, migratetype);
    this.#streams[index].row++;
    this.#next(index, Math.max(0, ns));
  }
}
