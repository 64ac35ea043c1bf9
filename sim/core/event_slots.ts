/**
 * Where pending events lie: one record of 64 bytes an event in two typed arrays over one buffer, so that an event costs
 * one cache line instead of one per column.
 *
 * A slot is the number of a record. Free slots and the buckets of the queue are chained through `next`. The word of the
 * kind also says whether the event is pending: a cancelled one keeps its slot until the queue comes across it.
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

// A record is 8 doubles (time, order, payload) and the same 16 words (target, next, generation, kind): one cache line.
// Shifts instead of products spare the checks for overflow.
const RECORD_DOUBLES = 8;
const ORDER = 1;
const PAYLOAD = 2;
const TARGET = 6;
const NEXT = 7;
const GENERATION = 8;
const KIND = 9;

/** The mark of a pending event, above the 16 bits of the kind. */
const PENDING = 2 ** 16;

/** The end of a chain. */
const NO_SLOT = -1;

/** Sizes of an event list. The limits are there to be lowered in tests. */
export interface EventSlotsOptions {
  /** Slots at the start, 1024 unless told; the arrays double when they are full. */
  readonly capacity?: number;
  /** The most events that may be pending, 2^26 unless told. */
  readonly slotsMax?: number;
  /** How often a slot is used before it is retired, 2^27 - 1 unless told. */
  readonly generationMax?: number;
}

/** The records of an event list. Whoever takes a slot orders it, and releases it when the event is over. */
export class EventSlots {
  private readonly slotsMax: number;
  private readonly generationMax: number;
  private capacity: number;
  private doubles: Float64Array;
  private words: Int32Array;
  private freeSlot = NO_SLOT;
  private slotsUsed = 0;
  private sequence = 0;

  /** No slot taken. */
  constructor(options: EventSlotsOptions) {
    this.slotsMax = Math.min(options.slotsMax ?? HANDLE_SLOTS, HANDLE_SLOTS);
    this.generationMax = Math.min(options.generationMax ?? GENERATION_MAX, GENERATION_MAX);
    this.capacity = Math.max(1, Math.min(options.capacity ?? 1024, this.slotsMax));
    this.doubles = new Float64Array(this.capacity * RECORD_DOUBLES);
    this.words = new Int32Array(this.doubles.buffer);
  }

  /** True when {@link take} would throw. */
  get full(): boolean {
    return this.freeSlot === NO_SLOT && this.slotsUsed === this.slotsMax;
  }

  /**
   * Takes a slot, in its next generation, for a pending event that comes behind all of its time and priority.
   * Throws RangeError when all slots are taken.
   */
  take(timeNs: number, priority: number, kind: number, target: number, payload: number): number {
    let slot = this.freeSlot;
    if (slot === NO_SLOT) slot = this.takeNew();
    else this.freeSlot = this.words[(slot << 4) | NEXT];
    const { doubles, words } = this;
    const record = slot << 3;
    doubles[record] = timeNs;
    doubles[record | ORDER] = priority * PRIORITY_STEP + this.sequence++;
    doubles[record | PAYLOAD] = payload;
    words[(slot << 4) | TARGET] = target;
    words[(slot << 4) | GENERATION]++;
    words[(slot << 4) | KIND] = (kind & 0xffff) | PENDING | (priority << 24);
    return slot;
  }

  /** Makes a slot free again. */
  release(slot: number): void {
    const { words } = this;
    words[(slot << 4) | KIND] = 0;
    if (words[(slot << 4) | GENERATION] >= this.generationMax) return; // retired
    words[(slot << 4) | NEXT] = this.freeSlot;
    this.freeSlot = slot;
  }

  /** The name of the event that lies in a slot, a positive integer. */
  handle(slot: number): number {
    return (this.words[(slot << 4) | GENERATION] + slot * 2 ** -26) * HANDLE_SLOTS;
  }

  /** Marks the event of a handle as cancelled; false when it is not pending or there never was such a handle. */
  cancel(handle: number): boolean {
    const slot = handle & SLOT_MASK;
    if (slot >= this.slotsUsed || !this.isPending(slot) || this.handle(slot) !== handle) return false;
    this.words[(slot << 4) | KIND] &= ~PENDING;
    return true;
  }

  /** False for an event that was cancelled. */
  isPending(slot: number): boolean {
    return (this.words[(slot << 4) | KIND] & PENDING) !== 0;
  }

  /** Time of an event in ns. */
  timeNs(slot: number): number {
    return this.doubles[slot << 3];
  }

  /** Decides among events of one time: the smaller one runs first. */
  order(slot: number): number {
    return this.doubles[(slot << 3) | ORDER];
  }

  /** Priority of an event. */
  priority(slot: number): number {
    return this.words[(slot << 4) | KIND] >> 24;
  }

  /** Kind of an event. */
  kind(slot: number): number {
    return this.words[(slot << 4) | KIND] & 0xffff;
  }

  /** Target of an event. */
  target(slot: number): number {
    return this.words[(slot << 4) | TARGET];
  }

  /** Payload of an event. */
  payload(slot: number): number {
    return this.doubles[(slot << 3) | PAYLOAD];
  }

  /** The slot behind this one in its chain, or {@link NO_SLOT}. */
  next(slot: number): number {
    return this.words[(slot << 4) | NEXT];
  }

  /** Chains `next` behind a slot. */
  setNext(slot: number, next: number): void {
    this.words[(slot << 4) | NEXT] = next;
  }

  /** A slot that was never used. */
  private takeNew(): number {
    if (this.slotsUsed === this.slotsMax) {
      throw new RangeError(`more than ${this.slotsMax} events are pending: the model schedules without end`);
    }
    if (this.slotsUsed === this.capacity) {
      this.capacity = Math.min(this.capacity * 2, this.slotsMax);
      const larger = new Float64Array(this.capacity * RECORD_DOUBLES);
      larger.set(this.doubles);
      this.doubles = larger;
      this.words = new Int32Array(larger.buffer);
    }
    return this.slotsUsed++;
  }
}
