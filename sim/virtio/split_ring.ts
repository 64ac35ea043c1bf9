/**
 * The indices of a split virtqueue (virtio specification, split ring): descriptors, available and used index, and the
 * suppression of notifications both ways. The payload stays outside; a buffer is named by its id.
 */
import { BufferRing } from "./buffer_ring.ts";
import { DESCRIPTOR_BYTES, needsEvent, RING_SIZE_MAX } from "./ring.ts";

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

/** A split ring of `size` descriptors, a power of two up to 32,768. */
export class SplitRing extends BufferRing {
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
    super(size, eventIndex);
  }

  /**
   * Memory of descriptors, available ring and used ring with their event indices, 26 bytes a descriptor and 12 (virtio
   * specification, split-ring.tex); see {@link legacySplitBytes} for the older layout.
   */
  override get bytes(): number {
    return DESCRIPTOR_BYTES * this.size + (6 + 2 * this.size) + (6 + 8 * this.size);
  }

  /** The device wants to know of the next buffer. */
  override watchAvailable(): void {
    this.#deviceWatches = true;
    this.#availEvent = this.#availIndex;
  }

  /** The driver wants (or does not want) to know of the next used buffer. */
  override watchUsed(wanted: boolean): void {
    this.#driverWatches = wanted;
    // An index that was just passed is reached again only after 2^16 buffers: the way to want no interrupt.
    this.#usedEvent = wanted ? this.#usedIndex : (this.#usedIndex - 1 + WRAP) % WRAP;
  }

  /** The available index counts buffers, not descriptors. */
  protected override added(): boolean {
    const old = this.#availIndex;
    this.#availIndex = (old + 1) % WRAP;
    return this.eventIndex ? needsEvent(this.#availEvent, this.#availIndex, old) : this.#deviceWatches;
  }

  protected override taking(): void {
    this.#deviceWatches = false;
  }

  protected override finished(): boolean {
    const old = this.#usedIndex;
    this.#usedIndex = (old + 1) % WRAP;
    return this.eventIndex ? needsEvent(this.#usedEvent, this.#usedIndex, old) : this.#driverWatches;
  }
}
