import assert from "node:assert/strict";
import { v5Heads } from "../../sim/abi/v5_heads.ts";
import { ofWords, withHead } from "./bytes.ts";

const { encode, decode, canonical, sizeOf, work } = v5Heads();

/** page_shift · 2^52 + start_pfn, and bmap_len · 2^58. */
function headOf(pfn: bigint, shift: bigint, bmapLen = 0n): bigint {
  return bmapLen * 2n ** 58n + shift * 2n ** 52n + pfn;
}

Deno.test("v5-heads: bytes computed by hand", () => {
  // Header: cmd 0, flag 0 (CONT), id 5, data_len 16.
  // Order 9 at 2 MiB: pfn 0x200, page_shift 21 = 0x15 in bits 52..57: 0x0150_0000_0000_0200.
  // Order 0 at 16 TiB + 4 KiB: pfn 0x1_0000_0001, page_shift 12: 0x00c0_0001_0000_0001.
  // deno-fmt-ignore
  const bytes = Uint8Array.of(
    0x00, 0x00, 0x05, 0, 0x10, 0, 0x00, 0x00,
    0x00, 0x02, 0x00, 0, 0x00, 0, 0x50, 0x01,
    0x01, 0x00, 0x00, 0, 0x01, 0, 0xc0, 0x00,
  );
  const ranges = [{ pfn: 512, count: 512 }, { pfn: 2 ** 32 + 1, count: 1 }];
  assert.deepEqual(encode(ranges, { cmd: 0, flag: 0, id: 5 }), bytes);
  assert.deepEqual(decode(bytes), ranges);
  assert.deepEqual(v5Heads().descriptors!(ranges), [8, 16]);
});

Deno.test("v5-heads: the id of a request is sent modulo 2^16, as the bit field does", () => {
  assert.deepEqual(v5Heads().decodeHead!(encode([], { cmd: 0, flag: 1, id: 0x12345 })), {
    cmd: 0,
    flag: 1,
    id: 0x2345,
  });
});

Deno.test("v5-heads: a range is split into its maximal aligned blocks, in the order given", () => {
  // [6, 16) = 6..7 | 8..15, then page 1.
  const ranges = [{ pfn: 6, count: 10 }, { pfn: 1, count: 1 }];
  assert.deepEqual(canonical(ranges), [{ pfn: 6, count: 2 }, { pfn: 8, count: 8 }, { pfn: 1, count: 1 }]);
  assert.deepEqual(encode(ranges), withHead(ofWords(headOf(6n, 13n), headOf(8n, 15n), headOf(1n, 12n))));
  assert.deepEqual(work(ranges), { records: 3, words: 4, cacheLines: 1, allocBytes: 32 });
});

Deno.test("v5-heads: page_shift goes up to 63", () => {
  assert.deepEqual(encode([{ pfn: 2 ** 51, count: 2 ** 51 }]), withHead(ofWords(headOf(2n ** 51n, 63n))));
  assert.equal(sizeOf([{ pfn: 0, count: 2 ** 52 }]), 8 + 2 * 8);
});

Deno.test("v5-heads as posted: bmap_len is what the buffer held", () => {
  // 8 in bits 58..63 is bit 61, 0x20 of the highest byte.
  const posted = v5Heads({ asPosted: true, garbage: 8 });
  const bytes = withHead(ofWords(headOf(512n, 21n, 8n), headOf(7n, 12n, 8n)));
  assert.deepEqual(posted.encode([{ pfn: 512, count: 512 }, { pfn: 7, count: 1 }]), bytes);
  // The lucky case are the bytes of the format.
  const lucky = v5Heads({ asPosted: true });
  assert.deepEqual(lucky.encode([{ pfn: 512, count: 512 }]), encode([{ pfn: 512, count: 512 }]));
  assert.deepEqual(lucky.decode(encode([{ pfn: 512, count: 512 }])), [{ pfn: 512, count: 512 }]);
});

Deno.test("v5-heads as posted: a receiver that trusts bmap_len takes the second head for a bitmap of huge pages", () => {
  const posted = v5Heads({ asPosted: true, garbage: 8 });
  // The second head, 8 · 2^58 + 12 · 2^52 + 7, has the bits 0, 1, 2, 54, 55 and 61: of pages of 2 MiB from page 512 on.
  const seen = [{ pfn: 512, count: 3 * 512 }, { pfn: 512 + 54 * 512, count: 1024 }, {
    pfn: 512 + 61 * 512,
    count: 512,
  }];
  assert.deepEqual(posted.canonical([{ pfn: 512, count: 512 }, { pfn: 7, count: 1 }]), seen);
  // Behind the last head there is no bitmap: it says nothing.
  assert.deepEqual(posted.canonical([{ pfn: 512, count: 512 }]), []);
  // bmap_len 63 are eight words.
  assert.deepEqual(v5Heads({ asPosted: true, garbage: 63 }).canonical([{ pfn: 1, count: 63 }]), []);
});

Deno.test("v5-heads: garbage has six bits and is the posted code's", () => {
  const message = "Cannot make v5-heads with garbage 8: only asPosted has it";
  assert.throws(() => v5Heads({ garbage: 8 }), { name: "RangeError", message });
  for (const garbage of [-1, 64, 0.5]) assert.throws(() => v5Heads({ asPosted: true, garbage }), RangeError);
});

Deno.test("v5-heads: decode says what is wrong at which byte", () => {
  const good = headOf(512n, 21n);
  const cases: [Uint8Array, string][] = [
    [new Uint8Array(3), "at byte 0: 3 bytes in all, wanted a header of 8 bytes"],
    [withHead(ofWords(good), 0), "at byte 4: data_len 0, but 8 bytes follow the header"],
    [withHead(Uint8Array.of(...ofWords(good), 1)), "at byte 16: 1 bytes left over, wanted whole records of 8 bytes"],
    [withHead(ofWords(good, headOf(512n, 21n, 8n))), "at byte 16: bmap_len 8 of a block, wanted 0"],
    [withHead(ofWords(headOf(512n, 11n))), "at byte 8: page_shift 11 is below 12, a page"],
    [withHead(ofWords(headOf(513n, 13n))), "at byte 8: start_pfn 513 is not aligned to its page_shift 13"],
  ];
  for (const [bytes, sentence] of cases) {
    assert.throws(() => decode(bytes), { name: "RangeError", message: `Cannot decode v5-heads ${sentence}` });
  }
});
