import assert from "node:assert/strict";
import fc from "fast-check";
import { allCheckers } from "../../sim/core/checkers.ts";
import { MemorySink } from "../../sim/core/memory_sink.ts";
import { Sim } from "../../sim/core/sim.ts";
import { Event, NONE, Trace } from "../../sim/core/trace.ts";
import { MOVABLE } from "../../sim/guest/allocator.ts";
import { Buddy } from "../../sim/guest/buddy.ts";
import { Compaction } from "../../sim/guest/compaction.ts";
import { Guest } from "../../sim/guest/guest.ts";
import { kernel61 } from "../../sim/guest/kernel_6_1.ts";
import { Op, type OpColumns, OpFlag } from "../../sim/guest/operations.ts";
import type { HintingPolicy } from "../../sim/guest/policy.ts";
import { Vcpus } from "../../sim/guest/vcpu.ts";
import { Zone } from "../../sim/guest/zone.ts";
import { useOfZones } from "../../sim/guest/zone_use.ts";
import { Backing, HostMemory } from "../../sim/host/backing.ts";
import { costProfiles, costsOf } from "../../sim/host/costs.ts";
import { Judge } from "../../sim/host/judge.ts";

const PAGES = 4096;
const MIN = 64;
/** What tasks may have of it. */
const USABLE = PAGES - MIN;

/** One operation of a stream. */
interface Step {
  owner?: number;
  handle: number;
  kind?: number;
  order?: number;
  flags?: number;
  pauseNs?: number;
}

/** `count` single pages for a process. */
const takes = (owner: number, handle: number, count: number): Step[] =>
  Array.from({ length: count }, (_, n) => ({ owner, handle: handle + n }));

/** They are freed again. */
const frees = (owner: number, handle: number, count: number): Step[] =>
  takes(owner, handle, count).map((step) => ({ ...step, kind: Op.free }));

/** A guest of one zone that keeps house, whose CPUs keep no pages; its rows are kept and checked. */
class Machine {
  readonly sim: Sim;
  readonly guest: Guest;
  readonly compaction: Compaction;
  readonly #vcpus: Vcpus;
  readonly #sink = new MemorySink();
  readonly #checkers = allCheckers([PAGES], { hugetlb: false });

  constructor(policy?: HintingPolicy) {
    const trace = new Trace([this.#sink, ...this.#checkers], true);
    this.sim = new Sim(trace);
    const { sim } = this;
    const allocator = new Buddy(0, PAGES, MOVABLE, false);
    allocator.insertRange(0, PAGES, MOVABLE);
    const parts = { index: 0, name: "Normal", allocator, present: [{ pfn: 0, count: PAGES }], managedPages: PAGES };
    const zone = new Zone({ ...parts, watermarks: { min: MIN, low: 80, high: 96 }, kernel: kernel61 });
    const judge = new Judge(PAGES);
    const costs = costsOf(costProfiles[0]);
    const memory = new HostMemory(Infinity, () => sim.halt("full"));
    const host = new Backing({ trace, costs, guest: 0, memory, judge, kind: "4k", pages: PAGES, inhibited: false });
    const use = { ...useOfZones([zone], 2), lowmemReserve: [[0, 0, 0, 0, 0]] };
    const guestParts = { sim, index: 0, zones: [zone], host, judge, costs, initOnAlloc: true, use };
    this.guest = new Guest({ ...guestParts, pages: { perCpu: 0, keepMarks: true, reclaims: true } });
    if (policy !== undefined) this.guest.setPolicy(policy);
    this.compaction = new Compaction({ sim, guest: this.guest, costs, proactiveness: 20 });
    this.#vcpus = new Vcpus(sim, this.guest);
    trace.write(Event.present, 0, PAGES, NONE, 0, NONE, NONE, 0, 0, NONE);
    judge.release(0, PAGES);
  }

  /** Runs these steps, a stream for each CPU. */
  run(...streams: readonly (readonly Step[])[]): this {
    streams.forEach((steps, cpu) => {
      let next = 0;
      this.#vcpus.start({
        open: false,
        fill(columns: OpColumns) {
          if (next === steps.length) return 0;
          const { owner = 0, handle, kind = Op.alloc, order = 0, flags = 0, pauseNs = 100 } = steps[next++];
          columns.set(0, kind, handle, order, MOVABLE, pauseNs, 2 ** order, cpu, -1, -1, flags, owner);
          return 1;
        },
      });
    });
    this.sim.run();
    return this;
  }

  /** Nothing starts any more. */
  stop(): void {
    this.#vcpus.stop();
  }

  /** How many of these handles name pages. */
  live(handle: number, count: number): number {
    let live = 0;
    for (let n = 0; n < count; n++) live += this.guest.allocations.find(handle + n) ? 1 : 0;
    return live;
  }

  /** Rows of an event. */
  count(event: number): number {
    return this.#rows().event.filter((one) => one === event).length;
  }

  /** What the rows of an event say that they took, ns. */
  costs(event: number): number[] {
    const rows = this.#rows();
    return [...rows.costNs].filter((_, row) => rows.event[row] === event);
  }

  /** Pages of each `oom_kill` row, after a look at the `free` rows behind it: they are its pages. */
  kills(): number[] {
    const { event, pages, costNs } = this.#rows();
    const kills: number[] = [];
    event.forEach((one, row) => {
      if (one !== Event.oomKill) return;
      assert.equal(costNs[row], 0, "the frees carry the time");
      let left = pages[row];
      for (let at = row + 1; left > 0; at++) {
        assert.equal(event[at], Event.free);
        left -= pages[at];
      }
      assert.equal(left, 0);
      kills.push(pages[row]);
    });
    return kills;
  }

  /** Nothing is lost, and no checker found anything. */
  validate(): void {
    let used = 0;
    this.guest.forEachAllocation(() => used += 2 ** this.guest.allocations.order);
    assert.equal(used + this.guest.freePages, PAGES);
    this.#rows();
    assert.deepEqual(this.#checkers.flatMap(({ problems }) => problems), []);
  }

  #rows() {
    this.sim.trace.flush();
    return this.#sink.columns();
  }
}

Deno.test("the largest process dies, the others go on, and what is asked for it later does not happen", () => {
  // 500 pages are the kernel's, 1000 and 2000 those of two processes; a third one asks for 1500, of which 532 are there.
  const machine = new Machine().run([
    ...takes(0, 0, 500),
    ...takes(1, 1000, 1000),
    ...takes(2, 5000, 2000),
    ...takes(3, 10_000, 1500),
    { owner: 2, handle: 5000, kind: Op.touch },
    ...takes(2, 20_000, 10),
    ...frees(2, 20_000, 10),
    ...frees(2, 5000, 2000),
    ...frees(1, 1000, 1000),
  ]);
  machine.validate();
  assert.deepEqual(machine.kills(), [2000]);
  const live = [machine.live(0, 500), machine.live(1000, 1000), machine.live(5000, 2000), machine.live(10_000, 1500)];
  assert.deepEqual(live, [500, 0, 0, 1500]);
  assert.equal(machine.count(Event.alloc), 500 + 1000 + 2000 + 1500);
  assert.equal(machine.count(Event.free), 2000 + 1000);
  assert.deepEqual([machine.count(Event.allocFail), machine.guest.skippedFrees], [0, 0]);
  assert.deepEqual([machine.guest.oom.kills, machine.guest.oom.failures], [1, 0]);
  // The one that asked waited for as long as the frees of the victim took: nothing else kept it.
  assert.deepEqual(machine.costs(Event.stall), [machine.costs(Event.free).slice(0, 2000).reduce((a, b) => a + b)]);
});

Deno.test("of two equal processes that of the higher number dies; after the last one allocations fail", () => {
  const rest = USABLE - 3000;
  const machine = new Machine().run([...takes(7, 5000, 1500), ...takes(4, 7000, 1500), ...takes(0, 0, rest + 3010)]);
  machine.validate();
  // The first of the two makes room for 1500 pages, the second for as many; the last ten find neither memory nor a process.
  assert.deepEqual(machine.kills().slice(0, 3), [1500, 1500, 0]);
  assert.deepEqual([machine.live(5000, 1500), machine.live(7000, 1500)], [0, 0]);
  assert.deepEqual([machine.guest.oom.kills, machine.guest.oom.failures, machine.count(Event.allocFail)], [2, 10, 10]);
  const first = new Machine().run([...takes(7, 5000, 1500), ...takes(4, 7000, 1500), ...takes(0, 0, rest + 1)]);
  assert.deepEqual([first.live(5000, 1500), first.live(7000, 1500)], [0, 1500]);
});

Deno.test("a process that asks may be the victim: its allocation does not happen, and is no failure", () => {
  const machine = new Machine().run([...takes(0, 0, 1000), ...takes(1, 5000, USABLE), ...takes(0, 1000, 10)]);
  machine.validate();
  assert.deepEqual(machine.kills(), [USABLE - 1000]);
  assert.deepEqual([machine.live(0, 1010), machine.live(5000, USABLE)], [1010, 0]);
  assert.equal(machine.count(Event.alloc), USABLE + 10);
  assert.equal(machine.count(Event.allocFail), 0);
});

Deno.test("large orders and requests that cannot wait fail and kill nobody", () => {
  // Of the 64 pages below the mark requests that cannot wait may have a part: 8 of 8 pages at most.
  const atomic = Array.from({ length: 10 }, (_, n): Step => ({ handle: 2 + n, flags: OpFlag.atomic, order: 3 }));
  const machine = new Machine().run([...takes(1, 5000, USABLE), { handle: 1, order: 4 }, ...atomic]);
  machine.validate();
  assert.deepEqual([machine.kills(), machine.live(5000, USABLE), machine.live(1, 1)], [[], USABLE, 0]);
  assert.ok(machine.count(Event.allocFail) >= 1 + 2);
});

/**
 * The first CPU runs out as process `asks` and then waits for 0.1 s for its driver, which may give hope; meanwhile the second
 * one runs out. Process 1 has 1900 pages, process 2 1132, the kernel 1000: all.
 */
function whileAnotherWaits(asks: number, hope: boolean): Machine {
  let calls = 0;
  const machine = new Machine({
    *onPressure() {
      if (calls++ > 0) return false;
      yield 1e8;
      return hope;
    },
  });
  const first = [...takes(1, 0, 1900), { owner: asks, handle: 3000, pauseNs: 1e9 }];
  machine.run(first, [...takes(0, 10_000, 1000), ...takes(2, 5000, 1132), { owner: 2, handle: 7000, pauseNs: 1e9 }]);
  machine.validate();
  assert.deepEqual([machine.kills(), calls], [[1900], 2]);
  assert.deepEqual([machine.live(5000, 1132), machine.live(7000, 1), machine.count(Event.allocFail)], [1132, 1, 0]);
  return machine;
}

Deno.test("a task that waits is killed by another: it goes without, and kills nobody", () => {
  for (const hope of [false, true]) assert.equal(whileAnotherWaits(1, hope).live(3000, 1), 0);
});

Deno.test("a task that waits while another kills tries again before it kills, too", () => {
  for (const hope of [false, true]) assert.equal(whileAnotherWaits(3, hope).live(3000, 1), 1);
});

Deno.test("nobody is killed once the run has ended", () => {
  const machine: Machine = new Machine({
    *onPressure() {
      yield 1000;
      machine.stop();
      return false;
    },
  });
  machine.run(takes(1, 0, USABLE + 1));
  machine.validate();
  assert.deepEqual([machine.kills(), machine.live(0, USABLE)], [[], USABLE]);
});

Deno.test("the page cache is nobody's, whoever read it", () => {
  const read = takes(2, 20_000, 100).map((step) => ({ ...step, flags: OpFlag.cache }));
  const machine = new Machine().run([...takes(1, 5000, 10), ...takes(2, 6000, 5), ...read]);
  machine.guest.oom.outOfMemory(0, 0);
  machine.guest.oom.outOfMemory(0, 0);
  machine.guest.oom.outOfMemory(0, 0);
  machine.validate();
  assert.deepEqual(machine.kills(), [10, 5, 0]);
  assert.equal(machine.guest.cachePages, 100);
});

Deno.test("a huge fault that fell back belongs to its process page by page, and ends where it is killed", () => {
  // 300 single pages are left when a fault of 512 comes.
  const fault: Step = { owner: 2, handle: 0, order: 9, flags: OpFlag.fallback };
  const rest = USABLE - 1024 - 300 - 1400;
  const machine = new Machine().run([
    { ...fault, handle: 512 },
    { ...fault, handle: 1024 },
    ...takes(1, 5000, 1400),
    ...takes(0, 10_000, rest),
    fault,
    { ...fault, kind: Op.free },
    ...takes(1, 6400, 100),
  ]);
  machine.validate();
  // 2 x 512 + 300 < 1400: the other one dies, and the fault goes on. Two huge pages are left when it was freed.
  assert.deepEqual(machine.kills(), [1400]);
  assert.deepEqual([machine.live(0, 1536), machine.live(6400, 100)], [2, 0]);
  // 2 x 512 + 300 > 1200: it dies itself, and no page of the fault comes after that.
  const both = new Machine().run([
    { ...fault, handle: 512 },
    { ...fault, handle: 1024 },
    ...takes(1, 5000, 1200),
    ...takes(0, 10_000, rest + 200),
    fault,
    { ...fault, kind: Op.free },
    ...takes(1, 6200, 100),
  ]);
  both.validate();
  assert.deepEqual(both.kills(), [1324]);
  assert.deepEqual([both.live(0, 1536), both.live(5000, 1300)], [0, 1300]);
  assert.equal(both.count(Event.allocFail), 0);
});

Deno.test("pages that compaction moved and that became a huge page stay their process's", () => {
  // A checkerboard: every other of 4032 pages is in use, of the first 1024 by the kernel, of the others by one process. Then
  // 512 handles in a row of another process.
  const board = Array.from({ length: PAGES }, (_, n): Step => ({ owner: n < 1024 ? 0 : 1, handle: n }));
  const machine = new Machine();
  const usable = board.slice(0, USABLE);
  machine.run([...usable, ...usable.filter((_, n) => n % 2 === 1).map((step) => ({ ...step, kind: Op.free }))]);
  assert.ok(machine.compaction.direct(9, MOVABLE, 0) > 0);
  assert.ok(machine.compaction.migratedPages >= 256);
  machine.run(takes(2, 5120, 512));
  assert.ok(machine.guest.collapse(5120) >= 0);
  machine.validate();
  assert.equal(machine.live(5120, 512), 1);
  for (let n = 0; n < 3; n++) machine.guest.oom.outOfMemory(0, 1);
  machine.validate();
  assert.deepEqual(machine.kills(), [(USABLE - 1024) / 2, 512, 0]);
  assert.equal(machine.live(0, 1024), 512);
  assert.equal(machine.guest.freePages, PAGES - 512);
});

Deno.test("pages that a policy still works on go when it has done so, not when their process is killed", () => {
  let killed = false;
  const live: number[] = [];
  const machine: Machine = new Machine({
    needsUse: () => killed === false,
    *beforeUse() {
      if (!machine.guest.allocations.find(5)) return;
      killed = true;
      machine.guest.oom.outOfMemory(0, 1);
      yield 1000;
      live.push(machine.live(0, 5), machine.live(5, 1));
    },
  });
  machine.run([...takes(1, 0, 6), ...takes(1, 6, 3), ...takes(2, 100, 1)]);
  machine.validate();
  assert.deepEqual(live, [0, 1]);
  assert.deepEqual([machine.kills(), machine.live(0, 10), machine.live(100, 1)], [[5], 0, 1]);
});

Deno.test("whatever two CPUs ask for: nobody dead has pages, allocations fail only when nobody is left to kill", () => {
  const step = fc.record({
    owner: fc.integer({ min: 0, max: 5 }),
    slot: fc.integer({ min: 0, max: 39 }),
    order: fc.constantFrom(0, 1, 3, 6, 9),
    free: fc.integer({ min: 0, max: 3 }).map((n) => n === 0),
  });
  const streams = fc.array(fc.array(step, { minLength: 20, maxLength: 60 }), { minLength: 2, maxLength: 2 });
  fc.assert(
    fc.property(streams, (asked) => {
      const machine = new Machine();
      const order = new Map<number, number>();
      const owners = new Map<number, number>();
      const steps = asked.map((list, cpu) =>
        list.flatMap(({ owner, slot, order: size, free }): Step[] => {
          const handle = (cpu * 40 + slot) * 512;
          const known = order.get(handle);
          if (known === undefined) {
            order.set(handle, size);
            // Processes 1 to 5 of the first CPU, 6 to 10 of the second.
            owners.set(handle, owner === 0 ? 0 : owner + 5 * cpu);
            return [{ owner: owners.get(handle)!, handle, order: size, flags: size > 0 ? OpFlag.fallback : 0 }];
          }
          const flags = known > 0 ? OpFlag.fallback : 0;
          if (!free) return [{ owner: owners.get(handle)!, handle, kind: Op.touch, order: known, flags }];
          order.delete(handle);
          return [{ owner: owners.get(handle)!, handle, kind: Op.free, order: known, flags }];
        })
      );
      machine.run(...steps);
      machine.validate();
      const { oom } = machine.guest;
      const kills = machine.kills();
      assert.equal(kills.filter((pages) => pages > 0).length, oom.kills);
      assert.equal(kills.filter((pages) => pages === 0).length, oom.failures);
      assert.equal(machine.count(Event.allocFail), oom.failures);
      machine.guest.forEachAllocation((handle) => assert.ok(!oom.isDead(oom.ownerOf(handle)), `handle ${handle}`));
    }),
    { numRuns: 60 },
  );
});
