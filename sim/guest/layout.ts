/** How the zones of a guest are laid out, and how they get their first pages. */
import { InputError } from "../core/options.ts";
import { ORDER_PAGES, PAGE_SIZE } from "../memory/range.ts";
import { MOVABLE, ORDER_MAX, type PageAllocator, PAGEBLOCK_PAGES } from "./allocator.ts";
import { releaseAtBoot } from "./boot_release.ts";
import { Buddy } from "./buddy.ts";
import type { HotplugEvent } from "./hotplug_options.ts";
import { type HotplugReach, planHotplug } from "./hotplug_plan.ts";
import { SparseZone, zonelistsOf } from "./hotplug_zone.ts";
import type { Kernel } from "./kernel.ts";
import { kernel61 } from "./kernel_6_1.ts";
import { kernels } from "./kernels.ts";
import type { LayoutOptions } from "./layout_options.ts";
import { Llfree, llfreeKernel } from "./llfree.ts";
import { type MachinePlan, pagesetOf, planMachine, type PlanOptions, type ZonePlan } from "./machine_plan.ts";
import { ZONE_NAMES, ZoneType } from "./memory_map.ts";
import type { RecordedState } from "./operations.ts";
import { SparseLists } from "./sparse_lists.ts";
import { noteUnmovable } from "./start_mobility.ts";
import { Zone } from "./zone.ts";

/** A machine without holes, nodes or pages that the kernel keeps. */
const PLAIN: LayoutOptions = { zones: { layout: "auto" }, holes: [], numa: [], reserved: "none" };

/** The zones of a guest of `memoryBytes` without holes: DMA, DMA32 and Normal, all pages free and movable. */
export function layoutZones(memoryBytes: number, thp: boolean, kernel: Kernel = kernel61): Zone[] {
  const pages = Math.floor(memoryBytes / PAGE_SIZE);
  return layoutMachine(pages * PAGE_SIZE, { ...PLAIN, thp, vcpus: 1, kernel: kernel.version }).zones;
}

/** The page allocators that a generated guest may have. */
export const ALLOCATORS = ["buddy", "llfree"] as const;
/** One of them by its name. */
export type AllocatorKind = typeof ALLOCATORS[number];

/** A generated guest: its zones, beside what they were made from. */
export interface MachineLayout extends Omit<MachinePlan, "zones"> {
  /** The plan's zones with their figures, by the same index. */
  readonly plans: readonly ZonePlan[];
  /** The zones with their free lists, as after the release of boot memory. */
  readonly zones: Zone[];
  /** First page frame after all memory, also what is added later. */
  readonly endPfn: number;
}

/**
 * The zones of a machine, all that the kernel does not keep being free and movable. With `hotplug` there are Normal and
 * Movable in any case, able to grow by what is added. Throws {@link InputError} whose path begins below `machine`.
 *
 * ```ts
 * import { layoutMachine } from "./layout.ts";
 * const { zones } = layoutMachine(2 ** 32, {
 *   zones: { layout: "q35" }, holes: [], numa: [], reserved: "none", vcpus: 2, thp: true, kernel: "6.1",
 * });
 * if (zones.map(({ presentPages }) => presentPages).join() !== "3998,520160,524288") throw new Error("QEMU's q35");
 * ```
 */
export function layoutMachine(
  memoryBytes: number,
  options: PlanOptions & { readonly allocator?: AllocatorKind },
  hotplug: readonly HotplugEvent[] = [],
): MachineLayout {
  const plan = planMachine(memoryBytes, options);
  const reach = hotplug.length > 0 ? reachOf(plan, options, hotplug) : undefined;
  const plans = reach === undefined ? plan.zones : withHotplugZones(plan.zones);
  const kernel = kernels.find(({ version }) => version === options.kernel);
  if (kernel === undefined) throw new InputError(["kernel"], `kernel ${options.kernel} is not modelled`);
  const zones = plans.map((zone) => {
    if (reach !== undefined && zone.type >= ZoneType.normal) return sparseZone(zone, kernel, reach);
    if (options.allocator === "llfree") {
      const pages = new Llfree(zone.startPfn, zone.spannedPages, options.vcpus);
      return bootedZone(zone, llfreeKernel(pages, kernel.version), pages);
    }
    const allocator = new Buddy(zone.startPfn, zone.spannedPages, MOVABLE, kernel.retypesMerged);
    return bootedZone(zone, kernel, allocator);
  });
  const endPfn = Math.max(reach?.endPfn ?? 0, ...zones.map((zone) => zone.endPfn));
  const zonelists = reach === undefined ? plan.zonelists : [zonelistsOf(plans)];
  return { cpuNodes: plan.cpuNodes, zonelists, plans, zones, endPfn };
}

function bootedZone(
  { index, name, present, free, managedPages, watermarks }: ZonePlan,
  kernel: Kernel,
  allocator: PageAllocator,
): Zone {
  releaseAtBoot(allocator, free);
  return new Zone({ index, name, allocator, present, managedPages, watermarks, kernel });
}

function sparseZone(
  { index, name, present, free, managedPages, watermarks }: ZonePlan,
  kernel: Kernel,
  reach: HotplugReach,
): Zone {
  const allocator = new SparseLists(reach.sections, MOVABLE, kernel.retypesMerged);
  for (const { pfn, count } of present) allocator.addRange(pfn, count);
  releaseAtBoot(allocator, free);
  const reachPfn = reach.endPfn;
  return new SparseZone({ index, name, allocator, present, managedPages, watermarks, kernel, reachPfn });
}

/**
 * Whether huge pages raise the watermarks of a machine: the marks are others without them. So it stays when memory comes, since
 * the kernel decides at boot (mm/huge_memory.c `hugepage_init`).
 */
export function hugePagesOf(memoryBytes: number, options: PlanOptions): boolean {
  const lowMarks = (thp: boolean) => {
    return planMachine(memoryBytes, { ...options, thp, minFreeKbytes: undefined }).zones.map((zone) =>
      zone.watermarks.low
    );
  };
  return options.thp && lowMarks(true).join() !== lowMarks(false).join();
}

function reachOf(plan: MachinePlan, { numa }: PlanOptions, hotplug: readonly HotplugEvent[]): HotplugReach {
  if (numa.length > 1) throw new InputError(["hotplug"], "memory comes and goes in machines with one NUMA node only");
  return planHotplug(plan.zones.flatMap(({ present }) => present), hotplug);
}

/** The zones with Normal and Movable, the missing ones without memory. */
function withHotplugZones(plans: readonly ZonePlan[]): ZonePlan[] {
  const missing = [ZoneType.normal, ZoneType.movable].filter((type) => plans.every((zone) => zone.type !== type));
  const empty = missing.map((type): ZonePlan => ({
    node: 0,
    type,
    name: ZONE_NAMES[type],
    index: 0,
    startPfn: 0,
    spannedPages: 0,
    present: [],
    free: [],
    managedPages: 0,
    watermarks: { min: 0, low: 0, high: 0 },
    lowmemReserve: [0, 0, 0, 0, 0],
    pageset: pagesetOf(0, 0, 1),
  }));
  return [...plans, ...empty].sort((a, b) => a.type - b.type).map((zone, index) => ({ ...zone, index }));
}

/**
 * The zones of a recorded state, with its free lists in order. A difference of spanned and present pages is taken for
 * the hole below 1 MiB, or for the one at the end of a zone. `machine` is the kernel generation where the state does
 * not say it. Throws {@link InputError} when free blocks overlap or do not add up.
 */
export function zonesOfState(state: RecordedState, machine: Kernel = kernel61): Zone[] {
  const kernel = kernels.find(({ version }) => version === state.kernel) ?? machine;
  const zones = state.zones.map((zone, index) => {
    const { name, startPfn, spannedPages, presentPages, managedPages, watermarks: [min, low, high] } = zone;
    const allocator = new Buddy(startPfn, spannedPages, MOVABLE, kernel.retypesMerged);
    const first = Math.floor(startPfn / PAGEBLOCK_PAGES);
    for (let block = first; block * PAGEBLOCK_PAGES < startPfn + spannedPages; block++) {
      const type = state.pageblockType(block);
      if (type >= 0) allocator.setPageblockType(block * PAGEBLOCK_PAGES, type);
    }
    const present = presentRanges(startPfn, spannedPages, presentPages, freeEnd(state, index));
    return new Zone({ index, name, allocator, present, managedPages, watermarks: { min, low, high }, kernel });
  });
  for (const { zone, order, migratetype, pfns } of state.free) {
    const { name, allocator } = zones[zone];
    fitting(name, () => {
      for (const pfn of pfns) allocator.insert(pfn, order, migratetype, true);
    });
  }
  for (const pfn of state.reported) {
    const zone = zones.find((candidate) => candidate.spans(pfn));
    const order = zone?.allocator.orderAt(pfn) ?? -1;
    if (order < 0) throw new InputError(["reported"], `reported block ${pfn} is not free`);
    zone!.allocator.setReported(pfn, order);
  }
  for (const { name, allocator } of zones) fitting(name, () => allocator.validate());
  for (const zone of zones) noteUnmovable(zone);
  return zones;
}

/** What the allocator refuses about the lists of a recorded zone is a fault of the input. */
function fitting(name: string, act: () => void): void {
  try {
    act();
  } catch (error) {
    throw new InputError(["free"], `the free lists of zone ${name} do not fit: ${(error as Error).message}`);
  }
}

/** The legacy hole of a PC ends at 1 MiB. */
const LEGACY_HOLE_END = 256;

/**
 * A zone above 1 MiB whose pages are fewer than it spans has them at its beginning, since what a machine keeps for its
 * devices is the end of the first 4 GiB; unless something is free beyond.
 */
function presentRanges(
  pfn: number,
  spanned: number,
  present: number,
  lastFree: number,
): { pfn: number; count: number }[] {
  const hole = spanned - present;
  const holeStart = LEGACY_HOLE_END - hole;
  if (hole > 0 && pfn >= LEGACY_HOLE_END && lastFree <= pfn + present) return [{ pfn, count: present }];
  if (hole === 0 || holeStart <= pfn || pfn + spanned <= LEGACY_HOLE_END) return [{ pfn, count: spanned }];
  return [{ pfn, count: holeStart - pfn }, { pfn: LEGACY_HOLE_END, count: pfn + spanned - LEGACY_HOLE_END }];
}

/** First page after the free blocks of a zone. */
function freeEnd(state: RecordedState, zone: number): number {
  let end = 0;
  for (const list of state.free) {
    if (list.zone !== zone) continue;
    for (const pfn of list.pfns) end = Math.max(end, pfn + ORDER_PAGES[list.order]);
  }
  return end;
}

/**
 * Takes a free block that contains these pages off its list and puts back what is left of it; false when it is not
 * free.
 */
export function carve(zone: Zone, pfn: number, order: number): boolean {
  const { allocator } = zone;
  for (let outer = order; outer <= ORDER_MAX; outer++) {
    const head = Math.floor(pfn / ORDER_PAGES[outer]) * ORDER_PAGES[outer];
    if (allocator.orderAt(head) !== outer) continue;
    const list = allocator.listOf(head, outer);
    allocator.remove(head, outer);
    let start = head;
    for (let current = outer - 1; current >= order; current--) {
      const upper = start + ORDER_PAGES[current];
      const inUpper = pfn >= upper;
      allocator.insert(inUpper ? start : upper, current, list, false);
      if (inUpper) start = upper;
    }
    return true;
  }
  return false;
}
