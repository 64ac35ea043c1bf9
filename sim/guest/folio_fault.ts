/**
 * Faults that want a larger folio, and what they become when there is no block of its size: several smaller folios, at the
 * handles after the first. Page `n` of a fault that fell back is named by handle `n` of its run of 2^order handles.
 */
import { PAGEBLOCK_ORDER } from "./allocator.ts";
import { FAILED, type Guest } from "./guest.ts";
import { COMPACT_SKIPPED } from "./housekeeping_hooks.ts";
import { ORDER_PAGES } from "../memory/range.ts";
import { highestFor } from "./zone_use.ts";

/** Takes the folios of a fault one after the other. */
export class FolioFault {
  /** Order of the folio taken last; 0 after a failure, which is that of a single page. */
  order = 0;
  /** How long the last call of {@link take} compacted and reclaimed, whatever it got, ns; the caller adds it. */
  workNs = 0;
  readonly #guest: Guest;

  /** Faults of a guest. */
  constructor(guest: Guest) {
    this.#guest = guest;
  }

  /**
   * Takes the folio of page `page` of a fault that wants folios of 2^order pages: the largest that is aligned there and can be
   * had without reclaim (mm/memory.c `alloc_anon_folio`); a huge page fault has single pages beside huge ones only. An `atomic`
   * one, of network buffers, also wakes kswapd with each try (net/core/skbuff.c `alloc_skb_with_frags`). Returns the time of the
   * allocation, ns, or {@link FAILED} when not even a single page is free; see {@link workNs}, too.
   */
  take(handle: number, page: number, order: number, migratetype: number, cpu: number, atomic = false): number {
    const guest = this.#guest;
    this.workNs = 0;
    if (order === PAGEBLOCK_ORDER) {
      if (page === 0) {
        this.order = order;
        const ns = this.#takeHuge(handle, migratetype, cpu);
        if (ns !== FAILED) return ns;
        guest.hooks.fellBack?.(handle);
      }
    } else {
      // A page number within a fault has at most nine bits. Where a folio failed, what follows it is aligned to no larger one.
      for (let fits = page === 0 ? order : Math.min(order, 31 - Math.clz32(page & -page)); fits > 0; fits--) {
        this.order = fits;
        const ns = guest.alloc(handle + page, fits, migratetype, -1, cpu, atomic, atomic ? "usual" : "quiet");
        if (ns !== FAILED) return ns;
      }
    }
    this.order = 0;
    return guest.alloc(handle + page, 0, migratetype, -1, cpu, atomic);
  }

  /**
   * A huge page fault tries once, and as its defrag mode says wakes kswapd, or works for a block first (mm/huge_memory.c
   * `vma_thp_gfp_mask`). Returns the time of the allocation, ns, or {@link FAILED}: then single pages follow.
   */
  #takeHuge(handle: number, migratetype: number, cpu: number): number {
    const guest = this.#guest;
    const defrag = guest.thpDefrag;
    if (defrag === undefined) return FAILED;
    const wakes = defrag === "defer" || defrag === "defer+madvise";
    const ns = guest.alloc(handle, PAGEBLOCK_ORDER, migratetype, -1, cpu, false, wakes ? "usual" : "quiet");
    if (ns === FAILED && wakes) guest.hooks.kswapdAsleep?.(PAGEBLOCK_ORDER);
    return ns === FAILED && defrag === "always" ? this.#takeHugeSlowly(handle, migratetype, cpu) : ns;
  }

  /**
   * A huge page for memory without advice (mm/page_alloc.c `__alloc_pages_slowpath` with GFP_TRANSHUGE | __GFP_NORETRY): cheap
   * compaction; unless that was skipped or deferred reclaim, once, and compaction as cheap once more. kswapd is never woken.
   */
  #takeHugeSlowly(handle: number, migratetype: number, cpu: number): number {
    const guest = this.#guest;
    const take = (way: "quiet" | "quiet-last") =>
      guest.alloc(handle, PAGEBLOCK_ORDER, migratetype, -1, cpu, false, way);
    const compact = () => {
      const ns = guest.hooks.compact?.(PAGEBLOCK_ORDER, migratetype, cpu, "async") ?? COMPACT_SKIPPED;
      this.workNs += Math.max(0, ns);
      return ns !== COMPACT_SKIPPED;
    };
    if (!compact()) return FAILED;
    let ns = take("quiet");
    if (ns !== FAILED) return ns;
    const progress = guest.reclaim.direct(PAGEBLOCK_ORDER, highestFor(migratetype), cpu) > 0;
    this.workNs += guest.reclaim.roundNs;
    // What was freed may lie on per-CPU lists (`__alloc_pages_direct_reclaim`).
    if (progress) ns = take("quiet");
    if (progress && ns === FAILED) ns = take("quiet-last");
    if (ns === FAILED && compact()) ns = take("quiet");
    return ns;
  }
}

/** Whether the fault under this handle got its block. */
function isWhole({ allocations }: Guest, handle: number, order: number): boolean {
  return allocations.find(handle) && allocations.order === order;
}

/** Frees the folios that a fault of 2^order pages became. Returns the time it takes, ns. */
export function freeFolios(guest: Guest, handle: number, order: number, cpu: number): number {
  if (isWhole(guest, handle, order)) return guest.free(handle, cpu);
  let ns = 0;
  let freed = 0;
  for (let page = 0; page < ORDER_PAGES[order];) {
    const found = guest.allocations.find(handle + page);
    const pages = found ? ORDER_PAGES[guest.allocations.order] : 1;
    if (found) {
      ns += guest.free(handle + page, cpu);
      freed++;
    }
    page += pages;
  }
  return freed > 0 ? ns : guest.free(handle, cpu);
}

/** Writes the first pages of the folios that a fault became. Returns the time of the faults, ns. */
export function touchFolios(guest: Guest, handle: number, order: number, pages: number, cpu: number): number {
  if (isWhole(guest, handle, order)) return guest.touch(handle, pages, cpu);
  let ns = 0;
  for (let page = 0; page < Math.min(pages, ORDER_PAGES[order]);) {
    const found = guest.allocations.find(handle + page);
    const folioPages = found ? ORDER_PAGES[guest.allocations.order] : 1;
    if (found) ns += guest.touch(handle + page, Math.min(pages - page, folioPages), cpu);
    page += folioPages;
  }
  return ns;
}
