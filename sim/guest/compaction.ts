/**
 * Compaction of a guest's zones (mm/compaction.c `compact_zone`): whether it is worth a try, when it is done, and who does it:
 * the task that wants a block, or kcompactd.
 *
 * What runs in between cannot take the block of a direct compactor, since none does: so it needs no capture of its own. The
 * lowmem reserves of zones are looked at only where it is decided whether to reclaim first.
 */
import type { Sim, Task } from "../core/sim.ts";
import { Event, NONE } from "../core/trace.ts";
import type { Costs } from "../host/costs.ts";
import { ORDER_PAGES } from "../memory/range.ts";
import { MOVABLE, ORDER_MAX, PAGEBLOCK_PAGES } from "./allocator.ts";
import { type CompactControl, CompactScan } from "./compaction_scan.ts";
import { fragmentationScore, scoreLow } from "./compaction_score.ts";
import { CompactionState } from "./compaction_state.ts";
import { fragmentationIndex, freeByOrder } from "./fragmentation.ts";
import type { Guest } from "./guest.ts";
import { COMPACT_SKIPPED, type CompactMode } from "./housekeeping_hooks.ts";
import { suitableType } from "./kernel.ts";
import { ZONE_NAMES } from "./memory_map.ts";
import { PageOwner } from "./page_owner.ts";
import { ORDINARY, watermarkOk } from "./watermark_check.ts";
import type { Zone } from "./zone.ts";
import { highestFor } from "./zone_use.ts";

/** Orders above it are costly (PAGE_ALLOC_COSTLY_ORDER). */
const COSTLY_ORDER = 3;
/** Down to this index, in thousandths, a failure is for lack of memory (sysctl_extfrag_threshold). */
const EXTFRAG_THRESHOLD = 500;

/** How a compaction of a zone ended (`enum compact_result`, as far as callers tell them apart). */
export type CompactResult = "skipped" | "success" | "partial" | "complete";

/** What it is made of. */
export interface CompactionParts {
  /** Clock and trace. */
  readonly sim: Sim;
  /** The guest. */
  readonly guest: Guest;
  /** What things cost, ns. */
  readonly costs: Pick<Costs, "compactionPageNs" | "scanPageNs">;
  /** How eagerly memory is compacted ahead of need, 0 to 100 (vm.compaction_proactiveness). */
  readonly proactiveness: number;
  /** Whether kswapd runs just now; it never does unless told. */
  readonly kswapdRuns?: () => boolean;
}

/** The compaction of one guest. */
export class Compaction {
  /** Pages moved so far. */
  migratedPages = 0;
  /** Compactions of zones so far. */
  runs = 0;
  readonly #parts: CompactionParts;
  readonly #owner: PageOwner;
  readonly #states: readonly CompactionState[];

  /** Compaction of a guest, which from now on knows the handles of its pages. */
  constructor(parts: CompactionParts) {
    this.#parts = parts;
    const { zones, allocations } = parts.guest;
    this.#owner = new PageOwner(zones);
    parts.guest.forEachAllocation((handle, pfn) => this.#owner.put(allocations.zone, pfn, handle));
    allocations.owner = this.#owner;
    this.#states = zones.map((zone) => new CompactionState(zone));
  }

  /** What a zone remembers. */
  stateOf(zone: number): CompactionState {
    return this.#states[zone];
  }

  /**
   * The task on `cpu` that wants a block compacts zone by zone, in the order in which it would be asked for the block unless told
   * otherwise, until one is there (`try_to_compact_pages`). Returns the time it takes, ns, 0 when the block is there, after which
   * the caller asks for it again; {@link COMPACT_SKIPPED} when no zone was tried.
   */
  direct(
    order: number,
    migratetype: number,
    cpu: number,
    mode: CompactMode = "async",
    among: readonly number[] = this.#parts.guest.zonesFor(cpu, highestFor(migratetype)),
  ): number {
    if (order === 0) return COMPACT_SKIPPED;
    let totalNs = 0;
    let tried = false;
    const { zones } = this.#parts.guest;
    for (const index of among) {
      const zone = zones[index];
      const state = this.#states[index];
      if (migratetype !== MOVABLE && zone.name === "Movable") continue;
      if (mode !== "sync-full" && state.deferred(order)) continue;
      const run = this.#compact(zone, { order, migratetype, mode, direct: true, proactive: false }, cpu);
      let step = run.next();
      for (; !step.done; step = run.next()) totalNs += step.value;
      tried ||= step.value !== "skipped";
      if (step.value === "success") {
        state.succeeded(order, true);
        break;
      }
      if (mode !== "async" && (step.value === "complete" || step.value === "partial")) state.defer(order);
    }
    return tried ? totalNs : COMPACT_SKIPPED;
  }

  /**
   * Whether a zone of a type up to `highest` has a block of an order, or so much more free than its high mark that compaction
   * needs no reclaim before it (mm/vmscan.c `compaction_ready`).
   */
  ready(order: number, highest: number): boolean {
    const { guest } = this.#parts;
    return guest.zones.some((zone) => {
      if (ZONE_NAMES.indexOf(zone.name) > highest) return false;
      const reserve = guest.reserveOf(zone.index, highest);
      const unsuitable = this.#suitable(zone, order, reserve);
      if (unsuitable !== undefined) return unsuitable === "success";
      const mark = zone.watermarks.high + zone.watermarkBoost + 2 * ORDER_PAGES[order];
      return watermarkOk(zone, 0, mark, reserve, ORDINARY, zone.kernel.version);
    });
  }

  /** Compacts all zones for an order in the background (`kcompactd_do_work`). */
  *background(order: number): Task {
    for (const zone of this.#parts.guest.zones) {
      const state = this.#states[zone.index];
      if (state.deferred(order)) continue;
      const control = { order, migratetype: MOVABLE, mode: "sync-light", direct: false, proactive: false } as const;
      const result = yield* this.#compact(zone, control, NONE);
      if (result === "success") state.succeeded(order, false);
      else if (result === "complete" || result === "partial") {
        this.#parts.guest.drain(zone.index);
        state.defer(order);
      }
    }
  }

  /** Compacts all zones until their scores are low (`proactive_compact_node`). */
  *proactive(): Task {
    for (const zone of this.#parts.guest.zones) {
      const control = { order: -1, migratetype: MOVABLE, mode: "sync-light", direct: false, proactive: true } as const;
      yield* this.#compact(zone, control, NONE);
    }
  }

  /** Whether kcompactd has any zone to compact for an order (`kcompactd_node_suitable`). */
  worthwhile(order: number): boolean {
    return this.#parts.guest.zones.some((zone) => this.#suitable(zone, order) === undefined);
  }

  /** kswapd goes to sleep: what direct compactors gave up is looked at again (`reset_isolation_suitable`). */
  resetSkipped(): void {
    for (const state of this.#states) if (state.blockskipFlush) state.resetSkip();
  }

  /** `compaction_suitable`: undefined when it is worth a try. */
  #suitable(zone: Zone, order: number, reserve = 0): CompactResult | undefined {
    if (order < 0) return undefined;
    const { watermarks, watermarkBoost } = zone;
    const { version } = zone.kernel;
    if (watermarkOk(zone, order, watermarks.min + watermarkBoost, reserve, ORDINARY, version)) return "success";
    const mark = (order > COSTLY_ORDER ? watermarks.low : watermarks.min) + watermarkBoost + 2 * ORDER_PAGES[order];
    if (!watermarkOk(zone, 0, mark, reserve, ORDINARY, version)) return "skipped";
    if (order <= COSTLY_ORDER) return undefined;
    const index = fragmentationIndex(freeByOrder([zone]), order);
    return index >= 0 && index <= EXTFRAG_THRESHOLD ? "skipped" : undefined;
  }

  /** `compact_zone`: one run with its row. Yields the time of each step, ns; a task in the background lets others run then. */
  *#compact(zone: Zone, control: CompactControl, cpu: number): Generator<number, CompactResult, void> {
    const { sim, guest, costs } = this.#parts;
    const { order, direct } = control;
    const state = this.#states[zone.index];
    const unsuitable = this.#suitable(zone, order);
    if (unsuitable !== undefined) return unsuitable;
    if (order >= 0 && state.restarts(order)) state.resetSkip();
    const scan = new CompactScan({ guest, owner: this.#owner, zone, state, control });
    let costNs = 0;
    let drainFrom = -1;
    let result = this.#finished(zone, scan, control);
    while (result === undefined) {
      const { scanned, migratedPages } = scan;
      const otherNs = scan.step(cpu);
      if (scan.migratedPages > migratedPages) drainFrom = scan.migratePfn - 1;
      if (order > 0 && drainFrom >= 0 && this.#left(drainFrom, scan.migratePfn, order)) {
        // What was freed must merge before it can be seen that the block is there.
        guest.drain(zone.index);
        drainFrom = -1;
      }
      const pages = scan.migratedPages - migratedPages;
      const stepNs = Math.round((scan.scanned - scanned) * costs.scanPageNs + pages * costs.compactionPageNs);
      costNs += stepNs;
      if (!direct) scan.release(cpu);
      yield stepNs + otherNs + scan.takeTouchedNs();
      result = this.#finished(zone, scan, control);
    }
    state.cachedFreePfn = Math.max(state.cachedFreePfn, scan.release(cpu));
    const touchedNs = scan.takeTouchedNs();
    if (touchedNs > 0) yield touchedNs;
    this.migratedPages += scan.migratedPages;
    this.runs++;
    const rowOrder = order < 0 ? NONE : order;
    sim.trace.write(
      Event.compaction,
      NONE,
      scan.migratedPages,
      rowOrder,
      zone.index,
      NONE,
      NONE,
      costNs,
      guest.index,
      cpu,
    );
    return result;
  }

  /** Whether the migration scanner has left the aligned block of an order in which pages were moved last. */
  #left(from: number, pfn: number, order: number): boolean {
    return from < pfn - pfn % ORDER_PAGES[order] || pfn % ORDER_PAGES[order] === 0;
  }

  /** `compact_finished`: undefined as long as it goes on. */
  #finished(zone: Zone, scan: CompactScan, control: CompactControl): CompactResult | undefined {
    const { order, migratetype, direct, proactive } = control;
    const state = this.#states[zone.index];
    if (scan.met) {
      state.resetPositions();
      if (direct) state.blockskipFlush = true;
      return scan.wholeZone ? "complete" : "partial";
    }
    if (proactive) {
      if (this.#parts.kswapdRuns?.()) return "partial";
      return fragmentationScore(zone) > scoreLow(this.#parts.proactiveness) ? undefined : "success";
    }
    // Pageblocks are finished, so that the next request finds as much as it can.
    if (scan.migratePfn % PAGEBLOCK_PAGES !== 0) return undefined;
    for (let current = order; current <= ORDER_MAX; current++) {
      if (zone.hasBlock(current, migratetype)) return "success";
      if (suitableType(zone.allocator, current, migratetype) >= 0) return "success";
    }
    return undefined;
  }
}
