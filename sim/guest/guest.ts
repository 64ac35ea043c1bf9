/**
 * The guest: what an operation of a workload, of the driver or of the kernel's own housekeeping does to its pages, with its rows.
 *
 * Conservation holds at every row: used + free + held + isolated = present pages. The policy is told of every merged block
 * that it asked for; the judge is told who owns what.
 */
import type { Task } from "../core/sim.ts";
import { Event, NONE } from "../core/trace.ts";
import { ORDER_PAGES } from "../memory/range.ts";
import { MOVABLE, ORDER_MAX, PAGEBLOCK_ORDER, RECLAIMABLE } from "./allocator.ts";
import { GuestPages } from "./guest_pages.ts";
import { LruList } from "./lru.ts";
import { ZoneType } from "./memory_map.ts";
import type { Zone } from "./zone.ts";
import { zonesOfNodes } from "./zone_use.ts";

/** Allocation failed: nothing of this order is left. */
export const FAILED = -1;

/** One guest. */
export class Guest extends GuestPages {
  /** Frees skipped because their allocation had failed. */
  skippedFrees = 0;
  /** Frees of page cache or slab that the guest had dropped before. */
  droppedFrees = 0;

  /**
   * Allocates 2^order pages under a handle, from the highest zone downwards or from `zone` alone, and writes the row. The pages
   * are not used yet: see {@link needsUse} and {@link use}. A `quiet` request does not wake kswapd, the `last` one takes what
   * CPUs keep and what is set aside. Returns the time it takes, ns, or {@link FAILED} without a row.
   */
  alloc(
    handle: number,
    order: number,
    migratetype: number,
    zone: number,
    cpu: number,
    atomic = false,
    way: "usual" | "quiet" | "last" | "quiet-last" = "usual",
  ): number {
    const wakes = way === "usual" || way === "last";
    const pfn = way === "last" || way === "quiet-last"
      ? this.source.takeLast(order, migratetype, zone, cpu, wakes)
      : this.source.take(order, migratetype, zone, cpu, atomic, wakes);
    if (pfn < 0) return FAILED;
    this.reclaim.lru.reuse(handle);
    const taken = this.source.zone;
    this.place(handle, pfn, order, taken);
    const pages = ORDER_PAGES[order];
    this.trace.write(Event.alloc, pfn, pages, order, taken, NONE, NONE, this.allocNs, this.index, cpu);
    this.judge.own(pfn, pages);
    return this.allocNs;
  }

  /** Pages of the page cache. */
  get cachePages(): number {
    return this.reclaim.lru.cachePages;
  }

  /** Whether a handle of the page cache or of shrinkable slab still names pages; they are used once more then. */
  hit(handle: number): boolean {
    if (!this.allocations.find(handle)) return false;
    this.reclaim.lru.accessed(handle);
    return true;
  }

  /** What was allocated under a handle may be dropped from now on: page cache, or slab when it is reclaimable. */
  mayDrop(handle: number, migratetype: number): void {
    if (!this.allocations.find(handle)) return;
    this.reclaim.lru.add(handle, this.allocations.order, migratetype === RECLAIMABLE ? LruList.slab : LruList.inactive);
  }

  /** Whether the policy has something to do before these new pages are used. */
  needsUse(handle: number): boolean {
    if (this.policy.needsUse === undefined || !this.allocations.find(handle)) return false;
    const { zone, pfn, order } = this.allocations;
    return this.policy.needsUse(this.zones[zone], pfn, order);
  }

  /** New pages are used for the first time: zeroed by the kernel, and `touch` of them written. Returns the fault time, ns. */
  use(handle: number, touch: number, cpu: number): number {
    if (!this.allocations.find(handle)) return 0;
    const { pfn, order } = this.allocations;
    const pages = ORDER_PAGES[order];
    return this.writes.zero(pfn, pages, cpu) + this.writes.write(pfn, Math.min(touch, pages), cpu);
  }

  /** Allocates before the run starts, without rows or time; where `pfn` says unless it is -1. A failure counts nowhere. */
  allocAtStart(handle: number, order: number, migratetype: number, pfn: number): void {
    if (pfn >= 0) {
      this.place(handle, pfn, order, this.zoneOf(pfn).index);
      return;
    }
    this.kswapd?.settle();
    const taken = this.take(order, migratetype, 0);
    if (taken >= 0) this.place(handle, taken, order, this.source.zone);
  }

  /** Notes that an allocation failed for good; its free will be skipped. */
  allocFailed(handle: number, order: number, zone: number, cpu: number): void {
    this.allocations.remove(handle);
    this.trace.write(Event.allocFail, NONE, ORDER_PAGES[order], order, zone, NONE, NONE, 0, this.index, cpu);
  }

  /** Frees what a handle names and tells the policy. Returns the time it takes, ns. */
  free(handle: number, cpu: number): number {
    if (!this.allocations.take(handle)) {
      if (this.reclaim.lru.forget(handle)) this.droppedFrees++;
      else this.skippedFrees++;
      return 0;
    }
    this.reclaim.lru.remove(handle);
    const { pfn, order, zone } = this.allocations;
    return this.giveBack(this.zones[zone], pfn, order, cpu);
  }

  /** Writes the first pages of what a handle names. Returns the time of the faults, ns. */
  touch(handle: number, pages: number, cpu: number): number {
    if (!this.allocations.find(handle)) return 0;
    const { pfn, order } = this.allocations;
    return this.writes.write(pfn, Math.min(pages, ORDER_PAGES[order]), cpu);
  }

  /** Runs the policy's hook before new pages are used. */
  *beforeUse(handle: number): Task {
    if (!this.allocations.find(handle)) return;
    const { zone, pfn, order } = this.allocations;
    yield* this.policy.beforeUse!(this.zones[zone], pfn, order);
  }

  /** A block belongs to the driver now; the kernel zeroes it as every allocation. Returns the time of the faults, ns. */
  hold(pfn: number, order: number): number {
    this.heldPages += ORDER_PAGES[order];
    return this.writes.zero(pfn, ORDER_PAGES[order], NONE);
  }

  /**
   * Takes a block for the driver as any task would get it: zones in their order, watermarks, per-CPU lists, and where the guest
   * keeps house one try to reclaim. Its first page, or -1; its zone is in {@link takenZone}.
   */
  takeForDriver(order: number, migratetype: number, cpu: number): number {
    return this.take(order, migratetype, cpu);
  }

  /** The zone of the pages taken last. */
  get takenZone(): Zone {
    return this.zones[this.source.zone];
  }

  /** A block of the driver is free again. Returns the time of the faults when the kernel writes what it frees, ns. */
  releaseHeld(zone: Zone, pfn: number, order: number): number {
    this.heldPages -= ORDER_PAGES[order];
    const scrubNs = this.writes.scrub(pfn, ORDER_PAGES[order], NONE);
    zone.free(pfn, order);
    return scrubNs;
  }

  /**
   * Pages that the driver took with {@link takeForDriver} go back the way of any free; the policy hears of blocks. Returns the
   * time of the faults when the kernel writes what it frees, ns.
   */
  freeForDriver(zone: Zone, pfn: number, order: number, cpu: number): number {
    this.heldPages -= ORDER_PAGES[order];
    const scrubNs = this.writes.scrub(pfn, ORDER_PAGES[order], cpu);
    this.source.free(zone, pfn, order, cpu);
    return scrubNs;
  }

  /**
   * Moves what a handle names to other pages, as an allocation and a free: the new pages are written, the old ones go past the
   * per-CPU lists when their pageblock is isolated. Returns the time it takes, ns, or {@link FAILED} without a row.
   */
  migrate(handle: number): number {
    this.allocations.find(handle);
    const { order } = this.allocations;
    const target = this.take(order, MOVABLE, 0);
    if (target < 0) return FAILED;
    return this.allocNs + this.#moveTo(handle, target, this.source.zone, this.allocNs, NONE);
  }

  /**
   * Moves what a handle names to pages of zone `zone` that the free scanner of compaction took off the free lists, with the rows
   * of {@link migrate}. What moving takes is the compactor's to count. Returns the time of faults and of the free, ns.
   */
  migrateTo(handle: number, target: number, zone: number, cpu: number): number {
    return this.#moveTo(handle, target, zone, 0, cpu);
  }

  /**
   * Puts 512 single pages, of this handle and the 511 after it, together in a new block of order 9 that the handle then names
   * (mm/khugepaged.c `collapse_huge_page`), on a node that has most of them; kswapd is not woken for it (GFP_TRANSHUGE has no
   * __GFP_KSWAPD_RECLAIM). Returns the time of faults and frees, ns, or {@link FAILED} without a row.
   */
  collapse(handle: number): number {
    const nodes = this.#nodesToCollapse(handle);
    const target = nodes === undefined
      ? this.source.take(PAGEBLOCK_ORDER, MOVABLE, -1, 0, false, false)
      : this.source.takeAmong(zonesOfNodes(this.source.use, nodes), PAGEBLOCK_ORDER, 0);
    if (target < 0) return FAILED;
    const taken = this.source.zone;
    if (this.policy.needsUse?.(this.zones[taken], target, PAGEBLOCK_ORDER)) {
      // The policy would have to act first, which takes time that the group may not live.
      this.source.free(this.zones[taken], target, PAGEBLOCK_ORDER, 0);
      return FAILED;
    }
    const pages = ORDER_PAGES[PAGEBLOCK_ORDER];
    this.trace.write(Event.alloc, target, pages, PAGEBLOCK_ORDER, taken, NONE, NONE, this.allocNs, this.index, NONE);
    this.judge.own(target, pages);
    let ns = this.allocNs + this.writes.zero(target, pages, NONE) + this.writes.write(target, pages, NONE);
    for (let one = handle; one < handle + pages; one++) ns += this.free(one, NONE);
    this.allocations.put(handle, target, PAGEBLOCK_ORDER, taken);
    return ns;
  }

  /** The zones that may give the block in which these 512 single pages are put together. */
  zonesToCollapse(handle: number): readonly number[] {
    const nodes = this.#nodesToCollapse(handle);
    return nodes === undefined ? this.zonesFor(0, ZoneType.movable) : zonesOfNodes(this.source.use, nodes);
  }

  /** The nodes that have most of 512 single pages (`hpage_collapse_find_target_node`); undefined where there is one node only. */
  #nodesToCollapse(handle: number): readonly number[] | undefined {
    const { zoneNodes } = this.source.use;
    if (zoneNodes.every((node) => node === zoneNodes[0])) return undefined;
    const pages = new Array<number>(Math.max(...zoneNodes) + 1).fill(0);
    for (let one = handle; one < handle + ORDER_PAGES[PAGEBLOCK_ORDER]; one++) {
      if (this.allocations.find(one)) pages[zoneNodes[this.allocations.zone]]++;
    }
    const most = Math.max(...pages);
    return [...pages.keys()].filter((node) => pages[node] === most);
  }

  #moveTo(handle: number, target: number, taken: number, allocNs: number, cpu: number): number {
    this.allocations.find(handle);
    const { pfn, order } = this.allocations;
    const zone = this.zones[this.allocations.zone];
    const pages = ORDER_PAGES[order];
    this.trace.write(Event.alloc, target, pages, order, taken, NONE, NONE, allocNs, this.index, cpu);
    this.judge.own(target, pages);
    const faultNs = this.writes.zero(target, pages, cpu) + this.writes.write(target, pages, cpu);
    this.allocations.put(handle, target, order, taken);
    return faultNs + this.giveBack(zone, pfn, order, cpu);
  }

  /**
   * A free block that compaction had taken off the lists goes back to them, as any free (`release_freepages`): the policy hears
   * of the block that it is in now.
   */
  putBack(zone: Zone, pfn: number, order: number): void {
    this.returnBlock(zone, pfn, zone.putBack(pfn, order, false, false));
  }

  /** Memory was added to a zone and is free; the policy is told of each block. Returns the time that its work takes, ns. */
  plug(zone: number, pfn: number, pages: number, costNs: number): number {
    this.judge.release(pfn, pages);
    const scrubNs = this.writes.scrub(pfn, pages, NONE);
    const before = this.returnedNs;
    this.returnedNs = 0;
    for (let page = pfn; page < pfn + pages; page += ORDER_PAGES[ORDER_MAX]) {
      this.returnBlock(this.zones[zone], page, ORDER_MAX);
    }
    const toldNs = this.returnedNs;
    this.returnedNs = before;
    this.trace.write(Event.onlinePages, pfn, pages, NONE, zone, NONE, NONE, costNs + toldNs, this.index, NONE);
    this.sim.notify(this.returned);
    return toldNs + scrubNs;
  }

  /** Free memory of a zone has gone: it is not the driver's any more. What backs it stays until the host takes it. */
  unplug(zone: number, pfn: number, pages: number, costNs: number): void {
    this.judge.own(pfn, pages);
    this.trace.write(Event.offlinePages, pfn, pages, NONE, zone, NONE, NONE, costNs, this.index, NONE);
  }
}
