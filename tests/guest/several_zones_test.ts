/** Reclaim, compaction, khugepaged and the page cache in guests of several zones and nodes. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { MOVABLE, RECLAIMABLE, UNMOVABLE } from "../../sim/guest/allocator.ts";
import { Op, OpFlag } from "../../sim/guest/operations.ts";
import { type Row, type Step, ZonedGuest } from "./zoned_guest.ts";

const MIB = 2 ** 20;

/** DMA of 4096, DMA32 of 12288 and Movable of 16384 pages. */
const MOVABLE_HALF = { zones: { layout: "auto", movable: 64 * MIB } } as const;
const MEMORY = 128 * MIB;

const named = (rows: readonly Row[], event: string) => rows.filter((row) => row.event === event);
const zonesOf = (rows: readonly Row[], event: string) =>
  [...new Set(named(rows, event).map(({ zone }) => zone))].sort();

/** So many operations of one kind. */
const many = (count: number, step: Step, first = 0): Step[] =>
  Array.from({ length: count }, (_, n) => ({ ...step, handle: first + n }));

for (const type of [UNMOVABLE, RECLAIMABLE]) {
  Deno.test(`type ${type}: pages of the kernel never come from Movable, which is free when they run out`, () => {
    const zoned = new ZonedGuest(MEMORY, MOVABLE_HALF);
    const rows = zoned.run(many(17_000, { type, pauseNs: 0 }));
    assert.deepEqual(zonesOf(rows, "alloc"), ["DMA", "DMA32"]);
    assert.ok(named(rows, "alloc_fail").length > 0);
    assert.equal(zoned.zone("Movable").freePages, 16_384);
    // User pages come from Movable first.
    assert.deepEqual(zonesOf(zoned.run(many(10, {}, 20_000)), "alloc"), ["Movable"]);
    assert.deepEqual(zoned.problems(), []);
  });
}

Deno.test("a request of the kernel drops page cache of its zones and leaves that of Movable", () => {
  const zoned = new ZonedGuest(MEMORY, MOVABLE_HALF);
  // Cache fills Movable first, then the others down to their low marks.
  zoned.run(many(30_000, { flags: OpFlag.cache }));
  const movable = zoned.zone("Movable");
  const before = movable.freePages;
  // 6000 pages need more than the other zones have free; kswapd and the tasks make room there.
  const rows = zoned.run(many(6000, { type: UNMOVABLE, pauseNs: 100 }, 50_000));
  const drops = named(rows, "free");
  assert.ok(drops.length > 3000, `${drops.length} pages were dropped`);
  assert.ok(!zonesOf(rows, "free").includes("Movable"));
  assert.equal(movable.freePages, before);
  assert.equal(named(rows, "alloc").length, 6000);
  assert.deepEqual(zoned.problems(), []);
});

Deno.test("a request that is bound to DMA32 reclaims there and below, not from Normal", () => {
  // 16 MiB of DMA, 48 MiB of DMA32, and 64 MiB above 4 GiB.
  const zoned = new ZonedGuest(128 * MIB, { holes: [{ at: 64 * MIB, size: 4096 * MIB - 64 * MIB }] });
  const index = zoned.zone("DMA32").index;
  assert.deepEqual(zoned.zones.map(({ name, presentPages }) => [name, presentPages]), [
    ["DMA", 4096],
    ["DMA32", 12_288],
    ["Normal", 16_384],
  ]);
  const cache = many(30_000, { flags: OpFlag.cache });
  zoned.run(cache);
  const bound = many(4000, { zone: index, pauseNs: 0 }, 50_000);
  const rows = zoned.run(bound);
  assert.deepEqual(zonesOf(rows, "alloc"), ["DMA32"]);
  assert.equal(named(rows, "alloc").length, 4000);
  assert.ok(named(rows, "direct_reclaim").length > 0);
  assert.ok(zonesOf(rows, "free").includes("DMA32"));
  assert.ok(!zonesOf(rows, "free").includes("Normal"));
  assert.deepEqual(zoned.problems(), []);
});

Deno.test("a large request that is bound to DMA32 compacts there and below, not Normal", () => {
  const zoned = new ZonedGuest(128 * MIB, { holes: [{ at: 64 * MIB, size: 4096 * MIB - 64 * MIB }] });
  // Every zone is a checkerboard: each has the memory for a block, and none has one.
  for (const { index, presentPages } of zoned.zones) {
    zoned.run(many(presentPages, { zone: index, pauseNs: 0 }, 100_000 * index));
    zoned.run(
      many(presentPages / 2, { kind: Op.free, pauseNs: 0 }, 0).map((step) => {
        return { ...step, handle: 100_000 * index + 2 * step.handle! };
      }),
    );
  }
  const rows = zoned.run([{ handle: 900_000, order: 4, zone: zoned.zone("DMA32").index }]);
  assert.deepEqual(named(rows, "compaction").map(({ zone }) => zone), ["DMA32"]);
  assert.deepEqual(rows.filter(({ event, order }) => event === "alloc" && order === 4).map(({ zone }) => zone), [
    "DMA32",
  ]);
  assert.deepEqual(zoned.problems(), []);
});

Deno.test("compaction never moves a page of the kernel, nor any page to another zone", () => {
  const kind = fc.record({
    type: fc.constantFrom(MOVABLE, MOVABLE, MOVABLE, UNMOVABLE, RECLAIMABLE),
    free: fc.boolean(),
  });
  const kernels = fc.constantFrom("6.1" as const, "6.12" as const);
  let movedPages = 0;
  fc.assert(
    fc.property(kernels, fc.array(kind, { minLength: 20, maxLength: 60, size: "max" }), (kernel, pattern) => {
      // Memory is filled with single pages of mixed types, of which about half go: hardly a block of 256 is left.
      const zoned = new ZonedGuest(24 * MIB, { kernel, zones: { layout: "auto", movable: 4 * MIB } });
      const { guest } = zoned;
      const kernelPages = new Map<number, number>();
      for (let handle = 0; handle < 6000; handle++) {
        if (guest.alloc(handle, 0, pattern[handle % pattern.length].type, -1, 0) < 0) continue;
        guest.allocations.find(handle);
        if (pattern[handle % pattern.length].type !== MOVABLE) kernelPages.set(handle, guest.allocations.pfn);
      }
      for (let handle = 0; handle < 6000; handle++) {
        if (pattern[handle % pattern.length].free && guest.allocations.find(handle)) guest.free(handle, 0);
        if (!guest.allocations.find(handle)) kernelPages.delete(handle);
      }
      const before = zoned.rows().length;
      const compaction = zoned.background.compaction!;
      for (const mode of ["async", "sync-light", "sync-full"] as const) compaction.direct(8, MOVABLE, 0, mode);
      movedPages += compaction.migratedPages;
      const rows = zoned.rows().slice(before);
      for (const [handle, pfn] of kernelPages) {
        assert.ok(guest.allocations.find(handle));
        assert.equal(guest.allocations.pfn, pfn);
      }
      const fixed = new Set(kernelPages.values());
      assert.ok(named(rows, "free").every(({ pfn }) => !fixed.has(pfn)));
      // Each move is an allocation, and the free of what was there before.
      const moves = rows.filter(({ event }) => event === "alloc" || event === "free");
      for (let at = 0; at < moves.length; at += 2) {
        assert.deepEqual([moves[at].event, moves[at + 1].event], ["alloc", "free"]);
        assert.equal(moves[at].zone, moves[at + 1].zone);
      }
      assert.deepEqual(zoned.problems(), []);
    }),
    { numRuns: 15 },
  );
  assert.ok(movedPages > 0, "nothing was compacted");
});

/** Two nodes of 64 MiB with a CPU each: node 0 has DMA and DMA32, node 1 DMA32 only. */
const NODES = { numa: [{ memory: 64 * MIB }, { memory: 64 * MIB }], vcpus: 2 };
const NODE_END = 64 * MIB / 4096;

Deno.test("khugepaged takes the huge page from the node of the single pages, and none when that has none", () => {
  const zoned = new ZonedGuest(128 * MIB, NODES);
  const { guest } = zoned;
  zoned.run(many(512, { cpu: 1 }));
  assert.ok(named(zoned.rows(), "alloc").every(({ pfn }) => pfn >= NODE_END), "a CPU has pages of its own node first");
  assert.ok(guest.collapse(0) > 0);
  assert.ok(guest.allocations.find(0));
  assert.equal(guest.allocations.order, 9);
  assert.ok(guest.allocations.pfn >= NODE_END);
  // Single pages until nothing is left on node 1 but those that the fault took.
  const group = many(512, { cpu: 1, pauseNs: 0 }, 1000);
  zoned.run(group);
  for (
    let handle = 10_000;
    zoned.zone("DMA32", 1).pages.nrFree(9) + zoned.zone("DMA32", 1).pages.nrFree(10) > 0;
    handle++
  ) {
    guest.alloc(handle, 0, MOVABLE, zoned.zone("DMA32", 1).index, 1);
  }
  assert.ok(zoned.zone("DMA32", 0).pages.nrFree(10) > 0, "node 0 has blocks");
  assert.equal(guest.collapse(1000), -1);
  assert.deepEqual(zoned.problems(), []);
});

Deno.test("khugepaged may take it from any node that has as many of the single pages as the one with most", () => {
  const zoned = new ZonedGuest(128 * MIB, NODES);
  zoned.run([...many(256, { cpu: 1 }), ...many(256, { cpu: 0 }, 256)]);
  assert.ok(zoned.guest.collapse(0) > 0);
  zoned.guest.allocations.find(0);
  // The first of them is asked first.
  assert.ok(zoned.guest.allocations.pfn < NODE_END);
});

Deno.test("a task compacts the zones of its own node first", () => {
  for (const cpu of [0, 1]) {
    const zoned = new ZonedGuest(128 * MIB, { ...NODES, thpDefrag: "always" });
    for (const { index, presentPages } of zoned.zones) {
      zoned.run(many(presentPages, { zone: index, pauseNs: 0 }, 100_000 * index));
      zoned.run(Array.from({ length: presentPages / 2 }, (_, n) => {
        return { kind: Op.free, handle: 100_000 * index + 2 * n, pauseNs: 0 };
      }));
    }
    const rows = zoned.run([{ handle: 900_000, order: 9, flags: OpFlag.fallback, cpu }]);
    const block = rows.find(({ event, order }) => event === "alloc" && order === 9)!;
    assert.equal(block.pfn >= NODE_END, cpu === 1);
    assert.deepEqual(zoned.problems(), []);
  }
});

Deno.test("page cache of a guest with every kind of zone: nothing fails, and drop_caches gives back all of it", () => {
  const zoned = new ZonedGuest(MEMORY, MOVABLE_HALF);
  const rows = zoned.run([...many(2 * 32_768, { flags: OpFlag.cache }), { kind: Op.dropCaches, touch: 1 }]);
  assert.deepEqual(named(rows, "alloc_fail"), []);
  assert.deepEqual(named(rows, "oom_kill"), []);
  assert.deepEqual(zonesOf(rows, "alloc"), ["DMA", "DMA32", "Movable"]);
  assert.equal(zoned.guest.freePages, 32_768);
  assert.equal(zoned.guest.cachePages, 0);
  assert.deepEqual(zoned.problems(), []);
});
