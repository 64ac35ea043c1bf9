/** How the guest reaches those who keep house in it and stand above it. */

/** Who else keeps house in a guest. */
export interface HousekeepingHooks {
  /**
   * Compacts for a block of an order (direct compaction), in the zones that the request may use unless told in which; returns the
   * time it takes, ns, 0 when it tried nothing.
   */
  compact?: (order: number, migratetype: number, cpu: number, zones?: readonly number[]) => number;
  /** kswapd goes to sleep after it was woken for an order, or somebody who cannot compact wants one (`wakeup_kcompactd`). */
  kswapdAsleep?: (order: number) => void;
  /** A huge page fault fell back to single pages under this handle and the 511 after it. */
  fellBack?: (handle: number) => void;
}
