/**
 * The buddy allocator with Linux's exact list order (mm/page_alloc.c, 6.1), over the lists of free_lists.ts.
 *
 * Inside, a page is an offset from the zone's first block: an Int32, which bounds a zone to 2^31 pages (8 TiB) less one block.
 * Outside it is a page frame number, which may be larger.
 */
import { ORDER_PAGES } from "../memory/range.ts";
import {
  type Allocator,
  forEachOnLists,
  MIGRATETYPE_COUNT,
  ORDER_MAX,
  ORDERS,
  PAGEBLOCK_ORDER,
  PAGEBLOCK_PAGES,
  RECLAIMABLE,
} from "./allocator.ts";
import { checkFreeBlock, checkNewBlock } from "./block_checks.ts";
import { FreeLists } from "./free_lists.ts";
import { LAYOUT, NO_CELLS } from "./list_layout.ts";

const { LISTS, FREE_PAGES, COUNT, LIVE, CHUNK_BITS, CHUNK_MASK, STATE_BITS, STATE_MASK } = LAYOUT;
// Copies, since imported constants cost a load and a check at each use: see LAYOUT.
const TYPES = MIGRATETYPE_COUNT;
const ORDER_END = ORDERS;
const LARGE_ORDER = PAGEBLOCK_ORDER;
const LARGE_PAGES = PAGEBLOCK_PAGES;
const LARGEST_ORDER = ORDER_MAX;
// Not ORDER_PAGES, whose numbers are doubles for the compiler, and then so is all that is computed from them.
const MAX_BLOCK_PAGES = 1 << ORDER_MAX;
/** The largest zone in pages, counted from the largest block around its first page. */
const PAGES_MAX = 2 ** 31 - MAX_BLOCK_PAGES;
/** The state of a free block of order 9 in the word of its pageblock. */
const PAGEBLOCK_STATE = LARGE_ORDER + 2;

/**
 * The free lists of one zone.
 *
 * ```ts
 * import { Buddy } from "./buddy.ts";
 * const zone = new Buddy(0, 1024);
 * zone.free(0, 10, 1);
 * const page = zone.alloc(0, 1);
 * if (page !== 0 || zone.freePages !== 1023) throw new Error("the lowest page of the block is handed out first");
 * if (zone.free(page, 0, 1) !== 10) throw new Error("the buddies merge again");
 * ```
 */
export class Buddy implements Allocator {
  /** First page frame of the zone. */
  readonly startPfn: number = 0;
  /** Pages from the first to the last, holes included. */
  readonly pages: number = 0;
  /** The first page rounded down to the largest block, so that an offset shows the alignment. */
  readonly #base: number = 0;
  readonly #end: number = 0;
  readonly #lists: FreeLists;
  readonly #cells: Int32Array = NO_CELLS;
  readonly #pairWords: number = 0;
  readonly #blockWords: number = 0;
  /** Types of pageblocks, less the type that they had at first: an array that nobody wrote costs no memory. */
  readonly #types: Uint8Array;
  readonly #firstType: number = 0;
  /** Pageblocks by type. */
  readonly #pageblocks = new Int32Array(MIGRATETYPE_COUNT);
  #touched = 0;
  /** Whether the remainders of a Reported block stay Reported; see {@link Allocator.propagatesReported}. */
  propagatesReported = false;
  readonly #retypesMerged: boolean;

  /**
   * An allocator without free pages; every pageblock has `migratetype`. With `retypesMerged` a pageblock that merges with a
   * freed one takes over its type, as in 6.12. Throws RangeError when the zone is too large.
   */
  constructor(startPfn: number, pages: number, migratetype = 1, retypesMerged = false) {
    this.#retypesMerged = retypesMerged;
    this.startPfn = startPfn;
    this.pages = pages;
    // Remainders of integers stay integers for the compiler, quotients do not.
    this.#base = startPfn - startPfn % MAX_BLOCK_PAGES;
    this.#end = startPfn + pages;
    const covered = this.#end - this.#base + MAX_BLOCK_PAGES - 1;
    const span = covered - covered % MAX_BLOCK_PAGES;
    if (span > PAGES_MAX) {
      throw new RangeError(`A zone of ${pages} pages is larger than the ${PAGES_MAX} pages that one zone can hold`);
    }
    this.#lists = new FreeLists(span);
    this.#cells = this.#lists.cells;
    this.#pairWords = this.#lists.pairWords;
    this.#blockWords = this.#lists.blockWords;
    this.#types = new Uint8Array(span / LARGE_PAGES);
    this.#firstType = migratetype;
    if (pages > 0) {
      const first = startPfn - startPfn % LARGE_PAGES;
      this.#pageblocks[migratetype] = Math.ceil((this.#end - first) / LARGE_PAGES);
    }
  }

  /** Pages on the free lists. */
  get freePages(): number {
    return this.#cells[FREE_PAGES];
  }

  /** Pages on the free lists whose block is marked Reported. */
  get reportedPages(): number {
    return this.#lists.reportedPages;
  }

  /** Bytes of list entries that were ever in use, beside the 2 bytes a page that words take where blocks are small. */
  get arenaBytes(): number {
    return this.#lists.arenaBytes;
  }

  /** Free blocks of an order, all migratetypes. */
  nrFree(order: number): number {
    let blocks = 0;
    const first = order * TYPES;
    for (let list = first; list < first + TYPES; list++) blocks += this.#lists.count(list);
    return blocks;
  }

  /** Free blocks of an order that are marked Reported, all migratetypes. */
  nrReported(order: number): number {
    return this.#lists.reportedBlocks(order);
  }

  /** Takes pages, smallest block first; the upper halves of a split go to the head (`__rmqueue_smallest`, `expand`). */
  alloc(order: number, migratetype: number): number {
    for (let current = order; current < ORDER_END; current++) {
      const list = current * TYPES + migratetype;
      if (this.#lists.count(list) === 0) continue;
      if (this.propagatesReported && current > order) return this.#allocMarked(order, current, migratetype);
      const page = this.#lists.pop(list, current);
      while (current > order) {
        current--;
        this.#lists.pushHead(current * TYPES + migratetype, current, page + (1 << current));
      }
      this.#cells[FREE_PAGES] -= 1 << order;
      return this.#base + page;
    }
    return -1;
  }

  /** Splits the head of a list; what is left of it is marked Reported where it was. */
  #allocMarked(order: number, current: number, migratetype: number): number {
    const lists = this.#lists;
    const page = lists.first(current * TYPES + migratetype);
    const reported = lists.isReported(page, current);
    lists.remove(page, current);
    while (current > order) {
      current--;
      lists.pushHead(current * TYPES + migratetype, current, page + (1 << current));
      if (reported) lists.setReported(page + (1 << current), current);
    }
    this.#cells[FREE_PAGES] -= 1 << order;
    return this.#base + page;
  }

  /** Gives pages back, merging with free buddies (`__free_one_page`); returns the order of the resulting block. */
  free(pfn: number, order: number, migratetype: number, toTail?: boolean): number {
    let page = pfn - this.#base;
    const cells = this.#cells;
    const pairWords = this.#pairWords;
    cells[FREE_PAGES] += 1 << order;
    if (order === 0) {
      const index = (pairWords + (page >>> 1)) | 0;
      const word = cells[index];
      if ((word & STATE_MASK) !== 2 - (page & 1)) {
        if (toTail !== true && this.#freePage(page, index, migratetype)) return 0;
      } else {
        // The buddy is free: the word of both pages has its state.
        this.#lists.unlink(word, 0);
        cells[index] = 0;
        page &= ~1;
        order = 1;
      }
    }
    if (order > 0) {
      for (; order < LARGE_ORDER; order++) {
        const buddy = (pairWords + ((page ^ (1 << order)) >>> 1)) | 0;
        const word = cells[buddy];
        if ((word & STATE_MASK) !== order + 2) break;
        this.#lists.unlink(word, order);
        cells[buddy] = 0;
        page &= ~(1 << order);
      }
      if (order === LARGE_ORDER && this.#mergePageblock(page, migratetype)) {
        page &= ~LARGE_PAGES;
        order = LARGEST_ORDER;
      }
    }
    const list = order * TYPES + migratetype;
    if (toTail === true || this.#mergeLikely(page, order)) this.#lists.pushTail(list, order, page);
    else this.#lists.pushHead(list, order, page);
    return order;
  }

  /** The common case in the fewest steps: a page that merges with nothing goes to the head; false when it belongs elsewhere. */
  #freePage(page: number, index: number, list: number): boolean {
    const cells = this.#cells;
    const head = list << 2;
    let at = cells[head];
    // `buddy_merge_likely`: the word beside is that of the pair with which this pair would merge, its state order 1.
    if ((cells[index ^ 1] & STATE_MASK) === 3 || (at & CHUNK_MASK) === 0) return false;
    at--;
    cells[head] = at;
    cells[head | COUNT]++;
    cells[at] = page;
    cells[((at >>> CHUNK_BITS) << 2) + LIVE]++;
    cells[index] = (at << STATE_BITS) | (1 + (page & 1));
    return true;
  }

  /** Takes up to `out.length` blocks of an order, as many calls of alloc would (`rmqueue_bulk`); returns how many. */
  allocBulk(order: number, migratetype: number, out: Float64Array): number {
    this.#touched = this.#lists.touch(order * TYPES + migratetype, out.length);
    for (let taken = 0; taken < out.length; taken++) {
      const pfn = this.alloc(order, migratetype);
      if (pfn < 0) return taken;
      out[taken] = pfn;
    }
    return out.length;
  }

  /** Frees the first `count` blocks, each to the list of its pageblock's type (`free_pcppages_bulk`). */
  freeBulk(pfns: Float64Array, count: number, order: number): void {
    // Loads that do not wait for each other, before frees that do.
    let touched = 0;
    for (let i = 0; i < count; i++) touched ^= this.#cells[this.#pairWords + ((pfns[i] - this.#base) >>> 1)];
    this.#touched = touched;
    for (let i = 0; i < count; i++) this.free(pfns[i], order, this.pageblockType(pfns[i]));
  }

  /** The head of a list, or -1. */
  first(order: number, migratetype: number): number {
    const page = this.#lists.first(order * TYPES + migratetype);
    return page < 0 ? -1 : this.#base + page;
  }

  /** The tail of a list, or -1. */
  last(order: number, migratetype: number): number {
    const page = this.#lists.last(order * TYPES + migratetype);
    return page < 0 ? -1 : this.#base + page;
  }

  /** The block before `pfn` on its list, or -1 at the head. */
  previous(pfn: number, order: number): number {
    const page = this.#lists.previous(pfn - this.#base, order);
    return page < 0 ? -1 : this.#base + page;
  }

  /** The block after `pfn` on its list, or -1 at the end. */
  next(pfn: number, order: number): number {
    const page = this.#lists.next(pfn - this.#base, order);
    return page < 0 ? -1 : this.#base + page;
  }

  /** Copies the blocks of a list after `pfn`, or all from the head on when it is -1, into `out`; returns how many. */
  read(order: number, migratetype: number, pfn: number, out: Float64Array): number {
    const page = pfn < 0 ? -1 : pfn - this.#base;
    return this.#lists.read(order * TYPES + migratetype, page, this.#base, out);
  }

  /** The order of the free block whose first page is `pfn`, or -1. */
  orderAt(pfn: number): number {
    return pfn < this.startPfn || pfn >= this.#end ? -1 : this.#lists.orderAt(pfn - this.#base);
  }

  /** Takes a known free block off its list. Throws Error when no free block of this order begins there. */
  remove(pfn: number, order: number): void {
    this.#lists.remove(pfn - this.#base, order);
    this.#cells[FREE_PAGES] -= 1 << order;
  }

  /** Puts a block on a list without merging. Throws Error when it is misaligned, outside the zone, or shares a free page pair. */
  insert(pfn: number, order: number, migratetype: number, toTail: boolean): void {
    checkNewBlock(this.#lists, this, this.#base, pfn, order);
    const list = order * TYPES + migratetype;
    if (toTail) this.#lists.pushTail(list, order, pfn - this.#base);
    else this.#lists.pushHead(list, order, pfn - this.#base);
    this.#cells[FREE_PAGES] += 1 << order;
  }

  /** Puts the largest aligned blocks of a range to the tails, ascending, without merging (`__free_pages_memory`). */
  insertRange(pfn: number, count: number, migratetype: number): void {
    const end = pfn - this.#base + count;
    for (let page = pfn - this.#base; page < end;) {
      let order = LARGEST_ORDER;
      while ((page & ((1 << order) - 1)) !== 0 || page + (1 << order) > end) order--;
      this.#lists.pushTail(order * TYPES + migratetype, order, page);
      page += 1 << order;
    }
    this.#cells[FREE_PAGES] += count;
  }

  /** Moves the free blocks that begin in a range to the tails of another type's lists, ascending; returns their pages. */
  moveFreePages(pfn: number, count: number, migratetype: number): number {
    let moved = 0;
    const end = pfn - this.#base + count;
    for (let page = pfn - this.#base; page < end;) {
      const order = this.#lists.orderAt(page);
      if (order < 0) {
        page++;
        continue;
      }
      // The mark stays: `move_to_free_list` does not take the block off the free lists.
      const reported = this.#lists.isReported(page, order);
      this.#lists.remove(page, order);
      this.#lists.pushTail(order * TYPES + migratetype, order, page);
      if (reported) this.setReported(this.#base + page, order);
      moved += 1 << order;
      page += 1 << order;
    }
    return moved;
  }

  /** Rotates a list so that `pfn` becomes its head (`list_rotate_to_front`). */
  rotate(pfn: number, order: number, _migratetype: number): void {
    this.#lists.rotate(pfn - this.#base, order);
  }

  /** Whether the free block is marked Reported. */
  isReported(pfn: number, order: number): boolean {
    return this.#lists.isReported(pfn - this.#base, order);
  }

  /** Marks a free block Reported. */
  setReported(pfn: number, order: number): void {
    this.#lists.setReported(pfn - this.#base, order);
  }

  /** The list on which a free block stands. */
  listOf(pfn: number, order: number): number {
    return this.#lists.listOf(pfn - this.#base, order) % TYPES;
  }

  /** The migratetype of the pageblock of a page. */
  pageblockType(pfn: number): number {
    return this.#types[(pfn - this.#base) >>> LARGE_ORDER] ^ this.#firstType;
  }

  /** Sets the migratetype of the pageblock of a page. */
  setPageblockType(pfn: number, migratetype: number): void {
    this.#retype((pfn - this.#base) >>> LARGE_ORDER, migratetype);
  }

  /** Pageblocks of a migratetype in the span of the zone. */
  pageblocks(migratetype: number): number {
    return this.#pageblocks[migratetype];
  }

  /** Gives a pageblock another type, by its number. */
  #retype(block: number, migratetype: number): void {
    this.#pageblocks[this.#types[block] ^ this.#firstType]--;
    this.#pageblocks[migratetype]++;
    this.#types[block] = migratetype ^ this.#firstType;
  }

  /** Calls `visit` for every free block, list by list, from order 0 up. */
  forEachFree(visit: (pfn: number, order: number) => void): void {
    forEachOnLists(this, visit);
  }

  /** Checks every invariant of the lists; throws Error naming the first that does not hold. */
  validate(): void {
    this.#lists.validate();
    let free = 0;
    const pfns = new Float64Array(512);
    for (let list = 0; list < LISTS; list++) {
      const order = Math.floor(list / TYPES);
      free += this.#lists.count(list) * ORDER_PAGES[order];
      let after = -1;
      for (let read = pfns.length; read === pfns.length; after = pfns[read - 1]) {
        read = this.read(order, list % TYPES, after, pfns);
        for (let i = 0; i < read; i++) checkFreeBlock(this.#lists, this.#base, pfns[i], order);
        if (read === 0) break;
      }
    }
    if (free !== this.#cells[FREE_PAGES]) {
      throw new Error(`Free pages ${this.#cells[FREE_PAGES]}, on the lists ${free}`);
    }
  }

  /** Takes the buddy of a pageblock off its list when both may merge: types, above all HIGHATOMIC and ISOLATE, must not mix. */
  #mergePageblock(page: number, migratetype: number): boolean {
    const buddy = page ^ LARGE_PAGES;
    const index = this.#blockWords + (buddy >>> LARGE_ORDER);
    const word = this.#cells[index];
    if ((word & STATE_MASK) !== PAGEBLOCK_STATE) return false;
    const a = this.#types[page >>> LARGE_ORDER] ^ this.#firstType;
    const b = this.#types[buddy >>> LARGE_ORDER] ^ this.#firstType;
    if (a !== b && (a > RECLAIMABLE || b > RECLAIMABLE)) return false;
    this.#lists.unlink(word, LARGE_ORDER);
    this.#cells[index] = 0;
    if (this.#retypesMerged && a !== b) this.#retype(buddy >>> LARGE_ORDER, migratetype);
    return true;
  }

  /** Whether the block one order up would find a free buddy (`buddy_merge_likely`). */
  #mergeLikely(page: number, order: number): boolean {
    if (order >= LARGE_ORDER) return false;
    const upper = (page & ~(1 << order)) ^ (2 << order);
    return (this.#cells[this.#lists.wordOf(upper, order + 1)] & STATE_MASK) === order + 3;
  }
}
