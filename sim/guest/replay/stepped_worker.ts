/**
 * The guest's reporting worker on a clock that only moves when it is told to: a pass runs until a message is on its way, and
 * goes on when the recording says that the message was answered. No step takes time.
 */
import { randomStream } from "../../core/random.ts";
import { Signal, Sim, type Task } from "../../core/sim.ts";
import { Event, Trace, type TraceRows } from "../../core/trace.ts";
import { Worker } from "../../core/worker.ts";
import { costProfiles, type Costs, costsOf } from "../../host/costs.ts";
import type { Host } from "../../host/host.ts";
import { Judge } from "../../host/judge.ts";
import type { Range } from "../../memory/range.ts";
import { Driver } from "../driver.ts";
import { Guest } from "../guest.ts";
import type { PolicyContext } from "../plugin.ts";
import type { HintingPolicy, HostLink } from "../policy.ts";
import type { Zone } from "../zone.ts";

/** Makes the policy whose worker is replayed. */
export type MakePolicy = (context: PolicyContext) => HintingPolicy;

/** What the worker did, in order, and not yet compared. */
export interface WorkerSteps {
  /** Pages of blocks that were isolated. */
  readonly isolated: number[];
  /** Numbers of blocks in the messages that were sent. */
  readonly reported: number[];
  /** Pages of blocks that were put back. */
  readonly putBack: number[];
}

/** The worker of one guest. */
export class SteppedWorker {
  /** What it did since the arrays were emptied. */
  readonly steps: WorkerSteps = { isolated: [], reported: [], putBack: [] };
  readonly #sim: Sim;
  readonly #policy: HintingPolicy;
  readonly #zones: readonly Zone[];
  readonly #answered = new Signal();
  readonly #delayNs: number;
  #sending = false;

  /** A worker over the zones of a replay, whose passes begin `delayNs` after they are asked for. */
  constructor(zones: readonly Zone[], makePolicy: MakePolicy, delayNs: number) {
    this.#delayNs = delayNs;
    const trace = new Trace([{ read: (rows) => this.#note(rows) }]);
    const sim = new Sim(trace);
    const costs = freeOfCharge();
    const guest = new Guest({ sim, index: 0, zones, host: NO_HOST, judge: new Judge(0), costs, initOnAlloc: false });
    const driver = new Driver(sim, guest, this.#link(), costs);
    this.#sim = sim;
    this.#zones = zones;
    this.#policy = makePolicy({
      sim,
      zones,
      driver,
      worker: new Worker(sim),
      costs,
      vcpus: 1,
      maxPfn: Math.max(...zones.map(({ endPfn }) => endPfn)),
      host: NO_HOST,
      random: (name) => randomStream(1, 0, name),
    });
  }

  /** Begins a pass: runs until its first message, or to its end. */
  begin(): void {
    // Asked already when the pass before asked for another one.
    this.#policy.onFree?.(this.#zones[0], 0, 0, 0);
    this.#run(this.#delayNs);
  }

  /** The message is answered: runs until the next one, or to the end of the pass. False when none is on its way. */
  answer(): boolean {
    if (!this.#sending) return false;
    this.#sending = false;
    this.#sim.notify(this.#answered);
    this.#run(0);
    return true;
  }

  /** Whether a message is on its way. */
  get sending(): boolean {
    return this.#sending;
  }

  /** Nothing takes time but the delay of a request, so a pass, or what follows an answer, is one instant. */
  #run(delayNs: number): void {
    this.#sim.run(this.#sim.now + delayNs);
    this.#sim.trace.flush();
  }

  #link(): HostLink {
    return {
      payloadMax: Infinity,
      sizeOf: (ranges) => ranges.length,
      accepts: () => true,
      send: (_action, ranges) => this.#send(ranges),
    };
  }

  *#send(ranges: readonly Range[]): Task<boolean> {
    this.steps.reported.push(ranges.length);
    this.#sending = true;
    this.#sim.pause();
    yield this.#answered;
    return true;
  }

  #note(rows: TraceRows): void {
    for (let row = 0; row < rows.count; row++) {
      if (rows.event[row] === Event.isolate) this.steps.isolated.push(rows.pfn[row]);
      if (rows.event[row] === Event.putBack) this.steps.putBack.push(rows.pfn[row]);
    }
  }
}

/** Nothing takes time in a replay. */
function freeOfCharge(): Costs {
  const names = Object.keys(costsOf(costProfiles[0]));
  return Object.fromEntries(names.map((name) => [name, 0])) as Costs;
}

/** A host that is never asked. */
const NO_HOST: Host = {
  residentBytes: 0,
  apply: () => 0,
  touch: () => 0,
  residentOwnedPages: () => 0,
  isResident: () => false,
  residentIn: () => 0,
};
