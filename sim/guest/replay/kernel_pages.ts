/**
 * What a recording says of each page: is it on the kernel's free lists? A row that cannot follow from the rows before it is no
 * recording of a kernel, and is refused by its number.
 */
import { InputError } from "../../core/options.ts";
import { PageBitmap } from "../../memory/bitmap.ts";
import { ORDER_PAGES } from "../../memory/range.ts";
import type { RecordedState } from "../operations.ts";

/** The pages on the kernel's free lists, as the rows tell. */
export class KernelPages {
  readonly #free: PageBitmap;
  readonly #zones: RecordedState["zones"];

  /** The free pages of a snapshot. */
  constructor(state: RecordedState) {
    this.#zones = state.zones;
    this.#free = new PageBitmap(Math.max(...state.zones.map((zone) => zone.startPfn + zone.spannedPages)));
    for (const { order, pfns } of state.free) for (const pfn of pfns) this.#free.setRange(pfn, ORDER_PAGES[order]);
  }

  /** A block leaves the free lists; returns its zone. Throws {@link InputError} naming the row when it was not free. */
  take(row: number, pfn: number, order: number): number {
    const pages = ORDER_PAGES[order];
    const zone = this.#zoneOf(row, pfn, order);
    if (!this.#free.hasAll(pfn, pages)) throw problem(row, `allocates page ${pfn}, which is in use`);
    this.#free.clearRange(pfn, pages);
    return zone;
  }

  /** A block comes back to the free lists; returns its zone. Throws {@link InputError} naming the row when it was free. */
  give(row: number, pfn: number, order: number): number {
    const pages = ORDER_PAGES[order];
    const zone = this.#zoneOf(row, pfn, order);
    if (this.#free.setRange(pfn, pages) !== pages) throw problem(row, `frees page ${pfn}, which is not allocated`);
    return zone;
  }

  #zoneOf(row: number, pfn: number, order: number): number {
    const pages = ORDER_PAGES[order];
    if (pfn % pages !== 0) throw problem(row, `page ${pfn} is not aligned to order ${order}`);
    for (let zone = 0; zone < this.#zones.length; zone++) {
      const { startPfn, spannedPages } = this.#zones[zone];
      if (pfn < startPfn || pfn >= startPfn + spannedPages) continue;
      if (pfn + pages <= startPfn + spannedPages) return zone;
      throw problem(row, `the ${pages} pages from ${pfn} on end outside of their zone`);
    }
    throw problem(row, `page ${pfn} lies outside of every zone`);
  }
}

/** A refusal of a row, which is counted from 0; the header of the file is row 1. */
export function problem(row: number, message: string): InputError {
  return new InputError(["row", row + 2], message);
}
