/** The pages of a guest: its zones, the table of allocations, and how pages are taken and given back. */
import { Signal, type Sim } from "../core/sim.ts";
import { Event, NONE, type Trace } from "../core/trace.ts";
import type { Costs } from "../host/costs.ts";
import type { Judge } from "../host/judge.ts";
import { ORDER_PAGES } from "../memory/range.ts";
import { AllocationTable } from "./allocation_table.ts";
import type { HousekeepingHooks } from "./housekeeping_hooks.ts";
import { Kswapd } from "./kswapd.ts";
import { OomKiller } from "./oom.ts";
import type { BlockReturned } from "./per_cpu.ts";
import { PageSource, type PageSourceOptions } from "./page_source.ts";
import { PageWrites, type PageWritesParts } from "./page_writes.ts";
import type { HintingPolicy } from "./policy.ts";
import { COSTLY_ORDER, Reclaim } from "./reclaim.ts";
import type { ThpDefrag } from "./thp_defrag.ts";
import type { Zone } from "./zone.ts";
import { highestFor, useOfZones, zonesFor, type ZoneUse } from "./zone_use.ts";

/** What a guest is made of. */
export interface GuestParts extends Omit<PageWritesParts, "trace"> {
  /** Clock and trace. */
  readonly sim: Sim;
  /** Zones, ascending by address. */
  readonly zones: readonly Zone[];
  /** What things cost, ns. */
  readonly costs: Costs;
  /** In which order the zones are used; the highest first unless told. */
  readonly use?: ZoneUse;
  /** How pages are taken; without per-CPU lists and marks unless told. */
  readonly pages?: PageSourceOptions;
  /** What huge page faults may do when there is no block; undefined when there are no huge pages, "madvise" unless told. */
  readonly thpDefrag?: ThpDefrag | "off" | undefined;
}

/** The pages of one guest, below its operations ({@link Guest}). */
export class GuestPages {
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
  /** Until when the driver holds any zone lock, ns. */
  locksUntilNs = 0;
  /** What it may drop, and how. */
  readonly reclaim: Reclaim;
  /** Whose pages are, and who dies when there are none left. */
  readonly oom: OomKiller;
  /** Whether it keeps itself above its marks: kswapd reclaims, tasks that find no memory do so themselves. */
  readonly housekeeping: boolean;
  /** What huge page faults may do when there is no block; undefined when there are no huge pages. */
  readonly thpDefrag: ThpDefrag | undefined;
  /** Who else keeps house. */
  readonly hooks: HousekeepingHooks = {};
  /** Writes and zeroes pages. */
  readonly writes: PageWrites;
  /** Clock. */
  protected sim: Sim;
  /** Where rows go. */
  protected trace: Trace;
  /** Knows who owns what. */
  protected judge: Judge;
  /** What taking a block takes, ns. */
  protected allocNs: number;
  #freeNs: number;
  /** Zones, per-CPU lists and marks. */
  protected source: PageSource;
  /** The CPU that frees just now. */
  #freeingCpu: number = NONE;
  /** Wakes at the low mark, where marks are kept. */
  protected kswapd: Kswapd | undefined;
  /** What the policy's work on blocks that came back took, and no row carries yet, ns. */
  protected returnedNs = 0;
  #policy: HintingPolicy = {};
  #freeOrderMin = Infinity;
  /** Every handle is below this. */
  #handleEnd = 0;

  /** Pages without a policy. */
  constructor(parts: GuestParts) {
    this.index = parts.index;
    this.zones = parts.zones;
    this.sim = parts.sim;
    this.trace = parts.sim.trace;
    this.judge = parts.judge;
    this.writes = new PageWrites({ ...parts, trace: this.trace });
    this.allocNs = parts.costs.allocNs;
    this.#freeNs = parts.costs.freeNs;
    const { use = useOfZones(parts.zones, 1), pages = { perCpu: 0, keepMarks: false } } = parts;
    this.housekeeping = pages.reclaims ?? false;
    const { thpDefrag = "madvise" } = parts;
    this.thpDefrag = thpDefrag === "off" ? undefined : thpDefrag;
    this.reclaim = new Reclaim({
      trace: this.trace,
      index: parts.index,
      zones: parts.zones,
      costs: parts.costs,
      zoneOfHandle: (handle) => this.zoneOfHandle(handle),
      drop: (handle, cpu) => this.#release(handle, cpu),
      compactionReady: (order, highest) => this.hooks.compactionReady?.(order, highest) ?? false,
    });
    this.oom = new OomKiller({
      trace: this.trace,
      index: parts.index,
      allocations: this.allocations,
      free: (handle, cpu) => this.#release(handle, cpu),
    });
    if (pages.keepMarks) {
      const roundNs = Math.round(parts.costs.passNs);
      const reclaims = !this.housekeeping ? undefined : {
        reclaim: this.reclaim,
        balanced: (order: number, highest: number) => this.source.balanced(order, highest),
        asleep: (order: number) => this.hooks.kswapdAsleep?.(order),
      };
      this.kswapd = new Kswapd({ sim: parts.sim, zones: parts.zones, roundNs, returned: this.returned, reclaims });
    }
    const returned: BlockReturned = (zone, pfn, merged) => this.returnBlock(zone, pfn, merged);
    this.source = new PageSource(parts.zones, use, pages, returned, this.kswapd);
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
    for (const zone of this.zones) pages += zone.pages.freePages;
    return pages;
  }

  /** Pages on per-CPU lists. */
  get perCpuPages(): number {
    return this.source.perCpuPages;
  }

  /** Whether kswapd runs just now (`kswapd_is_running`). */
  get kswapdAwake(): boolean {
    return this.kswapd?.awake ?? false;
  }

  /** Whether kswapd is about to lower the marks of a zone. */
  get marksBoosted(): boolean {
    return this.kswapd?.boosted ?? false;
  }

  /** Lets per-CPU lists give back what lies idle; the policy hears of it. */
  decayPerCpu(): void {
    this.source.decay();
  }

  /** The zone that holds a page. Throws RangeError for a page outside of every zone. */
  zoneOf(pfn: number): Zone {
    for (const zone of this.zones) if (zone.spans(pfn)) return zone;
    throw new RangeError(`Page ${pfn} lies outside of every zone`);
  }

  /** The zone whose lock the free of a handle needs, or -1 when its allocation failed. */
  zoneOfHandle(handle: number): number {
    return this.allocations.find(handle) ? this.allocations.zone : -1;
  }

  /** Frees what a handle names. */
  #release(handle: number, cpu: number): number {
    this.allocations.take(handle);
    const { pfn, order, zone } = this.allocations;
    return this.giveBack(this.zones[zone], pfn, order, cpu);
  }

  /** Takes pages for somebody who cannot wait long (__GFP_NORETRY); what reclaim takes stands on its row alone. */
  protected take(order: number, migratetype: number, cpu: number): number {
    const pfn = this.source.take(order, migratetype, -1, cpu);
    if (pfn >= 0 || !this.housekeeping) return pfn;
    if (order <= COSTLY_ORDER) this.reclaim.direct(order, highestFor(migratetype), cpu);
    return this.source.takeLast(order, migratetype, -1, cpu);
  }

  /** Calls `visit` for every allocation, by ascending handle. */
  forEachAllocation(visit: (handle: number, pfn: number) => void): void {
    for (let handle = 0; handle < this.#handleEnd; handle++) {
      if (this.allocations.find(handle)) visit(handle, this.allocations.pfn);
    }
  }

  /** Gives the pages of a zone on per-CPU lists back to its free lists; the policy hears of it. */
  drain(zone: number): void {
    this.source.drain(zone);
  }

  /** Pages of a zone that are held back from requests which may use zones up to type `highest` (`lowmem_reserve`). */
  reserveOf(zone: number, highest: number): number {
    return this.source.use.lowmemReserve[zone][highest];
  }

  /** The zones up to a type in the order in which a CPU asks them. */
  zonesFor(cpu: number, highest: number): readonly number[] {
    return zonesFor(this.source.use, cpu, highest);
  }

  /** Zones have other sizes and are used in another way from now on. */
  resize(use: ZoneUse): void {
    this.source.resize(use);
  }

  protected place(handle: number, pfn: number, order: number, zone: number): void {
    this.allocations.put(handle, pfn, order, zone);
    if (handle >= this.#handleEnd) this.#handleEnd = handle + 1;
  }

  /** Frees a block, with its row; returns the time it takes, ns. */
  protected giveBack(zone: Zone, pfn: number, order: number, cpu: number): number {
    const scrubNs = this.writes.scrub(pfn, ORDER_PAGES[order], cpu);
    this.judge.release(pfn, ORDER_PAGES[order]);
    this.#freeingCpu = cpu;
    this.source.free(zone, pfn, order, cpu);
    this.#freeingCpu = NONE;
    const costNs = this.#freeNs + this.returnedNs;
    this.returnedNs = 0;
    this.trace.write(Event.free, pfn, ORDER_PAGES[order], order, zone.index, NONE, NONE, costNs, this.index, cpu);
    return costNs + scrubNs;
  }

  /** Blocks that are free again: tells the policy of large ones. */
  protected returnBlock(zone: Zone, pfn: number, merged: number): void {
    if (merged < this.#freeOrderMin) return;
    const head = Math.floor(pfn / ORDER_PAGES[merged]) * ORDER_PAGES[merged];
    this.returnedNs += this.#policy.onFree!(zone, head, merged, this.#freeingCpu) ?? 0;
  }
}
