import assert from "node:assert/strict";
import { bitmapWindows } from "../../policies/bitmap_windows.ts";
import { perOrder } from "../../policies/per_order.ts";
import { singleBatch } from "../../policies/single_batch.ts";
import { singlePassHybrid } from "../../policies/single_pass_hybrid.ts";
import { spillBatch } from "../../policies/spill_batch.ts";
import type { PolicyPlugin } from "../../sim/guest/plugin.ts";
import { blocksOf, type FreeBlock, Harness, type HarnessOptions } from "./harness.ts";

/** Ten blocks of each order, none the buddy of another: 110 blocks, 20,470 pages. */
function mixed(): FreeBlock[] {
  const blocks: FreeBlock[] = [];
  for (let order = 10, pfn = 0; order >= 0; order--) {
    for (let i = 0; i < 10; i++, pfn += 2 ** (order + 1)) blocks.push({ pfn, order });
  }
  return blocks;
}

const MIXED_PAGES = 40960;

function run(options: Omit<HarnessOptions, "blocks" | "pages"> & Partial<HarnessOptions>): Harness {
  const harness = new Harness({ blocks: mixed(), pages: MIXED_PAGES, ...options });
  harness.request();
  return harness;
}

function bytes(harness: Harness): number {
  return harness.of("send").reduce((sum, row) => sum + row.bytes, 0);
}

Deno.test("per-order sends one message per order, single-batch one in all, for the same pages", () => {
  for (const encoding of ["pfn-len", "pfn-order"]) {
    const each = run({ policy: perOrder, encoding });
    const all = run({ policy: singleBatch, encoding });
    assert.equal(each.of("send").length, 11);
    assert.equal(all.of("send").length, 1);
    for (const harness of [each, all]) {
      assert.equal(harness.of("send").reduce((sum, { pages }) => sum + pages, 0), 10 * 2047);
      assert.equal(harness.of("skip").length, 110);
      assert.equal(harness.driver.counters.overflows, 0);
    }
    assert.equal(bytes(each), bytes(all));
  }
});

Deno.test("per-order leaves out orders without blocks", () => {
  const harness = run({ policy: perOrder, blocks: [{ pfn: 0, order: 9 }, { pfn: 2048, order: 3 }] });
  assert.deepEqual(harness.of("send").map(({ pages }) => pages), [512, 8]);
});

Deno.test("pfn-order costs half the bytes of pfn-len: 110 records of 8 and of 16 bytes", () => {
  assert.equal(bytes(run({ policy: singleBatch, encoding: "pfn-len" })), 110 * 16);
  assert.equal(bytes(run({ policy: singleBatch, encoding: "pfn-order" })), 110 * 8);
});

Deno.test("a full buffer splits single-batch and is counted: messages = overflows + 1", () => {
  // 1024 records of 16 bytes are 16 KiB: two buffers of 8 KiB hold 512 each.
  const blocks = blocksOf(1024, 0, true);
  const harness = run({ policy: singleBatch, blocks, options: { bufferMax: "8KiB" } });
  assert.deepEqual(harness.of("send").map(({ bytes }) => bytes), [8192, 8192]);
  assert.equal(harness.driver.counters.overflows, 1);
});

Deno.test("a ring of one descriptor limits a message to 4 MiB", () => {
  // 300,000 records of 16 bytes are 4.58 MiB: 262,144 of them fill one descriptor.
  const options = { policy: singleBatch, blocks: blocksOf(300_000, 0, true), pages: 600_000 };
  const narrow = run({ ...options, ring: 1, options: { bufferMax: "64MiB" } });
  assert.deepEqual(narrow.of("send").map(({ pages }) => pages), [262_144, 300_000 - 262_144]);
  assert.equal(narrow.driver.counters.overflows, 1);
  const wide = run({ ...options, ring: 2, options: { bufferMax: "64MiB" } });
  assert.equal(wide.of("send").length, 1);
});

Deno.test("a list of pages takes one message per 256 pages", () => {
  const harness = run({ policy: singleBatch, encoding: "pfn-list", blocks: [{ pfn: 0, order: 10 }] });
  assert.deepEqual(harness.of("send").map(({ pages, bytes }) => [pages, bytes]), new Array(4).fill([256, 1024]));
});

Deno.test("v5 doubles its buffer and walks again: 5000 blocks in a buffer of 4096 words", () => {
  const blocks = blocksOf(5000, 0, true);
  const harness = run({ policy: perOrder, encoding: "pfn-order", blocks });
  assert.equal(harness.of("send").length, 1);
  assert.equal(harness.driver.counters.metadataPeakBytes, 64 * 1024);
  // nr_free tells before the zone is walked, and there is one zone: every block is visited once.
  assert.equal(harness.driver.counters.walkVisits, 5000);
});

Deno.test("merging: neighbours of different orders become one record, sorting finds them all", () => {
  // Free: pages 0-511 (order 9), 512-767 (order 8), 1024-1279 (order 8), 768-1023 in use.
  const blocks = [{ pfn: 1024, order: 8 }, { pfn: 512, order: 8 }, { pfn: 0, order: 9 }];
  const ranges = (merge: string) =>
    run({ policy: singleBatch, blocks, options: { merge } }).of("skip").map((row) => [row.pfn, row.pages]);
  assert.deepEqual(ranges("none"), [[0, 512], [1024, 256], [512, 256]]);
  assert.deepEqual(ranges("adjacent"), [[0, 512], [1024, 256], [512, 256]]);
  assert.deepEqual(ranges("sorted"), [[0, 768], [1024, 256]]);
});

Deno.test("sorting is charged: 3 blocks cost 3 compares of one pass and 3 x 2 of the sort", () => {
  const blocks = [{ pfn: 1024, order: 8 }, { pfn: 512, order: 8 }, { pfn: 0, order: 9 }];
  const costOf = (merge: string) => run({ policy: singleBatch, blocks, options: { merge } }).of("send")[0].costNs;
  // One record less to encode after sorting: 4 ns a record, 2 words of 1 ns; both fit into one cache line.
  assert.equal(costOf("sorted") - costOf("none"), (3 + 6) * 5 - 4 - 2);
});

Deno.test("isolated blocks leave their lists until the answer, and come back", () => {
  const harness = run({ policy: singleBatch, options: { isolate: true, action: "reclaim" } });
  // The very last page stays: isolating it would leave no more than the minimum watermark (0 here).
  assert.equal(harness.of("isolate").length, 109);
  assert.equal(harness.of("put_back").length, 109);
  assert.equal(harness.guest.isolatedPages, 0);
  assert.equal(harness.zone.allocator.freePages, 10 * 2047);
  harness.zone.allocator.validate();
});

Deno.test("acquire: allocate holds the blocks above the low watermark and frees them after the answer", () => {
  const watermarks = { min: 100, low: 1000, high: 2000 };
  const harness = run({ policy: perOrder, options: { acquire: "allocate" }, watermarks });
  const held = harness.of("hold").reduce((sum, { pages }) => sum + pages, 0);
  assert.equal(held, harness.of("release").reduce((sum, { pages }) => sum + pages, 0));
  assert.ok(held > 0 && 10 * 2047 - Math.max(...harness.of("hold").map(({ pages }) => pages)) >= 1000);
  assert.equal(harness.zone.allocator.freePages, 10 * 2047);
});

Deno.test("a bitmap of 2 MiB granules says what it can and counts the rest", () => {
  const harness = run({ policy: singleBatch, encoding: "bitmap", encodingOptions: { granule: "2MiB" } });
  assert.equal(harness.driver.counters.unencodable, 90);
  // One window: an 8-byte head and one data page.
  assert.equal(bytes(harness), 8 + 4096);
});

Deno.test("v5 may spin for its answers, as posted: no interrupt, the same messages", () => {
  const asleep = run({ policy: perOrder });
  const busy = run({ policy: perOrder, options: { wait: "busy" } });
  assert.deepEqual([asleep.of("interrupt").length, busy.of("interrupt").length], [11, 0]);
  const sent = (harness: Harness) => harness.of("send").map(({ pages, bytes }) => [pages, bytes]);
  assert.deepEqual(sent(busy), sent(asleep));
});

Deno.test("as posted, v5 keeps a zone lock when a list does not fit: the guest hangs", () => {
  const options = {
    policy: perOrder,
    encoding: "pfn-order",
    blocks: [{ pfn: 32768, order: 5 }, ...blocksOf(5000, 0, true)],
  };
  const posted = run({ ...options, options: { asPosted: true } });
  assert.equal(
    posted.sim.haltReason,
    "the guest hangs: v5 as posted keeps the lock of zone Normal when order 0 does not fit",
  );
  assert.deepEqual(posted.of("send").map(({ pages }) => pages), [32]);
  assert.equal(run(options).sim.haltReason, undefined);
});

Deno.test("as posted, v5 never says DONE when no block of order 0 is free", () => {
  const unfinished = (blocks: FreeBlock[], asPosted: boolean) =>
    run({ policy: perOrder, blocks, options: { asPosted } }).policy.counters!().unfinished_answers;
  assert.equal(unfinished([{ pfn: 0, order: 3 }], true), 1);
  assert.equal(unfinished([{ pfn: 0, order: 3 }, { pfn: 64, order: 0 }], true), 0);
  assert.equal(unfinished([{ pfn: 0, order: 3 }], false), 0);
});

Deno.test("visits of list nodes on one guest of 4 GiB with 110 free blocks: windows x blocks, or blocks", () => {
  // 4 GiB are four windows of one bitmap. Four bitmaps are one window. The three that are allocated are unmovable, so they come
  // out of the largest movable block: of order 10 one each of orders 9 to 3 is left (116 blocks), the one of order 3 is the
  // second bitmap (115), and the one of order 4 gives the third and leaves one (115).
  const visits = (policy: PolicyPlugin, options = {}) =>
    run({ policy, pages: 2 ** 20, options }).driver.counters.walkVisits;
  assert.deepEqual({
    "one bitmap": visits(bitmapWindows, { maxBitmaps: 1 }),
    "four bitmaps": visits(bitmapWindows),
    "per-order": visits(perOrder),
    "spill-batch": visits(spillBatch),
    "single-batch": visits(singleBatch),
    "single-pass-hybrid": visits(singlePassHybrid),
  }, {
    "one bitmap": 4 * 110,
    "four bitmaps": 115,
    "per-order": 110,
    "spill-batch": 110,
    "single-batch": 110,
    "single-pass-hybrid": 110,
  });
});
