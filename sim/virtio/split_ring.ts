/**
 * The indices of a split virtqueue (virtio specification, split ring): descriptors, available and used index, and the
 * suppression of notifications both ways. The payload stays outside; a buffer is named by its id.
 */

const WRAP = 0x10000;

/**
 * Whether the other side asked to be notified when the ring index moved from `old` to `next` (VIRTIO_F_EVENT_IDX,
 * `vring_need_event` in include/uapi/linux/virtio_ring.h). All three are 16-bit indices.
 *
 * ```ts
 * import { needsEvent } from "./split_ring.ts";
 * if (!needsEvent(4, 5, 4)) throw new Error("index 5 passes event 4");
 * if (needsEvent(4, 7, 6)) throw new Error("event 4 was passed before");
 * ```
 */
export function needsEvent(event: number, next: number, old: number): boolean {
  return ((next - event - 1) & 0xffff) < ((next - old) & 0xffff);
}

/** A split ring of `size` descriptors. */
export class SplitRing {
  /** Descriptors, a power of two up to 32,768. */
  readonly size: number;
  /** Whether notifications are suppressed by index (EVENT_IDX) or by flag. */
  readonly eventIndex: boolean;
  #free: number;
  #available: { id: number; descriptors: number }[] = [];
  #used: { id: number; descriptors: number }[] = [];
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
    if (!(size >= 1 && size <= 32768) || size % 1 !== 0 || (size & (size - 1)) !== 0) {
      throw new RangeError(`A split ring has a power of two from 1 to 32768 descriptors, not ${size}`);
    }
    this.size = size;
    this.eventIndex = eventIndex;
    this.#free = size;
  }

  /** Descriptors that no buffer uses. */
  get freeDescriptors(): number {
    return this.#free;
  }

  /** Buffers that the device has not taken. */
  get availableCount(): number {
    return this.#available.length;
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
  take(): { id: number; descriptors: number } | undefined {
    this.#deviceWatches = false;
    return this.#available.shift();
  }

  /** The device is about to sleep and wants to know of the next buffer. */
  watchAvailable(): void {
    this.#deviceWatches = true;
    this.#availEvent = this.#availIndex;
  }

  /** The device gives a buffer back; true when the driver wants an interrupt. */
  finish(buffer: { id: number; descriptors: number }): boolean {
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
