import assert from "node:assert/strict";
import fc from "fast-check";
import { bitmap, type Granule, granulePages } from "../../sim/abi/bitmap.ts";
import { hybrid } from "../../sim/abi/hybrid.ts";
import type { Range } from "../../sim/memory/range.ts";
import { ofWords, wordsOf } from "./bytes.ts";

const WINDOW_BITS = 32_768;
const fine = hybrid({ granule: "4KiB" });

/** Single granules at every `period`-th place from `first` on. */
function scattered(count: number, period: number, first = 0, pages = 1): Range[] {
  return Array.from({ length: count }, (_, index) => ({ pfn: (first + index * period) * pages, count: pages }));
}

function concat(...parts: Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

Deno.test("hybrid: bytes of extents computed by hand", () => {
  // 2 pages from page 3: 3 · 2^12 + 2 = 0x3002. 4094 from 16: 0x1_0ffe. 4095 from 8192: 0x200_0000 and 0xfff in a word of its
  // own. 2^32 pages from 2^40: 2^52, then 2^32; in the order of the pages, not of the list.
  const ranges = [
    { pfn: 2 ** 40, count: 2 ** 32 },
    { pfn: 8192, count: 4095 },
    { pfn: 3, count: 2 },
    { pfn: 16, count: 4094 },
  ];
  const bytes = ofWords(0x3002n, 0x1_0ffen, 0x200_0000n, 0xfffn, 2n ** 52n, 2n ** 32n);
  assert.deepEqual(fine.encode(ranges), bytes);
  assert.deepEqual(fine.decode(bytes), [ranges[2], ranges[3], ranges[1], ranges[0]]);
});

Deno.test("hybrid: bytes of a bitmap computed by hand, between an extent before and one that crosses its end", () => {
  // Window 0: page 5. Window 1: 600 pages at every second place from 32,768 on, 4800 bytes as extents; as bits 0, 2, ...
  // 1198 they are 18 words of 0x5555_5555_5555_5555 (32 bits each, 576) and 24 bits in the next one, up to bit 46.
  // The run that starts at the last page of window 1 goes on and stays an extent: 65,535 · 2^12 + 3.
  const ranges = [{ pfn: 5, count: 1 }, ...scattered(600, 2, WINDOW_BITS), { pfn: 65_535, count: 3 }];
  const bits = Array.from({ length: 512 }, (_, word): bigint => word < 18 ? 0x5555_5555_5555_5555n : 0n);
  bits[18] = 0x5555_5555_5555n;
  const bytes = concat(ofWords(0x5001n, (32_768n << 12n) + 4095n), ofWords(...bits), ofWords(0xffff003n));
  assert.deepEqual(fine.encode(ranges), bytes);
  assert.deepEqual(fine.decode(bytes), ranges);
});

Deno.test("hybrid: 513 short runs in a window are extents, 514 a bitmap", () => {
  assert.equal(fine.sizeOf(scattered(513, 3)), 513 * 8);
  assert.equal(fine.sizeOf(scattered(514, 3)), 8 + 4096);
  // The runs of another window do not count.
  assert.equal(fine.sizeOf([...scattered(513, 3), ...scattered(513, 3, WINDOW_BITS)]), 2 * 513 * 8);
  assert.deepEqual(fine.work(scattered(513, 3)), { records: 513, words: 513, cacheLines: 65, allocBytes: 4104 });
  assert.deepEqual(fine.work(scattered(514, 3)), { records: 515, words: 513, cacheLines: 65, allocBytes: 4104 });
});

Deno.test("hybrid: a granule of 2 MiB counts in 2 MiB", () => {
  const { encode, error } = hybrid({ granule: "2MiB" });
  assert.deepEqual(encode([{ pfn: 1024, count: 512 }]), ofWords(0x2001n));
  assert.equal(error({ pfn: 1, count: 512 }), "pfn 1 is not a multiple of 512 pages, the granule of 2MiB");
  const message = "Cannot make a hybrid of granule 1GiB: wanted one of 4KiB, 2MiB, 4MiB";
  assert.throws(() => hybrid({ granule: "1GiB" as Granule }), { name: "RangeError", message });
});

Deno.test("hybrid: it is never larger than its extents or, but for runs over a seam, than the bitmap", () => {
  const windows = fc.array(
    fc.record({
      window: fc.nat(3),
      runs: fc.integer({ min: 1, max: 1200 }),
      period: fc.integer({ min: 2, max: 27 }),
      first: fc.nat(WINDOW_BITS),
    }),
    { minLength: 1, maxLength: 5 },
  );
  fc.assert(
    fc.property(windows, fc.constantFrom<Granule>("4KiB", "2MiB"), (areas, granule) => {
      const pages = granulePages[granule];
      const ranges = areas.flatMap(({ window, runs, period, first }) =>
        scattered(runs, period, window * WINDOW_BITS + first, pages)
      );
      const { encode, decode, canonical, sizeOf } = hybrid({ granule });
      const bytes = encode(ranges);
      assert.equal(bytes.length, sizeOf(ranges));
      assert.deepEqual(decode(bytes), canonical(ranges));
      assert.deepEqual(granulesOf(bytes), granulesIn(ranges, pages));
      const runs = canonical(ranges);
      assert(bytes.length <= runs.reduce((sum, { count }) => sum + (count / pages < 4095 ? 8 : 16), 0));
      const windowPages = WINDOW_BITS * pages;
      const crossing = runs.filter(({ pfn, count }) => pfn % windowPages + count > windowPages);
      assert(bytes.length <= bitmap({ granule }).sizeOf(ranges) + 16 * crossing.length);
    }),
    { numRuns: 200 },
  );
});

Deno.test("hybrid: decode says what is wrong at which byte", () => {
  const window = (start: bigint, ...words: [number, bigint][]) => {
    const bits = Array.from({ length: 512 }, (): bigint => 0n);
    for (const [index, word] of words) bits[index] = word;
    return ofWords((start << 12n) + 4095n, ...bits);
  };
  const other = "the encoder would not write this record for these pages";
  const cases: [Uint8Array, string][] = [
    [new Uint8Array(9), "at byte 8: 1 bytes left over, wanted whole records of 8 bytes"],
    [ofWords(0x1001n, 0x3000n), "at byte 8: the word with the length is missing"],
    [ofWords(0x3000n, 4094n), "at byte 0: length 4094 in a word of its own, wanted at least 4095"],
    [window(0n).slice(0, 4096), "at byte 0: 4088 bytes of bits, wanted 4096"],
    [window(64n), "at byte 0: window start 64 is not a multiple of 32768 granules"],
    [
      ofWords(2n ** 64n - 4096n + 2n),
      "at byte 0: granule 4503599627370495 with 2 granules ends above the limit of 2^52 pages",
    ],
    // A bitmap that extents beat, runs that touch, runs in another order.
    [window(0n, [0, 5n]), `at byte 0: ${other}`],
    [ofWords(0x1001n, 0x2001n), `at byte 0: ${other}`],
    [ofWords(0x3001n, 0x1001n), `at byte 0: ${other}`],
    [ofWords(0x1001n, 0x1001n), `at byte 8: ${other}`],
  ];
  for (const [bytes, sentence] of cases) {
    assert.throws(() => fine.decode(bytes), { name: "RangeError", message: `Cannot decode hybrid ${sentence}` });
  }
});

/** The granules of ranges, sorted, each once. */
function granulesIn(ranges: readonly Range[], pages: number): number[] {
  const granules = ranges.flatMap(({ pfn, count }) =>
    Array.from({ length: count / pages }, (_, index) => pfn / pages + index)
  );
  return [...new Set(granules)].sort((a, b) => a - b);
}

/** The granules of a payload, read record by record as the format is written down. */
function granulesOf(bytes: Uint8Array): number[] {
  const words = wordsOf(bytes);
  const granules: number[] = [];
  for (let index = 0; index < words.length; index++) {
    const start = Number(words[index] >> 12n);
    const length = Number(words[index] % 4096n);
    if (length === 4095) {
      for (let bit = 0; bit < WINDOW_BITS; bit++) {
        const word = words[index + 1 + Math.floor(bit / 64)];
        if (word !== 0n && (word >> BigInt(bit % 64)) % 2n === 1n) granules.push(start + bit);
      }
      index += 512;
    } else {
      const count = length === 0 ? Number(words[++index]) : length;
      for (let granule = 0; granule < count; granule++) granules.push(start + granule);
    }
  }
  return granules;
}
