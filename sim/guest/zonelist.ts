/** In which order a node's allocations look at the zones (mm/page_alloc.c `build_zonelists`). */

/** Distance of a node to itself, and to another when nothing is said (LOCAL_DISTANCE, REMOTE_DISTANCE). */
export const LOCAL_DISTANCE = 10;
/** See {@link LOCAL_DISTANCE}. */
export const REMOTE_DISTANCE = 20;

/** Weight of a distance against the load of a node (MAX_NUMNODES with NODES_SHIFT 10). */
const NODES_MAX = 1024;

/** What a zonelist needs to know of a zone. */
export interface ListedZone {
  /** NUMA node. */
  readonly node: number;
  /** Type: 0 DMA, 1 DMA32, 2 Normal, 3 Movable. */
  readonly type: number;
}

/**
 * For each node all nodes, nearest first (`find_next_best_node`): the next higher number goes before a lower one, a
 * node without CPUs before one with CPUs, and the first of a group at one distance is not the first of the next node's
 * group again.
 */
export function nodeOrders(distances: readonly (readonly number[])[], hasCpus: readonly boolean[]): number[][] {
  const load = distances.map(() => 0);
  return distances.map((from, local) => {
    const order = [local];
    const left = new Set(distances.keys());
    left.delete(local);
    while (left.size > 0) {
      let best = -1;
      let least = Infinity;
      for (const node of left) {
        const penalty = (node < local ? 1 : 0) + (hasCpus[node] ? 1 : 0);
        const value = (from[node] + penalty) * NODES_MAX + load[node];
        if (value < least) [best, least] = [node, value];
      }
      if (from[best] !== from[order[order.length - 1]]) load[best]++;
      order.push(best);
      left.delete(best);
    }
    return order;
  });
}

/**
 * The indices of the zones in the order in which an allocation tries them: of each node the highest type first
 * (`build_zonerefs_node`), none above `highest`, which is 3 for movable user pages and 2 for the kernel's.
 *
 * ```ts
 * import { zonelistOf } from "./zonelist.ts";
 * const zones = [{ node: 0, type: 0 }, { node: 0, type: 1 }, { node: 1, type: 2 }];
 * if (zonelistOf(zones, [1, 0], 3).join() !== "2,1,0") throw new Error("its own node comes first");
 * ```
 */
export function zonelistOf(zones: readonly ListedZone[], nodeOrder: readonly number[], highest: number): number[] {
  return nodeOrder.flatMap((node) =>
    [...zones.keys()].filter((index) => zones[index].node === node && zones[index].type <= highest)
      .sort((a, b) => zones[b].type - zones[a].type)
  );
}
