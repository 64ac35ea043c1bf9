/** Bitmaps of preserved folios: where they lie, their bits, and the runs of pages that they stand for. */
import { appendBitmap, type Run } from "../memory/bit_runs.ts";
import { ORDER_PAGES, PAGE_SIZE, type Range } from "../memory/range.ts";
import { type Allocate, type HandoverPage, ORDER_MAX, type Preserved } from "./tracker.ts";
import { Frames, type ImagePage } from "./tracker_memory.ts";

/** Bitmaps of one size, packed into pages as kmalloc packs them. They are never freed: no posted tracker frees one. */
export class Bitmaps {
  /** Bytes of one, a power of two of at most 4096. */
  readonly bytesEach: number;
  /** Bits of one. */
  readonly bits: number;
  readonly #frames: Frames;
  readonly #perPage: number;
  #count = 0;

  /** No bitmaps yet. */
  constructor(bytesEach: number, allocate: Allocate) {
    this.bytesEach = bytesEach;
    this.bits = 8 * bytesEach;
    this.#perPage = PAGE_SIZE / bytesEach;
    this.#frames = new Frames(allocate);
  }

  /** Bitmaps. */
  get count(): number {
    return this.#count;
  }

  /** Adds a bitmap of zeros; returns its number. */
  add(): number {
    if (this.#count % this.#perPage === 0) this.#frames.add();
    return this.#count++;
  }

  /** Sets or clears a bit; says whether that changed it. */
  set(bitmap: number, bit: number, to: boolean): boolean {
    return changeBit(this.#wordsOf(bitmap), this.#firstWord(bitmap), bit, to);
  }

  /** Whether a bit is set. */
  has(bitmap: number, bit: number): boolean {
    return hasBit(this.#wordsOf(bitmap), this.#firstWord(bitmap), bit);
  }

  /** Physical address of a bitmap. */
  addressOf(bitmap: number): number {
    const page = Math.floor(bitmap / this.#perPage);
    return this.#frames.pfnOf(page) * PAGE_SIZE + bitmap % this.#perPage * this.bytesEach;
  }

  /** The runs of pages of a bitmap whose bits are folios of `folioPages`, the first one at page `pfn`. */
  runsOf(bitmap: number, pfn: number, folioPages: number): Range[] {
    return bitmapRuns(this.#wordsOf(bitmap), this.#firstWord(bitmap), this.bits, pfn, folioPages);
  }

  /** The pages they lie in. */
  pages(): HandoverPage[] {
    const used = this.#count % this.#perPage * this.bytesEach;
    return this.#frames.pages(used === 0 ? PAGE_SIZE : used);
  }

  #wordsOf(bitmap: number): Uint32Array {
    return this.#frames.segmentOf(Math.floor(bitmap / this.#perPage));
  }

  #firstWord(bitmap: number): number {
    return this.#frames.wordOf(Math.floor(bitmap / this.#perPage)) + bitmap % this.#perPage * (this.bytesEach / 4);
  }
}

/** Sets or clears a bit of the bitmap that begins at a word; says whether that changed it. */
export function changeBit(words: Uint32Array, first: number, bit: number, to: boolean): boolean {
  const index = first + (bit >>> 5);
  const word = words[index];
  const next = to ? word | 1 << (bit & 31) : word & ~(1 << (bit & 31));
  words[index] = next;
  return word !== next >>> 0;
}

/** Whether a bit of the bitmap that begins at a word is set. */
export function hasBit(words: Uint32Array, first: number, bit: number): boolean {
  return (words[first + (bit >>> 5)] >>> (bit & 31) & 1) === 1;
}

/** The runs of pages of the bitmap that begins at a word; its bits are folios of `folioPages`, the first one at page `pfn`. */
export function bitmapRuns(words: Uint32Array, first: number, bits: number, pfn: number, folioPages: number): Range[] {
  const runs: Run[] = [];
  const view = new DataView(words.buffer, words.byteOffset + 4 * first, bits / 8);
  appendBitmap(runs, view, 0, bits, pfn / folioPages, folioPages);
  return runs;
}

/**
 * Calls `visit` for each folio of a bitmap in the image, ascending (`for_each_set_bit`); its first bit is the folio at page
 * `pfn`. Returns the 64-bit words that were looked at.
 */
export function visitBits(
  page: ImagePage,
  byte: number,
  bits: number,
  pfn: number,
  order: number,
  visit: Preserved,
): number {
  const folioPages = ORDER_PAGES[order];
  const first = byte / 4;
  const end = (ORDER_PAGES[ORDER_MAX] - pfn) / folioPages;
  for (let index = 0; index < bits / 32; index++) {
    let word = page.words[first + index];
    while (word !== 0) {
      const bit = 31 - Math.clz32(word & -word);
      const folio = 32 * index + bit;
      if (folio >= end) throw page.corrupt(byte + 4 * index, `bit ${folio} is beyond the last physical address`);
      visit(pfn + folio * folioPages, folioPages, order);
      word &= word - 1;
    }
  }
  return bits / 64;
}

/** The maximal runs of several ascending sequences of ranges, which may overlap or touch each other. */
export function* mergedRuns(sequences: readonly Iterable<Range>[]): Generator<Range> {
  const iterators = sequences.map((sequence) => sequence[Symbol.iterator]());
  const heads = iterators.map((iterator) => iterator.next());
  let run: { pfn: number; count: number } | undefined;
  for (;;) {
    let lowest = -1;
    for (let i = 0; i < heads.length; i++) {
      const head = heads[i];
      if (head.done !== true && (lowest < 0 || head.value.pfn < heads[lowest].value.pfn)) lowest = i;
    }
    if (lowest < 0) break;
    const { pfn, count }: Range = heads[lowest].value;
    heads[lowest] = iterators[lowest].next();
    if (run !== undefined && pfn <= run.pfn + run.count) run.count = Math.max(run.count, pfn + count - run.pfn);
    else {
      if (run !== undefined) yield run;
      run = { pfn, count };
    }
  }
  if (run !== undefined) yield run;
}
