/**
 * The tracker of Linux 6.16 and later: an xarray of orders, and for each order an xarray of bitmaps whose bits are folios
 * (kernel/kexec_handover.c, `struct kho_mem_track`). Two designs differ in the size of the bitmaps, a third in what is
 * composed for the next kernel.
 */
import type { Operations } from "../memory/page_set.ts";
import { ORDER_PAGES, type Range } from "../memory/range.ts";
import { FolioTracker, notPreserved } from "./folio_tracker.ts";
import { Bitmaps, mergedRuns } from "./tracker_bitmaps.ts";
import { type Allocate, bytesOf, type BytesTerm, type Handover, KhoError, type TrackerOptions } from "./tracker.ts";
import { XA_NODE_BYTES, XArray } from "./xarray.ts";

/** struct kho_mem_phys: a struct xarray, kmalloc'd for each order. */
const ORDER_BYTES = 16;

/** One bitmap for the serialisation. */
export interface PlacedBitmap {
  /** Order of its folios. */
  readonly order: number;
  /** First page that it covers. */
  readonly pfn: number;
  /** Physical address of its bits. */
  readonly address: number;
}

/** Composes what the next kernel reads: pages, their terms, and the root. */
export type Serialize = (
  bitmaps: Iterable<PlacedBitmap>,
  allocate: Allocate,
  operations: Operations,
) => Pick<Handover, "pages" | "terms" | "rootPfn">;

/** What distinguishes the designs. */
export interface XarrayDesign {
  /** Bytes of a bitmap. */
  readonly bitmapBytes: number;
  /** The composition of the handover. */
  readonly serialize: Serialize;
  /** What the kernel does when a bitmap that should be there is not. */
  readonly missing: "loop" | "WARN";
}

/** The bitmaps of one order. */
interface OrderTree {
  readonly order: number;
  readonly bitmaps: XArray;
}

/** Xarrays of bitmaps. */
export class XarrayTracker extends FolioTracker {
  readonly #design: XarrayDesign;
  readonly #orders: XArray;
  readonly #trees: OrderTree[] = [];
  readonly #bitmaps: Bitmaps;
  #count = 0;

  /** An empty tracker. */
  constructor(design: XarrayDesign, allocate: Allocate, options: TrackerOptions | undefined) {
    super(options);
    this.#design = design;
    this.#orders = new XArray(this.operations);
    this.#bitmaps = new Bitmaps(design.bitmapBytes, allocate);
  }

  override get count(): number {
    return this.#count;
  }

  override explain(): readonly BytesTerm[] {
    const nodes = this.#trees.reduce((sum, { bitmaps }) => sum + bitmaps.nodes, 0);
    const bitmapBytes = this.#design.bitmapBytes;
    return [
      {
        what: "nodes of the xarray of orders (none while only order 0 is there)",
        count: this.#orders.nodes,
        bytesEach: XA_NODE_BYTES,
      },
      { what: "orders (struct kho_mem_phys)", count: this.#trees.length, bytesEach: ORDER_BYTES },
      { what: "nodes of the xarrays of bitmaps", count: nodes, bytesEach: XA_NODE_BYTES },
      { what: `bitmaps of ${8 * bitmapBytes} folios`, count: this.#bitmaps.count, bytesEach: bitmapBytes },
    ];
  }

  override contains(pfn: number): boolean {
    return this.#trees.some(({ order }) => {
      const [bitmap, bit] = this.#find(pfn, order);
      return bitmap >= 0 && this.#bitmaps.has(bitmap, bit);
    });
  }

  override ranges(): Iterable<Range> {
    return mergedRuns(this.#trees.map((tree) => this.#rangesOf(tree)));
  }

  override serialize(allocate: Allocate): Handover {
    const { pages, terms, rootPfn } = this.#design.serialize(this.#placed(), allocate, this.operations);
    const serializedBytes = bytesOf(terms);
    const keptBytes = serializedBytes + this.#bitmaps.count * this.#design.bitmapBytes;
    return { pages: [...pages, ...this.#bitmaps.pages()], terms, rootPfn, serializedBytes, keptBytes };
  }

  /** The bitmaps as `xa_for_each` finds them: by order, then by place. */
  *#placed(): Generator<PlacedBitmap> {
    for (const [order, tree] of this.#orders.entries()) {
      for (const [index, entry] of this.#trees[tree - 1].bitmaps.entries()) {
        const pfn = index * this.#bitmaps.bits * ORDER_PAGES[order];
        yield { order, pfn, address: this.#bitmaps.addressOf(entry - 1) };
      }
    }
  }

  *#rangesOf({ order, bitmaps }: OrderTree): Generator<Range> {
    for (const [index, entry] of bitmaps.entries()) {
      yield* this.#bitmaps.runsOf(entry - 1, index * this.#bitmaps.bits * ORDER_PAGES[order], ORDER_PAGES[order]);
    }
  }

  /** One bit for one folio (`__kho_preserve_order`). */
  protected override setFolio(pfn: number, order: number): void {
    const { bitmaps } = this.#tree(order);
    const folio = pfn / ORDER_PAGES[order];
    const index = Math.floor(folio / this.#bitmaps.bits);
    let entry = bitmaps.load(index);
    if (entry === 0) {
      entry = this.#bitmaps.add() + 1;
      this.operations.allocations++;
      bitmaps.store(index, entry);
    }
    this.operations.visits++;
    this.operations.writes++;
    if (this.#bitmaps.set(entry - 1, folio - index * this.#bitmaps.bits, true)) this.#count += ORDER_PAGES[order];
  }

  protected override clearFolio(pfn: number, order: number): void {
    const [bitmap, bit] = this.#find(pfn, order);
    this.operations.writes++;
    if (this.#bitmaps.set(bitmap, bit, false)) this.#count -= ORDER_PAGES[order];
  }

  #tree(order: number): OrderTree {
    const found = this.#orders.load(order);
    if (found !== 0) return this.#trees[found - 1];
    const tree = { order, bitmaps: new XArray(this.operations) };
    this.#trees.push(tree);
    this.operations.allocations++;
    this.#orders.store(order, this.#trees.length);
    return tree;
  }

  /** The bitmap (-1 for none) and bit of the folio of an order that a page would lie in. */
  #find(pfn: number, order: number): [bitmap: number, bit: number] {
    const tree = this.#orders.load(order);
    if (tree === 0) return [-1, 0];
    const folio = Math.floor(pfn / ORDER_PAGES[order]);
    const index = Math.floor(folio / this.#bitmaps.bits);
    const entry = this.#trees[tree - 1].bitmaps.load(index);
    if (entry !== 0) this.operations.visits++;
    return [entry - 1, folio - index * this.#bitmaps.bits];
  }

  /**
   * Refuses a folio that is not preserved. The kernel clears a bit that is clear already without a word. Where the bitmap is
   * missing `__kho_unpreserve` of 6.16 goes to its `continue` without going on to the next folio, for ever; later kernels
   * warn and return.
   */
  protected override checkFolio(pfn: number, order: number): void {
    const [bitmap, bit] = this.#find(pfn, order);
    if (bitmap >= 0 && this.#bitmaps.has(bitmap, bit)) return;
    const problem = notPreserved(pfn, order);
    if (bitmap >= 0) throw new KhoError("silent", `${problem} (the kernel clears a clear bit)`);
    const does = this.#design.missing === "loop" ? "the kernel loops for ever" : "the kernel warns and returns";
    throw new KhoError(this.#design.missing, `${problem} (no bitmap: ${does})`);
  }
}
