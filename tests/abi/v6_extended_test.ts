import assert from "node:assert/strict";
import { v6Extended } from "../../sim/abi/v6_extended.ts";
import { ofWords, withHead } from "./bytes.ts";

const { encode, decode, sizeOf, work } = v6Extended();
const posted = v6Extended({ asPosted: true });

Deno.test("v6-extended: bytes computed by hand", () => {
  // Header: cmd 0, flag 1 (DONE), id 0, data_len 24.
  // 1024 pages at 2 MiB: 0x200 · 2^12 + 0x400 = 0x20_0400. 6000 = 0x1770 pages at 16 TiB: 0x1000_0000_0000, then 0x1770.
  // deno-fmt-ignore
  const bytes = Uint8Array.of(
    0x00, 0x01, 0x00, 0, 0x18, 0x00, 0, 0,
    0x00, 0x04, 0x20, 0, 0x00, 0x00, 0, 0,
    0x00, 0x00, 0x00, 0, 0x00, 0x10, 0, 0,
    0x70, 0x17, 0x00, 0, 0x00, 0x00, 0, 0,
  );
  const ranges = [{ pfn: 512, count: 1024 }, { pfn: 2 ** 32, count: 6000 }];
  assert.deepEqual(encode(ranges, { cmd: 0, flag: 1, id: 0 }), bytes);
  assert.deepEqual(decode(bytes), ranges);
  assert.deepEqual(v6Extended().descriptors!(ranges), [8, 24]);
  assert.deepEqual(work(ranges), { records: 2, words: 4, cacheLines: 1, allocBytes: 32 });
});

Deno.test("v6-extended: 4095 pages take one word, 4096 and 4097 take two", () => {
  const message = (count: number) => encode([{ pfn: 512, count }]);
  assert.deepEqual(message(4095), withHead(ofWords(0x20_0fffn)));
  assert.deepEqual(message(4096), withHead(ofWords(0x20_0000n, 4096n)));
  assert.deepEqual(message(4097), withHead(ofWords(0x20_0000n, 4097n)));
});

Deno.test("v6-extended: the last page and all pages that 52 bits can say", () => {
  assert.deepEqual(encode([{ pfn: 2 ** 52 - 1, count: 1 }]), withHead(ofWords(2n ** 64n - 4096n + 1n)));
  assert.deepEqual(encode([{ pfn: 0, count: 2 ** 52 }]), withHead(ofWords(0n, 1n << 52n)));
});

Deno.test("v6-extended: an answer that is done and says nothing is a header alone", () => {
  assert.deepEqual(encode([], { cmd: 0, flag: 1, id: 9 }), Uint8Array.of(0, 1, 9, 0, 0, 0, 0, 0));
  assert.deepEqual(v6Extended().descriptors!([]), [8, 0]);
});

Deno.test("v6-extended as posted: 4096 pages are one word with bit 12 or-ed into it", () => {
  // Even pfn 0x200: 0x20_1000, pfn 0x201. Odd pfn 0x201: bit 12 is set already.
  for (const pfn of [0x200, 0x201]) {
    assert.deepEqual(posted.encode([{ pfn, count: 4096 }]), withHead(ofWords(0x20_1000n)));
  }
  for (const count of [4095, 4097]) {
    assert.deepEqual(posted.encode([{ pfn: 512, count }]), encode([{ pfn: 512, count }]));
  }
});

Deno.test("v6-extended as posted: the receiver takes the record behind for the length", () => {
  // Page 7, one page: 0x7001 = 28,673 pages from the spoilt pfn on; the page itself is lost. At the end nothing follows.
  const ranges = [{ pfn: 0x200, count: 4096 }, { pfn: 7, count: 1 }, { pfn: 9, count: 2 }];
  assert.deepEqual(posted.canonical(ranges), [{ pfn: 0x201, count: 28_673 }, { pfn: 9, count: 2 }]);
  assert.deepEqual(posted.canonical([{ pfn: 9, count: 2 }, { pfn: 0x200, count: 4096 }]), [{ pfn: 9, count: 2 }]);
  // Behind page 2^45 the "length" ends above 2^52 pages: nobody can drop that.
  assert.deepEqual(posted.canonical([{ pfn: 0x200, count: 4096 }, { pfn: 2 ** 45, count: 1 }]), []);
});

Deno.test("v6-extended: a run of single words covers almost 8 GiB with a data page", () => {
  // 512 words of 4095 pages: 8 GiB - 2 MiB.
  const ranges = Array.from({ length: 512 }, (_, index) => ({ pfn: index * 4095, count: 4095 }));
  assert.equal(sizeOf(ranges), 8 + 4096);
  assert.equal(512 * 4095 * 4096, 8 * 2 ** 30 - 2 * 2 ** 20);
});

Deno.test("v6-extended: decode says what is wrong at which byte", () => {
  const cases: [Uint8Array, string][] = [
    [withHead(ofWords(0x1001n, 0x2000n)), "at byte 16: the word with the length is missing"],
    [withHead(ofWords(0x1001n, 0x2000n, 4095n)), "at byte 24: length 4095, wanted at least 4096"],
    [withHead(ofWords(0x2000n, 0n)), "at byte 16: length 0, wanted at least 4096"],
    [
      withHead(ofWords(2n ** 64n - 4094n)),
      "at byte 8: pfn 4503599627370495 with 2 pages ends above the limit of 2^52 pages",
    ],
    [withHead(ofWords(1n), 9), "at byte 4: data_len 9, but 8 bytes follow the header"],
  ];
  for (const [bytes, sentence] of cases) {
    assert.throws(() => decode(bytes), { name: "RangeError", message: `Cannot decode v6-extended ${sentence}` });
  }
});
