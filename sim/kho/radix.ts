/**
 * One radix tree for all orders, in pages that the next kernel reads as they are: nothing is serialised
 * (Jason Miu, "Make KHO stateless", merged in 2026; kernel/liveupdate/kexec_handover.c, `struct kho_radix_tree`).
 *
 * The key of a folio is 2^(52-order) + its number among the folios of its order: the highest bit set tells the order. Its
 * lowest 15 bits are a bit of a leaf, the others nine by nine the slots of five tables.
 */
import type { Operations } from "../memory/page_set.ts";
import { ORDER_PAGES, PAGE_SIZE, type Range, sizeOrder } from "../memory/range.ts";
import { FolioTracker, notPreserved } from "./folio_tracker.ts";
import { LEAF_BITS, rootSpan, TablePages, TableTree, walkTable } from "./tables_tree.ts";
import { bitmapRuns, hasBit, mergedRuns, visitBits } from "./tracker_bitmaps.ts";
import {
  type Allocate,
  type BytesTerm,
  type Handover,
  KhoError,
  ORDER_MAX,
  type Preserved,
  type Tracker,
  type TrackerOptions,
  type TrackerPlugin,
} from "./tracker.ts";
import { Image, type ImagePage } from "./tracker_memory.ts";

/** KHO_ORDER_0_LOG2: the bit of a key that says order 0. */
const ORDER_0_BIT = 52;

/** KHO_TREE_MAX_DEPTH less the leaf: ceil((52 - 15) / 9). */
const LEVELS = 5;

/** Keys have 53 bits. */
const LEAVES_END = 2 ** (ORDER_0_BIT + 1) / LEAF_BITS;

/** The leaf and bit of the folio of an order that a page lies in. */
function placeOf(pfn: number, order: number): [leaf: number, bit: number] {
  const key = ORDER_PAGES[ORDER_0_BIT - order] + Math.floor(pfn / ORDER_PAGES[order]);
  const leaf = Math.floor(key / LEAF_BITS);
  return [leaf, key - leaf * LEAF_BITS];
}

/** The order and first page of a key of at least 1. */
function folioOf(key: number): [order: number, pfn: number] {
  const bit = sizeOrder(key, ORDER_0_BIT);
  const order = ORDER_0_BIT - bit;
  return [order, (key - ORDER_PAGES[bit]) * ORDER_PAGES[order]];
}

/** The radix tree. */
class Radix extends FolioTracker {
  readonly #pages: TablePages;
  readonly #tree: TableTree;
  /** Folios preserved, by order. */
  readonly #folios = new Float64Array(ORDER_MAX + 1);

  constructor(allocate: Allocate, options: TrackerOptions | undefined) {
    super(options);
    this.#pages = new TablePages(allocate);
    this.#tree = new TableTree(this.#pages, LEVELS, this.operations);
  }

  override get count(): number {
    return this.#folios.reduce((sum, folios, order) => sum + folios * ORDER_PAGES[order], 0);
  }

  override explain(): readonly BytesTerm[] {
    const { leaves } = this.#pages;
    return [
      {
        what: "tables of 512 addresses on 5 levels, the root included",
        count: this.#pages.count - leaves,
        bytesEach: PAGE_SIZE,
      },
      { what: `leaves of ${LEAF_BITS} folios`, count: leaves, bytesEach: PAGE_SIZE },
    ];
  }

  override contains(pfn: number): boolean {
    return this.#folios.some((folios, order) => folios > 0 && this.#find(pfn, order) === "set");
  }

  override ranges(): Iterable<Range> {
    const leaves = [...this.#tree.leaves()];
    const sequences: Iterable<Range>[] = [];
    for (let order = 0; order <= ORDER_MAX; order++) {
      if (this.#folios[order] > 0) sequences.push(this.#rangesOf(order, leaves));
    }
    return mergedRuns(sequences);
  }

  override serialize(_allocate: Allocate): Handover {
    const keptBytes = this.#pages.count * PAGE_SIZE;
    return {
      pages: this.#pages.pages(),
      terms: [],
      serializedBytes: 0,
      keptBytes,
      rootPfn: this.#pages.pfnOf(this.#tree.root),
    };
  }

  /** The ranges of an order: those of its leaves. The highest orders share a leaf: there, bits outside of the order are left out. */
  *#rangesOf(order: number, leaves: readonly (readonly [leaf: number, page: number])[]): Generator<Range> {
    const first = ORDER_PAGES[ORDER_0_BIT - order];
    for (const [leaf, page] of leaves) {
      const key = leaf * LEAF_BITS;
      if (key + LEAF_BITS <= first || key >= 2 * first) continue;
      const [words, word] = [this.#pages.wordsOf(page), this.#pages.firstWord(page)];
      if (key >= first) {
        yield* bitmapRuns(words, word, LEAF_BITS, (key - first) * ORDER_PAGES[order], ORDER_PAGES[order]);
        continue;
      }
      for (let bit = first; bit < 2 * first; bit++) {
        if (!hasBit(words, word, bit)) continue;
        yield { pfn: (bit - first) * ORDER_PAGES[order], count: ORDER_PAGES[order] };
      }
    }
  }

  /** One bit for one folio (`kho_radix_add_page`). */
  protected override setFolio(pfn: number, order: number): void {
    const [leaf, bit] = placeOf(pfn, order);
    this.operations.writes++;
    if (this.#pages.set(this.#tree.make(leaf), bit, true)) this.#folios[order]++;
  }

  protected override clearFolio(pfn: number, order: number): void {
    const [leaf, bit] = placeOf(pfn, order);
    this.operations.writes++;
    if (this.#pages.set(this.#tree.find(leaf), bit, false)) this.#folios[order]--;
  }

  #find(pfn: number, order: number): "set" | "clear" | "missing" {
    const [leaf, bit] = placeOf(pfn, order);
    const page = this.#tree.find(leaf);
    if (page < 0) return "missing";
    return this.#pages.has(page, bit) ? "set" : "clear";
  }

  /** Refuses a folio that is not preserved (`kho_radix_del_page` warns where a table is missing and clears a clear bit). */
  protected override checkFolio(pfn: number, order: number): void {
    const found = this.#find(pfn, order);
    if (found === "set") return;
    const problem = notPreserved(pfn, order);
    if (found === "clear") throw new KhoError("silent", `${problem} (the kernel clears a clear bit)`);
    throw new KhoError("WARN", `${problem} (no leaf: the kernel warns and returns)`);
  }
}

/** Visits the folios of a leaf. */
function visitLeaf(page: ImagePage, leaf: number, visit: Preserved): number {
  if (leaf > 0) {
    const [order, pfn] = folioOf(leaf * LEAF_BITS);
    return visitBits(page, 0, LEAF_BITS, pfn, order, visit);
  }
  // Leaf 0 holds keys of several orders, those below 2^12 of none that a physical address has room for.
  return visitBits(page, 0, LEAF_BITS, 0, 0, (key) => {
    if (key < ORDER_PAGES[ORDER_0_BIT - ORDER_MAX]) {
      throw page.corrupt(8 * Math.floor(key / 64), `key ${key} is of no order`);
    }
    const [order, pfn] = folioOf(key);
    visit(pfn, ORDER_PAGES[order], order);
  });
}

/** The next kernel's walk in the order of keys: orders descending, then addresses (`__kho_radix_walk_tree`). */
function walk(handover: Handover, visit: Preserved, operations: Operations, firstLeafOnly: boolean): void {
  const image = new Image(handover);
  const leaf = (page: ImagePage, index: number): void => {
    operations.visits += visitLeaf(page, index, visit);
  };
  const root = image.root(handover.rootPfn);
  walkTable({ image, leavesEnd: LEAVES_END, leaf, operations, firstLeafOnly }, root, rootSpan(LEVELS), 0);
}

const design = {
  name: "radix",
  summary: "one radix tree for all orders, leaves of a page of bits; the next kernel reads it as it is",
  source: "Jason Miu, Make KHO stateless, merged in 2026: kernel/liveupdate/kexec_handover.c",
  remembers: "folios",
  stateless: true,
  create: (allocate: Allocate, options?: TrackerOptions): Tracker => new Radix(allocate, options),
} as const;

/** The radix tree as merged. */
export const radix: TrackerPlugin = {
  ...design,
  walk: (handover, visit, operations) => walk(handover, visit, operations, false),
  asPosted: {
    ...design,
    name: "radix-as-posted",
    summary: "radix as posted in October 2025 (v2): the walk leaves a table of leaves after its first one",
    source: "Jason Miu, [PATCH v2] Make KHO stateless, October 2025",
    walk: (handover, visit, operations) => walk(handover, visit, operations, true),
  },
};
