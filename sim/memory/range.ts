/**
 * Ranges of page frames: the one currency between the floors.
 *
 * A page is 4 KiB. Page frame numbers may exceed 2^31 (8 TiB of memory), so nothing here uses bitwise operators on them.
 */

/** Bytes in one page. */
export const PAGE_SIZE = 4096;

/** Pages in one pageblock and in one huge page: order 9, 2 MiB (pageblock_order on x86-64). */
export const HUGE_PAGES = 512;

/** A run of page frames: `count` pages from `pfn` on. */
export interface Range {
  /** First page frame number. */
  readonly pfn: number;
  /** Number of pages, at least 1. */
  readonly count: number;
}

/** 2^order for the orders of the buddy allocator and of aligned ranges (0 to 52). */
export const ORDER_PAGES: readonly number[] = Array.from({ length: 53 }, (_, order) => 2 ** order);

/** The largest order at which `pfn` is aligned, at most `orderMax`. */
export function alignmentOrder(pfn: number, orderMax: number): number {
  let order = 0;
  while (order < orderMax && pfn % ORDER_PAGES[order + 1] === 0) order++;
  return order;
}

/** The largest order that fits into `count` pages, at most `orderMax`. */
export function sizeOrder(count: number, orderMax: number): number {
  let order = 0;
  while (order < orderMax && ORDER_PAGES[order + 1] <= count) order++;
  return order;
}

/**
 * Calls `visit(pfn, order)` for the maximal naturally aligned blocks that make up a range, ascending
 * (the split of memblock's release, mm/memblock.c `__free_pages_memory`).
 */
export function forEachAlignedBlock(
  pfn: number,
  count: number,
  orderMax: number,
  visit: (pfn: number, order: number) => void,
): void {
  const end = pfn + count;
  while (pfn < end) {
    const order = sizeOrder(end - pfn, alignmentOrder(pfn, orderMax));
    visit(pfn, order);
    pfn += ORDER_PAGES[order];
  }
}

/** Sorted by pfn, with overlapping and touching ranges merged. */
export function mergeRanges(ranges: readonly Range[]): Range[] {
  const sorted = [...ranges].sort((a, b) => a.pfn - b.pfn || a.count - b.count);
  const merged: { pfn: number; count: number }[] = [];
  for (const { pfn, count } of sorted) {
    const last = merged[merged.length - 1];
    if (last !== undefined && pfn <= last.pfn + last.count) {
      last.count = Math.max(last.count, pfn + count - last.pfn);
    } else merged.push({ pfn, count });
  }
  return merged;
}

/** The number of pages in all the ranges, as if they did not overlap. */
export function pagesOf(ranges: readonly Range[]): number {
  let pages = 0;
  for (const range of ranges) pages += range.count;
  return pages;
}
