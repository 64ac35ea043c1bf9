import assert from "node:assert/strict";
import fc from "fast-check";
import {
  alignmentOrder,
  forEachAlignedBlock,
  mergeRanges,
  ORDER_PAGES,
  pagesOf,
  type Range,
  sizeOrder,
} from "../../sim/memory/range.ts";

function blocks(pfn: number, count: number, orderMax: number): [number, number][] {
  const found: [number, number][] = [];
  forEachAlignedBlock(pfn, count, orderMax, (block, order) => void found.push([block, order]));
  return found;
}

Deno.test("ORDER_PAGES: powers of two from 1 page to 2^52", () => {
  assert.equal(ORDER_PAGES.length, 53);
  ORDER_PAGES.forEach((pages, order) => assert.equal(pages, Number(1n << BigInt(order))));
});

Deno.test("alignmentOrder and sizeOrder", () => {
  const aligned: [pfn: number, max: number, order: number][] = [
    [0, 10, 10],
    [1, 10, 0],
    [12, 10, 2],
    [1024, 10, 10],
    [
      2048,
      10,
      10,
    ],
    [2 ** 40, 40, 40],
    [3 * 2 ** 35, 52, 35],
  ];
  for (const [pfn, max, order] of aligned) assert.equal(alignmentOrder(pfn, max), order);
  const sizes: [count: number, max: number, order: number][] = [
    [1, 10, 0],
    [2, 10, 1],
    [3, 10, 1],
    [1023, 10, 9],
    [
      1024,
      10,
      10,
    ],
    [5000, 10, 10],
    [2 ** 40 + 1, 52, 40],
  ];
  for (const [count, max, order] of sizes) assert.equal(sizeOrder(count, max), order);
});

Deno.test("a range falls into its largest naturally aligned blocks, ascending", () => {
  assert.deepEqual(blocks(1, 4095, 10), [
    ...[0, 1, 2, 3, 4, 5, 6, 7, 8, 9].map((order) => [2 ** order, order]),
    ...[1024, 2048, 3072].map((pfn) => [pfn, 10]),
  ]);
  assert.deepEqual(blocks(1536, 1025, 10), [[1536, 9], [2048, 9], [2560, 0]]);
  assert.deepEqual(blocks(5, 0, 10), []);
});

Deno.test("aligned blocks cover the range without gap or overlap, and none could be twice as large", () => {
  const pfns = fc.oneof(fc.nat(5000), fc.integer({ min: 2 ** 33, max: 2 ** 33 + 5000 }));
  fc.assert(fc.property(pfns, fc.nat(6000), fc.nat(12), (pfn, count, orderMax) => {
    let next = pfn;
    for (const [block, order] of blocks(pfn, count, orderMax)) {
      assert.equal(block, next);
      assert.equal(block % 2 ** order, 0);
      next += 2 ** order;
      const double = 2 ** (order + 1);
      const start = Math.floor(block / double) * double;
      assert.ok(order === orderMax || start < pfn || start + double > pfn + count);
    }
    assert.equal(next, pfn + count);
  }));
});

Deno.test("merged ranges say the same pages in as few ranges as possible, ascending", () => {
  const range = fc.record({ pfn: fc.nat(120), count: fc.integer({ min: 1, max: 20 }) });
  fc.assert(fc.property(fc.array(range), (ranges) => {
    const given = JSON.stringify(ranges);
    const merged = mergeRanges(ranges);
    assert.equal(JSON.stringify(ranges), given);
    const pages = (list: readonly Range[]) =>
      new Set(list.flatMap(({ pfn, count }) => Array.from({ length: count }, (_, i) => pfn + i)));
    assert.deepEqual([...pages(merged)], [...pages(ranges)].sort((a, b) => a - b));
    assert.equal(pagesOf(merged), pages(ranges).size);
    for (let i = 1; i < merged.length; i++) assert.ok(merged[i].pfn > merged[i - 1].pfn + merged[i - 1].count);
  }));
  assert.deepEqual(mergeRanges([{ pfn: 8, count: 2 }, { pfn: 0, count: 4 }, { pfn: 4, count: 4 }]), [{
    pfn: 0,
    count: 10,
  }]);
});

Deno.test("pagesOf counts what is listed twice twice", () => {
  assert.equal(pagesOf([]), 0);
  assert.equal(pagesOf([{ pfn: 0, count: 3 }, { pfn: 1, count: 3 }, { pfn: 2 ** 40, count: 2 ** 40 }]), 2 ** 40 + 6);
});
