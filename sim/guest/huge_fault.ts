/** Huge page faults of a guest, and what they become when there is no block of order 9: 512 single pages. */
import { PAGEBLOCK_ORDER, PAGEBLOCK_PAGES } from "./allocator.ts";
import { FAILED, type Guest } from "./guest.ts";

/**
 * A huge page fault tries once, and as its defrag mode says wakes kswapd or compacts first (mm/huge_memory.c
 * `vma_thp_gfp_mask`); it never loops. Returns the time it takes, ns, or {@link FAILED}: then single pages follow.
 */
export function allocHuge(guest: Guest, handle: number, migratetype: number, cpu: number): number {
  const defrag = guest.thpDefrag;
  if (defrag === undefined) return FAILED;
  const wakes = defrag === "defer" || defrag === "defer+madvise";
  const ns = guest.alloc(handle, PAGEBLOCK_ORDER, migratetype, -1, cpu, false, wakes ? "usual" : "quiet");
  if (ns === FAILED && wakes) guest.hooks.kswapdAsleep?.(PAGEBLOCK_ORDER);
  if (ns !== FAILED || defrag !== "always") return ns;
  const compactNs = guest.hooks.compact?.(PAGEBLOCK_ORDER, migratetype, cpu) ?? 0;
  if (compactNs === 0) return FAILED;
  const again = guest.alloc(handle, PAGEBLOCK_ORDER, migratetype, -1, cpu);
  return again === FAILED ? FAILED : again + compactNs;
}

/** Whether the fault under this handle got its block. */
function isBlock({ allocations }: Guest, handle: number): boolean {
  return allocations.find(handle) && allocations.order > 0;
}

/** Frees what came of a huge page fault: a block of order 9, or 512 single pages. Returns the time it takes, ns. */
export function freeHuge(guest: Guest, handle: number, cpu: number): number {
  if (isBlock(guest, handle)) return guest.free(handle, cpu);
  let ns = 0;
  let freed = 0;
  for (let one = handle; one < handle + PAGEBLOCK_PAGES; one++) {
    if (!guest.allocations.find(one)) continue;
    ns += guest.free(one, cpu);
    freed++;
  }
  return freed > 0 ? ns : guest.free(handle, cpu);
}

/** Writes the first pages of what came of a huge page fault. Returns the time of the faults, ns. */
export function touchHuge(guest: Guest, handle: number, pages: number, cpu: number): number {
  if (isBlock(guest, handle)) return guest.touch(handle, pages, cpu);
  let ns = 0;
  for (let one = handle; one < handle + Math.min(pages, PAGEBLOCK_PAGES); one++) ns += guest.touch(one, 1, cpu);
  return ns;
}
