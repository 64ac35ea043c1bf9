/** A small device for tests of queues: a host that notes what it is given, costs that can be told apart in a sum. */
import assert from "node:assert/strict";
import { encodings } from "../../sim/abi/mod.ts";
import { Signal, Sim, type Task } from "../../sim/core/sim.ts";
import { EVENTS, Trace, type TraceRows } from "../../sim/core/trace.ts";
import type { Costs } from "../../sim/host/costs.ts";
import type { Host } from "../../sim/host/host.ts";
import type { Range } from "../../sim/memory/range.ts";
import { Link, type LinkParts } from "../../sim/virtio/link.ts";
import { DESCRIPTOR_BYTES_MAX, type Message, type Transport, type TransportParts } from "../../sim/virtio/transport.ts";
import { Virtqueue, type VirtqueueOptions } from "../../sim/virtio/virtqueue.ts";

/** Times that can be told apart in a sum. */
export const COSTS = {
  allocNs: 4000,
  configNs: 30,
  kickNs: 1,
  exitNs: 10,
  hostWakeNs: 100,
  interruptNs: 2,
  guestWakeNs: 20,
  messageNs: 5000,
  recordNs: 300,
  decodeWordNs: 0,
  decodeLineNs: 0,
  encodeRecordNs: 7,
  encodeWordNs: 0,
  encodeLineNs: 0,
} as Costs;

/** What the host takes for each range beside what it is told to charge. */
export const APPLY_NS = 1000;

/** A row as time, event, message and cost. */
export type Row = [timeNs: number, event: string, message: number, costNs: number];

/** A simulated host that notes what it is given, and the rows of the queue and the driver. */
export class Bench {
  readonly sim: Sim;
  readonly parts: TransportParts;
  readonly rows: Row[] = [];
  /** Ranges that the host was given: time, message, first page. */
  readonly applied: [timeNs: number, message: number, pfn: number][] = [];
  /** The same: first page and pages. */
  readonly ranges: [pfn: number, count: number][] = [];
  readonly #trace: Trace;

  constructor() {
    const read = (rows: TraceRows) => {
      for (let i = 0; i < rows.count; i++) {
        this.rows.push([rows.timeNs[i], EVENTS[rows.event[i]], rows.message[i], rows.costNs[i]]);
      }
    };
    this.#trace = new Trace([{ read }]);
    const sim = this.sim = new Sim(this.#trace);
    const host: Host = {
      residentBytes: 0,
      apply: (_action, pfn, count, message, extraNs) => {
        this.applied.push([sim.now, message, pfn]);
        this.ranges.push([pfn, count]);
        return APPLY_NS + extraNs;
      },
      touch: () => 0,
      residentOwnedPages: () => 0,
      isResident: () => false,
      residentIn: () => 0,
    };
    this.parts = { sim, host, costs: COSTS, guest: 0 };
  }

  queue(options: VirtqueueOptions): Virtqueue {
    return new Virtqueue(this.parts, options);
  }

  /** A link over one queue for all names, or over a queue for each. */
  link(queue: Transport | ((name: string) => Transport), how: Partial<LinkParts> = {}): Link {
    const encoding = encodings.find(({ name }) => name === "pfn-len")!.create({});
    const make = typeof queue === "function" ? queue : () => queue;
    return new Link({ sim: this.sim, encoding, queue: make, costs: COSTS, guest: 0, ...how });
  }

  /** Hands a message over and waits until the driver has the answer. */
  *carry(transport: Transport, carried: Omit<Message, "answered">): Task {
    const finished = new Signal();
    let answered = false;
    yield* transport.post({
      ...carried,
      answered: () => {
        answered = true;
        this.sim.notify(finished);
      },
    });
    while (!answered) yield finished;
  }

  /** Starts a task that waits, then does one thing; notes when that came back. */
  after(delayNs: number, act: () => Task<unknown>, done?: (timeNs: number) => void): void {
    const { sim } = this;
    sim.spawn((function* () {
      yield delayNs;
      yield* act();
      done?.(sim.now);
    })());
  }

  run(): Row[] {
    assert.equal(this.sim.run(Infinity, 100_000), "done");
    this.#trace.flush();
    return this.rows;
  }
}

/** A message of some bytes, with one range. */
export function message(id: number, bytes = 64, parseNs = 0): Omit<Message, "answered"> {
  const descriptors = Math.max(1, Math.ceil(bytes / DESCRIPTOR_BYTES_MAX));
  return {
    id,
    action: "reclaim",
    ranges: [{ pfn: id * 100, count: 1 }],
    bytes,
    descriptors,
    busyWait: false,
    parseNs,
  };
}

/** Two ranges that two records say. */
export const ONE: Range[] = [{ pfn: 0, count: 512 }, { pfn: 1024, count: 512 }];
