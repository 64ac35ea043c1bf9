/**
 * The array of v4.0 to v5.16: sorted by guest address, the highest first, searched by halves after one look at the slot that was
 * found last; a change moves its slot to its place (0e60b0799f, 063584d443, 9c1a5d3878). Since v5.7 it has room for the slots in
 * use alone (36947254e5).
 */
import { flag, integer, type Options } from "../core/options.ts";
import type { Range } from "../memory/range.ts";
import { ArrayTable } from "./array_table.ts";
import {
  type ByteTerm,
  holdsGfn,
  type MemorySlot,
  sharesGfn,
  type SlotTableContext,
  type SlotTablePlugin,
  slotTablePlugin,
} from "./slot_table.ts";

/** Options of the array sorted by guest address. */
export interface SortedByGfnOptions {
  /** Slots for the VMM. */
  readonly user: number;
  /** Slots that KVM keeps for itself. */
  readonly private: number;
  /** Bytes of a slot. */
  readonly slotBytes: number;
  /** Whether the array has room for the slots in use alone. */
  readonly flexible: boolean;
  /** Arrays of a VM: one more for SMM. */
  readonly addressSpaces: number;
}

class SortedByGfnTable extends ArrayTable {
  readonly slotsMax: number;
  readonly slotBytes: number;
  readonly #options: SortedByGfnOptions;
  /** Slots in use, the highest guest address first. */
  #order: MemorySlot[] = [];
  /** Places by number, -1 for none. */
  #index: Int32Array;
  /** Place of the slot found last (`lru_slot`, later `last_used_slot`), of the whole VM. */
  #last = 0;

  constructor(context: SlotTableContext, options: SortedByGfnOptions) {
    super(context, { copiesTwice: false, walksEachPage: false });
    this.#options = options;
    this.slotsMax = options.user;
    this.slotBytes = options.slotBytes;
    this.#index = new Int32Array(options.user + options.private).fill(-1);
  }

  terms(): readonly ByteTerm[] {
    const { user, private: kept, slotBytes, flexible, addressSpaces } = this.#options;
    const header = {
      what: `${addressSpaces} address spaces x (8 generation + 2 x ${user + kept} index, aligned + 8 last and used)`,
      bytes: addressSpaces * this.#headerBytes(),
    };
    if (flexible) return [{ what: `${this.slots} slots x ${slotBytes}`, bytes: this.slots * slotBytes }, header];
    const slots = addressSpaces * (user + kept);
    return [
      { what: `${addressSpaces} address spaces x ${user + kept} slots x ${slotBytes}`, bytes: slots * slotBytes },
      header,
    ];
  }

  byId(id: number): MemorySlot | undefined {
    this.operations.probes += 2;
    const at = this.#index[id] ?? -1;
    return at < 0 ? undefined : this.#order[at];
  }

  byGfn(gfn: number): MemorySlot | undefined {
    const order = this.#order;
    const { operations } = this;
    // The header, which says which slot was found last and how many there are, and that slot.
    operations.cacheLooks += 2;
    const last = order[this.#last];
    if (last !== undefined && holdsGfn(last, gfn)) return last;
    let start = 0;
    let end = order.length;
    while (start < end) {
      const middle = start + Math.floor((end - start) / 2);
      operations.probes++;
      if (gfn >= order[middle].gfn) end = middle;
      else start = middle + 1;
    }
    // What is left was looked at already, or lies below all slots (the test that v5.6 added).
    const slot = order[start];
    if (slot === undefined || !holdsGfn(slot, gfn)) return undefined;
    this.#last = start;
    operations.writes++;
    return slot;
  }

  all(): Iterable<MemorySlot> {
    return this.#order;
  }

  #headerBytes(): number {
    const index = 2 * (this.#options.user + this.#options.private);
    return 8 * Math.ceil((8 + 4 * Math.ceil(index / 4) + 8) / 8);
  }

  /** One address space: the array of the other is not touched. */
  protected override arrayBytes(slots: number): number {
    const { user, private: kept, slotBytes, flexible } = this.#options;
    return this.#headerBytes() + slotBytes * (flexible ? slots : user + kept);
  }

  /** The kernel looks at every slot, which is counted; those that overlap stand together. */
  override overlapping(range: Range, id: number): MemorySlot | undefined {
    this.operations.scans += this.slots;
    const order = this.#order;
    let at = this.#firstBelow(range.pfn + range.count);
    while (at < order.length && order[at].id === id) at++;
    return at < order.length && sharesGfn(order[at], range) ? order[at] : undefined;
  }

  /** Place of the first slot that begins below a guest page. */
  #firstBelow(gfn: number): number {
    let start = 0;
    let end = this.#order.length;
    while (start < end) {
      const middle = (start + end) >>> 1;
      if (this.#order[middle].gfn < gfn) end = middle;
      else start = middle + 1;
    }
    return start;
  }

  /**
   * The slot is compared with its neighbours and trades places with them until it stands right; one that goes is moved to the end
   * (`update_memslots`). The steps are counted, and the slots between are moved at once.
   */
  protected override place(old: MemorySlot | undefined, next: MemorySlot | undefined): void {
    const order = this.#order;
    const from = old === undefined ? order.length : this.#index[old.id];
    if (old !== undefined) order.splice(from, 1);
    const to = next === undefined ? order.length : this.#firstBelow(next.gfn);
    if (next !== undefined) order.splice(to, 0, next);
    else this.#index[old!.id] = -1;
    const low = Math.min(from, to);
    const high = Math.max(from, to);
    for (let at = low; at <= high && at < order.length; at++) this.#index[order[at].id] = at;
    const steps = high - low;
    // The neighbour that stops it is looked at, too.
    const stopped = next === undefined ? 0 : (to > 0 ? 1 : 0) + (to + 1 < order.length ? 1 : 0);
    this.operations.scans += steps + stopped;
    this.operations.writes += 2 * (steps + 1);
    this.operations.copiedBytes += steps * this.slotBytes;
  }
}

const OPTIONS: Options<SortedByGfnOptions> = {
  fields: {
    user: integer(509, 1, 32764, {
      summary: "slots for the VMM: 509, and 32764 since v5.12",
      source: "KVM_USER_MEM_SLOTS",
    }),
    private: integer(3, 0, 64, { summary: "slots that KVM keeps for itself", source: "KVM_PRIVATE_MEM_SLOTS" }),
    slotBytes: integer(88, 16, 512, {
      summary: "bytes of a slot",
      unit: "bytes",
      source: "Sean Christopherson, lkml 1910.3/01985; 80 in v4.0",
    }),
    flexible: flag(false, { summary: "room for the slots in use alone", source: "36947254e5, v5.7" }),
    addressSpaces: integer(2, 1, 2, { summary: "arrays of a VM; the second is for SMM", source: "v4.2" }),
  },
};

/** The plug-in. */
export const sortedByGfn: SlotTablePlugin = slotTablePlugin<SortedByGfnOptions>({
  name: "sorted-by-gfn",
  summary: "an array by guest address, searched by halves after the slot found last",
  source: "Linux v4.0 to v5.16, update_memslots, search_memslots",
  options: OPTIONS,
  create: (context, options) => new SortedByGfnTable(context, options).begin(),
});
