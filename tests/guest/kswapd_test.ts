import assert from "node:assert/strict";
import { load, simulate } from "../../mod.ts";
import { Signal, Sim } from "../../sim/core/sim.ts";
import { MOVABLE, UNMOVABLE } from "../../sim/guest/allocator.ts";
import { Buddy } from "../../sim/guest/buddy.ts";
import { kernel61 } from "../../sim/guest/kernel_6_1.ts";
import { kernel612 } from "../../sim/guest/kernel_6_12.ts";
import { Kswapd } from "../../sim/guest/kswapd.ts";
import { PageSource } from "../../sim/guest/page_source.ts";
import { LruList } from "../../sim/guest/lru.ts";
import { ZoneType } from "../../sim/guest/memory_map.ts";
import { Reclaim, type ReclaimPass } from "../../sim/guest/reclaim.ts";
import { Zone } from "../../sim/guest/zone.ts";
import { useOfZones } from "../../sim/guest/zone_use.ts";

const ROUND_NS = 2000;
const MARKS = { min: 100, low: 200, high: 1000 };

/** A zone of 16 movable pageblocks whose requests keep the marks. */
function machine(kernel = kernel61, pages = 8192, perCpu = 0) {
  const sim = new Sim();
  const allocator = new Buddy(0, pages, MOVABLE, kernel === kernel612);
  allocator.insertRange(0, pages, MOVABLE);
  const parts = { index: 0, name: "Normal", allocator, present: [{ pfn: 0, count: pages }], managedPages: pages };
  const zone = new Zone({ ...parts, watermarks: MARKS, kernel });
  const kswapd = new Kswapd({ sim, zones: [zone], roundNs: ROUND_NS, returned: new Signal() });
  const use = { ...useOfZones([zone], 1), lowmemReserve: [[0, 0, 0, 0, 0]] };
  const source = new PageSource([zone], use, { perCpu, keepMarks: true }, () => {}, kswapd);
  return { sim, zone, kswapd, source };
}

/** Leaves the zone with so many free pages, all of them movable and none in a block of a whole pageblock. */
function leaveFree(zone: Zone, source: PageSource, pages: number): void {
  const { allocator } = zone;
  while (allocator.freePages > 2048) source.take(10, MOVABLE, 0, 0);
  const taken: number[] = [];
  while (allocator.freePages > 0) taken.push(allocator.alloc(3, MOVABLE));
  // Every other block of eight pages, so that nothing merges; single pages for the rest.
  let left = pages;
  for (let at = 0; left >= 8 && at < taken.length; at += 2, left -= 8) zone.free(taken[at], 3);
  for (let at = 1; left > 0; at += 2, left--) zone.free(taken[at], 0);
  assert.equal(allocator.freePages, pages);
}

for (const kernel of [kernel61, kernel612]) {
  Deno.test(`${kernel.version}: a fallback raises the marks by a pageblock, kswapd lowers them again and then sleeps`, () => {
    const { sim, zone, kswapd, source } = machine(kernel);
    leaveFree(zone, source, 1000);
    assert.equal(sim.pending, 0, "nothing woke it");
    assert.ok(source.take(0, UNMOVABLE, -1, 0) >= 0);
    assert.deepEqual([zone.watermarkBoost, kswapd.boosted, sim.pending], [512, true, 1]);
    sim.run();
    assert.deepEqual([sim.now, zone.watermarkBoost, kswapd.boosted, sim.pending], [ROUND_NS, 0, false, 0]);
  });

  Deno.test(`${kernel.version}: while the minimum is raised only a single page that cannot wait may go below it`, () => {
    const { sim, zone, source } = machine(kernel);
    leaveFree(zone, source, 201);
    zone.boost();
    assert.equal(zone.watermarkBoost, 512);
    assert.equal(source.take(0, MOVABLE, -1, 0), -1, "100 + 512 pages must stay");
    assert.ok(source.take(0, MOVABLE, -1, 0, true) >= 0, "38 of the 100 pages must stay");
    assert.equal(source.take(1, MOVABLE, -1, 0, true), -1, "230 of the 612 pages must stay");
    sim.run();
    assert.ok(source.take(1, MOVABLE, -1, 0) >= 0);
  });

  Deno.test(`${kernel.version}: a request that finds no more than the high mark ${kernel === kernel61 ? "leaves no flag" : "flags the zone until a drain finds more"}`, () => {
    const { zone, source } = machine(kernel, 8192, 1);
    leaveFree(zone, source, 1300);
    const taken: number[] = [];
    const take = () => taken.push(source.take(0, MOVABLE, -1, 0));
    while (zone.freePages > 1000) take();
    assert.equal(zone.belowHigh, false, "each request found more");
    take();
    const flagged = kernel === kernel612;
    assert.equal(zone.belowHigh, flagged);
    // The list keeps 200 pages, as many as its share of the low mark: nothing is drained before.
    for (let n = 0; n < 150; n++) source.free(zone, taken.pop()!, 0, 0);
    assert.deepEqual([zone.freePages <= 1000, zone.belowHigh], [true, flagged]);
    for (const pfn of taken) source.free(zone, pfn, 0, 0);
    assert.deepEqual([zone.freePages > 1000, zone.belowHigh], [true, false]);
  });

  Deno.test(`${kernel.version}: a boost that comes during a round stays until the next one`, () => {
    const { sim, zone } = machine(kernel);
    zone.boost();
    sim.run(ROUND_NS / 2);
    zone.boost();
    assert.equal(zone.watermarkBoost, 1024);
    sim.run(ROUND_NS);
    assert.equal(zone.watermarkBoost, 512);
    sim.run();
    assert.deepEqual([sim.now, zone.watermarkBoost], [2 * ROUND_NS, 0]);
  });
}

Deno.test("marks rise up to one and a half high marks, and not at all in a zone of three pageblocks", () => {
  const { zone } = machine();
  for (let n = 0; n < 5; n++) zone.boost();
  assert.equal(zone.watermarkBoost, 1500);
  const { sim, zone: small } = machine(kernel61, 1536);
  small.boost();
  assert.deepEqual([small.watermarkBoost, sim.pending], [0, 0]);
});

Deno.test("requests below every low mark wake it sixteen times, then it is hopeless, but not for boosts", () => {
  const { sim, zone, source } = machine();
  leaveFree(zone, source, 180);
  let rounds = 0;
  for (let n = 0; n < 30; n++) {
    source.take(0, MOVABLE, -1, 0);
    if (sim.pending > 0) rounds++;
    sim.run();
  }
  assert.equal(rounds, 16);
  zone.boost();
  sim.run();
  assert.equal(zone.watermarkBoost, 0);
});

Deno.test("it wants as many pages as the high marks of the zones that the request may use, with their boosts", () => {
  const asked: number[] = [];
  class Asked extends Reclaim {
    override round(pass: ReclaimPass, wanted: number, ...rest: [number, number, number, number]): number {
      asked.push(wanted);
      return super.round(pass, wanted, ...rest);
    }
  }
  const sim = new Sim();
  const zones = ["Normal", "Movable"].map((name, index) => {
    const allocator = new Buddy(4096 * index, 4096);
    return new Zone({ index, name, allocator, present: [], managedPages: 4096, watermarks: MARKS });
  });
  const reclaim = new Asked({
    trace: sim.trace,
    index: 0,
    zones,
    costs: { reclaimPageNs: 0, scanPageNs: 0 },
    zoneOfHandle: () => 0,
    drop: () => 0,
    compactionReady: () => false,
  });
  // The first pass looks at 4096 / 2^12 pages.
  const fill = () => {
    for (let handle = 0; handle < 4096; handle++) reclaim.lru.add(handle, 0, LruList.inactive);
  };
  const reclaims = { reclaim, balanced: () => reclaim.lru.cachePages === 0, asleep: () => {} };
  const kswapd = new Kswapd({ sim, zones, roundNs: ROUND_NS, returned: new Signal(), reclaims });
  fill();
  kswapd.wake(0, ZoneType.normal);
  sim.run();
  fill();
  zones[0].watermarkBoost = 512;
  const before = asked.length;
  kswapd.wake(0, ZoneType.movable);
  sim.run();
  assert.deepEqual([asked[0], asked[before]], [MARKS.high, 2 * MARKS.high + 512]);
});

Deno.test("without a kswapd marks are never raised", () => {
  const allocator = new Buddy(0, 8192, MOVABLE);
  const parts = { index: 0, name: "Normal", allocator, present: [], managedPages: 8192 };
  const zone = new Zone({ ...parts, watermarks: MARKS });
  zone.boost();
  assert.equal(zone.watermarkBoost, 0);
});

/** Kernel pages come into movable memory that is nearly full: each of their fallbacks raises the marks. */
const CROWDED = {
  hintsim: 1,
  machine: { memory: "64MiB", vcpus: 2, thp: false, keepMarks: true, minFreeKbytes: 4096 },
  workload: {
    kind: "churn",
    occupancy: 0.9,
    orders: { 0: 8, 1: 1, 2: 1 },
    migratetypes: { movable: 8, unmovable: 1, reclaimable: 1 },
    lifetime: { mean: "50ms" },
    duration: "1s",
  },
};

Deno.test("in a run a request that fails while marks are raised waits for kswapd", async () => {
  const [result] = simulate(await load(CROWDED), { check: true });
  assert.deepEqual(result.problems, []);
  assert.ok(Number(result.summary.guest_stall_ns) > 0, "no driver: only kswapd was waited for");
  const [sliced] = simulate(await load(CROWDED), { check: true, slice: 1 });
  assert.equal(sliced.fingerprint, result.fingerprint);
});
