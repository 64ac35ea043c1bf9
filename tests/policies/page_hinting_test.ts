import assert from "node:assert/strict";
import { load, simulate } from "../../mod.ts";
import { pageHinting } from "../../policies/page_hinting.ts";
import { MOVABLE, UNMOVABLE } from "../../sim/guest/allocator.ts";
import { Buddy } from "../../sim/guest/buddy.ts";
import type { TrackerCosts } from "../../sim/guest/free_tracker.ts";
import { type BitmapVersion, HintBitmap } from "../../sim/guest/hint_bitmap.ts";
import { SparseZone } from "../../sim/guest/hotplug_zone.ts";
import { SECTION_PAGES } from "../../sim/guest/section_table.ts";
import { SparseLists } from "../../sim/guest/sparse_lists.ts";
import { Zone } from "../../sim/guest/zone.ts";
import { Harness, type HarnessOptions } from "./harness.ts";

/** Free pages that keep the watermarks out of the way; no policy here looks at blocks this small. */
const SPARE = { pfn: 2 ** 20 - 2048, order: 8 };

/** A guest with so many blocks in use, each 2^order pages, `step` pages apart; block n has handle n. */
function used(count: number, order: number, step: number, options: Partial<HarnessOptions> = {}): Harness {
  const harness = new Harness({ blocks: [SPARE], pages: 2 ** 20, policy: pageHinting, ...options });
  for (let n = 0; n < count; n++) harness.guest.allocations.put(n, n * step, order, 0);
  return harness;
}

function free(harness: Harness, from: number, to: number): void {
  for (let n = from; n < to; n++) harness.guest.free(n, 0);
}

function counter(harness: Harness, name: string): number {
  return harness.policy.counters!()[name];
}

/** Blocks in each message. */
function messages(harness: Harness): number[] {
  return harness.of("send").map(({ message }) => harness.of("discard").filter((row) => row.message === message).length);
}

for (const version of ["v10", "v11", "v12"]) {
  Deno.test(`${version}: the 16th free of a 2 MiB block starts a pass at once, 40 blocks are told by 16, 16 and 8`, () => {
    const harness = used(40, 9, 1024, { options: { version } });
    free(harness, 0, 15);
    harness.run();
    assert.equal(harness.of("pass").length, 0);
    free(harness, 15, 40);
    harness.run();
    assert.deepEqual(harness.of("pass").map(({ timeNs }) => timeNs), [0]);
    assert.deepEqual(messages(harness), [16, 16, 8]);
    // Bits are read from the first page of the zone up.
    assert.deepEqual(harness.of("isolate").map(({ pfn }) => pfn), Array.from({ length: 40 }, (_, n) => n * 1024));
    assert.equal(harness.zone.allocator.reportedPages, 0);
    assert.equal(harness.of("put_back").length, 40);
    harness.zone.allocator.validate();
  });
}

Deno.test("the hook adds its time to the free of a large block only", () => {
  const harness = used(1, 9, 1024, { options: { hookNs: 25 } });
  harness.guest.allocations.put(7, 4096, 8, 0);
  free(harness, 0, 1);
  free(harness, 7, 8);
  harness.run();
  const [large, small] = harness.of("free").map(({ costNs }) => costNs);
  assert.equal(large - small, 25);
  assert.deepEqual([counter(harness, "hooks"), counter(harness, "hook_ns")], [1, 25]);
});

Deno.test("a block that is in use again when the scan comes is a stale bit", () => {
  const harness = used(16, 9, 1024);
  free(harness, 0, 16);
  // The list's head is the block that was freed last.
  harness.guest.alloc(99, 9, MOVABLE, -1, 0);
  harness.run();
  assert.deepEqual(messages(harness), [15]);
  assert.deepEqual([counter(harness, "bits_set"), counter(harness, "stale_bits")], [16, 1]);
});

Deno.test("the bit of an upper half that has merged since leads to no head", () => {
  // Handles 0 to 15 are 2 MiB blocks next to each other: 8 of 4 MiB. The upper halves are freed first.
  const harness = used(16, 9, 512);
  for (let n = 1; n < 16; n += 2) free(harness, n, n + 1);
  for (let n = 0; n < 16; n += 2) free(harness, n, n + 1);
  harness.run();
  assert.deepEqual(harness.of("discard").map(({ pages }) => pages), new Array(8).fill(1024));
  assert.deepEqual([counter(harness, "merged"), counter(harness, "stale_bits")], [8, 0]);
});

Deno.test("told at once, a block that then merges is told again: half of what is said is known already", () => {
  const harness = used(32, 9, 512);
  for (let n = 0; n < 32; n += 2) free(harness, n, n + 1);
  harness.run();
  for (let n = 1; n < 32; n += 2) free(harness, n, n + 1);
  harness.run();
  assert.deepEqual(harness.of("discard").map(({ pages }) => pages), [
    ...new Array(16).fill(512),
    ...new Array(16).fill(1024),
  ]);
  assert.equal(counter(harness, "duplicate_pages"), 16 * 512);
  assert.equal(counter(harness, "duplicate_reports"), 0);
});

Deno.test("without a mark a pass tells of a block again that was freed without being used", () => {
  const harness = used(16, 9, 1024);
  free(harness, 0, 16);
  harness.run();
  for (let n = 0; n < 16; n++) {
    harness.guest.alloc(n, 9, MOVABLE, -1, 0);
    // Only every other block is used as an operation would use it.
    if (n % 2 === 0) harness.guest.needsUse(n);
  }
  free(harness, 0, 16);
  harness.run();
  assert.deepEqual(messages(harness), [16, 16]);
  assert.equal(counter(harness, "duplicate_reports"), 8);
});

Deno.test("blocks go back to the head of their list, and v12 gives the migratetype back that isolation changed", () => {
  for (const [version, type] of [["v11", MOVABLE], ["v12", UNMOVABLE]] as const) {
    const harness = used(16, 9, 1024, { options: { version } });
    const { allocator } = harness.zone;
    for (let n = 0; n < 16; n++) allocator.setPageblockType(n * 1024, UNMOVABLE);
    free(harness, 0, 16);
    harness.run();
    assert.equal(allocator.first(9, type), 15 * 1024, version);
    assert.equal(allocator.pageblockType(0), type, version);
  }
});

Deno.test("what the watermark refuses is not told until it is freed again", () => {
  // 16 blocks are 8192 pages, and 256 beside them: 8448, 7936, 7424 and 6912 are more than 6000 + 512, 6400 is not.
  const harness = used(16, 9, 1024, { watermarks: { min: 6000, low: 0, high: 0 } });
  free(harness, 0, 16);
  harness.run();
  assert.deepEqual([messages(harness), counter(harness, "refused_blocks")], [[4], 12]);
});

Deno.test("v9: 128 blocks of 4 MiB freed by one CPU are told in one message, and 256 is the most that it notes", () => {
  const harness = used(400, 10, 2048, { pages: 2 ** 20, options: { version: "v9" }, ring: 1024 });
  free(harness, 0, 127);
  harness.run();
  assert.equal(harness.of("send").length, 0);
  free(harness, 127, 128);
  harness.run();
  assert.deepEqual(messages(harness), [128]);
  free(harness, 128, 400);
  harness.run();
  assert.deepEqual(messages(harness), [128, 256]);
  assert.equal(counter(harness, "lost_blocks"), 272 - 256);
  // An index and 256 numbers of 8 bytes for the one CPU; each hook looks through all of them.
  assert.equal(harness.driver.counters.metadataPeakBytes, 8 * 257);
  assert.equal(counter(harness, "hook_ns"), 400 * (12 + 256));
});

Deno.test("the same driver over flags: told blocks are marked, stand at the tail, and are skipped", () => {
  const harness = used(40, 9, 1024, { options: { tracker: "flags" } });
  free(harness, 0, 20);
  harness.run();
  assert.deepEqual([messages(harness), counter(harness, "nodes_skipped")], [[16, 4], 0]);
  assert.equal(harness.zone.allocator.reportedPages, 20 * 512);
  free(harness, 20, 40);
  harness.run();
  assert.deepEqual(messages(harness), [16, 4, 16, 4]);
  // The new ones stand at the head: 16 and, after the answer, 4; behind them the 20 of the first pass, then the 16 just told.
  assert.equal(counter(harness, "nodes_skipped"), 36);
  assert.equal(counter(harness, "duplicate_reports"), 0);
  assert.equal(harness.zone.allocator.reportedPages, 40 * 512);
  harness.zone.allocator.validate();
});

const FREE_OF_CHARGE: TrackerCosts = { spend() {}, visit() {}, unlock() {}, metadata() {} };

function bitmapOf(zones: readonly Zone[], version: BitmapVersion, asPosted: boolean): HintBitmap {
  return new HintBitmap(zones, FREE_OF_CHARGE, { version, order: 9, threshold: 1, wordNs: 1, asPosted });
}

/** The first pages that a scan of each bitmap finds. */
function scan(tracker: HintBitmap): number[] {
  const found: number[] = [];
  for (let part = 0; part < tracker.parts; part++) {
    if (!tracker.enough(part)) continue;
    tracker.begin(part);
    while (tracker.next()) found.push(tracker.pfn);
  }
  return found;
}

/** A zone with one free block of 2 MiB. */
function zoneAt(index: number, name: string, start: number, pages: number, block: number): Zone {
  const allocator = new Buddy(start, pages);
  allocator.insert(block, 9, MOVABLE, true);
  const present = [{ pfn: start, count: pages }];
  return new Zone({
    index,
    name,
    allocator,
    present,
    managedPages: pages,
    watermarks: { min: 0, low: 0, high: 0 },
  });
}

Deno.test("as posted a bitmap begins at the zone's first page, so that no bit of ZONE_DMA leads back to a block", () => {
  for (const [asPosted, found] of [[false, [512]], [true, []]] as const) {
    const zone = zoneAt(0, "DMA", 1, 4095, 512);
    const tracker = bitmapOf([zone], "v12", asPosted);
    assert.equal(tracker.freed(zone, 512, 9, 0), true);
    assert.deepEqual(scan(tracker), found, `asPosted ${asPosted}`);
  }
});

Deno.test("v10 as posted has one bitmap for all zones of a kind, made for the first of them", () => {
  for (const [asPosted, untracked] of [[false, 0], [true, 1]] as const) {
    const zones = [zoneAt(0, "Normal", 0, 4096, 0), zoneAt(1, "Normal", 8192, 4096, 8192)];
    const tracker = bitmapOf(zones, "v10", asPosted);
    tracker.freed(zones[0], 0, 9, 0);
    tracker.freed(zones[1], 8192, 9, 0);
    assert.deepEqual(scan(tracker), asPosted ? [0] : [0, 8192]);
    assert.equal(tracker.counters().untracked_blocks, untracked);
  }
});

Deno.test("v11 has one bitmap from the first to the last node, v10 and v12 one for each zone", () => {
  // Two nodes of 16 MiB, 2^30 pages (4 TiB) apart: 2^21 bits lie between.
  const zones = [zoneAt(0, "Normal", 0, 4096, 0), zoneAt(1, "Normal", 2 ** 30, 4096, 2 ** 30)];
  assert.deepEqual(bitmapOf(zones, "v11", false).bytes, 8 * Math.ceil((2 ** 21 + 8 + 1) / 64));
  for (const version of ["v10", "v12"] as const) assert.equal(bitmapOf(zones, version, false).bytes, 16);
  const tracker = bitmapOf(zones, "v11", false);
  for (const zone of zones) tracker.freed(zone, zone.allocator.startPfn, 9, 0);
  assert.deepEqual(scan(tracker), [0, 2 ** 30]);
});

Deno.test("v10 as posted loses a bit in ALIGN(spanned, 9) where the zone ends inside a block", () => {
  // 64 * 512 + 1 pages touch 65 blocks; with 8 more and bit 3 cleared they are 32,769 still, and that is 64 times 512: one word.
  const zone = zoneAt(0, "Normal", 0, 64 * 512 + 1, 0);
  assert.equal(bitmapOf([zone], "v10", false).bytes, 16);
  assert.equal(bitmapOf([zone], "v10", true).bytes, 8);
});

/** A zone of two sections, of which the second had a block freed and is gone. */
function shrunk(version: BitmapVersion, asPosted: boolean): HintBitmap {
  const allocator = new SparseLists(4);
  allocator.addSection(0);
  allocator.addSection(1);
  allocator.insertRange(SECTION_PAGES / 2, 1024, MOVABLE);
  const zone = new SparseZone({
    index: 0,
    name: "Normal",
    allocator,
    present: [{ pfn: 0, count: 2 * SECTION_PAGES }],
    managedPages: 2 * SECTION_PAGES,
    watermarks: { min: 0, low: 0, high: 0 },
    reachPfn: 4 * SECTION_PAGES,
  });
  const tracker = bitmapOf([zone], version, asPosted);
  tracker.freed(zone, SECTION_PAGES, 9, 0);
  tracker.freed(zone, SECTION_PAGES / 2, 9, 0);
  allocator.removeSection(1);
  return tracker;
}

Deno.test("a bit whose memory has gone: v10 and v11 never end, v12 leaves it, and otherwise it is cleared", () => {
  for (const version of ["v10", "v11", "v12"] as const) {
    const mended = shrunk(version, false);
    assert.deepEqual(scan(mended), [SECTION_PAGES / 2]);
    assert.deepEqual([mended.hung, mended.enough(0), mended.counters().offline_bits], [false, false, 1]);
    const posted = shrunk(version, true);
    assert.deepEqual(scan(posted), [SECTION_PAGES / 2]);
    assert.equal(posted.hung, version !== "v12");
    // Its count stays, so that the next free starts a pass again.
    assert.equal(posted.enough(0), true);
  }
});

Deno.test("after an endless scan no pass runs any more, and what it held is told and put back", () => {
  for (const asPosted of [false, true]) {
    const harness = used(48, 9, 1024, { options: { version: "v11", asPosted } });
    harness.zone.spans = (pfn) => pfn !== 3 * 1024;
    free(harness, 0, 16);
    harness.run();
    assert.deepEqual(messages(harness), [asPosted ? 3 : 15]);
    free(harness, 16, 48);
    harness.run();
    assert.equal(harness.of("pass").length, asPosted ? 1 : 2);
    assert.equal(harness.of("put_back").length, harness.of("isolate").length);
    assert.equal(counter(harness, "endless_scans"), asPosted ? 1 : 0);
  }
});

Deno.test("64 bytes of bitmap for each GiB of span: 64 KiB for a TiB, and 4 MiB where the span is 64 TiB", async () => {
  const policy = { kind: "page-hinting" };
  const bytes = async (machine: Record<string, unknown>) => {
    const scenario = { hintsim: 1, until: "2s", machine, workload: { kind: "idle" }, policy };
    const [{ summary }] = simulate(await load(scenario));
    return [Number(summary.policy_bitmap_bytes), Number(summary.metadata_peak_bytes)];
  };
  // DMA ends at 16 MiB: 9 bits, one word. DMA32 has 2040 blocks, 2041 bits, 32 words. Normal has 1020 GiB: 2^19 - 2048 blocks
  // and one bit more, 8161 words. (65,536 bytes for the TiB, and a word for the last bit of each zone.)
  const dense = 8 * (1 + 32 + 8161);
  assert.deepEqual(await bytes({ memory: "1TiB", zones: "auto" }), [dense, dense]);
  assert.ok(dense - 65_536 <= 3 * 8);
  // 128 MiB at the very end of 46 bits of addresses: Normal spans 64 TiB less 4 GiB and the bitmap follows, 4 MiB for 128 MiB.
  const address = 64 * 1024 - 1 / 8;
  const plugged = [{ at: "1s", add: "128MiB", zone: "normal", address: `${address}GiB` }];
  const [sparse] = await bytes({ memory: "8GiB", hotplug: plugged });
  assert.ok(Math.abs(sparse - 4 * 2 ** 20) <= 24, `${sparse} bytes`);
});

Deno.test("on one churn: what a free costs with the hook off and on, and what each design scans, skips and says twice", async () => {
  const run = async (policy: Record<string, unknown>) => {
    const scenario = {
      hintsim: 1,
      until: "12s",
      machine: { memory: "1GiB", vcpus: 2, thp: false, resident: "all", perCpu: true, keepMarks: false, kernel: "6.1" },
      workload: {
        kind: "churn",
        occupancy: 0.5,
        orders: { 0: 30, 9: 1, 10: 1 },
        lifetime: { mean: "2s" },
        duration: "10s",
      },
      policy,
    };
    const [{ summary, events, problems }] = simulate(await load(scenario), { events: true, check: true });
    assert.deepEqual([problems, summary.violations], [[], 0]);
    const { count, eventNames, event, costNs } = events!;
    let freeNs = 0;
    for (let row = 0; row < count; row++) if (eventNames[event[row]] === "free") freeNs += costNs[row];
    return { ...summary, freeNs } as Record<string, number>;
  };
  const off = await run({ kind: "none" });
  const bitmap = await run({ kind: "page-hinting" });
  const flags = await run({ kind: "page-hinting", tracker: "flags" });
  const boundary = await run({ kind: "page-hinting-boundary" });
  const reporting = await run({ kind: "free-page-reporting" });
  for (const on of [bitmap, flags, boundary, reporting]) {
    assert.equal(on.frees, off.frees);
    assert.equal(on.freeNs - off.freeNs, on.policy_hook_ns);
  }
  assert.equal(bitmap.policy_hook_ns, 12 * bitmap.policy_hooks);
  assert.equal(boundary.policy_hook_ns, 3 * boundary.policy_hooks);
  assert.equal(reporting.policy_hook_ns, 0);
  // DMA32 spans 1008 MiB: 505 bits, 8 words, read by each pass. Nothing is ever free in DMA that a bit would stand for.
  assert.equal(bitmap.policy_words_scanned, 8 * bitmap.passes);
  // Flags cost walks instead, but no memory; bits are set by frees alone, and memory that was free before is never told.
  assert.ok(flags.policy_nodes_skipped > 10 * bitmap.policy_words_scanned);
  assert.equal(flags.metadata_peak_bytes, 0);
  assert.ok(bitmap.returned_bytes < flags.returned_bytes / 10);
  // Two seconds of delay, or 32 blocks that are not told: what merges or is used again within them is not told twice.
  assert.ok(bitmap.policy_duplicate_reports > 0 && flags.policy_duplicate_reports > 0);
  assert.deepEqual([boundary.policy_duplicate_reports, reporting.policy_duplicate_reports], [0, 0]);
});
