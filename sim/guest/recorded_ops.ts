/**
 * Turning a recording into operations: allocations get numbers, so that a run does not depend on the pages a kernel chose.
 *
 * Operations are the requests of tasks, or what reached the zones below the per-CPU lists (see {@link RowRoles}). A block that
 * is given back in other parts than it was taken in becomes one allocation for each part.
 */
import { InputError } from "../core/options.ts";
import { PageBitmap } from "../memory/bitmap.ts";
import { ORDER_PAGES } from "../memory/range.ts";
import { MOVABLE, ORDER_MAX, UNMOVABLE } from "./allocator.ts";
import { Op, OpColumns, type RecordedState } from "./operations.ts";
import { PartsOfBlocks, type RowRoles } from "./recorded_parts.ts";
import { hasRequests, hasZoneRows, RequestRoles, ZoneRoles } from "./recorded_roles.ts";
import type { Recording } from "./recording.ts";
import { StartBlocks } from "./start_blocks.ts";
import { withoutKept } from "./start_kept.ts";

const SNAPSHOT = "S".charCodeAt(0);

/** The operations of a recording from a snapshot on. */
export interface RecordedOperations {
  /** The operations; times are ns since the snapshot. */
  readonly columns: OpColumns;
  /** Number of operations. */
  readonly count: number;
  /** What was in use at the snapshot and is freed later. */
  readonly start: StartBlocks;
  /** Time of the last row, ns since the snapshot. */
  readonly durationNs: number;
  /** Whether they are what tasks asked for, so that per-CPU lists belong between them and the zones. */
  readonly requests: boolean;
  /** The state in which they begin. */
  readonly state: RecordedState | undefined;
}

/**
 * Reads operations from the snapshot `tag` on: with `perCpu` the requests of tasks, where the recording has them, else what
 * reached the zones. Throws {@link InputError} naming the row.
 */
export function recordedOperations(
  recording: Recording,
  state: RecordedState | undefined,
  tag: string,
  perCpu = false,
): RecordedOperations {
  const first = state === undefined ? 0 : rowOfSnapshot(recording, tag);
  const requests = hasRequests(recording, first) && (perCpu || !hasZoneRows(recording, first));
  const begin = requests && state !== undefined ? withoutKept(state, recording, first) : state;
  return new Reader(recording, begin, first, requests).read();
}

function rowOfSnapshot({ count, event, text }: Recording, tag: string): number {
  for (let row = 0; row < count; row++) if (event[row] === SNAPSHOT && text.get(row) === tag) return row;
  throw new InputError([], `the recording has no snapshot ${JSON.stringify(tag)}`);
}

class Reader {
  #recording: Recording;
  #state: RecordedState | undefined;
  #first: number;
  #requests: boolean;
  #roles: RowRoles;
  /** Handle of the allocation that starts at a page. */
  #owner = new Map<number, number>();
  #orders: number[] = [];
  /** Pages known to be in use, and pages known to be free; without a snapshot nothing is known at first. */
  #used: PageBitmap;
  #unused: PageBitmap;
  /** Pages allocated by rows and not freed yet. */
  #allocated: PageBitmap;
  /** Handles of pages of bulk allocations that were not freed yet: which pages they are shows only then. */
  #unnamed: number[] = [];
  #start = new StartBlocks();
  #handles = 0;
  #free: number[] = [];
  #columns = new OpColumns(0);
  #count = 0;

  constructor(recording: Recording, state: RecordedState | undefined, first: number, requests: boolean) {
    this.#recording = recording;
    this.#state = state;
    this.#first = first;
    this.#requests = requests;
    this.#roles = requests
      ? new RequestRoles(recording, first)
      : new ZoneRoles(recording, first, state && (state.kernel ?? "6.1"));
    const end = state === undefined
      ? endOfBlocks(recording)
      : Math.max(...state.zones.map((zone) => zone.startPfn + zone.spannedPages));
    this.#used = new PageBitmap(end);
    this.#unused = new PageBitmap(end);
    this.#allocated = new PageBitmap(end);
    if (state === undefined) return;
    this.#used.setRange(0, end);
    for (const { order, pfns } of state.free) for (const pfn of pfns) this.#setUsed(pfn, ORDER_PAGES[order], false);
  }

  read(): RecordedOperations {
    const { count, deltaUs } = this.#recording;
    const first = this.#first;
    const parts = new PartsOfBlocks(this.#recording, first, this.#roles);
    this.#columns = new OpColumns(parts.operations);
    let timeNs = 0;
    for (let row = first; row < count; row++) {
      if (row > first) timeNs += deltaUs[row] * 1000;
      if (timeNs > Number.MAX_SAFE_INTEGER) throw problem(row, "the times add up to more than 2^53 ns");
      this.#row(parts, row, timeNs);
    }
    return {
      columns: this.#columns,
      count: this.#count,
      start: this.#start,
      durationNs: timeNs,
      requests: this.#requests,
      state: this.#state,
    };
  }

  #row(parts: PartsOfBlocks, row: number, timeNs: number): void {
    const { pfn, migratetype } = this.#recording;
    const roles = this.#roles;
    if (roles.gives(row)) this.#freeRow(row, roles.orderGiven(row), timeNs);
    for (let n = roles.unnamed(row); n > 0; n--) this.#allocUnnamed(row, timeNs);
    if (!roles.takes(row)) return;
    const type = migratetype[row] < 0 || roles.captured(row) ? MOVABLE : migratetype[row];
    const split = parts.partsOf(row);
    if (split === undefined) return this.#alloc(row, pfn[row], roles.orderTaken(row), type, timeNs);
    for (let part = 0; part < split.length; part += 2) this.#alloc(row, split[part], split[part + 1], type, timeNs);
  }

  #alloc(row: number, pfn: number, order: number, migratetype: number, timeNs: number): void {
    const pages = ORDER_PAGES[order];
    const zone = this.#zoneOf(pfn, pages, row);
    if (pfn % pages !== 0) throw problem(row, `page ${pfn} is not aligned to order ${order}`);
    if (this.#used.countRange(pfn, pages) > 0) throw problem(row, `allocates page ${pfn}, which is in use`);
    this.#setUsed(pfn, pages, true);
    this.#allocated.setRange(pfn, pages);
    const handle = this.#free.pop() ?? this.#handles++;
    this.#owner.set(pfn, handle);
    this.#orders[handle] = order;
    const cpu = this.#recording.cpu[row];
    this.#columns.set(this.#count++, Op.alloc, handle, order, migratetype, timeNs, pages, cpu, zone, pfn);
  }

  /** Pages of a bulk allocation are unmovable and come from the highest zone. */
  #allocUnnamed(row: number, timeNs: number): void {
    const handle = this.#free.pop() ?? this.#handles++;
    this.#orders[handle] = 0;
    this.#unnamed.push(handle);
    const zone = this.#state === undefined ? -1 : this.#state.zones.length - 1;
    this.#columns.set(this.#count++, Op.alloc, handle, 0, UNMOVABLE, timeNs, 1, this.#recording.cpu[row], zone);
  }

  #freeRow(row: number, order: number, timeNs: number): void {
    const { pfn, migratetype, cpu } = this.#recording;
    const pages = ORDER_PAGES[order];
    const zone = this.#zoneOf(pfn[row], pages, row);
    if (pfn[row] % pages !== 0) throw problem(row, `page ${pfn[row]} is not aligned to order ${order}`);
    const handle = this.#unused.countRange(pfn[row], pages) === 0
      ? this.#ownerOf(row, order)
      : this.#unnamedOwner(row, order);
    this.#owner.delete(pfn[row]);
    this.#setUsed(pfn[row], pages, false);
    this.#allocated.clearRange(pfn[row], pages);
    const type = Math.max(0, migratetype[row]);
    this.#columns.set(this.#count++, Op.free, handle, order, type, timeNs, 0, cpu[row], zone, pfn[row]);
    this.#free.push(handle);
  }

  /** A page that no row allocated, although it was free, can only be one of a bulk allocation. */
  #unnamedOwner(row: number, order: number): number {
    const handle = order === 0 ? this.#unnamed.shift() : undefined;
    if (handle !== undefined) return handle;
    throw problem(row, `frees page ${this.#recording.pfn[row]}, which is not allocated`);
  }

  /** The handle of the block that a row gives back; a new one when it was in use at the start. */
  #ownerOf(row: number, order: number): number {
    const { pfn, migratetype } = this.#recording;
    const pages = ORDER_PAGES[order];
    const owner = this.#owner.get(pfn[row]);
    if (owner !== undefined && this.#orders[owner] === order) return owner;
    if (this.#allocated.countRange(pfn[row], pages) > 0) {
      throw problem(row, `frees page ${pfn[row]} with order ${order}, which is not how its pages were allocated`);
    }
    const handle = this.#handles++;
    this.#start.add(handle, order, Math.max(0, migratetype[row]), pfn[row]);
    return handle;
  }

  #setUsed(pfn: number, pages: number, used: boolean): void {
    (used ? this.#used : this.#unused).setRange(pfn, pages);
    (used ? this.#unused : this.#used).clearRange(pfn, pages);
  }

  #zoneOf(pfn: number, pages: number, row: number): number {
    if (this.#state === undefined) return -1;
    const { zones } = this.#state;
    for (let zone = 0; zone < zones.length; zone++) {
      const { startPfn, spannedPages } = zones[zone];
      if (pfn < startPfn || pfn >= startPfn + spannedPages) continue;
      if (pfn + pages <= startPfn + spannedPages) return zone;
      throw problem(row, `the ${pages} pages from ${pfn} on end outside of their zone`);
    }
    throw problem(row, `page ${pfn} lies outside of every zone`);
  }
}

/** A page after every block of the recording. */
function endOfBlocks({ count, pfn }: Recording): number {
  let last = 0;
  for (let row = 0; row < count; row++) last = Math.max(last, pfn[row]);
  return last + ORDER_PAGES[ORDER_MAX];
}

function problem(row: number, message: string): InputError {
  return new InputError(["row", row + 2], message);
}
