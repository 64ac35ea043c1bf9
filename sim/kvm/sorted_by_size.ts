/**
 * The array of v3.3: sorted by size, the largest slot first, since most pages are in it; an index leads from a number to its
 * place. Each slot that comes or goes sorts the whole array anew (virt/kvm/kvm_main.c `update_memslots`, `sort_memslots`).
 */
import { type ArraySizes, ArrayTable, arrayTerms } from "./array_table.ts";
import { arraySizeOptions } from "./fixed.ts";
import { heapSort } from "./heap_sort.ts";
import {
  type ByteTerm,
  holdsGfn,
  type MemorySlot,
  type SlotTableContext,
  type SlotTablePlugin,
  slotTablePlugin,
} from "./slot_table.ts";

/** An array sorted by size; the growable one of 2012 is one, too. */
export class SizeSortedTable extends ArrayTable {
  readonly slotBytes: number;
  protected sizes: ArraySizes;
  /** All places, used or not. */
  #places: (MemorySlot | undefined)[];
  /** Places by number. */
  #index: Int32Array;

  /** An empty array of these sizes. */
  constructor(context: SlotTableContext, sizes: ArraySizes, walksEachPage: boolean) {
    super(context, { copiesTwice: true, walksEachPage });
    this.sizes = sizes;
    this.slotBytes = sizes.slotBytes;
    const count = sizes.user + sizes.private;
    this.#places = new Array(count).fill(undefined);
    this.#index = Int32Array.from({ length: count }, (_, id) => id);
  }

  get slotsMax(): number {
    return this.sizes.user;
  }

  terms(): readonly ByteTerm[] {
    return arrayTerms(this.sizes);
  }

  byId(id: number): MemorySlot | undefined {
    if (id >= this.#index.length) return undefined;
    this.operations.probes += 2;
    const slot = this.#places[this.#index[id]];
    return slot?.id === id ? slot : undefined;
  }

  byGfn(gfn: number): MemorySlot | undefined {
    const places = this.#places;
    for (let at = 0; at < places.length; at++) {
      const slot = places[at];
      if (slot === undefined) return undefined;
      this.operations.scans++;
      if (holdsGfn(slot, gfn)) return slot;
    }
    return undefined;
  }

  *all(): Iterable<MemorySlot> {
    for (const slot of this.#places) if (slot !== undefined) yield slot;
  }

  /** More places: the new ones are empty and at the end. */
  protected extend(count: number): void {
    const old = this.#index;
    this.#index = new Int32Array(count);
    this.#index.set(old);
    for (let id = old.length; id < count; id++) {
      this.#index[id] = id;
      this.#places.push(undefined);
    }
  }

  protected override arrayBytes(): number {
    return this.bytes;
  }

  protected override place(old: MemorySlot | undefined, next: MemorySlot | undefined): void {
    const { operations } = this;
    const places = this.#places;
    // An empty place has no number: a new slot takes the first one, as the index leads to some empty place, too.
    const at = old === undefined ? places.indexOf(undefined) : this.#index[old.id];
    places[at] = next;
    operations.writes++;
    if (next !== undefined && old === undefined) this.#index[next.id] = at;
    if (old?.pages === next?.pages) return;
    const { compares, swaps } = heapSort(places, (a, b) => (b?.pages ?? 0) - (a?.pages ?? 0));
    operations.scans += compares;
    operations.copiedBytes += swaps * 3 * this.slotBytes;
    places.forEach((slot, place) => {
      if (slot !== undefined) this.#index[slot.id] = place;
    });
    operations.writes += places.length;
  }
}

/** The plug-in. */
export const sortedBySize: SlotTablePlugin = slotTablePlugin<ArraySizes>({
  name: "sorted-by-size",
  summary: "an array with the largest slot first, searched from its start",
  source: "Linux v3.3 to v3.18, update_memslots",
  options: arraySizeOptions(4),
  create: (context, sizes) => new SizeSortedTable(context, sizes, true).begin(),
});
