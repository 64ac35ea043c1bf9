/**
 * What the kernel zeroes when it allocates pages (init_on_alloc=1, mm/page_alloc.c `post_alloc_hook`), path by path. The paths on
 * which pages are allocated, and where each is run here:
 *
 * - requests of tasks, page cache and slab among them: "a task"; page_cache_test and reclaim_test have the cache
 * - huge page faults, and the single pages that they fall back to: "a huge page fault"
 * - the balloon, of single and of huge pages (`balloon_page_alloc`): "balloon"
 * - free page hinting (`alloc_pages` of order 10): "free page hinting"
 * - 2016 designs that take blocks off the lists by allocating them, and their bitmaps: "per-order", "single-pass-hybrid",
 *   "bitmap-windows"
 * - migration for hot-unplug (`alloc_migration_target`): "migration"
 * - compaction, whole free blocks and not only the pages used (`split_map_pages`, `release_free_list`): "compaction"
 * - khugepaged (`alloc_charge_hpage`): "khugepaged"
 * - the memmap of plugged memory (`vmemmap_alloc_block`): "plugged memory"
 *
 * No allocation, and so not zeroed: isolation for reporting and page hinting (`__isolate_free_page`), plugged memory itself
 * (`__free_pages_core`), memory taken offline (`__offline_isolated_pages`).
 */
import assert from "node:assert/strict";
import { load, type RunResult, simulate } from "../../mod.ts";
import { Event } from "../../sim/core/trace.ts";
import { MOVABLE, UNMOVABLE } from "../../sim/guest/allocator.ts";
import { OpFlag } from "../../sim/guest/operations.ts";
import { type Row, ZonedGuest, type ZonedOptions } from "./zoned_guest.ts";

const MIB = 2 ** 20;
/** The first page of memory that is plugged: 4 GiB. */
const PLUGGED = 2 ** 20;

/** A guest of which the host backs nothing at first, idle unless told, under a policy. */
async function idle(
  policy: unknown,
  machine: Record<string, unknown>,
  workload: Record<string, unknown> = { kind: "idle", duration: "3s" },
): Promise<RunResult> {
  const quiet = { memory: "64MiB", vcpus: 1, thp: false, resident: "none" };
  const scenario = {
    hintsim: 1,
    machine: { ...quiet, ...machine },
    workload,
    policy,
    host: { backing: "4k" },
  };
  const [result] = simulate(await load(scenario), { events: true, check: true });
  assert.deepEqual(result.problems, []);
  return result;
}

/** The pages that rows of an event name in a run, each page once, ascending. */
function pagesOf({ events }: RunResult, event: number): number[] {
  const { event: codes, pfn, pages } = events!;
  const rows = Array.from(codes, (code, row) => ({ code, pfn: pfn[row], pages: pages[row] }));
  return distinct(rows.filter(({ code }) => code === event));
}

/** The same of rows of a guest of several zones. */
function named(rows: readonly Row[], event: string): number[] {
  return distinct(rows.filter((row) => row.event === event));
}

function distinct(runs: readonly { readonly pfn: number; readonly pages: number }[]): number[] {
  const pages = runs.flatMap((run) => Array.from({ length: run.pages }, (_, n) => run.pfn + n));
  return [...new Set(pages)].sort((a, b) => a - b);
}

const request = { requests: { at: ["1s"] } };
const HOLDERS: Record<string, { policy: Record<string, unknown>; memory?: string; pages?: number }> = {
  balloon: { policy: { kind: "balloon", target: [{ at: "1s", size: "8MiB" }] }, pages: 2048 },
  "balloon of huge pages": { policy: { kind: "balloon-huge", target: [{ at: "1s", size: "8MiB" }] }, pages: 2048 },
  "free page hinting": { policy: { kind: "free-page-hinting", ...request } },
  "per-order": { policy: { kind: "per-order", acquire: "allocate", ...request } },
  "single-pass-hybrid": { policy: { kind: "single-pass-hybrid", acquire: "allocate", ...request } },
  // 3 GiB need three bitmaps of 1 GiB each: two of eight pages beside the one that the probe made.
  "bitmap-windows": { policy: { kind: "bitmap-windows", ...request }, memory: "3GiB", pages: 16 },
};

for (const [name, { policy, memory = "64MiB", pages }] of Object.entries(HOLDERS)) {
  Deno.test(`${name}: what the driver allocates is zeroed with init_on_alloc, and not else`, async () => {
    const zeroed = await idle(policy, { memory, initOnAlloc: true });
    const held = pagesOf(zeroed, Event.hold);
    if (pages === undefined) assert.ok(held.length > 8192, "more than half of the guest");
    else assert.equal(held.length, pages);
    assert.deepEqual(pagesOf(zeroed, Event.fault), held);
    const plain = await idle(policy, { memory, initOnAlloc: false });
    assert.deepEqual(pagesOf(plain, Event.hold), held);
    assert.deepEqual(pagesOf(plain, Event.fault), []);
  });
}

const ISOLATING = { "free-page-reporting": { delay: "100ms" }, "page-hinting": { capacity: 1 } };

for (const [kind, options] of Object.entries(ISOLATING)) {
  Deno.test(`${kind}: isolated blocks are not zeroed`, async () => {
    // 51 % of 32768 pages are 16711, one by one from page 4096 on: the last of them lie in the block of 1024 pages that begins at
    // page 20480, of which 697 are never allocated, and which is free as a whole in the end.
    const workload = { kind: "fill-drain", occupancy: 0.51, orders: { 0: 1 }, touch: "none", cycles: 1, pause: "1s" };
    const result = await idle({ kind, ...options }, { memory: "128MiB", perCpu: false, initOnAlloc: true }, workload);
    const allocated = new Set(pagesOf(result, Event.alloc));
    const isolated = pagesOf(result, Event.isolate);
    const never = isolated.filter((page) => !allocated.has(page)).length;
    assert.ok(never >= 697, `${never} pages were isolated and never allocated`);
    assert.deepEqual(pagesOf(result, Event.fault), [...allocated].sort((a, b) => a - b));
  });
}

Deno.test("plugged memory: its memmap is written in any case, it is not; with init_on_free it is, as any page that is freed", async () => {
  const hotplug = [{ at: "1s", add: "128MiB", zone: "movable" }];
  const plugged = (page: number) => page >= PLUGGED;
  for (const initOnAlloc of [true, false]) {
    const faults = pagesOf(await idle({ kind: "none" }, { hotplug, memory: "1GiB", initOnAlloc }), Event.fault);
    // 32768 pages of memmap entries of 64 bytes: 512 pages.
    assert.equal(faults.length, 512);
    assert.ok(!faults.some(plugged));
  }
  const freed = await idle({ kind: "none" }, { hotplug, memory: "1GiB", initOnAlloc: false, initOnFree: true });
  assert.equal(pagesOf(freed, Event.fault).filter(plugged).length, 32768);
});

/** A guest of 16 MiB, eight pageblocks in one zone, of which nothing was touched; handles are page numbers. */
function crowded(free: (page: number) => boolean, options: ZonedOptions): ZonedGuest {
  const zoned = new ZonedGuest(16 * MIB, options);
  const { guest } = zoned;
  // A request that is bound to a zone passes the marks by; the pages come in order, out of ever the first block.
  for (let page = 0; page < 4096; page++) {
    assert.ok(guest.alloc(page, 0, MOVABLE, 0, 0) >= 0 && guest.allocations.find(page));
    assert.equal(guest.allocations.pfn, page);
  }
  for (let page = 0; page < 4096; page++) if (free(page)) guest.free(page, 0);
  return zoned;
}

const odd = (page: number) => page % 2 === 1;
const zeroes = [{ initOnAlloc: true }, { initOnAlloc: false }];

Deno.test("a task: pages of every kind are zeroed, written or not", () => {
  const steps = [
    { handle: 0, order: 3, type: UNMOVABLE },
    { handle: 1, order: 0, touch: 1 },
    { handle: 2, order: 2, flags: OpFlag.atomic },
    { handle: 3, order: 0, flags: OpFlag.cache },
  ];
  for (const { initOnAlloc } of zeroes) {
    const zoned = new ZonedGuest(16 * MIB, { initOnAlloc });
    const rows = zoned.run(steps);
    assert.equal(named(rows, "alloc").length, 8 + 1 + 4 + 1);
    assert.deepEqual(named(rows, "zero"), initOnAlloc ? named(rows, "alloc") : []);
    assert.deepEqual(named(rows, "fault"), initOnAlloc ? named(rows, "alloc") : named(rows, "write"));
    assert.equal(named(rows, "write").length, 1);
    assert.deepEqual(zoned.problems(), []);
  }
});

Deno.test("a huge page fault is zeroed, and so are the single pages it falls back to", () => {
  const huge = { handle: 10_000, order: 9, touch: 0, flags: OpFlag.fallback };
  for (const { initOnAlloc } of zeroes) {
    for (const zoned of [new ZonedGuest(16 * MIB, { initOnAlloc }), crowded(odd, { initOnAlloc })]) {
      const rows = zoned.run([huge]);
      const allocated = named(rows, "alloc");
      assert.equal(allocated.length, 512);
      assert.deepEqual(named(rows, "fault"), initOnAlloc ? allocated : []);
      assert.deepEqual(zoned.problems(), []);
    }
  }
});

Deno.test("migration and khugepaged zero the pages before they copy to them", () => {
  for (const { initOnAlloc } of zeroes) {
    const zoned = crowded((page) => page >= 2048, { initOnAlloc });
    const { guest } = zoned;
    assert.ok(guest.migrate(0) > 0 && guest.collapse(512) > 0);
    const [writes, faults] = [named(zoned.rows(), "write"), named(zoned.rows(), "fault")];
    // One page and a block of 512, which are copied to in any case.
    assert.equal(writes.length, 513);
    assert.deepEqual(faults, writes);
    assert.deepEqual(named(zoned.rows(), "zero"), initOnAlloc ? writes : []);
    assert.deepEqual(zoned.problems(), []);
  }
});

for (const kernel of ["6.1", "6.12"] as const) {
  Deno.test(`${kernel}: compaction zeroes all of a free block that it takes off the lists, whatever it uses of it`, () => {
    // The first pageblock has 100 pages in use, the last one a free block of 256 at its end, the others are checkerboards. The
    // scanner of free pages takes the block, 100 pages go there, 156 are freed again; then the first pageblock is whole.
    const free = (page: number) => page < 512 ? odd(page) || page >= 200 : page < 3584 ? odd(page) : page >= 3840;
    for (const options of [{ initOnAlloc: true }, { initOnAlloc: false }, { initOnAlloc: false, initOnFree: true }]) {
      const one = crowded(free, { kernel, ...options });
      // With init_on_free the host backs what the board freed; it drops the block.
      one.host.apply("reclaim", 3840, 256, -1, 0);
      const before = one.rows().length;
      assert.ok(one.background.compaction!.direct(9, MOVABLE, 0) > 0);
      const rows = one.rows().slice(before);
      assert.equal(rows.find(({ event }) => event === "compaction")!.pages, 100);
      const touched = named(rows, "fault").filter((page) => page >= 3840).length;
      assert.equal(touched, options.initOnAlloc || options.initOnFree ? 256 : 100);
      assert.ok(one.zone("DMA").allocator.nrFree(9) > 0);
      assert.deepEqual(one.problems(), []);
    }
  });
}
