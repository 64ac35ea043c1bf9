/** Zone watermarks as the kernel sets them at boot (mm/page_alloc.c `__setup_per_zone_wmarks`, mm/khugepaged.c). */

/** The marks of one zone, in pages. */
export interface Watermarks {
  /** Below it only urgent allocations succeed. */
  readonly min: number;
  /** Below it kswapd wakes. */
  readonly low: number;
  /** Up to it kswapd reclaims. */
  readonly high: number;
}

/** What the marks depend on, per zone. */
export interface ZoneSize {
  /** Pages that the allocator manages. */
  readonly managedPages: number;
  /** Whether it is ZONE_MOVABLE, which does not count as low memory. */
  readonly movable: boolean;
}

/** Pages of one pageblock, and the number of migratetypes on the per-CPU lists, in khugepaged's recommendation. */
const PAGEBLOCK_PAGES = 512;
const PCP_TYPES = 3;

/** min_free_kbytes for the zones; with transparent huge pages khugepaged raises it (`set_recommended_min_free_kbytes`). */
export function minFreeKbytes(zones: readonly ZoneSize[], thp: boolean): number {
  const low = zones.filter((zone) => !zone.movable && zone.managedPages > 0);
  const lowPages = low.reduce((sum, zone) => sum + zone.managedPages, 0);
  const kbytes = Math.min(262144, Math.max(128, Math.floor(Math.sqrt(lowPages * 4 * 16))));
  if (!thp) return kbytes;
  const recommended = PAGEBLOCK_PAGES * low.length * 2 + PAGEBLOCK_PAGES * low.length * PCP_TYPES * PCP_TYPES;
  return Math.max(kbytes, Math.floor(Math.min(recommended, Math.floor(lowPages / 20))) * 4);
}

/** The watermarks of every zone, in the order given. */
export function watermarksOf(zones: readonly ZoneSize[], thp: boolean): Watermarks[] {
  const pagesMin = Math.floor(minFreeKbytes(zones, thp) / 4);
  const lowPages = zones.reduce((sum, zone) => sum + (zone.movable ? 0 : zone.managedPages), 0);
  return zones.map(({ managedPages, movable }) => {
    const share = Math.floor((pagesMin * managedPages) / Math.max(1, lowPages));
    const min = movable ? Math.min(128, Math.max(32, Math.floor(managedPages / 1024))) : share;
    const distance = Math.max(Math.floor(share / 4), Math.floor((managedPages * 10) / 10000));
    return { min, low: min + distance, high: min + 2 * distance };
  });
}
