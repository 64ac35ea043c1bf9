/** What the trackers have in common that remember each folio by a bit: a range is the aligned blocks that make it up. */
import { Operations } from "../memory/page_set.ts";
import { forEachAlignedBlock, ORDER_PAGES, type Range } from "../memory/range.ts";
import {
  Admission,
  type Allocate,
  bytesOf,
  type BytesTerm,
  checkRange,
  type Handover,
  ORDER_MAX,
  pagesText,
  type Tracker,
  type TrackerOptions,
} from "./tracker.ts";

/** A tracker of folios, without the place of their bits. */
export abstract class FolioTracker implements Tracker {
  /** What it did so far. */
  readonly operations: Operations = new Operations();
  readonly #admission: Admission;

  /** A tracker that takes no folio of what the options exclude. */
  constructor(options: TrackerOptions | undefined) {
    this.#admission = new Admission(options);
  }

  /** Pages preserved. */
  abstract get count(): number;

  /** The sum that {@link bytes} is. */
  abstract explain(): readonly BytesTerm[];

  /** Whether the page is preserved. */
  abstract contains(pfn: number): boolean;

  /** Its maximal runs, ascending. */
  abstract ranges(): Iterable<Range>;

  /** What is composed in the blackout. */
  abstract serialize(allocate: Allocate): Handover;

  /** Sets the bit of a folio. */
  protected abstract setFolio(pfn: number, order: number): void;

  /** Clears the bit of a folio that {@link checkFolio} let pass. */
  protected abstract clearFolio(pfn: number, order: number): void;

  /** Throws KhoError, with what the kernel does instead, for a folio that is not preserved. */
  protected abstract checkFolio(pfn: number, order: number): void;

  /** Memory that it takes, bytes. */
  get bytes(): number {
    return bytesOf(this.explain());
  }

  /** Preserves a range. */
  preserve(pfn: number, count: number): void {
    this.#admission.range(pfn, count);
    forEachAlignedBlock(pfn, count, ORDER_MAX, (block, order) => this.setFolio(block, order));
  }

  /** Preserves one folio. */
  preserveFolio(pfn: number, order: number): void {
    this.#admission.folio(pfn, order);
    this.setFolio(pfn, order);
  }

  /** Takes a range back; when a part of it is not preserved, nothing changes. */
  unpreserve(pfn: number, count: number): void {
    checkRange(pfn, count);
    forEachAlignedBlock(pfn, count, ORDER_MAX, (block, order) => this.checkFolio(block, order));
    forEachAlignedBlock(pfn, count, ORDER_MAX, (block, order) => this.clearFolio(block, order));
  }
}

/** What is wrong with taking back a folio that is not preserved. */
export function notPreserved(pfn: number, order: number): string {
  return `cannot unpreserve ${pagesText(pfn, ORDER_PAGES[order])}: not preserved as a folio of order ${order}`;
}
