/**
 * Bitmaps over the span of zones, one bit for each block of the smallest order: Nitesh Lal's page hinting v10 (3 June 2019),
 * v11 (10 July) and v12 (12 August), mm/page_hinting.c and mm/page_reporting.c as posted.
 *
 * A bit means that the block that begins there may be free; it is set for the head of a merged block. 64 bytes of bitmap cover
 * a GiB of span, whether there is memory in it or not.
 */
import { ORDER_PAGES } from "../memory/range.ts";
import { ORDER_MAX } from "./allocator.ts";
import type { FreeTracker, TrackerCosts } from "./free_tracker.ts";
import type { Zone } from "./zone.ts";

/** The generations that track with bitmaps. */
export type BitmapVersion = "v10" | "v11" | "v12";

/** What a bitmap tracker is made from. */
export interface HintBitmapOptions {
  /** The generation. */
  readonly version: BitmapVersion;
  /** Smallest order, and the granule of the bitmap. */
  readonly order: number;
  /** So many bits of a bitmap are enough for a walk. */
  readonly threshold: number;
  /** Reading one word of 64 bits of a bitmap, ns. */
  readonly wordNs: number;
  /** Whether faults of the posted code are kept. */
  readonly asPosted: boolean;
}

const WORD_BITS = 64;
const NO_BITS = new Uint32Array(0);

/** The bits of one zone, or of the zones of one kind over all nodes. */
class Region {
  readonly zones: Zone[] = [];
  /** The page of the first bit. */
  base = 0;
  bits = 0;
  words: Uint32Array = NO_BITS;
  /** Bits that are set, as the code counts them. */
  freeBlocks = 0;

  /** Bytes of the bitmap (bitmap_zalloc: whole words of 64 bits). */
  get bytes(): number {
    return Math.ceil(this.bits / WORD_BITS) * 8;
  }

  /** Covers other pages from now on and keeps the bits that are set. */
  cover(base: number, bits: number, blockPages: number): void {
    const words = new Uint32Array(2 * Math.ceil(bits / WORD_BITS));
    const moved = (this.base - base) / blockPages;
    for (let bit = this.find(0); bit < this.bits; bit = this.find(bit + 1)) {
      words[(bit + moved) >>> 5] |= 1 << ((bit + moved) & 31);
    }
    this.base = base;
    this.bits = bits;
    this.words = words;
  }

  /** The first bit from `from` on that is set, or the number of bits. */
  find(from: number): number {
    const { words, bits } = this;
    for (let bit = from; bit < bits;) {
      const word = words[bit >>> 5] & (-1 << (bit & 31));
      if (word !== 0) return (bit & ~31) + 31 - Math.clz32(word & -word);
      bit = (bit & ~31) + 32;
    }
    return bits;
  }
}

/** Bitmaps that remember which blocks were freed. */
export class HintBitmap implements FreeTracker {
  readonly marks = false;
  readonly hookNs = 0;
  hung = false;
  zone: Zone;
  pfn = 0;
  order = 0;
  readonly #driver: TrackerCosts;
  readonly #options: HintBitmapOptions;
  readonly #blockPages: number;
  readonly #regions: Region[] = [];
  /** The region of each zone. */
  readonly #regionOf: Region[];
  #walked: Region;
  #nextBit = 0;
  /** Page after the block that the scan found last: an upper half that belongs to it is not in use. */
  #foundEnd = 0;
  #wordsScanned = 0;
  #bitsSet = 0;
  #staleBits = 0;
  #merged = 0;
  #offlineBits = 0;
  #untracked = 0;
  #hangs = 0;

  /** Empty bitmaps over the zones as they are now. */
  constructor(zones: readonly Zone[], driver: TrackerCosts, options: HintBitmapOptions) {
    this.#driver = driver;
    this.#options = options;
    this.#blockPages = ORDER_PAGES[options.order];
    this.#regionOf = zones.map((zone) => this.#join(zone, zones));
    this.zone = zones[0];
    this.#walked = this.#regions[0];
    for (const region of this.#regions) this.#cover(region);
    this.#noteBytes();
  }

  /** Bitmaps. */
  get parts(): number {
    return this.#regions.length;
  }

  /** Bytes of all bitmaps. */
  get bytes(): number {
    return this.#regions.reduce((sum, region) => sum + region.bytes, 0);
  }

  /** Sets the bit of a merged block (bm_set_pfn, bitmap_set_bit); see {@link FreeTracker.freed}. */
  freed(zone: Zone, pfn: number, _order: number, _cpu: number): boolean {
    const region = this.#regionOf[zone.index];
    const bit = this.#bitOf(region, pfn);
    if (bit < 0) this.#untracked++;
    else {
      const mask = 1 << (bit & 31);
      if ((region.words[bit >>> 5] & mask) === 0) {
        region.words[bit >>> 5] |= mask;
        region.freeBlocks++;
        this.#bitsSet++;
      }
    }
    // v10 looks at all bitmaps at each free (check_hinting_threshold), the later ones at that of the zone.
    if (this.#options.version !== "v10") return region.freeBlocks >= this.#options.threshold;
    return this.#regions.some(({ freeBlocks }) => freeBlocks >= this.#options.threshold);
  }

  /** Whether enough bits of a bitmap are set. */
  enough(part: number): boolean {
    return this.#regions[part].freeBlocks >= this.#options.threshold;
  }

  /** A scan begins; all words of the bitmap are read, and charged here. */
  begin(part: number): void {
    this.#walked = this.#regions[part];
    this.#nextBit = 0;
    this.#foundEnd = 0;
    const words = Math.ceil(this.#walked.bits / WORD_BITS);
    this.#wordsScanned += words;
    this.#driver.spend(words * this.#options.wordNs);
  }

  /** The next bit, ascending, whose block is free and large enough; the bits on the way are cleared. */
  next(): boolean {
    const region = this.#walked;
    const { order: smallest, asPosted, version } = this.#options;
    for (let bit = region.find(this.#nextBit); bit < region.bits; bit = region.find(bit + 1)) {
      const pfn = region.base + bit * this.#blockPages;
      const zone = region.zones.find((candidate) => candidate.spans(pfn));
      if (zone === undefined) {
        // The memory has gone (pfn_to_online_page finds nothing).
        this.#offlineBits++;
        if (asPosted && version !== "v12") return this.#hang(bit);
        if (!asPosted) this.#clear(region, bit);
        continue;
      }
      this.#clear(region, bit);
      this.#driver.visit(zone, 1);
      const order = zone.pages.orderAt(pfn);
      if (order < smallest) {
        if (pfn < this.#foundEnd || coveringBlock(zone, pfn, smallest) >= 0) this.#merged++;
        else this.#staleBits++;
        this.#driver.unlock(zone);
        continue;
      }
      this.#nextBit = bit + 1;
      this.#foundEnd = pfn + ORDER_PAGES[order];
      this.zone = zone;
      this.pfn = pfn;
      this.order = order;
      return true;
    }
    this.#nextBit = region.bits;
    return false;
  }

  /** The scan goes on with the next bit, whatever happens to the lists. */
  suspend(): void {}

  /** See {@link FreeTracker.counters}. */
  counters(): Readonly<Record<string, number>> {
    return {
      bitmap_bytes: this.bytes,
      words_scanned: this.#wordsScanned,
      bits_set: this.#bitsSet,
      stale_bits: this.#staleBits,
      merged: this.#merged,
      offline_bits: this.#offlineBits,
      untracked_blocks: this.#untracked,
      endless_scans: this.#hangs,
    };
  }

  /** The posted loop of v10 and v11 looks at the same bit for ever. */
  #hang(bit: number): boolean {
    this.hung = true;
    this.#hangs++;
    this.#nextBit = bit;
    return false;
  }

  #clear(region: Region, bit: number): void {
    region.words[bit >>> 5] &= ~(1 << (bit & 31));
    region.freeBlocks--;
  }

  /** Puts a zone into the region that its generation has for it. */
  #join(zone: Zone, zones: readonly Zone[]): Region {
    const { version, asPosted } = this.#options;
    // v10 as posted finds its bitmap by the kind of the zone, so that of another node has none of its own.
    const shared = version === "v11" || (version === "v10" && asPosted);
    const first = shared ? zones.find(({ name }) => name === zone.name)! : zone;
    if (first !== zone) {
      const region = this.#regions.find(({ zones: [head] }) => head === first)!;
      if (version === "v11") region.zones.push(zone);
      return region;
    }
    const region = new Region();
    region.zones.push(zone);
    this.#regions.push(region);
    return region;
  }

  /** The bit of a page, or -1 when the bitmap does not cover it. */
  #bitOf(region: Region, pfn: number): number {
    const bit = Math.floor((pfn - region.base) / this.#blockPages);
    if (bit >= 0 && bit < region.bits) return bit;
    // As posted the bitmaps stay as they were made; otherwise they grow with the zone.
    if (this.#options.asPosted) return -1;
    this.#cover(region);
    this.#noteBytes();
    return Math.floor((pfn - region.base) / this.#blockPages);
  }

  /** Makes the bitmap of a region fit its zones. */
  #cover(region: Region): void {
    const { asPosted, version, order } = this.#options;
    const zones = region.zones.filter(({ presentPages }) => presentPages > 0);
    if (zones.length === 0) return;
    const start = Math.min(...zones.map(({ pages }) => pages.startPfn));
    const end = Math.max(...zones.map(({ endPfn }) => endPfn));
    const bits = (pages: number) => Math.floor(pages / this.#blockPages);
    if (asPosted) {
      const posted = version === "v10" ? bits(alignedAsPosted(end - start, order)) : bits(end - start) + 1;
      region.cover(start, posted, this.#blockPages);
      return;
    }
    // A bitmap that was larger stays so: bits of memory that has gone are met, and cleared, by a scan.
    const aligned = bits(start) * this.#blockPages;
    const base = region.bits === 0 ? aligned : Math.min(region.base, aligned);
    const needed = version === "v10" ? bits(end - base - 1) + 1 : bits(end - base) + 1;
    const kept = region.bits + (region.base - base) / this.#blockPages;
    region.cover(base, region.bits === 0 ? needed : Math.max(needed, kept), this.#blockPages);
  }

  #noteBytes(): void {
    this.#driver.metadata(this.bytes);
  }
}

/** ALIGN(pages, 9) of v10: the macro wants a power of two, and with 9 it adds 8 and clears bit 3, where a block was meant. */
function alignedAsPosted(pages: number, order: number): number {
  const raised = pages + order - 1;
  let cleared = 0;
  for (let bit = 1; bit <= order - 1; bit *= 2) {
    if (Math.floor((order - 1) / bit) % 2 === 1 && Math.floor(raised / bit) % 2 === 1) cleared += bit;
  }
  return raised - cleared;
}

/** The first page of the free block of more than `order` that a page lies in without being its head, or -1. */
export function coveringBlock({ pages }: Zone, pfn: number, order: number): number {
  for (let above = order + 1; above <= ORDER_MAX; above++) {
    const head = Math.floor(pfn / ORDER_PAGES[above]) * ORDER_PAGES[above];
    if (head !== pfn && pages.orderAt(head) === above) return head;
  }
  return -1;
}
