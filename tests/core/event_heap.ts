/**
 * The list of pending events: a binary heap on typed arrays, without an object per event.
 *
 * An event lies in a slot (struct of arrays). The heap itself holds times and slot numbers, because the comparisons of
 * times then read consecutive memory. A cancelled event stays in the heap, marked, until it comes to the top or until such
 * entries are more than half: then the heap is rebuilt without them.
 *
 * Events leave in the total order (time, priority, insertion sequence), whatever was cancelled or rebuilt in between.
 * This is the plain reference; a faster queue has to agree with it.
 */

/** A handle is generation * HANDLE_SLOTS + slot, which fits into 53 bits. */
const HANDLE_SLOTS = 2 ** 26;
const SLOT_MASK = HANDLE_SLOTS - 1;

/** Generations run from 1 to this; a slot that reached it is not used again, so that a handle never names two events. */
const GENERATION_MAX = 2 ** 27 - 1;

/**
 * Priority and sequence share one double, priority * 2^45 + sequence: one comparison decides a tie, and it is exact.
 * 2^45 events are more than a month of pushing.
 */
const PRIORITY_STEP = 2 ** 45;

/** A heap with fewer cancelled entries than this is not worth rebuilding. */
const CANCELLED_MIN = 64;

/** Sizes of an {@link EventHeap}. The limits are there to be lowered in tests. */
export interface EventHeapOptions {
  /** Slots at the start, 1024 unless told; the arrays double when they are full. */
  readonly capacity?: number;
  /** The most events that may be pending, 2^26 unless told. */
  readonly slotsMax?: number;
  /** How often a slot is used before it is retired, 2^27 - 1 unless told. */
  readonly generationMax?: number;
}

/**
 * Pending events in the order (time, priority, insertion sequence).
 *
 * ```ts
 * import { EventHeap } from "./event_heap.ts";
 * const heap = new EventHeap();
 * heap.push(20, 0, 1, 7, 0.5);
 * const early = heap.push(10, 0, 2, 8, 0);
 * heap.cancel(early);
 * if (!heap.pop() || heap.timeNs !== 20 || heap.target !== 7) throw new Error("the cancelled event must not run");
 * ```
 */
export class EventHeap {
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

  private readonly slotsMax: number;
  private readonly generationMax: number;
  private sequence = 0;
  private entries = 0;
  private cancelled = 0;
  private capacity: number;

  // The heap: time and slot of entry i; the children of i are 2 i + 1 and 2 i + 2.
  private heapTimes: Float64Array;
  private heapSlots: Int32Array;

  // The slots. A free slot keeps the next free one in `targets`.
  private orders: Float64Array;
  private payloads: Float64Array;
  private targets: Int32Array;
  private generations: Uint32Array;
  private kinds: Uint16Array;
  private pending: Uint8Array;
  private freeSlot = -1;
  private slotsUsed = 0;

  /** An empty list. */
  constructor(options: EventHeapOptions = {}) {
    this.slotsMax = Math.min(options.slotsMax ?? HANDLE_SLOTS, HANDLE_SLOTS);
    this.generationMax = Math.min(options.generationMax ?? GENERATION_MAX, GENERATION_MAX);
    const capacity = Math.max(1, Math.min(options.capacity ?? 1024, this.slotsMax));
    this.capacity = capacity;
    this.heapTimes = new Float64Array(capacity);
    this.heapSlots = new Int32Array(capacity);
    this.orders = new Float64Array(capacity);
    this.payloads = new Float64Array(capacity);
    this.targets = new Int32Array(capacity);
    this.generations = new Uint32Array(capacity);
    this.kinds = new Uint16Array(capacity);
    this.pending = new Uint8Array(capacity);
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
    const slot = this.takeSlot();
    const order = priority * PRIORITY_STEP + this.sequence++;
    this.orders[slot] = order;
    this.payloads[slot] = payload;
    this.targets[slot] = target;
    this.kinds[slot] = kind;
    this.pending[slot] = 1;
    this.siftUp(this.entries++, timeNs, slot, order);
    return this.generations[slot] * HANDLE_SLOTS + slot;
  }

  /**
   * Takes a pending event out, in constant time on average.
   * False, and nothing happens, when it has already run or been cancelled, or when there never was such a handle.
   */
  cancel(handle: number): boolean {
    const slot = handle & SLOT_MASK;
    if (slot >= this.slotsUsed || this.pending[slot] === 0) return false;
    if (this.generations[slot] * HANDLE_SLOTS + slot !== handle) return false;
    this.pending[slot] = 0;
    this.cancelled++;
    if (this.cancelled >= CANCELLED_MIN && this.cancelled * 2 > this.entries) this.compact();
    return true;
  }

  /** Time of the earliest pending event in ns; Infinity when there is none. */
  peekTimeNs(): number {
    this.dropCancelledTop();
    return this.entries === 0 ? Infinity : this.heapTimes[0];
  }

  /** Takes the earliest event out and leaves it in the fields. False, with the fields as they were, when there is none. */
  pop(): boolean {
    this.dropCancelledTop();
    if (this.entries === 0) return false;
    const slot = this.heapSlots[0];
    this.timeNs = this.heapTimes[0];
    this.priority = Math.floor(this.orders[slot] / PRIORITY_STEP);
    this.kind = this.kinds[slot];
    this.target = this.targets[slot];
    this.payload = this.payloads[slot];
    this.pending[slot] = 0;
    this.removeTop();
    this.releaseSlot(slot);
    return true;
  }

  /** Removes cancelled entries from the top, so that the top is the earliest pending event. */
  private dropCancelledTop(): void {
    while (this.cancelled > 0 && this.pending[this.heapSlots[0]] === 0) {
      const slot = this.heapSlots[0];
      this.cancelled--;
      this.removeTop();
      this.releaseSlot(slot);
    }
  }

  /** Takes the top out of the heap; its slot stays taken. */
  private removeTop(): void {
    const last = --this.entries;
    if (last > 0) this.siftDown(0, this.heapTimes[last], this.heapSlots[last]);
  }

  /** Puts an entry where position `hole` is free, or above it. */
  private siftUp(hole: number, timeNs: number, slot: number, order: number): void {
    const { heapTimes, heapSlots, orders } = this;
    while (hole > 0) {
      const parent = (hole - 1) >> 1;
      const parentTimeNs = heapTimes[parent];
      if (parentTimeNs < timeNs || (parentTimeNs === timeNs && orders[heapSlots[parent]] < order)) break;
      heapTimes[hole] = parentTimeNs;
      heapSlots[hole] = heapSlots[parent];
      hole = parent;
    }
    heapTimes[hole] = timeNs;
    heapSlots[hole] = slot;
  }

  /** Puts an entry where position `hole` is free, or below it. */
  private siftDown(hole: number, timeNs: number, slot: number): void {
    const { heapTimes, heapSlots, orders, entries } = this;
    const order = orders[slot];
    for (let child = 2 * hole + 1; child < entries; child = 2 * hole + 1) {
      let childTimeNs = heapTimes[child];
      const right = child + 1;
      if (right < entries) {
        const rightTimeNs = heapTimes[right];
        if (
          rightTimeNs < childTimeNs ||
          (rightTimeNs === childTimeNs && orders[heapSlots[right]] < orders[heapSlots[child]])
        ) {
          child = right;
          childTimeNs = rightTimeNs;
        }
      }
      if (timeNs < childTimeNs || (timeNs === childTimeNs && order < orders[heapSlots[child]])) break;
      heapTimes[hole] = childTimeNs;
      heapSlots[hole] = heapSlots[child];
      hole = child;
    }
    heapTimes[hole] = timeNs;
    heapSlots[hole] = slot;
  }

  /** Rebuilds the heap without its cancelled entries; linear, paid for by the cancellations since the last time. */
  private compact(): void {
    const { heapTimes, heapSlots, pending } = this;
    let kept = 0;
    for (let i = 0; i < this.entries; i++) {
      const slot = heapSlots[i];
      if (pending[slot] === 0) {
        this.releaseSlot(slot);
        continue;
      }
      heapTimes[kept] = heapTimes[i];
      heapSlots[kept++] = slot;
    }
    this.entries = kept;
    this.cancelled = 0;
    for (let i = (kept >> 1) - 1; i >= 0; i--) this.siftDown(i, heapTimes[i], heapSlots[i]);
  }

  /** A free slot, in its next generation. */
  private takeSlot(): number {
    if (this.freeSlot < 0 && this.slotsUsed === this.slotsMax && this.cancelled > 0) this.compact();
    let slot = this.freeSlot;
    if (slot >= 0) this.freeSlot = this.targets[slot];
    else {
      if (this.slotsUsed === this.slotsMax) {
        throw new RangeError(`more than ${this.slotsMax} events are pending: the model schedules without end`);
      }
      if (this.slotsUsed === this.capacity) this.grow();
      slot = this.slotsUsed++;
    }
    this.generations[slot]++;
    return slot;
  }

  /** Makes a slot free again. */
  private releaseSlot(slot: number): void {
    if (this.generations[slot] >= this.generationMax) return; // retired
    this.targets[slot] = this.freeSlot;
    this.freeSlot = slot;
  }

  /** Doubles all arrays. */
  private grow(): void {
    const capacity = Math.min(this.capacity * 2, this.slotsMax);
    this.capacity = capacity;
    this.heapTimes = enlarged(this.heapTimes, new Float64Array(capacity));
    this.heapSlots = enlarged(this.heapSlots, new Int32Array(capacity));
    this.orders = enlarged(this.orders, new Float64Array(capacity));
    this.payloads = enlarged(this.payloads, new Float64Array(capacity));
    this.targets = enlarged(this.targets, new Int32Array(capacity));
    this.generations = enlarged(this.generations, new Uint32Array(capacity));
    this.kinds = enlarged(this.kinds, new Uint16Array(capacity));
    this.pending = enlarged(this.pending, new Uint8Array(capacity));
  }
}

/** `larger`, with the contents of `old` at its beginning. */
function enlarged<T extends { set(values: T): void }>(old: T, larger: T): T {
  larger.set(old);
  return larger;
}
