import assert from "node:assert/strict";
import fc from "fast-check";
import { allCheckers } from "../../sim/core/checkers.ts";
import { MemorySink } from "../../sim/core/memory_sink.ts";
import { Sim } from "../../sim/core/sim.ts";
import { EVENTS, Trace } from "../../sim/core/trace.ts";
import { MOVABLE, UNMOVABLE } from "../../sim/guest/allocator.ts";
import { Buddy } from "../../sim/guest/buddy.ts";
import { Compaction } from "../../sim/guest/compaction.ts";
import { fragmentationScore } from "../../sim/guest/compaction_score.ts";
import { CompactionState } from "../../sim/guest/compaction_state.ts";
import { Guest } from "../../sim/guest/guest.ts";
import { Kcompactd } from "../../sim/guest/kcompactd.ts";
import { COMPACT_SKIPPED } from "../../sim/guest/housekeeping_hooks.ts";
import { kernel61 } from "../../sim/guest/kernel_6_1.ts";
import { kernel612 } from "../../sim/guest/kernel_6_12.ts";
import { Khugepaged } from "../../sim/guest/khugepaged.ts";
import { Zone } from "../../sim/guest/zone.ts";
import { Backing, HostMemory } from "../../sim/host/backing.ts";
import { costProfiles, costsOf } from "../../sim/host/costs.ts";
import { Judge } from "../../sim/host/judge.ts";

const costs = { ...costsOf(costProfiles[1]), scanPageNs: 5, compactionPageNs: 2000 };
const MARKS = { min: 16, low: 32, high: 48 };

/** A guest of movable pageblocks that compacts, its rows kept and checked; CPUs keep no pages. */
class Machine {
  readonly sim: Sim;
  readonly guest: Guest;
  readonly zone: Zone;
  readonly compaction: Compaction;
  readonly #sink = new MemorySink();
  readonly #checkers;

  constructor(blocks: number, kernel = kernel61, { proactiveness = 20, perCpu = 0 } = {}) {
    const pages = 512 * blocks;
    this.#checkers = allCheckers([pages], { hugetlb: false });
    const trace = new Trace([this.#sink, ...this.#checkers], true);
    this.sim = new Sim(trace);
    const allocator = new Buddy(0, pages, MOVABLE, kernel === kernel612);
    allocator.insertRange(0, pages, MOVABLE);
    const parts = { index: 0, name: "Normal", allocator, present: [{ pfn: 0, count: pages }], managedPages: pages };
    this.zone = new Zone({ ...parts, watermarks: MARKS, kernel });
    const judge = new Judge(pages);
    const host = new Backing({
      trace,
      memory: new HostMemory(Infinity, () => {}),
      judge,
      costs,
      kind: "thp",
      pages,
      guest: 0,
    });
    const { sim, zone } = this;
    const kept = { perCpu, keepMarks: false };
    this.guest = new Guest({ sim, index: 0, zones: [zone], host, judge, costs, initOnAlloc: true, pages: kept });
    trace.write(EVENTS.indexOf("present"), 0, pages, -1, 0, -1, -1, 0, 0, -1);
    this.compaction = new Compaction({ sim, guest: this.guest, costs, proactiveness });
  }

  /** Fills memory with single pages under their numbers as handles, and frees every other one. */
  checkerboard(migratetype: number): void {
    const pages = this.zone.presentPages;
    for (let handle = 0; handle < pages; handle++) assert.ok(this.guest.alloc(handle, 0, migratetype, -1, 0) >= 0);
    for (let handle = 1; handle < pages; handle += 2) this.guest.free(handle, 0);
    assert.equal(this.zone.allocator.nrFree(0), pages / 2, "no two free pages are buddies");
  }

  /** Every handle names pages that are not free and nobody else's, nothing is lost, and no checker has found anything. */
  validate(): void {
    const { allocator } = this.zone;
    allocator.validate();
    const used = new Uint8Array(allocator.pages);
    let usedPages = 0;
    this.guest.forEachAllocation((handle, pfn) => {
      const pages = 2 ** this.guest.allocations.order;
      for (let page = pfn; page < pfn + pages; page++) {
        assert.equal(used[page], 0, `page ${page} of handle ${handle} belongs to another, too`);
        used[page] = 1;
      }
      usedPages += pages;
    });
    this.zone.forEachFree((pfn, order) => {
      for (let page = pfn; page < pfn + 2 ** order; page++) {
        assert.equal(used[page], 0, `page ${page} is free and used`);
      }
    });
    assert.equal(usedPages + allocator.freePages + this.guest.perCpuPages, allocator.pages);
    this.sim.trace.flush();
    assert.deepEqual(this.#checkers.flatMap(({ problems }) => problems), []);
  }

  /** Rows of an event: pages, order and cost. */
  rows(name: string): number[][] {
    this.sim.trace.flush();
    const { event, pages, order, costNs } = this.#sink.columns();
    const found: number[][] = [];
    event.forEach((code, row) => {
      if (EVENTS[code] === name) found.push([pages[row], order[row], costNs[row]]);
    });
    return found;
  }
}

Deno.test("a checkerboard of four pageblocks: 512 migrations leave two whole ones", () => {
  // 4 x 256 pages are used. The scanners meet when the lower half has gone into the 512 free pages of the upper one.
  const machine = new Machine(4, kernel61, { proactiveness: 100 });
  machine.checkerboard(MOVABLE);
  assert.equal(fragmentationScore(machine.zone), 100);
  for (const _ of machine.compaction.proactive());
  machine.validate();
  const { allocator } = machine.zone;
  assert.equal(machine.compaction.migratedPages, 512);
  assert.equal(allocator.nrFree(10), 1, "the two pageblocks at the start are one block of order 10");
  assert.equal(fragmentationScore(machine.zone), 0);
  const [[pages, order, costNs]] = machine.rows("compaction");
  assert.deepEqual([pages, order], [512, -1]);
  // Each page moved takes 2000 ns. The migration scanner looks at 2 x 512 pages, the free scanner at the same number above.
  assert.ok(costNs >= 512 * 2000 + 2048 * 5 && costNs < 512 * 2000 + 2200 * 5, `${costNs}`);
});

Deno.test("a checkerboard of unmovable pages stays as it is", () => {
  const machine = new Machine(8);
  machine.checkerboard(UNMOVABLE);
  for (const _ of machine.compaction.proactive());
  assert.ok(machine.compaction.direct(9, MOVABLE, 0, "sync-full") > 0);
  machine.validate();
  assert.equal(machine.compaction.migratedPages, 0);
  assert.equal(machine.zone.allocator.nrFree(0), 2048);
});

for (const kernel of [kernel61, kernel612]) {
  Deno.test(`${kernel.version}: the policy hears of free blocks that compaction puts back`, () => {
    const machine = new Machine(4, kernel);
    const { guest } = machine;
    for (let handle = 0; handle < 2048; handle++) assert.ok(guest.alloc(handle, 0, MOVABLE, -1, 0) >= 0);
    // Two blocks of 64 pages in the last pageblock. The first 32 pages of memory go into one half of the lower of them.
    for (const first of [1536, 1984]) for (let page = 0; page < 64; page++) guest.free(first + page, 0);
    const heard: number[][] = [];
    guest.setPolicy({ freeOrderMin: 5, onFree: (_zone, pfn, order) => void heard.push([pfn, order]) });
    machine.compaction.proactive().next();
    machine.validate();
    assert.deepEqual(heard, [[0, 5], [1568, 5]]);
  });
}

for (const kernel of [kernel61, kernel612]) {
  Deno.test(`${kernel.version}: a task that wants a huge page moves 256 pages for it`, () => {
    const machine = new Machine(8, kernel);
    machine.checkerboard(MOVABLE);
    const ns = machine.compaction.direct(9, MOVABLE, 0);
    machine.validate();
    // One pageblock holds 256 pages; the scanner finishes the pageblock and stops.
    assert.deepEqual(machine.rows("compaction").map(([pages, order]) => [pages, order]), [[256, 9]]);
    assert.ok(ns >= 256 * 2000);
    assert.ok(machine.guest.alloc(9999, 9, MOVABLE, -1, 0) >= 0);
    machine.validate();
  });
}

Deno.test("folios move in 6.12 and stay in 6.1", () => {
  for (const kernel of [kernel61, kernel612]) {
    const machine = new Machine(8, kernel);
    for (let handle = 0; handle < 1024; handle++) machine.guest.alloc(handle, 2, MOVABLE, -1, 0);
    for (let handle = 1; handle < 1024; handle += 2) machine.guest.free(handle, 0);
    machine.compaction.direct(9, MOVABLE, 0, "sync-light");
    machine.validate();
    assert.equal(machine.compaction.migratedPages, kernel === kernel612 ? 256 : 0);
  }
});

Deno.test("an asynchronous compactor gives a pageblock up for one page that stays, a synchronous one moves the others", () => {
  for (const mode of ["async", "sync-light"] as const) {
    const machine = new Machine(8);
    // The last used page of the first pageblock stays.
    machine.checkerboard(MOVABLE);
    machine.zone.unmovable.setRange(510, 1);
    machine.compaction.direct(9, MOVABLE, 0, mode);
    machine.validate();
    // Of 256 pages 7 times 32 have moved before it is seen; of the 31 that are left an asynchronous compactor moves none. The
    // second pageblock becomes a huge page in any case.
    assert.equal(machine.compaction.migratedPages, mode === "async" ? 224 + 256 : 255 + 256);
    assert.equal(machine.zone.allocator.nrFree(9), 1);
  }
});

Deno.test("nothing is tried for lack of memory, for order 0, or when the block is there", () => {
  const machine = new Machine(4);
  assert.equal(machine.compaction.direct(9, MOVABLE, 0), 0, "all is free: the block is there");
  for (let handle = 0; handle < 2048; handle++) machine.guest.alloc(handle, 0, MOVABLE, -1, 0);
  for (let handle = 1; handle < 2048; handle += 4) machine.guest.free(handle, 0);
  // 512 pages are free; the low mark and twice the block, 32 + 1024, must be.
  assert.equal(machine.compaction.direct(9, MOVABLE, 0), COMPACT_SKIPPED);
  assert.equal(machine.compaction.direct(0, MOVABLE, 0), COMPACT_SKIPPED);
  assert.deepEqual(machine.rows("compaction"), []);
});

Deno.test("failures double the attempts that are left out up to 63, a success ends that", () => {
  const zone = { allocator: { startPfn: 0 }, endPfn: 2048 };
  const state = new CompactionState(zone);
  const leftOut = () => {
    let attempts = 0;
    while (state.deferred(9)) attempts++;
    return attempts;
  };
  assert.equal(leftOut(), 0);
  const counts = Array.from({ length: 8 }, () => {
    state.defer(9);
    return leftOut();
  });
  assert.deepEqual(counts, [1, 3, 7, 15, 31, 63, 63, 63]);
  assert.equal(state.restarts(9), true);
  state.defer(9);
  assert.equal(state.deferred(8), true, "the zone was never compacted for a smaller order with success");
  state.succeeded(9, true);
  assert.deepEqual([state.deferred(9), state.restarts(9)], [false, false]);
});

Deno.test("kcompactd compacts ahead of need above a score of 90 and stops at 80; never with proactiveness 0", () => {
  for (const proactiveness of [20, 0]) {
    const machine = new Machine(16, kernel61, { proactiveness });
    machine.checkerboard(MOVABLE);
    const { sim, compaction } = machine;
    const kcompactd = new Kcompactd({ sim, zones: [machine.zone], compaction, proactiveness });
    kcompactd.start();
    sim.run(499e6);
    assert.equal(compaction.runs, 0);
    sim.run(5e9);
    machine.validate();
    assert.equal(kcompactd.proactiveRuns, proactiveness > 0 ? 1 : 0);
    // 16 x 256 pages are free. At 80 % outside of huge pages at most, two of the 16 pageblocks are whole: 1024 of 4096 pages.
    assert.equal(machine.zone.allocator.nrFree(10) * 2 + machine.zone.allocator.nrFree(9), proactiveness > 0 ? 2 : 0);
    kcompactd.closing = true;
    sim.run();
  }
});

Deno.test("kcompactd makes a block for the order it is woken for", () => {
  const machine = new Machine(16);
  machine.checkerboard(MOVABLE);
  const { sim, compaction } = machine;
  const kcompactd = new Kcompactd({ sim, zones: [machine.zone], compaction, proactiveness: 0 });
  kcompactd.wake(9);
  sim.run(100e6);
  machine.validate();
  assert.equal(machine.zone.allocator.nrFree(9), 1);
  kcompactd.closing = true;
  sim.run();
});

Deno.test("khugepaged puts eight groups together every ten seconds, and the handle names the huge page", () => {
  const machine = new Machine(32);
  const { sim, guest } = machine;
  const khugepaged = new Khugepaged({ sim, guest, costs, scan: 4096, sleep: 10e9 });
  for (let group = 0; group < 10; group++) {
    for (let handle = group * 512; handle < group * 512 + 512; handle++) guest.alloc(handle, 0, MOVABLE, -1, 0);
    khugepaged.add(group * 512);
  }
  guest.free(512 + 7, 0);
  khugepaged.start();
  sim.run(11e9);
  machine.validate();
  // Eight groups were looked at; one of them was no whole one any more.
  assert.deepEqual([khugepaged.collapsedPages, khugepaged.groups], [7 * 512, 2]);
  assert.deepEqual(machine.rows("khugepaged").map(([pages, order]) => [pages, order]), [[7 * 512, 9]]);
  assert.ok(guest.allocations.find(0));
  assert.equal(guest.allocations.order, 9);
  assert.ok(!guest.allocations.find(1));
  khugepaged.closing = true;
  sim.run();
});

interface Operation {
  kind: string;
  handle: number;
  order: number;
  migratetype: number;
  mode: "async" | "sync-light" | "sync-full";
}

Deno.test("model: after any compactions the lists are valid and every handle names its own pages", () => {
  const operation = fc.record({
    kind: fc.constantFrom("alloc", "alloc", "free", "free", "direct", "proactive"),
    handle: fc.nat(1500),
    order: fc.nat(4),
    migratetype: fc.constantFrom(MOVABLE, MOVABLE, MOVABLE, UNMOVABLE),
    mode: fc.constantFrom("async" as const, "sync-light" as const, "sync-full" as const),
  });
  const run = (kernel: typeof kernel61, perCpu: number, operations: Operation[]) => {
    const machine = new Machine(6, kernel, { proactiveness: 100, perCpu });
    const { guest, compaction } = machine;
    for (let handle = 2000; handle < 4500; handle++) guest.alloc(handle, 0, MOVABLE, -1, 0);
    for (let handle = 2000; handle < 4500; handle += 2) guest.free(handle, 0);
    for (const { kind, handle, order, migratetype, mode } of operations) {
      if (kind === "free") guest.free(handle, 0);
      else if (kind === "direct") compaction.direct(5 + order, migratetype, 0, mode);
      else if (kind === "proactive") { for (const _ of compaction.proactive()); }
      else if (!guest.allocations.find(handle)) guest.alloc(handle, order, migratetype, -1, 0);
    }
    machine.validate();
  };
  const operations = fc.array(operation, { minLength: 1, maxLength: 200, size: "max" });
  const kernels = fc.constantFrom(kernel61, kernel612);
  fc.assert(fc.property(kernels, fc.constantFrom(0, 2), operations, run), { numRuns: 60 });
});
