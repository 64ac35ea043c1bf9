/**
 * A virtqueue with its latencies: kick, exit, host wake, service, used, interrupt, guest wake.
 *
 * The device is one task that takes buffers in order and sleeps when there are none. While it works it does not want kicks,
 * unless it is one that asks again at each buffer; the driver wants an interrupt only for the first buffer used since it last
 * looked (VIRTIO_F_EVENT_IDX, both ways), and none at all while it polls.
 */
import { Signal, type Task } from "../core/sim.ts";
import { Event } from "../core/trace.ts";
import type { DiscardMode } from "./discards.ts";
import type { HostThread } from "./host_thread.ts";
import { PackedRing } from "./packed_ring.ts";
import type { Ring, RingBuffer } from "./ring.ts";
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
  /** Descriptors; a power of two in a split ring. */
  readonly size: number;
  /** Whether EVENT_IDX was negotiated. */
  readonly eventIndex: boolean;
  /** Whether the ring has the packed layout (RING_PACKED). */
  readonly packed?: boolean;
  /**
   * Whether a buffer of several descriptors takes one in the ring, which points to a table of 16 bytes for each
   * (INDIRECT_DESC). The driver allocates the table.
   */
  readonly indirect?: boolean;
  /** Whether the device asks for a kick again with each buffer that it takes, as QEMU's `virtqueue_pop` does. */
  readonly kickEach?: boolean;
  /** Whether the driver has no interrupt handler for the queue and looks for answers itself. */
  readonly polled?: boolean;
  /** Whether the device gives all buffers back together when the ring is empty, and not each when it is done. */
  readonly usedTogether?: boolean;
  /** Whether the device never polls, whatever the driver's hints are about; it wants kicks then. */
  readonly neverPolls?: boolean;
  /** How the device discards the ranges of a message; each unless told. */
  readonly discards?: DiscardMode;
  /** The thread that serves the queue, where others use it, too. */
  readonly thread?: HostThread;
}

/** A virtqueue between one driver and its device. */
export class Virtqueue implements Transport {
  /** Largest payload: every descriptor of the ring. */
  readonly payloadMax: number;
  /** A chain has at most as many descriptors as the ring, in a table of its own, too. */
  readonly descriptorsMax: number;
  /** Whether the driver has an interrupt handler for the queue. */
  readonly interrupts: boolean;
  #parts: TransportParts;
  #options: VirtqueueOptions;
  #ring: Ring;
  #flights: Map<number, Message> = new Map();
  /** The device looks for buffers itself. */
  #devicePolls = false;
  /** Messages whose driver polls. */
  #polling = 0;
  #closed = false;
  /** Drivers that wait for descriptors. */
  #roomWaiters = 0;
  #kicked: Signal = new Signal();
  #room: Signal = new Signal();
  #interruptKind: number;

  /** An empty queue; its device sleeps. */
  constructor(parts: TransportParts, options: VirtqueueOptions) {
    this.#parts = parts;
    this.#options = options;
    const { size, eventIndex } = options;
    this.#ring = options.packed ? new PackedRing(size, eventIndex) : new SplitRing(size, eventIndex);
    this.payloadMax = size * DESCRIPTOR_BYTES_MAX;
    this.descriptorsMax = size;
    this.interrupts = !options.polled;
    this.#interruptKind = parts.sim.register("interrupt", () => this.#interrupted());
    if (options.polled) this.#ring.watchUsed(false);
    parts.sim.spawn(this.#device());
  }

  /** Descriptors that are free now; with an indirect table one of them is enough. */
  get room(): number {
    const { freeDescriptors } = this.#ring;
    return this.#options.indirect && freeDescriptors > 0 ? this.descriptorsMax : freeDescriptors;
  }

  /**
   * An indirect table is allocated for each message of several pieces (`virtqueue_use_indirect`, drivers/virtio/virtio_ring.c).
   * The cost of a page stands for that of its kmalloc.
   */
  layoutNs(descriptors: number): number {
    return this.#options.indirect && descriptors > 1 ? this.#parts.costs.allocNs : 0;
  }

  /** Puts a message into the ring and kicks the device if it wants to know. */
  *post(message: Message): Task {
    const { sim, costs } = this.#parts;
    const descriptors = this.#options.indirect ? 1 : message.descriptors;
    while (this.#ring.freeDescriptors < descriptors) yield* this.#awaitRoom();
    this.#flights.set(message.id, message);
    if (message.busyWait && this.#polling++ === 0) this.#ring.watchUsed(false);
    if (this.#ring.add(message.id, descriptors)) {
      writeQueueRow(this.#parts, Event.kick, message.id, costs.kickNs);
      yield costs.kickNs;
      writeQueueRow(this.#parts, Event.exit, message.id, costs.exitNs);
      yield costs.exitNs;
      sim.notify(this.#kicked);
    } else if (this.#devicePolls) sim.notify(this.#kicked);
  }

  /** The driver takes every used buffer. */
  poll(): void {
    const { sim } = this.#parts;
    for (const id of this.#ring.collect()) {
      const message = this.#flights.get(id)!;
      this.#flights.delete(id);
      if (message.busyWait) this.#polling--;
      message.answered();
    }
    this.#ring.watchUsed(!this.#options.polled && this.#polling === 0);
    sim.notify(this.#room);
  }

  /** The device polls from now on, or no more; see {@link Transport.devicePolls}. */
  devicePolls(polls: boolean): void {
    if (polls === this.#devicePolls || this.#options.neverPolls) return;
    this.#devicePolls = polls;
    // A device that sleeps between two looks asks for a kick again.
    if (!polls) this.#parts.sim.notify(this.#kicked);
  }

  /** The run ends: what is used from now on is collected at once. */
  close(): void {
    this.#closed = true;
    if (this.#options.polled) this.poll();
  }

  /** A driver that is stuck looks for used buffers itself where no interrupt tells it. */
  *#awaitRoom(): Task {
    this.#roomWaiters++;
    if (this.#options.polled && this.#ring.usedCount > 0) this.poll();
    else yield this.#room;
    this.#roomWaiters--;
  }

  /** Whether the driver sees a used buffer at once. */
  get #watched(): boolean {
    return this.#polling > 0 || (this.#options.polled === true && (this.#closed || this.#roomWaiters > 0));
  }

  *#device(): Task {
    const { costs } = this.#parts;
    const { thread, kickEach, usedTogether, discards } = this.#options;
    while (true) {
      const done: RingBuffer[] = [];
      for (let buffer = this.#ring.take(); buffer !== undefined; buffer = this.#ring.take()) {
        if (kickEach && !this.#devicePolls) this.#ring.watchAvailable();
        if (thread !== undefined) yield* thread.enter();
        yield* serve(this.#parts, this.#flights.get(buffer.id)!, discards);
        thread?.leave();
        if (usedTogether) done.push(buffer);
        else this.#giveBack([buffer]);
      }
      this.#giveBack(done);
      if (this.#devicePolls) {
        yield this.#kicked;
        continue;
      }
      this.#ring.watchAvailable();
      yield this.#kicked;
      yield costs.hostWakeNs;
    }
  }

  /** The device puts buffers into the used ring, and interrupts once if the driver wants to know of any. */
  #giveBack(buffers: readonly RingBuffer[]): void {
    let wanted = false;
    for (const buffer of buffers) wanted = this.#ring.finish(buffer) || wanted;
    if (wanted) this.#interrupt(buffers[0].id);
    if (buffers.length > 0 && this.#watched) this.poll();
  }

  #interrupt(message: number): void {
    const { sim, costs } = this.#parts;
    writeQueueRow(this.#parts, Event.interrupt, message, costs.interruptNs);
    sim.after(costs.interruptNs + costs.guestWakeNs, this.#interruptKind);
  }

  /** The driver's interrupt handler: takes every used buffer, then wants interrupts again. */
  #interrupted(): void {
    this.poll();
  }
}
