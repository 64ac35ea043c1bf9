/** What a VMM makes of the ranges of a message before it discards them. */
import type { Range } from "../memory/range.ts";

/**
 * How a device discards: each range that it reads by itself, ranges that follow each other in the message as one, or all of
 * the message in ascending order, in as few runs as possible.
 */
export type DiscardMode = "each" | "adjacent" | "sorted";

/**
 * Pages that are sorted together (MAX_PAGE_COMPACT_BUFFER in Firecracker's balloon/mod.rs). Firecracker fills its buffer from
 * several messages; Linux's driver waits for the answer to each, so that there is never more than one.
 */
const SORTED_PAGES_MAX = 2048;

/** The ranges that a device discards for those that it read, in order. */
export function discardsOf(ranges: readonly Range[], mode: DiscardMode): readonly Range[] {
  if (mode === "each" || ranges.length < 2) return ranges;
  return mode === "adjacent" ? joined(ranges) : windowsOf(ranges).flatMap(sortedRuns);
}

/** Joins a range to the one before it in the message, when it begins where that ends or ends where that begins. */
function joined(ranges: readonly Range[]): Range[] {
  const runs: Range[] = [];
  let run = ranges[0];
  for (const { pfn, count } of ranges.slice(1)) {
    if (pfn === run.pfn + run.count) run = { pfn: run.pfn, count: run.count + count };
    else if (pfn + count === run.pfn) run = { pfn, count: run.count + count };
    else {
      runs.push(run);
      run = { pfn, count };
    }
  }
  runs.push(run);
  return runs;
}

/** Cuts the ranges of a message into pieces of at most so many pages as are sorted together; a range stays whole. */
function windowsOf(ranges: readonly Range[]): Range[][] {
  const windows: Range[][] = [];
  let pages = Infinity;
  for (const range of ranges) {
    pages += range.count;
    if (pages > SORTED_PAGES_MAX) {
      windows.push([]);
      pages = range.count;
    }
    windows[windows.length - 1].push(range);
  }
  return windows;
}

/** Maximal runs, ascending; a page that stands there twice counts once. */
function sortedRuns(ranges: readonly Range[]): Range[] {
  const sorted = ranges.toSorted((a, b) => a.pfn - b.pfn);
  const runs: Range[] = [];
  let { pfn: start, count } = sorted[0];
  let end = start + count;
  for (const range of sorted.slice(1)) {
    if (range.pfn <= end) {
      end = Math.max(end, range.pfn + range.count);
      continue;
    }
    runs.push({ pfn: start, count: end - start });
    ({ pfn: start, count } = range);
    end = start + count;
  }
  runs.push({ pfn: start, count: end - start });
  return runs;
}
