/**
 * Where the guest's pages come from and go back to: the zones in their order, their watermarks, and the per-CPU lists before
 * them (mm/page_alloc.c `get_page_from_freelist`, `free_unref_page`).
 */
import { ORDER_PAGES } from "../memory/range.ts";
import { MOVABLE, PAGEBLOCK_ORDER, RECLAIMABLE } from "./allocator.ts";
import { allocAtomic, reserveHighatomic, unreserveHighatomic } from "./highatomic.ts";
import { type AllocFlags, NO_FLAGS, NO_FRAGMENT } from "./kernel.ts";
import type { Kswapd } from "./kswapd.ts";
import { ZONE_NAMES } from "./memory_map.ts";
import { keepsOrder, listOrder, PCP_LISTS } from "./pcp.ts";
import { type BlockReturned, PerCpuLists } from "./per_cpu.ts";
import { ORDINARY, type Urgency, watermarkOk } from "./watermark_check.ts";
import type { Zone } from "./zone.ts";
import { highestFor, zonesFor, type ZoneUse } from "./zone_use.ts";

/** How pages are taken. */
export interface PageSourceOptions {
  /** Virtual CPUs that keep pages of their own, 0 for none. */
  readonly perCpu: number;
  /** Whether requests leave the watermarks and the lowmem reserves of the zones alone. */
  readonly keepMarks: boolean;
  /**
   * Whether a request that finds nothing fails, so that the task reclaims first, instead of draining per-CPU lists; not unless
   * told.
   */
  readonly reclaims?: boolean;
}

/** Types that have lists of their own for each small order. */
const MOBILE_TYPES = RECLAIMABLE + 1;

/** One walk over the zones. */
interface Walk {
  /** How types may be mixed. */
  readonly flags: AllocFlags;
  /** Down to which mark pages may be taken. */
  readonly mark: "low" | "min" | "none";
  /** Whether it is that of an atomic request on the slow path, which may go below the mark and set pageblocks aside. */
  readonly atomic: boolean;
  /** How far it may go below the mark. */
  readonly urgency: Urgency;
}

const walk = (mark: Walk["mark"], flags: AllocFlags = NO_FLAGS, urgency: Urgency = ORDINARY): Walk => {
  return { flags, mark, atomic: urgency !== ORDINARY, urgency };
};

const WALKS = {
  free: walk("none"),
  unmixed: walk("none", NO_FRAGMENT),
  unmixedToLow: walk("low", NO_FRAGMENT),
  toLow: walk("low"),
  toMin: walk("min"),
  atomicPage: walk("min", NO_FLAGS, { minReserve: true, nonBlock: true }),
  atomicBlock: walk("min", NO_FLAGS, { minReserve: true, nonBlock: true, highatomic: true }),
};

/** The pages of one guest. */
export class PageSource {
  /** The zone of the pages taken last. */
  zone = 0;
  readonly #zones: readonly Zone[];
  readonly #perCpu: number;
  readonly #keepMarks: boolean;
  readonly #reclaims: boolean;
  #use: ZoneUse;
  #lists: PerCpuLists | undefined;
  readonly #returned: BlockReturned;
  readonly #kswapd: Kswapd | undefined;

  /**
   * The pages of these zones. `returned` is told of every block that is on the free lists again, kswapd of requests that find
   * every zone below its low mark.
   */
  constructor(
    zones: readonly Zone[],
    use: ZoneUse,
    options: PageSourceOptions,
    returned: BlockReturned,
    kswapd?: Kswapd,
  ) {
    this.#zones = zones;
    this.#use = use;
    this.#perCpu = options.perCpu;
    this.#keepMarks = options.keepMarks;
    this.#reclaims = options.reclaims ?? false;
    this.#returned = returned;
    this.#kswapd = kswapd;
    if (options.perCpu > 0) this.#lists = new PerCpuLists(zones, use, options.perCpu, returned);
  }

  /** Pages on per-CPU lists. */
  get perCpuPages(): number {
    return this.#lists?.pages ?? 0;
  }

  /** All pages of per-CPU lists go back (`drain_all_pages`). */
  drainAll(): void {
    this.#lists?.drainAll();
  }

  /** Idle pages of per-CPU lists go back a little at a time. */
  decay(): void {
    this.#lists?.decay();
  }

  /**
   * Takes 2^order pages from the zones in their order, or from zone `only` as a recording says; when there are none, per-CPU
   * lists are drained first, then what is set aside is used. Where marks are kept an atomic request may go below them, and
   * waits for neither. `wakes` says whether kswapd hears of it. The first page, or -1; its zone is in {@link zone}.
   */
  take(order: number, migratetype: number, only: number, cpu: number, atomic = false, wakes = true): number {
    const urgent = atomic && this.#keepMarks;
    const pfn = this.#walk(order, migratetype, only, cpu, urgent, wakes);
    return pfn >= 0 || urgent || this.#reclaims ? pfn : this.takeLast(order, migratetype, only, cpu);
  }

  /** Takes 2^order pages for user memory from these zones alone, in their order, and wakes nobody; the first page, or -1. */
  takeAmong(zones: readonly number[], order: number, cpu: number): number {
    return this.#walkZones(zones, order, MOVABLE, cpu, false, false);
  }

  /** How the zones are used now. */
  get use(): ZoneUse {
    return this.#use;
  }

  /** Takes pages after the CPUs gave back what they keep, and then from what is set aside, as {@link take}. */
  takeLast(order: number, migratetype: number, only: number, cpu: number, wakes = true): number {
    let pfn = -1;
    if (this.perCpuPages > 0) {
      this.#lists!.drainAll();
      pfn = this.#walk(order, migratetype, only, cpu, false, wakes);
    }
    if (pfn >= 0 || only >= 0) return pfn;
    const zones = zonesFor(this.#use, cpu, highestFor(migratetype)).map((index) => this.#zones[index]).filter((zone) =>
      zone.hasLists
    );
    while (pfn < 0 && unreserveHighatomic(zones, migratetype)) {
      pfn = this.#walk(order, migratetype, -1, cpu, false, wakes);
    }
    return pfn;
  }

  /** Gives a block back: to the lists of the CPU, or past them. */
  free(zone: Zone, pfn: number, order: number, cpu: number): void {
    if (zone.unmovable.count > 0) zone.unmovable.clearRange(pfn, ORDER_PAGES[order]);
    if (this.#lists !== undefined && keepsOrder(order)) {
      this.#lists.of(zone.index, cpu).free(pfn, order, zone.allocator.pageblockType(pfn));
    } else this.#returned(zone, pfn, zone.free(pfn, order));
  }

  /** Gives the pages of a zone that the CPUs keep back to its free lists (`drain_all_pages`, `zone_pcp_disable`). */
  drain(zone: number): void {
    for (let cpu = 0; cpu < this.#perCpu; cpu++) this.#lists!.of(zone, cpu).drainAll();
  }

  /** Zones have other sizes: they are used in another order, and the CPUs may keep more or fewer pages of them. */
  resize(use: ZoneUse): void {
    this.#use = use;
    const before = this.#lists;
    if (before === undefined) return;
    const lists = this.#lists = new PerCpuLists(this.#zones, use, this.#perCpu, this.#returned);
    for (const { index, allocator } of this.#zones) {
      for (let cpu = 0; cpu < this.#perCpu; cpu++) {
        for (let list = 0; list < PCP_LISTS; list++) {
          const large = listOrder(list) === PAGEBLOCK_ORDER;
          for (const pfn of before.of(index, cpu).pages(list)) {
            lists.of(index, cpu).restore(list, pfn, large ? allocator.pageblockType(pfn) : list % MOBILE_TYPES);
          }
        }
      }
    }
  }

  /** First without mixing types and above the low mark, then down to the minimum. */
  #walk(order: number, migratetype: number, only: number, cpu: number, urgent: boolean, wakes = true): number {
    if (only >= 0) return this.#takeFrom(only, order, migratetype, cpu, WALKS.free);
    const zones = zonesFor(this.#use, cpu, highestFor(migratetype));
    return this.#walkZones(zones, order, migratetype, cpu, urgent, wakes);
  }

  #walkZones(
    zones: readonly number[],
    order: number,
    migratetype: number,
    cpu: number,
    urgent: boolean,
    wakes: boolean,
  ): number {
    const keepMarks = this.#keepMarks;
    if (this.#use.noFragment) {
      const unmixed = keepMarks ? WALKS.unmixedToLow : WALKS.unmixed;
      const pfn = this.#takeFirst(zones, order, migratetype, cpu, unmixed);
      if (pfn >= 0) return pfn;
    }
    if (!keepMarks) return this.#takeFirst(zones, order, migratetype, cpu, WALKS.free);
    const pfn = this.#takeFirst(zones, order, migratetype, cpu, WALKS.toLow);
    if (pfn >= 0) return pfn;
    if (wakes) this.#kswapd?.wake(order, highestFor(migratetype));
    const { atomicPage, atomicBlock, toMin } = WALKS;
    return this.#takeFirst(zones, order, migratetype, cpu, !urgent ? toMin : order === 0 ? atomicPage : atomicBlock);
  }

  /**
   * Whether one zone has enough for requests of an order that may use zones up to type `highest`, up to the high mark with its
   * boost (mm/vmscan.c `pgdat_balanced`).
   */
  balanced(order: number, highest: number): boolean {
    return this.#zones.some((zone, index) => {
      if (ZONE_NAMES.indexOf(zone.name) > highest) return false;
      const mark = zone.watermarks.high + zone.watermarkBoost;
      const reserve = this.#use.lowmemReserve[index][highest];
      return watermarkOk(zone, order, mark, reserve, ORDINARY, zone.kernel.version);
    });
  }

  #takeFirst(zones: readonly number[], order: number, migratetype: number, cpu: number, walk: Walk): number {
    for (let at = 0; at < zones.length; at++) {
      if (walk.mark !== "none" && !this.#mayTake(zones[at], order, migratetype, walk)) continue;
      const pfn = this.#takeFrom(zones[at], order, migratetype, cpu, walk);
      if (pfn >= 0) return pfn;
    }
    return -1;
  }

  /** From the lists of the CPU, if it keeps blocks of this kind, else from the zone (`rmqueue`). */
  #takeFrom(index: number, order: number, migratetype: number, cpu: number, { flags, atomic }: Walk): number {
    const zone = this.#zones[index];
    const lists = keepsOrder(order) && migratetype <= RECLAIMABLE ? this.#lists : undefined;
    let pfn = -1;
    if (lists !== undefined) {
      lists.flags = flags;
      pfn = lists.of(index, cpu).alloc(order, migratetype);
    } else if (!atomic || !zone.hasLists) pfn = zone.alloc(order, migratetype, flags, cpu);
    // Pageblocks are set aside on lists of their own.
    if (atomic && zone.hasLists) {
      if (pfn < 0) pfn = allocAtomic(zone, order, migratetype, flags);
      if (pfn >= 0 && order > 0) reserveHighatomic(zone, pfn, order);
    }
    if (pfn < 0) return -1;
    this.zone = index;
    if (migratetype !== MOVABLE) zone.unmovable.setRange(pfn, ORDER_PAGES[order]);
    return pfn;
  }

  /**
   * Whether a zone has enough (`zone_watermark_fast`): for single pages nearly always seen by one comparison. 6.12 looks first
   * whether it is above its high mark, and remembers when it is not (`get_page_from_freelist`).
   */
  #mayTake(index: number, order: number, migratetype: number, { mark, atomic, urgency }: Walk): boolean {
    const zone = this.#zones[index];
    const { watermarks, watermarkBoost } = zone;
    // The boost of the minimum is for reclaim, not to make a single page fail that cannot wait for it.
    const base = mark === "low" ? watermarks.low : watermarks.min;
    const level = atomic && order === 0 ? base : base + watermarkBoost;
    const reserve = this.#use.lowmemReserve[index][highestFor(migratetype)];
    if (!zone.belowHigh && zone.kernel.version !== "6.1") {
      if (this.#above(zone, order, watermarks.high + watermarkBoost, reserve, urgency)) return true;
      zone.belowHigh = true;
    }
    return this.#above(zone, order, level, reserve, urgency);
  }

  #above(zone: Zone, order: number, level: number, reserve: number, urgency: Urgency): boolean {
    if (order === 0 && zone.pages.freePages - zone.reservedHighatomicPages > level + reserve) return true;
    return watermarkOk(zone, order, level, reserve, urgency, zone.kernel.version);
  }
}
