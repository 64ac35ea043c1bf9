/**
 * Memory hotplug of a guest that runs: the events of its machine at their times, with their rows.
 *
 * An event happens at once, and the next one not before the time that it takes is over. What is gone at its end, the device
 * gives back to the host.
 */
import { CapacityError } from "../core/capacity_error.ts";
import type { Sim, Task } from "../core/sim.ts";
import { Event, NONE } from "../core/trace.ts";
import type { Costs } from "../host/costs.ts";
import type { Host } from "../host/host.ts";
import type { Judge } from "../host/judge.ts";
import { PAGE_SIZE } from "../memory/range.ts";
import type { Guest } from "./guest.ts";
import { Hotplug } from "./hotplug.ts";
import { type MarkRules, setMarks, useOfSizes } from "./hotplug_marks.ts";
import type { HotplugEvent, PlugEvent, UnplugEvent } from "./hotplug_options.ts";
import type { HotplugGuest, HotplugObserver } from "./hotplug_parts.ts";
import { Memmap } from "./hotplug_memmap.ts";
import { SparseZone } from "./hotplug_zone.ts";

/** What the hotplug of a guest is made of. */
export interface GuestHotplugParts {
  /** Clock and trace. */
  readonly sim: Sim;
  /** The guest, of whose zones Normal and Movable can grow and shrink. */
  readonly guest: Guest;
  /** What backs its pages. */
  readonly host: Host;
  /** Who judges. */
  readonly judge: Judge;
  /** What things cost, ns. */
  readonly costs: Costs;
  /** What happens, in order of time. */
  readonly events: readonly HotplugEvent[];
  /** On what the watermarks depend. */
  readonly rules: MarkRules;
}

/** A memory block that has gone, in an event that may still fail. */
interface Gone {
  readonly zone: number;
  readonly pfn: number;
  readonly pages: number;
  readonly costNs: number;
}

/** The hotplug of one guest. */
export class GuestHotplug implements HotplugGuest, HotplugObserver {
  /** Whether all events have happened. */
  done = false;
  /** Set when nothing may start any more. */
  closing = false;
  readonly #parts: GuestHotplugParts;
  readonly #model: Hotplug;
  readonly #memmap: Memmap;
  /** Handles of the allocations of each memory block when the removal began or that moved there since. */
  readonly #handles = new Map<number, number[]>();
  /** Handles by the first page, in the memory block at hand. */
  readonly #handleAt = new Map<number, number>();
  /** What the migrations out of the memory block at hand took; they have rows of their own, ns. */
  #migratedNs = 0;
  /** What the policy did when it was told of new memory, in the present event, ns. */
  #toldNs = 0;
  /** Memory blocks that are gone and have no rows yet: until the event has succeeded they may come back. */
  #gone: Gone[] = [];
  /** Whether the present removal is that of a range, and whether it ends with a discard. */
  #removesRange = false;
  #discards = false;
  /** What discards and the freeing of memmaps took in the present removal, ns. */
  #releaseNs = 0;

  /** Hotplug of a guest that has its boot memory. */
  constructor(parts: GuestHotplugParts) {
    this.#parts = parts;
    const { guest, costs, rules } = parts;
    this.#memmap = new Memmap(parts);
    const [normal, movable] = guest.zones.filter((zone) => zone instanceof SparseZone);
    const early = guest.zones.filter((zone) => zone !== movable);
    this.#model = new Hotplug({
      normal,
      movable,
      earlyPages: early.reduce((sum, { presentPages }) => sum + presentPages, 0),
      bootEndPfn: Math.max(...guest.zones.map(({ endPfn }) => endPfn)),
      splitsLargeBlocks: rules.kernel !== "6.1",
      costs,
      guest: this,
      observer: this,
    });
  }

  /** Lets the events happen; their times count from now. */
  *run(): Task {
    const { sim, guest, events, rules } = this.#parts;
    const startNs = sim.now;
    for (const event of events) {
      const dueNs = startNs + event.at;
      if (dueNs > sim.now) yield dueNs - sim.now;
      if (this.closing) return;
      this.#toldNs = 0;
      const costNs = event.kind === "add" ? this.#add(event) : this.#remove(event);
      guest.resize(useOfSizes(guest.zones, rules));
      yield costNs + this.#toldNs;
    }
    this.done = true;
  }

  /** See {@link HotplugGuest.drain}. */
  drain(zone: number): void {
    this.#parts.guest.drain(zone);
  }

  /** See {@link HotplugGuest.forEachUsed}; the pages are those of one memory block. */
  forEachUsed(pfn: number, count: number, visit: (pfn: number, order: number, movable: boolean) => void): void {
    const { allocations, zones } = this.#parts.guest;
    this.#handleAt.clear();
    for (const handle of this.#handles.get(pfn / this.#model.blockPages) ?? []) {
      allocations.find(handle);
      const { pfn: first, order, zone } = allocations;
      if (first < pfn || first >= pfn + count) continue;
      this.#handleAt.set(first, handle);
      visit(first, order, !zones[zone].unmovable.has(first));
    }
    this.#memmap.forEachIn(pfn, count, (first, order) => visit(first, order, false));
  }

  /** See {@link HotplugGuest.migrate}. */
  migrate(pfn: number, _order: number): number {
    const { guest } = this.#parts;
    const handle = this.#handleAt.get(pfn)!;
    const costNs = guest.migrate(handle);
    if (costNs < 0) return costNs;
    guest.allocations.find(handle);
    this.#note(handle, guest.allocations.pfn);
    this.#migratedNs += costNs;
    return costNs;
  }

  /** See {@link HotplugGuest.resized}. The use of the zones follows at the end of the event. */
  resized(): void {
    setMarks(this.#parts.guest.zones, this.#parts.rules);
  }

  /** See {@link HotplugObserver.onlined}. */
  onlined(zone: number, pfn: number, pages: number, costNs: number): void {
    this.#toldNs += this.#parts.guest.plug(zone, pfn, pages, costNs);
  }

  /** See {@link HotplugObserver.offlined}. A range goes as a whole, other memory block by block. */
  offlined(zone: number, pfn: number, pages: number, costNs: number): void {
    this.#gone.push({ zone, pfn, pages, costNs: costNs - this.#migratedNs });
    this.#migratedNs = 0;
    if (!this.#removesRange) this.#release();
  }

  /** See {@link HotplugObserver.offlineFailed}. */
  offlineFailed(zone: number, pfn: number, pages: number, _busyPfn: number, costNs: number): void {
    this.#unplug();
    this.#failRow(pfn, pages, zone, costNs - this.#migratedNs);
    this.#migratedNs = 0;
  }

  /** Memory blocks have gone, for good or until they come back because another one stays. */
  #unplug(): void {
    for (const { zone, pfn, pages, costNs } of this.#gone) this.#parts.guest.unplug(zone, pfn, pages, costNs);
    this.#gone = [];
  }

  /** What has gone is gone for good, and the host's again when the device says so. */
  #release(): void {
    const { host } = this.#parts;
    const gone = this.#gone;
    // While the pages are free they are nobody's; afterwards a discard of them would be one that comes too late.
    if (this.#discards) {
      for (const { pfn, pages } of gone) this.#releaseNs += host.apply("reclaim", pfn, pages, NONE, 0);
    }
    this.#unplug();
    for (const { pfn, pages } of gone) this.#releaseNs += this.#memmap.give(pfn, pages);
  }

  #add({ bytes, address, zone }: PlugEvent): number {
    const count = bytes / PAGE_SIZE;
    const pfn = address === undefined ? this.#model.placeFor(count) : address / PAGE_SIZE;
    for (let page = pfn; page < pfn + count; page += this.#model.blockPages) {
      // Before the run it could not be known whether the memory there would go.
      if (this.#model.zoneOf(page) !== undefined) throw new CapacityError(`memory at page ${page} is there still`);
    }
    const memmapNs = this.#memmap.take(pfn, count);
    return memmapNs < 0 ? 0 : memmapNs + this.#model.online(pfn, count, zone).costNs;
  }

  #remove({ bytes, address, discard }: UnplugEvent): number {
    const count = bytes / PAGE_SIZE;
    this.#discards = discard;
    this.#removesRange = address !== undefined;
    this.#releaseNs = 0;
    this.#handles.clear();
    this.#parts.guest.forEachAllocation((handle, pfn) => this.#note(handle, pfn));
    if (address !== undefined) {
      const rangeNs = this.#removeRange(address / PAGE_SIZE, count);
      this.#release();
      return rangeNs + this.#releaseNs;
    }
    const { pages, costNs } = this.#model.remove(count);
    if (pages < count) this.#failRow(NONE, count - pages, NONE, 0);
    return costNs + this.#releaseNs;
  }

  #removeRange(pfn: number, count: number): number {
    const { blockPages } = this.#model;
    for (let block = pfn; block < pfn + count; block += blockPages) {
      const zone = this.#model.zoneOf(block);
      if (zone !== undefined && zone === this.#model.zoneOf(block + blockPages - 1)) continue;
      // An earlier removal took it, or it belongs to two zones.
      this.#failRow(pfn, count, NONE, 0);
      return 0;
    }
    return this.#model.offline(pfn, count).costNs;
  }

  #note(handle: number, pfn: number): void {
    const block = Math.floor(pfn / this.#model.blockPages);
    const handles = this.#handles.get(block);
    if (handles === undefined) this.#handles.set(block, [handle]);
    else handles.push(handle);
  }

  #failRow(pfn: number, pages: number, zone: number, costNs: number): void {
    const { sim, guest } = this.#parts;
    sim.trace.write(Event.offlineFail, pfn, pages, NONE, zone, NONE, NONE, costNs, guest.index, NONE);
  }
}
