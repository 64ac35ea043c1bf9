/**
 * What a huge page fault that finds no block does, by the defrag mode and for memory without MADV_HUGEPAGE (mm/huge_memory.c
 * `vma_thp_gfp_mask`): "always" may compact directly and does not wake kswapd; "defer" and "defer+madvise" wake kswapd, which
 * leaves the block to kcompactd; "madvise" and "never" do neither.
 */
import assert from "node:assert/strict";
import { MOVABLE, UNMOVABLE } from "../../sim/guest/allocator.ts";
import { OpFlag } from "../../sim/guest/operations.ts";
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

Deno.test("only defer and defer+madvise let kswapd drop page cache for a huge page, and no mode drops it directly", () => {
  for (const mode of THP_DEFRAGS) {
    // The upper half of what is in use is clean page cache: 1024 pages, of which kswapd may drop 2 x 512 for a block of 512.
    const { rows } = fault(mode, MOVABLE, 1024);
    const reclaims = new Set(rows.map(({ event }) => event).filter((event) => /^(direct_reclaim|kswapd)$/.test(event)));
    assert.deepEqual([...reclaims], mode.startsWith("defer") ? ["kswapd"] : [], mode);
  }
});
