/**
 * Taking pageblocks out of use and back (mm/page_isolation.c): free blocks go to the ISOLATE lists, where no allocation finds
 * them, and what is freed meanwhile follows its pageblock's type there.
 *
 * The generations differ where a free block of order 10 covers a pageblock that is to change: 6.1 moves it with its first half,
 * 6.12 splits it first (`move_freepages_block_isolate`).
 */
import { type Allocator, ISOLATE, MOVABLE, ORDER_MAX, PAGEBLOCK_ORDER, PAGEBLOCK_PAGES } from "./allocator.ts";

/** Moves the free blocks of a pageblock to the lists of a type, and retypes it. */
function movePageblock(lists: Allocator, pfn: number, migratetype: number, splits: boolean): void {
  const head = splits ? largeBlockAround(lists, pfn) : -1;
  if (head < 0) lists.moveFreePages(pfn, PAGEBLOCK_PAGES, migratetype);
  else lists.remove(head, ORDER_MAX);
  lists.setPageblockType(pfn, migratetype);
  if (head < 0) return;
  for (const half of [head, head + PAGEBLOCK_PAGES]) lists.free(half, PAGEBLOCK_ORDER, lists.pageblockType(half));
}

/** The first page of the free block of order 10 that covers a pageblock, or -1 (`find_large_buddy`). */
function largeBlockAround(lists: Allocator, pfn: number): number {
  const head = pfn - pfn % (2 * PAGEBLOCK_PAGES);
  return lists.orderAt(head) === ORDER_MAX ? head : -1;
}

/** Puts a pageblock back into use as movable (`unset_migratetype_isolate`). */
function unisolate(lists: Allocator, pfn: number, splits: boolean): void {
  if (lists.pageblockType(pfn) !== ISOLATE) return;
  const buddy = pfn % (2 * PAGEBLOCK_PAGES) === 0 ? pfn + PAGEBLOCK_PAGES : pfn - PAGEBLOCK_PAGES;
  const halves = lists.orderAt(pfn) === PAGEBLOCK_ORDER && lists.orderAt(buddy) === PAGEBLOCK_ORDER;
  if (!halves || lists.pageblockType(buddy) === ISOLATE) return movePageblock(lists, pfn, MOVABLE, splits);
  // Two free halves that the isolation kept apart merge only when one of them is freed.
  lists.remove(pfn, PAGEBLOCK_ORDER);
  lists.setPageblockType(pfn, MOVABLE);
  lists.free(pfn, PAGEBLOCK_ORDER, MOVABLE, true);
}

/**
 * Isolates the pageblocks of a range: its ends first, then the others in ascending order (`start_isolate_page_range`). Stops at
 * the first that `mayIsolate` refuses and undoes what was done. Returns the first page of that pageblock, or -1 when all are
 * isolated. `splits` is true for 6.12.
 */
export function isolateRange(
  lists: Allocator,
  pfn: number,
  count: number,
  splits: boolean,
  mayIsolate: (pageblockPfn: number) => boolean,
): number {
  const last = pfn + count - PAGEBLOCK_PAGES;
  const isolate = (page: number): boolean => {
    if (!mayIsolate(page)) return false;
    movePageblock(lists, page, ISOLATE, splits);
    return true;
  };
  if (!isolate(pfn)) return pfn;
  if (last > pfn && !isolate(last)) {
    unisolate(lists, pfn, splits);
    return last;
  }
  for (let page = pfn + PAGEBLOCK_PAGES; page < last; page += PAGEBLOCK_PAGES) {
    if (isolate(page)) continue;
    unisolateRange(lists, pfn, page - pfn, splits);
    unisolate(lists, last, splits);
    return page;
  }
  return -1;
}

/** Puts the isolated pageblocks of a range back into use, all as movable, ascending (`undo_isolate_page_range`). */
export function unisolateRange(lists: Allocator, pfn: number, count: number, splits: boolean): void {
  for (let page = pfn; page < pfn + count; page += PAGEBLOCK_PAGES) unisolate(lists, page, splits);
}
