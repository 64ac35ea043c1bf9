import assert from "node:assert/strict";
import fc from "fast-check";
import { InputError, parseField, parseOptions } from "../../sim/core/options.ts";
import { hotplugField } from "../../sim/guest/hotplug_options.ts";
import { LAYOUT, layoutChanged } from "../../sim/guest/layout_options.ts";
import { type MapOptions, memoryMap, type ZoneMap } from "../../sim/guest/memory_map.ts";
import { endOf, highest, intersect, lowest, subtract } from "../../sim/guest/range_sets.ts";
import { pagesOf, type Range } from "../../sim/memory/range.ts";

const MIB = 256;
const GIB = 2 ** 18;

function map(pages: number, options: Partial<MapOptions> = {}): ZoneMap[] {
  return memoryMap({ pages, layout: "auto", holes: [], nodes: [pages], ...options });
}

type Row = [node: number, name: string, start: number, spanned: number, present: number];

function rows(zones: readonly ZoneMap[]): Row[] {
  return zones.map(({ node, name, startPfn, spannedPages, present }) =>
    [node, name, startPfn, spannedPages, pagesOf(present)] as Row
  );
}

Deno.test("memory map: without holes zones follow each other from page 0 on", () => {
  assert.deepEqual(rows(map(8 * MIB)), [[0, "DMA", 0, 2048, 2048]]);
  assert.deepEqual(rows(map(6 * GIB)), [
    [0, "DMA", 0, 4096, 4096],
    [0, "DMA32", 4096, 1_044_480, 1_044_480],
    [0, "Normal", 2 ** 20, 2 * GIB, 2 * GIB],
  ]);
});

Deno.test("memory map: QEMU's machines cut memory at 2 and 3 GiB when it does not fit below the devices", () => {
  const spans = (pages: number, layout: "q35" | "i440fx") =>
    rows(map(pages, { layout })).map(([, , , ...sizes]) => sizes);
  const dma = [4095, 3998];
  assert.deepEqual(spans(4 * GIB, "q35"), [dma, [1_044_480, 520_160], [524_288, 524_288]]);
  assert.deepEqual(spans(4 * GIB, "i440fx"), [dma, [1_044_480, 782_304], [GIB, GIB]]);
  assert.deepEqual(spans(0xaffff, "q35"), [dma, [0xaffff - 4096 - 32, 0xaffff - 4096 - 32]]);
  assert.deepEqual(spans(0xb0000, "q35"), [dma, [1_044_480, 520_160], [0x30000, 0x30000]]);
  assert.deepEqual(spans(0xdffff, "i440fx"), [dma, [0xdffff - 4096 - 32, 0xdffff - 4096 - 32]]);
  assert.deepEqual(spans(0xe0000, "i440fx").length, 3);
});

Deno.test("memory map: what a hole displaces moves up, and a zone that only a hole crosses spans it", () => {
  // The recordings g2 and g4: half a GiB below, half a GiB above 4 GiB.
  const holes = [{ pfn: 512 * MIB, count: 3584 * MIB }];
  assert.deepEqual(rows(map(GIB, { holes })), [
    [0, "DMA", 0, 4096, 4096],
    [0, "DMA32", 4096, 1_044_480, 126_976],
    [0, "Normal", 2 ** 20, 131_072, 131_072],
  ]);
  // A hole that swallows a zone: it has no pages and is not there.
  assert.deepEqual(rows(map(16 * MIB, { holes: [{ pfn: 4096, count: 2 ** 20 - 4096 }] })).length, 1);
  assert.deepEqual(rows(map(17 * MIB, { holes: [{ pfn: 4096, count: 2 ** 20 - 4096 }] }))[1].slice(1, 4), [
    "Normal",
    2 ** 20,
    256,
  ]);
  // Far away, above 2^31 pages.
  const far = map(2 * GIB, { holes: [{ pfn: GIB, count: 2 ** 33 }] });
  assert.deepEqual(rows(far)[2], [0, "Normal", 2 ** 20, 2 ** 33 + 2 * GIB - 2 ** 20, GIB]);
});

Deno.test("memory map: NUMA nodes own the memory in turn, each with its zones from its first page to its last", () => {
  assert.deepEqual(rows(map(8 * GIB, { layout: "q35", nodes: [GIB, 3 * GIB, 4 * GIB] })), [
    [0, "DMA", 1, 4095, 3998],
    [0, "DMA32", 4096, GIB - 4096, GIB - 4096],
    [1, "DMA32", GIB, 3 * GIB, GIB - 32],
    [1, "Normal", 2 ** 20, 2 * GIB, 2 * GIB],
    [2, "Normal", 6 * GIB, 4 * GIB, 4 * GIB],
  ]);
});

Deno.test("memory map: ZONE_MOVABLE is the end of the highest zone, from a block of the largest order on", () => {
  const movable = (pages: number, options: Partial<MapOptions>) =>
    rows(map(pages, options)).filter(([, name]) => name === "Movable");
  assert.deepEqual(movable(4 * GIB, { layout: "q35", movablecorePages: GIB }), [[0, "Movable", 5 * GIB, GIB, GIB]]);
  // More than the highest zone has: all of it, and no more.
  assert.deepEqual(rows(map(4 * GIB, { layout: "q35", movablecorePages: 3 * GIB })).map(([, name]) => name), [
    "DMA",
    "DMA32",
    "Movable",
  ]);
  // Below 4 GiB it is cut from DMA32. 100 pages are rounded up to 1024.
  assert.deepEqual(rows(map(GIB, { movablecorePages: 100 })).slice(1), [
    [0, "DMA32", 4096, GIB - 4096 - 1024, GIB - 4096 - 1024],
    [0, "Movable", GIB - 1024, 1024, 1024],
  ]);
  assert.deepEqual(movable(GIB, { kernelcorePages: GIB / 2 }), [[0, "Movable", GIB / 2, GIB / 2, GIB / 2]]);
  assert.deepEqual(movable(GIB, { kernelcorePages: GIB }), []);
  assert.deepEqual(movable(GIB, { movablecorePages: GIB }), [], "the kernel needs some memory, so it gets all");
  // Both: what leaves more to the kernel counts.
  assert.deepEqual(movable(GIB, { kernelcorePages: GIB / 2, movablecorePages: 1024 }), [
    [0, "Movable", GIB - 1024, 1024, 1024],
  ]);
});

Deno.test("memory map: nodes share what the kernel needs, and those with more memory give what small ones lack", () => {
  const even = rows(map(16 * GIB, { nodes: [8 * GIB, 8 * GIB], kernelcorePages: 12 * GIB }));
  assert.deepEqual(even.filter(([, name]) => name === "Movable"), [
    [0, "Movable", 6 * GIB, 2 * GIB, 2 * GIB],
    [1, "Movable", 14 * GIB, 2 * GIB, 2 * GIB],
  ]);
  const uneven = rows(map(16 * GIB, { nodes: [5 * GIB, 11 * GIB], kernelcorePages: 12 * GIB }));
  assert.deepEqual(uneven.filter(([, name]) => name === "Movable"), [[1, "Movable", 12 * GIB, 4 * GIB, 4 * GIB]]);
});

Deno.test("memory map: every page is in one zone, zones ascend and do not overlap, and present pages lie inside", () => {
  const holes = fc.array(fc.tuple(fc.nat({ max: 6 * GIB }), fc.integer({ min: 1, max: 3 * GIB })), { maxLength: 3 });
  const nodes = fc.array(fc.integer({ min: 300, max: 3 * GIB }), { minLength: 1, maxLength: 4 });
  fc.assert(fc.property(
    holes,
    nodes,
    fc.constantFrom("auto" as const, "q35" as const, "i440fx" as const),
    fc.option(fc.nat({ max: 8 * GIB }), { nil: undefined }),
    (gaps, sizes, layout, movablecorePages) => {
      const pages = sizes.reduce((sum, size) => sum + size, 0);
      const ranges = gaps.map(([pfn, count]) => ({ pfn, count }));
      const zones = map(pages, { holes: ranges, nodes: sizes, layout, movablecorePages });
      const present = zones.flatMap((zone) => zone.present);
      if (layout === "auto") assert.equal(pagesOf(present), pages);
      assert.ok(pagesOf(present) <= pages && pagesOf(present) >= pages - 130);
      let end = 0;
      for (const zone of zones) {
        assert.ok(zone.startPfn >= end, "ascending");
        end = zone.startPfn + zone.spannedPages;
        assert.deepEqual(intersect(zone.present, zone.startPfn, end), zone.present);
      }
      for (const { pfn, count } of ranges) assert.equal(pagesOf(intersect(present, pfn, pfn + count)), 0);
    },
  ));
});

Deno.test("range sets: subtract, lowest and highest agree with sets of pages", () => {
  const ranges = fc.array(fc.tuple(fc.nat({ max: 60 }), fc.integer({ min: 1, max: 12 })), { maxLength: 6 })
    .map((list) => list.map(([pfn, count]) => ({ pfn, count })));
  const pagesIn = (list: readonly Range[]) =>
    list.flatMap(({ pfn, count }) => Array.from({ length: count }, (_, page) => pfn + page));
  fc.assert(fc.property(ranges, ranges, fc.nat({ max: 80 }), (a, b, count) => {
    const out = new Set(pagesIn(b));
    const left = subtract(a, b);
    const wanted = [...new Set(pagesIn(a))].filter((page) => !out.has(page)).sort((x, y) => x - y);
    assert.deepEqual(pagesIn(left), wanted);
    assert.deepEqual(pagesIn(lowest(left, count)), wanted.slice(0, count));
    assert.deepEqual(pagesIn(highest(left, count)), wanted.slice(Math.max(0, wanted.length - count)));
    assert.equal(endOf(left), wanted.length === 0 ? 0 : wanted[wanted.length - 1] + 1);
  }));
});

function parse(input: Record<string, unknown>) {
  return parseOptions(LAYOUT, input, ["machine"]).value;
}

Deno.test("layout options: what they are parsed to", () => {
  const plain = parse({});
  assert.deepEqual(plain, {
    zones: { layout: "auto" },
    holes: [],
    numa: [],
    reserved: "none",
    minFreeKbytes: undefined,
  });
  assert.equal(layoutChanged(plain), undefined);
  assert.deepEqual(parse({ zones: "q35" }).zones, { layout: "q35" });
  assert.deepEqual(parse({ zones: { movable: "1GiB" } }).zones, { layout: "auto", movable: 2 ** 30 });
  assert.deepEqual(parse({ holes: [{ at: "2GiB", size: "2GiB" }] }).holes, [{ at: 2 ** 31, size: 2 ** 31 }]);
  assert.deepEqual(parse({ reserved: "64MiB" }).reserved, 2 ** 26);
  assert.equal(layoutChanged(parse({ minFreeKbytes: 3000 })), "minFreeKbytes");
  assert.equal(layoutChanged(parse({ zones: { kernelcore: "1GiB" } })), "zones");
  assert.equal(layoutChanged(parse({ numa: [{ memory: "1GiB" }] })), "numa");
});

const REFUSED: [input: Record<string, unknown>, path: string, message: RegExp][] = [
  [{ zones: "q36" }, "machine.zones", /"q36" is not one of auto, q35, i440fx; did you mean q35\?/],
  [
    { zones: { movible: "1GiB" } },
    "machine.zones.movible",
    /unknown key "movible"; wanted is: where memory and zones lie/,
  ],
  [{ zones: { movable: 5000 } }, "machine.zones.movable", /5000 bytes are not whole pages of 4 KiB/],
  [{ holes: [{ at: 100, size: "1GiB" }] }, "machine.holes.0.at", /100 bytes are not whole pages/],
  [{ holes: [{ at: "1GiB", size: 0 }] }, "machine.holes.0.size", /0 is not between 4096 and/],
  [{ holes: [{ at: "2GiB", size: "1GiB" }, { at: "1GiB", size: "1GiB" }] }, "machine.holes.1.at", /before the end of/],
  [{ holes: [{ at: "64TiB", size: "1GiB" }] }, "machine.holes.0.at", /ends above 64TiB/],
  [
    { numa: [{ memory: "1GiB", distances: [10] }, { memory: "1GiB", distances: [20] }] },
    "machine.numa.0.distances",
    /1/,
  ],
  [{ numa: [{ memory: "1GiB", distances: [20] }] }, "machine.numa.0.distances", /is not 10 to the node itself/],
  [{ numa: [{ memory: "1GiB", vcpus: 1 }, { memory: "1GiB" }] }, "machine.numa.1.vcpus", /every node has vcpus/],
  [{ reserved: "some" }, "machine.reserved", /"some" is not a size.*, or auto, or none/],
  [{ minFreeKbytes: 0 }, "machine.minFreeKbytes", /0 is not at least 1/],
];

Deno.test("layout options: what does not fit is refused in one sentence at its place", () => {
  for (const [input, path, message] of REFUSED) {
    assert.throws(() => parse(input), (error: InputError) => {
      assert.ok(error instanceof InputError, String(error));
      assert.deepEqual([error.path.join("."), message.test(error.message)], [path, true], error.message);
      return true;
    });
  }
});

Deno.test("hotplug: entries are parsed, and refused at their place", () => {
  const read = (value: unknown) => parseField(hotplugField(), value, ["hotplug"]);
  assert.deepEqual(
    read([{ at: "5s", add: "1GiB", zone: "movable", address: "256GiB" }, { at: "20s", remove: "512MiB" }]),
    [
      { at: 5e9, kind: "add", bytes: 2 ** 30, zone: "movable", address: 2 ** 38 },
      { at: 20e9, kind: "remove", bytes: 2 ** 29, address: undefined, discard: true },
    ],
  );
  assert.deepEqual(read([{ at: 0, add: "128MiB", address: 64 * 2 ** 40 - 2 ** 27 }]), [
    { at: 0, kind: "add", bytes: 2 ** 27, zone: "auto", address: 64 * 2 ** 40 - 2 ** 27 },
  ]);
  const refused: [value: unknown, path: string, message: RegExp][] = [
    [[{ at: "5s", add: "100MiB" }], "hotplug.0.add", /"100MiB" is not between 134217728/],
    [[{ at: "5s", add: "200MiB" }], "hotplug.0.add", /"200MiB" is not a multiple of 128MiB, the size of a section/],
    [[{ at: "5s", add: "1GiB", address: "1MiB" }], "hotplug.0.address", /not a multiple of 128MiB/],
    [[{ at: "5s", add: "1GiB", address: "64TiB" }], "hotplug.0.address", /ends above 64TiB/],
    [[{ at: "5s" }], "hotplug.0", /either add or remove/],
    [[{ at: "5s", add: "1GiB", remove: "1GiB" }], "hotplug.0", /either add or remove/],
    [[{ at: "5s", add: "1GiB", discard: false }], "hotplug.0.discard", /only memory that is removed is discarded/],
    [[{ at: "5s", remove: "1GiB", zone: "normal" }], "hotplug.0.zone", /only memory that is added has a zone/],
    [[{ at: "5s", add: "1GiB", zone: "moveable" }], "hotplug.0.zone", /did you mean movable\?/],
    [[{ at: "5s", add: "1GiB" }, { at: "1s", add: "1GiB" }], "hotplug.1.at", /the times are not ascending/],
    [[{ add: "1GiB" }], "hotplug.0.at", /is missing|is not a duration/],
  ];
  for (const [value, path, message] of refused) {
    assert.throws(() => read(value), (error: InputError) => {
      assert.deepEqual([error.path.join("."), message.test(error.message)], [path, true], error.message);
      return true;
    });
  }
});
