/**
 * A set of pages as a bitmap that costs nothing where it is uniform.
 *
 * Each block of 512 pages (a huge page) has one byte: none of its pages is in the set, all are, or its bits are stored. So a
 * guest of a terabyte that lives in huge pages, or is mostly idle or mostly used, takes half a megabyte. Bits lie in segments
 * that are made when they are needed, and that take memory only where they were written. Page numbers may exceed 2^32
 * (hotplug spans): only numbers inside a segment see bitwise operators.
 */

const BLOCK_PAGES = 512;
const BLOCK_WORDS = BLOCK_PAGES / 32;

/** 2^20 pages, 4 GiB of memory, 128 KiB of bits. */
const SEGMENT_PAGES = 2 ** 20;
const SEGMENT_SHIFT = 20;
const SEGMENT_BLOCKS = SEGMENT_PAGES / BLOCK_PAGES;
const NO_WORDS = new Uint32Array(0);

/** States of a block. */
const CLEAR = 0;
const SET = 1;
const STORED = 2;
type Uniform = typeof CLEAR | typeof SET;

/** The number of bits that are set in a word. */
function popcount(word: number): number {
  word -= (word >>> 1) & 0x55555555;
  word = (word & 0x33333333) + ((word >>> 2) & 0x33333333);
  return Math.imul((word + (word >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}

/** Bits `from` to `to` (exclusive, at most 32, more than `from`) of a word. */
function maskOf(from: number, to: number): number {
  return (-1 >>> (32 - to + from)) << from;
}

/** The segment of a page; a shift where the number allows it. */
function segmentOf(page: number): number {
  return page < 2 ** 31 ? page >> SEGMENT_SHIFT : Math.floor(page / SEGMENT_PAGES);
}

/** The pages of a segment: what its blocks are, and the bits of those that are stored. */
class Segment {
  readonly states: Uint8Array = new Uint8Array(SEGMENT_BLOCKS);
  words: Uint32Array = NO_WORDS;
}

/** All segments that nothing was done to. Its states are never written. */
const UNTOUCHED = new Segment();

/** A set of pages with numbers from 0 to `pages` - 1. */
export class PageBitmap {
  /** Number of pages the set can hold. */
  readonly pages: number;
  #segments: Segment[];
  #count = 0;

  /** An empty set. */
  constructor(pages: number) {
    this.pages = pages;
    this.#segments = new Array(Math.ceil(pages / SEGMENT_PAGES)).fill(UNTOUCHED);
  }

  /** Pages in the set. */
  get count(): number {
    return this.#count;
  }

  /** Bytes of bits really stored. */
  get bytes(): number {
    let blocks = 0;
    for (const { states } of this.#segments) for (const state of states) if (state === STORED) blocks++;
    return blocks * BLOCK_WORDS * 4;
  }

  /** Whether the page is in the set. */
  has(page: number): boolean {
    const index = segmentOf(page);
    const { states, words } = this.#segments[index];
    const bit = page - index * SEGMENT_PAGES;
    const state = states[bit >>> 9];
    return state === STORED ? (words[bit >>> 5] >>> (bit & 31) & 1) === 1 : state === SET;
  }

  /** Adds `count` pages from `page` on; returns how many were not in the set before. */
  setRange(page: number, count: number): number {
    const index = segmentOf(page);
    const bit = page - index * SEGMENT_PAGES;
    const first = bit & 31;
    if (first + count > 32) return this.#setMany(page, count);
    const segment = this.#segments[index];
    const state = segment?.states[bit >>> 9];
    if (state === SET || count <= 0) return 0;
    const words = state === STORED ? segment.words : this.#store(index, bit >>> 9, CLEAR);
    const mask = maskOf(first, first + count);
    const word = words[bit >>> 5];
    const missing = mask & ~word;
    words[bit >>> 5] = word | mask;
    const added = missing === mask ? count : popcount(missing);
    this.#count += added;
    return added;
  }

  /** Removes `count` pages from `page` on; returns how many were in the set. */
  clearRange(page: number, count: number): number {
    const index = segmentOf(page);
    const bit = page - index * SEGMENT_PAGES;
    const first = bit & 31;
    if (first + count > 32) return this.#clearMany(page, count);
    const segment = this.#segments[index];
    const state = segment?.states[bit >>> 9];
    if (state === CLEAR || count <= 0) return 0;
    const words = state === STORED ? segment.words : this.#store(index, bit >>> 9, SET);
    const mask = maskOf(first, first + count);
    const word = words[bit >>> 5];
    const present = mask & word;
    words[bit >>> 5] = word & ~mask;
    const removed = present === mask ? count : popcount(present);
    this.#count -= removed;
    return removed;
  }

  /** Whether all of `count` pages from `page` on are in the set. */
  hasAll(page: number, count: number): boolean {
    const index = segmentOf(page);
    const bit = page - index * SEGMENT_PAGES;
    const first = bit & 31;
    if (first + count > 32 || count <= 0) return this.countRange(page, count) === Math.max(0, count);
    const { states, words } = this.#segments[index];
    const state = states[bit >>> 9];
    return state === STORED ? (maskOf(first, first + count) & ~words[bit >>> 5]) === 0 : state === SET;
  }

  /** How many of `count` pages from `page` on are in the set. */
  countRange(page: number, count: number): number {
    const end = page + count;
    let total = 0;
    while (page < end) {
      const index = segmentOf(page);
      const { states, words } = this.#segments[index];
      const base = index * SEGMENT_PAGES;
      const stop = Math.min(end, base + SEGMENT_PAGES) - base;
      for (let bit = page - base; bit < stop;) {
        const blockEnd = Math.min(stop, (bit | (BLOCK_PAGES - 1)) + 1);
        const state = states[bit >>> 9];
        if (state === SET) total += blockEnd - bit;
        else if (state === STORED) total += countBits(words, bit, blockEnd);
        bit = blockEnd;
      }
      page = base + stop;
    }
    return total;
  }

  /** How many pages are in this set and in the other one, which must be able to hold as many. */
  countBoth(other: PageBitmap): number {
    let total = 0;
    for (let index = 0; index < this.#segments.length; index++) {
      const a = this.#segments[index];
      const b = other.#segments[index];
      if (a === UNTOUCHED || b === UNTOUCHED) continue;
      const last = Math.min(SEGMENT_PAGES, this.pages - index * SEGMENT_PAGES);
      for (let block = 0; block * BLOCK_PAGES < last; block++) {
        total += countBothIn(a, b, block, Math.min(BLOCK_PAGES, last - block * BLOCK_PAGES));
      }
    }
    return total;
  }

  /** Calls `visit(page, count)` for each maximal run, inside the given pages, of pages that are (or are not) in the set. */
  forEachRun(page: number, count: number, member: boolean, visit: (page: number, count: number) => void): void {
    const end = page + count;
    let start = this.#find(page, end, member);
    while (start < end) {
      const stop = this.#find(start, end, !member);
      visit(start, stop - start);
      start = this.#find(stop, end, member);
    }
  }

  /** The first page from `page` on, before `end`, whose membership is `member`; `end` when there is none. */
  #find(page: number, end: number, member: boolean): number {
    const whole = member ? SET : CLEAR;
    while (page < end) {
      const index = segmentOf(page);
      const { states, words } = this.#segments[index];
      const base = index * SEGMENT_PAGES;
      const stop = Math.min(end, base + SEGMENT_PAGES) - base;
      for (let bit = page - base; bit < stop;) {
        const blockEnd = Math.min(stop, (bit | (BLOCK_PAGES - 1)) + 1);
        const state = states[bit >>> 9];
        if (state === whole) return base + bit;
        if (state === STORED) {
          const found = findBit(words, bit, blockEnd, member);
          if (found < blockEnd) return base + found;
        }
        bit = blockEnd;
      }
      page = base + stop;
    }
    return end;
  }

  #setMany(page: number, count: number): number {
    const added = this.#change(page, count, SET);
    this.#count += added;
    return added;
  }

  #clearMany(page: number, count: number): number {
    const removed = this.#change(page, count, CLEAR);
    this.#count -= removed;
    return removed;
  }

  /** Makes all pages of a range members or none; returns how many changed. */
  #change(page: number, count: number, to: Uniform): number {
    const end = page + count;
    let changed = 0;
    while (page < end) {
      const index = segmentOf(page);
      const base = index * SEGMENT_PAGES;
      const stop = Math.min(end, base + SEGMENT_PAGES) - base;
      for (let bit = page - base; bit < stop;) {
        const blockEnd = Math.min(stop, (bit | (BLOCK_PAGES - 1)) + 1);
        changed += this.#changeInBlock(index, bit, blockEnd, to);
        bit = blockEnd;
      }
      page = base + stop;
    }
    return changed;
  }

  #changeInBlock(index: number, from: number, to: number, target: Uniform): number {
    const block = from >>> 9;
    const segment = this.#segments[index];
    const state = segment.states[block];
    if (state === target) return 0;
    if (to - from < BLOCK_PAGES) {
      const words = state === STORED ? segment.words : this.#store(index, block, target === SET ? CLEAR : SET);
      return changeBits(words, from, to, target === SET);
    }
    const members = state === STORED ? countBits(segment.words, from, to) : state === SET ? BLOCK_PAGES : 0;
    this.#touched(index).states[block] = target;
    return target === SET ? BLOCK_PAGES - members : members;
  }

  /** Stores the bits of a block that was uniform; returns the words of its segment. */
  #store(index: number, block: number, was: Uniform): Uint32Array {
    const segment = this.#touched(index);
    if (segment.words === NO_WORDS) segment.words = new Uint32Array(SEGMENT_PAGES / 32);
    segment.words.fill(was === SET ? 0xffffffff : 0, block * BLOCK_WORDS, (block + 1) * BLOCK_WORDS);
    segment.states[block] = STORED;
    return segment.words;
  }

  /** The segment, made one that can be written. */
  #touched(index: number): Segment {
    const segment = this.#segments[index];
    return segment === UNTOUCHED ? this.#segments[index] = new Segment() : segment;
  }
}

/** Pages of a block, at most `pages` of it, that are in both segments. */
function countBothIn(a: Segment, b: Segment, block: number, pages: number): number {
  const [first, second] = [a.states[block], b.states[block]];
  if (first === CLEAR || second === CLEAR) return 0;
  const from = block * BLOCK_PAGES;
  if (first === SET) return second === SET ? pages : countBits(b.words, from, from + pages);
  if (second === SET) return countBits(a.words, from, from + pages);
  let total = 0;
  for (let word = from >>> 5; word < (from + BLOCK_PAGES) >>> 5; word++) {
    total += popcount(a.words[word] & b.words[word]);
  }
  return total;
}

/** How many bits from `from` to `to` (exclusive) are set. */
function countBits(words: Uint32Array, from: number, to: number): number {
  let total = 0;
  for (let bit = from; bit < to;) {
    const stop = Math.min(to, (bit | 31) + 1);
    total += popcount(words[bit >>> 5] & maskOf(bit & 31, (bit & 31) + stop - bit));
    bit = stop;
  }
  return total;
}

/** Sets or clears bits; returns how many changed. */
function changeBits(words: Uint32Array, from: number, to: number, set: boolean): number {
  let changed = 0;
  for (let bit = from; bit < to;) {
    const stop = Math.min(to, (bit | 31) + 1);
    const mask = maskOf(bit & 31, (bit & 31) + stop - bit);
    const word = words[bit >>> 5];
    changed += popcount((set ? ~word : word) & mask);
    words[bit >>> 5] = set ? word | mask : word & ~mask;
    bit = stop;
  }
  return changed;
}

/** The first bit from `from` on, before `to`, that is set (or clear); `to` when there is none. */
function findBit(words: Uint32Array, from: number, to: number, member: boolean): number {
  for (let bit = from; bit < to;) {
    const base = bit & ~31;
    const word = (member ? words[bit >>> 5] : ~words[bit >>> 5]) & (-1 << (bit & 31));
    if (word !== 0) {
      const found = base + 31 - Math.clz32(word & -word);
      return found < to ? found : to;
    }
    bit = base + 32;
  }
  return to;
}
