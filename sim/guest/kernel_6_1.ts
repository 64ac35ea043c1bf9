/**
 * Linux 6.1: one fallback that moves the free pages of a pageblock and may claim it; pages go back as the type they were freed
 * as (mm/page_alloc.c `__rmqueue_fallback`, `steal_suitable_fallback`, `__free_one_page`).
 */
import { ORDER_PAGES } from "../memory/range.ts";
import {
  type Allocator,
  HIGHATOMIC,
  MOVABLE,
  ORDER_MAX,
  PAGEBLOCK_ORDER,
  PAGEBLOCK_PAGES,
  RECLAIMABLE,
} from "./allocator.ts";
import { type AllocFlags, type Kernel, type KernelZone, suitableType, wantsPageblock } from "./kernel.ts";

/**
 * Moves the free blocks of the pageblock of `pfn` to the tail of the lists of `migratetype`; returns the pages moved. Where the
 * zone begins inside the pageblock only those from `pfn` on move, and where it ends inside none (`move_freepages_block`).
 */
function moveFreePages(lists: Allocator, pfn: number, migratetype: number): number {
  const first = Math.floor(pfn / PAGEBLOCK_PAGES) * PAGEBLOCK_PAGES;
  const end = first + PAGEBLOCK_PAGES;
  if (end > lists.startPfn + lists.pages) return 0;
  const start = first < lists.startPfn ? pfn : first;
  return lists.moveFreePages(start, end - start, migratetype);
}

function moveToTail(lists: Allocator, pfn: number, order: number, migratetype: number): void {
  // The mark stays: `move_to_free_list` does not take the block off the free lists.
  const reported = lists.isReported(pfn, order);
  lists.remove(pfn, order);
  lists.insert(pfn, order, migratetype, true);
  if (reported) lists.setReported(pfn, order);
}

/** Takes block `pfn` of `order`, and its pageblock where that is allowed, for `migratetype` (`steal_suitable_fallback`). */
function steal(zone: KernelZone, pfn: number, order: number, migratetype: number, whole: boolean): void {
  const lists = zone.allocator;
  const present = lists.pageblockType(pfn);
  if (present === HIGHATOMIC) return moveToTail(lists, pfn, order, migratetype);
  if (order >= PAGEBLOCK_ORDER) {
    for (let page = pfn; page < pfn + ORDER_PAGES[order]; page += PAGEBLOCK_PAGES) {
      lists.setPageblockType(page, migratetype);
    }
    return moveToTail(lists, pfn, order, migratetype);
  }
  zone.boost();
  if (!whole) return moveToTail(lists, pfn, order, migratetype);
  const free = moveFreePages(lists, pfn, migratetype);
  if (free === 0) return moveToTail(lists, pfn, order, migratetype);
  const first = Math.floor(pfn / PAGEBLOCK_PAGES) * PAGEBLOCK_PAGES;
  if (zone.mayClaim(first, free, migratetype, present, order)) lists.setPageblockType(pfn, migratetype);
}

/**
 * Moves pages of another type to the lists of `migratetype`, so that an allocation of `order` succeeds; false if none
 * (`__rmqueue_fallback`).
 */
export function fallback61(zone: KernelZone, order: number, migratetype: number, flags: AllocFlags): boolean {
  const lists = zone.allocator;
  const least = flags.noFragment ? Math.max(order, PAGEBLOCK_ORDER) : order;
  for (let current = ORDER_MAX; current >= least; current--) {
    const type = suitableType(lists, current, migratetype);
    if (type < 0) continue;
    const whole = wantsPageblock(current, migratetype);
    if (!whole && migratetype === MOVABLE && current > order) return stealSmallest(zone, order, migratetype);
    steal(zone, lists.first(current, type), current, migratetype, whole);
    return true;
  }
  return false;
}

/** A movable request that may not take pageblocks takes the smallest block that fits, to split little. */
function stealSmallest(zone: KernelZone, order: number, migratetype: number): boolean {
  for (let current = order; current <= ORDER_MAX; current++) {
    const type = suitableType(zone.allocator, current, migratetype);
    if (type < 0) continue;
    const whole = wantsPageblock(current, migratetype);
    steal(zone, zone.allocator.first(current, type), current, migratetype, whole);
    return true;
  }
  return false;
}

function alloc(zone: KernelZone, order: number, migratetype: number, flags: AllocFlags): number {
  const pfn = zone.allocator.alloc(order, migratetype);
  if (pfn >= 0 || !fallback61(zone, order, migratetype, flags)) return pfn;
  return zone.allocator.alloc(order, migratetype);
}

/** The rules of Linux 6.1. */
export const kernel61: Kernel = {
  version: "6.1",
  retypesMerged: false,
  alloc,
  allocBulk: (zone, order, migratetype, count, flags, pfns) => {
    let taken = 0;
    do taken += zone.allocator.allocBulk(order, migratetype, pfns.subarray(taken, count)); while (
      taken < count && fallback61(zone, order, migratetype, flags)
    );
    return taken;
  },
  free: (zone, pfn, order, migratetype, toTail) => zone.allocator.free(pfn, order, migratetype, toTail),
  movePageblock: ({ allocator }, pfn, migratetype) => {
    moveFreePages(allocator, pfn, migratetype);
    allocator.setPageblockType(pfn, migratetype);
  },
  /** Only the type changes; other free blocks of the pageblock stay on the lists they are on. */
  retypeIsolated: ({ allocator }, pfn, order) => {
    for (let page = pfn; page < pfn + ORDER_PAGES[order]; page += PAGEBLOCK_PAGES) {
      if (allocator.pageblockType(page) <= RECLAIMABLE) allocator.setPageblockType(page, MOVABLE);
    }
  },
  typeOfFreed: (_zone, _pfn, freedAs) => freedAs,
};
