/**
 * What a recording says of each page: is it on the kernel's free lists? A row that cannot follow from the rows before it is no
 * recording of a kernel, and is refused by its number.
 */
import { InputError } from "../../core/options.ts";
import { PageBitmap } from "../../memory/bitmap.ts";
import { ORDER_PAGES } from "../../memory/range.ts";
import type { RecordedState } from "../operations.ts";

/** The pages on the kernel's free lists, as the rows tell. Blocks must lie in a zone. */
export class KernelPages {
  readonly #free: PageBitmap;

  /** The free pages of a snapshot. */
  constructor(state: RecordedState) {
    this.#free = new PageBitmap(Math.max(...state.zones.map((zone) => zone.startPfn + zone.spannedPages)));
    for (const { order, pfns } of state.free) for (const pfn of pfns) this.#free.setRange(pfn, ORDER_PAGES[order]);
  }

  /** A block leaves the free lists. Throws {@link InputError} naming the row when it was not free. */
  take(row: number, pfn: number, order: number): void {
    const pages = ORDER_PAGES[order];
    if (!this.#free.hasAll(pfn, pages)) throw problem(row, `allocates page ${pfn}, which is in use`);
    this.#free.clearRange(pfn, pages);
  }

  /** A block comes back to the free lists. Throws {@link InputError} naming the row when it was free. */
  give(row: number, pfn: number, order: number): void {
    const pages = ORDER_PAGES[order];
    if (this.#free.setRange(pfn, pages) !== pages) throw problem(row, `frees page ${pfn}, which is not allocated`);
  }

  /**
   * Compaction takes the block of `order` in which a freed page is now. Throws {@link InputError} naming the row when not all
   * of it is free.
   */
  capture(row: number, pfn: number, order: number): void {
    const pages = ORDER_PAGES[order];
    const head = pfn - pfn % pages;
    if (!this.#free.hasAll(head, pages)) {
      throw problem(row, `the block of order ${order} of page ${pfn} is not all free`);
    }
    this.#free.clearRange(head, pages);
  }

  /** Whether the same pages are free as in a snapshot. */
  agreesWith(state: RecordedState): boolean {
    let pages = 0;
    for (const { order, pfns } of state.free) {
      pages += pfns.length * ORDER_PAGES[order];
      for (const pfn of pfns) if (!this.#free.hasAll(pfn, ORDER_PAGES[order])) return false;
    }
    return pages === this.#free.count;
  }
}

/** A refusal of a row, which is counted from 0; the header of the file is row 1. */
export function problem(row: number, message: string): InputError {
  return new InputError(["row", row + 2], message);
}
