/**
 * A set of pages as a bitmap that costs nothing where it is uniform.
 *
 * The bits are kept in chunks of 32,768 pages (128 MiB of memory, 4 KiB of bits). All chunks that were never touched, or were
 * set or cleared as a whole, share two constant ones, so a guest of a terabyte that is mostly idle or mostly used takes a few
 * kilobytes. Page numbers may exceed 2^32 (hotplug spans): only numbers inside a chunk see bitwise operators.
 */

const CHUNK_PAGES = 32768;
const CHUNK_SHIFT = 15;
const CHUNK_WORDS = CHUNK_PAGES / 32;

/** Changes of at least so many pages of a chunk (a huge page) look whether all of it is alike now. */
const COLLAPSE_PAGES = 512;

/** A chunk that goes to and fro is kept after so many times: storing it again costs more than its 4 KiB. */
const COLLAPSES_MAX = 4;

/** The two shared chunks. They are never written. */
const CLEAR = new Uint32Array(CHUNK_WORDS);
const SET = new Uint32Array(CHUNK_WORDS).fill(0xffffffff);

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

/** The chunk of a page; a shift where the number allows it. */
function chunkOf(page: number): number {
  return page < 2 ** 31 ? page >> CHUNK_SHIFT : Math.floor(page / CHUNK_PAGES);
}

/** A set of pages with numbers from 0 to `pages` - 1. */
export class PageBitmap {
  /** Number of pages the set can hold. */
  readonly pages: number;
  #chunks: Uint32Array[];
  #collapses: Uint8Array;
  #count = 0;

  /** An empty set. */
  constructor(pages: number) {
    this.pages = pages;
    this.#chunks = new Array(Math.ceil(pages / CHUNK_PAGES)).fill(CLEAR);
    this.#collapses = new Uint8Array(this.#chunks.length);
  }

  /** Pages in the set. */
  get count(): number {
    return this.#count;
  }

  /** Bytes of bits really stored. */
  get bytes(): number {
    let chunks = 0;
    for (const chunk of this.#chunks) if (chunk !== CLEAR && chunk !== SET) chunks++;
    return chunks * CHUNK_WORDS * 4;
  }

  /** Whether the page is in the set. */
  has(page: number): boolean {
    const index = chunkOf(page);
    const bit = page - index * CHUNK_PAGES;
    return (this.#chunks[index][bit >>> 5] >>> (bit & 31) & 1) === 1;
  }

  /** Adds `count` pages from `page` on; returns how many were not in the set before. */
  setRange(page: number, count: number): number {
    const index = chunkOf(page);
    const bit = page - index * CHUNK_PAGES;
    const first = bit & 31;
    if (first + count > 32) return this.#setMany(page, count);
    if (count <= 0) return 0;
    const mask = maskOf(first, first + count);
    const word = this.#chunks[index][bit >>> 5];
    const missing = mask & ~word;
    if (missing === 0) return 0;
    this.#stored(index)[bit >>> 5] = word | mask;
    const added = missing === mask ? count : popcount(missing);
    this.#count += added;
    return added;
  }

  /** Removes `count` pages from `page` on; returns how many were in the set. */
  clearRange(page: number, count: number): number {
    const index = chunkOf(page);
    const bit = page - index * CHUNK_PAGES;
    const first = bit & 31;
    if (first + count > 32) return this.#clearMany(page, count);
    if (count <= 0) return 0;
    const mask = maskOf(first, first + count);
    const word = this.#chunks[index][bit >>> 5];
    const present = mask & word;
    if (present === 0) return 0;
    this.#stored(index)[bit >>> 5] = word & ~mask;
    const removed = present === mask ? count : popcount(present);
    this.#count -= removed;
    return removed;
  }

  /** Whether all of `count` pages from `page` on are in the set. */
  hasAll(page: number, count: number): boolean {
    const index = chunkOf(page);
    const bit = page - index * CHUNK_PAGES;
    const first = bit & 31;
    if (first + count > 32) return this.countRange(page, count) === count;
    return count <= 0 || (maskOf(first, first + count) & ~this.#chunks[index][bit >>> 5]) === 0;
  }

  /** How many of `count` pages from `page` on are in the set. */
  countRange(page: number, count: number): number {
    const end = page + count;
    let total = 0;
    while (page < end) {
      const index = chunkOf(page);
      const base = index * CHUNK_PAGES;
      const stop = Math.min(end, base + CHUNK_PAGES);
      const chunk = this.#chunks[index];
      if (chunk === SET) total += stop - page;
      else if (chunk !== CLEAR) total += countBits(chunk, page - base, stop - base);
      page = stop;
    }
    return total;
  }

  /** How many pages are in this set and in the other one, which must be able to hold as many. */
  countBoth(other: PageBitmap): number {
    let total = 0;
    for (let index = 0; index < this.#chunks.length; index++) {
      const a = this.#chunks[index];
      const b = other.#chunks[index];
      if (a === CLEAR || b === CLEAR) continue;
      const pages = Math.min(CHUNK_PAGES, this.pages - index * CHUNK_PAGES);
      if (a === SET && b === SET) total += pages;
      else if (a === SET) total += other.countRange(index * CHUNK_PAGES, pages);
      else if (b === SET) total += this.countRange(index * CHUNK_PAGES, pages);
      else for (let word = 0; word < CHUNK_WORDS; word++) total += popcount(a[word] & b[word]);
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
    const none = member ? CLEAR : SET;
    while (page < end) {
      const index = chunkOf(page);
      const chunk = this.#chunks[index];
      if (chunk === whole) return page;
      const base = index * CHUNK_PAGES;
      const stop = Math.min(end, base + CHUNK_PAGES);
      if (chunk !== none) {
        const found = base + findBit(chunk, page - base, stop - base, member);
        if (found < stop) return found;
      }
      page = stop;
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

  /** Makes the pages of a range as those of one shared chunk; returns how many changed. */
  #change(page: number, count: number, to: Uint32Array): number {
    const end = page + count;
    let changed = 0;
    while (page < end) {
      const index = chunkOf(page);
      const base = index * CHUNK_PAGES;
      const stop = Math.min(end, base + CHUNK_PAGES);
      const chunk = this.#chunks[index];
      if (chunk !== to) {
        if (stop - page < CHUNK_PAGES) {
          changed += changesIn(this.#stored(index), page - base, stop - base, to === SET);
          if (stop - page >= COLLAPSE_PAGES) this.#collapse(index, to);
        } else {
          const members = chunk === SET ? CHUNK_PAGES : chunk === CLEAR ? 0 : countBits(chunk, 0, CHUNK_PAGES);
          changed += to === SET ? CHUNK_PAGES - members : members;
          this.#chunks[index] = to;
        }
      }
      page = stop;
    }
    return changed;
  }

  /** A stored chunk that has become as a shared one is let go: so a guest of huge pages stays small. */
  #collapse(index: number, to: Uint32Array): void {
    const chunk = this.#chunks[index];
    const word = to[0];
    // The last word first: memory is mostly filled and emptied from one end.
    if (chunk[CHUNK_WORDS - 1] !== word) return;
    if (this.#collapses[index] === COLLAPSES_MAX) return;
    for (let i = 0; i < CHUNK_WORDS; i++) if (chunk[i] !== word) return;
    this.#collapses[index]++;
    this.#chunks[index] = to;
  }

  /** The chunk, made one that can be written. */
  #stored(index: number): Uint32Array {
    const chunk = this.#chunks[index];
    return chunk === CLEAR || chunk === SET ? this.#chunks[index] = chunk.slice() : chunk;
  }
}

/** How many bits from `from` to `to` (exclusive) are set. */
function countBits(words: Uint32Array, from: number, to: number): number {
  let total = 0;
  for (let bit = from; bit < to;) {
    const base = bit & ~31;
    const stop = Math.min(to, base + 32);
    total += popcount(words[bit >>> 5] & maskOf(bit & 31, stop - base));
    bit = stop;
  }
  return total;
}

/** Sets or clears bits of a stored chunk; returns how many changed. */
function changesIn(words: Uint32Array, from: number, to: number, set: boolean): number {
  let changed = 0;
  for (let bit = from; bit < to;) {
    const base = bit & ~31;
    const stop = Math.min(to, base + 32);
    const mask = maskOf(bit & 31, stop - base);
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
