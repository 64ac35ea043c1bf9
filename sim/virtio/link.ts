/** The link: an encoding and a transport, behind the one verb that policies know. */
import type { Encoding } from "../abi/encoding.ts";
import type { Sim, Task } from "../core/sim.ts";
import { Event, NONE } from "../core/trace.ts";
import type { HostLink } from "../guest/policy.ts";
import type { Costs } from "../host/costs.ts";
import type { HostAction } from "../host/host.ts";
import { pagesOf, type Range } from "../memory/range.ts";
import type { Transport } from "./transport.ts";

/** What a link is made of. */
export interface LinkParts {
  /** Clock and trace. */
  readonly sim: Sim;
  /** The bytes of a message. */
  readonly encoding: Encoding;
  /** The way of a message. */
  readonly transport: Transport;
  /** What things cost, ns. */
  readonly costs: Costs;
  /** Index of the guest, for the rows. */
  readonly guest: number;
}

/** The link of one guest's driver. */
export class Link implements HostLink {
  /** Time the driver spent encoding, ns. */
  encodeNs = 0;
  /** Time the host spent parsing payloads, ns. */
  decodeNs = 0;
  /** Messages that were sent and not yet answered. */
  inFlight = 0;
  /** Set when the run ends: nothing is sent any more. */
  closing = false;
  #parts: LinkParts;
  #messages = 0;

  /** A link without messages. */
  constructor(parts: LinkParts) {
    this.#parts = parts;
  }

  /** Largest payload of one message in bytes. */
  get payloadMax(): number {
    return Math.min(this.#parts.encoding.messageMax, this.#parts.transport.payloadMax);
  }

  /** Payload bytes of these ranges. */
  sizeOf(ranges: readonly Range[]): number {
    return this.#parts.encoding.sizeOf(ranges);
  }

  /** Whether the range can be said in the encoding. */
  accepts(range: Range): boolean {
    return this.#parts.encoding.error(range) === undefined;
  }

  /** Sends one message and waits for its answer; see {@link HostLink.send}. */
  *send(action: HostAction, ranges: readonly Range[], prepareNs: number): Task<boolean> {
    if (this.closing) return false;
    const { sim, encoding, transport, costs, guest } = this.#parts;
    const id = ++this.#messages;
    this.inFlight++;
    const bytes = encoding.sizeOf(ranges);
    const { records, words, cacheLines } = encoding.work(ranges);
    const seen = encoding.canonical(ranges);
    const encodeNs = Math.round(
      records * costs.encodeRecordNs + words * costs.encodeWordNs + cacheLines * costs.encodeLineNs,
    );
    // The receiver reads the same words and lines, and acts on what it sees: runs of a bitmap, not its records.
    const decodeNs = Math.round(
      seen.length * costs.recordNs + words * costs.decodeWordNs + cacheLines * costs.decodeLineNs,
    );
    this.encodeNs += encodeNs;
    this.decodeNs += decodeNs;
    const parseNs = costs.messageNs + decodeNs;
    const costNs = Math.round(prepareNs + encodeNs);
    const startNs = sim.now;
    sim.trace.write(Event.send, NONE, pagesOf(ranges), NONE, NONE, id, bytes, costNs, guest, NONE);
    yield costNs;
    yield* transport.carry({ id, action, ranges: seen, bytes, parseNs });
    sim.trace.write(Event.ack, NONE, NONE, NONE, NONE, id, NONE, sim.now - startNs, guest, NONE);
    this.inFlight--;
    return true;
  }
}
