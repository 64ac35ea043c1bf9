import assert from "node:assert/strict";
import { randomStream } from "../../sim/core/random.ts";
import { NONE } from "../../sim/kho/maple_nodes.ts";
import { MapleTree } from "../../sim/kho/maple_tree.ts";
import { Operations } from "../../sim/memory/page_set.ts";

Deno.test("maple tree: a store is one range, whatever it covers", () => {
  const tree = new MapleTree(2 ** 40 - 1, false, new Operations());
  for (let index = 0; index < 3000; index++) tree.store(10 * index, 10 * index + 4, 1);
  validate(tree);
  assert.ok(tree.nodes.inner > 20);
  tree.store(7, 29_900, 2); // over hundreds of leaves
  validate(tree);
  // 0..4, 5..6, 7..29,900, 29,901..29,904, 29,905..29,909, then nine ranges and nine gaps, of which the last never ends.
  assert.equal(slotsOf(tree), 5 + 18);
  tree.store(0, 2 ** 40 - 1, 0);
  assert.deepEqual([tree.nodes.leaves, tree.nodes.inner], [0, 0]);
});

for (const allocRange of [false, true]) {
  Deno.test(`maple tree ${allocRange ? "with" : "without"} gaps tracked: nodes keep their fill under random stores`, () => {
    const random = randomStream(6, 0, "maple");
    const tree = new MapleTree(2 ** 40 - 1, allocRange, new Operations());
    const values = new Uint8Array(20_000);
    for (let round = 0; round < 6000; round++) {
      const low = random.nextBelow(values.length);
      const isLong = random.nextBelow(500) === 0;
      const high = Math.min(values.length - 1, low + random.nextBelow(isLong ? 4000 : 6));
      const value = random.nextBelow(3) - (isLong ? 1 : 0);
      values.fill(Math.max(0, value), low, high + 1);
      tree.store(low, high, Math.max(0, value));
      if (round % 200 === 0) validate(tree);
    }
    for (let index = 0; index < values.length; index++) {
      const leaf = tree.descend(index);
      assert.equal(leaf === NONE ? 0 : tree.nodes.slot(leaf, tree.nodes.slotAt(leaf, index)), values[index]);
    }
    assert.ok(tree.nodes.leaves > 100);
  });
}

/** The leaves of a tree from left to right. */
function leavesOf(tree: MapleTree): number[] {
  const leaves: number[] = [];
  for (let leaf = tree.descend(0); leaf !== NONE; leaf = tree.nextLeaf(leaf)) leaves.push(leaf);
  return leaves;
}

function slotsOf(tree: MapleTree): number {
  return leavesOf(tree).reduce((sum, leaf) => sum + tree.nodes.lengthOf(leaf), 0);
}

/** Pivots ascend, parents and children agree, all leaves are equally deep, nodes have their fill, gaps are not next to gaps. */
function validate(tree: MapleTree): void {
  const { nodes } = tree;
  const depths = new Set<number>();
  const inner = new Set<number>();
  let [end, wasGap] = [-1, false];
  for (const leaf of leavesOf(tree)) {
    for (let slot = 0; slot < nodes.lengthOf(leaf); slot++) {
      assert.ok(nodes.last(leaf, slot) > end);
      end = nodes.last(leaf, slot);
      const isGap = nodes.slot(leaf, slot) === 0;
      assert.ok(!isGap || !wasGap, "a gap beside a gap");
      wasGap = isGap;
    }
    let [node, depth] = [leaf, 0];
    for (; nodes.parentOf(node) !== NONE; node = nodes.parentOf(node), depth++) {
      const parent = nodes.parentOf(node);
      inner.add(parent);
      assert.ok(nodes.lengthOf(node) >= nodes.minOf(node) && nodes.lengthOf(node) <= nodes.slotsOf(node));
      assert.equal(nodes.slot(parent, nodes.placeOf(node)), node);
      assert.equal(nodes.last(parent, nodes.placeOf(node)), nodes.maxOf(node));
    }
    depths.add(depth);
  }
  assert.equal(end, tree.max);
  assert.equal(depths.size, 1);
  assert.deepEqual([nodes.leaves, nodes.inner], [leavesOf(tree).length, inner.size]);
}
