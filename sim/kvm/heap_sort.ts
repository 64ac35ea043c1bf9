/** Heapsort as the kernel's `sort()` does it (lib/sort.c): in place, not stable, the same work for a sorted array. */

/** What sorting did. */
export interface SortCounts {
  /** Comparisons of two elements. */
  compares: number;
  /** Swaps of two elements. */
  swaps: number;
}

/** Sorts ascending by `compare`. */
export function heapSort<T>(items: T[], compare: (a: T, b: T) => number): SortCounts {
  const counts: SortCounts = { compares: 0, swaps: 0 };
  const greater = (a: number, b: number) => {
    counts.compares++;
    return compare(items[a], items[b]) > 0;
  };
  const swap = (a: number, b: number) => {
    counts.swaps++;
    [items[a], items[b]] = [items[b], items[a]];
  };
  /** The element at `at` sinks among the first `count` until no child is greater. */
  const sink = (at: number, count: number) => {
    for (let child = 2 * at + 1; child < count; child = 2 * at + 1) {
      if (child + 1 < count && greater(child + 1, child)) child++;
      if (!greater(child, at)) return;
      swap(at, child);
      at = child;
    }
  };
  for (let at = Math.floor(items.length / 2) - 1; at >= 0; at--) sink(at, items.length);
  for (let end = items.length - 1; end > 0; end--) {
    swap(0, end);
    sink(0, end);
  }
  return counts;
}
