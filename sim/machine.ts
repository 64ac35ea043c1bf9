/**
 * The assembly: wires one scenario into guests, policies, links and a host, runs it, and ends it.
 *
 * It runs in slices, so that a command line can show progress and react to signals; the rows do not depend on the slices.
 */
import { CapacityError } from "./core/capacity_error.ts";
import { Fingerprint } from "./core/fingerprint.ts";
import { PRIORITY_FIRST, type RunEnd, Sim, type Task } from "./core/sim.ts";
import { Summary, type SummaryFigures } from "./core/summary.ts";
import { Event, NONE, Trace, type TraceReader } from "./core/trace.ts";
import { type FragmentationFigures, fragmentationOf } from "./guest/fragmentation.ts";
import type { Future } from "./guest/future.ts";
import { GuestRuntime } from "./guest_runtime.ts";
import { HostMemory } from "./host/backing.ts";
import { costsOf } from "./host/costs.ts";
import { type Sample, sampleGuest } from "./samples.ts";
import type { Scenario } from "./scenario.ts";

/** How long after its workload a run without `until` waits for the policy, ns. */
const IDLE_MAX_NS = 60e9;

/** After so many samples the time between them doubles, so that a long run does not drown in them. */
const SAMPLES_STEP = 100_000;

/** What a machine is made of, beside its scenario. */
export interface MachineParts {
  /** The scenario of one run. */
  readonly scenario: Scenario;
  /** Replication, from 0. */
  readonly rep: number;
  /** The decompressed bytes of a file that a workload named. */
  readonly file: (path: string) => Uint8Array;
  /** Readers of the trace, beside fingerprint and summary; asked for when the run begins, not when it is built. */
  readonly readers?: (guestPages: readonly number[]) => readonly TraceReader[];
  /** Takes the samples. */
  readonly onSample?: (sample: Sample) => void;
  /** Whether the rows that checkers need are written. */
  readonly checked?: boolean;
  /** What a rehearsal of the run knows of a guest, for policies that need it; see sim/rehearsal.ts. */
  readonly future?: (guest: number) => Future;
  /** The most events, and the most rows, of the run. */
  readonly eventsMax?: number;
}

/** Counters of all guests together that no row carries. */
export interface CounterFigures {
  /** List nodes visited. */
  readonly walkVisits: number;
  /** Peak of buffers and tracking structures of one guest, bytes. */
  readonly metadataPeakBytes: number;
  /** Time spent encoding, ns. */
  readonly encodeNs: number;
  /** Time spent parsing, ns. */
  readonly decodeNs: number;
  /** Time the driver held zone locks, ns. */
  readonly zoneLockNs: number;
  /** Longest time it held one, ns. */
  readonly zoneLockMaxNs: number;
  /** Messages sent because the one before was full. */
  readonly overflows: number;
  /** Blocks that the encoding cannot say. */
  readonly unencodable: number;
  /** Frees skipped because their allocation had failed. */
  readonly skippedFrees: number;
  /** Frees of what the guests had dropped before. */
  readonly droppedFrees: number;
  /** How often guests ran out of memory, whether there was a process to kill or not. */
  readonly oomKills: number;
  /** Requests of the host that came while the driver still answered another. */
  readonly droppedRequests: number;
  /** Time drivers span until an answer was there, ns. */
  readonly busyWaitNs: number;
  /** Cache lines of 64 bytes that payloads take. */
  readonly cacheLines: number;
  /** Time that finding memory slots took in faults and discards, ns; undefined without `host.memslots`. */
  readonly memslotLookupNs: number | undefined;
  /** Pages on per-CPU lists at the end. */
  readonly perCpuPages: number;
  /** How fragmented the guests' memory is at the end. */
  readonly fragmentation: FragmentationFigures;
  /** Counters of the policies' own, by name. */
  readonly policy: Readonly<Record<string, number>>;
}

/** The result of a run. */
export interface MachineResult {
  /** 16 hexadecimal digits over all rows. */
  readonly fingerprint: string;
  /** Figures that rows carry. */
  readonly figures: SummaryFigures;
  /** Figures from counters. */
  readonly counters: CounterFigures;
  /** Why the run ended early (event limit, host out of memory), or undefined. */
  readonly finding: string | undefined;
}

/** Built: nothing was written yet. Draining: the workloads have ended, the policies have not. Closing: nothing starts any more. */
type Phase = "built" | "running" | "draining" | "closing" | "done";

/** One run. */
export class Machine {
  /** The engine. */
  readonly sim: Sim;
  /** The guests. */
  readonly guests: readonly GuestRuntime[];
  #parts: MachineParts;
  #fingerprint = new Fingerprint();
  #summary: Summary;
  #phase: Phase = "built";
  #finding: string | undefined;
  #sampledAtNs = -1;
  /** When the next sample is due, ns; Infinity when none is wanted. */
  #nextSampleNs = Infinity;
  #sampleNs: number;
  #samples = 0;

  /** Builds a run. Throws InputError when the parts of the scenario do not fit. */
  constructor(parts: MachineParts) {
    this.#parts = parts;
    const { scenario, rep, file } = parts;
    this.#sampleNs = scenario.output.sample;
    this.sim = new Sim(new Trace([], parts.checked ?? false));
    const memory = new HostMemory(scenario.host.memory, () => this.sim.halt("the host is out of memory"));
    const costs = costsOf(scenario.costs);
    const shared = { sim: this.sim, scenario, rep, memory, costs, file, future: parts.future };
    this.guests = scenario.guests.map((spec, index) => new GuestRuntime(shared, spec, index));
    this.#summary = new Summary(this.guests.map(({ pages }) => pages));
  }

  /** Rows that the run will write, roughly. */
  get estimatedRows(): number {
    return this.guests.reduce((sum, { workload }) => sum + workload.estimatedRows, 0);
  }

  /** When the run ends at the latest, ns, as far as that is known. */
  get endEstimateNs(): number {
    const { untilNs } = this.#parts.scenario;
    return Math.min(untilNs, ...this.guests.map(({ workload }) => workload.durationNs));
  }

  /** Runs at most `eventsMax` events; true when the run has ended. */
  advance(eventsMax: number): boolean {
    const { sim } = this;
    if (this.#phase === "built") this.#begin();
    const limit = this.#parts.eventsMax ?? Infinity;
    let left = eventsMax;
    while (this.#phase !== "done" && left > 0) {
      if (this.#phase === "closing" && this.guests.every(({ quiet }) => quiet)) {
        this.#end();
        break;
      }
      if (this.#phase === "draining" && this.guests.every(({ idle }) => idle)) {
        this.#close();
        continue;
      }
      const before = sim.executed;
      // Samples are no events and the rows of checkers do not count: a run ends at the same event whatever is observed.
      if (Math.max(before, sim.trace.counted) >= limit) {
        this.#stop(`the limit of ${limit} events was reached ${sim.where()}`);
        break;
      }
      // Where any event may be the last, each is looked at.
      const slice = this.#phase === "running" ? Math.min(left, 4096, limit - before) : 1;
      const end = this.#run(slice);
      left -= Math.max(1, sim.executed - before);
      if (end === "halted") this.#stop(`${sim.haltReason} ${sim.where()}`);
      else if (end === "done") this.#ranDry();
      else if (end === "until") this.#sampleNow();
    }
    return this.#phase === "done";
  }

  /** Runs at most so many events up to the next sample; a limit of the models ends the run. */
  #run(eventsMax: number): RunEnd {
    const { sim } = this;
    try {
      return sim.run(this.#phase === "closing" ? Infinity : this.#nextSampleNs, eventsMax);
    } catch (error) {
      if (!(error instanceof CapacityError)) throw error;
      sim.halt(error.message);
      return "halted";
    }
  }

  /** Asks for the readers, and writes the start state to them. */
  #begin(): void {
    const { trace } = this.sim;
    const { readers, eventsMax, onSample } = this.#parts;
    this.#phase = "running";
    const guestPages = this.guests.map(({ pages }) => pages);
    trace.readTo([this.#fingerprint, this.#summary, ...(readers?.(guestPages) ?? [])]);
    trace.watchLimit(eventsMax ?? Infinity, () => this.sim.pause());
    for (const guest of this.guests) guest.writeStart();
    this.#scheduleEnd();
    if (onSample !== undefined) this.#nextSampleNs = 0;
  }

  /** Runs to the end. */
  runToEnd(): MachineResult {
    while (!this.advance(1e6));
    return this.result();
  }

  /** The result of a run that has ended. */
  result(): MachineResult {
    return {
      fingerprint: this.#fingerprint.hex,
      figures: this.#summary.result(),
      counters: this.#counters(),
      finding: this.#finding ?? this.#outOfMemory(),
    };
  }

  /** A guest in which an allocation failed as there was nobody to kill goes on, but that is found. */
  #outOfMemory(): string | undefined {
    const poor = this.guests.find(({ guest }) => guest.oom.failures > 0);
    if (poor === undefined) return undefined;
    const { index, guest: { oom: { failures } } } = poor;
    return `guest ${index} ran out of memory: ${failures} allocation${failures > 1 ? "s" : ""} failed`;
  }

  #counters(): CounterFigures {
    const of = (value: (guest: GuestRuntime) => number) => this.guests.map(value);
    const sum = (value: (guest: GuestRuntime) => number) => of(value).reduce((a, b) => a + b, 0);
    return {
      walkVisits: sum(({ driver }) => driver.counters.walkVisits),
      metadataPeakBytes: Math.max(...of(({ driver }) => driver.counters.metadataPeakBytes)),
      encodeNs: sum(({ link }) => link.encodeNs),
      decodeNs: sum(({ link }) => link.decodeNs),
      zoneLockNs: Math.round(sum(({ driver }) => driver.counters.zoneLockNs)),
      zoneLockMaxNs: Math.round(Math.max(...of(({ driver }) => driver.counters.zoneLockMaxNs))),
      overflows: sum(({ driver }) => driver.counters.overflows),
      unencodable: sum(({ driver }) => driver.counters.unencodable),
      skippedFrees: sum(({ guest }) => guest.skippedFrees),
      droppedFrees: sum(({ guest }) => guest.droppedFrees),
      oomKills: sum(({ guest }) => guest.oom.kills + guest.oom.failures),
      droppedRequests: sum(({ driver }) => driver.counters.droppedRequests),
      busyWaitNs: sum(({ link }) => link.busyWaitNs),
      cacheLines: sum(({ link }) => link.cacheLines),
      memslotLookupNs: this.#memslotLookupNs(),
      perCpuPages: sum(({ guest }) => guest.perCpuPages),
      fragmentation: fragmentationOf(this.guests.flatMap(({ guest }) => guest.zones)),
      policy: this.#policyCounters(),
    };
  }

  #memslotLookupNs(): number | undefined {
    if (this.#parts.scenario.host.memslots === undefined) return undefined;
    return Math.round(this.guests.reduce((sum, { backing }) => sum + (backing.memslotLookupNs ?? 0), 0));
  }

  #policyCounters(): Record<string, number> {
    const sums: Record<string, number> = {};
    for (const { policy } of this.guests) {
      for (const [name, value] of Object.entries(policy.counters?.() ?? {})) sums[name] = (sums[name] ?? 0) + value;
    }
    return sums;
  }

  /**
   * A run ends at `until`, before anything else of that instant, or when its workloads have ended and its policies are idle, at
   * most 60 s later.
   */
  #scheduleEnd(): void {
    const { untilNs } = this.#parts.scenario;
    if (untilNs === Infinity) this.sim.spawn(this.#awaitEnd());
    else this.sim.at(untilNs, this.sim.register("until", () => this.#close()), 0, 0, PRIORITY_FIRST);
  }

  *#awaitEnd(): Task {
    const { sim, guests } = this;
    for (const guest of guests) {
      const { startNs } = this.#parts.scenario.guests[guest.index];
      // A guest that has not started has no stream running yet.
      if (startNs >= sim.now) yield startNs - sim.now;
      yield 0;
      if (guest.vcpus.running > 0) yield guest.vcpus.finished;
    }
    this.#phase = "draining";
    sim.pause();
    yield IDLE_MAX_NS;
    this.#close();
  }

  #sampleNow(): void {
    this.#sample();
    if (++this.#samples % SAMPLES_STEP === 0) this.#sampleNs *= 2;
    this.#nextSampleNs += this.#sampleNs;
  }

  #sample(): void {
    if (this.#sampledAtNs === this.sim.now) return;
    this.#sampledAtNs = this.sim.now;
    for (const { guest, backing, presentPages } of this.guests) {
      this.#parts.onSample?.(sampleGuest(this.sim.now, guest, backing, presentPages));
    }
  }

  /** No event is left: the end of a run, unless a message never comes back. */
  #ranDry(): void {
    const waiting = this.guests.reduce((sum, { vcpus }) => sum + vcpus.running, 0);
    if (waiting > 0 && this.#phase !== "closing") {
      this.#stop(`${waiting} CPUs wait for memory that never comes back ${this.sim.where()}`);
    } else if (this.#phase !== "closing") this.#close();
    else if (!this.guests.every(({ quiet }) => quiet)) {
      this.#stop(`messages travel but nothing can happen ${this.sim.where()}`);
    }
  }

  #close(): void {
    if (this.#phase === "closing" || this.#phase === "done") return;
    this.#phase = "closing";
    this.sim.pause();
    for (const guest of this.guests) guest.close();
  }

  #stop(finding: string): void {
    this.#finding = finding;
    this.#end();
  }

  #end(): void {
    this.#phase = "done";
    this.#sample();
    this.sim.trace.write(Event.end, NONE, NONE, NONE, NONE, NONE, NONE, 0, NONE, NONE);
    this.sim.trace.flush();
  }
}
