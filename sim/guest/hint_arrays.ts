/**
 * An array of page frame numbers for each CPU: Nitesh Lal's page hinting v9 (6 March 2019, virt/kvm/page_hinting.c).
 *
 * A free of order 10, or one that merges into such a block, notes its head with the CPU that frees. With 128 entries or more
 * the array is scanned; beyond 256 nothing is noted.
 */
import type { FreeTracker, TrackerCosts } from "./free_tracker.ts";
import { coveringBlock } from "./hint_bitmap.ts";
import type { Zone } from "./zone.ts";

/** MAX_FGPT_ENTRIES. */
export const ARRAY_ENTRIES = 256;
/** HINTING_THRESHOLD. */
const ARRAY_THRESHOLD = 128;
/** An entry is an unsigned long, and so is the index beside them. */
const ARRAY_BYTES = (ARRAY_ENTRIES + 1) * 8;

/** The blocks that one CPU has freed. */
class FreedBlocks {
  readonly pfns: Float64Array = new Float64Array(ARRAY_ENTRIES);
  readonly zones: Uint8Array = new Uint8Array(ARRAY_ENTRIES);
  count = 0;
}

/** Arrays that remember which blocks each CPU freed. */
export class HintArrays implements FreeTracker {
  readonly marks = false;
  readonly hung = false;
  /** Each free of a large block looks through the whole array for a duplicate (if_exist). */
  readonly hookNs: number;
  zone: Zone;
  pfn = 0;
  order = 0;
  readonly #zones: readonly Zone[];
  readonly #driver: TrackerCosts;
  readonly #order: number;
  readonly #wordNs: number;
  readonly #arrays: FreedBlocks[];
  /** Entries of the walk, by zone. */
  #walk: { zone: Zone; pfn: number }[] = [];
  #at = 0;
  #noted = 0;
  #lost = 0;
  #scanned = 0;
  #stale = 0;
  #merged = 0;

  /** Empty arrays. `wordNs` is the time to read one entry. */
  constructor(zones: readonly Zone[], driver: TrackerCosts, vcpus: number, order: number, wordNs: number) {
    this.#zones = zones;
    this.#driver = driver;
    this.#order = order;
    this.#wordNs = wordNs;
    this.hookNs = ARRAY_ENTRIES * wordNs;
    this.zone = zones[0];
    this.#arrays = Array.from({ length: vcpus }, () => new FreedBlocks());
    driver.metadata(vcpus * ARRAY_BYTES);
  }

  /** CPUs. */
  get parts(): number {
    return this.#arrays.length;
  }

  /**
   * Notes a block with the CPU that freed it, 0 where none did (guest_free_page_enqueue). The posted code leaves the duplicate
   * check out when the page freed last is the head itself; a second entry finds nothing, so that does not matter here.
   */
  freed(zone: Zone, pfn: number, _order: number, cpu: number): boolean {
    const array = this.#arrays[Math.max(0, cpu)];
    const at = array.pfns.indexOf(pfn);
    if (array.count === ARRAY_ENTRIES) this.#lost++;
    else if (at < 0 || at >= array.count) {
      array.zones[array.count] = zone.index;
      array.pfns[array.count++] = pfn;
      this.#noted++;
    }
    return array.count >= ARRAY_THRESHOLD;
  }

  /** Whether the array of a CPU is half full. */
  enough(part: number): boolean {
    return this.#arrays[part].count >= ARRAY_THRESHOLD;
  }

  /** Takes the entries of a CPU, by zone (sort_zonenum), and empties its array (free_page_arr is zeroed as it is read). */
  begin(part: number): void {
    const array = this.#arrays[part];
    this.#walk = Array.from({ length: array.count }, (_, n) => ({
      zone: this.#zones[array.zones[n]],
      pfn: array.pfns[n],
    }));
    this.#walk.sort((a, b) => a.zone.index - b.zone.index);
    this.#at = 0;
    this.#scanned += array.count;
    this.#driver.spend(array.count * this.#wordNs);
    array.pfns.fill(0);
    array.count = 0;
  }

  /** The next entry whose block is free, or that lies in a larger one that is (get_buddy_page). */
  next(): boolean {
    for (; this.#at < this.#walk.length; this.#at++) {
      const { zone, pfn } = this.#walk[this.#at];
      this.#driver.visit(zone, 1);
      const around = zone.pages.orderAt(pfn) >= this.#order ? pfn : coveringBlock(zone, pfn, this.#order);
      if (around < 0) {
        this.#stale++;
        continue;
      }
      if (around !== pfn) this.#merged++;
      this.#at++;
      this.zone = zone;
      this.pfn = around;
      this.order = zone.pages.orderAt(around);
      return true;
    }
    return false;
  }

  /** The walk has its entries already. */
  suspend(): void {}

  /** See {@link FreeTracker.counters}. An entry is a word of 64 bits, and is counted as a bit that is set. */
  counters(): Readonly<Record<string, number>> {
    return {
      words_scanned: this.#scanned,
      bits_set: this.#noted,
      stale_bits: this.#stale,
      merged: this.#merged,
      lost_blocks: this.#lost,
    };
  }
}
