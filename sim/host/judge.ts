/**
 * The judge of safety: is memory lost when the host acts on a page?
 *
 * Not whether a page is in use decides, but its content: a page that is owned and was written in this ownership is lost when
 * the host reclaims it; one that is owned and not yet written is a near miss; one that is free, isolated or held by the
 * driver is safe. Zeroing by the kernel is no content: a discarded page reads back as zero.
 */
import { PageBitmap } from "../memory/bitmap.ts";

/** What the judge says of a run of pages. */
export type Verdict = "violation" | "near_miss";

/** Who owns which pages, and which of those were written since they are owned. */
export class Judge {
  #owned: PageBitmap;
  #written: PageBitmap;

  /** Nothing is owned. */
  constructor(pages: number) {
    this.#owned = new PageBitmap(pages);
    this.#written = new PageBitmap(pages);
  }

  /** Pages that have an owner. */
  get ownedPages(): number {
    return this.#owned.count;
  }

  /** How many pages of a set have an owner. */
  ownedIn(pages: PageBitmap): number {
    return pages.countBoth(this.#owned);
  }

  /** Somebody got these pages. */
  own(pfn: number, count: number): void {
    this.#owned.setRange(pfn, count);
  }

  /** The owner wrote these pages. */
  write(pfn: number, count: number): void {
    this.#written.setRange(pfn, count);
  }

  /** The owner gave these pages back: their content does not matter any more. */
  release(pfn: number, count: number): void {
    this.#owned.clearRange(pfn, count);
    this.#written.clearRange(pfn, count);
  }

  /**
   * The host reclaims these pages now: calls `found` for each maximal run of pages with one verdict, ascending.
   * A lost page counts once: afterwards it is owned and unwritten.
   */
  reclaim(pfn: number, count: number, found: (verdict: Verdict, pfn: number, count: number) => void): void {
    if (this.#owned.count === 0) return;
    this.#owned.forEachRun(pfn, count, true, (owned, ownedCount) => {
      let next = owned;
      this.#written.forEachRun(owned, ownedCount, true, (lost, lostCount) => {
        if (lost > next) found("near_miss", next, lost - next);
        found("violation", lost, lostCount);
        next = lost + lostCount;
      });
      if (next < owned + ownedCount) found("near_miss", next, owned + ownedCount - next);
    });
    this.#written.clearRange(pfn, count);
  }
}
