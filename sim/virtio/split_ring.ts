/**
 * The indices of a split virtqueue (virtio specification, split ring): descriptors, available and used index, and the
 * suppression of notifications both ways. The payload stays outside; a buffer is named by its id.
 */
import { DESCRIPTOR_BYTES, needsEvent, type Ring, RING_SIZE_MAX, type RingBuffer } from "./ring.ts";

const WRAP = 0x10000;

/** Bytes of a page, to which the legacy layout aligns the used ring. */
const PAGE_BYTES = 4096;

/**
 * Memory of a legacy split ring, bytes: the used ring begins on a page of its own (`vring_size` in
 * include/uapi/linux/virtio_ring.h), so 128 descriptors take 4096 + 1030 bytes.
 */
export function legacySplitBytes(size: number): number {
  const first = DESCRIPTOR_BYTES * size + 2 * (3 + size);
  return Math.ceil(first / PAGE_BYTES) * PAGE_BYTES + 6 + 8 * size;
}

/** A split ring of `size` descriptors. */
export class SplitRing implements Ring {
  /** Descriptors, a power of two up to 32,768. */
  readonly size: number;
  /** Whether notifications are suppressed by index (EVENT_IDX) or by flag. */
  readonly eventIndex: boolean;
  #free: number;
  #available: RingBuffer[] = [];
  #used: RingBuffer[] = [];
  #availIndex = 0;
  #usedIndex = 0;
  /** The device wants to know when the available index passes this one. */
  #availEvent = 0;
  /** The driver wants to know when the used index passes this one. */
  #usedEvent = 0;
  #deviceWatches = true;
  #driverWatches = true;

  /** An empty ring. Throws RangeError unless `size` is a power of two from 1 to 32,768. */
  constructor(size: number, eventIndex: boolean) {
    if (!(size >= 1 && size <= RING_SIZE_MAX) || size % 1 !== 0 || (size & (size - 1)) !== 0) {
      throw new RangeError(`A split ring has a power of two from 1 to 32768 descriptors, not ${size}`);
    }
    this.size = size;
    this.eventIndex = eventIndex;
    this.#free = size;
  }

  /**
   * Memory of descriptors, available ring and used ring with their event indices, 26 bytes a descriptor and 12 (virtio
   * specification, split-ring.tex); see {@link legacySplitBytes} for the older layout.
   */
  get bytes(): number {
    return DESCRIPTOR_BYTES * this.size + (6 + 2 * this.size) + (6 + 8 * this.size);
  }

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
    const old = this.#availIndex;
    this.#availIndex = (old + 1) % WRAP;
    return this.eventIndex ? needsEvent(this.#availEvent, this.#availIndex, old) : this.#deviceWatches;
  }

  /** The device takes the next buffer, or undefined; while it works it does not want notifications. */
  take(): RingBuffer | undefined {
    this.#deviceWatches = false;
    return this.#available.shift();
  }

  /** The device wants to know of the next buffer. */
  watchAvailable(): void {
    this.#deviceWatches = true;
    this.#availEvent = this.#availIndex;
  }

  /** The device gives a buffer back; true when the driver wants an interrupt. */
  finish(buffer: RingBuffer): boolean {
    this.#used.push(buffer);
    const old = this.#usedIndex;
    this.#usedIndex = (old + 1) % WRAP;
    return this.eventIndex ? needsEvent(this.#usedEvent, this.#usedIndex, old) : this.#driverWatches;
  }

  /** The driver takes the ids of all used buffers; their descriptors are free again. */
  collect(): number[] {
    const used = this.#used;
    this.#used = [];
    for (const { descriptors } of used) this.#free += descriptors;
    return used.map(({ id }) => id);
  }

  /** The driver wants (or does not want) to know of the next used buffer. */
  watchUsed(wanted: boolean): void {
    this.#driverWatches = wanted;
    // An index that was just passed is reached again only after 2^16 buffers: the way to want no interrupt.
    this.#usedEvent = wanted ? this.#usedIndex : (this.#usedIndex - 1 + WRAP) % WRAP;
  }
}
