/**
 * The guest: zones, the table of allocations, and what an operation does to them, with its rows.
 *
 * Conservation holds at every row: used + free + held + isolated = present pages. The policy is told of every merged block
 * that it asked for; the judge is told who owns what.
 */
import { Signal, type Sim, type Task } from "../core/sim.ts";
import { Event, NONE } from "../core/trace.ts";
import type { Costs } from "../host/costs.ts";
import type { Host } from "../host/host.ts";
import type { Judge } from "../host/judge.ts";
import { ORDER_PAGES } from "../memory/range.ts";
import { AllocationTable } from "./allocation_table.ts";
import type { HintingPolicy } from "./policy.ts";
import type { Zone } from "./zone.ts";

/** What a guest is made of. */
export interface GuestParts {
  /** Clock and trace. */
  readonly sim: Sim;
  /** Index of the guest. */
  readonly index: number;
  /** Zones, ascending by address. */
  readonly zones: readonly Zone[];
  /** What backs its pages. */
  readonly host: Host;
  /** Who judges. */
  readonly judge: Judge;
  /** What things cost, ns. */
  readonly costs: Costs;
  /** Whether the kernel zeroes, and so touches, every page that it allocates (init_on_alloc=1). */
  readonly initOnAlloc: boolean;
}

/** Allocation failed: nothing of this order is left. */
export const FAILED = -1;

/** One guest. */
export class Guest {
  /** Index of the guest. */
  readonly index: number;
  /** Zones, ascending by address. */
  readonly zones: readonly Zone[];
  /** Notified when pages come back to the free lists from the driver. */
  readonly returned: Signal = new Signal();
  /** Where allocations are, by handle. */
  readonly allocations: AllocationTable = new AllocationTable();
  /** Pages that the driver isolated. */
  isolatedPages = 0;
  /** Pages that the driver allocated for itself. */
  heldPages = 0;
  /** Frees skipped because their allocation had failed. */
  skippedFrees = 0;
  #parts: GuestParts;
  #policy: HintingPolicy = {};
  #freeOrderMin = Infinity;

  /** A guest without policy. */
  constructor(parts: GuestParts) {
    this.index = parts.index;
    this.zones = parts.zones;
    this.#parts = parts;
  }

  /** Installs the policy. */
  setPolicy(policy: HintingPolicy): void {
    this.#policy = policy;
    this.#freeOrderMin = policy.onFree === undefined ? Infinity : policy.freeOrderMin ?? 0;
  }

  /** The policy. */
  get policy(): HintingPolicy {
    return this.#policy;
  }

  /** Pages on the free lists of all zones. */
  get freePages(): number {
    let pages = 0;
    for (const zone of this.zones) pages += zone.allocator.freePages;
    return pages;
  }

  /** The zone that holds a page. Throws RangeError for a page outside of every zone. */
  zoneOf(pfn: number): Zone {
    for (const zone of this.zones) if (zone.spans(pfn)) return zone;
    throw new RangeError(`Page ${pfn} lies outside of every zone`);
  }

  /**
   * Until when the lock that an operation needs is held by the driver, ns. `zone` is -1 for the usual order: the highest zone
   * that has `pages` free pages is the one that will be asked.
   */
  lockedUntilNs(zone: number, pages: number): number {
    let index = zone < 0 ? this.zones.length - 1 : zone;
    while (zone < 0 && index > 0 && this.zones[index].allocator.freePages < pages) index--;
    return this.zones[index].lockedUntilNs;
  }

  /** The zone whose lock the free of a handle needs, or -1 when its allocation failed. */
  zoneOfHandle(handle: number): number {
    return this.allocations.zone(handle);
  }

  /**
   * Allocates 2^order pages under a handle, from the highest zone downwards or from `zone` alone, and writes the row. The pages
   * are not used yet: see {@link needsUse} and {@link use}. Returns the time it takes, ns, or {@link FAILED} without a row.
   */
  alloc(handle: number, order: number, migratetype: number, zone: number, cpu: number): number {
    const found = this.#take(order, migratetype, zone);
    if (found === undefined) return FAILED;
    const { sim, judge, costs } = this.#parts;
    const pfn = this.allocations.put(handle, found.pfn, order, found.zone);
    const pages = ORDER_PAGES[order];
    sim.trace.write(Event.alloc, pfn, pages, order, found.zone, NONE, NONE, costs.allocNs, this.index, cpu);
    judge.own(pfn, pages);
    return costs.allocNs;
  }

  /** Whether the policy has something to do before these new pages are used. */
  needsUse(handle: number): boolean {
    const { needsUse } = this.#policy;
    if (needsUse === undefined) return false;
    const { allocations } = this;
    return needsUse.call(
      this.#policy,
      this.zones[allocations.zone(handle)],
      allocations.pfn(handle),
      allocations.order(handle),
    );
  }

  /** New pages are used for the first time: zeroed by the kernel, and `touch` of them written. Returns the fault time, ns. */
  use(handle: number, touch: number, cpu: number): number {
    const pfn = this.allocations.pfn(handle);
    const pages = ORDER_PAGES[this.allocations.order(handle)];
    return this.#zero(pfn, pages, cpu) + this.#write(pfn, Math.min(touch, pages), cpu);
  }

  /** Allocates before the run starts, without rows or time; where `pfn` says when it is given. A failure counts nowhere. */
  allocAtStart(handle: number, order: number, migratetype: number, pfn: number | undefined): void {
    if (pfn !== undefined) {
      this.allocations.put(handle, pfn, order, this.zoneOf(pfn).index);
      return;
    }
    const found = this.#take(order, migratetype, -1);
    if (found !== undefined) this.allocations.put(handle, found.pfn, order, found.zone);
  }

  /** Notes that an allocation failed for good; its free will be skipped. */
  allocFailed(handle: number, order: number, zone: number, cpu: number): void {
    this.allocations.fail(handle);
    this.#parts.sim.trace.write(
      Event.allocFail,
      NONE,
      ORDER_PAGES[order],
      order,
      zone,
      NONE,
      NONE,
      0,
      this.index,
      cpu,
    );
  }

  /** Frees what a handle names and tells the policy. Returns the time it takes, ns. */
  free(handle: number, cpu: number): number {
    const zoneIndex = this.allocations.zone(handle);
    if (zoneIndex < 0) {
      this.skippedFrees++;
      return 0;
    }
    const { sim, judge, costs } = this.#parts;
    const pfn = this.allocations.pfn(handle);
    const order = this.allocations.order(handle);
    this.allocations.fail(handle);
    const zone = this.zones[zoneIndex];
    const merged = zone.allocator.free(pfn, order, zone.allocator.pageblockType(pfn));
    judge.release(pfn, ORDER_PAGES[order]);
    let costNs = costs.freeNs;
    if (merged >= this.#freeOrderMin) {
      const head = Math.floor(pfn / ORDER_PAGES[merged]) * ORDER_PAGES[merged];
      costNs += this.#policy.onFree!(zone, head, merged) ?? 0;
    }
    sim.trace.write(Event.free, pfn, ORDER_PAGES[order], order, zoneIndex, NONE, NONE, costNs, this.index, cpu);
    return costNs;
  }

  /** Writes the first pages of what a handle names. Returns the time of the faults, ns. */
  touch(handle: number, pages: number, cpu: number): number {
    if (this.allocations.zone(handle) < 0) return 0;
    return this.#write(this.allocations.pfn(handle), Math.min(pages, ORDER_PAGES[this.allocations.order(handle)]), cpu);
  }

  /** Runs the policy's hook before new pages are used. */
  *beforeUse(handle: number): Task {
    const zone = this.zones[this.allocations.zone(handle)];
    yield* this.#policy.beforeUse!(zone, this.allocations.pfn(handle), this.allocations.order(handle));
  }

  /** A block belongs to the driver now; the kernel zeroes it as every allocation. Returns the time of the faults, ns. */
  hold(pfn: number, order: number): number {
    this.heldPages += ORDER_PAGES[order];
    return this.#zero(pfn, ORDER_PAGES[order], NONE);
  }

  /** A block of the driver is free again. */
  releaseHeld(zone: Zone, pfn: number, order: number): void {
    this.heldPages -= ORDER_PAGES[order];
    zone.allocator.free(pfn, order, zone.allocator.pageblockType(pfn));
  }

  #take(order: number, migratetype: number, only: number): { pfn: number; zone: number } | undefined {
    const last = only < 0 ? 0 : only;
    for (let zone = only < 0 ? this.zones.length - 1 : only; zone >= last; zone--) {
      const pfn = this.zones[zone].alloc(order, migratetype);
      if (pfn >= 0) return { pfn, zone };
    }
    return undefined;
  }

  #zero(pfn: number, pages: number, cpu: number): number {
    if (!this.#parts.initOnAlloc) return 0;
    const { sim, host } = this.#parts;
    const ns = host.touch(pfn, pages, true, cpu);
    if (sim.trace.checked) sim.trace.write(Event.zero, pfn, pages, NONE, NONE, NONE, NONE, 0, this.index, cpu);
    return ns;
  }

  #write(pfn: number, pages: number, cpu: number): number {
    if (pages === 0) return 0;
    const { sim, host, judge } = this.#parts;
    const ns = host.touch(pfn, pages, true, cpu);
    judge.write(pfn, pages);
    if (sim.trace.checked) sim.trace.write(Event.write, pfn, pages, NONE, NONE, NONE, NONE, 0, this.index, cpu);
    return ns;
  }
}
