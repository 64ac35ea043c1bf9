import assert from "node:assert/strict";
import { encodingNames, encodings } from "../../sim/abi/mod.ts";

Deno.test("encodingNames lists the names in registry order, each once", () => {
  assert.deepEqual(encodingNames(), [
    "pfn-len",
    "pfn-order",
    "pfn-list",
    "bitmap",
    "hybrid",
    "v3-bitmap",
    "v4-heads",
    "v5-heads",
    "v6-extended",
    "v8-chunks",
    "sg",
  ]);
});

Deno.test("encodings: every entry makes an encoding of its own name and says what and wherefrom", () => {
  for (const { name, summary, source, create } of encodings) {
    assert.equal(create({}).name, name);
    assert(summary.length > 0 && !summary.endsWith("."));
    assert(source.length > 0 && !source.endsWith("."));
  }
});

Deno.test("encodings: the names of the options are those of the fields", () => {
  const named = encodings.filter(({ optionNames }) => optionNames.length > 0);
  assert.deepEqual(Object.fromEntries(named.map(({ name, optionNames }) => [name, [...optionNames]])), {
    bitmap: ["granule"],
    hybrid: ["granule"],
    "v3-bitmap": ["bitmaps", "window", "asPosted"],
    "v5-heads": ["asPosted", "garbage"],
    "v6-extended": ["asPosted"],
  });
  for (const { optionNames, options } of encodings) assert.deepEqual(Object.keys(options.fields), [...optionNames]);
});

Deno.test("encodings: what create takes for an option that is not given is the default of its field", () => {
  const ranges = [{ pfn: 512, count: 512 }, { pfn: 8192, count: 4096 }];
  for (const { create, options } of encodings) {
    const defaults = Object.fromEntries(Object.entries(options.fields).map(([name, field]) => [name, field.default]));
    for (const list of [ranges, []]) {
      assert.equal(create(defaults).sizeOf(list), create({}).sizeOf(list));
      assert.deepEqual(create(defaults).canonical(list), create({}).canonical(list));
    }
  }
});

Deno.test("encodings: create refuses an unknown granule with a sentence", () => {
  for (const granule of ["1GiB", "", "toString", "4kib"]) {
    const message = `Cannot make a bitmap of granule ${granule}: wanted one of 4KiB, 2MiB, 4MiB`;
    assert.throws(() => encodings[3].create({ granule }), { name: "RangeError", message });
  }
});
