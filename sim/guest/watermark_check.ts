/** Whether a zone has enough free memory for an allocation (mm/page_alloc.c `__zone_watermark_ok`). */
import { HIGHATOMIC, ORDER_MAX, RECLAIMABLE } from "./allocator.ts";

/** What the check looks at. */
export interface FreeCounts {
  /** Pages on the free lists. */
  readonly freePages: number;
  /**
   * Pages set aside for urgent allocations: in 6.1 those of all HIGHATOMIC pageblocks, in 6.12 the free ones of them.
   */
  readonly highatomicPages: number;
  /** Whether the list of an order and migratetype has a block. */
  hasBlock(order: number, migratetype: number): boolean;
}

/** How urgent an allocation is. */
export interface Urgency {
  /** ALLOC_MIN_RESERVE (6.1: ALLOC_HIGH): half of the mark may be used. */
  readonly minReserve?: boolean;
  /** ALLOC_NON_BLOCK (6.1: ALLOC_HARDER): a quarter of the rest, too. */
  readonly nonBlock?: boolean;
  /** ALLOC_HIGHATOMIC (6.12): the blocks set aside may be used. */
  readonly highatomic?: boolean;
  /** ALLOC_OOM: for a task that is being killed. */
  readonly oom?: boolean;
}

/** That of an ordinary request, which keeps the whole mark. */
export const ORDINARY: Urgency = {};

/** What remains of a mark for an urgent allocation. */
export function markFor(mark: number, urgency: Urgency, kernel: string): number {
  const { minReserve = false, nonBlock = false, oom = false } = urgency;
  let left = mark;
  if (minReserve) left -= Math.floor(left / 2);
  if (kernel === "6.1") {
    if (oom) left -= Math.floor(left / 2);
    else if (nonBlock) left -= Math.floor(left / 4);
    return left;
  }
  if (minReserve && nonBlock) left -= Math.floor(left / 4);
  if (oom) left -= Math.floor(left / 2);
  return left;
}

/**
 * Whether 2^order pages may be taken: more than the mark and the lowmem reserve would stay, and a block that is large
 * enough stands on a list. `mark` is a watermark with its boost; `reserve` is the zone's reserve against the highest
 * zone that the allocation could use.
 *
 * ```ts
 * import { watermarkOk } from "./watermark_check.ts";
 * const counts = { freePages: 1000, highatomicPages: 0, hasBlock: (order: number) => order < 3 };
 * if (!watermarkOk(counts, 2, 900, 0) || watermarkOk(counts, 3, 900, 0)) throw new Error("no block of order 3");
 * if (watermarkOk(counts, 0, 900, 100)) throw new Error("the reserve is kept");
 * ```
 */
export function watermarkOk(
  counts: FreeCounts,
  order: number,
  mark: number,
  reserve: number,
  urgency: Urgency = ORDINARY,
  kernel = "6.1",
): boolean {
  const { minReserve = false, nonBlock = false, highatomic = false, oom = false } = urgency;
  const old = kernel === "6.1";
  const reserves = nonBlock || oom || (!old && (minReserve || highatomic));
  const left = counts.freePages - (2 ** order - 1) - markFor(mark, urgency, kernel) - reserve;
  // What is set aside is counted only where it matters: that can take a walk over lists.
  if (left <= 0 || (!reserves && left <= counts.highatomicPages)) return false;
  if (order === 0) return true;
  const last = oom || (old ? nonBlock : highatomic) ? HIGHATOMIC : RECLAIMABLE;
  for (let current = order; current <= ORDER_MAX; current++) {
    for (let type = 0; type <= last; type++) if (counts.hasBlock(current, type)) return true;
  }
  return false;
}
