/** How a message gets from the driver to the host and its answer back. */
import type { Sim, Task } from "../core/sim.ts";
import { Event, NONE } from "../core/trace.ts";
import type { Costs } from "../host/costs.ts";
import type { Host, HostAction } from "../host/host.ts";
import type { Range } from "../memory/range.ts";

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
  /** Host time to take and parse the message, ns; charged with its first range. */
  readonly parseNs: number;
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
}

/** A way to the host. */
export interface Transport {
  /** Largest payload in bytes. */
  readonly payloadMax: number;
  /** Carries a message to the host; returns when the driver has the answer. */
  carry(message: Message): Task;
}

/** A buffer is one descriptor per contiguous piece of memory, and the allocator's largest piece is 4 MiB. */
export const DESCRIPTOR_BYTES_MAX: number = 4 * 1024 * 1024;

/**
 * The host takes and parses a message, then works through it: one range at a time, each taking effect before its time passes.
 * The row of the first range carries the parsing, too.
 */
export function* serve({ host }: TransportParts, message: Message): Task {
  let { parseNs } = message;
  yield parseNs;
  for (const { pfn, count } of message.ranges) {
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
  #parts: TransportParts;

  /** A hypercall of one guest. */
  constructor(parts: TransportParts) {
    this.#parts = parts;
  }

  /** Carries a message; the time of the host is the driver's time. */
  *carry(message: Message): Task {
    const { exitNs } = this.#parts.costs;
    writeQueueRow(this.#parts, Event.exit, message.id, exitNs);
    yield exitNs;
    yield* serve(this.#parts, message);
  }
}
