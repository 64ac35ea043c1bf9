import assert from "node:assert/strict";
import { freePageReporting } from "../../policies/free_page_reporting.ts";
import { MOVABLE } from "../../sim/guest/allocator.ts";
import { ORDER_PAGES } from "../../sim/memory/range.ts";
import { blocksOf, Harness } from "./harness.ts";

/**
 * One list with N unreported blocks and no traffic: a pass makes at most ceil(N / 512) + 1 reports of 32 blocks
 * (mm/page_reporting.c page_reporting_cycle). Computed by hand: N = 4096 has a budget of 8, so 9 reports = 288 blocks a pass.
 */
const VECTORS: readonly { blocks: number; passes: number; calls: number; perPass: number; last: number }[] = [
  { blocks: 32, passes: 1, calls: 1, perPass: 32, last: 32 },
  { blocks: 33, passes: 1, calls: 2, perPass: 33, last: 33 },
  { blocks: 65, passes: 2, calls: 3, perPass: 64, last: 1 },
  { blocks: 512, passes: 8, calls: 16, perPass: 64, last: 64 },
  { blocks: 1024, passes: 11, calls: 32, perPass: 96, last: 64 },
  { blocks: 4096, passes: 15, calls: 128, perPass: 288, last: 64 },
  { blocks: 8192, passes: 16, calls: 256, perPass: 544, last: 32 },
];

function blocksPerPass(harness: Harness): number[] {
  const perPass: number[] = [];
  for (const { event } of harness.rows) {
    if (event === "pass") perPass.push(0);
    else if (event === "isolate") perPass[perPass.length - 1]++;
  }
  return perPass;
}

for (const { blocks, passes, calls, perPass, last } of VECTORS) {
  Deno.test(`a list of ${blocks} blocks is reported in ${passes} passes and ${calls} calls`, () => {
    // Isolating the last free block would break the watermark (free <= min + size): one page stays beside the list.
    const spare = { pfn: blocks * 1024, order: 0 };
    const pages = (blocks + 1) * 1024;
    const harness = new Harness({ blocks: [...blocksOf(blocks, 10), spare], pages, policy: freePageReporting });
    harness.policy.start!();
    harness.run();
    assert.equal(harness.of("pass").length, passes);
    assert.equal(harness.of("send").length, calls);
    const each = blocksPerPass(harness);
    assert.deepEqual(each, [...new Array(passes - 1).fill(perPass), last]);
    assert.equal(harness.zone.allocator.reportedPages, blocks * 1024);
    assert.ok(harness.policy.idle!());
    harness.zone.allocator.validate();
  });
}

Deno.test("passes are two seconds apart, counted from the end of the pass before", () => {
  const harness = new Harness({ blocks: blocksOf(65, 10), pages: 65 * 1024, policy: freePageReporting });
  harness.policy.start!();
  harness.run();
  const [first, second] = harness.of("pass");
  const lastOfFirst = harness.rows.filter((row) => row.event === "put_back" && row.timeNs < second.timeNs).at(-1)!;
  assert.equal(first.timeNs, 2e9);
  assert.ok(second.timeNs - lastOfFirst.timeNs >= 2e9 && second.timeNs - lastOfFirst.timeNs < 2e9 + 1e5);
});

Deno.test("at most 32 blocks are isolated at any time, each report is one kick and one interrupt", () => {
  const harness = new Harness({ blocks: blocksOf(512, 10), pages: 512 * 1024, policy: freePageReporting });
  harness.policy.start!();
  harness.run();
  let isolated = 0;
  for (const { event } of harness.rows) {
    if (event === "isolate") isolated++;
    if (event === "put_back") isolated--;
    assert.ok(isolated >= 0 && isolated <= 32);
  }
  for (const event of ["kick", "exit", "interrupt", "ack"]) assert.equal(harness.of(event).length, 16);
});

Deno.test("a zone at its low watermark plus one full report is left alone", () => {
  const blocks = [...blocksOf(20, 10), { pfn: 20 * 1024, order: 0 }];
  const pages = 21 * 1024;
  const guard = 20 * 1024 + 1 - 32 * 512;
  for (const [low, reported] of [[guard, 0], [guard - 1, 20]] as const) {
    const watermarks = { min: 0, low, high: low };
    const harness = new Harness({ blocks, pages, policy: freePageReporting, watermarks });
    harness.policy.start!();
    harness.run();
    assert.equal(harness.of("isolate").length, reported, `low ${low}`);
  }
});

Deno.test("the remainders of a reported block come back unreported, only the large one is reported again", () => {
  const harness = new Harness({ blocks: blocksOf(64, 10), pages: 64 * 1024, policy: freePageReporting });
  harness.policy.start!();
  harness.run();
  const { allocator } = harness.zone;
  assert.equal(harness.guest.alloc(0, 0, MOVABLE, -1, 0) >= 0, true);
  // Splitting a reported order-10 block leaves unreported blocks of orders 9 to 0.
  assert.equal(allocator.reportedPages, 63 * 1024);
  const sentBefore = harness.of("send").length;
  harness.guest.alloc(1, 9, MOVABLE, -1, 0);
  harness.guest.free(1, 0);
  harness.run();
  assert.equal(harness.of("send").length, sentBefore + 1);
  assert.equal(allocator.reportedPages, 63 * 1024 + ORDER_PAGES[9]);
});

Deno.test("a block that merges while it is put back stays unreported and is reported at the higher order", () => {
  // Two order-9 buddies that are both free but not merged cannot exist; one is freed while the other is away.
  const harness = new Harness({
    blocks: [{ pfn: 0, order: 9 }, ...blocksOf(63, 10).slice(1)],
    pages: 63 * 1024,
    policy: freePageReporting,
  });
  harness.guest.allocations.put(7, 512, 9, 0);
  harness.policy.start!();
  const freeNow = harness.sim.register("test", () => harness.guest.free(7, 0));
  harness.sim.at(2_000_003_000, freeNow);
  harness.run();
  const merged = harness.rows.filter(({ event, pfn }) => event === "isolate" && pfn === 0);
  assert.deepEqual(merged.map(({ order }) => order), [9, 10]);
  assert.equal(harness.zone.allocator.reportedPages, 63 * 1024);
});

Deno.test("a walk visits Reported blocks to skip them, and hooks are counted and may cost time", () => {
  const harness = new Harness({
    blocks: blocksOf(64, 10),
    pages: 65 * 1024,
    policy: freePageReporting,
    options: { hookNs: 5 },
  });
  harness.policy.start!();
  harness.run();
  // 64 blocks and a budget of one: 32 are reported, the list turned, 32 more, turned, and the walk skips the first 32 of them.
  const skipped = harness.policy.counters!().nodes_skipped;
  harness.guest.allocations.put(1, 64 * 1024, 9, 0);
  harness.guest.free(1, 0);
  harness.run();
  // The list of order 10 is walked once: all 64 are Reported.
  assert.deepEqual(harness.policy.counters!(), {
    hooks: 1,
    hook_ns: 5,
    nodes_skipped: skipped + 64,
    duplicate_reports: 0,
    duplicate_pages: 0,
  });
});

Deno.test("a smaller order is reported when the option says so", () => {
  const harness = new Harness({
    blocks: blocksOf(40, 5, true),
    pages: 4096,
    policy: freePageReporting,
    options: { order: 5 },
  });
  harness.policy.start!();
  harness.run();
  // The guard leaves low + 32 << 5 = 1024 free pages: 40 * 32 = 1280 are enough; one list of 40 blocks is 32 + 8.
  assert.deepEqual(harness.of("send").map(({ pages }) => pages), [32 * 32, 8 * 32]);
});
