/**
 * Knowing the future: a rehearsal of a run in which the host is told nothing writes down for each page frame how long it
 * stayed free each time, and the run itself asks for the same.
 *
 * Times are not compared: the n-th time that a page is free stands for the n-th time in the rehearsal. As long as stalls move
 * no operation, the run places every allocation where the rehearsal did. In a closed loop faults delay what follows, and what
 * two CPUs do may change places: then some pages are foreseen wrongly, and nothing is lost by it.
 */
import { PageBitmap } from "../memory/bitmap.ts";

/** 2^18 pages, 1 GiB: pages that were never free take no memory. */
export const SEGMENT_PAGES: number = 2 ** 18;

/** Pages on the free lists as hooks of a policy can know them; those on per-CPU lists are where they were before. */
export class KnownFree {
  #free: PageBitmap;

  /** No page of so many is free. */
  constructor(pages: number) {
    this.#free = new PageBitmap(pages);
  }

  /** A block is on a free list: calls `visit` for its runs that were not known to be free. */
  freed(pfn: number, count: number, visit: (pfn: number, count: number) => void): void {
    this.#free.forEachRun(pfn, count, false, visit);
    this.#free.setRange(pfn, count);
  }

  /** Pages were allocated: calls `visit` for the runs that were known to be free. */
  used(pfn: number, count: number, visit: (pfn: number, count: number) => void): void {
    this.#free.forEachRun(pfn, count, true, visit);
    this.#free.clearRange(pfn, count);
  }
}

/** The pages of one GiB. */
export interface FutureSegment {
  /** Per page its first entry, and the end of the last page's. */
  readonly first: Uint32Array;
  /** Per page how many of its entries were used up. */
  readonly asked: Uint32Array;
  /** Per entry how long the page stayed free, ns. */
  readonly freeNs: Float32Array;
  /** Per page when it was freed last, in the rehearsal; then when it will be used again, in the run, ns. */
  readonly timeNs: Float64Array;
}

/** What a rehearsal knows of one guest. */
export class Future {
  #segments: (FutureSegment | undefined)[];

  /** From segments that are complete. */
  constructor(segments: (FutureSegment | undefined)[]) {
    this.#segments = segments;
  }

  /** A page is free now. Returns when it will be used again, ns; Infinity when never, or when the rehearsal knows nothing. */
  freed(pfn: number, nowNs: number): number {
    const segment = this.#segments[Math.floor(pfn / SEGMENT_PAGES)];
    if (segment === undefined) return Infinity;
    const page = pfn % SEGMENT_PAGES;
    const entry = segment.first[page] + segment.asked[page];
    const known = entry < segment.first[page + 1];
    if (known) segment.asked[page]++;
    return segment.timeNs[page] = known ? nowNs + segment.freeNs[entry] : Infinity;
  }

  /** When a page that is free will be used again, ns, as {@link freed} said. */
  reuseAtNs(pfn: number): number {
    return this.#segments[Math.floor(pfn / SEGMENT_PAGES)]?.timeNs[pfn % SEGMENT_PAGES] ?? Infinity;
  }
}
