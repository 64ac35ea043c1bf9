/**
 * What trackers of ranges have in common: a range has the order of its folios, neighbours of one order are one range, and
 * how ranges are found and stored is the design's own matter.
 */
import { Operations } from "../memory/page_set.ts";
import { ORDER_PAGES, PAGE_SIZE, type Range } from "../memory/range.ts";
import {
  Admission,
  type Allocate,
  bytesOf,
  type BytesTerm,
  checkRange,
  type Handover,
  KhoError,
  ORDER_MAX,
  pagesText,
  type Preserved,
  type Tracker,
  type TrackerOptions,
} from "./tracker.ts";
import { hex, Image, type ImagePage } from "./tracker_memory.ts";

/** Bytes of a range in a page: start 8, size 8, data 8 (the order). */
export const RANGE_BYTES = 24;
/** Bytes of the header of a page of ranges: next 8, number of ranges 8. */
export const RANGES_HEADER_BYTES = 16;
/** Ranges that fit in a page. */
export const PAGE_RANGES: number = Math.floor((PAGE_SIZE - RANGES_HEADER_BYTES) / RANGE_BYTES);

/** A place in an ordered structure of ranges. */
export interface RangeCursor {
  /** First page of the range, Infinity beyond the last one. */
  readonly pfn: number;
  /** First page after it, Infinity beyond the last one. */
  readonly end: number;
  /** Order of its folios. */
  readonly order: number;
  /** Goes to the first range that ends beyond a page. */
  seek(pfn: number): void;
  /** Goes to the next range. */
  next(): void;
}

/** A tracker of ranges. */
export abstract class RangeTracker implements Tracker {
  readonly operations: Operations = new Operations();
  readonly #admission: Admission;
  #count = 0;

  /** An empty one. */
  constructor(options: TrackerOptions | undefined) {
    this.#admission = new Admission(options);
  }

  /** Finds ranges; one for all uses. */
  protected abstract readonly cursor: RangeCursor;

  /** One more cursor, for those who read the ranges one by one while the tracker may be asked other things. */
  protected abstract makeCursor(): RangeCursor;

  /** Makes pages one range of an order, or no range (-1), whatever was there. */
  protected abstract store(pfn: number, count: number, order: number): void;

  abstract serialize(allocate: Allocate): Handover;
  abstract explain(): readonly BytesTerm[];

  get count(): number {
    return this.#count;
  }

  get bytes(): number {
    return bytesOf(this.explain());
  }

  /** Pages of a range come back as folios of order 0, as kho_restore_pages gives them. */
  preserve(pfn: number, count: number): void {
    this.#admission.range(pfn, count);
    this.#preserve(pfn, count, 0);
  }

  preserveFolio(pfn: number, order: number): void {
    this.#admission.folio(pfn, order);
    this.#preserve(pfn, ORDER_PAGES[order], order);
  }

  unpreserve(pfn: number, count: number): void {
    checkRange(pfn, count);
    const [{ cursor }, end] = [this, pfn + count];
    cursor.seek(pfn);
    for (let at = pfn; at < end; at = cursor.end, cursor.next()) {
      if (cursor.pfn > at) {
        const missing = pagesText(at, Math.min(end, cursor.pfn) - at);
        throw new KhoError("ENOENT", `cannot unpreserve ${pagesText(pfn, count)}: ${missing} not preserved`);
      }
      const folio = ORDER_PAGES[cursor.order];
      const isCut = cursor.pfn < pfn && pfn % folio !== 0 || cursor.end > end && end % folio !== 0;
      if (!isCut) continue;
      throw new KhoError("EINVAL", `cannot unpreserve ${pagesText(pfn, count)}: cuts a folio of order ${cursor.order}`);
    }
    this.store(pfn, count, -1);
    this.#count -= count;
  }

  contains(pfn: number): boolean {
    this.cursor.seek(pfn);
    return this.cursor.pfn <= pfn;
  }

  *ranges(): Generator<Range> {
    let pfn = 0;
    let end = 0;
    for (const range of this.stored()) {
      if (range.pfn !== end || end === 0) {
        if (end > pfn) yield { pfn, count: end - pfn };
        pfn = range.pfn;
      }
      end = range.pfn + range.count;
    }
    if (end > pfn) yield { pfn, count: end - pfn };
  }

  /** The ranges as they are stored, ascending. */
  protected *stored(): Generator<Range & { readonly order: number }> {
    const cursor = this.makeCursor();
    for (cursor.seek(0); cursor.pfn < Infinity; cursor.next()) {
      yield { pfn: cursor.pfn, count: cursor.end - cursor.pfn, order: cursor.order };
    }
  }

  /**
   * Stores a range together with its neighbours of the same order (`__kho_preserve` of the sketch of 4 April 2025). The sketch
   * overwrites what another order has there; that would lose folios, so it is refused.
   */
  #preserve(pfn: number, count: number, order: number): void {
    const { cursor } = this;
    let [low, high] = [pfn, pfn + count];
    let covered = 0;
    for (cursor.seek(Math.max(0, pfn - 1)); cursor.pfn <= pfn + count; cursor.next()) {
      const shared = Math.min(cursor.end, pfn + count) - Math.max(cursor.pfn, pfn);
      if (cursor.order !== order) {
        if (shared <= 0) continue;
        const taken = pagesText(Math.max(cursor.pfn, pfn), shared);
        const problem = `cannot preserve ${pagesText(pfn, count)} as folios of order ${order}`;
        throw new KhoError("EEXIST", `${problem}: ${taken} preserved with order ${cursor.order}`);
      }
      covered += Math.max(0, shared);
      low = Math.min(low, cursor.pfn);
      high = Math.max(high, cursor.end);
    }
    this.store(low, high - low, order);
    this.#count += count - covered;
  }
}

/** The next kernel's walk over a list of pages of ranges; looks at pages and ranges. */
export function walkRangePages(handover: Handover, visit: Preserved, operations: Operations): void {
  if (handover.rootPfn === 0) return;
  const image = new Image(handover);
  let page: ImagePage | undefined = image.root(handover.rootPfn);
  for (let after = 0; page !== undefined;) {
    const ranges = page.word64(8);
    if (ranges < 1 || ranges > PAGE_RANGES) throw page.corrupt(8, `${ranges} ranges: a page has 1 to ${PAGE_RANGES}`);
    operations.visits += 1 + ranges;
    after = visitRanges(page, ranges, after, visit);
    page = page.word64(0) === 0 ? undefined : image.enter(page, 0);
  }
}

/** Reads the ranges of a page of a handover, `entries` of them, and visits them; `after` is where the previous one ended. */
function visitRanges(page: ImagePage, entries: number, after: number, visit: Preserved): number {
  for (let entry = 0; entry < entries; entry++) {
    const byte = RANGES_HEADER_BYTES + RANGE_BYTES * entry;
    const [start, size, order] = [page.word64(byte), page.word64(byte + 8), page.word64(byte + 16)];
    if (order > ORDER_MAX) throw page.corrupt(byte + 16, `order ${order} is more than ${ORDER_MAX}`);
    const folioBytes = ORDER_PAGES[order] * PAGE_SIZE;
    if (start % folioBytes !== 0) {
      throw page.corrupt(byte, `no folio of order ${order} starts at address ${hex(start)}`);
    }
    if (size === 0 || size % folioBytes !== 0) {
      throw page.corrupt(byte + 8, `${size} bytes are no folios of order ${order}`);
    }
    if (start / PAGE_SIZE < after) {
      throw page.corrupt(byte, `address ${hex(start)} is below the end of the range before it`);
    }
    after = (start + size) / PAGE_SIZE;
    if (after > ORDER_PAGES[ORDER_MAX]) {
      throw page.corrupt(byte + 8, `${size} bytes go beyond the last physical address`);
    }
    visit(start / PAGE_SIZE, size / PAGE_SIZE, order);
  }
  return after;
}
