import assert from "node:assert/strict";
import { load, simulate } from "../../mod.ts";
import { bitmapWindows } from "../../policies/bitmap_windows.ts";
import { MOVABLE, UNMOVABLE } from "../../sim/guest/allocator.ts";
import { Buddy } from "../../sim/guest/buddy.ts";
import { SparseZone } from "../../sim/guest/hotplug_zone.ts";
import { SECTION_PAGES } from "../../sim/guest/section_table.ts";
import { SparseLists } from "../../sim/guest/sparse_lists.ts";
import { type WindowRange, windowRuns, windowsOf } from "../../sim/guest/window_runs.ts";
import { Zone } from "../../sim/guest/zone.ts";
import { blocksOf, type FreeBlock, Harness, type HarnessOptions } from "./harness.ts";

/** PFNS_PER_BMAP: 32 KiB of bits. */
const BITMAP_PAGES = 262_144;
const GIB_PAGES = 262_144;

function run(options: Omit<HarnessOptions, "policy">): Harness {
  const harness = new Harness({ policy: bitmapWindows, ...options });
  harness.request();
  return harness;
}

function counters(harness: Harness): Readonly<Record<string, number>> {
  return harness.policy.counters!();
}

/** What the host was told of, as [pfn, pages]. */
function told(harness: Harness): number[][] {
  return harness.of("skip").map(({ pfn, pages }) => [pfn, pages]);
}

/** 100 free blocks of order 9, none the buddy of another, and an unmovable one that is 32 blocks of order 3: 101 blocks. */
const FEW: readonly FreeBlock[] = [
  ...blocksOf(100, 9, true).map((block) => ({ ...block, pfn: block.pfn + 1024 })),
  { pfn: 0, order: 8, migratetype: UNMOVABLE },
];

Deno.test("1 TiB: 1024 windows with one bitmap, 32 with 32 of them; every window walks all free blocks", () => {
  // 2^28 pages / 2^18 pages a bitmap = 1024 windows of 1 GiB; 32 bitmaps are 32 GiB, so 1024 / 32 = 32 windows.
  const pages = 1024 * GIB_PAGES;
  for (const [maxBitmaps, windows] of [[1, 1024], [32, 32]]) {
    const harness = run({ blocks: FEW, pages, options: { maxBitmaps } });
    assert.equal(counters(harness).windows, windows);
    assert.equal(harness.of("pass").length, windows);
    // 31 of the 32 blocks of order 3 become bitmaps and one stays: 101 blocks either way.
    assert.equal(harness.driver.counters.walkVisits, windows * 101);
    // All bits are cleared once, however they are divided: 2^28 pages are 2^22 words of 64.
    assert.equal(counters(harness).bitmap_words_cleared, 2 ** 22);
    assert.equal(harness.of("hold").length, maxBitmaps - 1);
    assert.equal(harness.of("release").length, maxBitmaps - 1);
    // The bitmaps and the buffer of v4, of 32 KiB each.
    assert.equal(harness.driver.counters.metadataPeakBytes, (maxBitmaps + 1) * 32 * 1024);
  }
});

Deno.test("a q35 guest of 1 TiB takes 33 windows: the hole below 4 GiB pushes its last page up", async () => {
  // 2 GiB lie below 4 GiB and 1022 GiB above it, so max pfn is at 1026 GiB: 33 windows of 32 GiB.
  const windowsOn = async (layout: string) => {
    const [{ summary }] = simulate(
      await load({
        hintsim: 1,
        machine: { memory: "1TiB", zones: { layout } },
        workload: { kind: "idle", duration: "2s" },
        policy: { kind: "bitmap-windows", requests: { at: ["1s"] } },
      }),
      {},
    );
    assert.equal(summary.policy_windows, summary.passes);
    return summary.passes;
  };
  assert.equal(await windowsOn("q35"), 33);
  assert.equal(await windowsOn("auto"), 32);
});

Deno.test("fewer bitmaps than wanted make the windows narrower and more", () => {
  // 4 GiB want 4 bitmaps. One block of order 3 is free beside blocks of order 0: two bitmaps, two windows of 2 GiB.
  const singles = blocksOf(10, 0, true).map((block) => ({ ...block, pfn: block.pfn + 1024 }));
  const one = run({ blocks: [...singles, { pfn: 0, order: 3 }], pages: 4 * GIB_PAGES });
  assert.deepEqual([counters(one).windows, counters(one).failed_bitmaps], [2, 2]);
  const none = run({ blocks: singles, pages: 4 * GIB_PAGES });
  assert.deepEqual([counters(none).windows, counters(none).failed_bitmaps], [4, 3]);
  // The order-3 block is in use while the lists are walked, and free again at the end.
  assert.equal(one.driver.counters.walkVisits, 2 * 10);
  assert.equal(one.zone.allocator.freePages, 10 + 8);
  assert.deepEqual(told(one), told(none));
});

Deno.test("a window's walk takes its time before the next one, and its row carries it", () => {
  const harness = run({ blocks: FEW, pages: 3 * GIB_PAGES, options: { maxBitmaps: 1, version: "v3" } });
  const passes = harness.of("pass");
  // 101 visits of 20 ns in each; what wakes the worker (2000 ns) is charged once.
  assert.deepEqual(passes.map(({ costNs }) => costNs), [2000 + 2020, 2020, 2020]);
  assert.equal(passes[2].timeNs - passes[1].timeNs, 2020);
  assert.equal(harness.driver.counters.zoneLockMaxNs, 2020);
});

Deno.test("v4 pays for its bitmaps, which are not on the wire: words cleared, set and scanned", () => {
  const costNs = (version: string) => run({ blocks: FEW, pages: GIB_PAGES, options: { version } }).of("pass")[0].costNs;
  // 262,144 bits are 4096 words: cleared and scanned; 100 blocks of 512 pages set 8 words each, the one of 256 sets 4. 1 ns a word.
  assert.equal(costNs("v4") - costNs("v3"), 4096 + 4096 + 100 * 8 + 4);
});

Deno.test("v4 sends each full buffer, v3 one message a window; the driver spins unless it is told to sleep", () => {
  // 1024 records of 16 bytes are two buffers of 8 KiB.
  const options = { blocks: blocksOf(1024, 0, true), pages: GIB_PAGES };
  const v4 = run({ ...options, options: { bufferMax: "8KiB" } });
  assert.deepEqual(v4.of("send").map(({ bytes }) => bytes), [8192, 8192]);
  assert.equal(counters(v4).runs_extracted, 1024);
  const v3 = run({ ...options, options: { version: "v3", bufferMax: "8KiB" } });
  assert.deepEqual(v3.of("send").map(({ bytes }) => bytes), [16384]);
  assert.deepEqual([v3.of("interrupt").length, v4.of("interrupt").length], [0, 0]);
  const asleep = run({ ...options, options: { bufferMax: "8KiB", wait: "sleep" } });
  assert.equal(asleep.of("interrupt").length, 2);
  assert.deepEqual(told(asleep), told(v4));
});

Deno.test("runs join neighbours inside of a bitmap and end with it, in the order of memory", () => {
  // Two order-9 blocks that touch, and two order-10 blocks on both sides of the border of two bitmaps; order 3 for a bitmap.
  const blocks = [
    { pfn: BITMAP_PAGES, order: 10 },
    { pfn: BITMAP_PAGES - 1024, order: 10 },
    { pfn: 2560, order: 9 },
    { pfn: 2048, order: 8 },
    { pfn: 2304, order: 8 },
    { pfn: 0, order: 3, migratetype: UNMOVABLE },
  ];
  const harness = run({ blocks, pages: 2 * GIB_PAGES });
  assert.deepEqual(told(harness), [[2048, 1024], [BITMAP_PAGES - 1024, 1024], [BITMAP_PAGES, 1024]]);
  assert.equal(counters(harness).windows, 1);
});

Deno.test("as posted: v3 sets a wrong bit for a block at a bitmap's end, v4 does not", () => {
  // The order-10 block at 1 GiB + 8 MiB is walked first and leaves position 2048; then comes the last one of the first bitmap.
  const blocks = [
    { pfn: BITMAP_PAGES + 2048, order: 10 },
    { pfn: BITMAP_PAGES - 1024, order: 10 },
    { pfn: 0, order: 3, migratetype: UNMOVABLE },
  ];
  const tellOf = (version: string, asPosted: boolean) => {
    const harness = run({ blocks, pages: 2 * GIB_PAGES, options: { version, asPosted } });
    assert.equal(counters(harness).misplaced_bits, version === "v3" && asPosted ? 1 : 0);
    return told(harness);
  };
  const right = [[BITMAP_PAGES - 1024, 1024], [BITMAP_PAGES + 2048, 1024]];
  assert.deepEqual(tellOf("v3", false), right);
  assert.deepEqual(tellOf("v4", true), right);
  // Page 2048 is in use, and the host is told that it is not.
  assert.deepEqual(tellOf("v3", true), [[2048, 1], [BITMAP_PAGES + 2048, 1024]]);
});

Deno.test("as posted: a last window that is no whole number of bytes loses its last pages", () => {
  // Max pfn 2051: 256 bytes are 2048 pages; pages 2048 and 2050 are free and lie behind them.
  const blocks = [{ pfn: 2048, order: 0 }, { pfn: 2050, order: 0 }, { pfn: 0, order: 9 }];
  for (const version of ["v3", "v4"]) {
    const posted = run({ blocks, pages: 2051, options: { version, asPosted: true } });
    assert.deepEqual([told(posted), counters(posted).lost_pages], [[[0, 512]], 2]);
    const mended = run({ blocks, pages: 2051, options: { version } });
    assert.deepEqual([told(mended), counters(mended).lost_pages], [[[0, 512], [2048, 1], [2050, 1]], 0]);
  }
});

Deno.test("isolated blocks come back after their window's answer", () => {
  const blocks = [
    ...blocksOf(50, 9, true),
    ...blocksOf(50, 3, true).map(({ pfn, order }) => ({ pfn: pfn + 2 ** 19, order })),
  ];
  const harness = run({ blocks, pages: 3 * GIB_PAGES, options: { isolate: true, action: "reclaim", maxBitmaps: 1 } });
  const free = 50 * 512 + 50 * 8;
  assert.equal(harness.zone.allocator.freePages, free);
  assert.equal(harness.guest.isolatedPages, 0);
  assert.equal(harness.of("isolate").length, 100);
  assert.equal(harness.of("put_back").length, 100);
  assert.equal(harness.of("discard").reduce((sum, { pages }) => sum + pages, 0), free);
  // While a message travels only the blocks of its window are away.
  let away = 0;
  for (const { event } of harness.rows) {
    if (event === "isolate") away++;
    if (event === "put_back") away--;
    assert.ok(away <= 50);
  }
  harness.zone.allocator.validate();
});

/** A zone of 256 MiB from 5 GiB on, with a hole of 64 MiB before its last 64 MiB. */
function plainZone(): Zone {
  const start = 5 * GIB_PAGES;
  return new Zone({
    index: 0,
    name: "Normal",
    allocator: new Buddy(start, 65_536, MOVABLE),
    present: [{ pfn: start, count: 32_768 }, { pfn: start + 49_152, count: 16_384 }],
    managedPages: 49_152,
    watermarks: { min: 0, low: 0, high: 0 },
  });
}

/** A zone of two sections that lie 64 GiB apart. */
function sparseZone(): SparseZone {
  const allocator = new SparseLists(4, MOVABLE);
  for (const section of [64, 576]) allocator.addSection(section);
  const managedPages = 2 * SECTION_PAGES;
  const present = [64, 576].map((section) => ({ pfn: section * SECTION_PAGES, count: SECTION_PAGES }));
  const reachPfn = 600 * SECTION_PAGES;
  const watermarks = { min: 0, low: 0, high: 0 };
  return new SparseZone({ index: 1, name: "Movable", allocator, present, managedPages, watermarks, reachPfn });
}

Deno.test("what windows run over: all page frames, the spans of zones, or sections that exist", () => {
  const zones = [plainZone(), sparseZone()];
  const maxPfn = 577 * SECTION_PAGES;
  const runs = (range: WindowRange) => windowRuns(range, zones, maxPfn).map(({ pfn, count }) => [pfn, count]);
  assert.deepEqual(runs("max-pfn"), [[0, maxPfn]]);
  // The span of the second zone is 513 sections, 511 of which do not exist.
  assert.deepEqual(runs("zone-span"), [[5 * GIB_PAGES, 65_536], [64 * SECTION_PAGES, 513 * SECTION_PAGES]]);
  // 5 GiB are 40 sections; the hole of the first zone is a part of a section.
  assert.deepEqual(runs("present-sections"), [
    [40 * SECTION_PAGES, 2 * SECTION_PAGES],
    [64 * SECTION_PAGES, SECTION_PAGES],
    [576 * SECTION_PAGES, SECTION_PAGES],
  ]);
  // Windows of 1 GiB, 8 sections: ceil(577 / 8) of all frames, 1 + ceil(513 / 8) of the spans, one for each run that exists.
  const windows = (range: WindowRange) => [...windowsOf(windowRuns(range, zones, maxPfn), BITMAP_PAGES)];
  assert.deepEqual(
    [windows("max-pfn"), windows("zone-span"), windows("present-sections")].map(({ length }) => length),
    [
      73,
      66,
      3,
    ],
  );
  assert.deepEqual(windows("zone-span").filter(({ last }) => last).map(({ pfn }) => pfn), [(64 + 512) * SECTION_PAGES]);
});

Deno.test("a window of zone-span walks the lists of its zone alone, and the same pages are told", () => {
  // Zones of 1 GiB and 3 GiB with 20 and 30 blocks: one bitmap makes 1 + 3 windows instead of 4 over both.
  const blocks = [
    ...blocksOf(20, 5, true),
    ...blocksOf(30, 5, true).map(({ pfn, order }) => ({ pfn: pfn + GIB_PAGES, order })),
  ];
  const options = { blocks, pages: 4 * GIB_PAGES, zoneEnds: [GIB_PAGES] };
  const whole = run({ ...options, options: { maxBitmaps: 1 } });
  const spans = run({ ...options, options: { maxBitmaps: 1, range: "zone-span" } });
  const sections = run({ ...options, options: { maxBitmaps: 1, range: "present-sections" } });
  assert.equal(whole.driver.counters.walkVisits, 4 * 50);
  assert.equal(spans.driver.counters.walkVisits, 1 * 20 + 3 * 30);
  assert.equal(sections.driver.counters.walkVisits, 4 * 50);
  assert.deepEqual(told(spans), told(whole));
  assert.deepEqual(told(sections), told(whole));
});
