/**
 * How fragmented the free memory of a guest is, from the counts that its zones keep: no page and no list is walked, so that a
 * sample of 1 TiB takes no longer than one of 1 GiB.
 *
 * The kernel has its indices by zone (/sys/kernel/debug/extfrag); here they are those of all zones together.
 */
import { ORDER_PAGES } from "../memory/range.ts";
import { MIGRATETYPE_COUNT, MOVABLE, ORDER_MAX, ORDERS, PAGEBLOCK_ORDER, PAGEBLOCK_PAGES } from "./allocator.ts";
import type { Zone } from "./zone.ts";

/** Indices are in thousandths, whole as the kernel's. */
const SCALE = 1000;

/** A number for each order, or for each migratetype. */
export type Counts = readonly number[];

/** Free blocks of all zones by order (`nr_free`). */
export function freeByOrder(zones: readonly Zone[]): Counts {
  const blocks = new Array<number>(ORDERS).fill(0);
  for (const { pages } of zones) {
    for (let order = 0; order <= ORDER_MAX; order++) blocks[order] += pages.nrFree(order);
  }
  return blocks;
}

/** Pages in these free blocks that are of order `order` or larger. */
export function pagesFromOrder(blocks: Counts, order: number): number {
  let pages = 0;
  for (let larger = order; larger <= ORDER_MAX; larger++) pages += blocks[larger] * ORDER_PAGES[larger];
  return pages;
}

/** Free pages in whole blocks of 2 MiB. */
export function hugePages(blocks: Counts): number {
  return pagesFromOrder(blocks, PAGEBLOCK_ORDER);
}

/**
 * The share of free memory that an allocation of an order cannot use, in thousandths: 0 when all lies in large enough blocks,
 * 1000 when none does or nothing is free (mm/vmstat.c `unusable_free_index`).
 */
export function unusableFreeIndex(blocks: Counts, order: number): number {
  const freePages = pagesFromOrder(blocks, 0);
  if (freePages === 0) return SCALE;
  return Math.floor(((freePages - pagesFromOrder(blocks, order)) * SCALE) / freePages);
}

/**
 * Why an allocation of an order would fail, in thousandths: towards 0 for lack of memory, towards 1000 for fragmentation; -1000
 * when it would not fail, 0 when no block is free (mm/vmstat.c `__fragmentation_index`).
 */
export function fragmentationIndex(blocks: Counts, order: number): number {
  let blocksTotal = 0;
  for (const count of blocks) blocksTotal += count;
  if (blocksTotal === 0) return 0;
  if (pagesFromOrder(blocks, order) > 0) return -SCALE;
  const requests = Math.floor((pagesFromOrder(blocks, 0) * SCALE) / ORDER_PAGES[order]);
  return SCALE - Math.floor((SCALE + requests) / blocksTotal);
}

/** Pageblocks of all zones by migratetype (/proc/pagetypeinfo, "Number of blocks type"). */
export function pageblocksByType(zones: readonly Zone[]): Counts {
  const counts = new Array<number>(MIGRATETYPE_COUNT).fill(0);
  for (const { pages } of zones) {
    for (let type = 0; type < MIGRATETYPE_COUNT; type++) counts[type] += pages.pageblocks(type);
  }
  return counts;
}

/**
 * Movable pageblocks that hold a page which cannot be migrated, so that no compaction makes them free as a whole: the kernel's
 * "Number of mixed blocks" of movable ones (mm/page_owner.c `pagetypeinfo_showmixedcount_print`). It looks at each pageblock,
 * and is for the end of a run.
 */
export function mixedPageblocks(zones: readonly Zone[]): number {
  let mixed = 0;
  for (const { pages, unmovable } of zones) {
    let counted = -1;
    if (unmovable.count === 0) continue;
    unmovable.forEachRun(pages.startPfn, pages.pages, true, (pfn, count) => {
      const last = Math.floor((pfn + count - 1) / PAGEBLOCK_PAGES);
      for (let block = Math.max(counted + 1, Math.floor(pfn / PAGEBLOCK_PAGES)); block <= last; block++) {
        if (pages.pageblockType(Math.max(pages.startPfn, block * PAGEBLOCK_PAGES)) === MOVABLE) mixed++;
        counted = block;
      }
    });
  }
  return mixed;
}

/** How fragmented the memory of a run's guests is at its end. */
export interface FragmentationFigures {
  /** Free pages in whole blocks of 2 MiB. */
  readonly freeHugePages: number;
  /** See {@link freeByOrder}. */
  readonly freeByOrder: Counts;
  /** See {@link unusableFreeIndex}, of each order. */
  readonly unusableFreeIndex: Counts;
  /** See {@link pageblocksByType}. */
  readonly pageblocks: Counts;
  /** See {@link mixedPageblocks}. */
  readonly mixedPageblocks: number;
}

/** Looks at zones when a run has ended. */
export function fragmentationOf(zones: readonly Zone[]): FragmentationFigures {
  const blocks = freeByOrder(zones);
  return {
    freeHugePages: hugePages(blocks),
    freeByOrder: blocks,
    unusableFreeIndex: blocks.map((_, order) => unusableFreeIndex(blocks, order)),
    pageblocks: pageblocksByType(zones),
    mixedPageblocks: mixedPageblocks(zones),
  };
}
