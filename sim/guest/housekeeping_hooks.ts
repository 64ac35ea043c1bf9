/** How the guest reaches those who keep house in it and stand above it. */

/** How hard it is tried: asynchronous, synchronous without waiting for writeback, or of all pageblocks (`enum compact_priority`). */
export type CompactMode = "async" | "sync-light" | "sync-full";

/** No zone was compacted: they lack memory, or are left out after failures (COMPACT_SKIPPED, COMPACT_DEFERRED). */
export const COMPACT_SKIPPED = -1;

/** Who else keeps house in a guest. */
export interface HousekeepingHooks {
  /**
   * Compacts for a block of an order (direct compaction), in the zones that the request may use unless told in which; returns the
   * time it takes, ns, or {@link COMPACT_SKIPPED}.
   */
  compact?: (order: number, migratetype: number, cpu: number, mode: CompactMode, zones?: readonly number[]) => number;
  /** Whether a zone of a type up to `highest` can be compacted for an order without reclaim (`compaction_ready`). */
  compactionReady?: (order: number, highest: number) => boolean;
  /** kswapd goes to sleep after it was woken for an order, or somebody who cannot compact wants one (`wakeup_kcompactd`). */
  kswapdAsleep?: (order: number) => void;
  /** A huge page fault fell back to single pages under this handle and the 511 after it. */
  fellBack?: (handle: number) => void;
}
