/** What must hold for a block of free pages beside the others of its zone; `base` is the page frame of the lists' page 0. */
import { ORDER_MAX, PAGEBLOCK_ORDER } from "./allocator.ts";
import type { FreeLists } from "./free_lists.ts";

/** Checks a block that stands on a list. Throws Error when its buddy is free, too, or a larger free block contains it. */
export function checkFreeBlock(lists: FreeLists, base: number, pfn: number, order: number): void {
  const page = pfn - base;
  if (order < PAGEBLOCK_ORDER && lists.has(page ^ (1 << order), order)) {
    throw new Error(`Unmerged buddy of ${nameOf(pfn, order)}`);
  }
  // Aligned blocks overlap only when one contains the other.
  for (let outer = order + 1; outer <= ORDER_MAX; outer++) {
    const head = page & -(1 << outer);
    if (lists.has(head, outer)) {
      throw new Error(`Block ${base + head} of order ${outer} overlaps ${nameOf(pfn, order)}`);
    }
  }
}

/** Checks a block that is about to be put on a list. Throws Error when it lies badly or its word belongs to another block. */
export function checkNewBlock(
  lists: FreeLists,
  zone: { readonly startPfn: number; readonly pages: number },
  base: number,
  pfn: number,
  order: number,
): void {
  const page = pfn - base;
  const size = 1 << order;
  const inside = pfn >= zone.startPfn && pfn + size <= zone.startPfn + zone.pages;
  if (inside && page % size === 0 && lists.cells[lists.wordOf(page, order)] === 0) return;
  const where = nameOf(pfn, order);
  if (page % size !== 0) throw new Error(`Misaligned ${where}`);
  if (!inside) throw new Error(`Outside the zone: ${where}`);
  if (order === 0 && lists.has(page ^ 1, 0)) throw new Error(`Unmerged buddy of ${where}`);
  throw new Error(`A free block overlaps ${where}`);
}

function nameOf(pfn: number, order: number): string {
  return `block ${pfn} of order ${order}`;
}
