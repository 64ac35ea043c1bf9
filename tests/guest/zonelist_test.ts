import assert from "node:assert/strict";
import type { InputError } from "../../sim/core/options.ts";
import { layoutMachine } from "../../sim/guest/layout.ts";
import type { NodeOption } from "../../sim/guest/layout_options.ts";
import { type MachinePlan, planMachine } from "../../sim/guest/machine_plan.ts";
import { nodeOrders, zonelistOf } from "../../sim/guest/zonelist.ts";

const GIB = 2 ** 30;

function even(nodes: number): number[][] {
  return Array.from(
    { length: nodes },
    (_, node) => Array.from({ length: nodes }, (_, other) => other === node ? 10 : 20),
  );
}

Deno.test("node order: its own node, then by distance, then the next node before those before it", () => {
  const cpus = (count: number) => new Array<boolean>(count).fill(true);
  assert.deepEqual(nodeOrders([[10]], cpus(1)), [[0]]);
  assert.deepEqual(nodeOrders(even(2), cpus(2)), [[0, 1], [1, 0]]);
  assert.deepEqual(nodeOrders([[10, 40, 20], [40, 10, 30], [20, 30, 10]], cpus(3)), [[0, 2, 1], [1, 2, 0], [2, 0, 1]]);
});

Deno.test("node order: a node at the head of one group gives way at the head of the next node's", () => {
  // All at one distance: node 0 begins with 1, node 1 with 2 (not 0, which is below), node 2 with 3, node 3 with the least loaded.
  assert.deepEqual(nodeOrders(even(4), [true, true, true, true]), [
    [0, 1, 2, 3],
    [1, 2, 3, 0],
    [2, 3, 0, 1],
    [3, 0, 1, 2],
  ]);
  // Two pairs: the near one first; of the far ones that which fewer nodes begin with.
  const pairs = [[10, 11, 20, 20], [11, 10, 20, 20], [20, 20, 10, 11], [20, 20, 11, 10]];
  assert.deepEqual(nodeOrders(pairs, [true, true, true, true]), [
    [0, 1, 2, 3],
    [1, 0, 3, 2],
    [2, 3, 0, 1],
    [3, 2, 1, 0],
  ]);
});

Deno.test("node order: memory without CPUs is taken before that of other CPUs at the same distance", () => {
  assert.deepEqual(nodeOrders(even(3), [true, true, false])[0], [0, 2, 1]);
});

Deno.test("zonelist: of each node the highest zone first, none above the one asked for", () => {
  const zones = [0, 1, 2, 3].map((type) => ({ node: 0, type })).concat([2, 3].map((type) => ({ node: 1, type })));
  assert.deepEqual(zonelistOf(zones, [0, 1], 3), [3, 2, 1, 0, 5, 4]);
  assert.deepEqual(zonelistOf(zones, [1, 0], 2), [4, 2, 1, 0]);
  assert.deepEqual(zonelistOf(zones, [1, 0], 0), [0]);
});

function plan(bytes: number, numa: readonly NodeOption[], vcpus = 4): MachinePlan {
  const options = { zones: { layout: "q35" }, holes: [], reserved: "none", thp: true, kernel: "6.1" } as const;
  return planMachine(bytes, { ...options, numa, vcpus });
}

Deno.test("plan of two nodes: CPUs in turn or as told, zonelists from the own node, limits by the CPUs of the node", () => {
  const dealt = plan(8 * GIB, [{ memory: 4 * GIB }, { memory: 4 * GIB }]);
  assert.deepEqual(dealt.zones.map(({ node, name }) => `${node} ${name}`), [
    "0 DMA",
    "0 DMA32",
    "0 Normal",
    "1 Normal",
  ]);
  assert.deepEqual(dealt.cpuNodes, [0, 1, 0, 1]);
  assert.deepEqual(dealt.zonelists[1][3], [3, 2, 1, 0]);
  assert.deepEqual(dealt.zonelists[0][2], [2, 1, 0, 3]);
  assert.deepEqual(dealt.zonelists[1][1], [1, 0]);
  const told = plan(8 * GIB, [{ memory: 4 * GIB, vcpus: 3 }, { memory: 4 * GIB, vcpus: 1 }]);
  assert.deepEqual(told.cpuNodes, [0, 0, 0, 1]);
  const [, , normal0, normal1] = told.zones;
  assert.equal(normal0.pageset.high, Math.floor(normal0.watermarks.low / 3));
  assert.equal(normal1.pageset.high, normal1.watermarks.low);
  // The reserve of a zone counts the zones of its own node only.
  assert.deepEqual(told.zones[1].lowmemReserve, [0, 0, ...new Array(3).fill(Math.floor(normal0.managedPages / 256))]);
  // A node without CPUs lets all CPUs use it.
  const bare = plan(8 * GIB, [{ memory: 4 * GIB, vcpus: 4 }, { memory: 4 * GIB, vcpus: 0 }]).zones[3];
  assert.equal(bare.pageset.high, Math.floor(bare.watermarks.low / 4));
});

Deno.test("plan: nodes that do not add up, zones that are too wide and unknown kernels are refused with their place", () => {
  const refused = (make: () => unknown, path: string, message: RegExp) =>
    assert.throws(make, (error: InputError) => {
      assert.deepEqual([error.path.join("."), message.test(error.message)], [path, true], error.message);
      return true;
    });
  refused(() => plan(4 * GIB, [{ memory: GIB }, { memory: GIB }]), "numa", /2147483648 bytes together/);
  refused(() => plan(4 * GIB, [{ memory: 4 * GIB, vcpus: 3 }]), "numa", /3 vcpus together, the machine has 4/);
  const plain = { zones: { layout: "auto" }, numa: [], vcpus: 1, thp: true, kernel: "6.1" } as const;
  const holes = [{ at: 8 * GIB, size: 16 * 2 ** 40 }];
  refused(() => planMachine(16 * GIB, { ...plain, holes, reserved: "none" }), "holes", /zone Normal spans/);
  refused(() => planMachine(32 * 2 ** 20, { ...plain, holes: [], reserved: "auto" }), "reserved", /too small/);
  refused(() => planMachine(2 ** 20, { ...plain, holes: [], reserved: 2 ** 20 }), "reserved", /no memory is left/);
  refused(() => layoutMachine(GIB, { ...plain, kernel: "5.4", holes: [], reserved: "none" }), "kernel", /5\.4 is not/);
});
