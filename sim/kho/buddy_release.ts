/** What the successor's buddy allocator gets: the gaps between what is kept, in aligned blocks (`__free_pages_memory`). */
import type { PageBitmap } from "../memory/bitmap.ts";
import { ORDER_PAGES, type Range, sizeOrder } from "../memory/range.ts";

/** Largest order of the buddy allocator (Linux MAX_PAGE_ORDER, 4 MiB). */
export const BUDDY_ORDER_MAX = 10;

const BUDDY_PAGES = ORDER_PAGES[BUDDY_ORDER_MAX];

/** The free memory of the successor. */
export class FreeBlocks {
  /** Free blocks of each order, 0 to 10. */
  readonly blocks: Float64Array = new Float64Array(BUDDY_ORDER_MAX + 1);
  /** Free pages. */
  pages = 0;
  /** Gaps. */
  gaps = 0;
  /** The longest free run outside of scratch, pages. */
  longestPages = 0;
  /**
   * Order of the largest aligned block that is free outside of scratch, -1 without any. Beyond 10 it is what
   * `alloc_contig_range` may take, for example 18, a 1 GiB page.
   */
  largestOrder = -1;

  /** All blocks. */
  get count(): number {
    return this.blocks.reduce((sum, count) => sum + count, 0);
  }

  /** Adds a gap; `outside` is the first page frame behind scratch. */
  add(pfn: number, count: number, outside: number): void {
    this.gaps++;
    this.pages += count;
    this.#split(pfn % BUDDY_PAGES, count);
    const start = Math.max(pfn, outside);
    const length = pfn + count - start;
    if (length <= 0) return;
    this.longestPages = Math.max(this.longestPages, length);
    if (length >= ORDER_PAGES[this.largestOrder + 1]) {
      this.largestOrder = Math.max(this.largestOrder, largestAligned(start, length));
    }
  }

  /** The largest aligned blocks from the front on: orders ascend, then come whole blocks of 4 MiB, then orders descend. */
  #split(offset: number, rest: number): void {
    const { blocks } = this;
    while (offset !== 0) {
      const low = offset & -offset;
      if (low > rest) break;
      blocks[31 - Math.clz32(low)]++;
      rest -= low;
      offset = offset + low & BUDDY_PAGES - 1;
    }
    const whole = Math.floor(rest / BUDDY_PAGES);
    blocks[BUDDY_ORDER_MAX] += whole;
    for (let left = rest - whole * BUDDY_PAGES; left !== 0;) {
      const order = 31 - Math.clz32(left);
      blocks[order]++;
      left -= 1 << order;
    }
  }
}

/** The order of the largest aligned block inside a range. */
function largestAligned(pfn: number, count: number): number {
  const end = pfn + count;
  let order = sizeOrder(count, 40);
  while (Math.ceil(pfn / ORDER_PAGES[order]) * ORDER_PAGES[order] + ORDER_PAGES[order] > end) order--;
  return order;
}

/** The free blocks of a range whose pages in `kept` are not free; `outside` is the first page frame behind scratch. */
export function releaseGaps({ pfn, count }: Range, kept: PageBitmap, outside: number): FreeBlocks {
  const free = new FreeBlocks();
  kept.forEachRun(pfn, count, false, (start, pages) => free.add(start, pages, outside));
  return free;
}
