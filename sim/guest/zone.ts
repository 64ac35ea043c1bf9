/** A memory zone: an allocator with the figures the kernel keeps beside it, and the isolation of free blocks. */
import { PageBitmap } from "../memory/bitmap.ts";
import { ORDER_PAGES, pagesOf } from "../memory/range.ts";
import {
  type Allocator,
  hasLists,
  ISOLATE,
  MOVABLE,
  type PageAllocator,
  PAGEBLOCK_ORDER,
  PAGEBLOCK_PAGES,
} from "./allocator.ts";
import { freeHighatomicPages, type ReservingZone } from "./highatomic.ts";
import { type AllocFlags, type Kernel, NO_FLAGS } from "./kernel.ts";
import { kernel61 } from "./kernel_6_1.ts";
import { type FreeCounts, watermarkOk } from "./watermark_check.ts";
import { boostedPages, type Watermarks } from "./watermarks.ts";

/** What a zone is made of. */
export interface ZoneParts {
  /** Index in the guest's list of zones, ascending by address. */
  readonly index: number;
  /** DMA, DMA32, Normal or Movable. */
  readonly name: string;
  /** Where its free pages are: the free lists, unless it has another allocator. */
  readonly allocator: PageAllocator;
  /** Ranges of pages that exist at boot, ascending, without the holes. */
  readonly present: readonly { readonly pfn: number; readonly count: number }[];
  /** Pages that the allocator was given at boot: present less reserved. */
  readonly managedPages: number;
  /** Watermarks in pages. */
  readonly watermarks: Watermarks;
  /** The kernel generation, 6.1 unless told. */
  readonly kernel?: Kernel;
  /** First page frame that it will never have; its end unless told. */
  readonly reachPfn?: number;
}

/** A zone of one guest. */
export class Zone implements ReservingZone, FreeCounts {
  /** Index in the guest's list of zones. */
  readonly index: number;
  /** DMA, DMA32, Normal or Movable. */
  readonly name: string;
  /** Where its free pages are, whatever the allocator. */
  readonly pages: PageAllocator;
  /** Whether there are free lists, which can be walked: {@link allocator}. */
  readonly hasLists: boolean;
  /** Ranges of pages that exist at boot. */
  readonly present: readonly { readonly pfn: number; readonly count: number }[];
  /** Pages that exist now, without the holes. */
  presentPages: number;
  /** Pages given to the allocator. */
  managedPages: number;
  /** Watermarks in pages; others when memory has come or gone. */
  watermarks: Watermarks;
  /** The kernel generation. */
  readonly kernel: Kernel;
  /** Pages in use that cannot be migrated; all others in use are taken to be on the LRU. */
  readonly unmovable: PageBitmap;
  /** By how many pages the marks are raised until kswapd has run. */
  watermarkBoost = 0;
  /** Called when the marks were raised; without it they never are. */
  onBoost: (() => void) | undefined = undefined;
  /** Pages of the pageblocks set aside for atomic requests, as the kernel counts them (`nr_reserved_highatomic`). */
  reservedHighatomicPages = 0;
  /** Whether kswapd works on it just now (ZONE_RECLAIM_ACTIVE). */
  reclaimActive = false;
  /**
   * 6.12: a request found no more free than the high mark, and no drain of a per-CPU list found more since (ZONE_BELOW_HIGH,
   * mm/page_alloc.c `get_page_from_freelist`, `free_unref_page_commit`).
   */
  belowHigh = false;
  /** Until when the driver holds the zone lock, ns of virtual time. */
  lockedUntilNs = 0;

  /** A zone from its parts. */
  constructor(parts: ZoneParts) {
    this.index = parts.index;
    this.name = parts.name;
    this.pages = parts.allocator;
    this.hasLists = hasLists(parts.allocator);
    this.present = parts.present;
    this.presentPages = pagesOf(parts.present);
    this.managedPages = parts.managedPages;
    this.watermarks = parts.watermarks;
    this.kernel = parts.kernel ?? kernel61;
    this.unmovable = new PageBitmap(parts.reachPfn ?? this.endPfn);
  }

  /** The free lists. Throws Error where the zone's allocator has none. */
  get allocator(): Allocator {
    if (!this.hasLists) throw new Error(`Zone ${this.name} has no free lists: its page allocator keeps none`);
    return this.pages as Allocator;
  }

  /** First page frame after the zone. */
  get endPfn(): number {
    return this.pages.startPfn + this.pages.pages;
  }

  /** Whether the page lies between the first and the last page of the zone. */
  spans(pfn: number): boolean {
    return pfn >= this.pages.startPfn && pfn < this.endPfn;
  }

  /** Calls `visit` for every free block; where there are lists, list by list, from order 0 up. They must not change meanwhile. */
  forEachFree(visit: (pfn: number, order: number) => void): void {
    this.pages.forEachFree(visit);
  }

  /** Takes 2^order pages of a migratetype, from another type's lists if its own are empty; the first page, or -1. */
  alloc(order: number, migratetype: number, flags: AllocFlags = NO_FLAGS, cpu = 0): number {
    return this.kernel.alloc(this, order, migratetype, flags, cpu);
  }

  /** Gives back pages to the lists of their pageblock's type; returns the order of the block they are in now. */
  free(pfn: number, order: number): number {
    return this.kernel.free(this, pfn, order, this.pages.pageblockType(pfn), false);
  }

  /**
   * Whether a pageblock may change its type: at least half of it is free or of the kind that asks. Only unmovable pages are
   * known; of those of other types nothing is alike (`steal_suitable_fallback`, `try_to_claim_block`).
   */
  mayClaim(first: number, freePages: number, wanted: number, present: number): boolean {
    const unmovable = this.unmovable.countRange(first, PAGEBLOCK_PAGES);
    let alike = 0;
    if (wanted === MOVABLE) alike = PAGEBLOCK_PAGES - freePages - unmovable;
    else if (present === MOVABLE) alike = unmovable;
    return freePages + alike >= PAGEBLOCK_PAGES / 2;
  }

  /** Pages of another type were taken: raises the marks, where somebody lowers them again (`boost_watermark`). */
  boost(): void {
    if (this.onBoost === undefined) return;
    this.watermarkBoost = boostedPages(this.watermarkBoost, this.watermarks.high, this.managedPages);
    if (this.watermarkBoost > 0) this.onBoost();
  }

  /** Pages on the free lists. */
  get freePages(): number {
    return this.pages.freePages;
  }

  /** See {@link FreeCounts.highatomicPages}. */
  get highatomicPages(): number {
    if (this.reservedHighatomicPages === 0) return 0;
    return this.kernel.version === "6.1" ? this.reservedHighatomicPages : freeHighatomicPages(this.allocator);
  }

  /** Whether the list of an order and migratetype has a block; without lists, whether there is one of the order. */
  hasBlock(order: number, migratetype: number): boolean {
    if (!this.hasLists) return this.pages.nrFree(order) > 0;
    return this.allocator.first(order, migratetype) >= 0;
  }

  /**
   * Takes a free block off its list for the driver (`__isolate_free_page`); false when that would leave less than the minimum
   * watermark, which counts without its boost here, beside what is set aside. At order 8 and above the pageblocks it touches
   * become movable.
   */
  isolate(pfn: number, order: number): boolean {
    const { pages, watermarks } = this;
    const type = pages.pageblockType(pfn);
    if (type !== ISOLATE && !watermarkOk(this, 0, watermarks.min + ORDER_PAGES[order], 0)) return false;
    pages.remove(pfn, order);
    if (order >= PAGEBLOCK_ORDER - 1) this.kernel.retypeIsolated(this, pfn, order);
    return true;
  }

  /**
   * Puts an isolated block back to the tail of the list of its pageblock's present type (`__putback_isolated_page`), or as any
   * free would, and marks it Reported, when asked, unless it merged. Returns the order of the block it is in now.
   */
  putBack(pfn: number, order: number, reported: boolean, toTail = true): number {
    if (!this.hasLists) return this.free(pfn, order);
    const merged = this.allocator.free(pfn, order, this.allocator.pageblockType(pfn), toTail);
    if (reported && merged === order) this.allocator.setReported(pfn, order);
    return merged;
  }
}
