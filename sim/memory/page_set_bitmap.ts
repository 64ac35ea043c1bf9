/** A set of pages as a bitmap that is stored only where it is neither empty nor full. */
import { PageBitmap } from "./bitmap.ts";
import { Operations, type PageSet } from "./page_set.ts";
import { HUGE_PAGES, type Range } from "./range.ts";

/** The bitmap of the simulator's machines, see bitmap.ts, as a page set. */
export class BitmapSet implements PageSet {
  /** What it did so far: visits and writes are blocks of 512 pages. */
  readonly operations: Operations = new Operations();
  readonly #bitmap: PageBitmap;

  /** An empty set of pages from 0 to `pages` - 1. */
  constructor(pages: number) {
    this.#bitmap = new PageBitmap(pages);
  }

  get count(): number {
    return this.#bitmap.count;
  }

  /** A byte for each block and the bits that are stored. */
  get bytes(): number {
    return Math.ceil(this.#bitmap.pages / HUGE_PAGES) + this.#bitmap.bytes;
  }

  add(pfn: number, count: number): number {
    this.#touch(pfn, count);
    return this.#bitmap.setRange(pfn, count);
  }

  remove(pfn: number, count: number): number {
    this.#touch(pfn, count);
    return this.#bitmap.clearRange(pfn, count);
  }

  contains(pfn: number): boolean {
    this.operations.visits++;
    return this.#bitmap.has(pfn);
  }

  *ranges(): Generator<Range> {
    const runs: Range[] = [];
    const { pages } = this.#bitmap;
    // A window at a time, so that no list of all runs is made; a run that reaches the end of one goes on in the next.
    const window = HUGE_PAGES * HUGE_PAGES;
    let [start, end] = [0, 0];
    for (let pfn = 0; pfn < pages; pfn += window) {
      runs.length = 0;
      this.#bitmap.forEachRun(
        pfn,
        Math.min(window, pages - pfn),
        true,
        (from, count) => runs.push({ pfn: from, count }),
      );
      for (const run of runs) {
        if (run.pfn !== end) {
          if (end > start) yield { pfn: start, count: end - start };
          start = run.pfn;
        }
        end = run.pfn + run.count;
      }
    }
    if (end > start) yield { pfn: start, count: end - start };
  }

  #touch(pfn: number, count: number): void {
    const blocks = Math.floor((pfn + count - 1) / HUGE_PAGES) - Math.floor(pfn / HUGE_PAGES) + 1;
    this.operations.visits += blocks;
    this.operations.writes += blocks;
  }
}
