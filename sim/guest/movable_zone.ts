/** Where ZONE_MOVABLE begins on each node (mm/mm_init.c `find_zone_movable_pfns_for_nodes`; in 6.1 mm/page_alloc.c). */
import { pagesOf, type Range } from "../memory/range.ts";
import { endOf } from "./range_sets.ts";

/** ZONE_MOVABLE begins at a block of the largest order (MAX_ORDER_NR_PAGES). */
const ALIGN_PAGES = 1024;

/** How the memory is shared between the kernel's zones and ZONE_MOVABLE. */
export interface MovableOptions {
  /** Pages that all nodes together leave to the kernel at least (kernelcore=). */
  readonly kernelcorePages?: number | undefined;
  /** Pages that ZONE_MOVABLE has at least (movablecore=). */
  readonly movablecorePages?: number | undefined;
}

/** What the kernel still needs, and how far ZONE_MOVABLE has been pushed up on each node. */
interface Search {
  required: number;
  readonly starts: number[];
}

/**
 * First page of ZONE_MOVABLE of each node, Infinity where it has none. `usable` is the lowest page that it may have.
 */
export function movableStarts(
  nodes: readonly (readonly Range[])[],
  usable: number,
  options: MovableOptions,
): number[] {
  const total = nodes.reduce((sum, ranges) => sum + pagesOf(ranges), 0);
  const search: Search = { required: kernelPages(total, options), starts: nodes.map(() => 0) };
  if (search.required === 0 || search.required >= total) return nodes.map(() => Infinity);
  // What small nodes cannot give is shared by one node fewer each time.
  for (let sharing = nodes.length; sharing > 0; sharing--) {
    let share = Math.floor(search.required / sharing);
    nodes.forEach((ranges, node) => {
      if (search.required < share) share = Math.floor(search.required / sharing);
      takeFromNode(search, node, ranges, usable, share);
    });
    if (search.required <= sharing - 1) break;
  }
  return search.starts.map((start, node) => {
    const aligned = Math.ceil(start / ALIGN_PAGES) * ALIGN_PAGES;
    return aligned === 0 || aligned >= endOf(nodes[node]) ? Infinity : aligned;
  });
}

function kernelPages(total: number, { kernelcorePages = 0, movablecorePages }: MovableOptions): number {
  if (movablecorePages === undefined || movablecorePages === 0) return kernelcorePages;
  const movable = Math.ceil(movablecorePages / ALIGN_PAGES) * ALIGN_PAGES;
  return Math.max(kernelcorePages, total - Math.min(total, movable));
}

/** Pushes the start of ZONE_MOVABLE up by the node's share of what the kernel needs. */
function takeFromNode(search: Search, node: number, ranges: readonly Range[], usable: number, share: number): void {
  let left = share;
  for (const { pfn, count } of ranges) {
    const end = pfn + count;
    let start = Math.max(pfn, search.starts[node]);
    if (start >= end) continue;
    if (start < usable) {
      // Pages below it are the kernel's in any case.
      const below = Math.min(end, usable) - start;
      left -= Math.min(below, left);
      search.required -= Math.min(below, search.required);
      if (end <= usable) {
        search.starts[node] = end;
        continue;
      }
      start = usable;
    }
    const taken = Math.min(end - start, left);
    search.starts[node] = start + taken;
    search.required -= Math.min(taken, search.required);
    left -= taken;
    if (left === 0) return;
  }
}
