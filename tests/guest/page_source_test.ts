import assert from "node:assert/strict";
import { randomStream } from "../../sim/core/random.ts";
import { MOVABLE, UNMOVABLE } from "../../sim/guest/allocator.ts";
import { layoutMachine } from "../../sim/guest/layout.ts";
import type { PlanOptions } from "../../sim/guest/machine_plan.ts";
import { PageSource, type PageSourceOptions } from "../../sim/guest/page_source.ts";
import type { Zone } from "../../sim/guest/zone.ts";
import { PageBitmap } from "../../sim/memory/bitmap.ts";
import { useOfLayout } from "../../sim/guest/zone_use.ts";

const PLAIN: PlanOptions = {
  zones: { layout: "auto" },
  holes: [],
  numa: [],
  reserved: "none",
  vcpus: 2,
  thp: false,
  kernel: "6.1",
};

/** A machine and the blocks that came back to its free lists. */
function machine(bytes: number, layout: Partial<PlanOptions>, pages: Partial<PageSourceOptions> = {}) {
  const made = layoutMachine(bytes, { ...PLAIN, ...layout });
  const returned: number[] = [];
  const options = { perCpu: 0, keepMarks: false, ...pages };
  const source = new PageSource(made.zones, useOfLayout(made), options, (_zone, pfn) => returned.push(pfn));
  return { ...made, source, returned };
}

/** Takes single pages until there are none; how many each zone gave. */
function exhaust(source: PageSource, zones: readonly Zone[], migratetype: number, cpu = 0): number[] {
  const taken = zones.map(() => 0);
  while (source.take(0, migratetype, -1, cpu) >= 0) taken[source.zone]++;
  return taken;
}

const free = (zones: readonly Zone[]) => zones.map(({ allocator }) => allocator.freePages);

Deno.test("without marks every page of every zone is handed out, the highest zone first", () => {
  const { zones, source } = machine(2 ** 26, {});
  const before = free(zones);
  assert.ok(source.take(0, MOVABLE, -1, 0) >= 0);
  assert.equal(source.zone, zones.length - 1);
  const taken = exhaust(source, zones, MOVABLE);
  taken[zones.length - 1]++;
  assert.deepEqual(taken, before);
});

Deno.test("with marks a zone keeps its minimum and what it holds back for requests that could go higher", () => {
  const { zones, plans, source } = machine(2 ** 26, {}, { keepMarks: true });
  exhaust(source, zones, MOVABLE);
  zones.forEach((zone, index) => {
    const kept = zone.watermarks.min + plans[index].lowmemReserve[3];
    assert.equal(zone.allocator.freePages, Math.min(zone.managedPages, kept), zone.name);
  });
});

Deno.test("with marks the next zone is asked before one goes below its low mark", () => {
  const { zones, plans, source } = machine(2 ** 33, {}, { keepMarks: true });
  const [, dma32, normal] = zones;
  while (source.zone === 0 || source.zone === 2) source.take(10, MOVABLE, -1, 0);
  assert.equal(source.zone, dma32.index);
  // One block more would have crossed the mark.
  const left = normal.allocator.freePages - normal.watermarks.low;
  assert.ok(left >= 0 && left <= 1024, `${left} pages above the low mark`);
  assert.ok(plans[1].lowmemReserve[3] > 0);
});

Deno.test("a CPU takes the pages of its own node first, and those of the other one when they are used up", () => {
  const numa = [{ memory: 2 ** 30 }, { memory: 2 ** 30 }];
  const { zones, plans, source, cpuNodes } = machine(2 ** 31, { numa });
  assert.deepEqual(cpuNodes, [0, 1]);
  const nodes: number[] = [];
  for (let block = 0; block < 500; block++) {
    if (source.take(10, MOVABLE, -1, 1) < 0) break;
    nodes.push(plans[source.zone].node);
  }
  assert.equal(zones.length, plans.length);
  assert.equal(nodes.indexOf(0), 256);
  assert.deepEqual(new Set(nodes.slice(256)), new Set([0]));
});

Deno.test("kernel pages never lie in ZONE_MOVABLE, user pages lie there first", () => {
  const { zones, source } = machine(2 ** 30, { zones: { layout: "auto", movable: 2 ** 28 } });
  source.take(0, MOVABLE, -1, 0);
  assert.equal(zones[source.zone].name, "Movable");
  const taken = exhaust(source, zones, UNMOVABLE);
  assert.equal(taken[zones.length - 1], 0);
  assert.ok(zones[zones.length - 1].allocator.freePages > 65_000);
});

Deno.test("another zone is asked before types are mixed in the preferred one", () => {
  const { zones, source } = machine(6 * 2 ** 30, {});
  const [, dma32, normal] = zones;
  // All pageblocks are movable at the start: the first kernel page turns a whole block.
  source.take(0, UNMOVABLE, -1, 0);
  assert.equal(source.zone, normal.index);
  const types = () => [0, 1, 2].map((block) => normal.allocator.pageblockType(normal.allocator.startPfn + block * 512));
  assert.deepEqual(types(), [UNMOVABLE, UNMOVABLE, MOVABLE]);
  // Leave in Normal only free blocks below a pageblock: the next kernel page comes from DMA32.
  while (normal.allocator.first(10, MOVABLE) >= 0) normal.allocator.alloc(10, MOVABLE);
  while (normal.allocator.alloc(0, UNMOVABLE) >= 0);
  const start = normal.allocator.startPfn + 4096;
  normal.allocator.free(start, 3, MOVABLE);
  source.take(0, UNMOVABLE, -1, 0);
  assert.equal(source.zone, dma32.index);
});

Deno.test("per-CPU lists give out what they were given, and everything goes back when memory runs out", () => {
  const { zones, source, returned } = machine(2 ** 26, {}, { perCpu: 2 });
  const all = free(zones).reduce((a, b) => a + b);
  const pfn = source.take(0, MOVABLE, -1, 1);
  assert.ok(source.perCpuPages > 0);
  const zone = zones[source.zone];
  source.free(zone, pfn, 0, 1);
  assert.equal(source.take(0, MOVABLE, -1, 1), pfn, "the page freed last is taken first");
  source.free(zone, pfn, 0, 1);
  assert.equal(free(zones).reduce((a, b) => a + b) + source.perCpuPages, all);
  assert.equal(returned.length, 0);
  // CPU 0 gets every page, those that CPU 1 kept included.
  const taken = exhaust(source, zones, MOVABLE, 0);
  assert.equal(taken.reduce((a, b) => a + b), all);
  assert.ok(returned.length > 0);
});

const OPERATIONS = Deno.env.get("HINTSIM_TIER") === "slow" ? 1_000_000 : 10_000;

for (const kernel of ["6.1", "6.12"]) {
  Deno.test(`${kernel}: whatever was asked for and freed, in the end the free lists hold what they held at boot`, () => {
    const { zones, source } = machine(2 ** 30, { kernel, zones: { layout: "q35" }, reserved: "auto" }, { perCpu: 2 });
    const atBoot = zones.map(({ allocator }) => Array.from({ length: 11 }, (_, order) => allocator.nrFree(order)));
    const total = free(zones).reduce((a, b) => a + b);
    const random = randomStream(1, 0, `pages/${kernel}`);
    const used: { pfn: number; order: number; zone: Zone }[] = [];
    const owned = new PageBitmap(2 ** 20);
    let usedPages = 0;
    for (let i = 0; i < OPERATIONS; i++) {
      // Fills to the brim and empties, in waves.
      const filling = Math.floor(i / (OPERATIONS / 8)) % 2 === 0;
      if (used.length === 0 || random.nextBelow(100) < (filling ? 70 : 35)) {
        const order = random.nextBelow(4) > 0 ? 0 : random.nextBelow(11);
        const pfn = source.take(order, random.nextBelow(3), -1, random.nextBelow(2));
        if (pfn < 0) continue;
        assert.equal(owned.setRange(pfn, 2 ** order), 2 ** order, "a page was handed out twice");
        used.push({ pfn, order, zone: zones[source.zone] });
        usedPages += 2 ** order;
      } else {
        const at = random.nextBelow(used.length);
        const { pfn, order, zone } = used[at];
        used[at] = used[used.length - 1];
        used.pop();
        owned.clearRange(pfn, 2 ** order);
        source.free(zone, pfn, order, random.nextBelow(2));
        usedPages -= 2 ** order;
      }
      if (i % 997 === 0) assert.equal(free(zones).reduce((a, b) => a + b) + source.perCpuPages + usedPages, total);
    }
    for (const { pfn, order, zone } of used) source.free(zone, pfn, order, 0);
    source.drainAll();
    for (const { allocator } of zones) allocator.validate();
    assert.equal(source.perCpuPages, 0);
    assert.deepEqual(
      zones.map(({ allocator }) => Array.from({ length: 11 }, (_, order) => allocator.nrFree(order))),
      atBoot,
    );
  });
}
