/**
 * The registry of trackers: the one place that knows them all. A new design is a new file and a line here.
 *
 * @module
 */
import { extentList } from "./extent_list.ts";
import { mapleRanges } from "./maple_ranges.ts";
import { memblockList } from "./memblock_list.ts";
import { radix } from "./radix.ts";
import { tablesBitmaps } from "./tables_array.ts";
import { pageTables } from "./tables_pages.ts";
import type { TrackerPlugin } from "./tracker.ts";
import { xarrayBitmaps512 } from "./xarray_512.ts";
import { xarrayBitmapsPage } from "./xarray_page.ts";

/** All designs, in the order in which they are listed to users. */
export const trackers: readonly TrackerPlugin[] = [
  xarrayBitmaps512,
  xarrayBitmapsPage,
  tablesBitmaps,
  pageTables,
  radix,
  mapleRanges,
  memblockList,
  extentList,
];

/** The designs, each followed by the one with the faults of the code that was posted (`…-as-posted`), where it had some. */
export const trackersAndPosted: readonly TrackerPlugin[] = trackers.flatMap((tracker) =>
  tracker.asPosted === undefined ? [tracker] : [tracker, tracker.asPosted]
);
