import assert from "node:assert/strict";
import { allCheckers } from "../../sim/core/checkers.ts";
import { Sim } from "../../sim/core/sim.ts";
import { Event, Trace, type TraceRows } from "../../sim/core/trace.ts";
import { MOVABLE, RECLAIMABLE, UNMOVABLE } from "../../sim/guest/allocator.ts";
import { Buddy } from "../../sim/guest/buddy.ts";
import { Guest } from "../../sim/guest/guest.ts";
import { kernel61 } from "../../sim/guest/kernel_6_1.ts";
import { kernel612 } from "../../sim/guest/kernel_6_12.ts";
import { LruList } from "../../sim/guest/lru.ts";
import { Op, type OpColumns, OpFlag } from "../../sim/guest/operations.ts";
import { Vcpus } from "../../sim/guest/vcpu.ts";
import { Zone } from "../../sim/guest/zone.ts";
import { useOfZones } from "../../sim/guest/zone_use.ts";
import { Backing, HostMemory } from "../../sim/host/backing.ts";
import { costProfiles, costsOf } from "../../sim/host/costs.ts";
import { Judge } from "../../sim/host/judge.ts";

const PAGES = 16_384;
const MARKS = { min: 400, low: 700, high: 1000 };

/** One operation of a stream. */
interface Step {
  kind?: number;
  handle?: number;
  order?: number;
  type?: number;
  touch?: number;
  flags?: number;
  pauseNs?: number;
}

/** A guest of one zone whose CPU runs `steps`; pages that are free and on its list before each of them, sums of its rows, and problems of the checkers. */
function run(
  steps: readonly Step[],
  options: { kernel?: typeof kernel61; housekeeping?: boolean; zeroes?: boolean; backed?: boolean } = {},
) {
  const { kernel = kernel61, housekeeping = true, zeroes = true, backed = false } = options;
  const pages = new Map<number, number>();
  const count = new Map<number, number>();
  const writes: number[] = [];
  const checkers = allCheckers([PAGES], { hugetlb: false });
  const reader = {
    read(rows: TraceRows) {
      for (let i = 0; i < rows.count; i++) {
        const event = rows.event[i];
        pages.set(event, (pages.get(event) ?? 0) + rows.pages[i]);
        count.set(event, (count.get(event) ?? 0) + 1);
        if (event === Event.zero) writes.push(rows.pages[i]);
      }
    },
  };
  const sim = new Sim(new Trace([reader, ...checkers], true));
  const allocator = new Buddy(0, PAGES, MOVABLE, kernel === kernel612);
  allocator.insertRange(0, PAGES, MOVABLE);
  const parts = { index: 0, name: "Normal", allocator, present: [{ pfn: 0, count: PAGES }], managedPages: PAGES };
  const zone = new Zone({ ...parts, watermarks: MARKS, kernel });
  const judge = new Judge(PAGES);
  const costs = costsOf(costProfiles[0]);
  const memory = new HostMemory(Infinity, () => sim.halt("full"));
  const host = new Backing({
    trace: sim.trace,
    costs,
    guest: 0,
    memory,
    judge,
    kind: "4k",
    pages: PAGES,
    inhibited: false,
  });
  const use = { ...useOfZones([zone], 1), lowmemReserve: [[0, 0, 0, 0, 0]] };
  const guestParts = { sim, index: 0, zones: [zone], host, judge, costs, initOnAlloc: zeroes, use };
  const guest = new Guest({ ...guestParts, pages: { perCpu: 1, keepMarks: true, reclaims: housekeeping } });
  sim.trace.write(Event.present, 0, PAGES, -1, 0, -1, -1, 0, 0, -1);
  judge.release(0, PAGES);
  if (backed) host.touch(0, PAGES, true, 0);
  const vcpus = new Vcpus(sim, guest);
  let at = 0;
  const free: number[] = [];
  const kept: number[] = [];
  vcpus.start({
    open: false,
    fill(columns: OpColumns) {
      let row = 0;
      // One row at a time, so that the free pages are seen between any two of them.
      if (at < steps.length) {
        free.push(guest.freePages);
        kept.push(guest.perCpuPages);
        const { kind = Op.alloc, handle = 0, order = 0, type = MOVABLE, touch = 0, flags = 0, pauseNs = 1000 } =
          steps[at++];
        columns.set(row++, kind, handle, order, type, pauseNs, touch, 0, -1, -1, flags);
      }
      return row;
    },
  });
  sim.run();
  sim.trace.flush();
  return {
    guest,
    zone,
    free,
    kept,
    problems: checkers.flatMap(({ problems }) => problems),
    pages: (event: number) => pages.get(event) ?? 0,
    count: (event: number) => count.get(event) ?? 0,
  };
}

const reads = (count: number, first = 0, pauseNs = 1000): Step[] =>
  Array.from({ length: count }, (_, n) => ({ handle: first + n, touch: 1, flags: OpFlag.cache, pauseNs }));

/**
 * How few and how many pages may be free, by kernel, while a guest of 16384 pages reads on and on. All memory is backed, so that a
 * read takes a page every 1000 + 146 ns, and kswapd 400 + 5 + 90 ns for each page that it drops.
 *
 * At least: a refill of the CPU's list takes R pages, from 701 on; the next read finds less than LOW and wakes kswapd. That runs
 * after 2 us, in which two reads take pages that the list still has, and then fills the list faster than they are read. So 701 - R
 * are free. In 6.1 R is the batch, 3 pages (16384 >> 10 is 16, a quarter of it 4, 4 + 2 rounded to 2^2, less one); in 6.12 up to
 * 2^5 batches, 96.
 *
 * On the list: while kswapd works it drains at 4 * 3 = 12 pages down to 3 or more, so that 11 stay at most. Refills come when it is
 * empty, and a page of each is taken at once: in 6.12 it may have 95 pages then.
 *
 * At most: kswapd looks whether more than HIGH are free between its passes only, of which each drops at once what it drops. At the
 * wake-up 699 + R are free or on the list at most, 699 at least, and 15684 are cache; the passes drop 3, 7, 15, 30, 61, 122, 245 and
 * 490 of them (1/4096 to 1/32), 483 before the last of these, during which and before (2000 + 483 * 495) / 1146 = 210 pages are
 * read, one of which may have been counted.
 * - 6.1: after 483 dropped pages 702 + 483 - 209 = 976 are free at most, so the next pass follows. When it has dropped its 490
 *   there are 1466, 3 of them at least on the list: 1463. When it looks again there are 699 + 973 - 422 - 11 = 1239, and it sleeps.
 * - 6.12: it goes on when at most 1000 are free then, with 95 on the list: 1000 + 95 + 490 - 3 = 1582. In the end 1250 - 95.
 */
const BOUNDS: Readonly<Record<string, { least: number; most: number; kept: number }>> = {
  "6.1": { least: 698, most: 1463, kept: 11 },
  "6.12": { least: 605, most: 1582, kept: 95 },
};

for (const kernel of [kernel61, kernel612]) {
  Deno.test(`${kernel.version}: a guest that reads files of twice its memory stays between LOW and HIGH, and drop_caches gives all back`, () => {
    const steps = [...reads(2 * PAGES), { kind: Op.dropCaches, touch: 1 }];
    const { guest, free, kept, problems, pages, count } = run(steps, { kernel, backed: true });
    assert.deepEqual(problems, []);
    // In the first half the guest only fills, and the limit of the list rises.
    const settled = free.slice(PAGES);
    const { least, most, kept: keptMost } = BOUNDS[kernel.version];
    assert.ok(
      Math.max(...kept.slice(PAGES)) <= keptMost,
      `${Math.max(...kept.slice(PAGES))} pages on the list at most`,
    );
    assert.ok(Math.min(...settled) >= least, `${Math.min(...settled)} pages free at least`);
    assert.ok(Math.max(...settled) <= most, `${Math.max(...settled)} pages free at most`);
    // kswapd lets it come near both: the bounds are no idle ones.
    assert.ok(Math.min(...settled) <= MARKS.low && Math.max(...settled) > MARKS.high);
    assert.deepEqual([count(Event.oomKill), count(Event.allocFail), pages(Event.directReclaim)], [0, 0, 0]);
    assert.equal(guest.cachePages, 0);
    assert.equal(guest.freePages + guest.perCpuPages, PAGES, "all but what the CPU keeps is free");
    assert.equal(pages(Event.kswapd) + pages(Event.dropCaches), 2 * PAGES, "what was read was dropped by one of them");
    assert.equal(pages(Event.free), 2 * PAGES);
  });

  Deno.test(`${kernel.version}: what is read again and again stays, what is read once goes`, () => {
    const hot = reads(2000);
    const steps = [...hot, ...hot, ...hot];
    for (let part = 0; part < 20; part++) steps.push(...reads(1000, 10_000 + part * 1000), ...hot);
    const { guest, problems } = run(steps, { kernel });
    assert.deepEqual(problems, []);
    const kept = hot.filter(({ handle }) => guest.allocations.find(handle!)).length;
    assert.equal(kept, 2000);
    assert.ok(!guest.allocations.find(10_000), "read once, long ago");
  });
}

Deno.test("memory that nobody can drop: the guest reclaims all there is, then the allocation fails and is counted", () => {
  const anonymous = Array.from({ length: PAGES }, (_, n) => ({ handle: 100_000 + n, pauseNs: 0 }));
  const { guest, count, pages, problems } = run([...reads(8000), ...anonymous]);
  assert.deepEqual(problems, []);
  assert.equal(guest.cachePages, 0, "no page of the cache is left");
  assert.equal(pages(Event.kswapd) + pages(Event.directReclaim), 8000);
  assert.ok(pages(Event.directReclaim) > 0);
  // All above the minimum is used; those that come after it fail, each by itself.
  assert.equal(guest.freePages, MARKS.min);
  assert.equal(count(Event.oomKill), guest.oom.failures);
  assert.equal(count(Event.allocFail), MARKS.min + guest.perCpuPages);
});

Deno.test("a free of what was dropped is counted as such, a handle may be used again", () => {
  const { guest, problems } = run([
    ...reads(10),
    { handle: 10, type: RECLAIMABLE, flags: OpFlag.cache },
    { kind: Op.dropCaches, touch: 2 },
    { kind: Op.free, handle: 10 },
    { kind: Op.dropCaches, touch: 1 },
    { kind: Op.free, handle: 0, flags: OpFlag.cache },
    { kind: Op.free, handle: 0, flags: OpFlag.cache },
    ...reads(1, 1),
    { kind: Op.free, handle: 1 },
    { kind: Op.free, handle: 999 },
  ]);
  assert.deepEqual(problems, []);
  assert.deepEqual([guest.droppedFrees, guest.skippedFrees, guest.cachePages], [2, 2, 0]);
});

Deno.test("memory.reclaim drops about what it is asked for, and stops when nothing is left", () => {
  const some = run([...reads(1000), { kind: Op.reclaim, touch: 320 }]);
  // What it looks at last is a batch of up to 32 pages, which is finished.
  const dropped = some.pages(Event.directReclaim);
  assert.ok(dropped >= 320 && dropped < 352, `${dropped} pages`);
  assert.equal(some.guest.cachePages, 1000 - dropped);
  assert.equal(run([...reads(100), { kind: Op.reclaim, touch: 320 }]).guest.cachePages, 0);
});

Deno.test("what was reclaimed lately is active when it is read again, what went long ago or with drop_caches is not", () => {
  // 200 pages are active. Of the others the oldest 320 to 351 go, 200 first; page 519 is the 320th. Then 519 is at most 32 pages
  // old, no more than are active, and 200 at least 320.
  const steps = [...reads(1000), ...reads(200), ...reads(200), { kind: Op.reclaim, touch: 320 }];
  const listOf = (handle: number, more: Step[] = []) => {
    const { guest, problems } = run([...steps, ...more, ...reads(1, handle)]);
    assert.deepEqual(problems, []);
    return guest.reclaim.lru.listOf(handle);
  };
  assert.equal(listOf(519), LruList.active);
  assert.equal(listOf(200), LruList.inactive);
  assert.equal(listOf(519, [{ kind: Op.free, handle: 519, flags: OpFlag.cache }]), LruList.inactive);
  assert.equal(listOf(519, [{ kind: Op.dropCaches, touch: 1 }]), LruList.inactive);
});

Deno.test("a huge fault falls back to 512 pages when no block is left, and one free gives them all back", () => {
  const huge = { handle: 0, order: 9, touch: 512, flags: OpFlag.fallback };
  const whole = run([huge, { kind: Op.free, handle: 0, order: 9, flags: OpFlag.fallback }]);
  assert.deepEqual([whole.count(Event.alloc), whole.count(Event.free), whole.pages(Event.zero)], [1, 1, 512]);
  // All but 430 pages are in use, less than a block of order 9, and then every eighth of them is free again.
  const singles: Step[] = [];
  for (let n = 0; n < PAGES - 430; n++) singles.push({ handle: 5000 + n });
  for (let n = 0; n < PAGES - 430; n += 8) singles.push({ kind: Op.free, handle: 5000 + n });
  const fallen = run([...singles, huge, { kind: Op.free, handle: 0, order: 9, flags: OpFlag.fallback }]);
  assert.deepEqual(fallen.problems, []);
  const { allocations } = fallen.guest;
  assert.equal([...Array(512).keys()].filter((handle) => allocations.find(handle)).length, 0);
  assert.equal(fallen.count(Event.allocFail), 0);
  const before = PAGES - 430;
  assert.equal(fallen.count(Event.alloc), before + 512);
});

Deno.test("a fault of a larger folio falls back to the largest that there are, and one free gives them all back", () => {
  const folio = { handle: 1024, order: 4, touch: 16, flags: OpFlag.fallback };
  const all = PAGES - 430;
  const used: Step[] = Array.from({ length: all }, (_, n) => ({ handle: 5000 + n }));
  // What lies behind these pages, 430 less than all as the marks want: 256 + 128 + 32 + 8 + 4 + 2.
  const rest: Step[] = [8, 7, 5, 3, 2, 1].map((order, n) => ({ handle: n, order }));
  // Of every 16 pages the last `free` are free again.
  const holes = (free: number) => {
    const frees = used.map(({ handle }) => handle!).filter((handle) => (handle - 5000) % 16 >= 16 - free);
    const steps = [...used, ...frees.map((handle) => ({ kind: Op.free, handle })), ...rest, folio];
    const taken = run(steps);
    const { allocations } = taken.guest;
    const orders: number[] = [];
    for (let page = 0; page < 16; page += 2 ** allocations.order) {
      assert.ok(allocations.find(1024 + page), `page ${page}`);
      orders.push(allocations.order);
    }
    const given = run([...steps, { kind: Op.touch, handle: 1024, order: 4, touch: 16, flags: OpFlag.fallback }, {
      kind: Op.free,
      handle: 1024,
      order: 4,
      flags: OpFlag.fallback,
    }]);
    assert.deepEqual([taken.problems, given.problems], [[], []]);
    assert.equal(given.count(Event.alloc), all + 6 + orders.length);
    assert.equal(given.count(Event.free), frees.length + orders.length);
    assert.equal(given.guest.freePages + given.guest.perCpuPages, frees.length);
    return orders;
  };
  assert.deepEqual(holes(16), [4]);
  // Twelve pages in a row: a block of eight is aligned, one of four follows.
  assert.deepEqual(holes(12), [3, 3]);
  assert.deepEqual(holes(4), [2, 2, 2, 2]);
  assert.deepEqual(holes(1), Array(16).fill(0));
});

Deno.test("a network buffer falls back to smaller blocks, and where no page is left fails without reclaim", () => {
  const flags = OpFlag.atomic | OpFlag.fallback;
  const buffer = { handle: 0, order: 3, type: UNMOVABLE, touch: 8, flags };
  const free = { kind: Op.free, handle: 0, order: 3, flags: OpFlag.fallback };
  const all = PAGES - 430;
  const used: Step[] = Array.from({ length: all }, (_, n) => ({ handle: 5000 + n }));
  const rest: Step[] = [8, 7, 5, 3, 2, 1].map((order, n) => ({ handle: 1000 + n, order }));
  // Of every 16 pages the last `gap` are free again: 1024 pages and more, above the mark of kswapd.
  const gaps = (gap: number) => {
    const frees = used.filter(({ handle }) => (handle! - 5000) % 16 >= 16 - gap);
    const steps = [...used, ...frees.map(({ handle }) => ({ kind: Op.free, handle: handle! })), ...rest, buffer];
    const taken = run(steps);
    const { allocations } = taken.guest;
    const orders: number[] = [];
    for (let page = 0; page < 8; page += 2 ** allocations.order) {
      assert.ok(allocations.find(page), `page ${page}`);
      orders.push(allocations.order);
    }
    const given = run([...steps, free]);
    assert.deepEqual([taken.problems, given.problems], [[], []]);
    assert.equal(given.guest.freePages + given.guest.perCpuPages, frees.length);
    assert.deepEqual([given.count(Event.allocFail), given.count(Event.directReclaim)], [0, 0]);
    return orders;
  };
  assert.deepEqual(gaps(8), [3]);
  assert.deepEqual(gaps(4), [2, 2]);
  assert.deepEqual(gaps(1), Array(8).fill(0));
  // Requests that cannot wait take all that they may; then not one page is left for a buffer, which has only that one failure.
  const atomic = Array.from({ length: PAGES }, (_, n) => ({ handle: 5000 + n, flags: OpFlag.atomic }));
  const before = run(atomic);
  const after = run([...atomic, buffer, free]);
  assert.deepEqual(after.problems, []);
  assert.equal(after.count(Event.allocFail), before.count(Event.allocFail) + 1);
  assert.equal(after.pages(Event.allocFail), before.pages(Event.allocFail) + 1);
  assert.equal(after.guest.freePages, before.guest.freePages);
  assert.deepEqual([after.count(Event.directReclaim), after.count(Event.oomKill), after.guest.skippedFrees], [0, 0, 1]);
});

Deno.test("without housekeeping nothing is reclaimed: the cache fills the guest and then allocations fail", () => {
  const { guest, count, problems } = run(reads(PAGES), { housekeeping: false });
  assert.deepEqual(problems, []);
  assert.deepEqual([count(Event.kswapd), count(Event.directReclaim), guest.oom.failures], [0, 0, 0]);
  assert.ok(count(Event.allocFail) > 0);
});

Deno.test("page cache is zeroed as every allocation is when the kernel does so, and not else", () => {
  assert.equal(run(reads(100)).pages(Event.zero), 100);
  assert.equal(run(reads(100), { zeroes: false }).pages(Event.zero), 0);
});
