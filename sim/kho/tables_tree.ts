/**
 * Trees of pages like page tables: tables of 512 physical addresses, and pages of bits at the bottom. The page tables of
 * April 2025 and the radix tree of 2026 are both made of them. Nothing is ever freed: no posted code frees an empty table.
 */
import type { Operations } from "../memory/page_set.ts";
import { PAGE_SIZE } from "../memory/range.ts";
import type { Allocate, HandoverPage } from "./tracker.ts";
import { changeBit, hasBit } from "./tracker_bitmaps.ts";
import { Frames, type Image, type ImagePage } from "./tracker_memory.ts";

/** Addresses in a table. */
export const TABLE_SLOTS: number = PAGE_SIZE / 8;

/** Bits in a leaf. */
export const LEAF_BITS: number = 8 * PAGE_SIZE;

/** How many leaves a slot of the root covers, in a tree with so many tables on each way. */
export function rootSpan(levels: number): number {
  return 2 ** (9 * (levels - 1));
}

/** Tables and leaves, named by the number of their page. */
export class TablePages {
  readonly #frames: Frames;
  /** For each page that is a table the pages it leads to, -1 for none; the addresses in its bytes say the same. */
  readonly #children: (Int32Array | undefined)[] = [];

  #leaves = 0;

  /** No pages yet. */
  constructor(allocate: Allocate) {
    this.#frames = new Frames(allocate);
  }

  /** Pages. */
  get count(): number {
    return this.#frames.count;
  }

  /** Leaves among them. */
  get leaves(): number {
    return this.#leaves;
  }

  /** Adds an empty table or leaf. */
  add(kind: "table" | "leaf"): number {
    if (kind === "leaf") this.#leaves++;
    this.#children.push(kind === "table" ? new Int32Array(TABLE_SLOTS).fill(-1) : undefined);
    return this.#frames.add();
  }

  /** The page that a slot leads to, -1 for none. */
  child(table: number, slot: number): number {
    return this.#children[table]![slot];
  }

  /** Lets a slot lead to a page. */
  setChild(table: number, slot: number, page: number): void {
    this.#children[table]![slot] = page;
    this.#frames.setWord64(table, 8 * slot, this.pfnOf(page) * PAGE_SIZE);
  }

  /** Sets or clears a bit of a leaf; says whether that changed it. */
  set(leaf: number, bit: number, to: boolean): boolean {
    return changeBit(this.wordsOf(leaf), this.firstWord(leaf), bit, to);
  }

  /** Whether a bit of a leaf is set. */
  has(leaf: number, bit: number): boolean {
    return hasBit(this.wordsOf(leaf), this.firstWord(leaf), bit);
  }

  /** Page frame of a page. */
  pfnOf(page: number): number {
    return this.#frames.pfnOf(page);
  }

  /** The words that a page lies in. */
  wordsOf(page: number): Uint32Array {
    return this.#frames.segmentOf(page);
  }

  /** Its first word in them. */
  firstWord(page: number): number {
    return this.#frames.wordOf(page);
  }

  /** All pages. */
  pages(): HandoverPage[] {
    return this.#frames.pages();
  }
}

/** A tree: `levels` tables on each way, the root one of them, then a leaf. Leaves are numbered from 0. */
export class TableTree {
  /** The root. */
  readonly root: number;
  readonly #pages: TablePages;
  readonly #operations: Operations;
  /** How many leaves one slot of a table covers, from the root down. */
  readonly #spans: readonly number[];

  /** A tree of an empty root. */
  constructor(pages: TablePages, levels: number, operations: Operations) {
    this.#pages = pages;
    this.#operations = operations;
    this.#spans = Array.from({ length: levels }, (_, level) => rootSpan(levels - level));
    operations.allocations++;
    this.root = pages.add("table");
  }

  /** The page of a leaf, -1 when there is none; looks at one page for each level. */
  find(leaf: number): number {
    let page = this.root;
    for (const span of this.#spans) {
      this.#operations.visits++;
      page = this.#pages.child(page, Math.floor(leaf / span) % TABLE_SLOTS);
      if (page < 0) return page;
    }
    this.#operations.visits++;
    return page;
  }

  /** The page of a leaf, made with the tables above it when there is none. */
  make(leaf: number): number {
    let page = this.root;
    for (const span of this.#spans) {
      this.#operations.visits++;
      const slot = Math.floor(leaf / span) % TABLE_SLOTS;
      let child = this.#pages.child(page, slot);
      if (child < 0) {
        child = this.#pages.add(span === 1 ? "leaf" : "table");
        this.#pages.setChild(page, slot, child);
        this.#operations.allocations++;
        this.#operations.writes++;
      }
      page = child;
    }
    this.#operations.visits++;
    return page;
  }

  /** Leaves, ascending: their numbers and pages. */
  leaves(): Generator<[leaf: number, page: number]> {
    return this.#under(this.root, 0, 0);
  }

  *#under(table: number, level: number, base: number): Generator<[leaf: number, page: number]> {
    const span = this.#spans[level];
    for (let slot = 0; slot < TABLE_SLOTS; slot++) {
      const child = this.#pages.child(table, slot);
      if (child < 0) continue;
      if (span === 1) yield [base + slot, child];
      else yield* this.#under(child, level + 1, base + slot * span);
    }
  }
}

/** What a walk over tables needs to know beside the place. */
export interface TableWalk {
  /** The image that is read. */
  readonly image: Image;
  /** Leaves with this number and above cannot be. */
  readonly leavesEnd: number;
  /** Receives a leaf. */
  readonly leaf: (page: ImagePage, leaf: number) => void;
  /** Counts the slots that are looked at. */
  readonly operations: Operations;
  /** Only the first leaf of a table is walked: a fault of posted code. */
  readonly firstLeafOnly?: boolean;
}

/** Walks a table whose slots cover `span` leaves each, ascending. */
export function walkTable(walk: TableWalk, table: ImagePage, span: number, base: number): void {
  walk.operations.visits += TABLE_SLOTS;
  for (let slot = 0; slot < TABLE_SLOTS; slot++) {
    const byte = 8 * slot;
    if (table.word64(byte) === 0) continue;
    const leaf = base + slot * span;
    if (leaf >= walk.leavesEnd) throw table.corrupt(byte, `slot ${slot} is beyond the last physical address`);
    const child = walk.image.enter(table, byte);
    if (span > 1) walkTable(walk, child, span / TABLE_SLOTS, leaf);
    else {
      walk.leaf(child, leaf);
      if (walk.firstLeafOnly) return;
    }
  }
}
