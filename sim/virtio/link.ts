/** The link: an encoding and the queues of a device, behind the verbs that drivers know. */
import type { Encoding } from "../abi/encoding.ts";
import { Signal, type Sim, type Task } from "../core/sim.ts";
import { Event, NONE } from "../core/trace.ts";
import type { MessageLimits, Posted, PostingLink, SendOptions } from "../guest/policy.ts";
import type { Costs } from "../host/costs.ts";
import type { HostAction } from "../host/host.ts";
import { pagesOf, type Range } from "../memory/range.ts";
import { DESCRIPTOR_BYTES_MAX, type Transport } from "./transport.ts";

/** The queue that drivers use when neither they nor their policy name one. */
export const QUEUE_DEFAULT = "request";

/** How a driver waits for the answer to a message: as its policy has it, asleep until the interrupt, or spinning. */
export type AckWait = "policy" | "sleep" | "busy-wait";

/** A few bytes that are no list of pages cost nothing to write and to read. */
const NO_WORK = { records: 0, words: 0, cacheLines: 0 };

/** What a link is made of. */
export interface LinkParts {
  /** Clock and trace. */
  readonly sim: Sim;
  /** The bytes of a message. */
  readonly encoding: Encoding;
  /** Makes a queue of the device, by its name; asked for once each. */
  readonly queue: (name: string) => Transport;
  /** What things cost, ns. */
  readonly costs: Costs;
  /** Index of the guest, for the rows. */
  readonly guest: number;
  /** Pages of the guest's address space; what a message says beyond them is no memory, and ignored as by QEMU. */
  readonly guestPages?: number;
  /** The queue that the driver uses when it names none; {@link QUEUE_DEFAULT} unless told. */
  readonly queueDefault?: string | undefined;
  /** How the driver waits for answers, on queues that have an interrupt handler; as the policy has it unless told. */
  readonly ack?: AckWait;
}

/** A message under way. */
class Flight implements Posted {
  readonly id: number;
  readonly busyWait: boolean;
  answered = false;
  /** Whoever waits for the answer. */
  readonly finished = new Signal();

  constructor(id: number, busyWait: boolean) {
    this.id = id;
    this.busyWait = busyWait;
  }
}

/** The link of one guest's driver. */
export class Link implements PostingLink {
  /** Time the driver spent encoding, ns. */
  encodeNs = 0;
  /** Time the host spent parsing payloads, ns. */
  decodeNs = 0;
  /** Time the driver span until an answer was there, ns. */
  busyWaitNs = 0;
  /** Cache lines of 64 bytes that the payloads take, as the driver writes and the host reads them. */
  cacheLines = 0;
  /** Messages that were sent and not yet answered. */
  inFlight = 0;
  #closing = false;
  #parts: LinkParts;
  #queues = new Map<string, Transport>();
  #queueDefault: string;
  #messages = 0;

  /** A link without messages. */
  constructor(parts: LinkParts) {
    this.#parts = parts;
    this.#queueDefault = parts.queueDefault ?? QUEUE_DEFAULT;
    this.#queue();
  }

  /** Whether the run ends: nothing is sent any more. */
  get closing(): boolean {
    return this.#closing;
  }

  /** The run ends: nothing is sent any more, and the answers to what was sent reach the driver. */
  close(): void {
    this.#closing = true;
    for (const queue of this.#queues.values()) queue.close();
  }

  /** Largest payload of one message in bytes on the default queue. */
  get payloadMax(): number {
    return this.limits().payloadMax;
  }

  /** Most pieces of memory of one message on the default queue. */
  get descriptorsMax(): number {
    return this.limits().descriptorsMax;
  }

  /** What one message on a queue may be. */
  limits(queue?: string): MessageLimits {
    const { payloadMax, descriptorsMax } = this.#queue(queue);
    return { payloadMax: Math.min(this.#parts.encoding.messageMax, payloadMax), descriptorsMax };
  }

  /** Payload bytes of these ranges. */
  sizeOf(ranges: readonly Range[]): number {
    return this.#parts.encoding.sizeOf(ranges);
  }

  /** Pieces of memory that a message of these ranges consists of. */
  descriptorsOf(ranges: readonly Range[]): number {
    const { encoding } = this.#parts;
    if (encoding.descriptors !== undefined) return encoding.descriptors(ranges).length;
    return Math.max(1, Math.ceil(encoding.sizeOf(ranges) / DESCRIPTOR_BYTES_MAX));
  }

  /** Whether the range can be said in the encoding. */
  accepts(range: Range): boolean {
    return this.#parts.encoding.error(range) === undefined;
  }

  /** Descriptors of a queue that are free now. */
  room(queue?: string): number {
    return this.#queue(queue).room;
  }

  /** Takes the answers of a queue whose driver has no interrupt handler. */
  poll(queue?: string): void {
    this.#queue(queue).poll();
  }

  /** The device polls a queue from now on, or no more. */
  devicePolls(queue: string, polls: boolean): void {
    this.#queue(queue).devicePolls(polls);
  }

  /** An access to the configuration space: an exit that the VMM itself handles. */
  *config(): Task {
    const { sim, costs, guest } = this.#parts;
    sim.trace.write(Event.exit, NONE, NONE, NONE, NONE, NONE, NONE, costs.configNs, guest, NONE);
    yield costs.configNs;
  }

  /** Sends one message and waits for its answer; see {@link PostingLink.send}. */
  *send(action: HostAction, ranges: readonly Range[], prepareNs: number, options: SendOptions = {}): Task<boolean> {
    const posted = yield* this.post(action, ranges, prepareNs, options);
    if (posted === undefined) return false;
    yield* this.wait(posted);
    return true;
  }

  /** Hands one message over; see {@link PostingLink.post}. */
  *post(
    action: HostAction,
    ranges: readonly Range[],
    prepareNs: number,
    { queue, busyWait: wished = false, payloadBytes, taken }: SendOptions = {},
  ): Task<Posted | undefined> {
    if (this.#closing) return undefined;
    const { sim, encoding, costs, guest, ack = "policy" } = this.#parts;
    const transport = this.#queue(queue);
    const busyWait = ack === "policy" || !transport.interrupts ? wished : ack === "busy-wait";
    const flight = new Flight(++this.#messages, busyWait);
    this.inFlight++;
    const bytes = payloadBytes ?? encoding.sizeOf(ranges);
    const { records, words, cacheLines } = payloadBytes === undefined ? encoding.work(ranges) : NO_WORK;
    const seen = within(this.#parts.guestPages, encoding.canonical(ranges));
    const encodeNs = Math.round(
      records * costs.encodeRecordNs + words * costs.encodeWordNs + cacheLines * costs.encodeLineNs,
    );
    // The receiver reads the same words and lines, and acts on what it sees: runs of a bitmap, not its records.
    const decodeNs = Math.round(
      seen.length * costs.recordNs + words * costs.decodeWordNs + cacheLines * costs.decodeLineNs,
    );
    this.encodeNs += encodeNs;
    this.decodeNs += decodeNs;
    this.cacheLines += cacheLines;
    const parseNs = costs.messageNs + decodeNs;
    const descriptors = payloadBytes === undefined ? this.descriptorsOf(ranges) : 1;
    const costNs = Math.round(prepareNs + encodeNs + transport.layoutNs(descriptors));
    const startNs = sim.now;
    sim.trace.write(Event.send, NONE, pagesOf(ranges), NONE, NONE, flight.id, bytes, costNs, guest, NONE);
    yield costNs;
    const answered = () => {
      flight.answered = true;
      this.inFlight--;
      sim.trace.write(Event.ack, NONE, NONE, NONE, NONE, flight.id, NONE, sim.now - startNs, guest, NONE);
      sim.notify(flight.finished);
    };
    const { id } = flight;
    yield* transport.post({ id, action, ranges: seen, bytes, descriptors, busyWait, parseNs, taken, answered });
    return flight;
  }

  /** Waits for the answer to a message that was posted. */
  *wait(posted: Posted): Task {
    const { sim } = this.#parts;
    const { finished, busyWait } = posted as Flight;
    const fromNs = sim.now;
    while (!posted.answered) yield finished;
    if (busyWait) this.busyWaitNs += sim.now - fromNs;
  }

  #queue(name: string = this.#queueDefault): Transport {
    let queue = this.#queues.get(name);
    if (queue === undefined) this.#queues.set(name, queue = this.#parts.queue(name));
    return queue;
  }
}

/** The parts of ranges that lie in the first `pages` pages. */
function within(pages: number = Infinity, ranges: Range[]): Range[] {
  if (ranges.every(({ pfn, count }) => pfn + count <= pages)) return ranges;
  return ranges.filter(({ pfn }) => pfn < pages).map(({ pfn, count }) => ({
    pfn,
    count: Math.min(count, pages - pfn),
  }));
}
