/**
 * Linux 6.12: fallback in two functions, claim and steal; pages always go back to the type of their pageblock
 * (mm/page_alloc.c `__rmqueue_claim`, `__rmqueue_steal`, `split_large_buddy`, `__free_one_page`).
 */
import { ORDER_PAGES } from "../memory/range.ts";
import { type Allocator, MOVABLE, ORDER_MAX, PAGEBLOCK_ORDER, PAGEBLOCK_PAGES, RECLAIMABLE } from "./allocator.ts";
import { type AllocFlags, type Kernel, type KernelZone, suitableType, wantsPageblock } from "./kernel.ts";

/** What the last block of a bulk was: while blocks are stolen, neither the own lists nor a claim is tried again. */
type Mode = "normal" | "steal";

/** Takes a whole pageblock, or more, of another type; the first of the pages wanted, or -1 (`__rmqueue_claim`). */
function claim(zone: KernelZone, order: number, migratetype: number, flags: AllocFlags): number {
  const lists = zone.allocator;
  const least = flags.noFragment ? Math.max(order, PAGEBLOCK_ORDER) : order;
  for (let current = ORDER_MAX; current >= least; current--) {
    if (!wantsPageblock(current, migratetype)) return -1;
    const type = suitableType(lists, current, migratetype);
    if (type < 0) continue;
    const head = lists.first(current, type);
    if (current >= PAGEBLOCK_ORDER) return claimWhole(lists, head, current, order, migratetype);
    zone.boost();
    if (claimPageblock(zone, head, current, type, migratetype)) return lists.alloc(order, migratetype);
  }
  return -1;
}

/** Retypes the pageblocks of a block and takes its lowest pages; the rest goes to the lists of the new type. */
function claimWhole(lists: Allocator, head: number, current: number, order: number, migratetype: number): number {
  const reported = staysReported(lists, head, current);
  lists.remove(head, current);
  for (let page = head; page < head + ORDER_PAGES[current]; page += PAGEBLOCK_PAGES) {
    lists.setPageblockType(page, migratetype);
  }
  expand(lists, head, current, order, migratetype, reported);
  return head;
}

/** Moves a pageblock to another type when enough of it is free or alike; else nothing moves (`try_to_claim_block`). */
function claimPageblock(zone: KernelZone, pfn: number, order: number, present: number, wanted: number): boolean {
  const lists = zone.allocator;
  const first = wholePageblock(lists, pfn);
  if (first < 0) return false;
  let free = 0;
  for (let page = first; page < first + PAGEBLOCK_PAGES;) {
    const inside = lists.orderAt(page);
    if (inside >= 0) free += ORDER_PAGES[inside];
    page += inside < 0 ? 1 : ORDER_PAGES[inside];
  }
  if (!zone.mayClaim(first, free, wanted, present, order)) return false;
  movePageblock(lists, first, wanted);
  return true;
}

/** The first page of a pageblock that lies in the zone as a whole, or -1 (`prep_move_freepages_block`). */
function wholePageblock(lists: Allocator, pfn: number): number {
  const first = Math.floor(pfn / PAGEBLOCK_PAGES) * PAGEBLOCK_PAGES;
  return first >= lists.startPfn && first + PAGEBLOCK_PAGES <= lists.startPfn + lists.pages ? first : -1;
}

/** Moves the free blocks of a pageblock to the tails of the lists of `migratetype`, and retypes it. */
function movePageblock(lists: Allocator, first: number, migratetype: number): void {
  lists.moveFreePages(first, PAGEBLOCK_PAGES, migratetype);
  lists.setPageblockType(first, migratetype);
}

/** Takes the smallest block of another type that fits; what is left of it stays with that type (`__rmqueue_steal`). */
function steal(lists: Allocator, order: number, migratetype: number): number {
  for (let current = order; current <= ORDER_MAX; current++) {
    const type = suitableType(lists, current, migratetype);
    if (type < 0) continue;
    const head = lists.first(current, type);
    const reported = staysReported(lists, head, current);
    lists.remove(head, current);
    expand(lists, head, current, order, type, reported);
    return head;
  }
  return -1;
}

/** Puts all but the lowest 2^order pages of a block that was taken on the lists of a type, upper halves first. */
function expand(
  lists: Allocator,
  head: number,
  current: number,
  order: number,
  migratetype: number,
  reported: boolean,
): void {
  while (current > order) {
    current--;
    const rest = head + ORDER_PAGES[current];
    lists.insert(rest, current, migratetype, false);
    if (reported) lists.setReported(rest, current);
  }
}

/** Whether what is left of a block that is about to be split stays Reported. */
function staysReported(lists: Allocator, head: number, order: number): boolean {
  return lists.propagatesReported === true && lists.isReported(head, order);
}

/** The 6.12 generation. */
class Kernel612 implements Kernel {
  readonly version = "6.12";
  readonly retypesMerged = true;
  #mode: Mode = "normal";

  alloc(zone: KernelZone, order: number, migratetype: number, flags: AllocFlags): number {
    this.#mode = flags.stealing ? "steal" : "normal";
    return this.#next(zone, order, migratetype, flags);
  }

  allocBulk(
    zone: KernelZone,
    order: number,
    migratetype: number,
    count: number,
    flags: AllocFlags,
    pfns: Float64Array,
  ): number {
    this.#mode = "normal";
    const own = zone.allocator.allocBulk(order, migratetype, pfns.subarray(0, count));
    for (let taken = own; taken < count; taken++) {
      const pfn = this.#next(zone, order, migratetype, flags);
      if (pfn < 0) return taken;
      pfns[taken] = pfn;
    }
    return count;
  }

  free(zone: KernelZone, pfn: number, order: number, migratetype: number, toTail: boolean): number {
    const lists = zone.allocator;
    if (order <= PAGEBLOCK_ORDER) return lists.free(pfn, order, migratetype, toTail);
    // Parts of a pageblock, each with its own type; they may merge again.
    let merged = order;
    for (let page = pfn; page < pfn + ORDER_PAGES[order]; page += PAGEBLOCK_PAGES) {
      merged = lists.free(page, PAGEBLOCK_ORDER, lists.pageblockType(page), toTail);
    }
    return merged;
  }

  movePageblock(zone: KernelZone, pfn: number, migratetype: number): void {
    const first = wholePageblock(zone.allocator, pfn);
    if (first >= 0) movePageblock(zone.allocator, first, migratetype);
  }

  /** Other free blocks of the pageblocks move along, also when those were movable before. */
  retypeIsolated(zone: KernelZone, pfn: number, order: number): void {
    const lists = zone.allocator;
    for (let page = pfn; page < pfn + ORDER_PAGES[order]; page += PAGEBLOCK_PAGES) {
      if (lists.pageblockType(page) <= RECLAIMABLE) this.movePageblock(zone, page, MOVABLE);
    }
  }

  typeOfFreed(zone: KernelZone, pfn: number): number {
    return zone.allocator.pageblockType(pfn);
  }

  #next(zone: KernelZone, order: number, migratetype: number, flags: AllocFlags): number {
    if (this.#mode === "normal") {
      const pfn = zone.allocator.alloc(order, migratetype);
      if (pfn >= 0) return pfn;
      const claimed = claim(zone, order, migratetype, flags);
      if (claimed >= 0) return claimed;
    }
    if (flags.noFragment) return -1;
    const stolen = steal(zone.allocator, order, migratetype);
    if (stolen >= 0) this.#mode = "steal";
    return stolen;
  }
}

/** The rules of Linux 6.12. They are used by one call at a time and keep nothing between calls. */
export const kernel612: Kernel = new Kernel612();
