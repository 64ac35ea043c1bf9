import assert from "node:assert/strict";
import { trackers } from "../../sim/kho/mod.ts";
import {
  type Handover,
  KhoError,
  type Tracker,
  type TrackerOptions,
  type TrackerPlugin,
} from "../../sim/kho/tracker.ts";
import { Operations } from "../../sim/memory/page_set.ts";
import { allocator, type Piece } from "./naive_set.ts";

const GIB = 2 ** 18;

function pluginOf(name: string): TrackerPlugin {
  return trackers.find((plugin) => plugin.name === name)!;
}

function trackerOf(name: string, options: TrackerOptions = {}): Tracker {
  return pluginOf(name).create(allocator(), options);
}

function walkOf(plugin: TrackerPlugin, handover: Handover): [pieces: Piece[], operations: Operations] {
  const pieces: Piece[] = [];
  const operations = new Operations();
  plugin.walk(handover, (pfn, count, order) => void pieces.push([pfn, count, order]), operations);
  return [pieces, operations];
}

/** Counts of the terms of a tracker. */
function countsOf(tracker: Tracker): number[] {
  return tracker.explain().map(({ count }) => count);
}

/** What a change does. */
function workOf(tracker: Tracker, change: () => void): Omit<Operations, "librarySteps"> {
  const before = { ...tracker.operations };
  change();
  const { visits, writes, movedBytes, allocations, frees } = tracker.operations;
  return {
    visits: visits - before.visits,
    writes: writes - before.writes,
    movedBytes: movedBytes - before.movedBytes,
    allocations: allocations - before.allocations,
    frees: frees - before.frees,
  };
}

/** 64-bit words of a page of a handover. */
function wordsOf(handover: Handover, pfn: number): number[] {
  const bytes = new Uint8Array(4096);
  bytes.set(handover.pages.find((page) => page.pfn === pfn)!.bytes);
  return Array.from(new BigUint64Array(bytes.buffer), Number);
}

function refusalOf(change: () => void): string {
  try {
    change();
  } catch (error) {
    assert.ok(error instanceof KhoError);
    return error.code;
  }
  return "accepted";
}

Deno.test("xarrays are as deep as their largest index, and index 0 alone has no node", () => {
  // Terms: nodes of orders, orders, nodes of bitmaps, bitmaps.
  const tracker = trackerOf("xarray-bitmaps-512");
  tracker.preserveFolio(5, 0);
  assert.deepEqual(countsOf(tracker), [0, 1, 0, 1]); // order 0 and bitmap 0: both lie in the heads
  tracker.preserveFolio(63 * 4096, 0);
  assert.deepEqual(countsOf(tracker), [0, 1, 1, 2]); // bitmap 63: one node
  tracker.preserveFolio(64 * 4096, 0);
  assert.deepEqual(countsOf(tracker), [0, 1, 3, 3]); // bitmap 64: a root above two nodes
  tracker.preserveFolio(4095 * 4096, 0);
  assert.deepEqual(countsOf(tracker), [0, 1, 4, 4]); // bitmap 4095 is the last of two levels
  tracker.preserveFolio(4096 * 4096, 0);
  assert.deepEqual(countsOf(tracker), [0, 1, 7, 5]); // bitmap 4096: a third level, and two nodes below it
  tracker.preserveFolio(512, 9);
  assert.deepEqual(countsOf(tracker), [1, 2, 7, 6]); // order 9: now the xarray of orders has a node
});

Deno.test("xarrays of bitmaps: what one preserved page costs", () => {
  const tracker = trackerOf("xarray-bitmaps-512");
  tracker.preserveFolio(2000 * 4096, 0); // bitmap 2000: two levels
  // Heads of both xarrays, two nodes, the bitmap; one word is written.
  const work = { visits: 5, writes: 1, movedBytes: 0, allocations: 0, frees: 0 };
  assert.deepEqual(workOf(tracker, () => tracker.preserveFolio(2000 * 4096 + 1, 0)), work);
});

Deno.test("xarrays of bitmaps: a chunk has 255 entries of one order", () => {
  const plugin = pluginOf("xarray-bitmaps-page");
  const tracker = plugin.create(allocator());
  for (let bitmap = 0; bitmap < 256; bitmap++) tracker.preserveFolio(bitmap * 32_768, 0); // 32 GiB and a bit
  tracker.preserveFolio(GIB, 18);
  const handover = tracker.serialize(allocator(2 ** 37));
  assert.deepEqual(handover.terms, [{ what: "chunk pages of 255 entries", count: 3, bytesEach: 4096 }]);
  assert.equal(handover.keptBytes, 3 * 4096 + 257 * 4096);
  const [first, second, third] = [0, 1, 2].map((chunk) => wordsOf(handover, 2 ** 37 + chunk));
  // Header: next, then order and number of entries; entry: where the bitmap begins, where its bits are.
  assert.deepEqual(first.slice(0, 4), [(2 ** 37 + 1) * 4096, 255 * 2 ** 32, 0, 2 ** 36 * 4096]);
  assert.deepEqual(second.slice(0, 3), [(2 ** 37 + 2) * 4096, 1 * 2 ** 32, 255 * 2 ** 27]);
  assert.deepEqual(third.slice(0, 3), [0, 18 + 1 * 2 ** 32, 0]);
  // The walk looks at 3 chunks, 257 entries and 257 * 512 words.
  const [pieces, operations] = walkOf(plugin, handover);
  assert.equal(pieces.length, 257);
  assert.equal(operations.visits, 3 + 257 + 257 * 512);
});

Deno.test("xarrays of bitmaps are handed over without a copy", () => {
  const plugin = pluginOf("xarray-bitmaps-page");
  const tracker = plugin.create(allocator());
  tracker.preserveFolio(0, 0);
  const handover = tracker.serialize(allocator(2 ** 37));
  tracker.preserveFolio(1, 0); // set in the same bitmap, so the image has it too
  assert.deepEqual(walkOf(plugin, handover)[0], [[0, 1, 0], [1, 1, 0]]);
});

Deno.test("KHO array: pages of 510 pointers to entries of 24 bytes", () => {
  const plugin = pluginOf("tables-bitmaps");
  const tracker = plugin.create(allocator());
  for (let bitmap = 0; bitmap < 511; bitmap++) tracker.preserveFolio(bitmap * 4096, 0);
  const handover = tracker.serialize(allocator(2 ** 37));
  assert.deepEqual(handover.terms.map(({ count, bytesEach }) => [count, bytesEach]), [[1, 16], [2, 4096], [511, 24]]);
  assert.equal(handover.serializedBytes, 16 + 8192 + 511 * 24);
  const descriptor = handover.pages.find(({ pfn }) => pfn === handover.rootPfn)!;
  assert.equal(new TextDecoder().decode(descriptor.bytes.slice(0, 4).reverse()), "KARR");
  assert.equal(walkOf(plugin, handover)[0].length, 511);
});

Deno.test("page tables: three tables above a page of bits, for each order", () => {
  const tracker = trackerOf("page-tables");
  tracker.preserveFolio(0, 0);
  assert.deepEqual(countsOf(tracker), [0, 1, 4]); // L4, L3, L2 and bits
  tracker.preserveFolio(32_768, 0);
  assert.deepEqual(countsOf(tracker), [0, 1, 5]); // the next 128 MiB: a page of bits
  tracker.preserveFolio(64 * GIB, 0);
  assert.deepEqual(countsOf(tracker), [0, 1, 7]); // beyond 64 GiB: also an L2 table
  tracker.preserveFolio(0, 9);
  assert.deepEqual(countsOf(tracker), [1, 2, 11]); // another order: tables of its own
  // The head of the xarray of orders and its node, the root descriptor, L4, L3, L2, the bits.
  assert.equal(workOf(tracker, () => tracker.preserveFolio(1, 0)).visits, 7);
});

Deno.test("radix: walked in the order of keys, orders descending, then addresses", () => {
  const plugin = pluginOf("radix");
  const tracker = plugin.create(allocator());
  for (const [pfn, order] of [[GIB, 18], [7, 0], [512, 9], [3, 0], [0, 9], [2 ** 33, 0], [2 ** 40 - 1, 0], [0, 40]]) {
    tracker.preserveFolio(pfn, order);
  }
  const handover = tracker.serialize(allocator(2 ** 37));
  assert.equal(handover.serializedBytes, 0);
  assert.equal(handover.keptBytes, tracker.bytes);
  assert.deepEqual(walkOf(plugin, handover)[0], [
    [0, 2 ** 40, 40],
    [GIB, GIB, 18],
    [0, 512, 9],
    [512, 512, 9],
    [3, 1, 0],
    [7, 1, 0],
    [2 ** 33, 1, 0],
    [2 ** 40 - 1, 1, 0],
  ]);
});

Deno.test("radix as posted: the walk leaves a table of leaves after its first one", () => {
  const plugin = pluginOf("radix").asPosted!;
  const tracker = plugin.create(allocator());
  // Three leaves of order 0 in one table, one in the next (512 leaves are 64 GiB).
  for (const pfn of [0, 32_768, 65_536, 64 * GIB]) tracker.preserveFolio(pfn, 0);
  assert.deepEqual(walkOf(plugin, tracker.serialize(allocator(2 ** 37)))[0], [[0, 1, 0], [64 * GIB, 1, 0]]);
});

Deno.test("maple ranges: neighbours of one order are one range, those of another are not", () => {
  const plugin = pluginOf("maple-ranges");
  const tracker = plugin.create(allocator());
  tracker.preserveFolio(0, 9);
  tracker.preserveFolio(1024, 9);
  tracker.preserveFolio(1536, 8);
  tracker.preserveFolio(512, 9);
  const handover = tracker.serialize(allocator(2 ** 37));
  assert.deepEqual(walkOf(plugin, handover)[0], [[0, 1536, 9], [1536, 256, 8]]);
  assert.deepEqual([...tracker.ranges()], [{ pfn: 0, count: 1792 }]);
  // next, number of ranges, then start, size and order of each.
  const words = [0, 2, 0, 1536 * 4096, 9, 1536 * 4096, 256 * 4096, 8];
  assert.deepEqual(wordsOf(handover, handover.rootPfn).slice(0, 8), words);
});

Deno.test("maple ranges as posted: a chunk of 98,320 bytes for every range", () => {
  // 4096 - 16 / 24 = 4096 ranges of 24 bytes and a header of 16; new_chunk() is called for each.
  const plugin = pluginOf("maple-ranges").asPosted!;
  const tracker = plugin.create(allocator());
  for (let range = 0; range < 200; range++) tracker.preserveFolio(2 * range, 0);
  const handover = tracker.serialize(allocator(2 ** 37));
  assert.equal(handover.serializedBytes, 200 * 98_320);
  assert.equal(walkOf(plugin, handover)[0].length, 200);
  const meant = trackerOf("maple-ranges");
  for (let range = 0; range < 200; range++) meant.preserveFolio(2 * range, 0);
  assert.equal(meant.serialize(allocator(2 ** 37)).serializedBytes, 2 * 4096); // 170 + 30
});

Deno.test("extent list: pages of 170, full when filled in order, half full after a split, joined when nearly empty", () => {
  const tracker = trackerOf("extent-list");
  for (let extent = 0; extent < 340; extent++) tracker.preserveFolio(10 * extent, 0);
  assert.equal(tracker.bytes, 2 * 4096);
  tracker.preserveFolio(10 * 340, 0);
  assert.equal(tracker.bytes, 3 * 4096);
  tracker.preserveFolio(5, 0); // into the first page, which is full: 85 and 86
  assert.equal(tracker.bytes, 4 * 4096);
  for (let extent = 1; extent < 330; extent++) tracker.unpreserve(10 * extent, 1);
  assert.equal(tracker.bytes, 4096);
});

Deno.test("extent list: a page in the middle is found by walking there", () => {
  const tracker = trackerOf("extent-list");
  for (let extent = 0; extent < 10 * 170; extent++) tracker.preserveFolio(10 * extent, 0);
  // Three searches: for the neighbours, for what is overlapped, for the place. The last page is known: each looks at it and
  // takes 7 or 8 steps of bisection; or, with a new last page that is empty, no more than these.
  assert.ok(workOf(tracker, () => tracker.preserveFolio(20_000, 0)).visits <= 3 * 9);
  // The ninth of eleven pages: each search passes eight before it.
  const { visits } = workOf(tracker, () => tracker.preserveFolio(10 * 9 * 170 - 15, 0));
  assert.ok(visits >= 3 * 9 && visits <= 3 * 17, `${visits}`);
});

Deno.test("memblock: 128 regions, doubled, scanned from the start, twice when more than half full", () => {
  const tracker = trackerOf("memblock");
  for (let region = 0; region < 128; region++) tracker.preserve(10 * region, 1);
  assert.equal(tracker.bytes, 128 * 24);
  // The 129th at the end: 128 regions passed, twice (2 * 128 + 1 > 128); doubled and copied between (the first array is
  // static, nothing is freed); merging looks at the last pair.
  const work = workOf(tracker, () => tracker.preserve(1280, 1));
  assert.deepEqual(work, { visits: 2 * 128 + 1, writes: 1, movedBytes: 128 * 24, allocations: 1, frees: 0 });
  assert.equal(tracker.bytes, 256 * 24);
  tracker.preserve(0, 1280);
  assert.deepEqual([...tracker.ranges()], [{ pfn: 0, count: 1281 }]);
  // What lies between the 129 regions is put in first, 129 + 128 regions and more than 256, and then all are merged.
  assert.equal(tracker.bytes, 512 * 24);
  tracker.unpreserve(0, 1281);
  assert.equal(tracker.bytes, 512 * 24); // never smaller
});

Deno.test("what is not preserved: each kernel has its own way", () => {
  const ways: [name: string, missing: string, clear: string, cut: string][] = [
    // No bitmap; a bitmap, but the bit is clear; one page of a preserved folio of order 3.
    ["xarray-bitmaps-512", "loop", "silent", "silent"],
    ["xarray-bitmaps-page", "WARN", "silent", "silent"],
    ["tables-bitmaps", "loop", "silent", "silent"],
    ["page-tables", "silent", "silent", "silent"],
    ["radix", "WARN", "silent", "silent"],
    ["maple-ranges", "ENOENT", "ENOENT", "EINVAL"],
    ["memblock", "silent", "silent", "accepted"],
    ["extent-list", "ENOENT", "ENOENT", "EINVAL"],
  ];
  assert.deepEqual(ways.map(([name]) => name), trackers.map(({ name }) => name));
  for (const [name, missing, clear, cut] of ways) {
    const tracker = trackerOf(name);
    tracker.preserveFolio(0, 0);
    tracker.preserveFolio(8, 3);
    const codes = [2 ** 30, 5, 9].map((pfn) => refusalOf(() => tracker.unpreserve(pfn, 1)));
    assert.deepEqual(codes, [missing, clear, cut], name);
  }
});

Deno.test("pages preserved with another order: bitmaps keep both, ranges refuse", () => {
  for (const plugin of trackers) {
    const tracker = plugin.create(allocator());
    tracker.preserveFolio(0, 9);
    const code = refusalOf(() => tracker.preserveFolio(5, 0));
    assert.equal(code, plugin.remembers === "orders" ? "EEXIST" : "accepted", plugin.name);
    // Two bits for page 5: the kernel would restore both, so both count.
    assert.equal(tracker.count, plugin.remembers === "folios" ? 513 : 512);
    assert.deepEqual([...tracker.ranges()], [{ pfn: 0, count: 512 }]);
  }
});

Deno.test("refusals name the pages", () => {
  const tracker = trackerOf("maple-ranges");
  tracker.preserveFolio(0, 3);
  assert.throws(
    () => tracker.preserveFolio(4, 2),
    /cannot preserve pages 4 to 7 as folios of order 2: pages 4 to 7 preserved with order 3/,
  );
  assert.throws(() => tracker.unpreserve(4, 4), /cannot unpreserve pages 4 to 7: cuts a folio of order 3/);
  assert.throws(() => tracker.unpreserve(0, 16), /cannot unpreserve pages 0 to 15: pages 8 to 15 not preserved/);
  const bitmaps = trackerOf("xarray-bitmaps-512");
  bitmaps.preserve(0, 1024);
  assert.throws(
    () => bitmaps.unpreserve(0, 512),
    /cannot unpreserve pages 0 to 511: not preserved as a folio of order 9 \(no bitmap: the kernel loops for ever\)/,
  );
});
