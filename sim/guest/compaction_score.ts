/** How fragmented zones are in the eyes of proactive compaction (mm/compaction.c `fragmentation_score_zone`). */
import { PAGEBLOCK_ORDER } from "./allocator.ts";
import { freeByOrder, pagesFromOrder } from "./fragmentation.ts";
import type { Zone } from "./zone.ts";

/** It stops at this score at the least (`fragmentation_score_wmark`). */
const LOW_MIN = 5;
/** It starts so far above the score at which it stops. */
const HIGH_ABOVE_LOW = 10;

/** The share of a zone's free pages outside of whole huge pages, in per cent, rounded down; 0 when none is free. */
export function fragmentationScore(zone: Zone): number {
  const blocks = freeByOrder([zone]);
  const freePages = pagesFromOrder(blocks, 0);
  if (freePages === 0) return 0;
  return Math.floor((freePages - pagesFromOrder(blocks, PAGEBLOCK_ORDER)) * 100 / freePages);
}

/** The score of zones together, each weighed by its size (`fragmentation_score_node`); those of a guest count as one node. */
export function fragmentationScoreNode(zones: readonly Zone[]): number {
  const present = zones.reduce((sum, { presentPages }) => sum + presentPages, 0);
  return zones.reduce((sum, zone) => sum + Math.floor(zone.presentPages * fragmentationScore(zone) / (present + 1)), 0);
}

/** The score at which it stops (`fragmentation_score_wmark`, low). */
export function scoreLow(proactiveness: number): number {
  return Math.max(100 - proactiveness, LOW_MIN);
}

/** The score above which it starts (`fragmentation_score_wmark`, high). */
export function scoreHigh(proactiveness: number): number {
  return Math.min(100, scoreLow(proactiveness) + HIGH_ABOVE_LOW);
}
