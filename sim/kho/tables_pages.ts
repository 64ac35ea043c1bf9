/**
 * Page tables: for each order a root (L4), two levels of tables and pages of bits, as Pratyush Yadav posted them on
 * 3 April 2025 (lkml, Re: [PATCH v5 09/16] kexec: enable KHO support for memory preservation) and measured beside the list of
 * bitmaps (469 against 577 ms). All that is serialised is the array of roots.
 *
 * The array is by order and as posted it has NR_PAGE_ORDERS (11) entries; here it has one for every order, so that 1 GiB folios
 * can be compared. Also mended: as posted kho_preserve_phys does not align its blocks, and the walk takes each bit for 4 KiB.
 */
import type { Operations } from "../memory/page_set.ts";
import { ORDER_PAGES, PAGE_SIZE, type Range } from "../memory/range.ts";
import { FolioTracker, notPreserved } from "./folio_tracker.ts";
import { LEAF_BITS, rootSpan, TABLE_SLOTS, TablePages, TableTree, walkTable } from "./tables_tree.ts";
import { bitmapRuns, mergedRuns, visitBits } from "./tracker_bitmaps.ts";
import {
  type Allocate,
  bytesOf,
  type BytesTerm,
  type Handover,
  KhoError,
  ORDER_MAX,
  type Preserved,
  type TrackerOptions,
  type TrackerPlugin,
} from "./tracker.ts";
import { Frames, Image, type ImagePage } from "./tracker_memory.ts";
import { XA_NODE_BYTES, XArray } from "./xarray.ts";

/** Tables above the bitmaps: L4, L3, L2. */
const LEVELS = 3;

/** A root descriptor, kmalloc'd for each order. */
const DESCRIPTOR_BYTES = 8;

/** Page tables for each order. */
class PageTables extends FolioTracker {
  readonly #orders = new XArray(this.operations);
  readonly #pages: TablePages;
  /** The order and tree of each entry of the xarray. */
  readonly #trees: { readonly order: number; readonly tables: TableTree }[] = [];
  #count = 0;

  constructor(allocate: Allocate, options: TrackerOptions | undefined) {
    super(options);
    this.#pages = new TablePages(allocate);
  }

  override get count(): number {
    return this.#count;
  }

  override explain(): readonly BytesTerm[] {
    return [
      { what: "nodes of the xarray of orders", count: this.#orders.nodes, bytesEach: XA_NODE_BYTES },
      { what: "root descriptors", count: this.#trees.length, bytesEach: DESCRIPTOR_BYTES },
      { what: "tables and pages of bits", count: this.#pages.count, bytesEach: PAGE_SIZE },
    ];
  }

  override contains(pfn: number): boolean {
    return this.#trees.some(({ order }) => this.#has(pfn, order));
  }

  override ranges(): Iterable<Range> {
    return mergedRuns(this.#trees.map(({ order, tables }) => this.#rangesOf(order, tables)));
  }

  override serialize(allocate: Allocate): Handover {
    const terms = [{ what: "array of roots by order", count: this.#trees.length === 0 ? 0 : 1, bytesEach: PAGE_SIZE }];
    const serializedBytes = bytesOf(terms);
    const keptBytes = serializedBytes + this.#pages.count * PAGE_SIZE;
    if (this.#trees.length === 0) return { pages: [], terms, serializedBytes, keptBytes, rootPfn: 0 };
    const roots = new Frames(allocate);
    this.operations.allocations++;
    roots.add();
    for (const [order, entry] of this.#orders.entries()) {
      roots.setWord64(0, 8 * order, this.#pages.pfnOf(this.#trees[entry - 1].tables.root) * PAGE_SIZE);
      this.operations.writes++;
    }
    return {
      pages: [...roots.pages(), ...this.#pages.pages()],
      terms,
      serializedBytes,
      keptBytes,
      rootPfn: roots.pfnOf(0),
    };
  }

  *#rangesOf(order: number, tables: TableTree): Generator<Range> {
    for (const [leaf, page] of tables.leaves()) {
      const [words, first] = [this.#pages.wordsOf(page), this.#pages.firstWord(page)];
      yield* bitmapRuns(words, first, LEAF_BITS, leaf * LEAF_BITS * ORDER_PAGES[order], ORDER_PAGES[order]);
    }
  }

  #tree(order: number): TableTree {
    const found = this.#orders.load(order);
    this.operations.visits++; // the root descriptor, which leads to the first table
    if (found !== 0) return this.#trees[found - 1].tables;
    const tables = new TableTree(this.#pages, LEVELS, this.operations);
    this.#trees.push({ order, tables });
    this.operations.allocations++;
    this.#orders.store(order, this.#trees.length);
    return tables;
  }

  protected override setFolio(pfn: number, order: number): void {
    const folio = pfn / ORDER_PAGES[order];
    const index = Math.floor(folio / LEAF_BITS);
    const leaf = this.#tree(order).make(index);
    this.operations.writes++;
    if (this.#pages.set(leaf, folio - index * LEAF_BITS, true)) this.#count += ORDER_PAGES[order];
  }

  protected override clearFolio(pfn: number, order: number): void {
    const folio = pfn / ORDER_PAGES[order];
    const leaf = this.#tree(order).find(Math.floor(folio / LEAF_BITS));
    this.operations.writes++;
    if (this.#pages.set(leaf, folio % LEAF_BITS, false)) this.#count -= ORDER_PAGES[order];
  }

  /** khomem_unpreserve returns without a word where a table is missing, and clears a bit that is clear. */
  protected override checkFolio(pfn: number, order: number): void {
    if (!this.#has(pfn, order)) throw new KhoError("silent", notPreserved(pfn, order));
  }

  #has(pfn: number, order: number): boolean {
    const entry = this.#orders.load(order);
    if (entry === 0) return false;
    const folio = Math.floor(pfn / ORDER_PAGES[order]);
    const leaf = this.#trees[entry - 1].tables.find(Math.floor(folio / LEAF_BITS));
    return leaf >= 0 && this.#pages.has(leaf, folio % LEAF_BITS);
  }
}

/** Walks the tables of each order, orders ascending. */
function walk(handover: Handover, visit: Preserved, operations: Operations): void {
  if (handover.rootPfn === 0) return;
  const image = new Image(handover);
  const roots = image.root(handover.rootPfn);
  for (let order = 0; order < TABLE_SLOTS; order++) {
    if (roots.word64(8 * order) === 0) continue;
    if (order > ORDER_MAX) throw roots.corrupt(8 * order, `order ${order} is more than ${ORDER_MAX}`);
    const leavesEnd = Math.ceil(ORDER_PAGES[ORDER_MAX - order] / LEAF_BITS);
    const leaf = (page: ImagePage, index: number): void => {
      operations.visits += visitBits(page, 0, LEAF_BITS, index * LEAF_BITS * ORDER_PAGES[order], order, visit);
    };
    walkTable(
      { image, leavesEnd, leaf, operations },
      image.enter(roots, 8 * order),
      rootSpan(LEVELS),
      0,
    );
  }
}

/** A leaf of order 0 covers 128 MiB, an L2 table 64 GiB, L3 32 TiB. */
export const pageTables: TrackerPlugin = {
  name: "page-tables",
  summary: "page tables for each order over pages of bits; only the array of roots is serialised",
  source: "Pratyush Yadav, lkml 3 April 2025, Re: [PATCH v5 09/16] kexec: enable KHO support for memory preservation",
  remembers: "folios",
  create: (allocate, options) => new PageTables(allocate, options),
  walk,
};
