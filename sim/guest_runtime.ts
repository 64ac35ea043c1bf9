/** One guest of a run: its models, wired, and its start state. */
import type { Encoding } from "./abi/encoding.ts";
import { randomStream } from "./core/random.ts";
import type { Sim } from "./core/sim.ts";
import { Worker } from "./core/worker.ts";
import { Background } from "./guest/background.ts";
import { Driver } from "./guest/driver.ts";
import type { Future } from "./guest/future.ts";
import { Guest } from "./guest/guest.ts";
import { GuestHotplug } from "./guest/hotplug_guest.ts";
import { hugePagesOf } from "./guest/layout.ts";
import type { Workload } from "./guest/operations.ts";
import type { HintingPolicy } from "./guest/policy.ts";
import type { Requests } from "./guest/requests.ts";
import { Vcpus } from "./guest/vcpu.ts";
import {
  backgroundOptions,
  makeWorkload,
  memoryOf,
  pageSourceOptions,
  refuseShortQueue,
  refuseWithoutLists,
  zonesOf,
} from "./guest_parts.ts";
import { writeStart } from "./guest_start.ts";
import { Backing, type HostMemory } from "./host/backing.ts";
import type { Costs } from "./host/costs.ts";
import { Judge } from "./host/judge.ts";
import { hostSlots } from "./host_memslots.ts";
import { PAGE_SIZE } from "./memory/range.ts";
import type { GuestSpec, Scenario } from "./scenario.ts";
import { Link } from "./virtio/link.ts";
import { queuesOf } from "./virtio/queues.ts";
import type { TransportParts } from "./virtio/transport.ts";

/** Time between two rounds of the statistics worker, ns (sysctl_stat_interval, one second). */
const DECAY_NS = 1e9;

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
  /** What a rehearsal knows of a guest; see sim/rehearsal.ts. */
  readonly future?: ((guest: number) => Future) | undefined;
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
  readonly #background: Background;
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
    refuseWithoutLists(spec, this.workload);
    const { zones, use, endPfn } = zonesOf(spec, this.workload, memoryBytes);
    this.#bootEndPfn = Math.max(memoryBytes / PAGE_SIZE, ...zones.map((zone) => zone.endPfn));
    this.pages = Math.max(this.#bootEndPfn, endPfn);
    this.#judge = new Judge(this.pages);
    const shared = { trace: sim.trace, costs, guest: index };
    const { backing: kind, inhibit, delay: delayNs, memslots } = scenario.host;
    const { initOnAlloc, initOnFree, pagePoison, vcpus } = spec.machine;
    // A reported page that is dropped would lose its poison: QEMU drops none then (virtio_balloon_handle_report).
    const inhibited = inhibit || (pagePoison && spec.policy.plugin.queue === "reporting");
    const slots = hostSlots(memslots, this.pages);
    this.backing = new Backing({ ...shared, memory, judge: this.#judge, kind, pages: this.pages, inhibited, slots });
    const pages = pageSourceOptions(spec, this.workload);
    this.#perCpu = pages.perCpu > 0;
    const thpDefrag = spec.machine.thp ? spec.machine.thpDefrag : "off";
    const guestParts = { sim, index, zones, host: this.backing, judge: this.#judge, costs };
    this.guest = new Guest({ ...guestParts, initOnAlloc, initOnFree, pagePoison, use, pages, thpDefrag });
    this.#background = new Background({ sim, guest: this.guest, costs, ...backgroundOptions(spec, pages) });
    const queue: TransportParts = { sim, host: this.backing, costs, guest: index, delayNs };
    const encoding: Encoding = scenario.encoding.entry.create(scenario.encoding.options);
    const { transport } = scenario;
    const ways = { queue: queuesOf(queue, transport), queueDefault: spec.policy.plugin.queue, ack: transport.ack };
    this.link = new Link({ sim, encoding, ...ways, costs, guest: index, guestPages: this.pages });
    refuseShortQueue(scenario, this.link);
    this.driver = new Driver(sim, this.guest, this.link, costs);
    this.worker = new Worker(sim);
    const { plugin, options } = spec.policy;
    this.policy = plugin.create({
      sim,
      zones,
      driver: this.driver,
      worker: this.worker,
      costs,
      vcpus,
      maxPfn: this.pages,
      host: this.backing,
      random: (name) => randomStream(scenario.seed, parts.rep, `guest${index}/policy/${name}`),
      future: parts.future === undefined ? undefined : () => parts.future!(index),
    }, options);
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
    this.link.close();
    this.#background.close();
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
    this.#background.start();
    if (this.#hotplug !== undefined) this.#parts.sim.spawn(this.#hotplug.run());
    if (this.#perCpu && this.guest.zones[0].kernel.version !== "6.1") this.#scheduleDecay();
    const { onRequest, onCommand } = this.policy;
    if ((onRequest ?? onCommand) !== undefined && this.#spec.policy.plugin.needs.includes("requests")) {
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

  /** The host's requests. One that comes while the driver still answers another is dropped, unless the policy takes all. */
  #scheduleRequests({ every, at }: Requests): void {
    const { sim } = this.#parts;
    const startNs = sim.now;
    const kind = sim.register("request", () => {
      if (this.link.closing) return;
      if (every !== undefined) sim.after(every, kind);
      if (this.policy.onCommand !== undefined) this.policy.onCommand({ id: ++this.#requests });
      else if (this.worker.idle) {
        const id = ++this.#requests;
        this.worker.post(() => this.policy.onRequest!({ id }));
      } else this.driver.counters.droppedRequests++;
    });
    if (every !== undefined) sim.after(every, kind);
    for (const timeNs of at ?? []) sim.at(startNs + timeNs, kind);
  }
}
