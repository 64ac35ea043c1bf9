/**
 * The same allocator over doubly linked rings: the layout that the simulator had before free_lists.ts, kept as a twin for long
 * runs, where the naive one is too slow. Its node of a block below order 9 is the first page; one node for each pageblock
 * follows for blocks of order 9 and 10, then one sentinel for each list.
 */
import { forEachAlignedBlock, ORDER_PAGES } from "../../sim/memory/range.ts";
import {
  type Allocator,
  forEachOnLists,
  MIGRATETYPE_COUNT,
  ORDER_MAX,
  ORDERS,
  PAGEBLOCK_ORDER,
  PAGEBLOCK_PAGES,
  RECLAIMABLE,
} from "../../sim/guest/allocator.ts";

const MAX_BLOCK_PAGES = ORDER_PAGES[ORDER_MAX];
const LISTS = ORDERS * MIGRATETYPE_COUNT;
/** The largest zone in pages. */
const PAGES_MAX = 2 ** 31 - 2 ** 23;

/** State of a node: 0, or order + 1 in bits 0-3, the list's migratetype in bits 4-6, Reported in bit 7. */
const ORDER_MASK = 0x0f;
const REPORTED = 0x80;

/** The free lists of one zone. */
export class LinkedBuddy implements Allocator {
  /** First page frame of the zone. */
  readonly startPfn: number;
  /** Pages from the first to the last, holes included. */
  readonly pages: number;
  /** The first page rounded down to the largest block, so that a node's index shows its alignment. */
  readonly #base: number;
  readonly #end: number;
  readonly #blockNodes: number;
  readonly #sentinels: number;
  readonly #next: Int32Array;
  readonly #prev: Int32Array;
  readonly #state: Uint8Array;
  readonly #types: Uint8Array;
  readonly #nrFree = new Int32Array(ORDERS);
  #freePages = 0;
  #reportedPages = 0;

  /** An allocator without free pages; every pageblock has `migratetype`. Throws RangeError when the zone is too large. */
  constructor(startPfn: number, pages: number, migratetype = 1) {
    this.startPfn = startPfn;
    this.pages = pages;
    this.#base = Math.floor(startPfn / MAX_BLOCK_PAGES) * MAX_BLOCK_PAGES;
    this.#end = startPfn + pages;
    const span = Math.ceil((this.#end - this.#base) / MAX_BLOCK_PAGES) * MAX_BLOCK_PAGES;
    if (span > PAGES_MAX) {
      throw new RangeError(`A zone of ${pages} pages is larger than the ${PAGES_MAX} pages that one zone can hold`);
    }
    this.#blockNodes = span;
    this.#sentinels = span + span / PAGEBLOCK_PAGES;
    const nodes = this.#sentinels + LISTS;
    this.#next = new Int32Array(nodes);
    this.#prev = new Int32Array(nodes);
    this.#state = new Uint8Array(this.#sentinels);
    this.#types = new Uint8Array(span / PAGEBLOCK_PAGES);
    if (migratetype !== 0) this.#types.fill(migratetype);
    for (let list = this.#sentinels; list < nodes; list++) this.#next[list] = this.#prev[list] = list;
  }

  /** Pages on the free lists. */
  get freePages(): number {
    return this.#freePages;
  }

  /** Pages on the free lists whose block is marked Reported. */
  get reportedPages(): number {
    return this.#reportedPages;
  }

  /** Free blocks of an order, all migratetypes. */
  nrFree(order: number): number {
    return this.#nrFree[order];
  }

  /** Free blocks of an order that are marked Reported. */
  nrReported(order: number): number {
    let blocks = 0;
    for (let type = 0; type < MIGRATETYPE_COUNT; type++) {
      for (let pfn = this.first(order, type); pfn >= 0; pfn = this.next(pfn, order)) {
        if (this.isReported(pfn, order)) blocks++;
      }
    }
    return blocks;
  }

  /** The tail of a list, or -1. */
  last(order: number, migratetype: number): number {
    return this.#pfnOrEnd(this.#prev[this.#sentinel(order, migratetype)]);
  }

  /** The block before `pfn` on its list, or -1 at the head. */
  previous(pfn: number, order: number): number {
    return this.#pfnOrEnd(this.#prev[this.#node(pfn, order)]);
  }

  /** Takes pages, smallest block first; the upper halves of a split go to the head (`__rmqueue_smallest`, `expand`). */
  alloc(order: number, migratetype: number): number {
    for (let current = order; current < ORDERS; current++) {
      const node = this.#next[this.#sentinel(current, migratetype)];
      if (node >= this.#sentinels) continue;
      const pfn = this.#pfnOf(node);
      this.#unlink(node, current);
      while (current > order) {
        current--;
        this.insert(pfn + ORDER_PAGES[current], current, migratetype, false);
      }
      return pfn;
    }
    return -1;
  }

  /** Gives pages back, merging with free buddies (`__free_one_page`); returns the order of the resulting block. */
  free(pfn: number, order: number, migratetype: number, toTail = false): number {
    while (order < ORDER_MAX) {
      const buddy = this.#buddy(pfn, order);
      const node = this.#freeNode(buddy, order);
      if (node < 0 || (order >= PAGEBLOCK_ORDER && !this.#typesMayMerge(pfn, buddy))) break;
      this.#unlink(node, order);
      if (buddy < pfn) pfn = buddy;
      order++;
    }
    const tail = toTail || (order < PAGEBLOCK_ORDER && this.#mergeLikely(pfn, order));
    this.insert(pfn, order, migratetype, tail);
    return order;
  }

  /** The head of a list, or -1. */
  first(order: number, migratetype: number): number {
    return this.#pfnOrEnd(this.#next[this.#sentinel(order, migratetype)]);
  }

  /** The block after `pfn` on its list, or -1 at the end. */
  next(pfn: number, order: number): number {
    return this.#pfnOrEnd(this.#next[this.#node(pfn, order)]);
  }

  /** The order of the free block whose first page is `pfn`, or -1. */
  orderAt(pfn: number): number {
    if (pfn < this.startPfn || pfn >= this.#end) return -1;
    const small = this.#state[pfn - this.#base] & ORDER_MASK;
    if (small !== 0) return small - 1;
    if ((pfn - this.#base) % PAGEBLOCK_PAGES !== 0) return -1;
    return (this.#state[this.#node(pfn, PAGEBLOCK_ORDER)] & ORDER_MASK) - 1;
  }

  /** Takes a known free block off its list. */
  remove(pfn: number, order: number): void {
    this.#unlink(this.#node(pfn, order), order);
  }

  /** Puts a block on a list without merging. */
  insert(pfn: number, order: number, migratetype: number, toTail: boolean): void {
    const node = this.#node(pfn, order);
    const sentinel = this.#sentinel(order, migratetype);
    const before = toTail ? this.#prev[sentinel] : sentinel;
    this.#link(node, before, this.#next[before]);
    this.#state[node] = order + 1 + migratetype * 16;
    this.#nrFree[order]++;
    this.#freePages += ORDER_PAGES[order];
  }

  /** Rotates a list so that `pfn` becomes its head (`list_rotate_to_front`). */
  rotate(pfn: number, order: number, migratetype: number): void {
    const sentinel = this.#sentinel(order, migratetype);
    const node = this.#node(pfn, order);
    if (this.#next[sentinel] === node) return;
    const after = this.#next[sentinel];
    const before = this.#prev[sentinel];
    this.#next[before] = after;
    this.#prev[after] = before;
    this.#link(sentinel, this.#prev[node], node);
  }

  /** Whether the free block is marked Reported. */
  isReported(pfn: number, order: number): boolean {
    return this.#state[this.#node(pfn, order)] >= REPORTED;
  }

  /** Marks a free block Reported. */
  setReported(pfn: number, order: number): void {
    const node = this.#node(pfn, order);
    if (this.#state[node] >= REPORTED) return;
    this.#state[node] |= REPORTED;
    this.#reportedPages += ORDER_PAGES[order];
  }

  /** The list on which a free block stands. */
  listOf(pfn: number, order: number): number {
    return (this.#state[this.#node(pfn, order)] >>> 4) & 7;
  }

  /** The migratetype of the pageblock of a page. */
  pageblockType(pfn: number): number {
    return this.#types[Math.floor((pfn - this.#base) / PAGEBLOCK_PAGES)];
  }

  /** Sets the migratetype of the pageblock of a page. */
  setPageblockType(pfn: number, migratetype: number): void {
    this.#types[Math.floor((pfn - this.#base) / PAGEBLOCK_PAGES)] = migratetype;
  }

  pageblocks(migratetype: number): number {
    return this.#types.filter((type) => type === migratetype).length;
  }

  allocBulk(order: number, migratetype: number, out: Float64Array): number {
    let taken = 0;
    while (taken < out.length && (out[taken] = this.alloc(order, migratetype)) >= 0) taken++;
    return taken;
  }

  freeBulk(pfns: Float64Array, count: number, order: number): void {
    for (const pfn of pfns.subarray(0, count)) this.free(pfn, order, this.pageblockType(pfn));
  }

  read(order: number, migratetype: number, pfn: number, out: Float64Array): number {
    let read = 0;
    let block = pfn < 0 ? this.first(order, migratetype) : this.next(pfn, order);
    for (; block >= 0 && read < out.length; block = this.next(block, order)) out[read++] = block;
    return read;
  }

  insertRange(pfn: number, count: number, migratetype: number): void {
    forEachAlignedBlock(pfn, count, ORDER_MAX, (block, order) => this.insert(block, order, migratetype, true));
  }

  moveFreePages(pfn: number, count: number, migratetype: number): number {
    let moved = 0;
    for (let page = pfn; page < pfn + count; page++) {
      const order = this.orderAt(page);
      if (order < 0) continue;
      const reported = this.isReported(page, order);
      this.remove(page, order);
      this.insert(page, order, migratetype, true);
      if (reported) this.setReported(page, order);
      moved += ORDER_PAGES[order];
    }
    return moved;
  }

  /** It has no arena, and its links are checked by being compared. */
  get arenaBytes(): number {
    return 0;
  }

  /** Calls `visit` for every free block, list by list, from order 0 up. */
  forEachFree(visit: (pfn: number, order: number) => void): void {
    forEachOnLists(this, visit);
  }

  validate(): void {}

  #sentinel(order: number, migratetype: number): number {
    return this.#sentinels + order * MIGRATETYPE_COUNT + migratetype;
  }

  #node(pfn: number, order: number): number {
    const offset = pfn - this.#base;
    return order < PAGEBLOCK_ORDER ? offset : this.#blockNodes + Math.floor(offset / PAGEBLOCK_PAGES);
  }

  #pfnOf(node: number): number {
    return node < this.#blockNodes ? this.#base + node : this.#base + (node - this.#blockNodes) * PAGEBLOCK_PAGES;
  }

  #pfnOrEnd(node: number): number {
    return node >= this.#sentinels ? -1 : this.#pfnOf(node);
  }

  #buddy(pfn: number, order: number): number {
    const size = ORDER_PAGES[order];
    return (pfn - this.#base) % (2 * size) === 0 ? pfn + size : pfn - size;
  }

  /** The node of the free block at `pfn` when it has this order, else -1 (`page_is_buddy`). */
  #freeNode(pfn: number, order: number): number {
    if (pfn < this.startPfn || pfn + ORDER_PAGES[order] > this.#end) return -1;
    const node = this.#node(pfn, order);
    return (this.#state[node] & ORDER_MASK) === order + 1 ? node : -1;
  }

  /** Pageblocks of different types merge only when both are unmovable, movable or reclaimable. */
  #typesMayMerge(pfn: number, buddy: number): boolean {
    const a = this.pageblockType(pfn);
    const b = this.pageblockType(buddy);
    return a === b || (a <= RECLAIMABLE && b <= RECLAIMABLE);
  }

  /** Whether the block one order up would find a free buddy (`buddy_merge_likely`). */
  #mergeLikely(pfn: number, order: number): boolean {
    const combined = Math.min(pfn, this.#buddy(pfn, order));
    return this.#freeNode(this.#buddy(combined, order + 1), order + 1) >= 0;
  }

  #link(node: number, before: number, after: number): void {
    this.#next[before] = node;
    this.#prev[node] = before;
    this.#next[node] = after;
    this.#prev[after] = node;
  }

  #unlink(node: number, order: number): void {
    const before = this.#prev[node];
    const after = this.#next[node];
    this.#next[before] = after;
    this.#prev[after] = before;
    if (this.#state[node] >= REPORTED) this.#reportedPages -= ORDER_PAGES[order];
    this.#state[node] = 0;
    this.#nrFree[order]--;
    this.#freePages -= ORDER_PAGES[order];
  }
}
