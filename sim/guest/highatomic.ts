/**
 * Pageblocks set aside for atomic requests of an order above 0, which cannot wait for memory (mm/page_alloc.c
 * `reserve_highatomic_pageblock`, `unreserve_highatomic_pageblock`, `rmqueue_buddy`).
 */
import { ORDER_PAGES } from "../memory/range.ts";
import { type Allocator, HIGHATOMIC, ORDER_MAX, PAGEBLOCK_ORDER, PAGEBLOCK_PAGES, RECLAIMABLE } from "./allocator.ts";
import type { AllocFlags, Kernel, KernelZone } from "./kernel.ts";

/** A zone that can set pageblocks aside. */
export interface ReservingZone extends KernelZone {
  /** The kernel generation. */
  readonly kernel: Kernel;
  /** Pages given to the allocator. */
  readonly managedPages: number;
  /** Pages of the pageblocks set aside, as the kernel counts them (`nr_reserved_highatomic`). */
  reservedHighatomicPages: number;
}

/** So many blocks of a list are looked up at a time. */
const READ_BLOCKS = 512;

/** No pageblock is set aside any more when there are so many pages, about a hundredth of the zone. */
function limitOf({ managedPages, kernel }: ReservingZone): number {
  const share = Math.floor(managedPages / 100);
  if (kernel.version === "6.1") return share + PAGEBLOCK_PAGES;
  return share < PAGEBLOCK_PAGES ? 0 : Math.ceil(share / PAGEBLOCK_PAGES) * PAGEBLOCK_PAGES;
}

/**
 * An atomic request got this block on the slow path: its pageblock is set aside, unless enough are, or it is one that must not
 * merge.
 *
 * ```ts
 * import { HIGHATOMIC } from "./allocator.ts";
 * import { Buddy } from "./buddy.ts";
 * import { reserveHighatomic, unreserveHighatomic } from "./highatomic.ts";
 * import { Zone } from "./zone.ts";
 * const allocator = new Buddy(0, 4096);
 * allocator.insertRange(0, 4096, 1);
 * const present = [{ pfn: 0, count: 4096 }];
 * const watermarks = { min: 0, low: 0, high: 0 };
 * const zone = new Zone({ index: 0, name: "Normal", allocator, present, managedPages: 4096, watermarks });
 * reserveHighatomic(zone, zone.alloc(2, 0), 2);
 * if (zone.highatomicPages !== 512 || allocator.first(8, HIGHATOMIC) < 0) throw new Error("set aside");
 * unreserveHighatomic([zone], 1);
 * if (allocator.first(8, HIGHATOMIC) >= 0) throw new Error("given back");
 * ```
 */
export function reserveHighatomic(zone: ReservingZone, pfn: number, order: number): void {
  const { allocator, kernel } = zone;
  if (zone.reservedHighatomicPages >= limitOf(zone) || allocator.pageblockType(pfn) > RECLAIMABLE) return;
  // 6.1 sets only the first pageblock of a large block aside.
  if (kernel.version !== "6.1" && order > PAGEBLOCK_ORDER) {
    retype(allocator, pfn, order, HIGHATOMIC);
    zone.reservedHighatomicPages += ORDER_PAGES[order];
    return;
  }
  kernel.movePageblock(zone, pfn, HIGHATOMIC);
  // 6.12 leaves a pageblock alone that does not lie in the zone as a whole.
  if (allocator.pageblockType(pfn) === HIGHATOMIC) zone.reservedHighatomicPages += PAGEBLOCK_PAGES;
}

/**
 * Gives one block set aside in these zones, the first of the smallest order that is free, back to the type of a request that
 * finds nothing else, with its pageblock; false when none is left.
 */
export function unreserveHighatomic(zones: readonly ReservingZone[], migratetype: number): boolean {
  for (const zone of zones) {
    for (let order = 0; order <= ORDER_MAX; order++) {
      const pfn = zone.allocator.first(order, HIGHATOMIC);
      if (pfn < 0) continue;
      unreserve(zone, pfn, order, migratetype);
      // 6.1 moves nothing where the zone ends inside the pageblock.
      if (zone.allocator.listOf(pfn, order) === migratetype) return true;
    }
  }
  return false;
}

function unreserve(zone: ReservingZone, pfn: number, order: number, migratetype: number): void {
  const { allocator, kernel } = zone;
  const old = kernel.version === "6.1";
  // In 6.1 a page that a CPU kept meanwhile can be on the list although its pageblock was given back.
  if (!old || allocator.pageblockType(pfn) === HIGHATOMIC) {
    const pages = old ? PAGEBLOCK_PAGES : Math.max(PAGEBLOCK_PAGES, ORDER_PAGES[order]);
    zone.reservedHighatomicPages -= Math.min(pages, zone.reservedHighatomicPages);
  }
  if (old || order < PAGEBLOCK_ORDER) return kernel.movePageblock(zone, pfn, migratetype);
  allocator.moveFreePages(pfn, ORDER_PAGES[order], migratetype);
  retype(allocator, pfn, order, migratetype);
}

function retype(allocator: Allocator, pfn: number, order: number, migratetype: number): void {
  for (let page = pfn; page < pfn + ORDER_PAGES[order]; page += PAGEBLOCK_PAGES) {
    allocator.setPageblockType(page, migratetype);
  }
}

/**
 * Takes 2^order pages for an atomic request: above order 0 from what is set aside first, and in 6.12, when nothing else is left,
 * at any order. The first page, or -1.
 */
export function allocAtomic(zone: ReservingZone, order: number, migratetype: number, flags: AllocFlags): number {
  const { allocator, kernel } = zone;
  let pfn = order > 0 ? allocator.alloc(order, HIGHATOMIC) : -1;
  if (pfn < 0) pfn = kernel.alloc(zone, order, migratetype, flags);
  if (pfn < 0 && kernel.version !== "6.1") pfn = allocator.alloc(order, HIGHATOMIC);
  return pfn;
}

/** Free pages on the lists of what is set aside (`nr_free_highatomic`). */
export function freeHighatomicPages(allocator: Allocator): number {
  let pages = 0;
  const pfns = new Float64Array(READ_BLOCKS);
  for (let order = 0; order <= ORDER_MAX; order++) {
    if (allocator.first(order, HIGHATOMIC) < 0) continue;
    let read = READ_BLOCKS;
    for (let last = -1; read === READ_BLOCKS; last = pfns[READ_BLOCKS - 1]) {
      read = allocator.read(order, HIGHATOMIC, last, pfns);
      pages += read * ORDER_PAGES[order];
    }
  }
  return pages;
}
