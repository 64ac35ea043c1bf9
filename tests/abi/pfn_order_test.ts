import assert from "node:assert/strict";
import { pfnOrder } from "../../sim/abi/pfn_order.ts";

Deno.test("pfn-order: bytes computed by hand", () => {
  // 2 MiB at 2 MiB: pfn 0x200, order 9: 0x200 << 12 | 9 = 0x20_0009.
  // 4 KiB at 16 TiB + 4 KiB: pfn 0x1_0000_0001, order 0: 0x1000_0000_1000.
  // deno-fmt-ignore
  const bytes = Uint8Array.of(
    0x09, 0x00, 0x20, 0, 0x00, 0x00, 0, 0,
    0x00, 0x10, 0x00, 0, 0x00, 0x10, 0, 0,
  );
  const ranges = [{ pfn: 512, count: 512 }, { pfn: 2 ** 32 + 1, count: 1 }];
  assert.deepEqual(pfnOrder.encode(ranges), bytes);
  assert.deepEqual(pfnOrder.decode(bytes), ranges);
});

Deno.test("pfn-order: a range is split into its maximal aligned blocks, in the order given", () => {
  // [1, 16): 1 | 2..3 | 4..7 | 8..15, then [0, 6): 0..3 | 4..5.
  assert.deepEqual(pfnOrder.canonical([{ pfn: 1, count: 15 }, { pfn: 0, count: 6 }]), [
    { pfn: 1, count: 1 },
    { pfn: 2, count: 2 },
    { pfn: 4, count: 4 },
    { pfn: 8, count: 8 },
    { pfn: 0, count: 4 },
    { pfn: 4, count: 2 },
  ]);
});

Deno.test("pfn-order: orders above the buddy allocator's are used, up to all of 2^40 pages", () => {
  const everything = [{ pfn: 0, count: 2 ** 40 }];
  assert.deepEqual(pfnOrder.encode(everything), Uint8Array.of(40, 0, 0, 0, 0, 0, 0, 0));
  assert.deepEqual(pfnOrder.decode(pfnOrder.encode(everything)), everything);
});

Deno.test("pfn-order: work counts one word a block", () => {
  // [1, 16) has 4 blocks, [0, 16) one.
  const ranges = [{ pfn: 1, count: 15 }, { pfn: 0, count: 16 }];
  assert.deepEqual(pfnOrder.work(ranges), { records: 5, words: 5, cacheLines: 1, allocBytes: 40 });
});

Deno.test("pfn-order: decode says what is wrong at which byte", () => {
  const ofWords = (...words: bigint[]) => new Uint8Array(BigUint64Array.from(words).buffer);
  const cases: [Uint8Array, string][] = [
    [new Uint8Array(11), "at byte 8: 3 bytes left over, wanted whole records of 8 bytes"],
    [ofWords(0n, 41n), "at byte 8: order 41 is above 40"],
    [ofWords(0xfffn), "at byte 0: order 4095 is above 40"],
    [ofWords(0n, 0n, 0x3001n), "at byte 16: pfn 3 is not aligned to its order 1"],
    [ofWords(1n << 52n), "at byte 0: pfn 1099511627776 with 1 pages ends above the limit of 2^40 pages"],
  ];
  for (const [bytes, sentence] of cases) {
    assert.throws(() => pfnOrder.decode(bytes), { name: "RangeError", message: `Cannot decode pfn-order ${sentence}` });
  }
});
