/**
 * A set of pages as a bitmap that costs nothing where it is uniform.
 *
 * The bits are kept in chunks of 32,768 pages (128 MiB of memory, 4 KiB of bits). A chunk that is all clear or all set is
 * not stored, so a guest of a terabyte that is mostly idle or mostly used takes a few kilobytes.
 */

const CHUNK_PAGES = 32768;
const CHUNK_WORDS = CHUNK_PAGES / 32;

/** The state of a whole chunk that is not stored. */
const CLEAR = 0;
const SET = 1;
type Chunk = typeof CLEAR | typeof SET | Uint32Array;

function popcount(word: number): number {
  word -= (word >>> 1) & 0x55555555;
  word = (word & 0x33333333) + ((word >>> 2) & 0x33333333);
  return Math.imul((word + (word >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}

/** Bits `from` to `to` (exclusive, at most 32) of a word. */
function maskOf(from: number, to: number): number {
  return (to === 32 ? -1 : (1 << to) - 1) & (-1 << from);
}

/** A set of pages with numbers from 0 to `pages` - 1. */
export class PageBitmap {
  /** Number of pages the set can hold. */
  readonly pages: number;
  #chunks: Chunk[];
  #count = 0;

  /** An empty set. */
  constructor(pages: number) {
    this.pages = pages;
    this.#chunks = new Array(Math.ceil(pages / CHUNK_PAGES)).fill(CLEAR);
  }

  /** Pages in the set. */
  get count(): number {
    return this.#count;
  }

  /** Bytes of bits really stored. */
  get bytes(): number {
    let chunks = 0;
    for (const chunk of this.#chunks) if (typeof chunk !== "number") chunks++;
    return chunks * CHUNK_WORDS * 4;
  }

  /** Whether the page is in the set. */
  has(page: number): boolean {
    const index = Math.floor(page / CHUNK_PAGES);
    const chunk = this.#chunks[index];
    if (typeof chunk === "number") return chunk === SET;
    const bit = page - index * CHUNK_PAGES;
    return (chunk[bit >>> 5] >>> (bit & 31) & 1) === 1;
  }

  /** Adds `count` pages from `page` on; returns how many were not in the set before. */
  setRange(page: number, count: number): number {
    const added = this.#change(page, count, SET);
    this.#count += added;
    return added;
  }

  /** Removes `count` pages from `page` on; returns how many were in the set. */
  clearRange(page: number, count: number): number {
    const removed = this.#change(page, count, CLEAR);
    this.#count -= removed;
    return removed;
  }

  /** How many of `count` pages from `page` on are in the set. */
  countRange(page: number, count: number): number {
    let total = 0;
    this.#eachPart(page, count, (chunk, from, to) => {
      if (typeof chunk === "number") total += chunk === SET ? to - from : 0;
      else {for (let bit = from; bit < to;) {
          const stop = Math.min(to, (bit & ~31) + 32);
          total += popcount(chunk[bit >>> 5] & maskOf(bit & 31, stop - (bit & ~31)));
          bit = stop;
        }}
    });
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
      if (typeof a === "number" && typeof b === "number") total += pages;
      else if (typeof a === "number") total += other.countRange(index * CHUNK_PAGES, pages);
      else if (typeof b === "number") total += this.countRange(index * CHUNK_PAGES, pages);
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
    while (page < end) {
      const index = Math.floor(page / CHUNK_PAGES);
      const chunk = this.#chunks[index];
      const chunkEnd = Math.min(end, (index + 1) * CHUNK_PAGES);
      if (typeof chunk === "number") {
        if ((chunk === SET) === member) return page;
        page = chunkEnd;
        continue;
      }
      const found = findBit(chunk, page - index * CHUNK_PAGES, chunkEnd - index * CHUNK_PAGES, member);
      page = index * CHUNK_PAGES + found;
      if (page < chunkEnd) return page;
    }
    return end;
  }

  #eachPart(page: number, count: number, visit: (chunk: Chunk, from: number, to: number, index: number) => void): void {
    const end = page + count;
    while (page < end) {
      const index = Math.floor(page / CHUNK_PAGES);
      const base = index * CHUNK_PAGES;
      const stop = Math.min(end, base + CHUNK_PAGES);
      visit(this.#chunks[index], page - base, stop - base, index);
      page = stop;
    }
  }

  #change(page: number, count: number, to: typeof CLEAR | typeof SET): number {
    let changed = 0;
    this.#eachPart(page, count, (chunk, from, stop, index) => {
      if (chunk === to) return;
      if (stop - from === CHUNK_PAGES) {
        changed += typeof chunk === "number" ? CHUNK_PAGES : changesIn(chunk, 0, CHUNK_PAGES, to);
        this.#chunks[index] = to;
        return;
      }
      if (typeof chunk === "number") {
        this.#chunks[index] = chunk = new Uint32Array(CHUNK_WORDS).fill(chunk === SET ? 0xffffffff : 0);
      }
      changed += changesIn(chunk, from, stop, to);
    });
    return changed;
  }
}

/** Sets or clears bits of a stored chunk; returns how many changed. */
function changesIn(words: Uint32Array, from: number, to: number, value: typeof CLEAR | typeof SET): number {
  let changed = 0;
  for (let bit = from; bit < to;) {
    const base = bit & ~31;
    const stop = Math.min(to, base + 32);
    const mask = maskOf(bit & 31, stop - base);
    const word = words[bit >>> 5];
    changed += popcount((value === SET ? ~word : word) & mask);
    words[bit >>> 5] = value === SET ? word | mask : word & ~mask;
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
