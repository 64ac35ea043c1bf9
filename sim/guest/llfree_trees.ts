/**
 * The upper half of LLFree: a counter for each tree of eight children, and for each CPU and kind of request one tree that it has
 * reserved, so that CPUs seldom meet (llfree-c of October 2024, core/llfree.c, core/tree.h, core/local.h).
 *
 * While a tree is reserved its free pages are counted in two places: what the reservation took with it, and what was freed since.
 */
import { PAGEBLOCK_ORDER } from "./allocator.ts";

/** Children of a tree: 16 MiB (LLFREE_TREE_CHILDREN_ORDER 3). */
export const TREE_CHILDREN = 8;
/** Pages of a tree. */
export const TREE_PAGES: number = TREE_CHILDREN * 512;

/** Kinds of requests, and of the trees that serve them, the strictest first: kernel memory, movable pages, huge pages. */
export const FIXED = 0;
/** See {@link FIXED}. */
export const MOVABLE_KIND = 1;
/** See {@link FIXED}. */
export const HUGE_KIND = 2;
/** The number of kinds. */
export const KINDS = 3;

/** Bytes of a tree's entry: 16 bits, as the counter of a tree of this order fits (core/tree.h `treeF_t`, `tree_t`). */
const ENTRY_BYTES = 2;
/** Trees whose entries share a cache line. */
const LINE_TREES = 64 / ENTRY_BYTES;

/** An entry: free pages in 13 bits, reserved, kind in 2 bits. */
const FREE_MASK = 0x1fff;
const RESERVED = 0x2000;
const KIND_SHIFT = 14;

/** Tries to take a block in a tree from the row of a page on; the first page, or -1. */
export type TakeInTree = (tree: number, fromPage: number) => number;

/** How full a tree has to be for a search: from `min` to `max` free pages (core/tree.c `tree_reserve`). */
interface FreeRange {
  readonly min: number;
  readonly max: number;
}

/** Over half full, but not nearly so. */
const HALF_FULL: FreeRange = { min: TREE_PAGES / 16, max: TREE_PAGES / 2 };
/** Neither full nor free, roughly. */
const PARTIAL: FreeRange = { min: TREE_PAGES / 64, max: TREE_PAGES - TREE_PAGES / 16 };
/** Not wholly free. */
const NOT_FREE: FreeRange = { min: 0, max: TREE_PAGES - 1 };
/** Any, the wholly free ones included. */
const ANY: FreeRange = { min: 0, max: TREE_PAGES };

/** Trees of a zone, and who has reserved which. */
export class LlfreeTrees {
  /** Number of trees. */
  readonly count: number;
  readonly #entries: Uint32Array;
  readonly #cpus: number;
  /** By CPU and kind: the tree reserved, or -1; its private counter; the page at which the next search begins. */
  readonly #tree: Int32Array;
  readonly #free: Int32Array;
  readonly #from: Float64Array;
  /** Whether there are enough trees for each CPU to have its own of each kind. */
  readonly #reserves: boolean;

  /** So many trees without a free page, for so many CPUs. */
  constructor(count: number, cpus: number) {
    this.count = count;
    this.#entries = new Uint32Array(count);
    this.#cpus = Math.max(1, Math.min(cpus, count));
    this.#reserves = count > KINDS * this.#cpus;
    const slots = this.#cpus * KINDS;
    this.#tree = new Int32Array(slots).fill(-1);
    this.#free = new Int32Array(slots);
    this.#from = new Float64Array(slots);
  }

  /** Bytes of the entries; the reservations of a CPU are a cache line each. */
  get bytes(): number {
    return this.count * ENTRY_BYTES;
  }

  /** The kind of tree for a request; one kind serves all where there are few trees. */
  kindOf(order: number, movable: boolean): number {
    if (!this.#reserves) return FIXED;
    if (order >= PAGEBLOCK_ORDER) return HUGE_KIND;
    return movable ? MOVABLE_KIND : FIXED;
  }

  /** The kind of a tree. */
  kind(tree: number): number {
    return this.#entries[tree] >>> KIND_SHIFT;
  }

  /** Whether a CPU has reserved a tree. */
  isReserved(tree: number): boolean {
    return (this.#entries[tree] & RESERVED) !== 0;
  }

  /** Free pages of a tree, in both places. */
  free(tree: number): number {
    const slot = this.isReserved(tree) ? this.#tree.indexOf(tree) : -1;
    return this.#shared(tree) + (slot < 0 ? 0 : this.#free[slot]);
  }

  /** Pages of a tree are free again: always in the entry that all CPUs share. */
  put(tree: number, pages: number): void {
    this.#entries[tree] += pages;
  }

  /** Pages of a tree were taken past the reservations. */
  remove(tree: number, pages: number): void {
    const shared = Math.min(pages, this.#shared(tree));
    this.#entries[tree] -= shared;
    if (shared < pages) this.#free[this.#tree.indexOf(tree)] -= pages - shared;
  }

  /**
   * Takes `pages` pages for a CPU: in its reserved tree, in another that it then reserves, in a tree that another CPU has
   * reserved, and at last wherever there are (`llfree_get`). The first page, or -1.
   */
  get(cpu: number, kind: number, pages: number, take: TakeInTree): number {
    const core = cpu < 0 ? 0 : cpu % this.#cpus;
    const slot = core * KINDS + kind;
    if (this.#reserves) {
      let page = this.#getReserved(slot, pages, take);
      if (page < 0) page = this.#reserve(slot, core, kind, pages, take);
      if (page < 0) page = this.#steal(slot, core, kind, pages, take);
      if (page >= 0) return page;
    }
    return this.#search(Math.max(0, this.#tree[slot]), 0, this.count, (tree) => {
      return this.#takeShared(tree, kind, pages, take);
    });
  }

  /** Checks the entries against the free pages of the trees. Throws Error naming the first that does not hold. */
  validate(freeOf: (tree: number) => number): void {
    for (let slot = 0; slot < this.#tree.length; slot++) {
      const tree = this.#tree[slot];
      if (tree >= 0 && !this.isReserved(tree)) throw new Error(`Tree ${tree} is reserved and does not say so`);
      if (tree >= 0 && this.#tree.indexOf(tree) !== slot) throw new Error(`Tree ${tree} is reserved twice`);
    }
    for (let tree = 0; tree < this.count; tree++) {
      if (this.isReserved(tree) && !this.#tree.includes(tree)) throw new Error(`Nobody has reserved tree ${tree}`);
      if (this.free(tree) !== freeOf(tree)) {
        throw new Error(`Tree ${tree} counts ${this.free(tree)} free pages, its children ${freeOf(tree)}`);
      }
    }
  }

  #shared(tree: number): number {
    return this.#entries[tree] & FREE_MASK;
  }

  #set(tree: number, free: number, reserved: boolean, kind: number): void {
    this.#entries[tree] = free | (reserved ? RESERVED : 0) | (kind << KIND_SHIFT);
  }

  /** From the tree that a reservation has; what was freed there since is counted in when its own counter is too low. */
  #getReserved(slot: number, pages: number, take: TakeInTree): number {
    const tree = this.#tree[slot];
    if (tree < 0) return -1;
    if (this.#free[slot] < pages) {
      const shared = this.#shared(tree);
      if (this.#free[slot] + shared < pages) return -1;
      this.#free[slot] += shared;
      this.#entries[tree] -= shared;
    }
    const page = take(tree, this.#from[slot]);
    if (page < 0) return -1;
    this.#free[slot] -= pages;
    this.#from[slot] = page;
    return page;
  }

  /**
   * Reserves another tree: near the last one first, half full ones before fuller and emptier ones, wholly free ones at last
   * (`reserve_and_get`).
   */
  #reserve(slot: number, core: number, kind: number, pages: number, take: TakeInTree): number {
    const share = Math.floor(this.count / this.#cpus);
    const last = this.#tree[slot] >= 0 ? this.#tree[slot] : share * core;
    const start = last - last % LINE_TREES;
    const near = Math.min(Math.max(Math.floor(share / 4), LINE_TREES / 4), 2 * LINE_TREES);
    const search = (from: number, count: number, range: FreeRange) =>
      this.#search(start, from, count, (tree) => this.#reserveTree(tree, slot, kind, range, pages, take));
    let page = search(1, near, HALF_FULL);
    if (page < 0) page = search(1, 2 * near, PARTIAL);
    if (page < 0) page = search(1, near, NOT_FREE);
    return page < 0 ? search(0, this.count, ANY) : page;
  }

  /** Reserves a tree of the kind, or one that is wholly free, if the block can be taken there. */
  #reserveTree(tree: number, slot: number, kind: number, range: FreeRange, pages: number, take: TakeInTree): number {
    const free = this.#shared(tree);
    if (this.isReserved(tree) || free < Math.max(pages, range.min) || free > range.max) return -1;
    if (this.kind(tree) !== kind && free < TREE_PAGES) return -1;
    const page = take(tree, tree * TREE_PAGES);
    if (page >= 0) this.#swap(slot, kind, tree, free - pages, page);
    return page;
  }

  /** A reservation has another tree from now on; the one before goes back with its pages. */
  #swap(slot: number, kind: number, tree: number, free: number, page: number): void {
    this.#release(slot, kind);
    this.#set(tree, 0, true, kind);
    this.#tree[slot] = tree;
    this.#free[slot] = free;
    this.#from[slot] = page;
  }

  #release(slot: number, kind: number): void {
    const tree = this.#tree[slot];
    if (tree < 0) return;
    this.#set(tree, this.#shared(tree) + this.#free[slot], false, kind);
    this.#tree[slot] = -1;
    this.#free[slot] = 0;
  }

  /**
   * From the tree of another CPU or kind: a stricter kind takes the tree over, as it must not be used for less strict ones any
   * more; others only take the pages (`steal_from_reserved`).
   */
  #steal(slot: number, core: number, kind: number, pages: number, take: TakeInTree): number {
    for (let n = 0; n < this.#cpus; n++) {
      const target = (core + n) % this.#cpus;
      for (let m = 0; m < KINDS; m++) {
        const other = (kind + m) % KINDS;
        const theirs = target * KINDS + other;
        if (theirs === slot) continue;
        const page = this.#getReserved(theirs, pages, take);
        if (page < 0) continue;
        if (kind < other) {
          const tree = this.#tree[theirs];
          this.#release(theirs, other);
          const free = this.#shared(tree);
          this.#swap(slot, kind, tree, free, page);
        }
        return page;
      }
    }
    return -1;
  }

  /** From a tree that nobody has reserved, whatever its kind, which becomes the stricter one (`tree_dec_force`). */
  #takeShared(tree: number, kind: number, pages: number, take: TakeInTree): number {
    const free = this.#shared(tree);
    if (this.isReserved(tree) || free < pages) return -1;
    const page = take(tree, tree * TREE_PAGES);
    if (page < 0) return -1;
    this.#set(tree, free - pages, false, free === TREE_PAGES ? kind : Math.min(kind, this.kind(tree)));
    return page;
  }

  /** Tries trees to the right and left of `start` in turn, the `from`th to the `end`th, until one gives a page. */
  #search(start: number, from: number, end: number, attempt: (tree: number) => number): number {
    const last = Math.min(end, this.count);
    for (let n = from; n < last; n++) {
      const offset = n % 2 === 0 ? n / 2 : -((n + 1) / 2);
      const page = attempt((start + offset + this.count) % this.count);
      if (page >= 0) return page;
    }
    return -1;
  }
}
