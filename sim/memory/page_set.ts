/**
 * Sets of pages: one interface for what trackers of a handover and encodings of a message remember, with what it costs them.
 */
import type { Range } from "./range.ts";

/** What a data structure did, to be priced by a cost profile. Counts only grow. */
export class Operations {
  /** Nodes, entries or regions that were looked at. */
  visits = 0;
  /** Words, entries or slots that were written. */
  writes = 0;
  /** What a library does around its visits: the call of a lookup, and the shift in the head of each node it descends. */
  librarySteps = 0;
  /** Bytes that were moved to make room or to close a gap. */
  movedBytes = 0;
  /** Allocations of nodes, bitmaps or arrays. */
  allocations = 0;
  /** Frees of them. */
  frees = 0;
}

/** A set of pages. Page frame numbers may exceed 2^31. */
export interface PageSet {
  /** Adds pages, those that are in it already included; returns how many are new. */
  add(pfn: number, count: number): number;
  /** Takes pages out; returns how many were in it. */
  remove(pfn: number, count: number): number;
  /** Whether the page is in it. */
  contains(pfn: number): boolean;
  /** Its maximal runs, ascending. */
  ranges(): Iterable<Range>;
  /** Pages in it. */
  readonly count: number;
  /** Memory that it takes, bytes, by the layout of its source. */
  readonly bytes: number;
  /** What it did so far. */
  readonly operations: Operations;
}
