import assert from "node:assert/strict";
import { v8Chunks } from "../../sim/abi/v8_chunks.ts";
import { ofWords, withHead } from "./bytes.ts";

Deno.test("v8-chunks: bytes computed by hand", () => {
  // Header: u8 cmd 2, u8 flag 1, le16 id 0x0304, le32 len 32 = 0x20.
  // 1536 = 0x600 pages at 2 MiB: base 0x200 · 2^12 = 0x20_0000, size 0x60_0000. One page at 16 TiB: base 2^44, size 0x1000.
  // deno-fmt-ignore
  const bytes = Uint8Array.of(
    0x02, 0x01, 0x04, 0x03, 0x20, 0x00, 0, 0,
    0x00, 0x00, 0x20, 0x00, 0x00, 0x00, 0, 0, /**/ 0x00, 0x00, 0x60, 0x00, 0, 0, 0, 0,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0, 0, /**/ 0x00, 0x10, 0x00, 0x00, 0, 0, 0, 0,
  );
  const head = { cmd: 2, flag: 1, id: 0x304 };
  const ranges = [{ pfn: 512, count: 1536 }, { pfn: 2 ** 32, count: 1 }];
  assert.deepEqual(v8Chunks.encode(ranges, head), bytes);
  assert.deepEqual(v8Chunks.decode(bytes), ranges);
  assert.deepEqual(v8Chunks.decodeHead!(bytes), head);
  assert.deepEqual(v8Chunks.work(ranges), { records: 2, words: 5, cacheLines: 1, allocBytes: 40 });
});

Deno.test("v8-chunks: 52 bits of base and of size", () => {
  const bytes = withHead(ofWords(4096n, 2n ** 64n - 4096n));
  assert.deepEqual(v8Chunks.encode([{ pfn: 1, count: 2 ** 52 - 1 }]), bytes);
  assert.equal(v8Chunks.error({ pfn: 0, count: 2 ** 52 }), "count 4503599627370496 does not fit into 52 bits");
});

Deno.test("v8-chunks: header and chunks are one buffer", () => {
  assert.equal(v8Chunks.descriptors, undefined);
});

Deno.test("v8-chunks: decode says what is wrong at which byte", () => {
  const cases: [Uint8Array, string][] = [
    [withHead(ofWords(4096n)), "at byte 8: 8 bytes left over, wanted whole records of 16 bytes"],
    [withHead(ofWords(4096n, 4096n), 17), "at byte 4: data_len 17, but 16 bytes follow the header"],
    [withHead(ofWords(4097n, 4096n)), "at byte 8: reserved bits 1, wanted 0"],
    [withHead(ofWords(4096n, 0xfffn)), "at byte 16: reserved bits 4095, wanted 0"],
    [withHead(ofWords(4096n, 0n)), "at byte 8: count 0 is not a whole number of at least 1 page"],
    [
      withHead(ofWords(0n, 4096n, 4096n, 2n ** 64n - 4096n, 8192n, 2n ** 64n - 4096n)),
      "at byte 40: pfn 2 with 4503599627370495 pages ends above the limit of 2^52 pages",
    ],
  ];
  for (const [bytes, sentence] of cases) {
    assert.throws(() => v8Chunks.decode(bytes), { name: "RangeError", message: `Cannot decode v8-chunks ${sentence}` });
  }
});
