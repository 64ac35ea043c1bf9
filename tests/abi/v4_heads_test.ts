import assert from "node:assert/strict";
import fc from "fast-check";
import { v4Heads } from "../../sim/abi/v4_heads.ts";
import { ofWords, withHead, wordsOf } from "./bytes.ts";

/** page_shift 12 and bmap_len 8: 12 · 2^52 + 8 · 2^58. */
const WORD_HEAD = 0x20c0_0000_0000_0000n;

/** A block: page_shift · 2^52. */
function blockHead(pfn: bigint, shift: bigint): bigint {
  return shift * 2n ** 52n + pfn;
}

Deno.test("v4-heads: bytes computed by hand", () => {
  // Header: cmd 0, flag 1, id 0x0203, data_len 24 = 0x18.
  // Pages 1, 3 and 5: start_pfn 0, page_shift 12 = 0x00c in bits 52..57, bmap_len 8 = bit 61: 0x20c0_0000_0000_0000;
  // the word is 2 + 8 + 32 = 0x2a. 2 MiB at 2 MiB: pfn 0x200, page_shift 21 = 0x15: 0x0150_0000_0000_0200.
  // deno-fmt-ignore
  const bytes = Uint8Array.of(
    0x00, 0x01, 0x03, 0x02, 0x18, 0, 0, 0,
    0x00, 0x00, 0, 0, 0, 0, 0xc0, 0x20,
    0x2a, 0x00, 0, 0, 0, 0, 0x00, 0x00,
    0x00, 0x02, 0, 0, 0, 0, 0x50, 0x01,
  );
  const head = { cmd: 0, flag: 1, id: 0x203 };
  const ranges = [{ pfn: 512, count: 512 }, ...[5, 1, 3].map((pfn) => ({ pfn, count: 1 }))];
  assert.deepEqual(v4Heads.encode(ranges, head), bytes);
  assert.deepEqual(v4Heads.decode(bytes), [...[1, 3, 5].map((pfn) => ({ pfn, count: 1 })), { pfn: 512, count: 512 }]);
  assert.deepEqual(v4Heads.decodeHead!(bytes), head);
  assert.deepEqual(v4Heads.descriptors!(ranges), [8, 24]);
});

Deno.test("v4-heads: of one run the word of its head comes first, then that of its tail, then its blocks", () => {
  // [60, 331): word 0 has bits 60..63; 331 = 5 · 64 + 11, so word 320 has bits 0..10; pages 64..319 are 256 = 2^8,
  // page_shift 20.
  const bytes = withHead(
    ofWords(WORD_HEAD, 0xf000_0000_0000_0000n, WORD_HEAD + 320n, 0x7ffn, blockHead(64n, 20n)),
  );
  assert.deepEqual(v4Heads.encode([{ pfn: 60, count: 271 }]), bytes);
  const seen = [{ pfn: 60, count: 4 }, { pfn: 320, count: 11 }, { pfn: 64, count: 256 }];
  assert.deepEqual(v4Heads.decode(bytes), seen);
});

Deno.test("v4-heads: whole words are blocks, the largest power of two first, aligned to 64 pages only", () => {
  // 192 pages from page 64: 128 (page_shift 19) and 64 (page_shift 18).
  const bytes = withHead(ofWords(blockHead(64n, 19n), blockHead(192n, 18n)));
  assert.deepEqual(v4Heads.encode([{ pfn: 64, count: 192 }]), bytes);
});

Deno.test("v4-heads: the word in which a run ends says the run that begins in it, once", () => {
  // [0, 10) and [20, 128): word 0 has bits 0..9 and 20..63 = 0xffff_ffff_fff0_03ff; pages 64..127 are a block.
  const bytes = withHead(ofWords(WORD_HEAD, 0xffff_ffff_fff0_03ffn, blockHead(64n, 18n)));
  assert.deepEqual(v4Heads.encode([{ pfn: 0, count: 10 }, { pfn: 20, count: 108 }]), bytes);
  assert.equal(v4Heads.work([{ pfn: 0, count: 10 }, { pfn: 20, count: 108 }]).records, 2);
});

Deno.test("v4-heads: a run is cut at each 262,144 pages from the first page rounded down to 64", () => {
  // From page 64 on: the bitmaps begin at 64 and 262,208. 2^18 pages (page_shift 30), then 64 (page_shift 18).
  const bytes = withHead(ofWords(blockHead(64n, 30n), blockHead(262_208n, 18n)));
  assert.deepEqual(v4Heads.encode([{ pfn: 64, count: 262_208 }]), bytes);
  // With page 1 before it they begin at 0 and 262,144: 262,080 pages are all powers of two from 2^17 to 2^6.
  const wider = [{ pfn: 1, count: 1 }, { pfn: 64, count: 262_208 }];
  assert.equal(v4Heads.sizeOf(wider), 8 + 16 + 12 * 8 + 8);
});

Deno.test("v4-heads: start_pfn goes up to 2^52 - 64", () => {
  const bytes = withHead(ofWords(WORD_HEAD + 2n ** 52n - 64n, 1n << 63n));
  assert.deepEqual(v4Heads.encode([{ pfn: 2 ** 52 - 1, count: 1 }]), bytes);
  assert.equal(v4Heads.error({ pfn: 0, count: 2 ** 32 + 1 }), "count 4294967297 is more than 2^32 pages");
  // 2^32 pages are 2^14 bitmaps, each one block.
  assert.equal(v4Heads.sizeOf([{ pfn: 0, count: 2 ** 32 }]), 8 + 8 * 2 ** 14);
});

Deno.test("v4-heads: a partly listed word is a record, a row of n whole words as many blocks as n has bits", () => {
  const areas = fc.array(fc.tuple(fc.nat(3000), fc.integer({ min: 1, max: 500 })), { minLength: 1, maxLength: 20 });
  fc.assert(
    fc.property(areas, (ranges) => {
      const listed = new Set(ranges.flatMap(([pfn, count]) => Array.from({ length: count }, (_, page) => pfn + page)));
      const bytes = v4Heads.encode(ranges.map(([pfn, count]) => ({ pfn, count })));
      assert.deepEqual(pagesOfRecords(bytes), [...listed].sort((a, b) => a - b));
      let wanted = 8;
      let row = 0;
      for (let word = 0; word <= 60; word++) {
        const pages = Array.from({ length: 64 }, (_, bit) => 64 * word + bit).filter((page) => listed.has(page)).length;
        if (pages === 64) row++;
        else {
          wanted += 8 * [...row.toString(2)].filter((digit) => digit === "1").length + (pages > 0 ? 16 : 0);
          row = 0;
        }
      }
      assert.equal(bytes.length, wanted);
    }),
    { numRuns: 500 },
  );
});

Deno.test("v4-heads: decode says what is wrong at which byte", () => {
  const block = blockHead(64n, 18n);
  const other = "the encoder would not write this record for these pages";
  const cases: [Uint8Array, string][] = [
    [new Uint8Array(7), "at byte 0: 7 bytes in all, wanted a header of 8 bytes"],
    [withHead(ofWords(block), 16), "at byte 4: data_len 16, but 8 bytes follow the header"],
    [withHead(Uint8Array.of(1, 2, 3)), "at byte 8: 3 bytes left over, wanted whole records of 8 bytes"],
    [withHead(ofWords(block, block + 1n)), "at byte 16: start_pfn 65 is not a multiple of 64 pages"],
    [withHead(ofWords(blockHead(64n, 17n))), "at byte 8: page_shift 17 of a block, wanted 18 to 30"],
    [withHead(ofWords(blockHead(64n, 31n))), "at byte 8: page_shift 31 of a block, wanted 18 to 30"],
    [withHead(ofWords(WORD_HEAD - (1n << 58n), 1n)), "at byte 8: bmap_len 7, wanted 0 or 8"],
    [withHead(ofWords(WORD_HEAD + (1n << 52n), 1n)), "at byte 8: page_shift 13 of a bitmap, wanted 12"],
    [withHead(ofWords(WORD_HEAD)), "at byte 8: the word of bitmap is missing"],
    [
      withHead(ofWords(blockHead(2n ** 52n - 64n, 19n))),
      "at byte 8: pfn 4503599627370432 with 128 pages ends above the limit of 2^52 pages",
    ],
    // An empty word, a whole word as a bitmap, a block twice, two blocks that are one, blocks in another order.
    [withHead(ofWords(WORD_HEAD, 0n)), `at byte 8: ${other}`],
    [withHead(ofWords(WORD_HEAD, 2n ** 64n - 1n)), `at byte 8: ${other}`],
    [withHead(ofWords(block, block)), `at byte 16: ${other}`],
    [withHead(ofWords(block, block + 64n)), `at byte 8: ${other}`],
    [withHead(ofWords(blockHead(192n, 18n), blockHead(64n, 18n))), `at byte 8: ${other}`],
  ];
  for (const [bytes, sentence] of cases) {
    assert.throws(() => v4Heads.decode(bytes), { name: "RangeError", message: `Cannot decode v4-heads ${sentence}` });
  }
});

/** The pages that the records say, read as domain.md §5.2 has them, sorted and as often as they are said. */
function pagesOfRecords(bytes: Uint8Array): number[] {
  const [, ...words] = wordsOf(bytes);
  const pages: number[] = [];
  for (let index = 0; index < words.length; index++) {
    const start = Number(words[index] % 2n ** 52n);
    const shift = Number((words[index] >> 52n) % 64n);
    const isBitmap = words[index] >> 58n === 8n;
    const bits = isBitmap ? words[++index] : 0n;
    for (let page = 0; page < (isBitmap ? 64 : 2 ** (shift - 12)); page++) {
      if (!isBitmap || (bits >> BigInt(page)) % 2n === 1n) pages.push(start + page);
    }
  }
  return pages.sort((a, b) => a - b);
}
