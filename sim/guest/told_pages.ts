/**
 * Which pages the host was told of and nobody has used since: telling it of them again is work for nothing. It is an
 * instrument beside a policy, which decides nothing by it. Pages count as used when an operation of the workload gets them;
 * pages on per-CPU lists and the targets of migrations are not seen.
 */
import { PageBitmap } from "../memory/bitmap.ts";
import { ORDER_PAGES } from "../memory/range.ts";

/** Pages told, and how often they were told again. */
export class ToldPages {
  /** Blocks told again of which not one page had been used in between. */
  duplicateReports = 0;
  /** Pages told again that had not been used in between. */
  duplicatePages = 0;
  #told: PageBitmap;

  /** Nothing is told of a guest of so many pages. */
  constructor(pages: number) {
    this.#told = new PageBitmap(pages);
  }

  /** The host was told of a block. */
  tell(pfn: number, order: number): void {
    const pages = ORDER_PAGES[order];
    const fresh = this.#told.setRange(pfn, pages);
    this.duplicatePages += pages - fresh;
    if (fresh === 0) this.duplicateReports++;
  }

  /** Somebody gets these pages. */
  use(pfn: number, order: number): void {
    this.#told.clearRange(pfn, ORDER_PAGES[order]);
  }
}
