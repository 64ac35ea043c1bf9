/**
 * What happens when the lists of a migratetype are empty: pages of another type are taken (Linux 6.1, mm/page_alloc.c
 * `__rmqueue_fallback`, `steal_suitable_fallback`).
 *
 * How many pages of a pageblock could move is not known to an allocator. Allocated pages are taken to be of their pageblock's
 * own type, so that a pageblock is claimed only when half of it is free.
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
  UNMOVABLE,
} from "./allocator.ts";

/** From which types a type may take, in order of preference (`fallbacks`). */
const FALLBACKS: readonly (readonly number[])[] = [[RECLAIMABLE, MOVABLE], [RECLAIMABLE, UNMOVABLE], [
  UNMOVABLE,
  MOVABLE,
]];

/** The first type of the row with a free block of this order, or -1 (`find_suitable_fallback`). */
function suitable(zone: Allocator, order: number, migratetype: number): number {
  if (zone.nrFree(order) === 0) return -1;
  for (const type of FALLBACKS[migratetype] ?? []) if (zone.first(order, type) >= 0) return type;
  return -1;
}

/** Whether a whole pageblock may be taken for a request (`can_steal_fallback`). */
function canSteal(order: number, migratetype: number): boolean {
  return order >= Math.floor(PAGEBLOCK_ORDER / 2) || migratetype === RECLAIMABLE || migratetype === UNMOVABLE;
}

/**
 * Moves the free blocks of the pageblock of `pfn` to the tail of the lists of `migratetype`; returns the pages moved. Where the
 * zone begins inside the pageblock only those from `pfn` on move, and where it ends inside none (`move_freepages_block`).
 */
function moveFreePages(zone: Allocator, pfn: number, migratetype: number): number {
  const first = Math.floor(pfn / PAGEBLOCK_PAGES) * PAGEBLOCK_PAGES;
  const end = first + PAGEBLOCK_PAGES;
  if (end > zone.startPfn + zone.pages) return 0;
  let moved = 0;
  for (let page = first < zone.startPfn ? pfn : first; page < end;) {
    const order = zone.orderAt(page);
    if (order < 0) {
      page++;
      continue;
    }
    zone.remove(page, order);
    zone.insert(page, order, migratetype, true);
    moved += ORDER_PAGES[order];
    page += ORDER_PAGES[order];
  }
  return moved;
}

/** Takes block `pfn` of `order`, and its pageblock where that is allowed, for `migratetype` (`steal_suitable_fallback`). */
function steal(zone: Allocator, pfn: number, order: number, migratetype: number, whole: boolean): void {
  const single = () => {
    zone.remove(pfn, order);
    zone.insert(pfn, order, migratetype, true);
  };
  if (zone.pageblockType(pfn) === HIGHATOMIC) return single();
  if (order >= PAGEBLOCK_ORDER) {
    for (let page = pfn; page < pfn + ORDER_PAGES[order]; page += PAGEBLOCK_PAGES) {
      zone.setPageblockType(page, migratetype);
    }
    return single();
  }
  if (!whole) return single();
  const free = moveFreePages(zone, pfn, migratetype);
  if (free === 0) return single();
  if (free >= PAGEBLOCK_PAGES / 2) zone.setPageblockType(pfn, migratetype);
}

/** Moves pages of another type to the lists of `migratetype`, so that an allocation of `order` succeeds; false if none. */
export function fallback(zone: Allocator, order: number, migratetype: number): boolean {
  for (let current = ORDER_MAX; current >= order; current--) {
    const type = suitable(zone, current, migratetype);
    if (type < 0) continue;
    const whole = canSteal(current, migratetype);
    if (!whole && migratetype === MOVABLE && current > order) return stealSmallest(zone, order, migratetype);
    steal(zone, zone.first(current, type), current, migratetype, whole);
    return true;
  }
  return false;
}

/** A movable request that may not take pageblocks takes the smallest block that fits, to split little. */
function stealSmallest(zone: Allocator, order: number, migratetype: number): boolean {
  for (let current = order; current <= ORDER_MAX; current++) {
    const type = suitable(zone, current, migratetype);
    if (type < 0) continue;
    steal(zone, zone.first(current, type), current, migratetype, canSteal(current, migratetype));
    return true;
  }
  return false;
}
