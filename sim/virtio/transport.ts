/** How a message gets from the driver to the host and its answer back. */
import type { Sim, Task } from "../core/sim.ts";
import { Event, NONE } from "../core/trace.ts";
import type { Costs } from "../host/costs.ts";
import type { Host, HostAction } from "../host/host.ts";
import type { Range } from "../memory/range.ts";
import { type DiscardMode, discardsOf } from "./discards.ts";

/** A message on its way. */
export interface Message {
  /** Number of the message, from 1. */
  readonly id: number;
  /** What the host may do. */
  readonly action: HostAction;
  /** What the receiver reads, in order. */
  readonly ranges: readonly Range[];
  /** Payload bytes. */
  readonly bytes: number;
  /** Pieces of memory that the buffer consists of. */
  readonly descriptors: number;
  /** Whether the driver polls for the answer and wants no interrupt. */
  readonly busyWait: boolean;
  /** Host time to take and parse the message, ns; charged with its first range. */
  readonly parseNs: number;
  /** The device takes the message: called then; false when it must not act on the ranges. */
  readonly taken?: (() => boolean) | undefined;
  /** The driver has the answer: called once, at that time. */
  readonly answered: () => void;
}

/** What a transport needs. */
export interface TransportParts {
  /** Clock and trace. */
  readonly sim: Sim;
  /** Who serves the messages. */
  readonly host: Host;
  /** What things cost, ns. */
  readonly costs: Costs;
  /** Index of the guest, for the rows. */
  readonly guest: number;
  /** How long the thread that serves the guest is busy with something else before it takes a message, ns; 0 unless told. */
  readonly delayNs?: number;
}

/** A way to the host. */
export interface Transport {
  /** Largest payload in bytes. */
  readonly payloadMax: number;
  /** Most pieces of memory that one message may consist of. */
  readonly descriptorsMax: number;
  /** Pieces of memory that a message may consist of now without waiting for room. */
  readonly room: number;
  /** Whether an interrupt can tell the driver of an answer. */
  readonly interrupts: boolean;
  /** Time that the driver spends to lay out a message of so many pieces, ns. */
  layoutNs(descriptors: number): number;
  /** Hands a message over; waits for room before, and returns when the driver may go on. The answer comes later. */
  post(message: Message): Task;
  /** The driver looks for answers itself. */
  poll(): void;
  /** The device polls from now on, or no more: while it does it wants no kicks and sees buffers at once. */
  devicePolls(polls: boolean): void;
  /** The run ends: answers reach the driver whether it looks for them or not. */
  close(): void;
}

/** A buffer is one descriptor per contiguous piece of memory, and the allocator's largest piece is 4 MiB. */
export const DESCRIPTOR_BYTES_MAX: number = 4 * 1024 * 1024;

/**
 * The host takes and parses a message, then works through it: one range at a time, each taking effect before its time passes.
 * The row of the first range carries the parsing, too. What a slow host does before is not its work for the guest: that time
 * passes and is charged to no row.
 */
export function* serve(
  { host, delayNs = 0 }: TransportParts,
  message: Message,
  discards: DiscardMode = "each",
): Task {
  let { parseNs } = message;
  const acts = message.taken?.() ?? true;
  yield parseNs + delayNs;
  if (!acts) return;
  const ranges = message.action === "reclaim" ? discardsOf(message.ranges, discards) : message.ranges;
  for (const { pfn, count } of ranges) {
    const ns = host.apply(message.action, pfn, count, message.id, parseNs);
    yield ns - parseNs;
    parseNs = 0;
  }
}

/** Writes a row of the queue: kick, exit or interrupt. */
export function writeQueueRow({ sim, guest }: TransportParts, event: number, message: number, costNs: number): void {
  sim.trace.write(event, NONE, NONE, NONE, NONE, message, NONE, costNs, guest, NONE);
}

/** A hypercall: the driver exits, the host serves the message on the spot, the driver goes on. */
export class Hypercall implements Transport {
  /** No ring limits the payload. */
  readonly payloadMax: number = Infinity;
  /** No ring limits the pieces of a message. */
  readonly descriptorsMax: number = Infinity;
  /** There is always room. */
  readonly room: number = Infinity;
  /** The answer is there when the call returns. */
  readonly interrupts: boolean = false;
  #parts: TransportParts;

  /** A hypercall of one guest. */
  constructor(parts: TransportParts) {
    this.#parts = parts;
  }

  /** Nothing is laid out. */
  layoutNs(): number {
    return 0;
  }

  /** Carries a message; the time of the host is the driver's time, and the answer is there when it goes on. */
  *post(message: Message): Task {
    const { exitNs } = this.#parts.costs;
    writeQueueRow(this.#parts, Event.exit, message.id, exitNs);
    yield exitNs;
    yield* serve(this.#parts, message);
    message.answered();
  }

  /** Answers are never late. */
  poll(): void {}

  /** There is no device that could look. */
  devicePolls(): void {}

  /** Nothing is under way when the driver runs. */
  close(): void {}
}
