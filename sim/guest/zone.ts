/** A memory zone: an allocator with the figures the kernel keeps beside it, and the isolation of free blocks. */
import { ORDER_PAGES, pagesOf } from "../memory/range.ts";
import {
  type Allocator,
  ISOLATE,
  MIGRATETYPE_COUNT,
  MOVABLE,
  ORDER_MAX,
  PAGEBLOCK_ORDER,
  PAGEBLOCK_PAGES,
  RECLAIMABLE,
} from "./allocator.ts";
import { fallback } from "./fallback.ts";
import type { Watermarks } from "./watermarks.ts";

/** What a zone is made of. */
export interface ZoneParts {
  /** Index in the guest's list of zones, ascending by address. */
  readonly index: number;
  /** DMA, DMA32, Normal or Movable. */
  readonly name: string;
  /** The free lists. */
  readonly allocator: Allocator;
  /** Ranges of pages that exist, ascending, without the holes. */
  readonly present: readonly { readonly pfn: number; readonly count: number }[];
  /** Pages that the allocator was given at boot: present less reserved. */
  readonly managedPages: number;
  /** Watermarks in pages. */
  readonly watermarks: Watermarks;
}

/** A zone of one guest. */
export class Zone {
  /** Index in the guest's list of zones. */
  readonly index: number;
  /** DMA, DMA32, Normal or Movable. */
  readonly name: string;
  /** The free lists. */
  readonly allocator: Allocator;
  /** Ranges of pages that exist. */
  readonly present: readonly { readonly pfn: number; readonly count: number }[];
  /** Pages given to the allocator at boot. */
  readonly managedPages: number;
  /** Watermarks in pages. */
  readonly watermarks: Watermarks;
  /** Until when the driver holds the zone lock, ns of virtual time. */
  lockedUntilNs = 0;

  /** A zone from its parts. */
  constructor(parts: ZoneParts) {
    this.index = parts.index;
    this.name = parts.name;
    this.allocator = parts.allocator;
    this.present = parts.present;
    this.managedPages = parts.managedPages;
    this.watermarks = parts.watermarks;
  }

  /** First page frame after the zone. */
  get endPfn(): number {
    return this.allocator.startPfn + this.allocator.pages;
  }

  /** Whether the page lies between the first and the last page of the zone. */
  spans(pfn: number): boolean {
    return pfn >= this.allocator.startPfn && pfn < this.endPfn;
  }

  /** Pages that exist, without the holes. */
  get presentPages(): number {
    return pagesOf(this.present);
  }

  /** Calls `visit` for every free block, list by list, from order 0 up. */
  forEachFree(visit: (pfn: number, order: number) => void): void {
    const { allocator } = this;
    for (let order = 0; order <= ORDER_MAX; order++) {
      if (allocator.nrFree(order) === 0) continue;
      for (let type = 0; type < MIGRATETYPE_COUNT; type++) {
        for (let pfn = allocator.first(order, type); pfn >= 0; pfn = allocator.next(pfn, order)) visit(pfn, order);
      }
    }
  }

  /** Takes 2^order pages of a migratetype, from another type's lists if its own are empty; the first page, or -1. */
  alloc(order: number, migratetype: number): number {
    const pfn = this.allocator.alloc(order, migratetype);
    if (pfn >= 0 || !fallback(this.allocator, order, migratetype)) return pfn;
    return this.allocator.alloc(order, migratetype);
  }

  /**
   * Takes a free block off its list for the driver (`__isolate_free_page`); false when that would leave less than the minimum
   * watermark. At order 8 and above the pageblocks it touches become movable.
   */
  isolate(pfn: number, order: number): boolean {
    const { allocator, watermarks } = this;
    const type = allocator.pageblockType(pfn);
    if (type !== ISOLATE && allocator.freePages <= watermarks.min + ORDER_PAGES[order]) return false;
    allocator.remove(pfn, order);
    if (order >= PAGEBLOCK_ORDER - 1) this.#makeMovable(pfn, order);
    return true;
  }

  /**
   * Puts an isolated block back to the tail of the list of its pageblock's present type (`__putback_isolated_page`) and, when
   * asked, marks it Reported unless it merged. Returns the order of the block it is in now.
   */
  putBack(pfn: number, order: number, reported: boolean): number {
    const merged = this.allocator.free(pfn, order, this.allocator.pageblockType(pfn), true);
    if (reported && merged === order) this.allocator.setReported(pfn, order);
    return merged;
  }

  /** Only the type changes in 6.1; other free blocks of the pageblock stay on the lists they are on. */
  #makeMovable(pfn: number, order: number): void {
    for (let page = pfn; page < pfn + ORDER_PAGES[order]; page += PAGEBLOCK_PAGES) {
      if (this.allocator.pageblockType(page) <= RECLAIMABLE) this.allocator.setPageblockType(page, MOVABLE);
    }
  }
}
