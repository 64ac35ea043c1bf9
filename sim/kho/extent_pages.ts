/**
 * The pages of the extent list: linked, sorted, with real bytes. A page that is full is split in half, one that is nearly
 * empty is joined with a neighbour.
 */
import { grown } from "../memory/grown.ts";
import type { Operations } from "../memory/page_set.ts";
import { PAGE_SIZE } from "../memory/range.ts";
import type { Allocate, Handover } from "./tracker.ts";
import { Frames } from "./tracker_memory.ts";
import { PAGE_RANGES, RANGE_BYTES, RANGES_HEADER_BYTES } from "./tracker_ranges.ts";

/** A page with fewer extents than this is joined with a neighbour that has room. */
const FEW = Math.floor(PAGE_RANGES / 4);

const HEADER_WORDS = RANGES_HEADER_BYTES / 4;
const RANGE_WORDS = RANGE_BYTES / 4;

/** The linked pages. An extent is named by the position of its page in the list and its number there. */
export class ExtentPages {
  readonly #frames: Frames;
  readonly #operations: Operations;
  readonly #free: number[] = [];
  /** Pages in list order, and the first page frame of the first extent of each. */
  #list = new Int32Array(16);
  #firsts = new Float64Array(16);
  #length = 0;

  constructor(allocate: Allocate, operations: Operations) {
    this.#frames = new Frames(allocate);
    this.#operations = operations;
  }

  /** Pages in the list. */
  get length(): number {
    return this.#length;
  }

  /** Extents of a page. */
  extents(at: number): number {
    const page = this.#list[at];
    return this.#frames.segmentOf(page)[this.#frames.wordOf(page) + 2];
  }

  /** The start (0), the pages (1) or the order (2) of an extent. */
  field(at: number, extent: number, field: 0 | 1 | 2): number {
    const words = this.#words(at);
    const word = this.#word(at, extent) + 2 * field;
    const value = words[word + 1] * 2 ** 32 + words[word];
    return field === 2 ? value : value / PAGE_SIZE;
  }

  /** Gives an extent other pages. */
  write(at: number, extent: number, pfn: number, count: number, order: number): void {
    const page = this.#list[at];
    const byte = RANGES_HEADER_BYTES + RANGE_BYTES * extent;
    this.#frames.setWord64(page, byte, pfn * PAGE_SIZE);
    this.#frames.setWord64(page, byte + 8, count * PAGE_SIZE);
    this.#frames.setWord64(page, byte + 16, order);
    this.#operations.writes += 3;
    if (extent === 0) this.#firsts[at] = pfn;
  }

  /** The last page whose first extent starts at or before a page frame; the first page when none does. Counts the walk. */
  find(pfn: number): number {
    let low = 0;
    let high = this.#length - 1;
    if (high <= 0 || this.#firsts[high] <= pfn) low = high;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.#firsts[middle] <= pfn) low = middle;
      else high = middle - 1;
    }
    this.#operations.visits += low === this.#length - 1 ? 1 : low + 1;
    return Math.max(0, low);
  }

  /** Puts an extent into the list; into which page is up to the fill. */
  insert(at: number, extent: number, pfn: number, count: number, order: number): void {
    if (this.#length === 0) this.#add(0);
    if (this.extents(at) === PAGE_RANGES) {
      const half = PAGE_RANGES / 2;
      const isAppended = at === this.#length - 1 && extent === PAGE_RANGES;
      this.#add(at + 1);
      if (!isAppended) this.#moveTail(at, half);
      if (isAppended || extent > half) [at, extent] = [at + 1, isAppended ? 0 : extent - half];
    }
    this.#shift(at, extent, extent + 1);
    this.write(at, extent, pfn, count, order);
  }

  /** Takes an extent out; a page that is left with few of them may go. */
  remove(at: number, extent: number): void {
    this.#shift(at, extent + 1, extent);
    const left = this.extents(at);
    if (left === 0) return this.#drop(at);
    if (extent === 0) this.#firsts[at] = this.field(at, 0, 0);
    if (left >= FEW) return;
    const first = at + 1 < this.#length ? at : at - 1;
    if (first >= 0 && this.extents(first) + this.extents(first + 1) <= PAGE_RANGES - FEW) this.#join(first);
  }

  /** The pages in list order. */
  pages(): Handover["pages"] {
    return Array.from(this.#list.subarray(0, this.#length), (page) => this.#frames.page(page));
  }

  #words(at: number): Uint32Array {
    return this.#frames.segmentOf(this.#list[at]);
  }

  #word(at: number, extent: number): number {
    return this.#frames.wordOf(this.#list[at]) + HEADER_WORDS + RANGE_WORDS * extent;
  }

  #setExtents(at: number, extents: number): void {
    this.#frames.setWord64(this.#list[at], 8, extents);
    this.#operations.writes++;
  }

  /** Moves the extents of a page from `from` on to `to` on; there is one more or one less then. */
  #shift(at: number, from: number, to: number): void {
    const extents = this.extents(at);
    const end = this.#word(at, extents);
    this.#words(at).copyWithin(this.#word(at, to), this.#word(at, from), end);
    this.#operations.movedBytes += RANGE_BYTES * (extents - from);
    this.#setExtents(at, extents + to - from);
  }

  /** Moves the extents of a page from `from` on to the end of the next page, which has them in front of what it has: nothing. */
  #moveTail(at: number, from: number): void {
    const extents = this.extents(at);
    this.#words(at + 1).set(
      this.#words(at).subarray(this.#word(at, from), this.#word(at, extents)),
      this.#word(at + 1, 0),
    );
    this.#operations.movedBytes += RANGE_BYTES * (extents - from);
    this.#setExtents(at, from);
    this.#setExtents(at + 1, extents - from);
    this.#firsts[at + 1] = this.field(at + 1, 0, 0);
  }

  /** Appends the extents of the next page to a page. */
  #join(at: number): void {
    const [kept, moved] = [this.extents(at), this.extents(at + 1)];
    this.#words(at).set(
      this.#words(at + 1).subarray(this.#word(at + 1, 0), this.#word(at + 1, moved)),
      this.#word(at, kept),
    );
    this.#operations.movedBytes += RANGE_BYTES * moved;
    this.#setExtents(at, kept + moved);
    this.#drop(at + 1);
  }

  /** Puts an empty page into the list. */
  #add(at: number): void {
    if (this.#length === this.#list.length) {
      this.#list = grown(this.#list, 2 * this.#length);
      this.#firsts = grown(this.#firsts, 2 * this.#length);
    }
    this.#list.copyWithin(at + 1, at, this.#length);
    this.#firsts.copyWithin(at + 1, at, this.#length);
    this.#list[at] = this.#free.pop() ?? this.#frames.add();
    this.#length++;
    this.#operations.allocations++;
    this.#setExtents(at, 0);
    this.#link(at);
    if (at > 0) this.#link(at - 1);
  }

  /** Takes a page out of the list. */
  #drop(at: number): void {
    this.#free.push(this.#list[at]);
    this.#list.copyWithin(at, at + 1, this.#length);
    this.#firsts.copyWithin(at, at + 1, this.#length);
    this.#length--;
    this.#operations.frees++;
    if (at > 0) this.#link(at - 1);
  }

  /** Writes where the next page is. */
  #link(at: number): void {
    const next = at + 1 < this.#length ? this.#frames.pfnOf(this.#list[at + 1]) * PAGE_SIZE : 0;
    this.#frames.setWord64(this.#list[at], 0, next);
    this.#operations.writes++;
  }
}
