import assert from "node:assert/strict";
import fc from "fast-check";
import { spillBatch } from "../../policies/spill_batch.ts";
import { ORDER_PAGES } from "../../sim/memory/range.ts";
import { blocksOf, type FreeBlock, Harness, type HarnessOptions } from "./harness.ts";

function run(options: Omit<HarnessOptions, "policy">): Harness {
  const harness = new Harness({ policy: spillBatch, encoding: "pfn-order", ...options });
  harness.request();
  return harness;
}

function counters(harness: Harness): Readonly<Record<string, number>> {
  return harness.policy.counters!();
}

/** Pages of each message. */
function sent(harness: Harness): number[] {
  return harness.of("send").map(({ pages }) => pages);
}

/** Blocks with a gap after each, from a page on. */
function from(pfn: number, count: number, order: number): FreeBlock[] {
  return blocksOf(count, order, true).map((block) => ({ ...block, pfn: pfn + block.pfn }));
}

Deno.test("what fits is one message across all orders, without an interrupt as posted", () => {
  const blocks = [...from(0, 3, 10), ...from(8192, 5, 4), ...from(16384, 7, 0)];
  const harness = run({ blocks, pages: 32768 });
  assert.deepEqual(sent(harness), [3 * 1024 + 5 * 16 + 7]);
  assert.equal(harness.of("interrupt").length, 0);
  assert.equal(harness.driver.counters.walkVisits, 15);
  assert.equal(run({ blocks, pages: 32768, options: { wait: "sleep" } }).of("interrupt").length, 1);
});

Deno.test("messages are overflows + 1: 3000 words of order 1, then 3000 of order 0", () => {
  // The buffer has 4096 words. 3000 + 3000 do not fit, so order 1 is sent when order 0 is looked at; then order 0 fits.
  const blocks = [...from(0, 3000, 1), ...from(16384, 3000, 0)];
  const harness = run({ blocks, pages: 32768 });
  assert.deepEqual(sent(harness), [6000, 3000]);
  assert.equal(counters(harness).spills, 1);
  assert.equal(harness.driver.counters.overflows, 1);
  // nr_free tells before the list is walked: no block is visited twice.
  assert.equal(harness.driver.counters.walkVisits, 6000);
  assert.equal(harness.driver.counters.metadataPeakBytes, 32 * 1024);
});

Deno.test("the zone that did not fit is where the walk goes on", () => {
  // Order 0: 3000 words in the first zone, 3000 in the second. The second zone alone is left for the second message.
  const blocks = [...from(0, 3000, 0), ...from(16384, 3000, 0)];
  const harness = run({ blocks, pages: 32768, zoneEnds: [16384] });
  assert.deepEqual(sent(harness), [3000, 3000]);
  const skipped = harness.of("skip").map(({ pfn, message }) => [pfn < 16384, message === 1]);
  assert.ok(skipped.every(([first, one]) => first === one));
  assert.equal(harness.driver.counters.walkVisits, 6000);
});

Deno.test("a list that does not fit into the empty buffer doubles it, with real pages", () => {
  // 5000 words need 64 KiB, a block of order 4. That block is told of first, in a message of its own: it is on its list still.
  const blocks = [{ pfn: 16384, order: 4 }, ...from(0, 5000, 0)];
  const harness = run({ blocks, pages: 32768 });
  assert.deepEqual(sent(harness), [16, 5000]);
  assert.equal(counters(harness).spills, 1);
  assert.deepEqual(harness.of("hold").map(({ pfn, order }) => [pfn, order]), [[16384, 4]]);
  assert.deepEqual(harness.of("release").map(({ pfn, order }) => [pfn, order]), [[16384, 4]]);
  assert.equal(harness.driver.counters.metadataPeakBytes, 64 * 1024);
  assert.equal(harness.zone.allocator.freePages, 5016);
  // The size is kept: the next answer begins with 64 KiB, and its pages are not on a list while that is walked.
  harness.request();
  assert.deepEqual(sent(harness).slice(2), [5000]);
});

Deno.test("without a larger buffer as much of the list is told as fits, and the walk goes on", () => {
  // No block of order 4 is free. 4096 of 5000 words are told; they fill the buffer, so the second zone spills.
  const blocks = [...from(0, 5000, 0), ...from(16384, 10, 0)];
  const harness = run({ blocks, pages: 32768, zoneEnds: [16384] });
  assert.deepEqual(sent(harness), [4096, 10]);
  assert.deepEqual(counters(harness), { spills: 1, left_out_blocks: 904 });
});

Deno.test("as posted the list that did not fit, its order in later zones and the zones before it are left out", () => {
  // Order 1 of the second zone does not fit and no buffer can be had. Order 1 of the first zone is in the buffer by then, so
  // it is sent first; then the second zone does not fit into the empty buffer. Order 0 begins at the second zone.
  const first = [...from(0, 10, 1), ...from(1024, 20, 0)];
  const second = [...from(16384, 5000, 1), ...from(40960, 30, 0)];
  const third = [...from(49152, 40, 1), ...from(57344, 50, 0)];
  const options = { blocks: [...first, ...second, ...third], pages: 65536, zoneEnds: [16384, 49152] };
  const posted = run({ ...options, options: { asPosted: true } });
  assert.deepEqual(sent(posted), [20, 30 + 50]);
  // Left out: 5000 and 40 of order 1, 20 of order 0.
  assert.deepEqual(counters(posted), { spills: 1, left_out_blocks: 5060 });
  const mended = run(options);
  // 4096 of order 1 fill the buffer; the third zone's order 1 and all of order 0 follow.
  assert.deepEqual(sent(mended), [20, 8192, 80 + 20 + 30 + 50]);
  assert.deepEqual(counters(mended), { spills: 2, left_out_blocks: 904 });
});

Deno.test("as posted a cut list is not taken up again", () => {
  // The first failure is at order 1 (5000 words). Then order 0 of the second zone is cut where the buffer ends.
  const blocks = [...from(0, 5000, 1), ...from(32768, 5000, 0), ...from(49152, 5, 0)];
  const harness = run({ blocks, pages: 65536, zoneEnds: [49152], options: { asPosted: true } });
  assert.deepEqual(sent(harness), [4096]);
  // 5000 of order 1, 904 of order 0, and the 5 blocks of the second zone. The zones before the first are none.
  assert.equal(counters(harness).left_out_blocks, 5000 + 904 + 5);
});

Deno.test("a guest without a free block: no message where the format has no header to say DONE", () => {
  const harness = run({ blocks: [], pages: 1024 });
  assert.deepEqual([sent(harness), counters(harness).spills], [[], 0]);
});

Deno.test("isolated blocks come back with the answer to their message", () => {
  const blocks = [...from(0, 3000, 1), ...from(16384, 3000, 0)];
  const harness = run({ blocks, pages: 32768, options: { isolate: true, action: "reclaim" } });
  assert.equal(harness.of("isolate").length, harness.of("put_back").length);
  assert.equal(harness.zone.allocator.freePages, 9000);
  assert.equal(harness.guest.isolatedPages, 0);
  harness.zone.allocator.validate();
});

Deno.test("any lists and any buffer: every block is told once or left out, messages = spills + 1", () => {
  const counts = fc.tuple(...[10, 6, 3, 1, 0].map((order) => fc.nat(order > 5 ? 20 : 3000).map((n) => [n, order])));
  fc.assert(
    fc.property(counts, fc.constantFrom("8KiB", "32KiB", "4MiB"), fc.boolean(), (lists, bufferMax, isolate) => {
      const blocks: FreeBlock[] = [];
      let pfn = 0;
      for (const [count, order] of lists) {
        blocks.push(...from(pfn, count, order));
        pfn += count * 2 * ORDER_PAGES[order];
        pfn = Math.ceil(pfn / 2048) * 2048;
      }
      const pages = Math.max(2048, pfn);
      const before = blocks.reduce((sum, { order }) => sum + ORDER_PAGES[order], 0);
      const harness = run({ blocks, pages, options: { bufferMax, isolate } });
      const { spills, left_out_blocks: leftOut } = counters(harness);
      // The last free block cannot be isolated: that would leave no more than the minimum watermark.
      const silent = blocks.length === 0 || (isolate && blocks.length === 1);
      assert.equal(harness.of("send").length, silent ? 0 : spills + 1);
      assert.equal(harness.driver.counters.overflows, spills);
      assert.ok(leftOut >= 0);
      if (!isolate && harness.of("hold").length === 0) {
        assert.equal(harness.of("skip").length + leftOut, blocks.length);
      }
      assert.equal(harness.zone.allocator.freePages, before);
    }),
    { numRuns: 40 },
  );
});
