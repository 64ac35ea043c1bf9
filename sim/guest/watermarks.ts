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

/** What the marks depend on beside the sizes. */
export interface MarkOptions {
  /** min_free_kbytes as somebody set it, instead of what the kernel calculates. */
  readonly minFreeKbytes?: number | undefined;
  /**
   * Whether ZONE_MOVABLE takes its share of min_free_kbytes as the other zones do. So it is in 6.1; in 6.12 it has a
   * small minimum of its own (liuq, "fix min_free_kbytes calculation regarding ZONE_MOVABLE", June 2023).
   */
  readonly movableShares?: boolean;
}

/** Pages of one pageblock, and the number of migratetypes on the per-CPU lists, in khugepaged's recommendation. */
const PAGEBLOCK_PAGES = 512;
const PCP_TYPES = 3;

/**
 * min_free_kbytes for the zones; with transparent huge pages khugepaged raises it (`set_recommended_min_free_kbytes`),
 * to a twentieth of what lies above the high watermarks at most. The marks it finds are those without it: it starts
 * after them.
 */
export function minFreeKbytes(zones: readonly ZoneSize[], thp: boolean, movableShares = false): number {
  const low = zones.filter((zone) => !zone.movable && zone.managedPages > 0);
  const lowPages = low.reduce((sum, zone) => sum + zone.managedPages, 0);
  const kbytes = Math.min(262144, Math.max(128, Math.floor(Math.sqrt(lowPages * 4 * 16))));
  if (!thp) return kbytes;
  const wanted = PAGEBLOCK_PAGES * low.length * 2 + PAGEBLOCK_PAGES * low.length * PCP_TYPES * PCP_TYPES;
  const marks = marksAt(zones, kbytes, movableShares);
  return Math.max(kbytes, Math.min(wanted, Math.floor(bufferPages(zones, marks) / 20)) * 4);
}

/** Low memory above the high watermarks (`nr_free_buffer_pages`). */
function bufferPages(zones: readonly ZoneSize[], marks: readonly Watermarks[]): number {
  let pages = 0;
  zones.forEach(({ managedPages, movable }, index) => {
    if (!movable) pages += Math.max(0, managedPages - marks[index].high);
  });
  return pages;
}

/**
 * The watermarks of every zone, in the order given.
 *
 * ```ts
 * import { watermarksOf } from "./watermarks.ts";
 * const zones = [3840, 782_336, 1_310_720].map((managedPages) => ({ managedPages, movable: false }));
 * const [, , normal] = watermarksOf(zones, true);
 * if (normal.min !== 10_561 || normal.low !== 13_201) throw new Error("a guest of 8 GiB with transparent huge pages");
 * ```
 */
export function watermarksOf(zones: readonly ZoneSize[], thp: boolean, options: MarkOptions = {}): Watermarks[] {
  const { movableShares = false } = options;
  return marksAt(zones, options.minFreeKbytes ?? minFreeKbytes(zones, thp, movableShares), movableShares);
}

function marksAt(zones: readonly ZoneSize[], kbytes: number, movableShares: boolean): Watermarks[] {
  const pagesMin = Math.floor(kbytes / 4);
  const apart = (zone: ZoneSize) => zone.movable && !movableShares;
  const lowPages = zones.reduce((sum, zone) => sum + (apart(zone) ? 0 : zone.managedPages), 0);
  return zones.map((zone) => {
    const { managedPages } = zone;
    const share = Math.floor((pagesMin * managedPages) / Math.max(1, lowPages));
    const min = apart(zone) ? Math.min(128, Math.max(32, Math.floor(managedPages / 1024))) : share;
    const distance = Math.max(Math.floor(share / 4), Math.floor((managedPages * 10) / 10000));
    return { min, low: min + distance, high: min + 2 * distance };
  });
}

/** How far marks are raised for each fallback, in 1/10000 of the high mark (watermark_boost_factor). */
const BOOST_FACTOR = 15_000;

/**
 * The boost of a zone after one more fallback, in pages, from the boost before (`boost_watermark`). It is added to
 * every mark until kswapd has reclaimed as much. `highPages` is the mark without it. Zones of fewer than four
 * pageblocks are left alone.
 */
export function boostedPages(boostPages: number, highPages: number, managedPages: number): number {
  const most = Math.floor((highPages * BOOST_FACTOR) / 10_000);
  if (4 * PAGEBLOCK_PAGES > managedPages || most === 0) return boostPages;
  return Math.min(boostPages + PAGEBLOCK_PAGES, Math.max(PAGEBLOCK_PAGES, most));
}

/**
 * What is held back in a zone, by its type from DMA on, as 1/ratio of what lies above it; 0 for nothing
 * (lowmem_reserve_ratio).
 */
const RESERVE_RATIOS: readonly number[] = [256, 256, 32, 0];

/** Types of zones that the reserves are counted for: DMA, DMA32, Normal, Movable and Device (MAX_NR_ZONES). */
const RESERVE_TYPES = 5;

/**
 * Pages of each zone of one node that are held back from allocations which could have come from a higher zone
 * (`setup_per_zone_lowmem_reserve`), `reserves[type][highest type]`, as /proc/zoneinfo's `protection`. `managed` are
 * the pages of each type, 0 for a zone that is not there.
 */
export function lowmemReserves(managed: readonly number[]): number[][] {
  return RESERVE_RATIOS.map((ratio, type) => {
    const reserves = new Array<number>(RESERVE_TYPES).fill(0);
    let above = 0;
    for (let highest = type + 1; highest < RESERVE_TYPES; highest++) {
      above += managed[highest] ?? 0;
      if (ratio > 0 && (managed[type] ?? 0) > 0) reserves[highest] = Math.floor(above / ratio);
    }
    return reserves;
  });
}
