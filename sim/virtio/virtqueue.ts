/**
 * A virtqueue with its latencies: kick, exit, host wake, service, used, interrupt, guest wake.
 *
 * The device is one task that takes buffers in order and sleeps when there are none. While it works it does not want kicks;
 * the driver wants an interrupt only for the first buffer used since it last looked (VIRTIO_F_EVENT_IDX, both ways).
 */
import { Signal, type Task } from "../core/sim.ts";
import { Event } from "../core/trace.ts";
import { SplitRing } from "./split_ring.ts";
import {
  DESCRIPTOR_BYTES_MAX,
  type Message,
  serve,
  type Transport,
  type TransportParts,
  writeQueueRow,
} from "./transport.ts";

/** Settings of a virtqueue. */
export interface VirtqueueOptions {
  /** Descriptors, a power of two. */
  readonly size: number;
  /** Whether EVENT_IDX was negotiated. */
  readonly eventIndex: boolean;
}

/** A message in the ring, until the driver has seen that it was used. */
interface Flight {
  message: Message;
  done: boolean;
  /** Whoever waits for this message. */
  finished: Signal;
}

/** A split virtqueue between one driver and its device. */
export class Virtqueue implements Transport {
  /** Largest payload: every descriptor of the ring. */
  readonly payloadMax: number;
  #parts: TransportParts;
  #ring: SplitRing;
  #flights: Map<number, Flight> = new Map();
  #kicked: Signal = new Signal();
  #room: Signal = new Signal();
  #interruptKind: number;

  /** An empty queue; its device sleeps. */
  constructor(parts: TransportParts, options: VirtqueueOptions) {
    this.#parts = parts;
    this.#ring = new SplitRing(options.size, options.eventIndex);
    this.payloadMax = options.size * DESCRIPTOR_BYTES_MAX;
    this.#interruptKind = parts.sim.register("interrupt", () => this.#collect());
    parts.sim.spawn(this.#device());
  }

  /** Puts a message into the ring, kicks the device if it sleeps, and waits until the buffer came back. */
  *carry(message: Message): Task {
    const { sim, costs } = this.#parts;
    const descriptors = Math.max(1, Math.ceil(message.bytes / DESCRIPTOR_BYTES_MAX));
    while (this.#ring.freeDescriptors < descriptors) yield this.#room;
    const flight: Flight = { message, done: false, finished: new Signal() };
    this.#flights.set(message.id, flight);
    if (this.#ring.add(message.id, descriptors)) {
      writeQueueRow(this.#parts, Event.kick, message.id, costs.kickNs);
      yield costs.kickNs;
      writeQueueRow(this.#parts, Event.exit, message.id, costs.exitNs);
      yield costs.exitNs;
      sim.notify(this.#kicked);
    }
    while (!flight.done) yield flight.finished;
    this.#flights.delete(message.id);
  }

  *#device(): Task {
    const { costs } = this.#parts;
    while (true) {
      for (let buffer = this.#ring.take(); buffer !== undefined; buffer = this.#ring.take()) {
        yield* serve(this.#parts, this.#flights.get(buffer.id)!.message);
        if (this.#ring.finish(buffer)) this.#interrupt(buffer.id);
      }
      this.#ring.watchAvailable();
      yield this.#kicked;
      yield costs.hostWakeNs;
    }
  }

  #interrupt(message: number): void {
    const { sim, costs } = this.#parts;
    writeQueueRow(this.#parts, Event.interrupt, message, costs.interruptNs);
    sim.after(costs.interruptNs + costs.guestWakeNs, this.#interruptKind);
  }

  /** The driver's interrupt handler: takes every used buffer, then wants interrupts again. */
  #collect(): void {
    const { sim } = this.#parts;
    for (const id of this.#ring.collect()) {
      const flight = this.#flights.get(id)!;
      flight.done = true;
      sim.notify(flight.finished);
    }
    this.#ring.watchUsed(true);
    sim.notify(this.#room);
  }
}
