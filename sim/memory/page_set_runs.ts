/** A set of pages as its maximal runs: two sorted columns. */
import { grown } from "./grown.ts";
import { Operations, type PageSet } from "./page_set.ts";
import type { Range } from "./range.ts";

/** Bytes of a run: its first page and the page after its last. */
const RUN_BYTES = 16;

/** Runs in order, found by bisection. Putting one in moves those behind it. */
export class RunSet implements PageSet {
  /** What it did so far. Visits are steps of bisections and runs that were joined or cut. */
  readonly operations: Operations = new Operations();
  #starts = new Float64Array(16);
  #ends = new Float64Array(16);
  #length = 0;
  #count = 0;

  get count(): number {
    return this.#count;
  }

  get bytes(): number {
    return RUN_BYTES * this.#starts.length;
  }

  /** Runs. */
  get length(): number {
    return this.#length;
  }

  add(pfn: number, count: number): number {
    const end = pfn + count;
    const first = this.#firstEndingAt(pfn);
    let [low, high, inside, last] = [pfn, end, 0, first];
    for (; last < this.#length && this.#starts[last] <= end; last++) {
      inside += Math.min(this.#ends[last], end) - Math.max(this.#starts[last], pfn);
      low = Math.min(low, this.#starts[last]);
      high = Math.max(high, this.#ends[last]);
      this.operations.visits++;
    }
    this.#splice(first, last, 1);
    this.#set(first, low, high);
    this.#count += count - inside;
    return count - inside;
  }

  remove(pfn: number, count: number): number {
    const end = pfn + count;
    let first = this.#firstEndingAt(pfn);
    if (first < this.#length && this.#ends[first] === pfn) first++;
    let [last, inside] = [first, 0];
    for (; last < this.#length && this.#starts[last] < end; last++) {
      inside += Math.min(this.#ends[last], end) - Math.max(this.#starts[last], pfn);
      this.operations.visits++;
    }
    if (inside === 0) return 0;
    const [start, stop] = [this.#starts[first], this.#ends[last - 1]];
    const [isBelow, isAbove] = [start < pfn, stop > end];
    this.#splice(first, last, Number(isBelow) + Number(isAbove));
    if (isBelow) this.#set(first, start, pfn);
    if (isAbove) this.#set(first + Number(isBelow), end, stop);
    this.#count -= inside;
    return inside;
  }

  contains(pfn: number): boolean {
    const run = this.#firstEndingAt(pfn + 1);
    return run < this.#length && this.#starts[run] <= pfn;
  }

  *ranges(): Generator<Range> {
    for (let run = 0; run < this.#length; run++) {
      yield { pfn: this.#starts[run], count: this.#ends[run] - this.#starts[run] };
    }
  }

  /** The first run that ends at a page or later. */
  #firstEndingAt(pfn: number): number {
    let [low, high] = [0, this.#length];
    while (low < high) {
      const middle = (low + high) >> 1;
      this.operations.visits++;
      if (this.#ends[middle] >= pfn) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  /** Makes the runs `first` to `last` - 1 into `length` runs, which are to be set. */
  #splice(first: number, last: number, length: number): void {
    const change = length - (last - first);
    if (change === 0) return;
    if (this.#length + change > this.#starts.length) {
      this.#starts = grown(this.#starts, 2 * this.#starts.length);
      this.#ends = grown(this.#ends, 2 * this.#ends.length);
      this.operations.allocations++;
      this.operations.frees++;
    }
    this.#starts.copyWithin(last + change, last, this.#length);
    this.#ends.copyWithin(last + change, last, this.#length);
    this.operations.movedBytes += RUN_BYTES * (this.#length - last);
    this.#length += change;
  }

  #set(run: number, start: number, end: number): void {
    this.#starts[run] = start;
    this.#ends[run] = end;
    this.operations.writes++;
  }
}
