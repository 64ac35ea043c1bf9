import assert from "node:assert/strict";
import fc from "fast-check";
import { none } from "../../policies/none.ts";
import { Memmap } from "../../sim/guest/hotplug_memmap.ts";
import { SECTION_PAGES } from "../../sim/guest/section_table.ts";
import { costProfiles, costsOf } from "../../sim/host/costs.ts";
import { Judge } from "../../sim/host/judge.ts";
import { type FreeBlock, Harness } from "../policies/harness.ts";

const PAGES = 4096;
/** Where memory is added. */
const ADDED = 2 ** 20;

interface Machine {
  readonly harness: Harness;
  readonly judge: Judge;
  readonly memmap: Memmap;
}

function machine(blocks: readonly FreeBlock[], min = 0): Machine {
  const watermarks = { min, low: min, high: min };
  const harness = new Harness({ blocks, pages: PAGES, policy: none, watermarks });
  const { sim, guest } = harness;
  const judge = new Judge(PAGES);
  const costs = costsOf(costProfiles[0]);
  return { harness, judge, memmap: new Memmap({ sim, guest, judge, costs }) };
}

/** Every other page from 0 on. */
function odds(count: number): FreeBlock[] {
  return Array.from({ length: count }, (_, n) => ({ pfn: 2 * n + 1, order: 0 }));
}

function freePages({ harness }: Machine): number {
  return harness.zone.allocator.freePages;
}

Deno.test("a section takes 2 MiB at once, which are written, cannot be migrated, and come back", () => {
  const one = machine([{ pfn: 1024, order: 10 }]);
  assert.ok(one.memmap.take(ADDED, SECTION_PAGES) > 0);
  assert.equal(freePages(one), 512);
  assert.deepEqual([one.harness.zone.unmovable.count, one.judge.ownedPages], [512, 512]);
  const seen: number[][] = [];
  one.memmap.forEachIn(1024, 512, (pfn, order) => seen.push([pfn, order]));
  one.memmap.forEachIn(1536, 512, (pfn, order) => seen.push([pfn, order]));
  assert.deepEqual(seen, [[1024, 9]]);
  assert.equal(one.memmap.give(ADDED + SECTION_PAGES, SECTION_PAGES), 0);
  assert.ok(one.memmap.give(ADDED, SECTION_PAGES) > 0);
  assert.deepEqual([freePages(one), one.harness.zone.unmovable.count, one.judge.ownedPages], [1024, 0, 0]);
  assert.equal(one.harness.zone.allocator.orderAt(1024), 10);
});

Deno.test("without such a block it takes single pages; without room nothing, and a row says so", () => {
  const one = machine(odds(600));
  assert.ok(one.memmap.take(ADDED, SECTION_PAGES) > 0);
  assert.equal(freePages(one), 88);
  assert.equal(one.memmap.take(ADDED + SECTION_PAGES, SECTION_PAGES), -1);
  assert.equal(freePages(one), 88);
  one.memmap.give(ADDED, SECTION_PAGES);
  assert.equal(freePages(one), 600);
  // The second of two sections finds no room: the first goes back, too.
  assert.equal(one.memmap.take(ADDED, 2 * SECTION_PAGES), -1);
  assert.deepEqual([freePages(one), one.judge.ownedPages], [600, 0]);
  one.harness.sim.trace.flush();
  assert.equal(one.harness.rows.filter(({ event }) => event === "alloc_fail").length, 2);
});

Deno.test("the zone keeps its minimum", () => {
  const one = machine(odds(600), 100);
  assert.equal(one.memmap.take(ADDED, SECTION_PAGES), -1);
  const more = machine(odds(613), 100);
  assert.ok(more.memmap.take(ADDED, SECTION_PAGES) > 0);
  assert.equal(freePages(more), 101);
});

Deno.test("whatever comes and goes, the memmap of what is there is taken and nothing else", () => {
  const step = fc.record({ section: fc.nat(7), comes: fc.boolean() });
  fc.assert(fc.property(fc.array(step, { maxLength: 40 }), fc.nat(1), (steps, holes) => {
    const blocks = [{ pfn: 2048, order: 10 }, { pfn: 3072, order: 9 }, ...(holes === 0 ? [] : odds(1000))];
    const one = machine(blocks);
    const start = freePages(one);
    const there = new Set<number>();
    for (const { section, comes } of steps) {
      const pfn = ADDED + section * SECTION_PAGES;
      if (!comes) {
        one.memmap.give(pfn, SECTION_PAGES);
        there.delete(section);
      } else if (!there.has(section) && one.memmap.take(pfn, SECTION_PAGES) >= 0) there.add(section);
      one.harness.zone.allocator.validate();
      assert.equal(freePages(one), start - 512 * there.size);
      assert.equal(one.judge.ownedPages, 512 * there.size);
      assert.equal(one.harness.zone.unmovable.count, 512 * there.size);
    }
    for (const section of there) one.memmap.give(ADDED + section * SECTION_PAGES, SECTION_PAGES);
    assert.equal(freePages(one), start);
  }));
});
