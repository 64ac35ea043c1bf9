import assert from "node:assert/strict";
import { pageHintingBoundary } from "../../policies/page_hinting_boundary.ts";
import { MOVABLE, UNMOVABLE } from "../../sim/guest/allocator.ts";
import type { Zone } from "../../sim/guest/zone.ts";
import { blocksOf, type FreeBlock, Harness, type HarnessOptions } from "./harness.ts";

const PAGES = 2 ** 20;
/** A free block that no policy here looks at keeps the watermark of 0 out of the way. */
const SPARE: FreeBlock = { pfn: PAGES - 2048, order: 4 };

function start(blocks: readonly FreeBlock[], options: Partial<HarnessOptions> = {}): Harness {
  const harness = new Harness({ blocks: [...blocks, SPARE], pages: PAGES, policy: pageHintingBoundary, ...options });
  harness.policy.start!();
  return harness;
}

function list({ allocator }: Zone, order: number): number[] {
  const pfns: number[] = [];
  for (let pfn = allocator.first(order, MOVABLE); pfn >= 0; pfn = allocator.next(pfn, order)) pfns.push(pfn);
  return pfns;
}

function told(harness: Harness): number[][] {
  return harness.of("send").map(({ message }) => {
    return harness.of("discard").filter((row) => row.message === message).map(({ pfn }) => pfn);
  });
}

Deno.test("a first pass comes after 100 ms, from order 10 down, 32 blocks a message, each list from its tail", () => {
  const large = Array.from({ length: 40 }, (_, n) => ({ pfn: n * 1024, order: 10 }));
  const small = Array.from({ length: 3 }, (_, n) => ({ pfn: (100 + n) * 1024, order: 9 }));
  const harness = start([...large, ...small]);
  const before = [list(harness.zone, 10), list(harness.zone, 9)];
  harness.run();
  assert.deepEqual(harness.of("pass").map(({ timeNs }) => timeNs), [100e6]);
  const expected = [...large.toReversed(), ...small.toReversed()].map(({ pfn }) => pfn);
  assert.deepEqual(told(harness), [expected.slice(0, 32), expected.slice(32)]);
  // What was told goes to just before what was told before it: the lists are as they were.
  assert.deepEqual([list(harness.zone, 10), list(harness.zone, 9)], before);
  assert.equal(harness.zone.allocator.reportedPages, 40 * 1024 + 3 * 512);
  const { nodes_visited, nodes_skipped, hinted_order_9, hinted_order_10 } = harness.policy.counters!();
  assert.deepEqual([nodes_visited, nodes_skipped, hinted_order_9, hinted_order_10], [43, 0, 3, 40]);
  harness.zone.allocator.validate();
});

Deno.test("another pass needs 32 blocks of one order that were not told of", () => {
  const harness = start(blocksOf(50, 10));
  harness.run();
  for (let n = 0; n < 32; n++) harness.guest.allocations.put(n, 2 ** 18 + n * 1024, 9, 0);
  for (let n = 0; n < 31; n++) harness.guest.free(n, 0);
  harness.run();
  assert.equal(harness.of("pass").length, 1);
  harness.guest.free(31, 0);
  const freedNs = harness.sim.now;
  harness.run();
  assert.deepEqual(harness.of("pass").map(({ timeNs }) => timeNs), [100e6, freedNs + 100e6]);
  assert.deepEqual(told(harness).slice(2).map((blocks) => blocks.length), [32]);
  // Order 10 has told blocks at both ends: two nodes looked at, both skipped. The 32 of order 9 are taken one by one.
  const { nodes_visited, nodes_skipped, duplicate_reports } = harness.policy.counters!();
  assert.deepEqual([nodes_visited - 50, nodes_skipped, duplicate_reports], [2 + 32, 2, 0]);
});

Deno.test("behind a told tail the head is taken; what stands between told blocks is not seen", () => {
  const harness = start(blocksOf(40, 10));
  harness.run();
  // 32 blocks freed to the head of the list, then a told block is turned to the head: both ends are told.
  for (let n = 0; n < 32; n++) harness.guest.allocations.put(n, 2 ** 18 + n * 2048, 10, 0);
  for (let n = 0; n < 16; n++) harness.guest.free(n, 0);
  harness.zone.allocator.rotate(39 * 1024, 10, MOVABLE);
  for (let n = 16; n < 32; n++) harness.guest.free(n, 0);
  harness.run();
  assert.equal(harness.of("pass").length, 2);
  // The 16 at the head are taken from it, in the order of the list; the 16 in the middle stay.
  const second = told(harness).slice(2);
  assert.deepEqual(second, [Array.from({ length: 16 }, (_, n) => 2 ** 18 + (31 - n) * 2048)]);
  assert.equal(harness.zone.allocator.reportedPages, (40 + 16) * 1024);
});

Deno.test("a block freed to the tail during a pass goes before the boundary, and is told in the same pass", () => {
  // Order 5. The free block of order 6 at 64 makes a merge likely for the block at page 0 while page 32 is in use: to the tail.
  const blocks = [
    { pfn: 64, order: 6 },
    ...blocksOf(12, 5, true).map(({ pfn, order }) => ({ pfn: pfn + 4096, order })),
  ];
  const harness = start(blocks, { options: { order: 5, capacity: 4 } });
  harness.guest.allocations.put(1, 0, 5, 0);
  // The first message holds the order-6 block and three others; put back, they are behind the boundary when the free comes.
  let before: number[] = [];
  const kind = harness.sim.register("test", () => {
    if (harness.of("put_back").length < 5) {
      harness.sim.trace.flush();
      harness.sim.after(1000, kind);
      return;
    }
    before = list(harness.zone, 5);
    harness.guest.free(1, 0);
    const after = list(harness.zone, 5);
    const { allocator } = harness.zone;
    const boundary = after.indexOf(0) + 1;
    assert.deepEqual(after.filter((pfn) => pfn !== 0), before);
    assert.ok(boundary > 0 && boundary < after.length);
    assert.ok(after.slice(boundary).every((pfn) => allocator.isReported(pfn, 5)));
    assert.ok(after.slice(0, boundary).every((pfn) => !allocator.isReported(pfn, 5)));
  });
  harness.sim.at(100e6, kind);
  harness.run();
  assert.ok(before.length > 0);
  assert.equal(harness.of("pass").length, 1);
  assert.equal(told(harness).flat().length, 14);
  assert.ok(told(harness).flat().includes(0));
  harness.zone.allocator.validate();
});

Deno.test("when the boundary itself is allocated, the next told block is the boundary", () => {
  const harness = start(blocksOf(12, 10), { options: { capacity: 4 } });
  let taken = false;
  const kind = harness.sim.register("test", () => {
    harness.sim.trace.flush();
    if (harness.of("put_back").length < 4) {
      harness.sim.after(1000, kind);
      return;
    }
    // Four were told: 8 to 11. Take the first of them off the list, as an allocation would that found nothing else.
    harness.zone.allocator.remove(8 * 1024, 10);
    taken = true;
  });
  harness.sim.at(100e6, kind);
  harness.run();
  assert.ok(taken);
  const pfns = told(harness).flat().map((pfn) => pfn / 1024);
  assert.deepEqual(pfns.toSorted((a, b) => a - b), Array.from({ length: 12 }, (_, n) => n));
});

Deno.test("pageblocks keep their types, unlike with isolation today", () => {
  const harness = start([{ pfn: 0, order: 10, migratetype: UNMOVABLE }]);
  for (const page of [0, 512]) harness.zone.allocator.setPageblockType(page, UNMOVABLE);
  harness.run();
  assert.deepEqual(told(harness), [[0]]);
  assert.deepEqual([0, 512].map((page) => harness.zone.allocator.pageblockType(page)), [UNMOVABLE, UNMOVABLE]);
  assert.equal(harness.zone.allocator.first(10, UNMOVABLE), 0);
});

Deno.test("the pointers take 8 bytes for each list from the smallest order up, a zone 8 for each order", () => {
  // Orders 9 and 10: 2 * 5 lists, and 2 counters in the one zone.
  assert.equal(start([]).driver.counters.metadataPeakBytes, 8 * (2 * 5 + 2));
});
