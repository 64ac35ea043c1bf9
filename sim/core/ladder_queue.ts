/**
 * The list of pending events: a ladder queue (Tang, Goh and Thng, ACM TOMACS 15, 2005) on typed arrays.
 *
 * Events far ahead lie in the top, unsorted. A rung is a row of buckets of equal width, each an unsorted chain of slots;
 * a bucket with too many events is spread over a narrower rung below. The bottom has the next events, sorted. What lies
 * higher is later, so an event is compared with few others: pushing and popping take constant time on average, and the
 * time of a heap where the times are made against it.
 *
 * Which part takes an event depends on its time alone, and never falls when the time grows. So the order holds whatever
 * the widths are, also for events before the one popped last.
 *
 * A cancelled event keeps its place, marked, until it is come across, or until such events are more than half: then all
 * others go back to the top.
 */
import { EventBottom } from "./event_bottom.ts";
import { EventSlots, type EventSlotsOptions } from "./event_slots.ts";
import { LadderRungs } from "./ladder_rungs.ts";

/** So few events in the top go to the bottom, without a rung. */
const TOP_SMALL = 8;
/** A bottom with so many events is spread over a rung. */
const BOTTOM_MAX = 16;
/** The bottom is filled with buckets until it has so many events. */
const BOTTOM_FILL = 8;
/** A bucket with more events than this is spread over a rung. */
const BUCKET_MAX = 32;
/** What the rungs give for a time above them. (An imported constant would be loaded at every push.) */
const ABOVE_RUNGS = -1;
/** Fewer cancelled events than this are not worth rebuilding. */
const CANCELLED_MIN = 64;

/**
 * Pending events in the order (time, priority, insertion sequence).
 *
 * ```ts
 * import { LadderQueue } from "./ladder_queue.ts";
 * const queue = new LadderQueue();
 * queue.push(20, 0, 1, 7, 0.5);
 * const early = queue.push(10, 0, 2, 8, 0);
 * queue.cancel(early);
 * if (!queue.pop() || queue.timeNs !== 20 || queue.target !== 7) throw new Error("the cancelled event must not run");
 * ```
 */
export class LadderQueue {
  /** Time of the event popped last, in ns. */
  timeNs = 0;
  /** Priority of the event popped last, -128 to 127; lower ones run first. */
  priority = 0;
  /** Kind of the event popped last, 0 to 65535. */
  kind = 0;
  /** Target of the event popped last, a 32-bit signed integer. */
  target = 0;
  /** Payload of the event popped last, any number. */
  payload = 0;

  private readonly slots: EventSlots;
  private readonly bottom: EventBottom;
  private readonly rungs = new LadderRungs();
  private topTimes = new Float64Array(64);
  private topSlots = new Int32Array(64);
  private topSize = 0;
  /** Events in all parts, cancelled ones too. */
  private entries = 0;
  private cancelled = 0;
  /** Events in the bottom at which it is spread. It doubles, so that trying in vain does not take the time of a square. */
  private bottomMax = BOTTOM_MAX;

  /** An empty list. */
  constructor(options: EventSlotsOptions = {}) {
    this.slots = new EventSlots(options);
    this.bottom = new EventBottom(this.slots);
  }

  /** Number of pending events, cancelled ones not counted. */
  get size(): number {
    return this.entries - this.cancelled;
  }

  /**
   * Adds an event and returns the handle for {@link cancel}, a positive integer (so 0 can stand for "none").
   *
   * `timeNs` must be an integer from 0 to 2^53 (the caller checks it); `kind` (16 bits) and `target` (32 bits, signed)
   * are cut to their size. Throws RangeError on a priority outside -128 to 127 and when 2^26 events are pending.
   */
  push(timeNs: number, priority: number, kind: number, target: number, payload: number): number {
    if ((priority << 24) >> 24 !== priority) {
      throw new RangeError(`${priority} is not a priority of an event: it must be an integer from -128 to 127`);
    }
    if (this.cancelled > 0 && this.slots.full) this.rebuild();
    const slot = this.slots.take(timeNs, priority, kind, target, payload);
    this.entries++;
    this.place(timeNs, slot);
    return this.slots.handle(slot);
  }

  /**
   * Takes a pending event out, in constant time on average.
   * False, and nothing happens, when it has already run or been cancelled, or when there never was such a handle.
   */
  cancel(handle: number): boolean {
    if (!this.slots.cancel(handle)) return false;
    // Rebuilding walks over all entries and buckets, so it waits until as many events were cancelled.
    if (++this.cancelled >= CANCELLED_MIN && this.cancelled * 2 > this.entries + this.rungs.size) this.rebuild();
    return true;
  }

  /** Time of the earliest pending event in ns; Infinity when there is none. */
  peekTimeNs(): number {
    const slot = this.settle();
    return slot < 0 ? Infinity : this.slots.timeNs(slot);
  }

  /** Takes the earliest event out and leaves it in the fields. False, with the fields as they were, when there is none. */
  pop(): boolean {
    return this.popUntil(Infinity);
  }

  /** As {@link pop}, but only an event whose time is at most `untilNs`. */
  popUntil(untilNs: number): boolean {
    const slot = this.settle();
    const { slots } = this;
    if (slot < 0 || slots.timeNs(slot) > untilNs) return false;
    this.bottom.removeFirst();
    this.timeNs = slots.timeNs(slot);
    this.priority = slots.priority(slot);
    this.kind = slots.kind(slot);
    this.target = slots.target(slot);
    this.payload = slots.payload(slot);
    this.entries--;
    slots.release(slot);
    return true;
  }

  /** Puts an event where it belongs. */
  private place(timeNs: number, slot: number): void {
    const bucket = this.rungs.find(timeNs);
    if (bucket >= 0) this.chain(bucket, slot);
    else if (bucket === ABOVE_RUNGS) this.addToTop(timeNs, slot);
    else if (this.bottom.size >= this.bottomMax && this.spreadBottom()) this.place(timeNs, slot);
    else this.bottom.add(timeNs, slot);
  }

  /** Puts an event into a bucket. */
  private chain(bucket: number, slot: number): void {
    const { buckets } = this.rungs;
    this.slots.setNext(slot, buckets[bucket]);
    buckets[bucket] = slot;
  }

  /** Puts an event into the top. */
  private addToTop(timeNs: number, slot: number): void {
    if (this.topSize === this.topTimes.length) {
      const { topTimes, topSlots, topSize } = this;
      this.topTimes = new Float64Array(topSize * 2);
      this.topSlots = new Int32Array(topSize * 2);
      this.topTimes.set(topTimes);
      this.topSlots.set(topSlots);
    }
    this.topTimes[this.topSize] = timeNs;
    this.topSlots[this.topSize++] = slot;
  }

  /** Slot of the earliest pending event, which is the first of the bottom then; -1 when there is none. */
  private settle(): number {
    const { bottom, slots } = this;
    for (;;) {
      const slot = bottom.first;
      if (slot < 0) {
        if (!this.refill()) return -1;
      } else if (slots.isPending(slot)) return slot;
      else {
        bottom.removeFirst();
        this.drop(slot);
      }
    }
  }

  /** Forgets a cancelled event that was taken out. */
  private drop(slot: number): void {
    this.entries--;
    this.cancelled--;
    this.slots.release(slot);
  }

  /** Fills the empty bottom. False when there are no events. */
  private refill(): boolean {
    const { bottom, rungs } = this;
    bottom.clear();
    while (bottom.end === 0) {
      const bucket = rungs.firstBucket();
      if (bucket >= 0) this.lowerBuckets(bucket);
      else if (this.topSize > 0) this.spreadTop();
      else {
        rungs.setBoundary(Infinity);
        return false;
      }
    }
    this.bottomMax = Math.max(BOTTOM_MAX, 2 * bottom.end);
    bottom.sort();
    return true;
  }

  /** Moves some buckets of the last rung, from the first one with events on, to the bottom; a full one to a new rung. */
  private lowerBuckets(bucket: number): void {
    const { rungs, bottom } = this;
    const end = rungs.size;
    while (bucket < end && bottom.end < BOTTOM_FILL) {
      const from = bottom.end;
      this.drain(bucket++);
      if (bottom.end - from > BUCKET_MAX) {
        rungs.lower(bucket);
        if (this.spreadRun(from)) return;
      }
    }
    rungs.lower(bucket);
  }

  /** Appends the events of a bucket to the run of the bottom and empties it. */
  private drain(bucket: number): void {
    const { buckets } = this.rungs;
    this.bottom.appendChain(buckets[bucket]);
    buckets[bucket] = -1;
  }

  /** Moves the events of the top that come first to a new first rung, or all to the bottom: few ones or of one time. */
  private spreadTop(): void {
    const { topTimes, topSlots, topSize, rungs, bottom } = this;
    const few = topSize <= TOP_SMALL;
    if (few || !rungs.openFirst(topTimes, topSize)) {
      // What comes to few events goes to the bottom as well. Behind events of one time the top begins, not at once
      // because 2^53 + 1 is no double.
      rungs.setBoundary(few ? Infinity : topTimes[0] + 2);
      for (let i = 0; i < topSize; i++) bottom.append(topTimes[i], topSlots[i]);
      this.topSize = 0;
      return;
    }
    let kept = 0;
    for (let i = 0; i < topSize; i++) {
      const bucket = rungs.find(topTimes[i]);
      if (bucket >= 0) this.chain(bucket, topSlots[i]);
      else {
        topTimes[kept] = topTimes[i];
        topSlots[kept++] = topSlots[i];
      }
    }
    this.topSize = kept;
  }

  /** Moves the run from a place on to a new last rung. False if it has one time only or there are too many rungs. */
  private spreadRun(from: number): boolean {
    const { rungs, bottom } = this;
    const { times, entries, end } = bottom;
    if (rungs.full || !rungs.openLast(times, from, end)) return false;
    for (let i = from; i < end; i++) this.chain(rungs.findInLast(times[i]), entries[i]);
    bottom.end = from;
    return true;
  }

  /** Moves all of the bottom to the top, if no rung is between, or to a new rung. False if nothing was moved. */
  private spreadBottom(): boolean {
    const { rungs, bottom } = this;
    if (rungs.firstBucket() < 0) {
      this.raiseBottom();
      rungs.setBoundary(-Infinity);
      return true;
    }
    this.bottomMax = 2 * bottom.size;
    if (rungs.full) return false;
    bottom.appendLate();
    if (!this.spreadRun(bottom.head)) {
      bottom.sort();
      return false;
    }
    this.bottomMax = BOTTOM_MAX;
    return true;
  }

  /** Moves the bottom to the top. */
  private raiseBottom(): void {
    const { bottom } = this;
    bottom.appendLate();
    for (let i = bottom.head; i < bottom.end; i++) this.addToTop(bottom.times[i], bottom.entries[i]);
    bottom.clear();
  }

  /** Moves everything to the top and forgets the cancelled events. */
  private rebuild(): void {
    const { rungs, slots } = this;
    this.raiseBottom();
    for (let bucket = rungs.firstBucket(); bucket >= 0; bucket = rungs.firstBucket()) {
      this.drain(bucket);
      this.raiseBottom();
    }
    rungs.setBoundary(-Infinity);
    const { topTimes, topSlots } = this;
    let kept = 0;
    for (let i = 0; i < this.topSize; i++) {
      const slot = topSlots[i];
      if (!slots.isPending(slot)) {
        this.drop(slot);
        continue;
      }
      topTimes[kept] = topTimes[i];
      topSlots[kept++] = slot;
    }
    this.topSize = kept;
  }
}
