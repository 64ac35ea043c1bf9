/**
 * The zones of a generated guest with every figure that a kernel calculates at boot: sizes, watermarks, reserves,
 * per-CPU lists.
 *
 * Everything is plain data. layout.ts makes allocators of it.
 */
import { InputError } from "../core/options.ts";
import { PAGE_SIZE, pagesOf, type Range } from "../memory/range.ts";
import { freedLaterPages, withoutKernel, withoutTop } from "./boot_release.ts";
import type { LayoutOptions } from "./layout_options.ts";
import { memoryMap, type ZoneMap, ZoneType } from "./memory_map.ts";
import { batchOf, highMaxOf, highOf } from "./pcp.ts";
import { intersect } from "./range_sets.ts";
import { lowmemReserves, type Watermarks, watermarksOf } from "./watermarks.ts";
import { LOCAL_DISTANCE, nodeOrders, REMOTE_DISTANCE, zonelistOf } from "./zonelist.ts";

/** What the plan depends on. */
export interface PlanOptions extends LayoutOptions {
  /** Virtual CPUs. */
  readonly vcpus: number;
  /** Whether transparent huge pages raise the watermarks. */
  readonly thp: boolean;
  /** Kernel generation. */
  readonly kernel: string;
}

/** The per-CPU lists of a zone, the same for each CPU, in pages. */
export interface PagesetSize {
  /** One ordinary refill or drain. */
  readonly batch: number;
  /** 6.1: what may be kept (`high`); 6.12: the least that this is lowered to (`high_min`). */
  readonly high: number;
  /** 6.12: the most that it is raised to (`high_max`). */
  readonly highMax: number;
}

/** A zone, ready to be made. */
export interface ZonePlan extends ZoneMap {
  /** Index in the guest's list of zones. */
  readonly index: number;
  /** Pages that the allocator gets, ascending; what is present and not here is the kernel's own. */
  readonly free: readonly Range[];
  /** Their number. */
  readonly managedPages: number;
  /** The marks. */
  readonly watermarks: Watermarks;
  /**
   * Pages held back from an allocation, by the highest type of zone that it could use; 5 figures, as in
   * /proc/zoneinfo.
   */
  readonly lowmemReserve: readonly number[];
  /** Its per-CPU lists. */
  readonly pageset: PagesetSize;
}

/** The zones of a guest, and in which order its nodes use them. */
export interface MachinePlan {
  /** The zones by node and, in a node, by address; so all of them ascend. */
  readonly zones: readonly ZonePlan[];
  /** The node of each virtual CPU. */
  readonly cpuNodes: readonly number[];
  /**
   * For each node and highest type of zone the indices of the zones in the order of use, `zonelists[node][highest]`.
   */
  readonly zonelists: readonly (readonly (readonly number[])[])[];
}

/** Transparent huge pages are off by default below 512 MiB of managed pages (mm/huge_memory.c `hugepage_init`). */
const THP_PAGES_MIN = 512 * 256;

/**
 * What a kernel keeps of memory when `reserved` is none and yet it must be known whether huge pages are on: 1/64 for
 * the memmap, and about 15,000 pages of kernel and initramfs (six recorded boots: 14,200 to 16,200).
 */
const KEPT_PAGES = 15_000;

/** The largest zone that an allocator holds, in pages from its first to its last. */
const SPAN_MAX = 2 ** 31 - 2048;

/**
 * Plans a machine of `memoryBytes`. Throws {@link InputError} whose path begins below `machine`.
 *
 * ```ts
 * import { planMachine } from "./machine_plan.ts";
 * const { zones } = planMachine(2 ** 30, {
 *   zones: { layout: "q35" }, holes: [], numa: [], reserved: "auto", vcpus: 1, thp: true, kernel: "6.1",
 * });
 * if (zones[1].managedPages !== 241_591 || zones[1].watermarks.low !== 13_856) throw new Error("as recorded");
 * ```
 */
export function planMachine(memoryBytes: number, options: PlanOptions): MachinePlan {
  const nodes = nodesOf(memoryBytes, options);
  const cpuNodes = cpuNodesOf(options, nodes.length);
  const nodeCpus = nodes.map((_, node) => cpuNodes.filter((one) => one === node).length);
  const { layout, movable, kernelcore } = options.zones;
  const maps = memoryMap({
    pages: memoryBytes / PAGE_SIZE,
    layout,
    holes: options.holes.map(({ at, size }) => ({ pfn: at / PAGE_SIZE, count: size / PAGE_SIZE })),
    nodes,
    kernelcorePages: kernelcore === undefined ? undefined : kernelcore / PAGE_SIZE,
    movablecorePages: movable === undefined ? undefined : movable / PAGE_SIZE,
  });
  const wide = maps.find(({ spannedPages }) => spannedPages > SPAN_MAX);
  if (wide !== undefined) {
    throw new InputError(
      ["holes"],
      `zone ${wide.name} spans ${wide.spannedPages} pages, more than the ${SPAN_MAX} it may`,
    );
  }
  const free = freeRanges(maps, options, nodeCpus);
  const zones = figures(maps, free, options, nodeCpus);
  const orders = nodeOrders(distancesOf(options), nodeCpus.map((cpus) => cpus > 0));
  const types = Object.values(ZoneType);
  const zonelists = orders.map((order) => types.map((highest) => zonelistOf(zones, order, highest)));
  return { zones, cpuNodes, zonelists };
}

/** Pages of each node. */
function nodesOf(memoryBytes: number, { numa }: LayoutOptions): number[] {
  if (numa.length === 0) return [memoryBytes / PAGE_SIZE];
  const bytes = numa.reduce((sum, { memory }) => sum + memory, 0);
  if (bytes !== memoryBytes) {
    throw new InputError(["numa"], `the nodes have ${bytes} bytes together, the machine has ${memoryBytes}`);
  }
  return numa.map(({ memory }) => memory / PAGE_SIZE);
}

/** The node of each CPU: as told, in blocks, else dealt out in turn as QEMU does with a socket for each CPU. */
function cpuNodesOf({ numa, vcpus }: PlanOptions, nodes: number): number[] {
  if (numa.length === 0 || numa[0].vcpus === undefined) return Array.from({ length: vcpus }, (_, cpu) => cpu % nodes);
  const cpuNodes = numa.flatMap((one, node) => new Array<number>(one.vcpus ?? 0).fill(node));
  if (cpuNodes.length !== vcpus) {
    throw new InputError(["numa"], `the nodes have ${cpuNodes.length} vcpus together, the machine has ${vcpus}`);
  }
  return cpuNodes;
}

function distancesOf({ numa }: LayoutOptions): number[][] {
  const count = Math.max(1, numa.length);
  return Array.from({ length: count }, (_, node) => {
    const even = Array.from({ length: count }, (_, other) => other === node ? LOCAL_DISTANCE : REMOTE_DISTANCE);
    return [...numa[node]?.distances ?? even];
  });
}

/** What the allocator gets, over all zones. */
function freeRanges(maps: readonly ZoneMap[], options: PlanOptions, nodeCpus: readonly number[]): Range[] {
  const present = maps.flatMap((zone) => zone.present);
  if (options.reserved === "none") return present;
  if (options.reserved !== "auto") return withoutTop(present, Math.ceil(options.reserved / PAGE_SIZE));
  const nodes = nodeCpus.map((_, node) => maps.filter((zone) => zone.node === node).flatMap((zone) => zone.present));
  return withoutKernel({ kernel: options.kernel, nodes, nodeCpus });
}

function figures(
  maps: readonly ZoneMap[],
  free: readonly Range[],
  options: PlanOptions,
  nodeCpus: readonly number[],
): ZonePlan[] {
  const parts = maps.map(({ startPfn, spannedPages }) => intersect(free, startPfn, startPfn + spannedPages));
  const managed = parts.map(pagesOf);
  const early = managed.slice();
  if (options.reserved === "auto" && options.minFreeKbytes === undefined) {
    const first = maps.findIndex(({ type }) => type === ZoneType.dma32);
    if (first >= 0) early[first] = Math.max(0, early[first] - freedLaterPages(options.kernel));
  }
  const sizes = maps.map(({ type }, index) => ({ managedPages: early[index], movable: type === ZoneType.movable }));
  const marks = watermarksOf(sizes, usesHugePages(options, maps, managed), {
    minFreeKbytes: options.minFreeKbytes,
    movableShares: options.kernel === "6.1",
  });
  return maps.map((zone, index) => ({
    ...zone,
    index,
    free: parts[index],
    managedPages: managed[index],
    watermarks: marks[index],
    lowmemReserve: lowmemReserves(typesOf(maps, early, zone.node))[zone.type],
    pageset: pagesetOf(early[index], marks[index].low, nodeCpus[zone.node] || options.vcpus),
  }));
}

function usesHugePages({ thp, reserved }: PlanOptions, maps: readonly ZoneMap[], managed: readonly number[]): boolean {
  const pages = managed.reduce((sum, count) => sum + count, 0);
  if (!thp || reserved !== "none") return thp && pages >= THP_PAGES_MIN;
  const present = pagesOf(maps.flatMap((zone) => zone.present));
  return present - present / 64 - KEPT_PAGES >= THP_PAGES_MIN;
}

/** Managed pages of a node by type of zone. */
function typesOf(maps: readonly ZoneMap[], managed: readonly number[], node: number): number[] {
  const pages = Object.values(ZoneType).map(() => 0);
  maps.forEach((zone, index) => {
    if (zone.node === node) pages[zone.type] = managed[index];
  });
  return pages;
}

/**
 * The per-CPU lists of a zone (`zone_set_pageset_high_and_batch`); CPUs are those of the node, or all when it has
 * none.
 */
export function pagesetOf(managedPages: number, lowPages: number, cpus: number): PagesetSize {
  const batch = batchOf(managedPages);
  const high = highOf(lowPages, cpus, batch);
  return { batch, high, highMax: Math.max(high, highMaxOf(managedPages, cpus, batch)) };
}
