/**
 * The driver: what a policy does to the guest and what it says to the host, with its rows and its time.
 *
 * A policy works in bursts. In a burst it visits lists, isolates and puts back blocks without time passing; `commit()` then
 * writes the rows, charges the visits to the first of them, holds the zone locks and returns the time that has to pass.
 * Visits of a burst without rows are charged with the message that follows.
 */
import type { Sim, Task } from "../core/sim.ts";
import { Event, NONE } from "../core/trace.ts";
import type { Costs } from "../host/costs.ts";
import type { HostAction } from "../host/host.ts";
import { ORDER_PAGES, type Range } from "../memory/range.ts";
import { BurstRows } from "./burst_rows.ts";
import type { Guest } from "./guest.ts";
import { messagesOf } from "./messages.ts";
import type { HostLink } from "./policy.ts";
import type { Zone } from "./zone.ts";

/** Counters that no row carries. */
export class DriverCounters {
  /** List nodes visited. */
  walkVisits = 0;
  /** Time the driver held a zone lock, ns. */
  zoneLockNs = 0;
  /** Longest time it held one, ns. */
  zoneLockMaxNs = 0;
  /** Peak of buffers and tracking structures, bytes. */
  metadataPeakBytes = 0;
  /** Messages that had to be sent because the one before them was full. */
  overflows = 0;
  /** Blocks left out because the encoding cannot say them. */
  unencodable = 0;
}

/** The driver of one guest. */
export class Driver {
  /** Counters for the summary. */
  readonly counters: DriverCounters = new DriverCounters();
  #sim: Sim;
  #guest: Guest;
  #link: HostLink;
  #costs: Costs;
  #rows = new BurstRows();
  #holds: Hold[];
  /** Time spent that no row carries yet; charged with the next one. */
  #pendingNs = 0;
  /** Time that other rows of the burst (faults) carry. */
  #waitNs = 0;

  /** A driver of `guest` that talks through `link`. */
  constructor(sim: Sim, guest: Guest, link: HostLink, costs: Costs) {
    this.#sim = sim;
    this.#guest = guest;
    this.#link = link;
    this.#costs = costs;
    this.#holds = guest.zones.map(() => ({ visits: 0, actsNs: 0, burstNs: 0, walkNs: 0 }));
  }

  /** A pass of the policy starts. */
  pass(): void {
    this.#rows.push(Event.pass, NONE, NONE, NONE, this.#costs.passNs);
  }

  /** Charges the visit of `nodes` list nodes under the lock of a zone. */
  visit(zone: Zone, nodes: number): void {
    this.#holds[zone.index].visits += nodes;
  }

  /** The driver lets go of a zone lock and may take it again: what follows is a hold of its own. */
  unlock(zone: Zone): void {
    const hold = this.#holds[zone.index];
    const walkNs = hold.visits * this.#costs.visitNs;
    const heldNs = walkNs + hold.actsNs;
    if (heldNs === 0) return;
    this.counters.walkVisits += hold.visits;
    this.counters.zoneLockNs += heldNs;
    this.counters.zoneLockMaxNs = Math.max(this.counters.zoneLockMaxNs, heldNs);
    hold.burstNs += heldNs;
    hold.walkNs += walkNs;
    hold.visits = hold.actsNs = 0;
  }

  /** Whether a range can be said in the encoding; what cannot is left out of a message and counted. */
  accepts(range: Range): boolean {
    return this.#link.accepts(range);
  }

  /** Charges other work of the driver to its next row, ns. */
  spend(ns: number): void {
    this.#pendingNs += ns;
  }

  /** Takes a free block off its list; false when the watermark forbids it. */
  isolate(zone: Zone, pfn: number, order: number): boolean {
    if (!zone.isolate(pfn, order)) return false;
    this.#guest.isolatedPages += ORDER_PAGES[order];
    this.#lock(zone, Event.isolate, pfn, order, this.#costs.isolateNs);
    return true;
  }

  /** Puts an isolated block back, Reported when asked and when it does not merge. */
  putBack(zone: Zone, pfn: number, order: number, reported: boolean): void {
    zone.putBack(pfn, order, reported);
    this.#guest.isolatedPages -= ORDER_PAGES[order];
    this.#lock(zone, Event.putBack, pfn, order, this.#costs.putBackNs);
  }

  /** Allocates a block for the driver from one list, not below the low watermark; its first page, or -1. */
  hold(zone: Zone, order: number, migratetype: number): number {
    const { allocator, watermarks } = zone;
    if (allocator.freePages - ORDER_PAGES[order] < watermarks.low || allocator.first(order, migratetype) < 0) return -1;
    const pfn = allocator.alloc(order, migratetype);
    this.#lock(zone, Event.hold, pfn, order, this.#costs.allocNs);
    this.#waitNs += this.#guest.hold(pfn, order);
    return pfn;
  }

  /** Frees a block that the driver held. */
  release(zone: Zone, pfn: number, order: number): void {
    this.#guest.releaseHeld(zone, pfn, order);
    this.#lock(zone, Event.release, pfn, order, this.#costs.freeNs);
  }

  /** Notes that buffers and tracking structures take `bytes` now. */
  metadata(bytes: number): void {
    if (bytes > this.counters.metadataPeakBytes) this.counters.metadataPeakBytes = bytes;
  }

  /** Payload bytes that one more block of this order takes, 0 where that depends on where it lies (a bitmap). */
  recordBytes(order: number): number {
    const count = ORDER_PAGES[order];
    const one = { pfn: 0, count };
    return this.#link.sizeOf([one, { pfn: 2 * count, count }]) - this.#link.sizeOf([one]);
  }

  /** Payload bytes of these ranges in one message. */
  bytesOf(ranges: readonly Range[]): number {
    return this.#link.sizeOf(ranges);
  }

  /** Ends a burst: writes its rows and returns the time that has to pass, ns. */
  commit(): number {
    this.#pendingNs += this.#closeLocks();
    const rows = this.#rows;
    if (rows.count === 0) return 0;
    rows.costNs[0] += this.#pendingNs;
    this.#pendingNs = 0;
    let totalNs = this.#waitNs;
    this.#waitNs = 0;
    let returned = false;
    const { trace } = this.#sim;
    for (let row = 0; row < rows.count; row++) {
      const event = rows.event[row];
      const order = rows.order[row];
      const pages = order < 0 ? NONE : ORDER_PAGES[order];
      const ns = Math.round(rows.costNs[row]);
      trace.write(event, rows.pfn[row], pages, order, rows.zone[row], NONE, NONE, ns, this.#guest.index, NONE);
      totalNs += ns;
      returned ||= event === Event.putBack || event === Event.release;
    }
    rows.count = 0;
    if (returned) this.#sim.notify(this.#guest.returned);
    return totalNs;
  }

  /**
   * Sends ranges and waits for the answers: one message, or as many as queue, buffer and encoding make necessary, each after
   * the answer to the one before. False when the run is ending and something was not sent.
   */
  *send(action: HostAction, ranges: readonly Range[], bufferMax = Infinity): Task<boolean> {
    const accepted = ranges.filter((range) => this.#link.accepts(range));
    this.counters.unencodable += ranges.length - accepted.length;
    const limit = Math.min(bufferMax, this.#link.payloadMax);
    let sent = 0;
    for (const message of messagesOf(accepted, limit, this.#link)) {
      if (sent++ > 0) this.counters.overflows++;
      const prepareNs = this.#pendingNs;
      this.#pendingNs = 0;
      if (!(yield* this.#link.send(action, message, prepareNs))) return false;
    }
    return true;
  }

  #lock(zone: Zone, event: number, pfn: number, order: number, costNs: number): void {
    this.#holds[zone.index].actsNs += costNs;
    this.#rows.push(event, pfn, order, zone.index, costNs);
  }

  /** Ends the lock holds of a burst; returns the time of the visits, ns. Zones have locks of their own. */
  #closeLocks(): number {
    let walkNs = 0;
    for (const zone of this.#guest.zones) {
      this.unlock(zone);
      const hold = this.#holds[zone.index];
      if (hold.burstNs === 0) continue;
      zone.lockedUntilNs = Math.max(zone.lockedUntilNs, this.#sim.now + Math.ceil(hold.burstNs));
      this.#guest.locksUntilNs = Math.max(this.#guest.locksUntilNs, zone.lockedUntilNs);
      walkNs += hold.walkNs;
      hold.burstNs = hold.walkNs = 0;
    }
    return walkNs;
  }
}

/** How long a zone lock is held. */
interface Hold {
  /** In the present hold: nodes visited, and time of isolations and put-backs, ns. */
  visits: number;
  actsNs: number;
  /** In all holds of the burst, ns; and the part of it that is visits. */
  burstNs: number;
  walkNs: number;
}
