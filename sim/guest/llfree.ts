/**
 * LLFree, a page allocator without lists and without a lock (Wrenger et al., "LLFree: Scalable and Optionally-Persistent Page-Frame
 * Allocation", USENIX ATC 2023), in the generation of October 2024 that HyperAlloc uses (EuroSys 2025): a bit for each page,
 * an entry for each 2 MiB with the bit that says that the host has its memory, a counter for each 16 MiB, and a tree reserved for
 * each CPU and kind of request.
 *
 * Left out: the heuristic that reserves a tree in which a CPU frees much, and what only concurrent CPUs would show, retries. A
 * tree of another CPU is also stolen when its free pages are counted in the shared entry only, so that no request fails while a
 * block is free.
 */
import { forEachAlignedBlock, ORDER_PAGES } from "../memory/range.ts";
import { MOVABLE, ORDER_MAX, type PageAllocator, PAGEBLOCK_PAGES, UNMOVABLE } from "./allocator.ts";
import type { Kernel } from "./kernel.ts";
import { LlfreeChildren } from "./llfree_children.ts";
import { FIXED, LlfreeTrees, TREE_CHILDREN, TREE_PAGES } from "./llfree_trees.ts";

/** The largest zone in pages: page numbers inside of it are below 2^31. */
const PAGES_MAX = 2 ** 31 - TREE_PAGES;

/**
 * The free pages of one zone.
 *
 * ```ts
 * import { Llfree } from "./llfree.ts";
 * const zone = new Llfree(0, 4096, 1);
 * zone.free(0, 10, 1);
 * const page = zone.alloc(0, 1, 0);
 * if (page !== 0 || zone.freePages !== 1023 || zone.nrFree(9) !== 1) throw new Error("the first page of the tree");
 * if (zone.free(page, 0, 1) !== 10) throw new Error("clearing a bit is all that merging takes");
 * ```
 */
export class Llfree implements PageAllocator {
  /** First page frame of the zone. */
  readonly startPfn: number;
  /** Pages from the first to the last, holes included. */
  readonly pages: number;
  /** No block can be marked Reported. */
  readonly reportedPages = 0;
  #freePages = 0;
  /** The first page rounded down to a tree; the pages before the zone are in use for ever. */
  readonly #base: number;
  readonly #children: LlfreeChildren;
  readonly #trees: LlfreeTrees;
  /** The child at which the next search for memory to reclaim begins. */
  #reclaimFrom = 0;

  /** An allocator without free pages for a guest of `cpus` CPUs. Throws RangeError when the zone is too large. */
  constructor(startPfn: number, pages: number, cpus: number) {
    this.startPfn = startPfn;
    this.pages = pages;
    this.#base = startPfn - startPfn % TREE_PAGES;
    const trees = Math.ceil((startPfn + pages - this.#base) / TREE_PAGES);
    if (trees * TREE_PAGES > PAGES_MAX) {
      throw new RangeError(`A zone of ${pages} pages is larger than the ${PAGES_MAX} pages that one zone can hold`);
    }
    this.#children = new LlfreeChildren(trees * TREE_CHILDREN);
    this.#trees = new LlfreeTrees(trees, cpus);
  }

  /** Pages that are free. */
  get freePages(): number {
    return this.#freePages;
  }

  /** Bytes of bits, entries and counters, all of them from the start: 66.25 for each 2 MiB. */
  get arenaBytes(): number {
    return this.#children.bytes + this.#trees.bytes;
  }

  /** Free blocks of an order: the largest aligned blocks of free pages. */
  nrFree(order: number): number {
    return this.#children.nrFree[order];
  }

  /** None: no block can be marked. */
  nrReported(_order: number): number {
    return 0;
  }

  /** Takes 2^order pages for a CPU; movable pages, kernel memory and huge pages come from trees of their own, if they can. */
  alloc(order: number, migratetype: number, cpu = 0): number {
    const pages = ORDER_PAGES[order];
    if (this.#freePages < pages) return -1;
    const kind = this.#trees.kindOf(order, migratetype === MOVABLE);
    const page = this.#trees.get(cpu, kind, pages, (tree, from) => this.#takeIn(tree, from, order));
    if (page < 0) return -1;
    this.#freePages -= pages;
    return this.#base + page;
  }

  /** Gives pages back; returns the order of the free block that they are in now. */
  free(pfn: number, order: number, _migratetype: number): number {
    const page = pfn - this.#base;
    if (page % ORDER_PAGES[order] !== 0) throw new Error(`Page ${pfn} does not begin a block of order ${order}`);
    const merged = this.#children.put(page, order);
    this.#trees.put(Math.floor(page / TREE_PAGES), ORDER_PAGES[order]);
    this.#freePages += ORDER_PAGES[order];
    return merged;
  }

  /** The order of the largest free block whose first page is `pfn`, or -1. */
  orderAt(pfn: number): number {
    const page = pfn - this.#base;
    return page < 0 || page >= this.#children.count * PAGEBLOCK_PAGES ? -1 : this.#children.orderAt(page);
  }

  /** Takes a known free block out (`llfree_get_at`). Throws Error when it is not free. */
  remove(pfn: number, order: number): void {
    if (this.orderAt(pfn) !== order) throw new Error(`No free block of order ${order} begins with page ${pfn}`);
    const page = pfn - this.#base;
    this.#children.take(page, order);
    this.#trees.remove(Math.floor(page / TREE_PAGES), ORDER_PAGES[order]);
    this.#freePages -= ORDER_PAGES[order];
  }

  /** Gives back a range of which no page is free, in the largest aligned blocks, ascending. */
  insertRange(pfn: number, count: number, migratetype: number): void {
    forEachAlignedBlock(pfn, count, ORDER_MAX, (head, order) => void this.free(head, order, migratetype));
  }

  /** The migratetype that the kind of the tree of a page stands for. */
  pageblockType(pfn: number): number {
    return this.#trees.kind(Math.floor((pfn - this.#base) / TREE_PAGES)) === FIXED ? UNMOVABLE : MOVABLE;
  }

  /** 2 MiB of a migratetype in the span of the zone, those at its edges that it has in part included. */
  pageblocks(migratetype: number): number {
    let blocks = 0;
    const first = Math.floor((this.startPfn - this.#base) / PAGEBLOCK_PAGES);
    const end = Math.ceil((this.startPfn + this.pages - this.#base) / PAGEBLOCK_PAGES);
    for (let tree = 0; tree < this.#trees.count; tree++) {
      if (this.pageblockType(this.#base + tree * TREE_PAGES) !== migratetype) continue;
      blocks += Math.min(end, (tree + 1) * TREE_CHILDREN) - Math.max(first, tree * TREE_CHILDREN);
    }
    return blocks;
  }

  /** Calls `visit` for every largest aligned block of free pages, ascending. */
  forEachFree(visit: (pfn: number, order: number) => void): void {
    this.#children.forEachFree((page, order) => visit(this.#base + page, order));
  }

  /**
   * Marks up to `count` wholly free 2 MiB as reclaimed, so that the host may take their memory; they stay allocatable. Their
   * first pages go into `out`; returns how many (HyperAlloc's soft reclaim, `llfree_reclaim` with `hard` false). Trees that a CPU
   * has reserved are left alone. The search goes on where the last one ended.
   */
  softReclaim(count: number, out: Float64Array): number {
    let found = 0;
    const { count: children } = this.#children;
    for (let n = 0; n < children && found < count; n++) {
      const child = this.#reclaimFrom;
      this.#reclaimFrom = (child + 1) % children;
      if (!this.#children.mayReclaim(child) || this.#trees.isReserved(Math.floor(child / TREE_CHILDREN))) continue;
      this.#children.setReclaimed(child, true);
      out[found++] = this.#base + child * PAGEBLOCK_PAGES;
    }
    return found;
  }

  /** The first page of the first 2 MiB of a block that is reclaimed, or -1. */
  reclaimedIn(pfn: number, order: number): number {
    const end = pfn - this.#base + ORDER_PAGES[order];
    for (let child = Math.floor((pfn - this.#base) / PAGEBLOCK_PAGES); child * PAGEBLOCK_PAGES < end; child++) {
      if (this.#children.isReclaimed(child)) return this.#base + child * PAGEBLOCK_PAGES;
    }
    return -1;
  }

  /** The host has given the memory of these 2 MiB back (`llfree_install`). */
  install(pfn: number): void {
    this.#children.setReclaimed(Math.floor((pfn - this.#base) / PAGEBLOCK_PAGES), false);
  }

  /** Checks every invariant: bits against entries, entries against trees, all against the sum. */
  validate(): void {
    this.#children.validate();
    let pages = 0;
    const freeOf = (tree: number) => {
      let free = 0;
      for (let n = 0; n < TREE_CHILDREN; n++) free += this.#children.free(tree * TREE_CHILDREN + n);
      pages += free;
      return free;
    };
    for (let tree = 0; tree < this.#trees.count; tree++) freeOf(tree);
    if (pages !== this.#freePages) throw new Error(`${pages} pages are free, ${this.#freePages} are counted`);
    this.#trees.validate(freeOf);
  }

  #takeIn(tree: number, from: number, order: number): number {
    const first = tree * TREE_CHILDREN;
    const page = this.#children.find(first, first + TREE_CHILDREN, from, order);
    if (page >= 0) this.#children.take(page, order);
    return page;
  }
}

/**
 * What a kernel with LLFree does where another has rules for lists: nothing falls back, nothing changes its type, and there are
 * no per-CPU lists to refill. `version` is the generation whose watermarks and zones it has.
 */
export function llfreeKernel(pages: Llfree, version: string): Kernel {
  return {
    version,
    retypesMerged: false,
    alloc: (_zone, order, migratetype, _flags, cpu) => pages.alloc(order, migratetype, cpu),
    allocBulk: (_zone, order, migratetype, count, _flags, pfns) => {
      let taken = 0;
      while (taken < count && (pfns[taken] = pages.alloc(order, migratetype)) >= 0) taken++;
      return taken;
    },
    free: (_zone, pfn, order, migratetype) => pages.free(pfn, order, migratetype),
    movePageblock: () => {},
    retypeIsolated: () => {},
    typeOfFreed: (_zone, _pfn, freedAs) => freedAs,
  };
}
