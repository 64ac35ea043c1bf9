/**
 * Ranges in a sorted list of linked pages, which the next kernel reads as it is: the plainest design of ranges. Nobody posted
 * it as a tracker; the pages are those that the sketch of ranges serialises into (Mike Rapoport, lkml 4 April 2025).
 *
 * The list is walked from its head, only its last page is known (so that ascending preservation is cheap). The walk itself is
 * not done here: how many pages it passes is a position, which an index of first pages gives.
 */
import type { Operations } from "../memory/page_set.ts";
import { PAGE_SIZE } from "../memory/range.ts";
import { ExtentPages } from "./extent_pages.ts";
import type { Allocate, BytesTerm, Handover, Tracker, TrackerOptions, TrackerPlugin } from "./tracker.ts";
import { PAGE_RANGES, type RangeCursor, RangeTracker, walkRangePages } from "./tracker_ranges.ts";

/** A place in the list. */
class ExtentCursor implements RangeCursor {
  pfn = Infinity;
  end = Infinity;
  order = 0;
  /** Position of the page. */
  at = 0;
  /** Extent in the page; as many as there are where the place is behind the last one. */
  extent = 0;
  readonly #pages: ExtentPages;
  readonly #operations: Operations;

  constructor(pages: ExtentPages, operations: Operations) {
    this.#pages = pages;
    this.#operations = operations;
  }

  /** Bisects the page that the walk led to. */
  seek(pfn: number): void {
    const pages = this.#pages;
    this.at = pages.find(pfn);
    let low = 0;
    let high = pages.length === 0 ? 0 : pages.extents(this.at);
    while (low < high) {
      const middle = (low + high) >> 1;
      this.#operations.visits++;
      if (pages.field(this.at, middle, 0) + pages.field(this.at, middle, 1) > pfn) high = middle;
      else low = middle + 1;
    }
    this.extent = low;
    this.#load();
  }

  next(): void {
    this.extent++;
    this.#operations.visits++;
    this.#load();
  }

  #load(): void {
    const pages = this.#pages;
    if (this.at + 1 < pages.length && this.extent === pages.extents(this.at)) {
      this.at++;
      this.extent = 0;
    }
    if (pages.length === 0 || this.extent === pages.extents(this.at)) {
      this.pfn = Infinity;
      this.end = Infinity;
      return;
    }
    this.pfn = pages.field(this.at, this.extent, 0);
    this.end = this.pfn + pages.field(this.at, this.extent, 1);
    this.order = pages.field(this.at, this.extent, 2);
  }
}

/** The tracker. */
class ExtentList extends RangeTracker {
  readonly #pages: ExtentPages;
  protected readonly cursor: ExtentCursor;

  constructor(allocate: Allocate, options: TrackerOptions | undefined) {
    super(options);
    this.#pages = new ExtentPages(allocate, this.operations);
    this.cursor = new ExtentCursor(this.#pages, this.operations);
  }

  explain(): readonly BytesTerm[] {
    return [{
      what: `linked pages of at most ${PAGE_RANGES} extents`,
      count: this.#pages.length,
      bytesEach: PAGE_SIZE,
    }];
  }

  serialize(_allocate: Allocate): Handover {
    const pages = this.#pages.pages();
    return {
      pages,
      terms: [],
      serializedBytes: 0,
      keptBytes: this.bytes,
      rootPfn: pages.length === 0 ? 0 : pages[0].pfn,
    };
  }

  protected makeCursor(): ExtentCursor {
    return new ExtentCursor(this.#pages, this.operations);
  }

  protected store(pfn: number, count: number, order: number): void {
    const { cursor } = this;
    const end = pfn + count;
    const fresh: [pfn: number, count: number, order: number][] = [];
    cursor.seek(pfn);
    if (cursor.pfn < pfn) fresh.push([cursor.pfn, pfn - cursor.pfn, cursor.order]);
    if (order >= 0) fresh.push([pfn, count, order]);
    let overlapped = 0;
    for (; cursor.pfn < end; cursor.next(), overlapped++) {
      if (cursor.end > end) fresh.push([end, cursor.end - end, cursor.order]);
    }
    // Extents that are overlapped give their places to those that come; there may be too many or too few.
    for (; overlapped > fresh.length; overlapped--) {
      cursor.seek(pfn);
      this.#pages.remove(cursor.at, cursor.extent);
    }
    if (overlapped > 0) cursor.seek(pfn);
    for (const [from, pages, kind] of fresh) {
      if (overlapped > 0) {
        this.#pages.write(cursor.at, cursor.extent, from, pages, kind);
        if (--overlapped > 0) cursor.next();
      } else {
        cursor.seek(from);
        this.#pages.insert(cursor.at, cursor.extent, from, pages, kind);
      }
    }
  }
}

/** 170 extents a page. */
export const extentList: TrackerPlugin = {
  name: "extent-list",
  summary: "sorted 24-byte extents in linked pages; the next kernel reads them as they are",
  source: "not posted as a tracker; pages as in Mike Rapoport's sketch, lkml 4 April 2025",
  remembers: "orders",
  create: (allocate, options): Tracker => new ExtentList(allocate, options),
  walk: walkRangePages,
};
