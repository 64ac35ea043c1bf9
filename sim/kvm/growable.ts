/**
 * The array that grows, as discussed in December 2012: it has room for the highest number in use, and is reallocated, copied and
 * swapped when a higher one comes. Each shadow page carries a bit for each slot: in a word of its own as long as one is enough,
 * else behind a pointer; when the bits do not suffice any more the shadow pages are flushed.
 *
 * How far it grows and what a bitmap behind a pointer takes are reconstructions; the figures of the mail hold without them.
 */
import { choice, integer, type Options } from "../core/options.ts";
import { SizeSortedTable } from "./sorted_by_size.ts";
import {
  type ByteTerm,
  type MemorySlot,
  type SlotTableContext,
  type SlotTablePlugin,
  slotTablePlugin,
} from "./slot_table.ts";

/** When growth flushes all shadow pages. */
export type Flush = "never" | "each" | "word-boundary";

/** Options of the array that grows. */
export interface GrowableOptions {
  /** Places at most, those of KVM included. */
  readonly max: number;
  /** When growth flushes. */
  readonly flush: Flush;
  /** Where a shadow page has its bits. */
  readonly slotBitmap: "direct" | "indirect";
  /** Shadow pages of the VM, each with its bits. */
  readonly shadowPages: number;
  /** Bytes of a slot. */
  readonly slotBytes: number;
  /** Bytes of its entry in the index. */
  readonly indexBytes: number;
}

/** Places at the start, and those that KVM keeps. */
const START = 36;
const PRIVATE = 4;

class GrowableTable extends SizeSortedTable {
  readonly #options: GrowableOptions;

  constructor(context: SlotTableContext, options: GrowableOptions) {
    const { slotBytes, indexBytes } = options;
    super(context, { user: START - PRIVATE, private: PRIVATE, slotBytes, indexBytes }, false);
    this.#options = options;
  }

  override get slotsMax(): number {
    return this.#options.max - PRIVATE;
  }

  override set(slot: MemorySlot): void {
    if (slot.id >= this.sizes.user) this.#grow(slot.id + 1);
    super.set(slot);
  }

  override terms(): readonly ByteTerm[] {
    const { slotBytes, indexBytes } = this.sizes;
    const count = this.sizes.user + this.sizes.private;
    const { shadowPages } = this.#options;
    const pages = shadowPages === 1 ? "" : `${shadowPages} shadow pages x `;
    const [bits, what] = this.#bitmapOf(count);
    return [
      { what: `${count} places x (${slotBytes} slot + ${indexBytes} index)`, bytes: count * (slotBytes + indexBytes) },
      { what: `${pages}${what}`, bytes: shadowPages * bits },
    ];
  }

  /** Bytes of the bits that a shadow page carries. A bitmap that is never flushed has its full length from the start. */
  #bitmapOf(count: number): [bytes: number, what: string] {
    const { flush, max, slotBitmap } = this.#options;
    const places = flush === "never" ? max : count;
    const bytes = 8 * Math.ceil(places / 64);
    const text = `8 x ceil(${places} / 64) slot_bitmap`;
    return slotBitmap === "direct" || places <= 64 ? [bytes, text] : [bytes + 8, `(8 pointer + ${text})`];
  }

  #grow(user: number): void {
    const before = this.sizes.user + this.sizes.private;
    const oldBytes = this.bytes;
    const oldSizes = this.sizes;
    this.sizes = { ...oldSizes, user };
    try {
      this.replaceArray(oldBytes, this.bytes);
    } catch (error) {
      this.sizes = oldSizes;
      throw error;
    }
    const after = user + oldSizes.private;
    this.extend(after);
    const { flush } = this.#options;
    const crosses = Math.ceil(after / 64) > Math.ceil(before / 64);
    if (flush === "each" || flush === "word-boundary" && crosses) this.zapAll();
  }
}

const OPTIONS: Options<GrowableOptions> = {
  fields: {
    max: integer(2048, 36, 2048, { summary: "places at most, four of them KVM's own", source: "mail of 5 Dec 2012" }),
    flush: choice<Flush>("word-boundary", ["never", "each", "word-boundary"], {
      summary:
        "when growth flushes all shadow pages: never (their bits are of full length), always, or when a word is full",
      source: "thread of Dec 2012",
    }),
    slotBitmap: choice("indirect", ["direct", "indirect"], {
      summary: "where a shadow page has its bits: in itself, or behind a pointer when one word is not enough",
      source: "thread of Dec 2012",
    }),
    shadowPages: integer(1, 1, 1e9, {
      summary: "shadow pages, each with its bits",
      source: "hintsim; the mail counts one",
    }),
    slotBytes: integer(64, 16, 512, { summary: "bytes of a slot", unit: "bytes", source: "mail of 5 Dec 2012" }),
    indexBytes: integer(4, 0, 8, {
      summary: "bytes of its entry in the index",
      unit: "bytes",
      source: "mail of 5 Dec 2012",
    }),
  },
};

/** The plug-in. */
export const growable: SlotTablePlugin = slotTablePlugin<GrowableOptions>({
  name: "growable",
  summary: "an array sorted by size that is reallocated for each higher number",
  source: "growable memory slot array, RFC of Dec 2012, not merged",
  options: OPTIONS,
  create: (context, options) => new GrowableTable(context, options).begin(),
});
