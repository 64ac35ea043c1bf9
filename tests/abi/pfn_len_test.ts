import assert from "node:assert/strict";
import { pfnLen } from "../../sim/abi/pfn_len.ts";

Deno.test("pfn-len: bytes computed by hand", () => {
  // 0x0000_0001_0000_0200 = 2^32 + 512: page at 16 TiB + 2 MiB; 0x0600 = 1536 pages = 6 MiB; then page 1, one page.
  // deno-fmt-ignore
  const bytes = Uint8Array.of(
    0x00, 0x02, 0, 0, 0x01, 0, 0, 0, /**/ 0x00, 0x06, 0, 0, 0, 0, 0, 0,
    0x01, 0x00, 0, 0, 0x00, 0, 0, 0, /**/ 0x01, 0x00, 0, 0, 0, 0, 0, 0,
  );
  const ranges = [{ pfn: 2 ** 32 + 512, count: 1536 }, { pfn: 1, count: 1 }];
  assert.deepEqual(pfnLen.encode(ranges), bytes);
  assert.deepEqual(pfnLen.decode(bytes), ranges);
});

Deno.test("pfn-len: overlapping, touching and repeated ranges stay as they are", () => {
  const ranges = [{ pfn: 8, count: 8 }, { pfn: 0, count: 8 }, { pfn: 4, count: 8 }, { pfn: 8, count: 8 }];
  assert.deepEqual(pfnLen.decode(pfnLen.encode(ranges)), ranges);
});

Deno.test("pfn-len: work counts two words a pair and cache lines of the whole payload", () => {
  const ranges = Array.from({ length: 5 }, (_, index) => ({ pfn: 2 * index, count: 1 }));
  // 5 pairs = 80 bytes = 10 words, on a second cache line.
  assert.deepEqual(pfnLen.work(ranges), { records: 5, words: 10, cacheLines: 2, allocBytes: 80 });
});

Deno.test("pfn-len: decode says what is wrong at which byte", () => {
  const ofWords = (...words: bigint[]) => new Uint8Array(BigUint64Array.from(words).buffer);
  const cases: [Uint8Array, string][] = [
    [new Uint8Array(24).fill(1), "at byte 16: 8 bytes left over, wanted whole records of 16 bytes"],
    [ofWords(0n, 1n, 7n, 0n), "at byte 16: count 0 is not a whole number of at least 1 page"],
    [ofWords(1n, 1n << 52n), "at byte 0: pfn 1 with 4503599627370496 pages ends above the limit of 2^52 pages"],
    [ofWords(0n, (1n << 53n) + 1n), "at byte 0: count 9007199254740992 is not a whole number of at least 1 page"],
  ];
  for (const [bytes, sentence] of cases) {
    assert.throws(() => pfnLen.decode(bytes), { name: "RangeError", message: `Cannot decode pfn-len ${sentence}` });
  }
});
