/** What rings of either layout have in common: buffers on their way, and the descriptors that they take. */
import type { Ring, RingBuffer } from "./ring.ts";

/** A ring without its indices, which are the business of the layout. */
export abstract class BufferRing implements Ring {
  /** Descriptors. */
  readonly size: number;
  /** Whether notifications are suppressed by a position in the ring (EVENT_IDX) or by flag alone. */
  readonly eventIndex: boolean;
  #free: number;
  #available: RingBuffer[] = [];
  #used: RingBuffer[] = [];

  /** An empty ring. */
  constructor(size: number, eventIndex: boolean) {
    this.size = size;
    this.eventIndex = eventIndex;
    this.#free = size;
  }

  /** Memory of the ring, bytes. */
  abstract get bytes(): number;

  /** The device wants to know of the next buffer. */
  abstract watchAvailable(): void;

  /** The driver wants (or does not want) to know of the next used buffer. */
  abstract watchUsed(wanted: boolean): void;

  /** The driver's index moves past a buffer of so many descriptors; whether the device wants to be notified. */
  protected abstract added(descriptors: number): boolean;

  /** The device begins to work and wants no notifications. */
  protected abstract taking(): void;

  /** The device's index moves past a buffer of so many descriptors; whether the driver wants an interrupt. */
  protected abstract finished(descriptors: number): boolean;

  /** Descriptors that no buffer uses. */
  get freeDescriptors(): number {
    return this.#free;
  }

  /** Buffers that the device has not taken. */
  get availableCount(): number {
    return this.#available.length;
  }

  /** Buffers that the device gave back and the driver has not collected. */
  get usedCount(): number {
    return this.#used.length;
  }

  /** The driver adds a buffer; true when the device wants to be notified. Throws RangeError when it does not fit. */
  add(id: number, descriptors: number): boolean {
    if (descriptors > this.#free) {
      throw new RangeError(`A buffer of ${descriptors} descriptors does not fit into ${this.#free} free ones`);
    }
    this.#free -= descriptors;
    this.#available.push({ id, descriptors });
    return this.added(descriptors);
  }

  /** The device takes the next buffer, or undefined; while it works it does not want notifications. */
  take(): RingBuffer | undefined {
    this.taking();
    return this.#available.shift();
  }

  /** The device gives a buffer back; true when the driver wants an interrupt. */
  finish(buffer: RingBuffer): boolean {
    this.#used.push(buffer);
    return this.finished(buffer.descriptors);
  }

  /** The driver takes the ids of all used buffers; their descriptors are free again. */
  collect(): number[] {
    const used = this.#used;
    this.#used = [];
    for (const { descriptors } of used) this.#free += descriptors;
    return used.map(({ id }) => id);
  }
}
