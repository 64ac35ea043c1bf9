/** What a virtqueue needs of its ring, whatever the layout: buffers named by an id, and the suppression of notifications. */

/** Bytes of a descriptor, in a ring and in an indirect table: address, length, flags and a link or an id. */
export const DESCRIPTOR_BYTES = 16;

/** The most descriptors of a ring of either layout (virtio specification, split-ring.tex and packed-ring.tex). */
export const RING_SIZE_MAX: number = 2 ** 15;

/**
 * Whether the other side asked to be notified when the ring index moved from `old` to `next` (VIRTIO_F_EVENT_IDX,
 * `vring_need_event` in include/uapi/linux/virtio_ring.h). All three are 16-bit indices.
 *
 * ```ts
 * import { needsEvent } from "./ring.ts";
 * if (!needsEvent(4, 5, 4)) throw new Error("index 5 passes event 4");
 * if (needsEvent(4, 7, 6)) throw new Error("event 4 was passed before");
 * ```
 */
export function needsEvent(event: number, next: number, old: number): boolean {
  return ((next - event - 1) & 0xffff) < ((next - old) & 0xffff);
}

/** A buffer in a ring. */
export interface RingBuffer {
  /** Name of the buffer. */
  readonly id: number;
  /** Descriptors that it takes in the ring; an indirect buffer takes one. */
  readonly descriptors: number;
}

/** The indices of a virtqueue; the payload stays outside. */
export interface Ring {
  /** Descriptors. */
  readonly size: number;
  /** Memory of the ring, bytes. */
  readonly bytes: number;
  /** Descriptors that no buffer uses. */
  readonly freeDescriptors: number;
  /** Buffers that the device has not taken. */
  readonly availableCount: number;
  /** Buffers that the device gave back and the driver has not collected. */
  readonly usedCount: number;
  /** The driver adds a buffer; true when the device wants to be notified. Throws RangeError when it does not fit. */
  add(id: number, descriptors: number): boolean;
  /** The device takes the next buffer, or undefined; while it works it does not want notifications. */
  take(): RingBuffer | undefined;
  /** The device wants to know of the next buffer. */
  watchAvailable(): void;
  /** The device gives a buffer back; true when the driver wants an interrupt. */
  finish(buffer: RingBuffer): boolean;
  /** The driver takes the ids of all used buffers; their descriptors are free again. */
  collect(): number[];
  /** The driver wants (or does not want) to know of the next used buffer. */
  watchUsed(wanted: boolean): void;
}
