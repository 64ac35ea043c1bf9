import assert from "node:assert/strict";
import fc from "fast-check";
import { singlePassHybrid } from "../../policies/single_pass_hybrid.ts";
import { encodings } from "../../sim/abi/mod.ts";
import { ORDER_PAGES } from "../../sim/memory/range.ts";
import { blocksOf, type FreeBlock, Harness, type HarnessOptions } from "./harness.ts";

/** A data page of bits. */
const WINDOW_PAGES = 32_768;

function run(options: Omit<HarnessOptions, "policy">): Harness {
  const harness = new Harness({ policy: singlePassHybrid, ...options });
  harness.request();
  return harness;
}

function counters(harness: Harness): Readonly<Record<string, number>> {
  return harness.policy.counters!();
}

function told(harness: Harness): number[][] {
  return harness.of("skip").map(({ pfn, pages }) => [pfn, pages]);
}

/** Blocks with a gap after each, from a page on. */
function from(pfn: number, count: number, order: number): FreeBlock[] {
  return blocksOf(count, order, true).map((block) => ({ ...block, pfn: pfn + block.pfn }));
}

Deno.test("one pass over each list, one message, runs ascending with neighbours of all orders joined", () => {
  const blocks = [
    { pfn: 5 * WINDOW_PAGES, order: 10 },
    { pfn: 1536, order: 9 },
    { pfn: 1024, order: 8 },
    { pfn: 1280, order: 8 },
    { pfn: 7, order: 0 },
  ];
  const harness = run({ blocks, pages: 8 * WINDOW_PAGES });
  assert.deepEqual(told(harness), [[7, 1], [1024, 1024], [5 * WINDOW_PAGES, 1024]]);
  assert.equal(harness.of("send").length, 1);
  assert.equal(harness.driver.counters.walkVisits, 5);
  assert.deepEqual(counters(harness), { extent_windows: 2, bitmap_windows: 0 });
});

Deno.test("a window is a bitmap from 514 extents on: 513 x 8 = 4104 bytes are as many as the bitmap with its head", () => {
  const blocks = [...from(0, 513, 0), ...from(WINDOW_PAGES, 514, 0)];
  const harness = run({ blocks, pages: 2 * WINDOW_PAGES });
  assert.deepEqual(counters(harness), { extent_windows: 1, bitmap_windows: 1 });
  // The first window as extents, the second as a bitmap: 4104 bytes each.
  assert.equal(harness.driver.counters.metadataPeakBytes, 2 * 4104);
});

Deno.test("windows that fill the buffer are sent after the list at hand, the rest at the end", () => {
  // 1100 blocks of order 1 in three windows, as extents: 8800 bytes fill a buffer of 8 KiB; then 100 of order 0.
  const order1 = [0, 1, 2].flatMap((window) => from(window * WINDOW_PAGES, window === 2 ? 300 : 400, 1));
  const blocks = [...order1, ...from(3 * WINDOW_PAGES, 100, 0)];
  const harness = run({ blocks, pages: 4 * WINDOW_PAGES, encoding: "pfn-order", options: { bufferMax: "8KiB" } });
  // The buffer has room for 1024 words of 2 pages; 76 more follow in a message of their own.
  assert.deepEqual(harness.of("send").map(({ pages }) => pages), [2048, 152, 100]);
  assert.equal(harness.driver.counters.overflows, 1);
  assert.equal(harness.driver.counters.walkVisits, 1200);
  assert.equal(counters(harness).extent_windows, 4);
});

Deno.test("every encoding is told of all free pages, each once, from one visit of each block", () => {
  for (const { name } of encodings) {
    const lists = fc.array(fc.tuple(fc.nat(150), fc.nat(10)), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(lists, (some) => {
        const blocks: FreeBlock[] = [];
        let pfn = 0;
        for (const [count, order] of some) {
          blocks.push(...from(pfn, count, order));
          pfn += 2 * 1024 * Math.ceil(count * ORDER_PAGES[order] / 1024);
        }
        const harness = run({ blocks, pages: Math.max(1024, pfn), encoding: name, options: { bufferMax: "64KiB" } });
        const pages = blocks.reduce((sum, { order }) => sum + ORDER_PAGES[order], 0);
        assert.equal(harness.of("send").reduce((sum, row) => sum + row.pages, 0), pages, name);
        assert.equal(harness.driver.counters.walkVisits, blocks.length);
        assert.equal(harness.driver.counters.unencodable, 0);
        const seen = told(harness).sort(([a], [b]) => a - b);
        for (let i = 1; i < seen.length; i++) assert.ok(seen[i - 1][0] + seen[i - 1][1] <= seen[i][0]);
        assert.equal(seen.reduce((sum, [, count]) => sum + count, 0), pages);
      }),
      { numRuns: 15 },
    );
  }
});

Deno.test("a granule inside of a longer run is told although the run is no whole number of granules", () => {
  // 512 pages and the 256 behind them are one run; in granules of 2 MiB only the first part can be said.
  const blocks = [{ pfn: 512, order: 9 }, { pfn: 1024, order: 8 }];
  const harness = run({ blocks, pages: 2048, encoding: "bitmap", encodingOptions: { granule: "2MiB" } });
  assert.deepEqual(told(harness), [[512, 512]]);
  assert.equal(harness.driver.counters.unencodable, 1);
});

Deno.test("the driver spins unless it is told to sleep; isolated blocks come back", () => {
  const options = { blocks: from(0, 50, 4), pages: WINDOW_PAGES };
  assert.equal(run(options).of("interrupt").length, 0);
  const harness = run({ ...options, options: { wait: "sleep", isolate: true, action: "reclaim" } });
  assert.equal(harness.of("interrupt").length, 1);
  // The last block stays: the minimum watermark would not be kept.
  assert.deepEqual([harness.of("isolate").length, harness.of("put_back").length], [49, 49]);
  assert.equal(harness.zone.allocator.freePages, 50 * 16);
  harness.zone.allocator.validate();
});
