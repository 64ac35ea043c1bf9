/**
 * What is known of the pages in use when a recording begins: those in pageblocks of kernel memory cannot be migrated. Without it
 * a request for movable memory would find them alike, and claim pageblocks that the kernel left alone.
 */
import { ORDER_PAGES } from "../memory/range.ts";
import { MOVABLE, PAGEBLOCK_PAGES } from "./allocator.ts";
import type { Zone } from "./zone.ts";

/** Takes the pages in use of pageblocks that are not movable for pages that cannot be migrated. */
export function noteUnmovable(zone: Zone): void {
  const { allocator, unmovable, endPfn } = zone;
  for (let block = Math.floor(allocator.startPfn / PAGEBLOCK_PAGES); block * PAGEBLOCK_PAGES < endPfn; block++) {
    const first = Math.max(allocator.startPfn, block * PAGEBLOCK_PAGES);
    const end = Math.min(endPfn, (block + 1) * PAGEBLOCK_PAGES);
    if (allocator.pageblockType(first) !== MOVABLE) unmovable.setRange(first, end - first);
  }
  zone.forEachFree((pfn, order) => unmovable.clearRange(pfn, ORDER_PAGES[order]));
}
