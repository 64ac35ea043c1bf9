/** The parts of a guest, made from its scenario: memory, workload, zones, how it takes pages. */
import { InputError } from "./core/options.ts";
import { type Random, randomStream } from "./core/random.ts";
import type { BackgroundParts } from "./guest/background.ts";
import { COMPACTION_DEFAULT, KHUGEPAGED_DEFAULT } from "./guest/compaction_options.ts";
import { kernels } from "./guest/kernels.ts";
import { carve, layoutMachine, zonesOfState } from "./guest/layout.ts";
import { layoutChanged, numaBytes } from "./guest/layout_options.ts";
import type { Workload, WorkloadContext } from "./guest/operations.ts";
import type { PageSourceOptions } from "./guest/page_source.ts";
import { useOfLayout, useOfZones, type ZoneUse } from "./guest/zone_use.ts";
import type { Zone } from "./guest/zone.ts";
import { ORDER_PAGES } from "./memory/range.ts";
import type { GuestSpec, Scenario, WorkloadSpec } from "./scenario.ts";
import type { Link } from "./virtio/link.ts";

/** Memory of a guest when neither scenario nor workload says. */
const MEMORY_DEFAULT = 4 * 2 ** 30;

/** What a workload is made from, beside its guest. */
export interface WorkloadParts {
  /** The scenario. */
  readonly scenario: Scenario;
  /** Replication, from 0. */
  readonly rep: number;
  /** The decompressed bytes of a file that a workload named. */
  readonly file: (path: string) => Uint8Array;
}

/**
 * How the guest takes pages. What a recording asked of the zones has passed the per-CPU lists and the watermarks of the
 * recorded kernel already.
 */
export function pageSourceOptions(
  { machine, path }: GuestSpec,
  { zoneRequests = false, living = false }: Workload,
): PageSourceOptions {
  const { perCpu, keepMarks, housekeeping, vcpus } = machine;
  if (zoneRequests && perCpu === true) {
    const message = "the recording has what the zones were asked, below the per-CPU lists; leave it at auto or false";
    throw new InputError([...path, "perCpu"], message);
  }
  const on = (option: boolean | "auto") => option === "auto" ? !zoneRequests : option;
  if (zoneRequests && housekeeping === true) {
    const message = "the recording has what the zones were asked, reclaim included; leave it at auto or false";
    throw new InputError([...path, "housekeeping"], message);
  }
  const reclaims = housekeeping === "auto" ? living : housekeeping;
  // The trees that LLFree reserves for each CPU take the place of the lists.
  const lists = machine.allocator === "buddy" && on(perCpu);
  return { perCpu: lists ? vcpus : 0, keepMarks: on(keepMarks), reclaims };
}

/**
 * What the guest does about its fragmentation. Without free lists there are no scanners, and without huge pages there is nothing
 * to put together (`khugepaged_pmd_enabled`). Throws {@link InputError} when it is told to do so nevertheless.
 */
export function backgroundOptions(
  { machine, path }: GuestSpec,
  { reclaims = false }: PageSourceOptions,
): Pick<BackgroundParts, "compaction" | "khugepaged"> {
  const buddy = machine.allocator === "buddy";
  const { compaction = buddy && reclaims ? COMPACTION_DEFAULT : false } = machine;
  const { khugepaged = reclaims && machine.thp ? KHUGEPAGED_DEFAULT : false } = machine;
  if (compaction !== false && !buddy) {
    throw new InputError(
      [...path, "compaction"],
      `compaction takes blocks off free lists, and ${machine.allocator} has none`,
    );
  }
  if (khugepaged !== false && !machine.thp) {
    throw new InputError([...path, "khugepaged"], "khugepaged makes huge pages, and machine.thp is false");
  }
  return { compaction, khugepaged };
}

/** LLFree has neither free lists nor recorded states. Throws {@link InputError} for what needs them. */
export function refuseWithoutLists({ machine, policy, path }: GuestSpec, workload: Workload): void {
  if (machine.allocator === "buddy") return;
  const refuse = (message: string): never => {
    throw new InputError([...path, "allocator"], message);
  };
  const { name, needs } = policy.plugin;
  if (needs.includes("lists")) refuse(`${name} walks free lists, and ${machine.allocator} has none`);
  if (machine.perCpu === true) {
    refuse(`${machine.allocator} has no per-CPU lists; leave machine.perCpu at auto or false`);
  }
  if (machine.hotplug.length > 0) {
    refuse(`memory comes and goes with the buddy allocator only, not with ${machine.allocator}`);
  }
  if (workload.state !== undefined || workload.zoneRequests === true || isPlaced(workload)) {
    refuse(`the recording is one of the buddy allocator; it cannot run with ${machine.allocator}`);
  }
}

/** Whether the workload says where pages are that are in use at the start. */
function isPlaced({ start }: Workload): boolean {
  for (let n = 0; n < start.count; n++) if (start.pfn(n) >= 0) return true;
  return false;
}

/** A message of the encoding, however short, must fit into the queue. Throws {@link InputError} when it does not. */
export function refuseShortQueue({ encoding, transport }: Scenario, link: Link): void {
  const least = encoding.entry.create(encoding.options).descriptors?.([{ pfn: 0, count: ORDER_PAGES[9] }]).length ?? 1;
  if (least <= link.descriptorsMax) return;
  const message =
    `${encoding.entry.name} needs ${least} descriptors a message, and the queue has ${link.descriptorsMax}`;
  throw new InputError(["transport", transport.size === undefined ? "preset" : "size"], message);
}

/** Memory of a guest, bytes: what its workload brings, or its machine says. Throws {@link InputError} when they differ. */
export function memoryOf(spec: GuestSpec, file: (path: string) => Uint8Array): number {
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

/** Makes the workload of a guest, and those that it is made of. Throws {@link InputError} with its place. */
export function makeWorkload(parts: WorkloadParts, spec: GuestSpec, guest: number, memoryPages: number): Workload {
  const make = (one: WorkloadSpec, name: string): Workload => {
    const context: WorkloadContext = {
      memoryPages,
      vcpus: spec.machine.vcpus,
      perCpu: spec.machine.allocator === "buddy" && spec.machine.perCpu !== false,
      random: (stream): Random => randomStream(parts.scenario.seed, parts.rep, `${name}/${stream}`),
      file: parts.file,
      child: (index, childName) => make(one.children[index], `${name}/${childName}`),
    };
    return inWorkload(one.path, () => one.plugin.create(context, one.options));
  };
  return make(spec.workload, `guest${guest}`);
}

/** The zones of a guest and their use: as recorded, or as its machine has them. */
export function zonesOf(
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
