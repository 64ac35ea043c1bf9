/**
 * A start state that was read while the guest went on is corrected by the rows of the recording: every change of the free lists
 * is a row, so what a row took must have been free before, and what it gave back must have been in use.
 */
import { PageBitmap } from "../memory/bitmap.ts";
import { ORDER_PAGES } from "../memory/range.ts";
import { PAGEBLOCK_PAGES } from "./allocator.ts";
import type { TraceRows } from "./trace_rows.ts";

/** What the rows said. */
export interface RowsFit {
  /** Pages whose state was another one. */
  readonly repairedPages: number;
  /** Migratetypes of pageblocks, by the first row that names each after the snapshot. */
  readonly types: ReadonlyMap<number, number>;
}

/** 1 for events that give pages back to the free lists, -1 for those that take them. */
const EFFECT = new Int8Array(128);
for (const event of "DOPU") EFFECT[event.charCodeAt(0)] = 1;
for (const event of "ZI") EFFECT[event.charCodeAt(0)] = -1;

/**
 * Corrects `free`, which was read between the rows `from` and `at`, to the state at row `at`: pages that rows between them
 * moved are as the last of these left them, all others as the first row from `at` on needs them.
 */
export function fitToRows(free: PageBitmap, rows: TraceRows, from: number, at: number): RowsFit {
  const fit = new Fit(free, rows);
  for (let row = from; row < at; row++) fit.after(row);
  for (let row = at; row < rows.count; row++) fit.before(row);
  return fit.result();
}

class Fit {
  #free: PageBitmap;
  #rows: TraceRows;
  #seen: PageBitmap;
  #types = new Map<number, number>();
  #repaired: PageBitmap;

  constructor(free: PageBitmap, rows: TraceRows) {
    this.#free = free;
    this.#rows = rows;
    this.#seen = new PageBitmap(free.pages);
    this.#repaired = new PageBitmap(free.pages);
  }

  /** The pages of a row are as it left them. */
  after(row: number): void {
    const effect = this.#effect(row);
    if (effect !== 0) this.#set(this.#rows.pfn[row], ORDER_PAGES[this.#rows.order[row]], effect > 0);
  }

  /** The pages of a row that no earlier row touched were as it needs them. */
  before(row: number): void {
    const effect = this.#effect(row);
    if (effect === 0) return;
    const { pfn, order, migratetype } = this.#rows;
    const first = pfn[row];
    const pages = ORDER_PAGES[order[row]];
    const block = Math.floor(first / PAGEBLOCK_PAGES);
    if (migratetype[row] >= 0 && !this.#types.has(block)) this.#types.set(block, migratetype[row]);
    if (this.#seen.hasAll(first, pages)) return;
    for (let page = first; page < first + pages; page++) if (!this.#seen.has(page)) this.#set(page, 1, effect < 0);
    this.#seen.setRange(first, pages);
  }

  result(): RowsFit {
    return { repairedPages: this.#repaired.count, types: this.#types };
  }

  #effect(row: number): number {
    const { event, pfn, order } = this.#rows;
    const effect = EFFECT[event[row]];
    const isInside = effect !== 0 && order[row] >= 0 && pfn[row] >= 0 &&
      pfn[row] + ORDER_PAGES[order[row]] <= this.#free.pages;
    // A captured block goes from hand to hand.
    return !isInside || effect > 0 && this.#rows.text(row) === "captured" ? 0 : effect;
  }

  #set(pfn: number, count: number, isFree: boolean): void {
    for (let page = pfn; page < pfn + count; page++) {
      if (this.#free.has(page) === isFree) continue;
      this.#repaired.setRange(page, 1);
      if (isFree) this.#free.setRange(page, 1);
      else this.#free.clearRange(page, 1);
    }
  }
}
