/**
 * The indices of a packed virtqueue (virtio specification, packed-ring.tex): one ring of descriptors that driver and device
 * write in turn, and an event structure for each side.
 *
 * A position is an index with a wrap counter of one bit, which starts at 1 and flips at the end of the ring. A buffer of n
 * descriptors takes n positions on the driver's side; the device gives it back with one descriptor at its own next position
 * and skips n. So both sides go round the same ring and stay in step whatever the order in which buffers are used. The payload
 * stays outside; a buffer is named by its id.
 */
import { BufferRing } from "./buffer_ring.ts";
import { DESCRIPTOR_BYTES, RING_SIZE_MAX } from "./ring.ts";

/** Flags of an event structure: notify always, never, or when one descriptor is passed. */
const ENABLE = 0;
const DISABLE = 1;
const DESCRIPTOR = 2;

/** Bytes of the two event structures: 15 bits offset, 1 bit wrap counter, 16 bits flags, for each side. */
const EVENTS_BYTES = 8;

/** A position in the ring. */
interface Position {
  offset: number;
  wrap: number;
}

/** What one side asks for. */
interface EventSuppression extends Position {
  flags: number;
}

/** A packed ring of `size` descriptors, 1 to 32,768, not necessarily a power of two. */
export class PackedRing extends BufferRing {
  /** Where the driver writes next, and where the device does. */
  #driver: Position = { offset: 0, wrap: 1 };
  #device: Position = { offset: 0, wrap: 1 };
  /** What the device wants to know of the driver, and the driver of the device. */
  #deviceEvent: EventSuppression;
  #driverEvent: EventSuppression;

  /** An empty ring. Throws RangeError unless `size` is from 1 to 32,768. */
  constructor(size: number, eventIndex: boolean) {
    if (!(size >= 1 && size <= RING_SIZE_MAX) || size % 1 !== 0) {
      throw new RangeError(`A packed ring has 1 to 32768 descriptors, not ${size}`);
    }
    super(size, eventIndex);
    const flags = eventIndex ? DESCRIPTOR : ENABLE;
    this.#deviceEvent = { offset: 0, wrap: 1, flags };
    this.#driverEvent = { offset: 0, wrap: 1, flags };
  }

  /** Memory of the descriptors and the two event structures. */
  override get bytes(): number {
    return DESCRIPTOR_BYTES * this.size + EVENTS_BYTES;
  }

  /** The device wants to know of the next buffer. */
  override watchAvailable(): void {
    this.#watch(this.#deviceEvent, this.#driver);
  }

  /** The driver wants (or does not want) to know of the next used buffer. */
  override watchUsed(wanted: boolean): void {
    if (wanted) this.#watch(this.#driverEvent, this.#device);
    else this.#driverEvent.flags = DISABLE;
  }

  protected override added(descriptors: number): boolean {
    return this.#pass(this.#driver, descriptors, this.#deviceEvent);
  }

  protected override taking(): void {
    this.#deviceEvent.flags = DISABLE;
  }

  protected override finished(descriptors: number): boolean {
    return this.#pass(this.#device, descriptors, this.#driverEvent);
  }

  /** Asks for a notification of the next descriptor that the other side writes. */
  #watch(event: EventSuppression, next: Position): void {
    event.offset = next.offset;
    event.wrap = next.wrap;
    event.flags = this.eventIndex ? DESCRIPTOR : ENABLE;
  }

  /** Moves a side on by the descriptors of a buffer; whether the other side asked for one of them. */
  #pass(at: Position, descriptors: number, event: EventSuppression): boolean {
    const { offset, wrap } = at;
    at.offset += descriptors;
    if (at.offset >= this.size) {
      at.offset -= this.size;
      at.wrap = 1 - at.wrap;
    }
    if (event.flags !== DESCRIPTOR) return event.flags === ENABLE;
    // A descriptor with the other wrap counter lies behind the end of this lap.
    const distance = event.offset - offset + (event.wrap === wrap ? 0 : this.size);
    return distance >= 0 && distance < descriptors;
  }
}
