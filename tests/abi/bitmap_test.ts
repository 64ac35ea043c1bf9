import assert from "node:assert/strict";
import fc from "fast-check";
import { bitmap, type Granule, granulePages } from "../../sim/abi/bitmap.ts";
import type { Range } from "../../sim/memory/range.ts";

const WINDOW_BITS = 32_768;
const WINDOW_BYTES = 4104;

/** One window: its first granule, and the bytes of the bitmap that are not 0. */
function windowOf(granule: bigint, bits: Record<number, number>): Uint8Array {
  const bytes = new Uint8Array(WINDOW_BYTES);
  new DataView(bytes.buffer).setBigUint64(0, granule, true);
  for (const [at, byte] of Object.entries(bits)) bytes[8 + Number(at)] = byte;
  return bytes;
}

function concat(...parts: Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

Deno.test("bitmap: bytes computed by hand, one window of 4 KiB bits", () => {
  // Page 3: byte 0 bit 3 = 0x08. Pages 6..17: byte 0 bits 6, 7 = 0xc0, byte 1 = 0xff, byte 2 bits 0, 1 = 0x03.
  // Page 32,767: byte 4095 bit 7 = 0x80.
  const bytes = windowOf(0n, { 0: 0xc8, 1: 0xff, 2: 0x03, 4095: 0x80 });
  const ranges = [{ pfn: 3, count: 1 }, { pfn: 6, count: 12 }, { pfn: 32_767, count: 1 }];
  assert.deepEqual(bitmap({ granule: "4KiB" }).encode(ranges), bytes);
  assert.deepEqual(bitmap({ granule: "4KiB" }).decode(bytes), ranges);
});

Deno.test("bitmap: bytes computed by hand, windows of 2 MiB bits are ascending and skip what is not listed", () => {
  // 16 TiB = granule 2^23 = window 256 of 32,768. Granule 2^23 - 1 is the last bit of window 255, which starts at
  // 8,355,840. The run that crosses the seam comes first in the list, granule 9 (byte 1 bit 1) last.
  const bytes = concat(
    windowOf(0n, { 1: 0x02 }),
    windowOf(8_355_840n, { 4095: 0x80 }),
    windowOf(8_388_608n, { 0: 0x01 }),
  );
  const crossing = { pfn: (2 ** 23 - 1) * 512, count: 1024 };
  const low = { pfn: 9 * 512, count: 512 };
  const { encode, decode, sizeOf } = bitmap({ granule: "2MiB" });
  assert.deepEqual(encode([crossing, low]), bytes);
  assert.deepEqual(decode(bytes), [low, crossing]);
  assert.equal(sizeOf([crossing, low]), 3 * WINDOW_BYTES);
});

Deno.test("bitmap: canonical sorts and merges ranges that overlap, touch or repeat", () => {
  const ranges = [{ pfn: 8, count: 8 }, { pfn: 0, count: 4 }, { pfn: 4, count: 6 }, { pfn: 8, count: 8 }];
  assert.deepEqual(bitmap({ granule: "4KiB" }).canonical(ranges), [{ pfn: 0, count: 16 }]);
});

Deno.test("bitmap: error refuses a range that is not aligned to the granule in its start or its length", () => {
  const { error } = bitmap({ granule: "4MiB" });
  assert.equal(error({ pfn: 1024, count: 2048 }), undefined);
  assert.equal(error({ pfn: 512, count: 1024 }), "pfn 512 is not a multiple of 1024 pages, the granule of 4MiB");
  assert.equal(error({ pfn: 1024, count: 512 }), "count 512 is not a multiple of 1024 pages, the granule of 4MiB");
});

Deno.test("bitmap: error bounds a range to 2^32 granules, before an encoder runs out of memory", () => {
  const { error } = bitmap({ granule: "4KiB" });
  assert.equal(error({ pfn: 0, count: 2 ** 32 }), undefined);
  assert.equal(error({ pfn: 0, count: 2 ** 32 + 1 }), "count 4294967297 is more than 2^32 granules of 4KiB");
});

Deno.test("bitmap: work counts the cleared words, not only those with a bit", () => {
  // One bit in each of two windows: 2 ranges + 2 windows; 2 · (1 head + 512) words; 8208 bytes on 129 cache lines.
  const ranges = [{ pfn: 0, count: 1 }, { pfn: WINDOW_BITS, count: 1 }];
  const work = { records: 4, words: 1026, cacheLines: 129, allocBytes: 8208 };
  assert.deepEqual(bitmap({ granule: "4KiB" }).work(ranges), work);
});

Deno.test("bitmap: sizeOf counts each window once, whichever way the ranges go", () => {
  const { sizeOf } = bitmap({ granule: "4KiB" });
  const inWindows = (...windows: [number, number][]) =>
    sizeOf(windows.map(([first, last]) => ({ pfn: first * WINDOW_BITS, count: (last - first) * WINDOW_BITS + 1 }))) /
    WINDOW_BYTES;
  assert.equal(inWindows([0, 0], [0, 0], [1, 1]), 2);
  assert.equal(inWindows([5, 7], [6, 6], [5, 9]), 5);
  assert.equal(inWindows([5, 7], [9, 9], [8, 8]), 5);
  assert.equal(inWindows([9, 9], [3, 3], [9, 9], [0, 4]), 6);
});

Deno.test("bitmap: encode and decode agree with a set of granules", () => {
  const granules = fc.uniqueArray(fc.nat(2 * WINDOW_BITS), { maxLength: 60 });
  fc.assert(
    fc.property(granules, fc.constantFrom<Granule>("4KiB", "2MiB", "4MiB"), (listed, granule) => {
      const pages = granulePages[granule];
      const bytes = bitmap({ granule }).encode(listed.map((index) => ({ pfn: index * pages, count: pages })));
      assert.deepEqual(granulesOf(bytes), [...listed].sort((a, b) => a - b));
      assert.deepEqual(bitmap({ granule }).decode(bytes), runsOf(listed, pages));
    }),
    { numRuns: 500 },
  );
});

Deno.test("bitmap: decode says what is wrong at which byte", () => {
  const good = windowOf(32_768n, { 0: 1 });
  const cases: [Uint8Array, string][] = [
    [good.slice(0, 4103), "at byte 0: 4103 bytes left over, wanted whole records of 4104 bytes"],
    [windowOf(512n, { 0: 1 }), "at byte 0: window start 512 is not a multiple of 32768 granules"],
    [concat(good, good), "at byte 4104: window start 32768 is not above the window before it"],
    [concat(good, windowOf(0n, { 0: 1 })), "at byte 4104: window start 0 is not above the window before it"],
    [concat(good, windowOf(65_536n, {})), "at byte 4104: window 65536 has no bit set, wanted only windows with bits"],
    [windowOf(1n << 43n, { 0: 1 }), "at byte 0: window start 8796093022208 lies above the limit of 2^52 pages"],
  ];
  for (const [bytes, sentence] of cases) {
    const error = { name: "RangeError", message: `Cannot decode bitmap ${sentence}` };
    assert.throws(() => bitmap({ granule: "2MiB" }).decode(bytes), error);
  }
});

/** The granules of a payload, read bit by bit as the format is written down. */
function granulesOf(bytes: Uint8Array): number[] {
  const granules: number[] = [];
  for (let offset = 0; offset < bytes.length; offset += WINDOW_BYTES) {
    const start = Number(new DataView(bytes.buffer).getBigUint64(offset, true));
    for (let at = 0; at < 4096; at++) {
      const byte = bytes[offset + 8 + at];
      for (let bit = 0; byte !== 0 && bit < 8; bit++) {
        if (Math.floor(byte / 2 ** bit) % 2 === 1) granules.push(start + 8 * at + bit);
      }
    }
  }
  return granules;
}

/** Maximal runs of granules, in pages. */
function runsOf(granules: readonly number[], pages: number): Range[] {
  const listed = new Set(granules);
  const firsts = granules.filter((index) => !listed.has(index - 1)).sort((a, b) => a - b);
  return firsts.map((first) => {
    let end = first;
    while (listed.has(end)) end++;
    return { pfn: first * pages, count: (end - first) * pages };
  });
}
