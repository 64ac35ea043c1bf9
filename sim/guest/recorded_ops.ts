/**
 * Turning a recording into operations: allocations get numbers, so that a run does not depend on the pages a kernel chose.
 *
 * Only the rows at which pages leave or join the zone free lists are operations: Z (refill), D (drain), O and P (freed past the
 * per-CPU lists). The page of each row stays beside its operation, for verification.
 */
import { InputError } from "../core/options.ts";
import { PageBitmap } from "../memory/bitmap.ts";
import { ORDER_PAGES } from "../memory/range.ts";
import { ORDER_MAX } from "./allocator.ts";
import { Op, OpColumns, type RecordedState } from "./operations.ts";
import type { Recording } from "./recording.ts";
import { StartBlocks } from "./start_blocks.ts";

const CODE = { Z: 90, D: 68, O: 79, P: 80, S: 83 } as const;

/** Events that move free blocks without an allocation or a free. */
const UNREPLAYED = "IUTHz";

/** The operations of a recording from a snapshot on. */
export interface RecordedOperations {
  /** The operations; times are ns since the snapshot. */
  readonly columns: OpColumns;
  /** Number of operations. */
  readonly count: number;
  /** The row of the file (the header is 1) of each operation. */
  readonly rows: Float64Array;
  /** What was in use at the snapshot and is freed later. */
  readonly start: StartBlocks;
  /** Snapshots after the start: tag, and how many operations stand before it. */
  readonly marks: readonly { readonly tag: string; readonly before: number; readonly row: number }[];
  /** Time of the last row, ns since the snapshot. */
  readonly durationNs: number;
  /** Rows that moved free blocks and are not replayed, by event: isolation, put-back, rotation, moved pageblocks. */
  readonly ignored: ReadonlyMap<string, number>;
}

/** Reads operations from the snapshot `tag` on. Throws {@link InputError} naming the row. */
export function recordedOperations(
  recording: Recording,
  state: RecordedState | undefined,
  tag: string,
): RecordedOperations {
  return new Reader(recording, state).read(tag);
}

class Reader {
  #recording: Recording;
  #state: RecordedState | undefined;
  /** Handle + 1 of the allocation that starts at a page. */
  #owner = new Map<number, number>();
  #orders: number[] = [];
  /** Pages known to be in use, and pages known to be free; without a snapshot nothing is known at first. */
  #used: PageBitmap;
  #unused: PageBitmap;
  /** Pages allocated by rows and not freed yet. */
  #allocated: PageBitmap;
  #start = new StartBlocks();
  #handles = 0;
  #free: number[] = [];

  constructor(recording: Recording, state: RecordedState | undefined) {
    this.#recording = recording;
    this.#state = state;
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

  read(tag: string): RecordedOperations {
    const { count, event, deltaUs, text } = this.#recording;
    let row = 0;
    if (this.#state !== undefined) {
      while (row < count && !(event[row] === CODE.S && text.get(row) === tag)) row++;
      if (row === count) throw new InputError([], `the recording has no snapshot ${JSON.stringify(tag)}`);
    }
    const columns = new OpColumns(count - row);
    const rows = new Float64Array(count - row);
    const marks: { tag: string; before: number; row: number }[] = [];
    const ignored = new Map<string, number>();
    let operations = 0;
    let timeNs = 0;
    const first = row;
    for (; row < count; row++) {
      if (row > first) timeNs += deltaUs[row] * 1000;
      if (timeNs > Number.MAX_SAFE_INTEGER) throw problem(row, "the times add up to more than 2^53 ns");
      const kind = event[row];
      if (kind === CODE.S) marks.push({ tag: text.get(row)!, before: operations, row: row + 2 });
      const name = String.fromCharCode(kind);
      if (UNREPLAYED.includes(name)) ignored.set(name, (ignored.get(name) ?? 0) + 1);
      if (kind !== CODE.Z && kind !== CODE.D && kind !== CODE.O && kind !== CODE.P) continue;
      rows[operations] = row + 2;
      if (kind === CODE.Z) this.#alloc(columns, operations++, row, timeNs);
      else this.#freeRow(columns, operations++, row, timeNs);
    }
    return { columns, count: operations, rows, start: this.#start, marks, durationNs: timeNs, ignored };
  }

  #alloc(columns: OpColumns, at: number, row: number, timeNs: number): void {
    const { pfn, order, migratetype, cpu } = this.#recording;
    const pages = ORDER_PAGES[order[row]];
    const zone = this.#zoneOf(pfn[row], pages, row);
    if (pfn[row] % pages !== 0) throw problem(row, `page ${pfn[row]} is not aligned to order ${order[row]}`);
    if (this.#used.countRange(pfn[row], pages) > 0) throw problem(row, `allocates page ${pfn[row]}, which is in use`);
    this.#setUsed(pfn[row], pages, true);
    this.#allocated.setRange(pfn[row], pages);
    const handle = this.#free.pop() ?? this.#handles++;
    this.#owner.set(pfn[row], handle);
    this.#orders[handle] = order[row];
    columns.set(at, Op.alloc, handle, order[row], migratetype[row], timeNs, pages, cpu[row], zone, pfn[row]);
  }

  #freeRow(columns: OpColumns, at: number, row: number, timeNs: number): void {
    const { pfn, order, migratetype, cpu } = this.#recording;
    const pages = ORDER_PAGES[order[row]];
    const zone = this.#zoneOf(pfn[row], pages, row);
    if (pfn[row] % pages !== 0) throw problem(row, `page ${pfn[row]} is not aligned to order ${order[row]}`);
    if (this.#unused.countRange(pfn[row], pages) > 0) {
      throw problem(row, `frees page ${pfn[row]}, which is not allocated`);
    }
    let handle = this.#owner.get(pfn[row]);
    if (handle === undefined) {
      if (this.#allocated.countRange(pfn[row], pages) > 0) {
        throw problem(
          row,
          `frees page ${pfn[row]} with order ${order[row]}, which is not how its pages were allocated`,
        );
      }
      handle = this.#handles++;
      this.#start.add(handle, order[row], migratetype[row], pfn[row]);
    } else if (this.#orders[handle] !== order[row]) {
      throw problem(
        row,
        `frees page ${pfn[row]} with order ${order[row]}, allocated with order ${this.#orders[handle]}`,
      );
    }
    this.#owner.delete(pfn[row]);
    this.#setUsed(pfn[row], pages, false);
    this.#allocated.clearRange(pfn[row], pages);
    columns.set(at, Op.free, handle, order[row], migratetype[row], timeNs, 0, cpu[row], zone, pfn[row]);
    this.#free.push(handle);
  }

  #setUsed(pfn: number, pages: number, used: boolean): void {
    (used ? this.#used : this.#unused).setRange(pfn, pages);
    (used ? this.#unused : this.#used).clearRange(pfn, pages);
  }

  #zoneOf(pfn: number, pages: number, row: number): number {
    if (this.#state === undefined) return -1;
    const { zones } = this.#state;
    const zone = zones.findIndex(({ startPfn, spannedPages }) => pfn >= startPfn && pfn < startPfn + spannedPages);
    if (zone < 0) throw problem(row, `page ${pfn} lies outside of every zone`);
    if (pfn + pages > zones[zone].startPfn + zones[zone].spannedPages) {
      throw problem(row, `the ${pages} pages from ${pfn} on end outside of their zone`);
    }
    return zone;
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
