/**
 * The lower half of LLFree: a bit for each page in leaves of 512 bits, and a 16-bit entry for each 2 MiB beside it (llfree-c of
 * October 2024, core/lower.c, core/bitfield.c, core/child.h). There are no lists and no lock; who takes pages looks for them
 * here, in the tree that an upper half has chosen.
 *
 * Pages are counted from the first page of the first tree, below 2^31, so that bits can be found with 32-bit arithmetic.
 */
import { ORDER_PAGES } from "../memory/range.ts";
import { ORDER_MAX, ORDERS, PAGEBLOCK_ORDER, PAGEBLOCK_PAGES } from "./allocator.ts";

/** Words of 32 bits in a leaf. */
const LEAF_WORDS = 16;
/** A row of the bit field, 64 bits, is two words: a search begins at a row. */
const ROW_PAGES = 64;
/** Bytes of one leaf and of one entry. */
const LEAF_BYTES = 64;
const ENTRY_BYTES = 2;

/** An entry: the number of free pages in 14 bits, whether the 2 MiB are one huge page, whether the host has them. */
const FREE_MASK = 0x3fff;
const HUGE = 0x4000;
const RECLAIMED = 0x8000;

/** For orders 0 to 5 the bits of a word at which a block may begin. */
const STARTS: readonly number[] = [-1, 0x55555555, 0x11111111, 0x01010101, 0x00010001, 1];

/** The position of the lowest bit that is set. */
function lowestBit(word: number): number {
  return 31 - Math.clz32(word & -word);
}

/** Leaves and entries of the 2 MiB of a zone. */
export class LlfreeChildren {
  /** Number of children. */
  readonly count: number;
  /** Free blocks by order, as a buddy allocator would have merged them; not LLFree's own, but what samples show. */
  readonly nrFree: Float64Array = new Float64Array(ORDERS);
  /** A set bit is a page in use. The bits of a huge page are not set: its entry says so. */
  readonly #words: Uint32Array;
  readonly #entries: Uint16Array;

  /** So many children without a free page. */
  constructor(count: number) {
    this.count = count;
    this.#words = new Uint32Array(count * LEAF_WORDS).fill(2 ** 32 - 1);
    this.#entries = new Uint16Array(count);
  }

  /** Bytes of leaves and entries. */
  get bytes(): number {
    return this.count * (LEAF_BYTES + ENTRY_BYTES);
  }

  /** Free pages of a child. */
  free(child: number): number {
    return this.#entries[child] & FREE_MASK;
  }

  /** Whether the host has taken the memory of a child, so that it must be installed before it is used. */
  isReclaimed(child: number): boolean {
    return (this.#entries[child] & RECLAIMED) !== 0;
  }

  /** Whether all of a child is free and still has its memory: what a soft reclaim may take. */
  mayReclaim(child: number): boolean {
    return this.#entries[child] === PAGEBLOCK_PAGES;
  }

  /** Notes whether the host has the memory of a child. */
  setReclaimed(child: number, reclaimed: boolean): void {
    if (reclaimed) this.#entries[child] |= RECLAIMED;
    else this.#entries[child] &= ~RECLAIMED;
  }

  /** Whether all pages of an aligned block are free. */
  isFree(page: number, order: number): boolean {
    const child = page >>> PAGEBLOCK_ORDER;
    const free = this.free(child);
    if (free === PAGEBLOCK_PAGES) return order < ORDER_MAX || this.free(child + 1) === PAGEBLOCK_PAGES;
    if (free < ORDER_PAGES[order] || order >= PAGEBLOCK_ORDER) return false;
    return this.#areClear(page, order);
  }

  /** The order of the largest aligned block of free pages around a page that begins with it, or -1. */
  orderAt(page: number): number {
    if (!this.isFree(page, 0)) return -1;
    const order = this.#orderAround(page, 0);
    return page % ORDER_PAGES[order] === 0 ? order : -1;
  }

  /**
   * Finds a free block in the children `first` to `end` - 1: from the row of `page` to the end of its child, then that child from
   * its beginning, then the next children in turn, the last followed by the first (`lower_get`). Its first page, or -1.
   */
  find(first: number, end: number, page: number, order: number): number {
    const from = page >>> PAGEBLOCK_ORDER;
    const step = order === ORDER_MAX ? 2 : 1;
    const children = end - first;
    for (let n = 0; n < children; n += step) {
      let child = from - from % step + n;
      if (child >= end) child -= children;
      const row = child === from ? (page % PAGEBLOCK_PAGES) - page % ROW_PAGES : 0;
      const found = this.#findIn(child, row, order);
      if (found >= 0) return found;
    }
    return -1;
  }

  /** Takes a block that is free. */
  take(page: number, order: number): void {
    const around = this.#orderAround(page, order);
    this.nrFree[around]--;
    // What is left of the block around it: one of each order below.
    for (let rest = around - 1; rest >= order; rest--) this.nrFree[rest]++;
    if (order < PAGEBLOCK_ORDER) {
      this.#fill(page, order, true);
      this.#entries[page >>> PAGEBLOCK_ORDER] -= ORDER_PAGES[order];
      return;
    }
    const end = page + ORDER_PAGES[order];
    for (let child = page >>> PAGEBLOCK_ORDER; child < end >>> PAGEBLOCK_ORDER; child++) {
      this.#entries[child] = (this.#entries[child] & RECLAIMED) | HUGE;
    }
  }

  /**
   * Gives a block back, whole or as part of a larger one; returns the order of the free block that it is in now. Throws Error
   * when a page of it is free already (`lower_put`).
   */
  put(page: number, order: number): number {
    if (order >= PAGEBLOCK_ORDER) this.#putWhole(page, order);
    else this.#putPart(page, order);
    while (order < ORDER_MAX) {
      const size = ORDER_PAGES[order];
      const buddy = page % (2 * size) === 0 ? page + size : page - size;
      if (!this.isFree(buddy, order)) break;
      this.nrFree[order]--;
      page = Math.min(page, buddy);
      order++;
    }
    this.nrFree[order]++;
    return order;
  }

  /** Calls `visit` for every largest aligned block of free pages, ascending. */
  forEachFree(visit: (page: number, order: number) => void): void {
    const end = this.count * PAGEBLOCK_PAGES;
    for (let page = 0; page < end;) {
      if (page % PAGEBLOCK_PAGES === 0 && this.free(page >>> PAGEBLOCK_ORDER) === 0) {
        page += PAGEBLOCK_PAGES;
        continue;
      }
      const order = this.orderAt(page);
      if (order >= 0) visit(page, order);
      page += order < 0 ? 1 : ORDER_PAGES[order];
    }
  }

  /** Checks every child against its leaf. Throws Error naming the first that does not hold. */
  validate(): void {
    for (let child = 0; child < this.count; child++) {
      const huge = (this.#entries[child] & HUGE) !== 0;
      let clear = 0;
      for (let page = 0; page < PAGEBLOCK_PAGES; page++) {
        if (this.#areClear(child * PAGEBLOCK_PAGES + page, 0)) clear++;
      }
      if (huge && (this.free(child) !== 0 || clear !== PAGEBLOCK_PAGES)) {
        throw new Error(
          `Child ${child} is a huge page, and yet has ${this.free(child)} free pages or bits that are set`,
        );
      }
      if (!huge && clear !== this.free(child)) {
        throw new Error(`Child ${child} counts ${this.free(child)} free pages, its leaf ${clear}`);
      }
    }
    const blocks = new Float64Array(ORDERS);
    this.forEachFree((_page, order) => blocks[order]++);
    for (let order = 0; order < ORDERS; order++) {
      if (blocks[order] === this.nrFree[order]) continue;
      throw new Error(`${blocks[order]} free blocks of order ${order} are counted as ${this.nrFree[order]}`);
    }
  }

  /** The order of the largest free block around a free one. */
  #orderAround(page: number, order: number): number {
    while (order < ORDER_MAX) {
      const size = ORDER_PAGES[order];
      const buddy = page % (2 * size) === 0 ? page + size : page - size;
      if (!this.isFree(buddy, order)) break;
      page = Math.min(page, buddy);
      order++;
    }
    return order;
  }

  #findIn(child: number, row: number, order: number): number {
    if (order >= PAGEBLOCK_ORDER) {
      const page = child * PAGEBLOCK_PAGES;
      return this.isFree(page, order) ? page : -1;
    }
    if (this.free(child) < ORDER_PAGES[order]) return -1;
    const first = child * LEAF_WORDS;
    const from = row / 32;
    const found = this.#findWords(first, from, LEAF_WORDS, order);
    return found >= 0 || row === 0 ? found : this.#findWords(first, 0, from, order);
  }

  /** Finds a free block below order 9 in the words `from` to `end` - 1 of a leaf. */
  #findWords(leaf: number, from: number, end: number, order: number): number {
    if (order > 5) {
      const words = ORDER_PAGES[order] / 32;
      for (let word = from - from % words; word < end; word += words) {
        const page = (leaf + word) * 32;
        if (this.#areClear(page, order)) return page;
      }
      return -1;
    }
    for (let word = from; word < end; word++) {
      let free = ~this.#words[leaf + word];
      // A bit stays when the pages of a block from it on are free.
      for (let pages = 1; pages < ORDER_PAGES[order]; pages *= 2) free &= free >>> pages;
      free &= STARTS[order];
      if (free !== 0) return (leaf + word) * 32 + lowestBit(free);
    }
    return -1;
  }

  /** Whether the bits of a block below order 9 are clear. */
  #areClear(page: number, order: number): boolean {
    const word = page >>> 5;
    if (order < 5) return (this.#words[word] & this.#maskOf(page, order)) === 0;
    const end = word + ORDER_PAGES[order] / 32;
    for (let at = word; at < end; at++) if (this.#words[at] !== 0) return false;
    return true;
  }

  /** Whether the bits of a block below order 9 are set. */
  #areSet(page: number, order: number): boolean {
    const word = page >>> 5;
    if (order < 5) {
      const mask = this.#maskOf(page, order);
      return (this.#words[word] & mask) === mask;
    }
    const end = word + ORDER_PAGES[order] / 32;
    for (let at = word; at < end; at++) if (this.#words[at] !== 2 ** 32 - 1) return false;
    return true;
  }

  #fill(page: number, order: number, used: boolean): void {
    const word = page >>> 5;
    if (order >= 5) {
      this.#words.fill(used ? 2 ** 32 - 1 : 0, word, word + ORDER_PAGES[order] / 32);
      return;
    }
    const mask = this.#maskOf(page, order);
    if (used) this.#words[word] |= mask;
    else this.#words[word] &= ~mask;
  }

  /** The bits of a block below order 5 in its word. */
  #maskOf(page: number, order: number): number {
    return ((1 << ORDER_PAGES[order]) - 1) << (page & 31);
  }

  /** A whole child, or two: the huge flag goes, or all bits do where it was taken in parts. */
  #putWhole(page: number, order: number): void {
    const end = page + ORDER_PAGES[order];
    for (let at = page; at < end; at += PAGEBLOCK_PAGES) {
      const child = at >>> PAGEBLOCK_ORDER;
      if ((this.#entries[child] & HUGE) === 0) {
        for (let word = child * LEAF_WORDS; word < (child + 1) * LEAF_WORDS; word++) {
          if (this.#words[word] !== 2 ** 32 - 1) throw new Error(`A page of child ${child} is free already`);
        }
        this.#words.fill(0, child * LEAF_WORDS, (child + 1) * LEAF_WORDS);
      }
      this.#entries[child] = (this.#entries[child] & RECLAIMED) | PAGEBLOCK_PAGES;
    }
  }

  /** Part of a child; a huge page becomes 512 single ones first (`partial_put_huge`). */
  #putPart(page: number, order: number): void {
    const child = page >>> PAGEBLOCK_ORDER;
    if ((this.#entries[child] & HUGE) !== 0) {
      this.#words.fill(2 ** 32 - 1, child * LEAF_WORDS, (child + 1) * LEAF_WORDS);
      this.#entries[child] &= ~HUGE;
    }
    if (!this.#areSet(page, order)) throw new Error(`A page of the block at ${page} of order ${order} is free already`);
    this.#fill(page, order, false);
    this.#entries[child] += ORDER_PAGES[order];
  }
}
