/** The array up to v3.2: a place for each number, searched from the first place to the last one in use. */
import { integer, type Options } from "../core/options.ts";
import { type ArraySizes, ArrayTable, arrayTerms } from "./array_table.ts";
import {
  type ByteTerm,
  holdsGfn,
  type MemorySlot,
  type SlotTableContext,
  type SlotTablePlugin,
  slotTablePlugin,
} from "./slot_table.ts";

/** Options of the tables that are counted by the mail of 2012: how many slots, and how large. */
export function arraySizeOptions(indexBytes: number): Options<ArraySizes> {
  const mail = "mail of 5 Dec 2012 on the growable memory slot array";
  return {
    fields: {
      user: integer(32, 1, 32764, {
        summary: "slots for the VMM: 32, and 64, 124, 128 in the mails of 2012",
        source: mail,
      }),
      private: integer(4, 0, 64, { summary: "slots that KVM keeps for itself", source: mail }),
      slotBytes: integer(64, 16, 512, {
        summary: "bytes of a slot: 64, or 56 with short numbers",
        unit: "bytes",
        source: mail,
      }),
      indexBytes: integer(indexBytes, 0, 8, {
        summary: "bytes of a slot's entry in the index by number",
        unit: "bytes",
        source: mail,
      }),
    },
  };
}

class FixedTable extends ArrayTable {
  readonly slotsMax: number;
  readonly slotBytes: number;
  readonly #sizes: ArraySizes;
  /** Places by number; an empty place is looked at all the same. */
  #places: (MemorySlot | undefined)[] = [];

  constructor(context: SlotTableContext, sizes: ArraySizes) {
    super(context, { copiesTwice: true, walksEachPage: true });
    this.#sizes = sizes;
    this.slotsMax = sizes.user;
    this.slotBytes = sizes.slotBytes;
  }

  terms(): readonly ByteTerm[] {
    return arrayTerms(this.#sizes);
  }

  byId(id: number): MemorySlot | undefined {
    this.operations.probes++;
    return this.#places[id];
  }

  byGfn(gfn: number): MemorySlot | undefined {
    for (let at = 0; at < this.#places.length; at++) {
      this.operations.scans++;
      const slot = this.#places[at];
      if (slot !== undefined && holdsGfn(slot, gfn)) return slot;
    }
    return undefined;
  }

  *all(): Iterable<MemorySlot> {
    for (const slot of this.#places) if (slot !== undefined) yield slot;
  }

  /** Places up to the highest number ever used (`nmemslots`). */
  protected override scanned(): number {
    return this.#places.length;
  }

  protected override arrayBytes(): number {
    return this.bytes;
  }

  protected override place(old: MemorySlot | undefined, next: MemorySlot | undefined): void {
    const { id } = (next ?? old)!;
    while (this.#places.length <= id) this.#places.push(undefined);
    this.#places[id] = next;
    this.operations.writes++;
  }
}

/** The plug-in. */
export const fixed: SlotTablePlugin = slotTablePlugin<ArraySizes>({
  name: "fixed",
  summary: "an array by number, searched from its start",
  source: "Linux up to v3.2, struct kvm_memslots",
  options: arraySizeOptions(0),
  create: (context, sizes) => new FixedTable(context, sizes).begin(),
});
