/**
 * Reclaim of what a guest may drop: in passes of a priority over the lists for kswapd, for a task that finds no memory, for
 * `memory.reclaim` and for `drop_caches` (mm/vmscan.c, fs/drop_caches.c). Nothing is written back or swapped out: all of the
 * page cache is clean, anonymous memory and tmpfs stay.
 */
import { Event, NONE, type Trace } from "../core/trace.ts";
import { Lru, LruList } from "./lru.ts";
import { ZONE_NAMES, ZoneType } from "./memory_map.ts";
import type { Zone } from "./zone.ts";

/** Pages that are looked at, or wanted, at a time (SWAP_CLUSTER_MAX). */
export const SWAP_CLUSTER_MAX = 32;

/** A first pass looks at 1/4096 of the lists (DEF_PRIORITY). */
export const DEF_PRIORITY = 12;

/** So often a task tries again without progress (MAX_RECLAIM_RETRIES). */
export const MAX_RECLAIM_RETRIES = 16;

/** Pages between two moments at which others run: so many batches. */
export const ROUND_PAGES = 32 * SWAP_CLUSTER_MAX;

/** Slab pages a shrinker is asked for at a time (SHRINK_BATCH). */
const SHRINK_BATCH = 128;

/** Larger orders are given up sooner (PAGE_ALLOC_COSTLY_ORDER). */
export const COSTLY_ORDER = 3;

/** `drop_caches`: the page cache, and reclaimable slab. */
const DROP_CACHE = 1;
const DROP_SLAB = 2;

/** What it is made of. */
export interface ReclaimParts {
  /** Where the rows go. */
  readonly trace: Trace;
  /** Index of the guest. */
  readonly index: number;
  /** Its zones. */
  readonly zones: readonly Zone[];
  /** Costs: of a page that is dropped, and of one that is only looked at, ns. */
  readonly costs: { readonly reclaimPageNs: number; readonly scanPageNs: number };
  /** The zone of what a handle names. */
  readonly zoneOfHandle: (handle: number) => number;
  /** Frees what a handle names, with its row; returns the time it takes, ns. */
  readonly drop: (handle: number, cpu: number) => number;
  /** Whether a zone of a type up to `highest` can be compacted for an order without reclaim. */
  readonly compactionReady: (order: number, highest: number) => boolean;
}

/** What one pass has still to look at, in pages of each list (`get_scan_count`). */
export interface ReclaimPass {
  /** Inactive page cache. */
  inactive: number;
  /** Active page cache, to be made inactive. */
  active: number;
  /** Shrinkable slab. */
  slab: number;
}

/** The reclaim of one guest. */
export class Reclaim {
  /** What it may drop. */
  readonly lru: Lru = new Lru();
  /** Pages that kswapd dropped. */
  kswapdPages = 0;
  /** Pages that tasks dropped which found no memory, or were told to (`memory.reclaim`). */
  directPages = 0;
  /** Pages that `drop_caches` dropped. */
  dropCachesPages = 0;
  /** Calls in which kswapd reclaimed nothing; any progress resets them (`kswapd_failures`). */
  kswapdFailures = 0;
  /** Time of the round done last, frees and the work of a policy on them included, ns. */
  roundNs = 0;
  readonly #parts: ReclaimParts;
  #freeNs = 0;
  #scanned = 0;

  /** Empty lists. */
  constructor(parts: ReclaimParts) {
    this.#parts = parts;
  }

  /** A pass over the lists at a priority: 1/2^priority of each, twice that of the slab (`do_shrink_slab`, DEFAULT_SEEKS). */
  pass(priority: number): ReclaimPass {
    const { lru } = this;
    const share = (list: number) => Math.floor(lru.pages(list) / 2 ** priority);
    return {
      inactive: share(LruList.inactive),
      active: lru.inactiveIsLow ? share(LruList.active) : 0,
      slab: Math.min(lru.pages(LruList.slab), 2 * share(LruList.slab)),
    };
  }

  /**
   * One round of a pass: drops pages until `wanted` are free, the round is full or the pass is over, and writes a row `event`.
   * Page cache in zones of types above `highest`, which the request may not use, stays (`sc->reclaim_idx`); slab goes wherever it
   * is. Returns the pages freed; what it took is in {@link roundNs}.
   */
  round(pass: ReclaimPass, wanted: number, highest: number, event: number, order: number, cpu: number): number {
    this.#freeNs = 0;
    this.#scanned = 0;
    let pages = 0;
    while (pages < wanted && this.#scanned < ROUND_PAGES && !passDone(pass)) {
      if (pass.active > 0) this.#shrinkActive(pass);
      if (pass.inactive > 0) pages += this.#shrinkInactive(pass, highest, cpu);
      if (pages < wanted && pass.slab > 0) pages += this.#shrinkSlab(pass, cpu);
    }
    if (pages > 0) this.kswapdFailures = 0;
    if (this.#scanned > 0) this.#row(event, pages, order, cpu);
    else this.roundNs = 0;
    return pages;
  }

  /**
   * A task that found no memory reclaims for itself (`try_to_free_pages`): 32 pages, for large orders as many as make a block
   * likely, but none once compaction can go on without (`shrink_zones`, `compaction_ready`). Returns the pages freed, 1 when there
   * are none for that reason; what it took is in {@link roundNs}.
   */
  direct(order: number, highest: number, cpu: number): number {
    if (order <= COSTLY_ORDER) return this.#some(SWAP_CLUSTER_MAX, highest, order, cpu);
    const ready = () => this.#parts.compactionReady(order, highest);
    const pages = this.#some(Math.max(SWAP_CLUSTER_MAX, compactGap(order)), highest, order, cpu, ready);
    return pages === 0 && ready() ? 1 : pages;
  }

  /** `memory.reclaim`: one step towards `wanted` pages; returns the pages freed, time in {@link roundNs}. */
  proactive(wanted: number, cpu: number): number {
    return this.#some(Math.min(wanted, SWAP_CLUSTER_MAX), ZoneType.movable, NONE, cpu);
  }

  /** One round of `drop_caches`; returns false when nothing is left to drop, time in {@link roundNs}. */
  dropRound(what: number, cpu: number): boolean {
    const { lru } = this;
    const whole = (list: number, bit: number) => (what & bit) !== 0 ? lru.pages(list) : 0;
    const lists = [LruList.inactive, LruList.active, LruList.slab].filter((list) =>
      whole(list, list === LruList.slab ? DROP_SLAB : DROP_CACHE) > 0
    );
    if (lists.length === 0) {
      if ((what & DROP_CACHE) !== 0) lru.forgetAges();
      return false;
    }
    this.#freeNs = 0;
    this.#scanned = 0;
    let pages = 0;
    for (const list of lists) {
      while (pages < ROUND_PAGES && lru.pages(list) > 0) pages += this.#drop(lru.tail(list), cpu, false);
    }
    this.#row(Event.dropCaches, pages, NONE, cpu);
    return true;
  }

  /** Passes of falling priority until enough is free, nothing is left, or it is `ready` (`do_try_to_free_pages`). */
  #some(wanted: number, highest: number, order: number, cpu: number, ready?: () => boolean): number {
    let pages = 0;
    let ns = 0;
    for (let priority = DEF_PRIORITY; priority >= 0 && pages < wanted; priority--) {
      if (ready?.()) break;
      const pass = this.pass(priority);
      while (pages < wanted && !passDone(pass)) {
        pages += this.round(pass, wanted - pages, highest, Event.directReclaim, order, cpu);
        ns += this.roundNs;
      }
    }
    this.roundNs = ns;
    return pages;
  }

  #shrinkActive(pass: ReclaimPass): void {
    const { lru } = this;
    let left = Math.min(SWAP_CLUSTER_MAX, pass.active);
    while (left > 0) {
      const handle = lru.tail(LruList.active);
      if (handle < 0) {
        pass.active = 0;
        return;
      }
      const pages = lru.pagesOf(handle);
      lru.deactivate(handle);
      this.#scanned += pages;
      pass.active = Math.max(0, pass.active - pages);
      left -= pages;
    }
  }

  /** Referenced or not, pages that are only read and clean go (`folio_check_references`, FOLIOREF_RECLAIM_CLEAN). */
  #shrinkInactive(pass: ReclaimPass, highest: number, cpu: number): number {
    const { lru } = this;
    let reclaimed = 0;
    let left = Math.min(SWAP_CLUSTER_MAX, pass.inactive);
    while (left > 0) {
      const handle = lru.tail(LruList.inactive);
      if (handle < 0) {
        pass.inactive = 0;
        return reclaimed;
      }
      const pages = lru.pagesOf(handle);
      pass.inactive = Math.max(0, pass.inactive - pages);
      left -= pages;
      if (highest === ZoneType.movable || this.#typeOf(handle) <= highest) {
        reclaimed += this.#drop(handle, cpu);
      } else {
        lru.rotate(handle);
        this.#scanned += pages;
      }
    }
    return reclaimed;
  }

  /** The type of the zone of what a handle names. */
  #typeOf(handle: number): number {
    return ZONE_NAMES.indexOf(this.#parts.zones[this.#parts.zoneOfHandle(handle)].name);
  }

  /** Slab that was used since it was looked at last gets another turn (LRU_ROTATE, as dentries and inodes do). */
  #shrinkSlab(pass: ReclaimPass, cpu: number): number {
    const { lru } = this;
    let reclaimed = 0;
    let left = Math.min(SHRINK_BATCH, pass.slab);
    while (left > 0) {
      const handle = lru.tail(LruList.slab);
      if (handle < 0) {
        pass.slab = 0;
        return reclaimed;
      }
      const pages = lru.pagesOf(handle);
      pass.slab = Math.max(0, pass.slab - pages);
      left -= pages;
      if (lru.clearReferenced(handle)) {
        lru.rotate(handle);
        this.#scanned += pages;
      } else reclaimed += this.#drop(handle, cpu);
    }
    return reclaimed;
  }

  #drop(handle: number, cpu: number, reclaimed = true): number {
    const pages = this.lru.pagesOf(handle);
    this.lru.drop(handle, reclaimed);
    this.#freeNs += this.#parts.drop(handle, cpu);
    this.#scanned += pages;
    return pages;
  }

  /** The row of a round: its cost is that of the scan and of the pages; each free has its own on its row. */
  #row(event: number, pages: number, order: number, cpu: number): void {
    const { trace, index, costs } = this.#parts;
    if (event === Event.kswapd) this.kswapdPages += pages;
    else if (event === Event.directReclaim) this.directPages += pages;
    else this.dropCachesPages += pages;
    const costNs = Math.round(pages * costs.reclaimPageNs + this.#scanned * costs.scanPageNs);
    trace.write(event, NONE, pages, order, NONE, NONE, NONE, costNs, index, cpu);
    this.roundNs = costNs + this.#freeNs;
  }
}

/** Whether a pass has looked at all that it should. */
export function passDone({ inactive, active, slab }: ReclaimPass): boolean {
  return inactive + active + slab === 0;
}

/** Free pages with which a block of an order can be made (`compact_gap`). */
export function compactGap(order: number): number {
  return 2 * 2 ** order;
}
