import assert from "node:assert/strict";
import { v3Bitmap } from "../../sim/abi/v3_bitmap.ts";

const BITMAP_PAGES = 262_144;
const whole = v3Bitmap({ bitmaps: 1, window: "whole" });
const posted = v3Bitmap({ asPosted: true });

/** The 32 bytes of a header, all fields 0 but page_shift, start_pfn and bmap_len. */
function headOf(start: bigint, bmapLen: bigint): Uint8Array {
  const view = new DataView(new ArrayBuffer(32));
  view.setUint16(2, 12, true);
  view.setBigUint64(16, start, true);
  view.setBigUint64(24, bmapLen, true);
  return new Uint8Array(view.buffer);
}

function concat(...parts: Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

Deno.test("v3-bitmap: bytes computed by hand", () => {
  // Pages 70 and 128..130: start_pfn 70 rounded down to 64; the last page is bit 66, so two words, bmap_len 16.
  // Bit 6 is byte 0, 0x40; bits 64..66 are byte 8, 0x07. cmd 0x0102, page_shift 12, flag 1 (DONE), req_id 0x1_0000_0007.
  // deno-fmt-ignore
  const bytes = Uint8Array.of(
    0x02, 0x01, /**/ 0x0c, 0, /**/ 0x01, 0, /**/ 0, 0,
    0x07, 0, 0, 0, 0x01, 0, 0, 0,
    0x40, 0, 0, 0, 0, 0, 0, 0,
    0x10, 0, 0, 0, 0, 0, 0, 0,
    0x40, 0, 0, 0, 0, 0, 0, 0,
    0x07, 0, 0, 0, 0, 0, 0, 0,
  );
  const ranges = [{ pfn: 128, count: 3 }, { pfn: 70, count: 1 }];
  const head = { cmd: 0x102, flag: 1, id: 2 ** 32 + 7 };
  assert.deepEqual(v3Bitmap().encode(ranges, head), bytes);
  assert.deepEqual(v3Bitmap().decode(bytes), [{ pfn: 70, count: 1 }, { pfn: 128, count: 3 }]);
  assert.deepEqual(v3Bitmap().decodeHead!(bytes), head);
  assert.deepEqual(v3Bitmap().descriptors!(ranges), [32, 16]);
});

Deno.test("v3-bitmap: a page above 16 TiB, start_pfn in both halves", () => {
  // pfn 2^40 + 65: start 2^40 + 64, bit 1.
  const bytes = concat(headOf((1n << 40n) + 64n, 8n), Uint8Array.of(2, 0, 0, 0, 0, 0, 0, 0));
  assert.deepEqual(v3Bitmap().encode([{ pfn: 2 ** 40 + 65, count: 1 }]), bytes);
});

Deno.test("v3-bitmap: 32 GiB take 32 bitmaps of 32 KiB, 33 descriptors, and one word more is refused", () => {
  const window = { pfn: 64, count: 32 * BITMAP_PAGES };
  const { encode, sizeOf, descriptors, error, messageMax } = v3Bitmap();
  assert.equal(messageMax, 32 + 2 ** 20);
  assert.equal(sizeOf([window]), messageMax);
  assert.deepEqual(descriptors!([window]), [32, ...Array.from({ length: 32 }, () => 32_768)]);
  const wider = [window, { pfn: 64 + window.count, count: 1 }];
  assert.equal(error({ pfn: 0, count: 2 ** 40 }), undefined);
  const message = "Cannot encode 1048616 bytes as one v3-bitmap message: at most 1048608 fit";
  assert.throws(() => encode(wider), { name: "RangeError", message });
});

Deno.test("v3-bitmap: with fewer bitmaps a message spans less", () => {
  const one = v3Bitmap({ bitmaps: 1 });
  assert.equal(one.messageMax, 32 + 32_768);
  // A GiB that starts in the middle of a word spans one word more than a bitmap has.
  assert.equal(one.sizeOf([{ pfn: 64, count: BITMAP_PAGES }]), one.messageMax);
  assert.equal(one.sizeOf([{ pfn: 65, count: BITMAP_PAGES }]), one.messageMax + 8);
});

Deno.test("v3-bitmap: a whole window is sent whatever is listed, from a multiple of it on", () => {
  // Page 262,145 is bit 1 of the second window of one bitmap.
  const bitmap = new Uint8Array(32_768);
  bitmap[0] = 2;
  const bytes = concat(headOf(262_144n, 32_768n), bitmap);
  assert.deepEqual(whole.encode([{ pfn: BITMAP_PAGES + 1, count: 1 }]), bytes);
  assert.deepEqual(whole.decode(bytes), [{ pfn: BITMAP_PAGES + 1, count: 1 }]);
  // Two windows are two messages.
  assert.equal(whole.sizeOf([{ pfn: BITMAP_PAGES - 1, count: 2 }]), 32 + 2 * 32_768);
  assert.throws(() => whole.encode([{ pfn: BITMAP_PAGES - 1, count: 2 }]), RangeError);
});

Deno.test("v3-bitmap: work counts whole bitmaps, which are cleared before bits are set", () => {
  // One page: 8 bytes of bitmap are sent, 32 KiB cleared: 4 + 4096 words, 32,800 bytes on 513 cache lines.
  const one = { records: 2, words: 4100, cacheLines: 513, allocBytes: 32_800 };
  assert.deepEqual(v3Bitmap().work([{ pfn: 5, count: 1 }]), one);
  // 300,000 pages apart: two bitmaps.
  const ranges = [{ pfn: 0, count: 1 }, { pfn: 300_000, count: 1 }];
  assert.deepEqual(v3Bitmap().work(ranges), { records: 4, words: 8196, cacheLines: 1025, allocBytes: 65_568 });
  assert.deepEqual(posted.work(ranges), v3Bitmap().work(ranges));
});

Deno.test("v3-bitmap as posted: fewer than 262,144 pages send the header alone, with the bmap_len that should follow", () => {
  const ranges = [{ pfn: 64, count: BITMAP_PAGES - 64 }];
  assert.deepEqual(posted.encode(ranges), headOf(64n, 32_760n));
  assert.deepEqual(posted.descriptors!(ranges), [32]);
  assert.deepEqual(posted.canonical(ranges), []);
  assert.deepEqual(v3Bitmap().descriptors!(ranges), [32, 32_760]);
  assert.deepEqual(v3Bitmap().canonical(ranges), ranges);
});

Deno.test("v3-bitmap as posted: the last buffer is longer than its bitmap, and the pages behind that are lost", () => {
  // 300,032 pages = 37,504 bytes: one whole bitmap, posted with all 37,504 bytes.
  const ranges = [{ pfn: 0, count: 300_000 }];
  assert.deepEqual(posted.descriptors!(ranges), [32, 37_504]);
  assert.deepEqual(v3Bitmap().descriptors!(ranges), [32, 32_768, 4736]);
  const bytes = posted.encode(ranges);
  assert.equal(bytes.length, 32 + 37_504);
  assert.deepEqual(bytes.slice(32), concat(new Uint8Array(32_768).fill(0xff), new Uint8Array(4736)));
  assert.deepEqual(posted.decode(bytes), [{ pfn: 0, count: BITMAP_PAGES }]);
});

Deno.test("v3-bitmap as posted: whole bitmaps are not rounded", () => {
  const ranges = [{ pfn: 128, count: 3 * BITMAP_PAGES }];
  assert.deepEqual(posted.encode(ranges), v3Bitmap().encode(ranges));
  const settings = { bitmaps: 2, window: "whole" } as const;
  const wholePosted = v3Bitmap({ ...settings, asPosted: true });
  assert.deepEqual(wholePosted.encode([{ pfn: 7, count: 1 }]), v3Bitmap(settings).encode([{ pfn: 7, count: 1 }]));
});

Deno.test("v3-bitmap: decode says what is wrong at which byte", () => {
  const word = Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0);
  const zeros = new Uint8Array(8);
  const changed = (at: number, byte: number) => {
    const bytes = concat(headOf(64n, 8n), word);
    bytes[at] = byte;
    return bytes;
  };
  const cases: [Uint8Array, string][] = [
    [new Uint8Array(31), "at byte 0: 31 bytes in all, wanted a header of 32 bytes"],
    [changed(2, 13), "at byte 2: page_shift 13, wanted 12"],
    [changed(6, 1), "at byte 6: reserved 1, wanted 0"],
    [changed(14, 0x20), "at byte 8: req_id lies above 2^53 - 1"],
    [headOf(64n, 8n), "at byte 24: bmap_len 8, but 0 bytes follow, wanted 8"],
    [headOf(64n, 12n), "at byte 24: bmap_len 12, wanted a multiple of 8 up to 1048576"],
    [concat(headOf(64n, 1n << 21n), word), "at byte 24: bmap_len 2097152, wanted a multiple of 8 up to 1048576"],
    [concat(headOf(65n, 8n), word), "at byte 16: start_pfn 65 of 8 bytes, wanted a multiple of 64 pages"],
    [headOf(64n, 0n), "at byte 16: start_pfn 64 of 0 bytes, wanted a multiple of 64 pages"],
    [
      concat(headOf(1n << 52n, 8n), word),
      "at byte 16: start_pfn 4503599627370496 lies above the limit of 2^52 pages",
    ],
    [
      concat(headOf(64n, 16n), word, zeros),
      "at byte 32: no bit set in the first or the last word that the header announces",
    ],
    [
      concat(headOf(64n, 16n), zeros, word),
      "at byte 32: no bit set in the first or the last word that the header announces",
    ],
  ];
  for (const [bytes, sentence] of cases) {
    assert.throws(() => v3Bitmap().decode(bytes), {
      name: "RangeError",
      message: `Cannot decode v3-bitmap ${sentence}`,
    });
  }
});

Deno.test("v3-bitmap: wrong options are refused", () => {
  for (const bitmaps of [0, 33, 1.5]) {
    const message = `Cannot make a v3-bitmap of ${bitmaps} bitmaps: wanted 1 to 32`;
    assert.throws(() => v3Bitmap({ bitmaps }), { name: "RangeError", message });
  }
  const message = "Cannot make a v3-bitmap of window half: wanted one of fitted, whole";
  assert.throws(() => v3Bitmap({ window: "half" as "whole" }), { name: "RangeError", message });
});
