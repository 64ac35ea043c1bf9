/**
 * Memory of trackers and handovers: real bytes in real places, little endian.
 *
 * Pages lie in segments of typed arrays, so that a handover of many megabytes is views on what the tracker wrote, not a copy.
 * Physical addresses are 52 bits: they are written and read as two words and are exact as numbers.
 */
import { grown } from "../memory/grown.ts";
import { PAGE_SIZE } from "../memory/range.ts";
import { type Allocate, type Handover, type HandoverPage, KhoError } from "./tracker.ts";

const PAGE_WORDS = PAGE_SIZE / 4;
const SEGMENT_SHIFT = 4;
const SEGMENT_PAGES = 1 << SEGMENT_SHIFT;

/** Pages with their bytes and page frames; they are named by their index, in the order in which they were added. */
export class Frames {
  readonly #allocate: Allocate;
  readonly #segments: Uint32Array[] = [];
  #pfns = new Float64Array(16);
  #count = 0;

  /** No pages yet; their frames come from `allocate`. */
  constructor(allocate: Allocate) {
    this.#allocate = allocate;
  }

  /** Pages. */
  get count(): number {
    return this.#count;
  }

  /** Adds a zeroed page; returns its index. */
  add(): number {
    const page = this.#count++;
    if (page === this.#pfns.length) this.#pfns = grown(this.#pfns, 2 * page);
    this.#pfns[page] = this.#allocate(PAGE_SIZE);
    if (page >> SEGMENT_SHIFT === this.#segments.length) {
      this.#segments.push(new Uint32Array(SEGMENT_PAGES * PAGE_WORDS));
    }
    return page;
  }

  /** The page frame of a page. */
  pfnOf(page: number): number {
    return this.#pfns[page];
  }

  /** The words that a page lies in; its first is {@link wordOf}. */
  segmentOf(page: number): Uint32Array {
    return this.#segments[page >> SEGMENT_SHIFT];
  }

  /** The number of the page's first word in its segment. */
  wordOf(page: number): number {
    return (page & (SEGMENT_PAGES - 1)) * PAGE_WORDS;
  }

  /** Writes 64 bits at a byte that is a multiple of 8. */
  setWord64(page: number, byte: number, value: number): void {
    const words = this.segmentOf(page);
    const word = this.wordOf(page) + byte / 4;
    words[word] = value; // the low 32 bits: a typed array takes a number modulo 2^32
    words[word + 1] = value / 2 ** 32;
  }

  /** Writes 32 bits at a byte that is a multiple of 4. */
  setWord32(page: number, byte: number, value: number): void {
    this.segmentOf(page)[this.wordOf(page) + byte / 4] = value;
  }

  /** The pages as a handover has them: views, no copies. Of the last page the first `lastBytes` bytes are used. */
  pages(lastBytes: number = PAGE_SIZE): HandoverPage[] {
    const last = this.#count - 1;
    return Array.from({ length: this.#count }, (_, page) => this.page(page, page === last ? lastBytes : PAGE_SIZE));
  }

  /** A page as a handover has it. */
  page(page: number, length: number = PAGE_SIZE): HandoverPage {
    const words = this.segmentOf(page);
    const bytes = new Uint8Array(words.buffer, words.byteOffset + 4 * this.wordOf(page), length);
    return { pfn: this.#pfns[page], bytes };
  }
}

/** A page of an image that is being read: 64- and 32-bit values at bytes that are multiples of their size. */
export class ImagePage {
  /** Page frame. */
  readonly pfn: number;
  /** Its words; what is missing at the end is zero. */
  readonly words: Uint32Array;

  /** The page of a handover. */
  constructor({ pfn, bytes }: HandoverPage) {
    this.pfn = pfn;
    const aligned = bytes.byteOffset % 4 === 0 && bytes.length === PAGE_SIZE;
    if (aligned) {
      this.words = new Uint32Array(bytes.buffer, bytes.byteOffset, PAGE_WORDS);
      return;
    }
    const copy = new Uint8Array(PAGE_SIZE);
    copy.set(bytes.subarray(0, PAGE_SIZE));
    this.words = new Uint32Array(copy.buffer);
  }

  /** 32 bits at a byte. */
  word32(byte: number): number {
    return this.words[byte / 4];
  }

  /** 64 bits at a byte. Values of 2^53 and more lose their lowest bits, which every reader refuses anyway. */
  word64(byte: number): number {
    return this.words[byte / 4 + 1] * 2 ** 32 + this.words[byte / 4];
  }

  /** An error about what is at a byte of this page. */
  corrupt(byte: number, problem: string): KhoError {
    return new KhoError("corrupt", `page ${this.pfn}, byte ${byte}: ${problem}`);
  }
}

/** The pages of a handover by their frames, for a reader that follows pointers. */
export class Image {
  readonly #pages = new Map<number, HandoverPage>();
  readonly #entered = new Set<number>();

  /** The image of a handover. */
  constructor(handover: Handover) {
    for (const page of handover.pages) this.#pages.set(page.pfn, page);
  }

  /** The page at which the reader begins; it must not come back to it. */
  root(pfn: number): ImagePage {
    const page = this.#pages.get(pfn);
    if (page === undefined) throw new KhoError("corrupt", `page ${pfn}, the root, is not in the handover`);
    this.#entered.add(pfn);
    return new ImagePage(page);
  }

  /** Follows the pointer at a byte of a page to a place that is a multiple of `align`. */
  follow(from: ImagePage, byte: number, align: number): [page: ImagePage, byte: number] {
    const address = from.word64(byte);
    const offset = address % PAGE_SIZE;
    if (address % align !== 0) throw from.corrupt(byte, `address ${hex(address)} is not a multiple of ${align}`);
    const page = this.#pages.get((address - offset) / PAGE_SIZE);
    if (page === undefined) throw from.corrupt(byte, `address ${hex(address)} is not in the handover`);
    return [new ImagePage(page), offset];
  }

  /** Follows a pointer to a whole page that no other pointer leads to: lists and trees of pages must not run in circles. */
  enter(from: ImagePage, byte: number): ImagePage {
    const [page] = this.follow(from, byte, PAGE_SIZE);
    if (this.#entered.has(page.pfn)) throw from.corrupt(byte, `page ${page.pfn} is reached for the second time`);
    this.#entered.add(page.pfn);
    return page;
  }
}

/** A number as addresses are written. */
export function hex(value: number): string {
  return `0x${value.toString(16)}`;
}
