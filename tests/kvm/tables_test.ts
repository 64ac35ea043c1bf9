/** What each table does for a lookup and an update, counted by hand. */
import assert from "node:assert/strict";
import { parseOptions } from "../../sim/core/options.ts";
import { heapSort } from "../../sim/kvm/heap_sort.ts";
import { VmSlots } from "../../sim/kvm/memory_region.ts";
import { slotTables } from "../../sim/kvm/mod.ts";
import type { SlotOperations } from "../../sim/kvm/slot_table.ts";
import type { Range } from "../../sim/memory/range.ts";

const PAGE = 4096;

class Bench {
  readonly vm: VmSlots;
  readonly zaps: (Range | undefined)[] = [];

  constructor(kind: string, options: Readonly<Record<string, unknown>> = {}, slots = 0) {
    const plugin = slotTables.find(({ name }) => name === kind)!;
    const { value } = parseOptions(plugin.options, options, []);
    this.vm = new VmSlots({ plugin, options: value, memory: Infinity, zap: (range) => this.zaps.push(range) });
    for (let slot = 0; slot < slots; slot++) this.set(slot, slot, 1);
  }

  set(slot: number, gfn: number, pages: number, flags = 0): string {
    return this.vm.setRegion({ slot, gpa: gfn * PAGE, size: pages * PAGE, hva: slot * 16 * PAGE, flags });
  }

  did(act: (table: VmSlots["table"]) => unknown): SlotOperations {
    const { table } = this.vm;
    const before = table.operations.now();
    act(table);
    return table.operations.since(before);
  }
}

Deno.test("fixed: a lookup looks at each place up to the slot, empty ones too", () => {
  const bench = new Bench("fixed", {}, 32);
  assert.equal(bench.did((table) => table.byGfn(0, 0)).scans, 1);
  assert.equal(bench.did((table) => table.byGfn(31, 0)).scans, 32);
  bench.set(5, 5, 0);
  assert.equal(bench.did((table) => table.byGfn(31, 0)).scans, 32);
  assert.equal(bench.did((table) => table.byGfn(99, 0)).scans, 32);
});

Deno.test("fixed and sorted-by-size: a discard of 2 MiB looks at each slot for each of its 512 pages", () => {
  const range = { pfn: 0, count: 512 };
  for (const kind of ["fixed", "sorted-by-size"]) {
    assert.equal(new Bench(kind, {}, 32).did((table) => table.walkHva(range, () => {})).scans, 512 * 32);
  }
  for (const kind of ["growable", "sorted-by-gfn"]) {
    assert.equal(new Bench(kind, {}, 32).did((table) => table.walkHva(range, () => {})).scans, 32);
  }
});

Deno.test("sorted-by-size: the largest slot is found first, and empty places are not looked at", () => {
  const bench = new Bench("sorted-by-size");
  bench.set(0, 0, 1);
  bench.set(1, 1000, 16);
  bench.set(2, 2000, 4);
  assert.deepEqual([...bench.vm.table.all()].map(({ id }) => id), [1, 2, 0]);
  assert.equal(bench.did((table) => table.byGfn(1005, 0)).scans, 1);
  assert.equal(bench.did((table) => table.byGfn(0, 0)).scans, 3);
  assert.equal(bench.did((table) => table.byGfn(5, 0)).scans, 3);
});

Deno.test("sorted-by-gfn: seven halves find one of 117 slots; the slot found last takes none", () => {
  const bench = new Bench("sorted-by-gfn", {}, 117);
  assert.deepEqual([...bench.vm.table.all()].map(({ gfn }) => gfn), Array.from({ length: 117 }, (_, at) => 116 - at));
  const probes: number[] = [];
  for (let gfn = 0; gfn < 117; gfn++) {
    const { cacheLooks, probes: halves } = bench.did((table) => table.byGfn(gfn, 0));
    assert.equal(cacheLooks, 2);
    probes.push(halves);
  }
  // 117 = 2^6 + 53: six or seven halves, none for what was found just before.
  assert.deepEqual([Math.min(...probes.slice(1)), Math.max(...probes)], [6, 7]);
  assert.equal(bench.did((table) => table.byGfn(116, 3)).probes, 0);
});

Deno.test("sorted-by-gfn: below all slots is no slot (the test that v5.6 added)", () => {
  const bench = new Bench("sorted-by-gfn");
  bench.set(0, 10, 2);
  bench.set(1, 20, 2);
  for (const gfn of [0, 9, 12, 19, 22, 1e9]) assert.equal(bench.vm.table.byGfn(gfn, 0), undefined);
});

Deno.test("sorted-by-gfn: a slot at the end is moved past none, one at the start past all", () => {
  const bench = new Bench("sorted-by-gfn", { slotBytes: 80 });
  bench.set(0, 100, 1);
  for (let slot = 1; slot < 50; slot++) bench.set(slot, 100 - slot, 1);
  // The lowest address comes last: one look at its neighbour, nothing moves; 8 + 1024 + 8 of head and 512 slots are copied.
  const last = bench.did(() => bench.set(50, 10, 1));
  assert.equal(last.copiedBytes, 1040 + 512 * 80);
  const first = bench.did(() => bench.set(51, 1000, 1));
  assert.equal(first.copiedBytes, 1040 + 512 * 80 + 51 * 80);
});

Deno.test("heapsort sorts, and does much more for one new slot of 128 than moving it to its place", () => {
  const items = Array.from({ length: 128 }, (_, at) => 128 - at);
  const { compares, swaps } = heapSort(items, (a, b) => a - b);
  assert.deepEqual(items, Array.from({ length: 128 }, (_, at) => at + 1));
  // n log2 n = 896 compares at least for a heap, each way down takes two; insertion looks at 127 at most (063584d443).
  assert.ok(compares > 896 && compares < 2 * 896 && swaps > 127 * 4, `${compares} ${swaps}`);
});

Deno.test("create and flags take one swap, delete and move two; arrays until v3.8 are copied for each", () => {
  for (const { name } of slotTables) {
    const bench = new Bench(name, {}, 4);
    const swaps = (act: () => unknown) => {
      const { swaps, srcuWaits, allocations, setChanges } = bench.did(act);
      assert.equal(swaps, srcuWaits);
      return [swaps, allocations, setChanges];
    };
    const twice = ["fixed", "sorted-by-size", "growable"].includes(name) ? 2 : 1;
    const trees = name === "tree";
    assert.deepEqual(swaps(() => bench.set(9, 9, 1)), [1, 1, trees ? 2 : 0], name);
    assert.deepEqual(swaps(() => bench.set(9, 9, 1, 1)), [1, 1, trees ? 2 : 0], name);
    assert.deepEqual(swaps(() => bench.set(9, 10, 1, 1)), [2, trees ? 2 : twice, trees ? 3 : 0], name);
    assert.deepEqual(swaps(() => bench.set(9, 10, 0)), [2, trees ? 1 : twice, trees ? 3 : 0], name);
  }
});

Deno.test("delete and move unmap everything, unless the quirk is off; create and flags nothing", () => {
  for (const { name } of slotTables) {
    const bench = new Bench(name, {}, 4);
    bench.set(3, 3, 1, 1);
    assert.deepEqual(bench.zaps, []);
    bench.set(3, 30, 1, 1);
    bench.set(3, 30, 0);
    assert.deepEqual(bench.zaps, [undefined, undefined], name);
  }
  const slot = new Bench("tree", { deleteZap: "slot" }, 4);
  slot.set(3, 30, 1);
  slot.set(3, 30, 0);
  assert.deepEqual(slot.zaps, [{ pfn: 3, count: 1 }, { pfn: 30, count: 1 }]);
});

Deno.test("growable: each number beyond the places takes a copy and a swap more", () => {
  const bench = new Bench("growable", {}, 32);
  assert.equal(bench.did(() => bench.set(32, 32, 1)).swaps, 2);
  assert.equal(bench.did(() => bench.set(33, 33, 1)).swaps, 2);
  bench.set(33, 33, 0);
  assert.equal(bench.did(() => bench.set(33, 33, 1)).swaps, 1);
  assert.equal(bench.did(() => bench.set(59, 59, 1)).swaps, 2);
  // Far ahead is one step.
  assert.equal(bench.did(() => bench.set(2043, 2043, 1)).swaps, 2);
});

Deno.test("growable: flushed never, at each growth, or when the 65th place needs another word", () => {
  const flushes = (flush: string) => {
    const bench = new Bench("growable", { flush }, 60);
    const before = bench.zaps.length;
    bench.set(60, 60, 1);
    return [before, bench.zaps.length];
  };
  assert.deepEqual(flushes("never"), [0, 0]);
  assert.deepEqual(flushes("each"), [28, 29]);
  assert.deepEqual(flushes("word-boundary"), [0, 1]);
});

Deno.test("tree: each vCPU remembers its own slot, until the slots change", () => {
  const bench = new Bench("tree", {}, 64);
  const probes = (gfn: number, cpu: number) => bench.did((table) => table.byGfn(gfn, cpu)).probes;
  assert.ok(probes(5, 0) > 0);
  assert.equal(probes(5, 0), 0);
  assert.ok(probes(5, 1) > 0, "another vCPU looks for itself");
  assert.ok(probes(40, 1) > 0);
  assert.equal(probes(5, 0), 0, "what one vCPU finds does not take it from the other");
  assert.ok(probes(5, -1) > 0, "the VM has its own");
  assert.equal(probes(5, -1), 0);
  bench.set(63, 63, 0);
  assert.ok(probes(5, 0) > 0, "a new generation of slots");
  assert.ok(probes(5, 1) > 0);
});

Deno.test("tree: a slot that keeps its guest pages is not looked for by guest page again", () => {
  const bench = new Bench("tree", {}, 1000);
  const flags = bench.did(() => bench.set(500, 500, 1, 1));
  const move = bench.did(() => bench.set(500, 5000, 1, 1));
  // Flags: in each set one way down by VMM address, about 10 to 20 nodes, and what the hash has before it.
  assert.ok(flags.probes < 60 && move.probes > flags.probes + 20, `${flags.probes} ${move.probes}`);
});
