/**
 * Sets of page frames as ascending lists of ranges that do not touch: what is in both, what is left, what is taken
 * from an end.
 */
import { mergeRanges, type Range } from "../memory/range.ts";

/** First page after the ranges, 0 when there are none. */
export function endOf(ranges: readonly Range[]): number {
  const last = ranges[ranges.length - 1];
  return last === undefined ? 0 : last.pfn + last.count;
}

/** The part of the ranges from page `start` up to, but without, page `end`. */
export function intersect(ranges: readonly Range[], start: number, end: number): Range[] {
  return ranges.flatMap(({ pfn, count }) => {
    const from = Math.max(pfn, start);
    const to = Math.min(pfn + count, end);
    return to > from ? [{ pfn: from, count: to - from }] : [];
  });
}

/** What is left of the ranges without the others. */
export function subtract(ranges: readonly Range[], others: readonly Range[]): Range[] {
  let left = mergeRanges(ranges);
  for (const { pfn, count } of mergeRanges(others)) {
    left = [...intersect(left, 0, pfn), ...intersect(left, pfn + count, Infinity)];
  }
  return left;
}

/** The highest `count` pages of the ranges, or all of them when there are fewer. */
export function highest(ranges: readonly Range[], count: number): Range[] {
  const taken: Range[] = [];
  for (let index = ranges.length - 1; index >= 0 && count > 0; index--) {
    const range = ranges[index];
    const pages = Math.min(count, range.count);
    taken.unshift({ pfn: range.pfn + range.count - pages, count: pages });
    count -= pages;
  }
  return taken;
}

/** The lowest `count` pages of the ranges, or all of them when there are fewer. */
export function lowest(ranges: readonly Range[], count: number): Range[] {
  const taken: Range[] = [];
  for (const { pfn, count: length } of ranges) {
    if (count <= 0) break;
    taken.push({ pfn, count: Math.min(count, length) });
    count -= length;
  }
  return taken;
}
