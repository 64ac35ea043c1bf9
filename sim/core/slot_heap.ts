/** A binary heap of slots, for the few events that a sorted run cannot take cheaply. */
import type { EventSlots } from "./event_slots.ts";

/**
 * Slots of events, the earliest at the top. Times are kept beside them, so that comparisons read consecutive memory.
 */
export class SlotHeap {
  /** Number of slots. */
  size = 0;
  private times = new Float64Array(64);
  private entries = new Int32Array(64);

  /** An empty heap of slots of `slots`. */
  constructor(private readonly slots: EventSlots) {}

  /** Slot of the earliest event; the heap must not be empty. */
  get top(): number {
    return this.entries[0];
  }

  /** Time of the earliest event in ns; the heap must not be empty. */
  get topNs(): number {
    return this.times[0];
  }

  /** Adds a slot. */
  push(timeNs: number, slot: number): void {
    if (this.size === this.times.length) this.grow();
    const { times, entries } = this;
    let hole = this.size++;
    while (hole > 0) {
      const parent = (hole - 1) >> 1;
      if (!this.before(timeNs, slot, parent)) break;
      times[hole] = times[parent];
      entries[hole] = entries[parent];
      hole = parent;
    }
    times[hole] = timeNs;
    entries[hole] = slot;
  }

  /** Takes the earliest event out and returns its slot; the heap must not be empty. */
  pop(): number {
    const { times, entries } = this;
    const top = entries[0];
    const last = --this.size;
    const timeNs = times[last];
    const slot = entries[last];
    let hole = 0;
    for (let child = 1; child < last; child = 2 * hole + 1) {
      if (child + 1 < last && this.before(times[child + 1], entries[child + 1], child)) child++;
      if (this.before(timeNs, slot, child)) break;
      times[hole] = times[child];
      entries[hole] = entries[child];
      hole = child;
    }
    times[hole] = timeNs;
    entries[hole] = slot;
    return top;
  }

  /** True when an event comes before the one at a place of the heap. */
  private before(timeNs: number, slot: number, place: number): boolean {
    const otherNs = this.times[place];
    return timeNs < otherNs || (timeNs === otherNs && this.slots.order(slot) < this.slots.order(this.entries[place]));
  }

  /** Doubles the arrays. */
  private grow(): void {
    const { times, entries } = this;
    this.times = new Float64Array(times.length * 2);
    this.entries = new Int32Array(entries.length * 2);
    this.times.set(times);
    this.entries.set(entries);
  }
}
