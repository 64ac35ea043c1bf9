/** One guest of a run: its models, wired, and its start state. */
import type { Encoding } from "./abi/encoding.ts";
import { InputError } from "./core/options.ts";
import { type Random, randomStream } from "./core/random.ts";
import type { Sim } from "./core/sim.ts";
import { Worker } from "./core/worker.ts";
import { Driver } from "./guest/driver.ts";
import { Guest } from "./guest/guest.ts";
import { GuestHotplug } from "./guest/hotplug_guest.ts";
import { kernels } from "./guest/kernels.ts";
import { carve, hugePagesOf, layoutMachine, zonesOfState } from "./guest/layout.ts";
import { layoutChanged, numaBytes } from "./guest/layout_options.ts";
import type { Workload, WorkloadContext } from "./guest/operations.ts";
import type { PageSourceOptions } from "./guest/page_source.ts";
import type { HintingPolicy } from "./guest/policy.ts";
import type { Requests } from "./guest/requests.ts";
import { Vcpus } from "./guest/vcpu.ts";
import { useOfLayout, useOfZones, type ZoneUse } from "./guest/zone_use.ts";
import type { Zone } from "./guest/zone.ts";
import { writeStart } from "./guest_start.ts";
import { Backing, type HostMemory } from "./host/backing.ts";
import type { Costs } from "./host/costs.ts";
import { Judge } from "./host/judge.ts";
import { PAGE_SIZE } from "./memory/range.ts";
import type { GuestSpec, Scenario, WorkloadSpec } from "./scenario.ts";
import { Link } from "./virtio/link.ts";
import { Hypercall, type Transport, type TransportParts } from "./virtio/transport.ts";
import { Virtqueue } from "./virtio/virtqueue.ts";

/** Time between two rounds of the statistics worker, ns (sysctl_stat_interval, one second). */
const DECAY_NS = 1e9;

/** Memory of a guest when neither scenario nor workload says. */
const MEMORY_DEFAULT = 4 * 2 ** 30;

/** What every guest of a run shares. */
export interface RunParts {
  /** Clock and trace. */
  readonly sim: Sim;
  /** The scenario. */
  readonly scenario: Scenario;
  /** Replication, from 0. */
  readonly rep: number;
  /** The host's memory. */
  readonly memory: HostMemory;
  /** What things cost, ns. */
  readonly costs: Costs;
  /** The decompressed bytes of a file that a workload named. */
  readonly file: (path: string) => Uint8Array;
}

/** A guest that runs. */
export class GuestRuntime {
  /** Index of the guest. */
  readonly index: number;
  /** The guest. */
  readonly guest: Guest;
  /** What backs it. */
  readonly backing: Backing;
  /** Its virtual CPUs. */
  readonly vcpus: Vcpus;
  /** Its driver. */
  readonly driver: Driver;
  /** The driver's worker. */
  readonly worker: Worker;
  /** The driver's link. */
  readonly link: Link;
  /** Its policy. */
  readonly policy: HintingPolicy;
  /** What it runs. */
  readonly workload: Workload;
  /** Pages of its physical address space. */
  readonly pages: number;
  #parts: RunParts;
  #spec: GuestSpec;
  #judge: Judge;
  #hotplug: GuestHotplug | undefined;
  /** Page after the memory of the boot. */
  #bootEndPfn: number;
  #requests = 0;
  /** Whether its CPUs keep pages. */
  readonly #perCpu: boolean;

  /** Builds a guest. Throws {@link InputError} when workload and machine do not fit. */
  constructor(parts: RunParts, spec: GuestSpec, index: number) {
    const { sim, scenario, costs, memory } = parts;
    this.index = index;
    this.#parts = parts;
    this.#spec = spec;
    const memoryBytes = memoryOf(spec, parts.file);
    this.workload = makeWorkload(parts, spec, index, memoryBytes / PAGE_SIZE);
    const { zones, use, endPfn } = zonesOf(spec, this.workload, memoryBytes);
    this.#bootEndPfn = Math.max(memoryBytes / PAGE_SIZE, ...zones.map((zone) => zone.endPfn));
    this.pages = Math.max(this.#bootEndPfn, endPfn);
    this.#judge = new Judge(this.pages);
    const shared = { trace: sim.trace, costs, guest: index };
    const { backing: kind } = scenario.host;
    this.backing = new Backing({ ...shared, memory, judge: this.#judge, kind, pages: this.pages });
    const { initOnAlloc } = spec.machine;
    const pages = pageSourceOptions(spec, this.workload);
    this.#perCpu = pages.perCpu > 0;
    const guestParts = { sim, index, zones, host: this.backing, judge: this.#judge, costs, initOnAlloc };
    this.guest = new Guest({ ...guestParts, use, pages });
    const queue: TransportParts = { sim, host: this.backing, costs, guest: index };
    const transport: Transport = scenario.transport.kind === "hypercall"
      ? new Hypercall(queue)
      : new Virtqueue(queue, scenario.transport);
    const encoding: Encoding = scenario.encoding.entry.create(scenario.encoding.options);
    this.link = new Link({ sim, encoding, transport, costs, guest: index });
    this.driver = new Driver(sim, this.guest, this.link, costs);
    this.worker = new Worker(sim);
    const { plugin, options } = spec.policy;
    this.policy = plugin.create({ sim, zones, driver: this.driver, worker: this.worker, costs }, options);
    this.guest.setPolicy(this.policy);
    this.vcpus = new Vcpus(sim, this.guest);
    this.#hotplug = this.#makeHotplug(memoryBytes);
    sim.at(spec.startNs, sim.register("start", () => this.#start()));
  }

  /** Writes the start state: what exists, what is in use, what the host backs. */
  writeStart(): void {
    const { guest, backing, pages } = this;
    writeStart({
      trace: this.#parts.sim.trace,
      guest,
      backing,
      judge: this.#judge,
      start: this.workload.start,
      resident: this.#spec.machine.resident,
      pages,
      bootEndPfn: this.#bootEndPfn,
    });
  }

  /** Pages that exist. */
  get presentPages(): number {
    return this.guest.zones.reduce((sum, zone) => sum + zone.presentPages, 0);
  }

  /** Whether nothing runs, travels or waits to run, and no memory comes or goes any more. */
  get idle(): boolean {
    if (this.#hotplug?.done === false) return false;
    return this.vcpus.running === 0 && this.quiet && (this.policy.idle?.() ?? true);
  }

  /** Whether no message travels and the worker does nothing. */
  get quiet(): boolean {
    return this.link.inFlight === 0 && this.worker.idle;
  }

  /** No operation, pass or message starts any more; what is under way goes on to its end. */
  close(): void {
    this.vcpus.stop();
    this.worker.close();
    this.link.closing = true;
    if (this.#hotplug !== undefined) this.#hotplug.closing = true;
  }

  #makeHotplug(memoryBytes: number): GuestHotplug | undefined {
    const { sim, costs } = this.#parts;
    const { machine } = this.#spec;
    const { hotplug: events, kernel, vcpus, minFreeKbytes } = machine;
    if (events.length === 0) return undefined;
    const rules = { kernel, vcpus, minFreeKbytes, hugePages: hugePagesOf(memoryBytes, machine) };
    const { guest, backing: host } = this;
    return new GuestHotplug({ sim, guest, host, judge: this.#judge, costs, events, rules });
  }

  #start(): void {
    for (const stream of this.workload.streams) this.vcpus.start(stream);
    this.policy.start?.();
    if (this.#hotplug !== undefined) this.#parts.sim.spawn(this.#hotplug.run());
    if (this.#perCpu && this.guest.zones[0].kernel.version !== "6.1") this.#scheduleDecay();
    if (this.policy.onRequest !== undefined && this.#spec.policy.plugin.needs.includes("requests")) {
      this.#scheduleRequests((this.#spec.policy.options as { requests: Requests }).requests);
    }
  }

  /** Idle pages of per-CPU lists go back (`vmstat_update`), as long as anything else happens. */
  #scheduleDecay(): void {
    const { sim } = this.#parts;
    const kind = sim.register("vmstat", () => {
      if (this.link.closing) return;
      this.guest.decayPerCpu();
      if (sim.pending > 0) sim.after(DECAY_NS, kind);
    });
    sim.after(DECAY_NS, kind);
  }

  /** The host's requests. One that comes while the driver still answers another is not made. */
  #scheduleRequests({ every, at }: Requests): void {
    const { sim } = this.#parts;
    const startNs = sim.now;
    const kind = sim.register("request", () => {
      if (this.link.closing) return;
      if (every !== undefined) sim.after(every, kind);
      if (!this.worker.idle) return;
      const id = ++this.#requests;
      this.worker.post(() => this.policy.onRequest!({ id }));
    });
    if (every !== undefined) sim.after(every, kind);
    for (const timeNs of at ?? []) sim.at(startNs + timeNs, kind);
  }
}

/**
 * How the guest takes pages. What a recording asked of the zones has passed the per-CPU lists and the watermarks of the
 * recorded kernel already.
 */
function pageSourceOptions({ machine, path }: GuestSpec, { zoneRequests = false }: Workload): PageSourceOptions {
  const { perCpu, keepMarks, vcpus } = machine;
  if (zoneRequests && perCpu === true) {
    const message = "the recording has what the zones were asked, below the per-CPU lists; leave it at auto or false";
    throw new InputError([...path, "perCpu"], message);
  }
  const on = (option: boolean | "auto") => option === "auto" ? !zoneRequests : option;
  return { perCpu: on(perCpu) ? vcpus : 0, keepMarks: on(keepMarks) };
}

function memoryOf(spec: GuestSpec, file: (path: string) => Uint8Array): number {
  const { memory } = spec.machine;
  const { plugin, options, path } = spec.workload;
  const brought = inWorkload(path, () => plugin.memoryBytes(options, file));
  if (brought === undefined) {
    if (memory === undefined && plugin.files(options).length > 0) {
      throw new InputError([...spec.path], "a recording without snapshots needs machine.memory");
    }
    return memory ?? numaBytes(spec.machine.numa) ?? MEMORY_DEFAULT;
  }
  if (memory !== undefined && memory !== brought) {
    throw new InputError(
      [...spec.path, "memory"],
      `${memory} bytes are not the ${brought} bytes of the recorded guest`,
    );
  }
  return brought;
}

/** Runs something of a workload, so that a problem of it names its place in the scenario. */
function inWorkload<T>(path: readonly (string | number)[], run: () => T): T {
  try {
    return run();
  } catch (error) {
    if (error instanceof InputError && error.path[0] !== "file:") {
      throw new InputError([...path, ...error.path], error.message);
    }
    throw error;
  }
}

function makeWorkload(parts: RunParts, spec: GuestSpec, guest: number, memoryPages: number): Workload {
  const make = (one: WorkloadSpec, name: string): Workload => {
    const context: WorkloadContext = {
      memoryPages,
      vcpus: spec.machine.vcpus,
      perCpu: spec.machine.perCpu !== false,
      random: (stream): Random => randomStream(parts.scenario.seed, parts.rep, `${name}/${stream}`),
      file: parts.file,
      child: (index, childName) => make(one.children[index], `${name}/${childName}`),
    };
    return inWorkload(one.path, () => one.plugin.create(context, one.options));
  };
  return make(spec.workload, `guest${guest}`);
}

/** The zones of a guest and their use: as recorded, or as its machine has them. */
function zonesOf(
  spec: GuestSpec,
  workload: Workload,
  memoryBytes: number,
): { zones: Zone[]; use: ZoneUse; endPfn: number } {
  const { machine } = spec;
  if (workload.state !== undefined) {
    const changed = layoutChanged(machine);
    if (changed !== undefined) {
      throw new InputError([...spec.path, changed], "a recording with snapshots brings its own zones");
    }
    if (machine.hotplug.length > 0) {
      const message = "the zones of a recording with snapshots can neither grow nor shrink";
      throw new InputError([...spec.path, "hotplug"], message);
    }
    const kernel = kernels.find(({ version }) => version === machine.kernel)!;
    const zones = inWorkload(spec.workload.path, () => zonesOfState(workload.state!, kernel));
    return { zones, use: useOfZones(zones, machine.vcpus), endPfn: 0 };
  }
  const layout = inWorkload(spec.path, () => layoutMachine(memoryBytes, machine, machine.hotplug));
  const { zones, endPfn } = layout;
  const { start } = workload;
  for (let n = 0; n < start.count; n++) {
    const pfn = start.pfn(n);
    if (pfn < 0) continue;
    const zone = zones.find((candidate) => candidate.spans(pfn));
    if (zone === undefined || !carve(zone, pfn, start.order(n))) {
      throw new InputError(spec.workload.path, `page ${pfn} of the recording does not fit into the machine's memory`);
    }
  }
  return { zones, use: useOfLayout(layout), endPfn };
}
