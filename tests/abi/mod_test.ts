import assert from "node:assert/strict";
import { encodingNames, encodings } from "../../sim/abi/mod.ts";

Deno.test("encodingNames lists the names in registry order, each once", () => {
  assert.deepEqual(encodingNames(), ["pfn-len", "pfn-order", "pfn-list", "bitmap"]);
});

Deno.test("encodings: every entry makes an encoding of its own name and says what and wherefrom", () => {
  for (const { name, summary, source, create } of encodings) {
    assert.equal(create({}).name, name);
    assert(summary.length > 0 && !summary.endsWith("."));
    assert(source.length > 0 && !source.endsWith("."));
  }
});

Deno.test("encodings: only bitmap has options, and its granule is 4KiB unless said otherwise", () => {
  assert.deepEqual(encodings.map(({ optionNames }) => [...optionNames]), [[], [], [], ["granule"]]);
  const { create } = encodings[3];
  assert.equal(create({}).error({ pfn: 1, count: 1 }), undefined);
  assert.notEqual(create({ granule: "2MiB" }).error({ pfn: 1, count: 1 }), undefined);
});

Deno.test("encodings: create refuses an unknown granule with a sentence", () => {
  for (const granule of ["1GiB", "", "toString", "4kib"]) {
    const message = `Cannot make a bitmap of granule ${granule}: wanted one of 4KiB, 2MiB, 4MiB`;
    assert.throws(() => encodings[3].create({ granule }), { name: "RangeError", message });
  }
});
