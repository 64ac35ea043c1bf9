/**
 * What a huge page fault that finds no block does, by the defrag mode and for memory without MADV_HUGEPAGE (mm/huge_memory.c
 * `vma_thp_gfp_mask`): "always" may compact and reclaim directly and does not wake kswapd; "defer" and "defer+madvise" wake
 * kswapd, which leaves the block to kcompactd; "madvise" and "never" do neither.
 */
import assert from "node:assert/strict";
import { MOVABLE, RECLAIMABLE, UNMOVABLE } from "../../sim/guest/allocator.ts";
import { Op, OpFlag } from "../../sim/guest/operations.ts";
import { THP_DEFRAGS, type ThpDefrag } from "../../sim/guest/thp_defrag.ts";
import { type Row, ZonedGuest } from "./zoned_guest.ts";

const MIB = 2 ** 20;
const HUGE = { handle: 10_000, order: 9, touch: 512, flags: OpFlag.fallback };

/** A guest of eight pageblocks, each half full, whose free pages are no two in a row; one huge page fault, and what follows. */
function fault(thpDefrag: ThpDefrag, migratetype: number, cache = 0): { rows: Row[]; zoned: ZonedGuest } {
  const zoned = new ZonedGuest(16 * MIB, { thpDefrag });
  const { guest } = zoned;
  for (let page = 0; page < 4096; page++) assert.ok(guest.alloc(page, 0, migratetype, 0, 0) >= 0);
  for (let page = 1; page < 4096; page += 2) guest.free(page, 0);
  for (let page = 4096 - 2 * cache; page < 4096; page += 2) guest.mayDrop(page, MOVABLE);
  const rows = zoned.run([HUGE]);
  assert.deepEqual(zoned.problems(), []);
  return { rows, zoned };
}

/** Who compacted: the task on CPU 0, or somebody in the background. */
function compactors(rows: readonly Row[]): string[] {
  return rows.filter(({ event }) => event === "compaction").map(({ cpu }) => cpu === 0 ? "task" : "background");
}

/** Orders of the blocks that the fault got; rows of pages that moved in the background have no CPU. */
function orders(rows: readonly Row[]): number[] {
  const last = rows.findLast(({ event }) => event === "compaction");
  const moved = last?.cpu === 0 ? last.pages : 0;
  return rows.filter(({ event, cpu }) => event === "alloc" && cpu === 0).map(({ order }) => order).slice(moved);
}

const SINGLES = Array.from({ length: 512 }, () => 0);

Deno.test("always: the task compacts, gets its block, and nobody else was woken", () => {
  const { rows } = fault("always", MOVABLE);
  assert.deepEqual(compactors(rows), ["task"]);
  assert.deepEqual(orders(rows), [9]);
  assert.equal(rows.find(({ event }) => event === "compaction")!.order, 9);
});

Deno.test("always: where nothing can move the task compacts in vain, and falls back to single pages", () => {
  const { rows, zoned } = fault("always", UNMOVABLE);
  const first = rows.find(({ event }) => event === "compaction")!;
  assert.deepEqual([first.cpu, first.order, first.pages], [0, 9, 0]);
  assert.deepEqual(orders(rows), SINGLES);
  assert.equal(zoned.background.compaction!.migratedPages, 0);
});

for (const mode of ["defer", "defer+madvise"] as const) {
  Deno.test(`${mode}: the task falls back at once, kcompactd makes a block for the next fault`, () => {
    const { rows, zoned } = fault(mode, MOVABLE);
    assert.deepEqual(orders(rows), SINGLES);
    const background = compactors(rows);
    assert.ok(background.length >= 1 && background.every((who) => who === "background"), background.join());
    const first = rows.findIndex(({ event }) => event === "compaction");
    const lastPage = rows.findLastIndex(({ event, cpu }) => event === "alloc" && cpu === 0);
    assert.ok(lastPage < first, "the fault has its pages before kcompactd is done");
    assert.deepEqual(orders(zoned.run([{ ...HUGE, handle: 20_000 }])), [9]);
  });
}

for (const mode of ["madvise", "never"] as const) {
  Deno.test(`${mode}: the task falls back to single pages, and nobody makes a block`, () => {
    const { rows } = fault(mode, MOVABLE);
    assert.deepEqual(orders(rows), SINGLES);
    assert.deepEqual(compactors(rows), []);
  });
}

Deno.test("only defer and defer+madvise let kswapd drop page cache for a huge page; always need not where compaction helps", () => {
  for (const mode of THP_DEFRAGS) {
    // The upper half of what is in use is clean page cache: 1024 pages, of which kswapd may drop 2 x 512 for a block of 512.
    const { rows } = fault(mode, MOVABLE, 1024);
    const reclaims = new Set(rows.map(({ event }) => event).filter((event) => /^(direct_reclaim|kswapd)$/.test(event)));
    assert.deepEqual([...reclaims], mode.startsWith("defer") ? ["kswapd"] : [], mode);
  }
});

/**
 * A guest of 4096 pages of kernel data, which stay where they are, of which the last 1024 pages that are in use may be dropped, as
 * slab. No two of the `freePages` are in a row. Its marks are those of 128 minimum pages (the root of 16 * 16384 KiB is 512 KiB):
 * low 160, high 192. A huge page fault, and a free of a page of kernel data; rows of the task, pages of all for each kind.
 */
function faultAmongSlab(freePages: number, prepare: (zoned: ZonedGuest) => void = () => {}) {
  const zoned = new ZonedGuest(16 * MIB, { thpDefrag: "always" });
  const { guest } = zoned;
  const [{ watermarks }] = zoned.zones;
  assert.deepEqual([watermarks.low, watermarks.high], [160, 192]);
  const used: number[] = [];
  for (let page = 0; page < 4096; page++) assert.ok(guest.alloc(page, 0, RECLAIMABLE, 0, 0) >= 0);
  for (let page = 0; page < 4096; page++) {
    if (page % 2 === 1 && page < 2 * freePages) guest.free(page, 0);
    else used.push(page);
  }
  for (const page of used.slice(-1024)) guest.mayDrop(page, RECLAIMABLE);
  prepare(zoned);
  const rows = zoned.run([HUGE, { kind: Op.free, handle: 0 }]);
  assert.deepEqual(zoned.problems(), []);
  assert.deepEqual(orders(rows), SINGLES);
  const ofTask = rows.filter(({ event, cpu }) => /^(compaction|direct_reclaim|kswapd)$/.test(event) && cpu === 0);
  const names = ofTask.map(({ event }) => event).filter((event, n, all) =>
    event !== all[n - 1] || event === "compaction"
  );
  const dropped = ofTask.reduce((sum, { event, pages }) => sum + (event === "direct_reclaim" ? pages : 0), 0);
  return { names, dropped, rows };
}

Deno.test("always: what was compacted in vain is reclaimed for, once, up to where compaction has room, and compacted again", () => {
  // 1200 pages are more than the low mark and twice the block, 160 + 1024, with which compaction begins, but not more than 192 +
  // 1024. A pass of priority p takes twice 1/2^p of the slab: 2, 2, 6, 14 at 1/1024 to 1/128. Then 1224 are free.
  const { names, dropped, rows } = faultAmongSlab(1200);
  assert.deepEqual(names, ["compaction", "direct_reclaim", "compaction"]);
  assert.equal(dropped, 24);
  assert.ok(!rows.some(({ event }) => event === "kswapd"));
});

Deno.test("always: nothing is reclaimed where compaction has room, was skipped, or is deferred", () => {
  assert.deepEqual(faultAmongSlab(1217).names, ["compaction", "compaction"]);
  assert.deepEqual(faultAmongSlab(1216).names, ["compaction", "direct_reclaim", "compaction"]);
  // Not more than 160 + 1024.
  assert.deepEqual(faultAmongSlab(1185).names, ["compaction", "direct_reclaim", "compaction"]);
  assert.deepEqual(faultAmongSlab(1184).names, []);
  const deferred = faultAmongSlab(1200, ({ background }) => background.compaction!.stateOf(0).defer(9));
  assert.deepEqual(deferred.names, []);
});

Deno.test("always: the time of work in vain is the task's", () => {
  const { rows } = faultAmongSlab(1200);
  // All that the task did stands on rows; a microsecond later it frees a page.
  const before = rows.slice(0, -1);
  const costNs = before.reduce((sum, row) => sum + row.costNs, 0);
  assert.ok(before.some((row) => row.event === "direct_reclaim" && row.costNs > 0));
  assert.deepEqual([rows.at(-1)!.event, rows.at(-1)!.timeNs - rows[0].timeNs], ["free", costNs + 1000]);
});

Deno.test("khugepaged wakes neither kswapd nor kcompactd when it finds no block", () => {
  // As before: 1536 free pages, no two in a row, and 1024 pages of clean cache that kswapd could drop.
  const { zoned } = fault("never", MOVABLE, 1024);
  assert.equal(zoned.guest.collapse(HUGE.handle), -1);
  assert.equal(zoned.guest.kswapdAwake, false);
  assert.deepEqual(zoned.run([]), []);
});
