import assert from "node:assert/strict";
import { sg } from "../../sim/abi/sg.ts";
import { ofWords } from "./bytes.ts";

/** The upper half of a descriptor: u32 length, u16 flags, u16 next. */
function restOf(length: bigint, flags: bigint, next: bigint): bigint {
  return length + (flags << 32n) + (next << 48n);
}

Deno.test("sg: bytes computed by hand", () => {
  // 2 MiB at 2 MiB: address 0x20_0000, length 0x20_0000, WRITE | NEXT = 3, next 1.
  // 4 MiB at 16 TiB: address 0x1000_0000_0000, length 0x40_0000, WRITE = 2.
  // deno-fmt-ignore
  const bytes = Uint8Array.of(
    0x00, 0x00, 0x20, 0, 0x00, 0x00, 0, 0, /**/ 0x00, 0x00, 0x20, 0, /**/ 0x03, 0, /**/ 0x01, 0,
    0x00, 0x00, 0x00, 0, 0x00, 0x10, 0, 0, /**/ 0x00, 0x00, 0x40, 0, /**/ 0x02, 0, /**/ 0x00, 0,
  );
  const ranges = [{ pfn: 512, count: 512 }, { pfn: 2 ** 32, count: 1024 }];
  assert.deepEqual(sg.encode(ranges), bytes);
  assert.deepEqual(sg.decode(bytes), ranges);
  assert.deepEqual(sg.descriptors!(ranges), [2 ** 21, 2 ** 22]);
  assert.deepEqual(sg.work(ranges), { records: 2, words: 4, cacheLines: 1, allocBytes: 0 });
});

Deno.test("sg: a descriptor says at most 4 GiB - 4 KiB, a longer range takes several", () => {
  const ranges = [{ pfn: 0, count: 2 ** 20 }];
  assert.deepEqual(sg.canonical(ranges), [{ pfn: 0, count: 2 ** 20 - 1 }, { pfn: 2 ** 20 - 1, count: 1 }]);
  const max = 2n ** 32n - 4096n;
  assert.deepEqual(sg.encode(ranges), ofWords(0n, restOf(max, 3n, 1n), max, restOf(4096n, 2n, 0n)));
});

Deno.test("sg: a message has as many descriptors as the largest ring", () => {
  const ranges = Array.from({ length: 32_768 }, (_, index) => ({ pfn: 2 * index, count: 1 }));
  assert.equal(sg.messageMax, sg.encode(ranges).length);
  const message = "Cannot encode 524304 bytes as one sg message: at most 524288 fit";
  assert.throws(() => sg.encode([...ranges, { pfn: 1, count: 1 }]), { name: "RangeError", message });
});

Deno.test("sg: decode says what is wrong at which byte", () => {
  const first = [0x1000n, restOf(4096n, 3n, 1n)];
  const cases: [bigint[], string][] = [
    [[0x1000n], "at byte 0: 8 bytes left over, wanted whole records of 16 bytes"],
    [[0x1001n, restOf(4096n, 2n, 0n)], "at byte 0: address ends in 1 bytes, wanted whole pages"],
    [[...first, 0n, restOf(4097n, 2n, 0n)], "at byte 16: length 4097 is not a multiple of 4096 bytes"],
    [[...first, 0n, restOf(4096n, 3n, 0n)], "at byte 16: flags 3, wanted 2"],
    [[0n, restOf(4096n, 2n, 1n), 0n, restOf(4096n, 2n, 0n)], "at byte 0: flags 2, wanted 3"],
    [[0n, restOf(4096n, 3n, 2n), 0n, restOf(4096n, 2n, 0n)], "at byte 0: next 2, wanted 1"],
    [[...first, 0n, restOf(0n, 2n, 0n)], "at byte 16: count 0 is not a whole number of at least 1 page"],
    [
      [2n ** 64n - 4096n, restOf(8192n, 2n, 0n)],
      "at byte 0: pfn 4503599627370495 with 2 pages ends above the limit of 2^52 pages",
    ],
  ];
  for (const [words, sentence] of cases) {
    assert.throws(() => sg.decode(ofWords(...words)), { name: "RangeError", message: `Cannot decode sg ${sentence}` });
  }
  const message = "Cannot decode sg at byte 524288: 524304 bytes in all, wanted at most 524288";
  assert.throws(() => sg.decode(new Uint8Array(524_304)), { name: "RangeError", message });
});
