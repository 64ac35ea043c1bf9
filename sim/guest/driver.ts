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
import type { HostLink, Posted, PostingLink, SendOptions } from "./policy.ts";
import type { Zone } from "./zone.ts";

/** A page far from the first one, which every encoding can name. */
const PFN_FAR = 2 ** 30;

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
  /** Requests of the host that came while the driver still answered another. */
  droppedRequests = 0;
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

  /** A pass of the policy starts. What starts it takes `costNs`: waking the worker, or nothing when one pass follows another. */
  pass(costNs: number = this.#costs.passNs): void {
    this.#rows.push(Event.pass, NONE, NONE, NONE, costNs);
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
    if (zone.hasLists) this.#noteHold(heldNs);
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

  /** Puts an isolated block back, to the tail unless told, Reported when asked and when it does not merge. */
  putBack(zone: Zone, pfn: number, order: number, reported: boolean, toTail = true): void {
    zone.putBack(pfn, order, reported, toTail);
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

  /**
   * Allocates 2^order pages for the driver as any task would (`alloc_pages`), in the order of zones, above the watermarks, from
   * the lists of a CPU; the first page, or -1. Its zone is {@link takenZone}. Give it back with {@link free}.
   */
  allocate(order: number, migratetype: number, cpu = 0): number {
    const pfn = this.#guest.takeForDriver(order, migratetype, cpu);
    if (pfn < 0) return -1;
    this.#lockBriefly(this.#guest.takenZone, Event.hold, pfn, order, this.#costs.allocNs);
    this.#waitNs += this.#guest.hold(pfn, order);
    return pfn;
  }

  /** The zone of what {@link allocate} took last. */
  get takenZone(): Zone {
    return this.#guest.takenZone;
  }

  /** Frees pages that {@link allocate} took (`__free_pages`). */
  free(zone: Zone, pfn: number, order: number, cpu = 0): void {
    this.#waitNs += this.#guest.freeForDriver(zone, pfn, order, cpu);
    this.#lockBriefly(zone, Event.release, pfn, order, this.#costs.freeNs);
  }

  /** Frees a block that the driver held. */
  release(zone: Zone, pfn: number, order: number): void {
    this.#waitNs += this.#guest.releaseHeld(zone, pfn, order);
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
    const more = (pfn: number) => this.#link.sizeOf([one, { pfn, count }]) - this.#link.sizeOf([one]);
    const near = more(2 * count);
    return near === more(PFN_FAR) ? near : 0;
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
  *send(
    action: HostAction,
    ranges: readonly Range[],
    bufferMax = Infinity,
    options?: SendOptions,
  ): Task<boolean> {
    const accepted = ranges.filter((range) => this.#link.accepts(range));
    this.counters.unencodable += ranges.length - accepted.length;
    const { payloadMax, descriptorsMax } = this.#link.limits?.(options?.queue) ?? this.#link;
    let sent = 0;
    for (const message of messagesOf(accepted, Math.min(bufferMax, payloadMax), this.#link, descriptorsMax)) {
      if (sent++ > 0) this.counters.overflows++;
      const prepareNs = this.#pendingNs;
      this.#pendingNs = 0;
      if (!(yield* this.#link.send(action, message, prepareNs, options))) return false;
    }
    return true;
  }

  /**
   * Hands one message over and goes on, so that several travel at once; undefined when the run is ending. The ranges must fit
   * into one message. The driver's answer comes by interrupt, or when it {@link poll}s.
   */
  *post(action: HostAction, ranges: readonly Range[], options?: SendOptions): Task<Posted | undefined> {
    const prepareNs = this.#pendingNs;
    this.#pendingNs = 0;
    return yield* this.#posting.post(action, ranges, prepareNs, options);
  }

  /** Waits for the answer to a message. */
  wait(posted: Posted): Task {
    return this.#posting.wait(posted);
  }

  /** Descriptors of a queue that are free now. */
  room(queue?: string): number {
    return this.#posting.room(queue);
  }

  /** Takes the answers of a queue that has no interrupt handler (`virtqueue_get_buf` in a loop). */
  poll(queue?: string): void {
    this.#posting.poll(queue);
  }

  /** Whether these ranges fit into one message of a queue. */
  fits(ranges: readonly Range[], queue?: string): boolean {
    const { payloadMax, descriptorsMax = Infinity } = this.#link.limits?.(queue) ?? this.#link;
    return this.#link.sizeOf(ranges) <= payloadMax && (this.#link.descriptorsOf?.(ranges) ?? 1) <= descriptorsMax;
  }

  /** Whether the run ends: nothing is sent any more, and a job that waits for something should stop. */
  get closing(): boolean {
    return this.#posting.closing;
  }

  /** The device polls a queue from now on, or no more (`virtio_queue_set_notification`). */
  devicePolls(queue: string, polls: boolean): void {
    this.#posting.devicePolls(queue, polls);
  }

  /** Reads or writes a field of the device's configuration space (`virtio_cread`, `virtio_cwrite`). */
  config(): Task {
    return this.#posting.config();
  }

  get #posting(): PostingLink {
    if (!("post" in this.#link)) throw new RangeError("This link carries one message at a time");
    return this.#link as PostingLink;
  }

  #lock(zone: Zone, event: number, pfn: number, order: number, costNs: number): void {
    this.#holds[zone.index].actsNs += costNs;
    this.#rows.push(event, pfn, order, zone.index, costNs);
  }

  /** One of many short holds of a task that allocates or frees: others come between them, so nobody waits for the burst. */
  #lockBriefly(zone: Zone, event: number, pfn: number, order: number, costNs: number): void {
    if (zone.hasLists) this.#noteHold(costNs);
    this.#rows.push(event, pfn, order, zone.index, costNs);
  }

  /** A zone lock was held; there is none where free pages are on no lists. */
  #noteHold(heldNs: number): void {
    this.counters.zoneLockNs += heldNs;
    this.counters.zoneLockMaxNs = Math.max(this.counters.zoneLockMaxNs, heldNs);
  }

  /** Ends the lock holds of a burst; returns the time of the visits, ns. Zones have locks of their own. */
  #closeLocks(): number {
    let walkNs = 0;
    for (const zone of this.#guest.zones) {
      this.unlock(zone);
      const hold = this.#holds[zone.index];
      if (hold.burstNs === 0) continue;
      if (zone.hasLists) zone.lockedUntilNs = Math.max(zone.lockedUntilNs, this.#sim.now + Math.ceil(hold.burstNs));
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
