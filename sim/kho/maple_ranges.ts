/**
 * Ranges in a maple tree, serialised into a list of pages of ranges: the sketch that Mike Rapoport mailed on 4 April 2025
 * (lkml, Re: [PATCH v5 09/16] kexec: enable KHO support for memory preservation), with orders, which it leaves to be added.
 *
 * The sketch has indexes in bytes, this one in pages: the same nodes.
 */
import { PAGE_SIZE } from "../memory/range.ts";
import { NODE_BYTES, NONE } from "./maple_nodes.ts";
import { MapleTree } from "./maple_tree.ts";
import {
  type Allocate,
  bytesOf,
  type BytesTerm,
  type Handover,
  type HandoverPage,
  ORDER_MAX,
  type Tracker,
  type TrackerOptions,
  type TrackerPlugin,
} from "./tracker.ts";
import { Frames } from "./tracker_memory.ts";
import {
  PAGE_RANGES,
  RANGE_BYTES,
  type RangeCursor,
  RANGES_HEADER_BYTES,
  RangeTracker,
  walkRangePages,
} from "./tracker_ranges.ts";

/**
 * KHOSER_RANGES_SIZE as posted: a misplaced parenthesis makes (4096 - 16) / 24 into 4096 - 16 / 24, so that a chunk of 4096
 * ranges takes 98,320 bytes. As posted new_chunk() is also called for every range.
 */
const POSTED_RANGES = PAGE_SIZE - Math.floor(RANGES_HEADER_BYTES / RANGE_BYTES);
const POSTED_CHUNK_BYTES = RANGES_HEADER_BYTES + POSTED_RANGES * RANGE_BYTES;

/** A place in the tree: a slot of a leaf that holds a range. */
class MapleCursor implements RangeCursor {
  pfn = Infinity;
  end = Infinity;
  order = 0;
  readonly #tree: MapleTree;
  #leaf = NONE;
  #slot = 0;

  constructor(tree: MapleTree) {
    this.#tree = tree;
  }

  seek(pfn: number): void {
    const { nodes } = this.#tree;
    this.#leaf = this.#tree.descend(pfn);
    if (this.#leaf === NONE) return this.#finish();
    this.#slot = nodes.slotAt(this.#leaf, pfn);
    this.pfn = this.#slot > 0 ? nodes.last(this.#leaf, this.#slot - 1) + 1 : this.#tree.minOf(this.#leaf);
    this.#load();
  }

  next(): void {
    this.pfn = this.end;
    this.#slot++;
    this.#load();
  }

  /** Goes on to the first slot that holds something, from the present one. */
  #load(): void {
    const { nodes } = this.#tree;
    for (;; this.#slot++) {
      if (this.#slot === nodes.lengthOf(this.#leaf)) {
        this.#leaf = this.#tree.nextLeaf(this.#leaf);
        if (this.#leaf === NONE) return this.#finish();
        this.#slot = 0;
      }
      this.end = nodes.last(this.#leaf, this.#slot) + 1;
      const value = nodes.slot(this.#leaf, this.#slot);
      if (value !== 0) {
        this.order = value - 1;
        return;
      }
      this.pfn = this.end;
    }
  }

  #finish(): void {
    this.pfn = Infinity;
    this.end = Infinity;
  }
}

/** The tracker. The value of a range is its order, plus 1 so that it is not empty (the kernel tags it, xa_mk_value). */
class MapleRanges extends RangeTracker {
  readonly #tree: MapleTree;
  readonly #isPosted: boolean;
  protected readonly cursor: MapleCursor;

  constructor(isPosted: boolean, options: TrackerOptions | undefined) {
    super(options);
    this.#tree = new MapleTree(2 ** ORDER_MAX - 1, options?.allocRange ?? false, this.operations);
    this.#isPosted = isPosted;
    this.cursor = new MapleCursor(this.#tree);
  }

  explain(): readonly BytesTerm[] {
    const { nodes } = this.#tree;
    return [
      { what: "leaves of the maple tree, 16 slots", count: nodes.leaves, bytesEach: NODE_BYTES },
      { what: `inner nodes, ${nodes.innerSlots} slots`, count: nodes.inner, bytesEach: NODE_BYTES },
    ];
  }

  serialize(allocate: Allocate): Handover {
    const { pages, chunks } = this.#isPosted ? this.#postedChunks(allocate) : this.#chunks(allocate);
    const terms = this.#isPosted
      ? [{ what: `chunks of ${POSTED_RANGES} ranges that hold one`, count: chunks, bytesEach: POSTED_CHUNK_BYTES }]
      : [{ what: `pages of ${PAGE_RANGES} ranges`, count: chunks, bytesEach: PAGE_SIZE }];
    const serializedBytes = bytesOf(terms);
    return { pages, terms, serializedBytes, keptBytes: serializedBytes, rootPfn: chunks === 0 ? 0 : pages[0].pfn };
  }

  protected makeCursor(): MapleCursor {
    return new MapleCursor(this.#tree);
  }

  protected store(pfn: number, count: number, order: number): void {
    this.#tree.store(pfn, pfn + count - 1, order + 1);
  }

  #chunks(allocate: Allocate): { pages: HandoverPage[]; chunks: number } {
    const frames = new Frames(allocate);
    let ranges = PAGE_RANGES;
    for (const range of this.stored()) {
      if (ranges === PAGE_RANGES) {
        this.#link(frames);
        ranges = 0;
      }
      this.#write(frames, ranges++, range.pfn, range.count, range.order);
    }
    return { pages: frames.pages(), chunks: frames.count };
  }

  /** A chunk for each range. All but its first 40 bytes is zero. */
  #postedChunks(allocate: Allocate): { pages: HandoverPage[]; chunks: number } {
    const frames = new Frames(() => allocate(POSTED_CHUNK_BYTES));
    for (const range of this.stored()) {
      this.#link(frames);
      this.#write(frames, 0, range.pfn, range.count, range.order);
    }
    return { pages: frames.pages(), chunks: frames.count };
  }

  /** Adds a chunk to the list. */
  #link(frames: Frames): void {
    const chunk = frames.add();
    this.operations.allocations++;
    this.operations.writes++;
    if (chunk > 0) frames.setWord64(chunk - 1, 0, frames.pfnOf(chunk) * PAGE_SIZE);
  }

  /** Writes a range to the last chunk. */
  #write(frames: Frames, entry: number, pfn: number, count: number, order: number): void {
    const chunk = frames.count - 1;
    const byte = RANGES_HEADER_BYTES + RANGE_BYTES * entry;
    frames.setWord64(chunk, byte, pfn * PAGE_SIZE);
    frames.setWord64(chunk, byte + 8, count * PAGE_SIZE);
    frames.setWord64(chunk, byte + 16, order);
    frames.setWord64(chunk, 8, entry + 1);
    this.operations.writes += 4;
  }
}

const design = {
  name: "maple-ranges",
  summary: "maple tree of ranges; serialised into a list of pages of 24-byte ranges",
  source: "Mike Rapoport, lkml 4 April 2025, Re: [PATCH v5 09/16] kexec: enable KHO support for memory preservation",
  remembers: "orders",
  walk: walkRangePages,
} as const;

/** The sketch with pages of 170 ranges, as it was meant. */
export const mapleRanges: TrackerPlugin = {
  ...design,
  create: (_allocate, options): Tracker => new MapleRanges(false, options),
  asPosted: {
    ...design,
    name: "maple-ranges-as-posted",
    summary: "maple-ranges as mailed: a chunk of 98,320 bytes for every range",
    create: (_allocate, options): Tracker => new MapleRanges(true, options),
  },
};
