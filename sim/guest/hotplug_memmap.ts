/**
 * The memmap of added memory: 64 bytes for each page, 2 MiB for a section, which the kernel takes from the memory that is there
 * when it adds a section (mm/sparse-vmemmap.c `vmemmap_populate`) and frees when the section is removed.
 */
import type { Sim } from "../core/sim.ts";
import { Event, NONE } from "../core/trace.ts";
import type { Costs } from "../host/costs.ts";
import type { Judge } from "../host/judge.ts";
import { ORDER_PAGES } from "../memory/range.ts";
import { PAGEBLOCK_ORDER, PAGEBLOCK_PAGES, UNMOVABLE } from "./allocator.ts";
import type { Guest } from "./guest.ts";
import { typeOf } from "./hotplug_zone.ts";
import { ZoneType } from "./memory_map.ts";
import { SECTION_PAGES } from "./section_table.ts";
import type { Zone } from "./zone.ts";

/** What the memmap of a guest is made of. */
export interface MemmapParts {
  /** Clock and trace. */
  readonly sim: Sim;
  /** The guest. */
  readonly guest: Guest;
  /** Who judges. */
  readonly judge: Judge;
  /** What things cost, ns. */
  readonly costs: Costs;
}

/** Blocks that hold the memmap of one section. */
interface SectionMap {
  readonly zone: Zone;
  readonly order: number;
  readonly pfns: readonly number[];
}

/** The memmaps of the sections that were added to one guest. */
export class Memmap {
  readonly #parts: MemmapParts;
  /** By the first page of the section. */
  readonly #sections = new Map<number, readonly SectionMap[]>();

  /** No section was added yet. */
  constructor(parts: MemmapParts) {
    this.#parts = parts;
  }

  /**
   * Takes what the sections of a range need, 2 MiB at once where there is such a block, else page by page, and writes it. Returns
   * the time it takes, ns; -1, with nothing taken but a row that says so, when there is no room.
   */
  take(pfn: number, count: number): number {
    let ns = 0;
    for (let section = pfn; section < pfn + count; section += SECTION_PAGES) {
      const maps = this.#takeSection();
      this.#sections.set(section, maps);
      if (pagesOf(maps) === PAGEBLOCK_PAGES) {
        ns += this.#useSection(maps);
        continue;
      }
      this.#sections.delete(section);
      this.#giveUp(maps);
      this.give(pfn, section - pfn);
      const { sim, guest } = this.#parts;
      sim.trace.write(Event.allocFail, NONE, 1, 0, NONE, NONE, NONE, 0, guest.index, NONE);
      return -1;
    }
    return ns;
  }

  /** Frees what the sections of a range needed, those of the boot excepted. Returns the time it takes, ns. */
  give(pfn: number, count: number): number {
    let ns = 0;
    for (let section = pfn; section < pfn + count; section += SECTION_PAGES) {
      for (const { zone, order, pfns } of this.#sections.get(section) ?? []) {
        for (const page of pfns) ns += this.#free(zone, page, order);
      }
      this.#sections.delete(section);
    }
    return ns;
  }

  /** Calls `visit` for every block of a range that holds a memmap; none of them can be migrated. */
  forEachIn(pfn: number, count: number, visit: (pfn: number, order: number) => void): void {
    for (const maps of this.#sections.values()) {
      for (const { order, pfns } of maps) {
        for (const page of pfns) if (page >= pfn && page < pfn + count) visit(page, order);
      }
    }
  }

  #takeSection(): SectionMap[] {
    const zones = this.#parts.guest.zones.filter((zone) => typeOf(zone) !== ZoneType.movable).reverse();
    for (const zone of zones) {
      const pfns = takeBlocks(zone, PAGEBLOCK_ORDER, 1);
      if (pfns.length > 0) return [{ zone, order: PAGEBLOCK_ORDER, pfns }];
    }
    const maps: SectionMap[] = [];
    for (const zone of zones) {
      const pfns = takeBlocks(zone, 0, PAGEBLOCK_PAGES - pagesOf(maps));
      if (pfns.length > 0) maps.push({ zone, order: 0, pfns });
    }
    return maps;
  }

  #useSection(maps: readonly SectionMap[]): number {
    const { sim: { trace }, guest: { index, writes }, judge, costs } = this.#parts;
    let ns = 0;
    for (const { zone, order, pfns } of maps) {
      const pages = ORDER_PAGES[order];
      for (const pfn of pfns) {
        zone.unmovable.setRange(pfn, pages);
        trace.write(Event.alloc, pfn, pages, order, zone.index, NONE, NONE, costs.allocNs, index, NONE);
        judge.own(pfn, pages);
        ns += costs.allocNs + writes.zero(pfn, pages, NONE) + writes.write(pfn, pages, NONE);
      }
    }
    return ns;
  }

  /** Frees what was taken in vain; the kernel has zeroed it by then. The time of that is not counted, as the event fails at once. */
  #giveUp(maps: readonly SectionMap[]): void {
    const { writes } = this.#parts.guest;
    for (const { zone, order, pfns } of maps) {
      for (const pfn of pfns) {
        writes.zero(pfn, ORDER_PAGES[order], NONE);
        writes.scrub(pfn, ORDER_PAGES[order], NONE);
        zone.free(pfn, order);
      }
    }
  }

  #free(zone: Zone, pfn: number, order: number): number {
    const { sim: { trace }, guest: { index, policy, writes }, judge, costs } = this.#parts;
    const pages = ORDER_PAGES[order];
    const scrubNs = writes.scrub(pfn, pages, NONE);
    judge.release(pfn, pages);
    zone.unmovable.clearRange(pfn, pages);
    const merged = zone.free(pfn, order);
    let ns = costs.freeNs;
    if (policy.onFree !== undefined && merged >= (policy.freeOrderMin ?? 0)) {
      ns += policy.onFree(zone, Math.floor(pfn / ORDER_PAGES[merged]) * ORDER_PAGES[merged], merged, -1) ?? 0;
    }
    trace.write(Event.free, pfn, pages, order, zone.index, NONE, NONE, ns, index, NONE);
    return ns + scrubNs;
  }
}

function pagesOf(maps: readonly SectionMap[]): number {
  return maps.reduce((sum, { order, pfns }) => sum + pfns.length * ORDER_PAGES[order], 0);
}

/** Takes up to `count` blocks of an order from a zone, which keeps its minimum. */
function takeBlocks(zone: Zone, order: number, count: number): number[] {
  const pfns: number[] = [];
  while (pfns.length < count && zone.allocator.freePages - ORDER_PAGES[order] > zone.watermarks.min) {
    const pfn = zone.alloc(order, UNMOVABLE);
    if (pfn < 0) break;
    pfns.push(pfn);
  }
  return pfns;
}
