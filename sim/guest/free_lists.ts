/**
 * The free lists of a zone in exact order: pages are relative to the zone, lists are numbered order * 5 + migratetype.
 *
 * One Int32 for each pair of pages is enough to find a block: of two pages that are buddies never both begin a free block of
 * order 0 (they would have merged), and every larger block begins at an even page. Blocks of order 9 and 10 have words of
 * their own, one for each pageblock, so that a zone in large blocks touches little memory.
 */
import { MIGRATETYPE_COUNT, PAGEBLOCK_ORDER, PAGEBLOCK_PAGES } from "./allocator.ts";
import { LAYOUT, NO_CELLS } from "./list_layout.ts";
import { ListMemory } from "./list_memory.ts";

const { LISTS, TAIL, COUNT, REPORTED_PAGES, REPORTED_BLOCKS, LIVE, OWNER, AFTER, BEFORE } = LAYOUT;
const { CHUNK_BITS, CHUNK_ENTRIES, CHUNK_MASK, GAP, PAGE_MASK, STATE_BITS, STATE_MASK } = LAYOUT;
/** The order from which blocks have words for each pageblock; see LAYOUT for why constants are copied. */
const LARGE_ORDER = PAGEBLOCK_ORDER;
const TYPES = MIGRATETYPE_COUNT;
/** Every how many losses a chunk looks whether it could join a neighbour, less one. */
const THIN_MASK = 127;

/**
 * Ordered free lists over the pages of one zone.
 *
 * ```ts
 * import { FreeLists } from "./free_lists.ts";
 * const lists = new FreeLists(1024);
 * for (const page of [8, 16, 24]) lists.pushTail(1, 0, page);
 * lists.remove(16, 0);
 * if (lists.pop(1, 0) !== 8 || lists.first(1) !== 24) throw new Error("the order is kept");
 * ```
 */
export class FreeLists {
  /** The cells of list_memory.ts. */
  readonly cells: Int32Array = NO_CELLS;
  /** Where the words of the pairs of pages begin. */
  readonly pairWords: number = 0;
  /** Where the words of the pageblocks begin. */
  readonly blockWords: number = 0;
  readonly #memory: ListMemory;

  /** Empty lists for a zone of `pages` pages, a multiple of the largest block and below 2^31. */
  constructor(pages: number) {
    this.#memory = new ListMemory(pages);
    this.cells = this.#memory.cells;
    this.pairWords = this.#memory.pairWords;
    this.blockWords = this.#memory.blockWords;
  }

  /** Bytes of list entries that were ever in use. */
  get arenaBytes(): number {
    return this.#memory.arenaBytes;
  }

  /** Pages of the blocks that are marked Reported. */
  get reportedPages(): number {
    return this.cells[REPORTED_PAGES];
  }

  /** Blocks of an order that are marked Reported. */
  reportedBlocks(order: number): number {
    return this.cells[REPORTED_BLOCKS + order];
  }

  /** Entries of a list. */
  count(list: number): number {
    return this.cells[(list << 2) | COUNT];
  }

  /** The state that the word of a free block has: 1 and 2 for an even and an odd page of order 0, else order + 2. */
  stateOf(page: number, order: number): number {
    return order === 0 ? 1 + (page & 1) : order + 2;
  }

  /** The cell of the word in which a block of this order is noted. */
  wordOf(page: number, order: number): number {
    return (order < LARGE_ORDER ? this.pairWords + (page >>> 1) : this.blockWords + (page >>> LARGE_ORDER)) | 0;
  }

  /** Whether a free block of this order begins at `page`. */
  has(page: number, order: number): boolean {
    return (this.cells[this.wordOf(page, order)] & STATE_MASK) === this.stateOf(page, order);
  }

  /** The order of the free block that begins at `page`, or -1. */
  orderAt(page: number): number {
    const state = this.cells[this.pairWords + (page >>> 1)] & STATE_MASK;
    if (state > 2) return (page & 1) === 0 ? state - 2 : -1;
    if (state !== 0) return state - 1 === (page & 1) ? 0 : -1;
    if (page % PAGEBLOCK_PAGES !== 0) return -1;
    const large = this.cells[this.blockWords + (page >>> LARGE_ORDER)] & STATE_MASK;
    return large === 0 ? -1 : large - 2;
  }

  /** Puts an entry (a page, negative sign for Reported) in front of a list. */
  pushHead(list: number, order: number, entry: number): void {
    const { cells } = this;
    let at = cells[list << 2];
    if ((at & CHUNK_MASK) === 0) at = this.#memory.growHead(list);
    at--;
    cells[list << 2] = at;
    this.#note(list, order, entry, at);
  }

  /** Puts an entry (a page, negative sign for Reported) behind a list. */
  pushTail(list: number, order: number, entry: number): void {
    const { cells } = this;
    let at = cells[(list << 2) | TAIL];
    if ((at & CHUNK_MASK) === CHUNK_MASK) at = this.#memory.growTail(list);
    at++;
    cells[(list << 2) | TAIL] = at;
    this.#note(list, order, entry, at);
  }

  #note(list: number, order: number, entry: number, at: number): void {
    const { cells } = this;
    const page = entry & PAGE_MASK;
    cells[at] = entry;
    cells[((at >>> CHUNK_BITS) << 2) + LIVE]++;
    cells[(list << 2) | COUNT]++;
    cells[this.wordOf(page, order)] = (at << STATE_BITS) | this.stateOf(page, order);
  }

  /** Takes the head of a list that is not empty. */
  pop(list: number, order: number): number {
    const { cells } = this;
    const at = cells[list << 2];
    const entry = cells[at];
    const page = entry & PAGE_MASK;
    if (entry < 0) this.#unmark(order);
    cells[this.wordOf(page, order)] = 0;
    this.#leaveHead(list, at);
    return page;
  }

  /** Takes the entry that a word leads to; the caller clears the word. */
  unlink(word: number, order: number): void {
    const { cells } = this;
    const at = word >>> STATE_BITS;
    const chunk = at >>> CHUNK_BITS;
    const list = cells[(chunk << 2) + OWNER];
    if (cells[at] < 0) this.#unmark(order);
    if (at === cells[list << 2]) return this.#leaveHead(list, at);
    if (at === cells[(list << 2) | TAIL]) return this.#leaveTail(list, at);
    cells[at] = GAP;
    cells[(list << 2) | COUNT]--;
    const live = --cells[(chunk << 2) + LIVE];
    if ((live & THIN_MASK) === 0) this.#memory.thin(list, chunk);
  }

  /** Takes a free block off its list. Throws Error when there is none. */
  remove(page: number, order: number): void {
    const index = this.wordOf(page, order);
    const word = this.cells[index];
    if ((word & STATE_MASK) !== this.stateOf(page, order)) {
      throw new Error(`No free block of order ${order} begins there`);
    }
    this.unlink(word, order);
    this.cells[index] = 0;
  }

  /** The first page of a list, or -1. */
  first(list: number): number {
    return this.count(list) === 0 ? -1 : this.cells[this.cells[list << 2]] & PAGE_MASK;
  }

  /** The last page of a list, or -1. */
  last(list: number): number {
    return this.count(list) === 0 ? -1 : this.cells[this.cells[(list << 2) | TAIL]] & PAGE_MASK;
  }

  /** The page before a free block on its list, or -1 at the head. */
  previous(page: number, order: number): number {
    const { cells } = this;
    let at = this.#placeOf(page, order);
    if (at === cells[4 * this.listOf(page, order)]) return -1;
    do at = this.#stepBack(at); while (cells[at] === GAP);
    return cells[at] & PAGE_MASK;
  }

  /** The page after a free block on its list, or -1 at the end. */
  next(page: number, order: number): number {
    const { cells } = this;
    let at = this.#placeOf(page, order);
    if (at === cells[4 * this.listOf(page, order) + TAIL]) return -1;
    do at = this.#step(at); while (cells[at] === GAP);
    return cells[at] & PAGE_MASK;
  }

  /**
   * Copies pages of a list in order, each plus `base`: those after the block at `page`, or from the head on when it is -1.
   * Returns how many, fewer than `out` holds only at the end of the list.
   */
  read(list: number, page: number, base: number, out: Float64Array): number {
    const { cells } = this;
    if (this.count(list) === 0) return 0;
    const end = cells[(list << 2) | TAIL];
    let at = cells[list << 2];
    if (page >= 0) {
      at = this.#placeOf(page, Math.floor(list / TYPES));
      if (at === end) return 0;
      at = this.#step(at);
    }
    for (let read = 0;; at = this.#step(at)) {
      const entry = cells[at];
      if (entry !== GAP) {
        out[read++] = base + (entry & PAGE_MASK);
        if (read === out.length) return read;
      }
      if (at === end) return read;
    }
  }

  /** Turns a list until the block at `page` is its head: whole chunks by changing the ends, then at most one chunk of entries. */
  rotate(page: number, order: number): void {
    const { cells } = this;
    const at = this.#placeOf(page, order);
    const list = this.listOf(page, order);
    if (at === cells[list << 2]) return;
    const chunk = at >>> CHUNK_BITS;
    if (chunk !== cells[list << 2] >>> CHUNK_BITS) {
      if (chunk === cells[(list << 2) | TAIL] >>> CHUNK_BITS) return this.#turnBack(list, order, page);
      this.#turnRing(list, chunk);
    }
    while (this.first(list) !== page) {
      const head = cells[list << 2];
      const entry = cells[head];
      this.#leaveHead(list, head);
      this.pushTail(list, order, entry);
    }
  }

  /** Whether a free block is marked Reported. */
  isReported(page: number, order: number): boolean {
    const word = this.cells[this.wordOf(page, order)];
    return word !== 0 && this.cells[word >>> STATE_BITS] < 0;
  }

  /** Marks a free block Reported; the mark goes with its entry. */
  setReported(page: number, order: number): void {
    const at = this.#placeOf(page, order);
    if (this.cells[at] < 0) return;
    this.cells[at] |= ~PAGE_MASK;
    this.cells[REPORTED_PAGES] += 1 << order;
    this.cells[REPORTED_BLOCKS + order]++;
  }

  /** The list on which a free block stands. */
  listOf(page: number, order: number): number {
    return this.cells[4 * (this.#placeOf(page, order) >>> CHUNK_BITS) + OWNER];
  }

  /** Loads the words of the next entries of a list, so that their cache misses overlap; the result only keeps the loads. */
  touch(list: number, entries: number): number {
    const { cells } = this;
    const words = list < LARGE_ORDER * TYPES ? this.pairWords : this.blockWords;
    const shift = list < LARGE_ORDER * TYPES ? 1 : LARGE_ORDER;
    let at = cells[list << 2];
    let seen = 0;
    for (let left = Math.min(entries, this.count(list)); left > 0; at = this.#step(at)) {
      if (cells[at] === GAP) continue;
      seen ^= cells[words + ((cells[at] & PAGE_MASK) >>> shift)];
      left--;
    }
    return seen;
  }

  /** Checks that words and entries point at each other and that the counts are right; throws Error naming the first fault. */
  validate(): void {
    const { cells } = this;
    let reported = 0;
    for (let list = 0; list < LISTS; list++) {
      this.#memory.validate(list);
      const order = Math.floor(list / TYPES);
      for (let at = cells[list << 2], left = this.count(list); left > 0; at = this.#step(at)) {
        const entry = cells[at];
        if (entry === GAP) continue;
        left--;
        const page = entry & PAGE_MASK;
        if (!this.has(page, order) || this.#placeOf(page, order) !== at) {
          throw new Error(`The word of page ${page} does not lead to its entry of order ${order}`);
        }
        if (entry < 0) reported += 1 << order;
      }
    }
    if (reported !== this.reportedPages) throw new Error(`Reported ${this.reportedPages}, on the lists ${reported}`);
  }

  #placeOf(page: number, order: number): number {
    return this.cells[this.wordOf(page, order)] >>> STATE_BITS;
  }

  /** The place after another one, gaps included. */
  #step(at: number): number {
    if ((at & CHUNK_MASK) !== CHUNK_MASK) return at + 1;
    return this.cells[((at >>> CHUNK_BITS) << 2) + AFTER] * CHUNK_ENTRIES;
  }

  /** The place before another one, gaps included. */
  #stepBack(at: number): number {
    if ((at & CHUNK_MASK) !== 0) return at - 1;
    return this.cells[((at >>> CHUNK_BITS) << 2) + BEFORE] * CHUNK_ENTRIES + CHUNK_MASK;
  }

  /** A block that was marked Reported leaves its list. */
  #unmark(order: number): void {
    this.cells[REPORTED_PAGES] -= 1 << order;
    this.cells[REPORTED_BLOCKS + order]--;
  }

  #leaveHead(list: number, at: number): void {
    const { cells } = this;
    cells[(list << 2) | COUNT]--;
    if (--cells[((at >>> CHUNK_BITS) << 2) + LIVE] === 0) return this.#memory.empty(list, at >>> CHUNK_BITS);
    do at++; while (cells[at] === GAP);
    cells[list << 2] = at;
  }

  #leaveTail(list: number, at: number): void {
    const { cells } = this;
    cells[(list << 2) | COUNT]--;
    if (--cells[((at >>> CHUNK_BITS) << 2) + LIVE] === 0) return this.#memory.empty(list, at >>> CHUNK_BITS);
    do at--; while (cells[at] === GAP);
    cells[(list << 2) | TAIL] = at;
  }

  /** Makes an inner chunk the first one, and the chunk before it the last one; what was beyond the ends becomes gaps. */
  #turnRing(list: number, chunk: number): void {
    const { cells } = this;
    const head = cells[list << 2];
    const tail = cells[(list << 2) | TAIL];
    cells.fill(GAP, head - (head & CHUNK_MASK), head);
    cells.fill(GAP, tail + 1, (tail | CHUNK_MASK) + 1);
    cells[list << 2] = this.#memory.firstOf(chunk);
    cells[(list << 2) | TAIL] = this.#memory.lastOf(cells[(chunk << 2) + BEFORE]);
  }

  /** Moves entries from the tail to the head until the block at `page` has come there. */
  #turnBack(list: number, order: number, page: number): void {
    const { cells } = this;
    while (this.first(list) !== page) {
      const tail = cells[(list << 2) | TAIL];
      const entry = cells[tail];
      this.#leaveTail(list, tail);
      this.pushHead(list, order, entry);
    }
  }
}
