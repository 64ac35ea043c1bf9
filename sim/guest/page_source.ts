/**
 * Where the guest's pages come from and go back to: the zones in their order, their watermarks, and the per-CPU lists before
 * them (mm/page_alloc.c `get_page_from_freelist`, `free_unref_page`).
 */
import { MOVABLE, ORDER_MAX, PAGEBLOCK_ORDER, RECLAIMABLE } from "./allocator.ts";
import { ORDER_PAGES } from "../memory/range.ts";
import { type AllocFlags, NO_FLAGS, NO_FRAGMENT } from "./kernel.ts";
import { keepsOrder, listOrder, PCP_LISTS } from "./pcp.ts";
import { type BlockReturned, PerCpuLists } from "./per_cpu.ts";
import { watermarkOk } from "./watermark_check.ts";
import type { Zone } from "./zone.ts";
import { highestFor, zonesFor, type ZoneUse } from "./zone_use.ts";

/** How pages are taken. */
export interface PageSourceOptions {
  /** Virtual CPUs that keep pages of their own, 0 for none. */
  readonly perCpu: number;
  /** Whether requests leave the watermarks and the lowmem reserves of the zones alone. */
  readonly keepMarks: boolean;
}

/** Types that have lists of their own for each small order. */
const MOBILE_TYPES = RECLAIMABLE + 1;

/** Down to which mark a walk over the zones may take pages. */
type Mark = "low" | "min" | undefined;

/** The pages of one guest. */
export class PageSource {
  /** The zone of the pages taken last. */
  zone = 0;
  readonly #zones: readonly Zone[];
  readonly #perCpu: number;
  readonly #keepMarks: boolean;
  #use: ZoneUse;
  #lists: PerCpuLists | undefined;
  readonly #returned: BlockReturned;

  /** The pages of these zones. `returned` is told of every block that is on the free lists again. */
  constructor(zones: readonly Zone[], use: ZoneUse, options: PageSourceOptions, returned: BlockReturned) {
    this.#zones = zones;
    this.#use = use;
    this.#perCpu = options.perCpu;
    this.#keepMarks = options.keepMarks;
    this.#returned = returned;
    if (options.perCpu > 0) this.#lists = new PerCpuLists(zones, use.pagesets, options.perCpu, returned);
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
   * lists are drained first. The first page, or -1; its zone is in {@link zone}.
   */
  take(order: number, migratetype: number, only: number, cpu: number): number {
    const pfn = this.#walk(order, migratetype, only, cpu);
    if (pfn >= 0 || this.#lists === undefined || this.#lists.pages === 0) return pfn;
    this.#lists.drainAll();
    return this.#walk(order, migratetype, only, cpu);
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
    const lists = this.#lists = new PerCpuLists(this.#zones, use.pagesets, this.#perCpu, this.#returned);
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
  #walk(order: number, migratetype: number, only: number, cpu: number): number {
    if (only >= 0) return this.#takeFrom(only, order, migratetype, cpu, NO_FLAGS);
    const highest = highestFor(migratetype);
    const zones = zonesFor(this.#use, cpu, highest);
    const { noFragment } = this.#use;
    if (noFragment) {
      const pfn = this.#takeFirst(zones, order, migratetype, cpu, NO_FRAGMENT, this.#keepMarks ? "low" : undefined);
      if (pfn >= 0) return pfn;
    }
    if (!this.#keepMarks) return this.#takeFirst(zones, order, migratetype, cpu, NO_FLAGS, undefined);
    const pfn = this.#takeFirst(zones, order, migratetype, cpu, NO_FLAGS, "low");
    return pfn >= 0 ? pfn : this.#takeFirst(zones, order, migratetype, cpu, NO_FLAGS, "min");
  }

  #takeFirst(
    zones: readonly number[],
    order: number,
    migratetype: number,
    cpu: number,
    flags: AllocFlags,
    mark: Mark,
  ): number {
    for (let at = 0; at < zones.length; at++) {
      if (mark !== undefined && !this.#mayTake(zones[at], order, highestFor(migratetype), mark)) continue;
      const pfn = this.#takeFrom(zones[at], order, migratetype, cpu, flags);
      if (pfn >= 0) return pfn;
    }
    return -1;
  }

  #takeFrom(index: number, order: number, migratetype: number, cpu: number, flags: AllocFlags): number {
    const zone = this.#zones[index];
    let pfn: number;
    if (this.#lists !== undefined && keepsOrder(order) && migratetype <= RECLAIMABLE) {
      this.#lists.flags = flags;
      pfn = this.#lists.of(index, cpu).alloc(order, migratetype);
    } else pfn = zone.alloc(order, migratetype, flags);
    if (pfn < 0) return -1;
    this.zone = index;
    if (migratetype !== MOVABLE) zone.unmovable.setRange(pfn, ORDER_PAGES[order]);
    return pfn;
  }

  #mayTake(index: number, order: number, highest: number, mark: "low" | "min"): boolean {
    const { allocator, watermarks, kernel } = this.#zones[index];
    const counts = {
      freePages: allocator.freePages,
      highatomicPages: 0,
      hasBlock: (wanted: number, type: number) => wanted <= ORDER_MAX && allocator.first(wanted, type) >= 0,
    };
    const reserve = this.#use.lowmemReserve[index][highest];
    return watermarkOk(counts, order, watermarks[mark], reserve, undefined, kernel.version);
  }
}
