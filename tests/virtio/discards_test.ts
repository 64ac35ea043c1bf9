import assert from "node:assert/strict";
import fc from "fast-check";
import type { Range } from "../../sim/memory/range.ts";
import { discardsOf } from "../../sim/virtio/discards.ts";
import { Bench, message } from "./bench.ts";

const single = (pfns: readonly number[]): Range[] => pfns.map((pfn) => ({ pfn, count: 1 }));
const pairs = (ranges: readonly Range[]) => ranges.map(({ pfn, count }) => [pfn, count]);

Deno.test("each: as read; adjacent: neighbours in the message, up or down; sorted: the fewest runs", () => {
  const ranges = single([5, 6, 7, 4, 20, 19, 30, 8, 20]);
  assert.equal(discardsOf(ranges, "each"), ranges);
  // 4 follows the run 5 to 7 below it; 8 comes too late, and the second 20 stands alone.
  assert.deepEqual(pairs(discardsOf(ranges, "adjacent")), [[4, 4], [19, 2], [30, 1], [8, 1], [20, 1]]);
  assert.deepEqual(pairs(discardsOf(ranges, "sorted")), [[4, 5], [19, 2], [30, 1]]);
  for (const mode of ["each", "adjacent", "sorted"] as const) assert.deepEqual(discardsOf([], mode), []);
});

Deno.test("sorted: 2048 pages at a time", () => {
  // 4096 pages downwards: two windows, each one run.
  const ranges = single(Array.from({ length: 4096 }, (_, index) => 4095 - index));
  assert.deepEqual(pairs(discardsOf(ranges, "sorted")), [[2048, 2048], [0, 2048]]);
  assert.deepEqual(pairs(discardsOf([{ pfn: 0, count: 5000 }, { pfn: 5000, count: 1 }], "sorted")), [[0, 5000], [
    5000,
    1,
  ]]);
});

Deno.test("whatever the mode, the pages are those of the message; sorted runs of one window touch each other nowhere", () => {
  const range = fc.record({ pfn: fc.nat(60), count: fc.integer({ min: 1, max: 6 }) });
  const pagesOf = (ranges: readonly Range[]) =>
    new Set(ranges.flatMap(({ pfn, count }) => Array.from({ length: count }, (_, index) => pfn + index)));
  fc.assert(fc.property(fc.array(range, { maxLength: 60, size: "max" }), (ranges) => {
    for (const mode of ["adjacent", "sorted"] as const) {
      const runs = discardsOf(ranges, mode);
      assert.deepEqual(pagesOf(runs), pagesOf(ranges));
      if (mode === "adjacent") continue;
      for (let i = 1; i < runs.length; i++) assert.ok(runs[i].pfn > runs[i - 1].pfn + runs[i - 1].count);
    }
  }));
});

Deno.test("a queue joins what is reclaimed, and nothing else", () => {
  for (const action of ["reclaim", "skip", "give_back"] as const) {
    const bench = new Bench();
    const queue = bench.queue({ size: 8, eventIndex: true, discards: "sorted" });
    bench.after(0, () => bench.carry(queue, { ...message(1), action, ranges: single([3, 2, 1]) }));
    bench.run();
    assert.deepEqual(bench.ranges, action === "reclaim" ? [[1, 3]] : [[3, 1], [2, 1], [1, 1]]);
  }
});
