import assert from "node:assert/strict";
import fc from "fast-check";
import { PageBitmap } from "../../sim/memory/bitmap.ts";
import { forEachAlignedBlock, ORDER_PAGES } from "../../sim/memory/range.ts";
import { FreeBlocks, releaseGaps } from "../../sim/kho/buddy_release.ts";
import { initShare, kho2025, khoCostsOf } from "../../sim/kho/costs.ts";
import { handOver, takeOver } from "../../sim/kho/handover.ts";
import { trackers } from "../../sim/kho/mod.ts";
import { restoreHandover, RESTORES } from "../../sim/kho/restore.ts";
import { bootPages, khoLayout, Scratch, scratchDefault } from "../../sim/kho/scratch.ts";
import { KhoError } from "../../sim/kho/tracker.ts";
import { LAYOUT, partsOf, workloadOf } from "./machine.ts";

const xarray = trackers.find(({ name }) => name === "xarray-bitmaps-512")!;

Deno.test("gaps become the blocks of memblock's release, and the largest aligned block is found", () => {
  fc.assert(fc.property(fc.nat(5000), fc.integer({ min: 1, max: 9000 }), (pfn, count) => {
    const free = new FreeBlocks();
    free.add(pfn, count, 0);
    const wanted = new Float64Array(11);
    forEachAlignedBlock(pfn, count, 10, (_, order) => wanted[order]++);
    assert.deepEqual(free.blocks, wanted);
    let largest = -1;
    forEachAlignedBlock(pfn, count, 40, (_, order) => largest = Math.max(largest, order));
    assert.equal(free.largestOrder, largest);
    assert.equal(free.pages, count);
  }));
});

Deno.test("the largest order is looked for outside of scratch, the blocks are all", () => {
  const kept = new PageBitmap(4096);
  kept.setRange(2500, 1);
  kept.setRange(3500, 1);
  const free = releaseGaps({ pfn: 0, count: 4096 }, kept, 2048);
  // Outside of scratch are 2048 to 2499, 2501 to 3499 and 3501 to 4095: 512 pages at 2560 and at 3584 are the largest.
  assert.equal(free.largestOrder, 9);
  assert.equal(free.longestPages, 999);
  assert.equal(free.pages, 4094);
  // 2500 pages from 0: 1024 + 1024 + 256 + 128 + 64 + 4. From 2501: 1 + 2 + 8 + 16 + 32 + 512 + 256 + 128 + 32 + 8 + 4.
  // From 3501: 1 + 2 + 16 + 64 + 512. Two of each order.
  assert.deepEqual([...free.blocks], new Array(11).fill(2));
});

Deno.test("scratch holds what boots in it: regions, descriptors, arrays from its end down", () => {
  const scratch = new Scratch(LAYOUT, 32);
  const own = scratch.boot.reduce((sum, { count }) => sum + count, 0);
  // 2 GiB have 524,288 descriptors of 64 bytes, 32 MiB; the rest of the kernel takes 128 MiB.
  assert.equal(own, (32 + 128) * 256);
  assert.equal(scratchDefault(2 ** 19), 2 * own);
  const first = scratch.find(4096);
  assert.equal(first, LAYOUT.scratch.count - 1);
  const second = scratch.find(8192);
  assert.equal(second, first - 2);
  scratch.give(first);
  assert.equal(scratch.find(8192), second - 2, "two pages do not fit into the gap of one");
  assert.equal(scratch.find(4096), first, "one does");
  assert.equal(scratch.find(2 ** 40), -1);
  assert.equal(scratch.peakPages, own + 1 + 4);
});

Deno.test("a successor without room does not boot, and a machine without room is none", () => {
  const layout = khoLayout(2 ** 19, bootPages(2 ** 19));
  assert.throws(() => new Scratch(layout, 32), (error) => error instanceof KhoError && error.code === "ENOMEM");
  assert.throws(() => khoLayout(2 ** 16, 2 ** 16), RangeError);
});

Deno.test("every tracker with every restore: the same pages, no reservation without memblock, fewer visits in one piece", () => {
  for (const plugin of trackers) {
    const parts = partsOf(plugin, workloadOf("checkpoint", { size: "8MiB", clustered: 0.5 }));
    const handed = handOver(parts, []);
    assert.equal(handed.kept.count, 2048);
    const [plain, coalesced, direct] = RESTORES.map((mode) => takeOver(parts, handed, mode, []).restored);
    for (const { kept } of [plain, coalesced, direct]) assert.equal(kept.countBoth(handed.kept), 2048);
    assert.equal(direct.reserve.visits, 0);
    assert.equal(direct.reserve.ns, 0);
    assert.ok(coalesced.reserve.visits <= plain.reserve.visits, plugin.name);
    assert.equal(coalesced.regions, plain.regions, "the array is the same in the end");
    assert.deepEqual(coalesced.walk, plain.walk);
    assert.equal(plain.memmap.descriptors, LAYOUT.pages - 2048, "preserved pages keep their descriptors for later");
    assert.equal(plain.claimNs, 2048 * khoCostsOf(kho2025).initDescriptorNs);
  }
});

Deno.test("a page among 32 regions of the successor: visits by part", () => {
  const parts = partsOf(xarray, workloadOf("one-range", { size: "4KiB", order: 0 }));
  const handed = handOver(parts, []);
  const restored = restoreHandover({ ...parts, handover: handed.handover, free: handed.free, mode: "memblock" });
  // Reserve scans 32 regions and merges over the pair before; the mark scans 33 and merges over the same pair.
  assert.equal(restored.reserve.visits, 32 + 1 + 33 + 1);
  assert.equal(restored.memmap.visits, 33);
  assert.equal(restored.buddy.visits, 33);
  // A chunk page with its entry, and the 64 words of a bitmap of 512 bytes.
  assert.equal(restored.walk.visits, 66);
  const direct = restoreHandover({ ...parts, handover: handed.handover, free: handed.free, mode: "buddy-direct" });
  assert.equal(direct.memmap.visits, 2 ** 19 / 512 + 1, "each pageblock, and the page");
});

Deno.test("the array grows in scratch; where that has no room the restore ends with ENOMEM", () => {
  const layout = khoLayout(2 ** 19, bootPages(2 ** 19) + 32 + 8);
  const parts = partsOf(xarray, workloadOf("checkpoint", { size: "8MiB" }, layout), layout);
  const handed = handOver(parts, []);
  // 2048 scattered pages need an array of 4096 regions, 24 pages, beside the one of 12 that it replaces.
  assert.throws(
    () => takeOver(parts, handed, "memblock", []),
    (error) => error instanceof KhoError && /scratch has no \d+ bytes in a row/.test(error.message),
  );
  assert.equal(takeOver(parts, handed, "buddy-direct", []).restored.regions, 32);
});

Deno.test("threads take the share of the time that S1 measured", () => {
  assert.equal(initShare(0), 1);
  assert.equal(initShare(13), 157.0 / 1785.7);
  // Half way from 6 to 13 threads: (359.3 + 157.0) / 2 ms would be 9.5 threads; 9 are 3/7 of the way.
  assert.ok(Math.abs(initShare(9) - (359.3 - 202.3 * 3 / 7) / 1785.7) < 1e-12);
});

Deno.test("free blocks and preserved pages are all of memory but what the successor took", () => {
  const parts = partsOf(xarray, workloadOf("mixed-folios", { folios: 20 }));
  const { free, kept } = handOver(parts, []);
  const inBlocks = free.blocks.reduce((sum, blocks, order) => sum + blocks * ORDER_PAGES[order], 0);
  assert.equal(inBlocks, free.pages);
  assert.equal(free.pages + kept.count + bootPages(LAYOUT.pages), LAYOUT.pages);
});
