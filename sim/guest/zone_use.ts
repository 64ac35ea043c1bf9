/** In which order the zones of a guest are asked, and what must stay free in each. */
import { MOVABLE } from "./allocator.ts";
import { pagesetOf, type PagesetSize } from "./machine_plan.ts";
import { ZoneType } from "./memory_map.ts";
import type { MachineLayout } from "./layout.ts";
import type { Zone } from "./zone.ts";

/** How the zones of a guest are used. */
export interface ZoneUse {
  /** For each CPU and type of request the zones in the order in which they are asked; see `zonesFor`. */
  readonly zonelists: readonly (readonly (readonly number[])[])[];
  /** The node of each CPU. */
  readonly cpuNodes: readonly number[];
  /** The node of each zone. */
  readonly zoneNodes: readonly number[];
  /** For each zone the pages held back from requests, by the highest type of zone that they may use. */
  readonly lowmemReserve: readonly (readonly number[])[];
  /** For each zone the sizes of its per-CPU lists. */
  readonly pagesets: readonly PagesetSize[];
  /** Whether another zone is asked before types are mixed in the preferred one (`alloc_flags_nofragment`). */
  readonly noFragment: boolean;
}

/** The use of a generated machine's zones. */
export function useOfLayout({ plans, zonelists, cpuNodes }: MachineLayout): ZoneUse {
  const has = (wanted: number) => plans.some(({ type, spannedPages }) => type === wanted && spannedPages > 0);
  return {
    zonelists,
    cpuNodes,
    zoneNodes: plans.map(({ node }) => node),
    lowmemReserve: plans.map(({ lowmemReserve }) => lowmemReserve),
    pagesets: plans.map(({ pageset }) => pageset),
    noFragment: has(ZoneType.normal) && has(ZoneType.dma32),
  };
}

/** The use of zones of which no more is known: one node, the highest first. */
export function useOfZones(zones: readonly Zone[], cpus: number): ZoneUse {
  const order = zones.map((_, index) => zones.length - 1 - index);
  return {
    zonelists: [[order, order, order, order]],
    cpuNodes: [0],
    zoneNodes: zones.map(() => 0),
    lowmemReserve: zones.map(() => [0, 0, 0, 0, 0]),
    pagesets: zones.map(({ managedPages, watermarks }) => pagesetOf(managedPages, watermarks.low, cpus)),
    noFragment: false,
  };
}

/** The highest type of zone that a request may use: user pages may lie in ZONE_MOVABLE. */
export function highestFor(migratetype: number): number {
  return migratetype === MOVABLE ? ZoneType.movable : ZoneType.normal;
}

/** The zones for a request of a CPU, in the order in which they are asked. */
export function zonesFor(use: ZoneUse, cpu: number, highest: number): readonly number[] {
  const node = use.cpuNodes[cpu >= 0 && cpu < use.cpuNodes.length ? cpu : 0];
  return use.zonelists[node][highest];
}

/** The zones of some nodes for user pages, as they are asked on the first of these nodes. */
export function zonesOfNodes(use: ZoneUse, nodes: readonly number[]): readonly number[] {
  return use.zonelists[nodes[0]][ZoneType.movable].filter((zone) => nodes.includes(use.zoneNodes[zone]));
}

/**
 * Until when the lock that an operation needs is held by the driver, ns. `zone` is -1 for the usual order: the highest zone that
 * has `pages` free pages is the one that will be asked.
 */
export function lockedUntilNs(zones: readonly Zone[], zone: number, pages: number): number {
  let index = zone < 0 ? zones.length - 1 : zone;
  while (zone < 0 && index > 0 && zones[index].pages.freePages < pages) index--;
  return zones[index].lockedUntilNs;
}
