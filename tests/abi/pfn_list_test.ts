import assert from "node:assert/strict";
import { pfnList } from "../../sim/abi/pfn_list.ts";

Deno.test("pfn-list: bytes computed by hand", () => {
  // Pages 0xff and 0x100 of one range, then 0xffff_ffff, the last page below 16 TiB.
  const bytes = Uint8Array.of(0xff, 0, 0, 0, /**/ 0, 0x01, 0, 0, /**/ 0xff, 0xff, 0xff, 0xff);
  assert.deepEqual(pfnList.encode([{ pfn: 255, count: 2 }, { pfn: 2 ** 32 - 1, count: 1 }]), bytes);
  const pages = [{ pfn: 255, count: 1 }, { pfn: 256, count: 1 }, { pfn: 2 ** 32 - 1, count: 1 }];
  assert.deepEqual(pfnList.decode(bytes), pages);
});

Deno.test("pfn-list: 256 pages fill a message of 1024 bytes, the 257th is refused", () => {
  assert.equal(pfnList.messageMax, 1024);
  assert.equal(pfnList.encode([{ pfn: 5, count: 256 }]).length, 1024);
  const tooMany = [{ pfn: 5, count: 256 }, { pfn: 0, count: 1 }];
  assert.equal(pfnList.error(tooMany[0]), undefined);
  assert.equal(pfnList.sizeOf(tooMany), 1028);
  const message = "Cannot encode 257 pages as one pfn-list message: at most 256 fit";
  assert.throws(() => pfnList.encode(tooMany), { name: "RangeError", message });
});

Deno.test("pfn-list: a range too long for one message is no wrong range, the sender has to cut it", () => {
  assert.equal(pfnList.error({ pfn: 0, count: 2 ** 32 }), undefined);
  assert.throws(() => pfnList.encode([{ pfn: 0, count: 2 ** 32 }]), RangeError);
});

Deno.test("pfn-list: a huge page takes 2048 bytes, two messages", () => {
  const { records, words, cacheLines, allocBytes } = pfnList.work([{ pfn: 512, count: 512 }]);
  assert.deepEqual([records, words, cacheLines, allocBytes], [512, 256, 32, 2048]);
});

Deno.test("pfn-list: decode says what is wrong at which byte", () => {
  const cases: [Uint8Array, string][] = [
    [new Uint8Array(7), "at byte 4: 3 bytes left over, wanted whole records of 4 bytes"],
    [new Uint8Array(1028), "at byte 1024: 1028 bytes in all, wanted at most 1024"],
  ];
  for (const [bytes, sentence] of cases) {
    assert.throws(() => pfnList.decode(bytes), { name: "RangeError", message: `Cannot decode pfn-list ${sentence}` });
  }
});
