import assert from "node:assert/strict";
import { InputError } from "../../sim/core/options.ts";
import { MOVABLE } from "../../sim/guest/allocator.ts";
import { Buddy } from "../../sim/guest/buddy.ts";
import { Op } from "../../sim/guest/operations.ts";
import { CurveFollower } from "../../workloads/curve_follower.ts";
import { layoutCurve } from "../../workloads/curve_layout.ts";
import { curvePoints } from "../../workloads/curve_points.ts";
import { readCurve } from "../../workloads/curve_samples.ts";
import { Handles } from "../../workloads/handles.ts";

const ORDERS = Array.from({ length: 11 }, (_, order) => `o${order}`).join();
const NS_PER_S = 1e9;

/** Counts with these free blocks, by order. */
function counts(blocks: Readonly<Record<number, number>>): number[] {
  return Array.from({ length: 11 }, (_, order) => blocks[order] ?? 0);
}

/** A file of one zone: a row for each [time, order-10 blocks, idle ticks]. */
function file(rows: readonly (readonly [number, number, number])[], header = `t_s,zone,${ORDERS},cpu_idle_ticks`) {
  const lines = rows.map(([time, blocks, idle]) => `${time},DMA32,${counts({ 10: blocks }).join()},${idle}`);
  return new TextEncoder().encode([header, ...lines].join("\n") + "\n");
}

const refused = (read: () => unknown, path: (string | number)[], message: RegExp) =>
  assert.throws(read, (error) => {
    assert(error instanceof InputError);
    assert.deepEqual(error.path, path);
    assert.match(error.message, message);
    return true;
  });

Deno.test("curve samples: columns by name, time from the first sample, the first run unless named", () => {
  const rows = [
    `cpu_idle_ticks,order,t_s,zone,${ORDERS},pcp_pages`,
    `100,9,5.00,DMA,${counts({ 9: 1 })},0`,
    `100,9,5.00,DMA32,${counts({ 10: 7 })},12`,
    `140,9,6.50,DMA,${counts({ 9: 1 })},0`,
    `140,9,6.50,DMA32,${counts({ 0: 3, 10: 6 })},99`,
    `0,off,0.00,DMA32,${counts({ 10: 1 })},0`,
  ];
  const bytes = new TextEncoder().encode(rows.join("\n"));
  const { zones, samples } = readCurve(bytes);
  assert.deepEqual(zones, ["DMA", "DMA32"]);
  assert.deepEqual(samples.map(({ timeNs }) => timeNs), [0, 1.5e9]);
  assert.deepEqual(samples[1].blocks, [counts({ 9: 1 }), counts({ 0: 3, 10: 6 })]);
  // 1.5 s less 40 ticks of 10 ms.
  assert.equal(samples[1].busyNs, 1.1e9);
  assert.equal(readCurve(bytes, "off").samples.length, 1);
  refused(() => readCurve(bytes, "5"), ["row", 2], /no run "5"; the file has 9, off/);
});

Deno.test("curve samples: what is no curve is refused with its row", () => {
  const text = (value: string) => new TextEncoder().encode(value);
  refused(() => readCurve(text("t_s,zone,o0\n")), ["row", 1], /not the header/);
  refused(() => readCurve(text("")), ["row", 1], /not the header/);
  refused(() => readCurve(file([])), ["row", 2], /no sample/);
  refused(() => readCurve(file([[1, 5, 0], [0, 5, 0]])), ["row", 3], /before/);
  refused(() => readCurve(text(`t_s,zone,${ORDERS}\n0,DMA32,1,x\n`)), ["row", 2], /"x" is not a number/);
  refused(() => readCurve(text(`t_s,zone,${ORDERS}\n0,DMA32,1\n`)), ["row", 2], /not a number of 0 or more for o1/);
});

Deno.test("curve points: a burst is as deep as its rate and its time without idling say", () => {
  // Ordinary seconds are busy for 0.4 s. From 2 to 4 s the CPU never idles, then it is busy for 0.9 s more.
  const seconds: [number, number, number][] = [
    [0, 100, 0],
    [1, 100, 60],
    [2, 100, 120],
    [3, 70, 120],
    [4, 95, 120],
    [5, 95, 130],
    [6, 95, 190],
    [7, 95, 250],
  ];
  const points = curvePoints(readCurve(file(seconds)), 0.1);
  // It begins at 2.4 s. Of 2 + 0.9 s of work since 2 s three ordinary seconds take 1.2 s: 1.7 s are left, and it is over at
  // 4.1 s, but the memory is back at 4 s already. The last tenth of the 1.6 s it gives back: the deepest point is at 3.84 s.
  // It took 30 blocks in the 0.6 s up to 3 s, and 0.84 s are 42 blocks more.
  assert.equal(points.length, 9);
  const deepest = points[4];
  assert.equal(deepest.timeNs, 3.84 * NS_PER_S);
  assert.deepEqual(deepest.blocks, [counts({ 10: 28 })]);
  assert.deepEqual([points[3].takeNs, points[3].giveNs], [2.4 * NS_PER_S, 3 * NS_PER_S]);
  assert.deepEqual([points[5].giveNs, points[5].givenNs], [3.84 * NS_PER_S, 4 * NS_PER_S]);
  // Other seconds give back when their work is done.
  assert.equal(points[1].giveNs, 0.4 * NS_PER_S);
});

Deno.test("curve points: without idle times a dip lasts from middle to middle", () => {
  const header = `t_s,zone,${ORDERS},ignored`;
  const points = curvePoints(readCurve(file([[0, 100, 0], [1, 80, 0], [2, 100, 0]], header)), 0);
  // Half a second takes 20 blocks, and half a second more 20 again.
  assert.deepEqual(points.map(({ timeNs }) => timeNs / NS_PER_S), [0, 1, 1.5, 2]);
  assert.deepEqual(points[2].blocks, [counts({ 10: 60 })]);
});

Deno.test("curve layout: places merge with nothing, and the smallest are the zone's own", () => {
  // The DMA zone of a PC with its 3808 free pages lies as in a recorded guest: c1 isolated 288, 320, 384, 512, 1024, 2048.
  const blocks = [counts({ 5: 1, 6: 1, 7: 1, 9: 1, 10: 3 })];
  const point = { timeNs: 0, blocks, takeNs: 0, giveNs: 0, givenNs: 0 };
  const { state, held } = layoutCurve(["DMA"], [point], { memoryPages: 262_144, vcpus: 1 });
  assert.deepEqual(held, []);
  assert.deepEqual(state.free.map(({ order, pfns }) => [order, ...pfns]), [
    [5, 288],
    [6, 320],
    [7, 384],
    [9, 512],
    [10, 1024, 2048, 3072],
  ]);
  const much = { ...point, blocks: [counts({ 10: 4 })] };
  refused(() => layoutCurve(["DMA"], [much], { memoryPages: 262_144, vcpus: 1 }), [], /more free blocks of zone DMA/);
  refused(
    () => layoutCurve(["HighMem"], [point], { memoryPages: 262_144, vcpus: 1 }),
    [],
    /the machine has DMA, DMA32/,
  );
});

/** A follower of 8 MiB: one free block of order 10 at 1024, and what is in use. */
function follower(free: readonly [pfn: number, order: number][], used: readonly [pfn: number, order: number][]) {
  const lists = new Buddy(0, 2048, MOVABLE);
  for (const [pfn, order] of free) lists.insert(pfn, order, MOVABLE, true);
  const one = new CurveFollower(lists, new Handles(0, 1));
  for (const [pfn, order] of used) one.hold(pfn, order);
  return { one, lists };
}

const orders = (requests: readonly { kind: number; order: number }[]) =>
  requests.map(({ kind, order }) => `${kind === Op.alloc ? "take" : "give"} ${order}`);

Deno.test("curve follower: what is missing is taken as it was, what is more comes back largest first", () => {
  const { one } = follower([[1024, 10], [2, 1]], [[512, 9], [8, 3]]);
  const there = one.step(counts({ 1: 1, 10: 1 }), counts({ 10: 1 }));
  assert.deepEqual([orders(there.takes), orders(there.gives)], [["take 1"], []]);
  const back = one.step(counts({ 10: 1 }), counts({ 3: 1, 9: 1, 10: 1 }));
  assert.deepEqual([orders(back.takes), orders(back.gives)], [[], ["give 9", "give 3"]]);
});

Deno.test("curve follower: the rest of a split is made by splitting, and nothing is freed", () => {
  // 1024 pages fewer in blocks of order 10, 512 more in one of order 9: a huge page was taken.
  const { one, lists } = follower([[1024, 10]], [[512, 9]]);
  const { takes, gives } = one.step(counts({ 10: 1 }), counts({ 9: 1 }));
  assert.deepEqual([orders(takes), orders(gives)], [["take 9"], []]);
  assert.deepEqual([one.nrFree(9), one.nrFree(10)], [1, 0]);
  // When the block is whole again its half in use comes back, and merges.
  const whole = one.step(counts({ 9: 1 }), counts({ 10: 1 }));
  assert.deepEqual(orders(whole.gives), ["give 9", "give 9"]);
  assert.deepEqual([one.nrFree(9), one.nrFree(10)], [0, 1]);
  lists.validate();
});

Deno.test("curve follower: a block more on a list that is not empty is left out while no page came back", () => {
  const { one } = follower([[1024, 10], [512, 9]], [[256, 8]]);
  const { takes, gives } = one.step(counts({ 9: 1, 10: 1 }), counts({ 9: 2 }));
  assert.deepEqual([orders(takes), orders(gives)], [["take 10"], []]);
  assert.equal(one.nrFree(9), 1);
});
