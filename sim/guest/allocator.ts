/**
 * The page allocator of one zone, as the guest and the policies see it.
 *
 * A free block is named by the page frame number of its first page; its order is known to the allocator. Blocks are
 * naturally aligned, so the head of a block of order k around a page is that page rounded down to 2^k.
 */

/** Orders of the buddy allocator: 0 to 10 (Linux MAX_PAGE_ORDER, 4 MiB). */
export const ORDER_MAX = 10;
/** Number of orders. */
export const ORDERS = 11;
/** The order of a pageblock and of a huge page, 2 MiB. */
export const PAGEBLOCK_ORDER = 9;
/** Pages in a pageblock. */
export const PAGEBLOCK_PAGES = 512;

/** Migratetypes in the kernel's order (include/linux/mmzone.h). */
export const MIGRATETYPES: readonly string[] = ["unmovable", "movable", "reclaimable", "highatomic", "isolate"];
/** The number of migratetypes. */
export const MIGRATETYPE_COUNT = 5;
/** Pages that stay where they are: kernel data. */
export const UNMOVABLE = 0;
/** Pages that can be migrated: user memory. */
export const MOVABLE = 1;
/** Kernel data that can be given back under pressure. */
export const RECLAIMABLE = 2;
/** A reserve for atomic allocations. */
export const HIGHATOMIC = 3;
/** Pages being taken out of use. */
export const ISOLATE = 4;

/**
 * What every page allocator of a zone can do, whatever it remembers its free pages in: what the guest, its samples and metrics,
 * and policies without lists need. {@link Allocator} has lists beside it.
 */
export interface PageAllocator {
  /** First page frame of the zone. */
  readonly startPfn: number;
  /** Pages from the first to the last, holes included. */
  readonly pages: number;
  /** Pages that are free here. */
  readonly freePages: number;
  /** Free pages whose block is marked Reported; none where no block can be marked. */
  readonly reportedPages: number;
  /** Bytes of its own that were ever in use, for the tests and for reports of memory. */
  readonly arenaBytes: number;
  /**
   * Free blocks of an order (the kernel's nr_free). Without lists these are the largest aligned blocks of free pages, as a buddy
   * allocator that merges all it can would have them.
   */
  nrFree(order: number): number;
  /** Free blocks of an order that are marked Reported. */
  nrReported(order: number): number;
  /** Takes 2^order pages of a migratetype for a CPU, the first unless told; the first page, or -1. */
  alloc(order: number, migratetype: number, cpu?: number): number;
  /** Gives back 2^order pages; returns the order of the free block they are in now. */
  free(pfn: number, order: number, migratetype: number): number;
  /** The order of the free block whose first page is `pfn`, or -1. */
  orderAt(pfn: number): number;
  /** Takes a known free block out; it is neither free nor allocated then. Throws Error when it is not free. */
  remove(pfn: number, order: number): void;
  /** Gives back a range of which no page is free, in the largest aligned blocks, ascending, without checks. */
  insertRange(pfn: number, count: number, migratetype: number): void;
  /** The migratetype of the pageblock of a page. */
  pageblockType(pfn: number): number;
  /** Pageblocks of a migratetype in the span of the zone, those at its edges that it has in part included. */
  pageblocks(migratetype: number): number;
  /** Calls `visit` for every free block. The allocator must not change meanwhile. */
  forEachFree(visit: (pfn: number, order: number) => void): void;
  /** Checks every invariant. Throws Error naming the first that does not hold. */
  validate(): void;
}

/** Free lists of one zone, with Linux's rules for splitting, merging and the order of lists. */
export interface Allocator extends PageAllocator {
  /**
   * Whether what is left of a Reported block that is split stays Reported: Michael S. Tsirkin, "mm: page_alloc: propagate
   * PageReported flag across buddy splits" (v9, 29 May 2026, not merged). A page of it that is freed again is not. Off unless
   * set; an allocator without it never does.
   */
  propagatesReported?: boolean;
  /** Takes 2^order pages from the lists of one migratetype, smallest block first; the first page, or -1. */
  alloc(order: number, migratetype: number): number;
  /** Gives back 2^order pages to the list of `migratetype`, merging; returns the order of the block they are in now. */
  free(pfn: number, order: number, migratetype: number, toTail?: boolean): number;
  /** Takes blocks of an order into `out`, just as so many calls of alloc would; returns how many, fewer when none are left. */
  allocBulk(order: number, migratetype: number, out: Float64Array): number;
  /** Gives back the first `count` blocks of `pfns`, each to the list of its pageblock's type, just as calls of free would. */
  freeBulk(pfns: Float64Array, count: number, order: number): void;
  /** The head of a list, or -1. */
  first(order: number, migratetype: number): number;
  /** The tail of a list, or -1. */
  last(order: number, migratetype: number): number;
  /** The block before `pfn` on its list, or -1 at the head. */
  previous(pfn: number, order: number): number;
  /** The block after `pfn` on its list, or -1 at the end. */
  next(pfn: number, order: number): number;
  /**
   * Copies the blocks of a list in order into `out`: those after `pfn`, or from the head on when it is -1. Returns how many;
   * fewer than `out` holds only at the end. Much cheaper than a call of next for each block.
   */
  read(order: number, migratetype: number, pfn: number, out: Float64Array): number;
  /** Takes a known free block off its list; it is neither free nor allocated then. Clears Reported. Throws Error when not free. */
  remove(pfn: number, order: number): void;
  /** Puts a block on a list without merging. Throws Error when it is misaligned, outside the zone, or free already. */
  insert(pfn: number, order: number, migratetype: number, toTail: boolean): void;
  /** Puts the largest aligned blocks that make up a range to the tails of their lists, ascending, without merging or checks. */
  insertRange(pfn: number, count: number, migratetype: number): void;
  /** Moves the free blocks that begin in a range to the tails of another type's lists, ascending; returns their pages. */
  moveFreePages(pfn: number, count: number, migratetype: number): number;
  /** Rotates a list so that `pfn` becomes its head, keeping the cyclic order. */
  rotate(pfn: number, order: number, migratetype: number): void;
  /** Whether the free block is marked Reported. */
  isReported(pfn: number, order: number): boolean;
  /** Marks a free block Reported. The mark dies when the block leaves its list. */
  setReported(pfn: number, order: number): void;
  /** The list on which a free block stands. */
  listOf(pfn: number, order: number): number;
  /** Sets the migratetype of the pageblock of a page; the blocks on the lists stay where they are. */
  setPageblockType(pfn: number, migratetype: number): void;
}

/** Whether an allocator has free lists. */
export function hasLists(pages: PageAllocator): pages is Allocator {
  return "rotate" in pages;
}

/** So many blocks of a list are looked up at a time. */
const READ_BLOCKS = 512;

/** {@link PageAllocator.forEachFree} of an allocator with lists: list by list, from order 0 up. */
export function forEachOnLists(lists: Allocator, visit: (pfn: number, order: number) => void): void {
  const pfns = new Float64Array(READ_BLOCKS);
  for (let order = 0; order <= ORDER_MAX; order++) {
    if (lists.nrFree(order) === 0) continue;
    for (let type = 0; type < MIGRATETYPE_COUNT; type++) {
      let read = lists.read(order, type, -1, pfns);
      while (read > 0) {
        for (let i = 0; i < read; i++) visit(pfns[i], order);
        read = read < READ_BLOCKS ? 0 : lists.read(order, type, pfns[read - 1], pfns);
      }
    }
  }
}
