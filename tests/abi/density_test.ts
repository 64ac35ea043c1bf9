/** The arithmetic of the mailing-list threads about density, computed by hand and held against the code. */
import assert from "node:assert/strict";
import { bitmap } from "../../sim/abi/bitmap.ts";
import { densityOf } from "../../sim/abi/density.ts";
import type { Encoding } from "../../sim/abi/encoding.ts";
import { encodings } from "../../sim/abi/mod.ts";
import { pfnLen } from "../../sim/abi/pfn_len.ts";
import { pfnOrder } from "../../sim/abi/pfn_order.ts";
import { v3Bitmap } from "../../sim/abi/v3_bitmap.ts";
import { v4Heads } from "../../sim/abi/v4_heads.ts";
import { HUGE_PAGES, PAGE_SIZE, pagesOf, type Range } from "../../sim/memory/range.ts";

const GIB = 1024 ** 3;
const WINDOW_GRANULES = 32_768;
const HEAD_BYTES = 8;
const hugeBits = bitmap({ granule: "2MiB" });

/** In one window of 2 MiB granules: a free run of `run` granules at the start of every `period` granules. */
function periodic(period: number, run: number): Range[] {
  const records = Math.floor(WINDOW_GRANULES / period);
  return Array.from({ length: records }, (_, index) => ({
    pfn: index * period * HUGE_PAGES,
    count: run * HUGE_PAGES,
  }));
}

/** Bytes of the bits alone, without the head of the window. */
function bitBytes(ranges: readonly Range[]): number {
  return hugeBits.sizeOf(ranges) - HEAD_BYTES;
}

Deno.test("density: pfn-order takes half the bytes of pfn-len for the same blocks", () => {
  const blocks = Array.from({ length: 512 }, (_, index) => ({ pfn: 2 * index * HUGE_PAGES, count: HUGE_PAGES }));
  assert.equal(pfnLen.sizeOf(blocks), 8192);
  assert.equal(pfnOrder.sizeOf(blocks), 4096);
  // Merged neighbours of different orders, [2M,+2M] and [4M,+4M], are where the length beats the order: as many bytes.
  const merged = [{ pfn: HUGE_PAGES, count: 3 * HUGE_PAGES }];
  assert.equal(pfnLen.sizeOf(merged), 16);
  assert.equal(pfnOrder.sizeOf(merged), 16);
});

/** At `period` the records take just the bytes of the bits; a granule less and they take more, one more and less. */
function assertBreakEven(encoding: Encoding, period: number, run: number): void {
  const bytesAt = (granules: number) => encoding.sizeOf(periodic(granules, run));
  for (const granules of [period - 1, period, period + 1]) assert.equal(bitBytes(periodic(granules, run)), 4096);
  assert.equal(bytesAt(period), 4096);
  assert(bytesAt(period - 1) > 4096, "f/r above the threshold: the bitmap is smaller");
  assert(bytesAt(period + 1) < 4096, "f/r below the threshold: the records are smaller");
}

Deno.test("density: a bitmap without heads beats 8-byte records exactly where f/r is above 1/64", () => {
  // f = 1/period of single granules (r = 1): 32,768/64 = 512 records of 8 bytes = 4096 bytes = 32,768 bits.
  // One granule less: 520 records = 4160 bytes. One more: 504 records = 4032 bytes.
  assertBreakEven(pfnOrder, 64, 1);
  assert.equal(pfnOrder.sizeOf(periodic(63, 1)), 4160);
  assert.equal(pfnOrder.sizeOf(periodic(65, 1)), 4032);
});

Deno.test("density: the threshold of f/r does not depend on how long the runs are", () => {
  // f = r/64 in aligned runs of r granules, one block each: f/r = 1/64 again, from 1.6 % to 50 % of memory free.
  for (const run of [1, 2, 4, 8, 16, 32]) assert.equal(pfnOrder.sizeOf(periodic(64, run)), bitBytes(periodic(64, run)));
  // Twice as many runs at the same f halve r: f/r = 1/32, and the records take twice the bits.
  assert.equal(pfnOrder.sizeOf(periodic(32, 1)), 2 * bitBytes(periodic(32, 1)));
  assert.equal(pfnOrder.sizeOf(periodic(128, 2)), bitBytes(periodic(128, 2)) / 2);
});

Deno.test("density: a bitmap without heads beats 16-byte records exactly where f/r is above 1/128", () => {
  for (const run of [1, 3, 100]) assertBreakEven(pfnLen, 128, run);
});

Deno.test("density: merged runs need a gap each, so the gain is at most 32 x (8 bytes) and 64 x (16 bytes)", () => {
  // Every second granule free: 16,384 records are the most that a window can have.
  const chequered = periodic(2, 1);
  assert.equal(pfnOrder.sizeOf(chequered) / bitBytes(chequered), 32);
  assert.equal(pfnLen.sizeOf(chequered) / bitBytes(chequered), 64);
  // All free: one record against the whole bitmap.
  assert.equal(pfnOrder.sizeOf([{ pfn: 0, count: WINDOW_GRANULES * HUGE_PAGES }]), 8);
});

Deno.test("density: 64 x more dense, one data page of 2 MiB bits covers 64 GiB and one of 8-byte records 1 GiB", () => {
  const window = [{ pfn: 0, count: WINDOW_GRANULES * HUGE_PAGES }];
  assert.equal(bitBytes(window), 4096);
  assert.equal(pagesOf(window) * PAGE_SIZE, 64 * GIB);
  assert.equal(hugeBits.sizeOf([{ pfn: 0, count: window[0].count + HUGE_PAGES }]), 2 * (HEAD_BYTES + 4096));
  const blocks = Array.from({ length: 512 }, (_, index) => ({ pfn: index * HUGE_PAGES, count: HUGE_PAGES }));
  assert.equal(pfnOrder.sizeOf(blocks), 4096);
  assert.equal(pagesOf(blocks) * PAGE_SIZE, 1 * GIB);
  // With 16-byte {address, length} records a data page says 512 MiB.
  assert.equal(pfnLen.sizeOf(blocks.slice(0, 256)), 4096);
});

Deno.test("density: one data page of bits covers 128 MiB in 4 KiB granules and 128 GiB in 4 MiB granules", () => {
  const bytesFor = (granule: "4KiB" | "4MiB", bytes: number) =>
    bitmap({ granule }).sizeOf([{ pfn: 0, count: bytes / PAGE_SIZE }]);
  assert.equal(bytesFor("4KiB", GIB / 8), HEAD_BYTES + 4096);
  assert.equal(bytesFor("4KiB", GIB / 8 + PAGE_SIZE), 2 * (HEAD_BYTES + 4096));
  assert.equal(bytesFor("4MiB", 128 * GIB), HEAD_BYTES + 4096);
});

Deno.test("density: 32 KiB of 4 KiB bits say 1 GiB, not the 4 GiB of the mail of 4 November 2016", () => {
  // 32 KiB = 262,144 bits = 262,144 pages: 8 windows here, whose heads the original did not have.
  assert.equal(bitmap({ granule: "4KiB" }).sizeOf([{ pfn: 0, count: GIB / PAGE_SIZE }]), 32 * 1024 + 8 * HEAD_BYTES);
});

Deno.test("density: 1 TiB in 4 KiB bits takes 32 MiB plus heads", () => {
  const bytes = bitmap({ granule: "4KiB" }).sizeOf([{ pfn: 0, count: 1024 * GIB / PAGE_SIZE }]);
  assert.equal(bytes, 8192 * (HEAD_BYTES + 4096));
});

Deno.test("density: the 32 bitmaps of v3 say 32 GiB, not the 128 GiB of the mail of 6 November 2016", () => {
  const { messageMax, sizeOf } = v3Bitmap();
  assert.equal(sizeOf([{ pfn: 0, count: 32 * GIB / PAGE_SIZE }]), messageMax);
  assert(sizeOf([{ pfn: 0, count: 32 * GIB / PAGE_SIZE + 1 }]) > messageMax);
});

Deno.test("density: 1 TiB is 1024 windows of one bitmap, 32 of 32 bitmaps, 33 when a hole pushes max_pfn up", () => {
  const windows = (bitmaps: number, bytes: number) => {
    const { sizeOf, messageMax } = v3Bitmap({ bitmaps, window: "whole" });
    return (sizeOf([{ pfn: 0, count: bytes / PAGE_SIZE }]) - 32) / (messageMax - 32);
  };
  assert.equal(windows(1, 1024 * GIB), 1024);
  assert.equal(windows(32, 1024 * GIB), 32);
  assert.equal(windows(32, 1025 * GIB), 33);
});

Deno.test("density: a bitmap record of v4 says 64 pages, 256 KiB, and half of it is metadata", () => {
  const everySecond = (pages: number) =>
    Array.from({ length: pages / 2 }, (_, index) => ({ pfn: 2 * index, count: 1 }));
  assert.equal(v4Heads.sizeOf(everySecond(64)), 8 + 16);
  assert.equal(64 * PAGE_SIZE, 256 * 1024);
  assert.equal(v4Heads.sizeOf(everySecond(6400)), 8 + 100 * 16);
  // Not even a large page: 2 MiB with a hole in each word are 8 records.
  assert.equal(v4Heads.sizeOf(everySecond(HUGE_PAGES)), 8 + 8 * 16);
});

Deno.test("density: where neighbours of different orders merge a length says what takes two orders", () => {
  // [2M,+2M] [4M,+1M] -> [2M,+3M]: Andrea Arcangeli's only case. Alone at the end: 8 MiB, a power of two.
  const blocks = [{ pfn: 512, count: 512 }, { pfn: 1024, count: 256 }, { pfn: 8192, count: 2048 }];
  const { pages, runs, unevenShare, bytes } = densityOf(blocks, encodings.map(({ create }) => create({})));
  assert.deepEqual([pages, runs, unevenShare], [2816, 2, 0.5]);
  // Blocks are encoded as they are given, three of each: header 8 for v5, v6 and v8. v4 merges: 768 = 512 + 256 pages.
  assert.equal(bytes.get("pfn-order"), 24);
  assert.equal(bytes.get("pfn-len"), 48);
  assert.equal(bytes.get("pfn-list"), 4 * 2816);
  assert.equal(bytes.get("v4-heads"), 8 + 24);
  assert.equal(bytes.get("v5-heads"), 8 + 24);
  assert.equal(bytes.get("v6-extended"), 8 + 24);
  assert.equal(bytes.get("v8-chunks"), 8 + 48);
  assert.equal(bytes.get("sg"), 48);
  // Pages 512..10239: 152 words of 64.
  assert.equal(bytes.get("v3-bitmap"), 32 + 152 * 8);
  assert.equal(bytes.get("hybrid"), 16);
  assert.equal(bytes.get("bitmap"), 4104);
});

Deno.test("density: set bits are counted over the words with a bit, and over all from the first to the last", () => {
  // Words 0 and 1 hold pages 60..67 (4 + 4), word 3 pages 200 and 202; word 2 is empty: 10 bits in 3 of 4 words.
  const blocks = [{ pfn: 200, count: 1 }, { pfn: 60, count: 8 }, { pfn: 202, count: 1 }];
  const { bitsPerSetWord, bitsPerWord, unevenShare, blocks: given } = densityOf(blocks, []);
  assert.deepEqual([bitsPerSetWord, bitsPerWord, unevenShare, given], [10 / 3, 10 / 4, 0, 3]);
});

Deno.test("density: nothing is dense in nothing, and what an encoding cannot say has no bytes", () => {
  const { pages, runs, unevenShare, bitsPerSetWord, bitsPerWord } = densityOf([], []);
  assert.deepEqual([pages, runs, unevenShare, bitsPerSetWord, bitsPerWord], [0, 0, 0, 0, 0]);
  const { bytes } = densityOf([{ pfn: 1, count: 1 }], [hugeBits, pfnLen]);
  assert.deepEqual([...bytes], [["pfn-len", 16]]);
});
