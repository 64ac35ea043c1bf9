/** The figures of fragmentation, by hand and against counts of their own. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { load, simulate } from "../../mod.ts";
import { MOVABLE, ORDERS, RECLAIMABLE, UNMOVABLE } from "../../sim/guest/allocator.ts";
import { Buddy } from "../../sim/guest/buddy.ts";
import {
  fragmentationIndex,
  hugePages,
  mixedPageblocks,
  pageblocksByType,
  pagesFromOrder,
  unusableFreeIndex,
} from "../../sim/guest/fragmentation.ts";
import { SparseLists } from "../../sim/guest/sparse_lists.ts";
import { SECTION_PAGES } from "../../sim/guest/section_table.ts";
import { Zone } from "../../sim/guest/zone.ts";

/** Counts with these free blocks, by order. */
function counts(blocks: Readonly<Record<number, number>>): number[] {
  return Array.from({ length: ORDERS }, (_, order) => blocks[order] ?? 0);
}

Deno.test("unusable free index: the share in smaller blocks, in thousandths, rounded down", () => {
  // 3 single pages, one block of 8, one of 512: 523 pages.
  const blocks = counts({ 0: 3, 3: 1, 9: 1 });
  assert.equal(unusableFreeIndex(blocks, 0), 0);
  assert.equal(unusableFreeIndex(blocks, 1), 5); // 3000 / 523 = 5.7
  assert.equal(unusableFreeIndex(blocks, 3), 5);
  assert.equal(unusableFreeIndex(blocks, 4), 21); // 11000 / 523 = 21.03
  assert.equal(unusableFreeIndex(blocks, 9), 21);
  assert.equal(unusableFreeIndex(blocks, 10), 1000);
  assert.equal(unusableFreeIndex(counts({}), 0), 1000, "nothing free is all unusable");
  assert.equal(hugePages(blocks), 512);
});

Deno.test("fragmentation index: lack of memory or fragmentation, only when a request would fail", () => {
  assert.equal(fragmentationIndex(counts({}), 9), 0);
  assert.equal(fragmentationIndex(counts({ 9: 1 }), 9), -1000);
  // One free page for a request of 512: 1000 - (1000 + 1000 / 512 = 1) / 1 = -1: there is not the memory.
  assert.equal(fragmentationIndex(counts({ 0: 1 }), 9), -1);
  // 51,200 single pages: a hundred requests in so many pieces, 1000 - (1000 + 100,000) / 51,200 = 1000 - 1.
  assert.equal(fragmentationIndex(counts({ 0: 51_200 }), 9), 999);
});

Deno.test("indices: unusable is monotone in the order and counts what larger blocks do not hold", () => {
  const free = fc.array(fc.nat({ max: 1000 }), { minLength: ORDERS, maxLength: ORDERS });
  fc.assert(fc.property(free, (blocks) => {
    const pages = pagesFromOrder(blocks, 0);
    let before = 0;
    for (let order = 0; order < ORDERS; order++) {
      const index = unusableFreeIndex(blocks, order);
      assert.ok(index >= before && index <= 1000);
      before = index;
      // Would a request fail, then all that is free is unusable for it, and only then.
      assert.equal(index === 1000 && pagesFromOrder(blocks, order) === 0, fragmentationIndex(blocks, order) !== -1000);
    }
    assert.equal(unusableFreeIndex(blocks, 0), pages === 0 ? 1000 : 0);
  }));
});

Deno.test("pageblocks are counted as they change their type, in allocators of both kinds", () => {
  const type = fc.integer({ min: 0, max: 4 });
  const steps = fc.array(fc.tuple(fc.nat({ max: 127 }), type), { maxLength: 200 });
  fc.assert(
    fc.property(steps, (changes) => {
      const sparse = new SparseLists(4);
      sparse.addSection(7);
      sparse.addSection(900);
      const bases = [7 * SECTION_PAGES, 900 * SECTION_PAGES];
      const buddy = new Buddy(4096, 128 * 512);
      const types = new Array<number>(128).fill(MOVABLE);
      for (const [block, wanted] of changes) {
        types[block] = wanted;
        buddy.setPageblockType(4096 + block * 512, wanted);
        sparse.setPageblockType(bases[block >> 6] + (block & 63) * 512, wanted);
      }
      for (let one = 0; one < 5; one++) {
        const count = types.filter((other) => other === one).length;
        assert.equal(buddy.pageblocks(one), count);
        assert.equal(sparse.pageblocks(one), count);
      }
    }),
    { numRuns: 50 },
  );
});

Deno.test("pageblocks that a zone has in part count, and those that merge take over the type in 6.12", () => {
  // Pages 300 to 2000: pageblocks 0 to 3.
  assert.equal(new Buddy(300, 1701).pageblocks(MOVABLE), 4);
  const buddy = new Buddy(0, 1024, MOVABLE, true);
  buddy.setPageblockType(512, RECLAIMABLE);
  buddy.free(512, 9, RECLAIMABLE);
  assert.equal(buddy.free(0, 9, MOVABLE), 10);
  assert.deepEqual([MOVABLE, RECLAIMABLE].map((type) => buddy.pageblocks(type)), [2, 0]);
});

/** A zone of `blocks` pageblocks, all in use. */
function zoneOf(blocks: number): Zone {
  const count = blocks * 512;
  const watermarks = { min: 0, low: 0, high: 0 };
  const allocator = new Buddy(1024, count);
  return new Zone({
    index: 0,
    name: "Normal",
    allocator,
    present: [{ pfn: 1024, count }],
    managedPages: count,
    watermarks,
  });
}

Deno.test("mixed pageblocks: movable ones with a page that cannot be migrated, each once", () => {
  const zone = zoneOf(6);
  assert.equal(mixedPageblocks([zone]), 0);
  // Two runs in the first pageblock, one from the third into the fourth, one in the fifth, which is unmovable.
  for (const [pfn, count] of [[1024, 1], [1030, 4], [1024 + 1500, 100], [1024 + 2048, 512]]) {
    zone.unmovable.setRange(pfn, count);
  }
  zone.allocator.setPageblockType(1024 + 2048, UNMOVABLE);
  assert.equal(mixedPageblocks([zone]), 3);
  assert.deepEqual(pageblocksByType([zone]), [1, 5, 0, 0, 0]);
});

Deno.test("samples and summary: indices, pageblocks and huge blocks agree with free_order columns", async () => {
  const [run] = simulate(
    await load({
      hintsim: 1,
      machine: { memory: "64MiB", vcpus: 2 },
      workload: {
        kind: "churn",
        occupancy: 0.7,
        migratetypes: { movable: 80, unmovable: 20 },
        duration: "2s",
      },
    }),
    { samples: true },
  );
  const { samples, summary } = run;
  const column = (name: string, row: number) => samples[name][row];
  const rows = samples.time_ns.length;
  for (let row = 0; row < rows; row++) {
    const blocks = Array.from({ length: ORDERS }, (_, order) => column(`free_order_${order}`, row));
    assert.equal(column("free_bytes", row), pagesFromOrder(blocks, 0) * 4096);
    assert.equal(column("unusable_free_index_order_9", row), unusableFreeIndex(blocks, 9));
    const types = ["unmovable", "movable", "reclaimable", "highatomic", "isolate"];
    assert.equal(types.reduce((sum, type) => sum + column(`${type}_pageblocks`, row), 0), 32);
  }
  assert.equal(summary.free_huge_end_bytes, column("free_huge_bytes", rows - 1));
  assert.equal(summary.unmovable_pageblocks_end, column("unmovable_pageblocks", rows - 1));
  assert.ok(Number(summary.mixed_pageblocks_end) <= Number(summary.movable_pageblocks_end));
});

Deno.test("summary and last sample of a guest of 8 MiB with one page in use, by hand", async () => {
  const users = [{ kind: "tmpfs", start: "4KiB", keep: true }];
  const scenario = (perCpu: boolean) => ({
    hintsim: 1,
    machine: { memory: "8MiB", vcpus: 1, keepMarks: false, housekeeping: false, perCpu },
    workload: { kind: "living", phases: [{ for: "1s", users }] },
  });
  const [{ summary, samples }] = simulate(await load(scenario(false)));
  // Two blocks of 1024 pages; one of them was split down to its first page: one block is left of each order from 0 to 9.
  const blocks = Array.from({ length: ORDERS }, (_, order) => summary[`free_order_${order}_end`]);
  assert.deepEqual(blocks, Array(ORDERS).fill(1));
  // Smaller than order n are 2^n - 1 pages of the 2047 that are free: 1, 3, 7, 15, 31, 63, 127, 255, 511 and 1023 for 1 to 10.
  const indices = Array.from({ length: ORDERS }, (_, order) => summary[`unusable_free_index_${order}_end`]);
  assert.deepEqual(indices, [0, 0, 1, 3, 7, 15, 30, 62, 124, 249, 499]);
  assert.deepEqual([summary.free_end_bytes, summary.pcp_end_bytes], [2047 * 4096, 0]);
  // Blocks of 512 and of 1024 pages.
  assert.deepEqual([summary.free_huge_end_bytes, summary.movable_pageblocks_end], [1536 * 4096, 4]);
  const last = samples.time_ns.length - 1;
  for (let order = 0; order < ORDERS; order++) {
    assert.equal(samples[`free_order_${order}`][last], 1);
    assert.equal(samples[`unusable_free_index_order_${order}`][last], indices[order]);
  }
  // With per-CPU lists the pages of the batch that are not in use stay on one of them, which samples and summary show.
  const [kept] = simulate(await load(scenario(true)));
  const listed = Array.from(
    { length: ORDERS },
    (_, order) => Number(kept.summary[`free_order_${order}_end`]) * 2 ** order,
  );
  const pcpPages = Number(kept.summary.pcp_end_bytes) / 4096;
  assert.equal(listed.reduce((sum, pages) => sum + pages, 0) + pcpPages, 2047);
  assert.equal(kept.samples.pcp_bytes.at(-1), kept.summary.pcp_end_bytes);
  assert.equal(kept.summary.free_end_bytes, 2047 * 4096);
});
