/** The bottom of the ladder queue: the events that run next, in order. */
import type { EventSlots } from "./event_slots.ts";
import { SlotHeap } from "./slot_heap.ts";

/** No insertion moves more events than this, and no longer run is sorted by insertion. */
const INSERTION_MAX = 64;

/** Number of priorities: from minus half of it on. */
const PRIORITIES = 256;

/** A chain of no more events than this is not turned around. */
const CHAIN_SHORT = 16;

/** A sorted run, and a heap for the few events that would have to move much of the run. */
export class EventBottom {
  /** Times of the run in ns, from `head` to `end`. */
  times = new Float64Array(256);
  /** Slots of the run, beside the times. */
  entries = new Int32Array(256);
  /** Place of the first event of the run. */
  head = 0;
  /** The place behind the last event of the run. */
  end = 0;
  private readonly late: SlotHeap;

  /** An empty bottom for events of `slots`. */
  constructor(private readonly slots: EventSlots) {
    this.late = new SlotHeap(slots);
  }

  /** Number of events. */
  get size(): number {
    return this.end - this.head + this.late.size;
  }

  /** Slot of the earliest event, -1 without events. */
  get first(): number {
    const { head, late } = this;
    if (late.size > 0 && this.lateIsFirst()) return late.top;
    return head < this.end ? this.entries[head] : -1;
  }

  /** Takes the earliest event out; there must be one. */
  removeFirst(): void {
    if (this.late.size > 0 && this.lateIsFirst()) this.late.pop();
    else this.head++;
  }

  /** Adds an event where it belongs. */
  add(timeNs: number, slot: number): void {
    if (this.end === this.times.length) this.makeRoom();
    const { times, entries, head, end } = this;
    if (head > 0 && timeNs < times[head]) {
      times[head - 1] = timeNs;
      entries[head - 1] = slot;
      this.head = head - 1;
    } else if (end - head > INSERTION_MAX && !this.isAfter(timeNs, slot, end - INSERTION_MAX)) {
      this.late.push(timeNs, slot);
    } else this.insert(timeNs, slot, this.end++);
  }

  /** Adds an event behind the run, in order or not; {@link sort} has to follow. */
  append(timeNs: number, slot: number): void {
    if (this.end === this.times.length) this.makeRoom();
    this.times[this.end] = timeNs;
    this.entries[this.end++] = slot;
  }

  /** Appends the events of a chain, from its last to its first one if they are many (the first came last). */
  appendChain(slot: number): void {
    const { slots } = this;
    const from = this.end;
    let end = from;
    for (; slot >= 0; slot = slots.next(slot)) {
      if (end === this.times.length) {
        this.end = end;
        this.makeRoom(); // moves nothing, since the run is not yet taken from
      }
      this.times[end] = slots.timeNs(slot);
      this.entries[end++] = slot;
    }
    this.end = end;
    // Sorting a short run turns it around. A long one may have one time only, and then be in order.
    if (end - from > CHAIN_SHORT) {
      this.times.subarray(from, end).reverse();
      this.entries.subarray(from, end).reverse();
    }
  }

  /** Appends what is in the heap, so that the run has all events. */
  appendLate(): void {
    while (this.late.size > 0) this.append(this.late.topNs, this.late.pop());
  }

  /** Forgets the run; the heap must be empty. */
  clear(): void {
    this.head = 0;
    this.end = 0;
  }

  /** Puts the run in order; if it is long and has more than one time, by leaving that to the heap. */
  sort(): void {
    const { times, entries, head, end } = this;
    if (end - head <= INSERTION_MAX) {
      for (let i = head + 1; i < end; i++) this.insert(times[i], entries[i], i);
      return;
    }
    if (this.isSorted()) return;
    this.sortByPriority();
    if (this.isSorted()) return;
    for (let i = head; i < end; i++) this.late.push(times[i], entries[i]);
    this.clear();
  }

  /** True when the run is in order. */
  private isSorted(): boolean {
    const { times, entries, head, end } = this;
    let i = head + 1;
    while (i < end && this.isAfter(times[i], entries[i], i - 1)) i++;
    return i >= end;
  }

  /** Many events of one time mostly came in order, so that sorting by priority is enough: linear time. */
  private sortByPriority(): void {
    const { slots, times, head, end } = this;
    if (!times.subarray(head, end).every((timeNs) => timeNs === times[head])) return;
    const places = new Int32Array(PRIORITIES + 1);
    const old = this.entries.slice(head, end);
    for (const slot of old) places[slots.priority(slot) + PRIORITIES / 2 + 1]++;
    for (let i = 0; i < PRIORITIES; i++) places[i + 1] += places[i];
    for (const slot of old) this.entries[head + places[slots.priority(slot) + PRIORITIES / 2]++] = slot;
  }

  /** Moves the later ones of the events before place `hole` up by one, and puts an event between. */
  private insert(timeNs: number, slot: number, hole: number): void {
    const { times, entries, head } = this;
    while (hole > head && !this.isAfter(timeNs, slot, hole - 1)) {
      times[hole] = times[hole - 1];
      entries[hole] = entries[hole - 1];
      hole--;
    }
    times[hole] = timeNs;
    entries[hole] = slot;
  }

  /** True when an event comes after the one at a place of the run. */
  private isAfter(timeNs: number, slot: number, place: number): boolean {
    const otherNs = this.times[place];
    return timeNs > otherNs || (timeNs === otherNs && this.slots.order(slot) > this.slots.order(this.entries[place]));
  }

  /** True when the earliest event is in the heap, which must not be empty. */
  private lateIsFirst(): boolean {
    const { late } = this;
    return this.head === this.end || !this.isAfter(late.topNs, late.top, this.head);
  }

  /** Moves the run to the beginning of its arrays, larger ones if they are more than half full. */
  private makeRoom(): void {
    const times = this.times.subarray(this.head, this.end);
    const entries = this.entries.subarray(this.head, this.end);
    if (times.length * 2 > this.times.length) {
      this.times = new Float64Array(this.times.length * 2);
      this.entries = new Int32Array(this.entries.length * 2);
    }
    this.times.set(times);
    this.entries.set(entries);
    this.head = 0;
    this.end = times.length;
  }
}
