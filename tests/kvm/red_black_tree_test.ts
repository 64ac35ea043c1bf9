import assert from "node:assert/strict";
import fc from "fast-check";
import { randomStream } from "../../sim/core/random.ts";
import { RedBlackTree, type TreeNode } from "../../sim/kvm/red_black_tree.ts";
import { SlotOperations } from "../../sim/kvm/slot_table.ts";

/** Checks order, colours, links and greatest ends; returns the black height. */
function blackHeight<T>(node: TreeNode<T> | undefined, overlapping: boolean): number {
  if (node === undefined) return 0;
  const { left, right } = node;
  for (const child of [left, right]) {
    if (child === undefined) continue;
    assert.equal(child.parent, node);
    assert.ok(!(node.red && child.red), "a red node has a red child");
  }
  if (left !== undefined) assert.ok(left.start <= node.start);
  if (right !== undefined) assert.ok(right.start >= node.start);
  if (overlapping) {
    assert.equal(node.greatest, Math.max(node.last, left?.greatest ?? -1, right?.greatest ?? -1));
  }
  const height = blackHeight(left, overlapping);
  assert.equal(blackHeight(right, overlapping), height, "black heights differ");
  return height + (node.red ? 0 : 1);
}

function validate<T>(tree: RedBlackTree<T>, overlapping: boolean): void {
  assert.equal(tree.root?.red ?? false, false);
  assert.equal(tree.root?.parent, undefined);
  blackHeight(tree.root, overlapping);
}

Deno.test("an interval tree is red and black and finds what a list finds, after any inserts and removals", () => {
  const step = fc.record({ start: fc.nat(60), length: fc.integer({ min: 1, max: 12 }), remove: fc.nat(99) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const tree = new RedBlackTree<number>(new SlotOperations(), true);
      const nodes: TreeNode<number>[] = [];
      for (const [id, { start, length, remove }] of steps.entries()) {
        if (remove < 40 && nodes.length > 0) tree.remove(nodes.splice(remove % nodes.length, 1)[0]);
        else nodes.push(tree.insert(start, start + length - 1, id));
        validate(tree, true);
        const found: number[] = [];
        tree.walk(start, start + 5, (item) => found.push(item));
        const wanted = nodes.filter((node) => node.start <= start + 5 && start <= node.last);
        assert.deepEqual(found.toSorted(), wanted.map(({ item }) => item).toSorted());
      }
    }),
    { seed: 3, numRuns: 200 },
  );
});

Deno.test("a tree of intervals apart is walked in order, and looks at no more nodes than twice the height and what it finds", () => {
  const operations = new SlotOperations();
  const tree = new RedBlackTree<number>(operations, false);
  const random = randomStream(1, 0, "tree");
  const nodes = new Map<number, TreeNode<number>>();
  for (let n = 0; n < 4000; n++) {
    const at = random.nextBelow(1000);
    const node = nodes.get(at);
    if (node === undefined) nodes.set(at, tree.insert(10 * at, 10 * at + 6, at));
    else {
      tree.remove(node);
      nodes.delete(at);
    }
    if (n % 50 === 0) validate(tree, false);
    const first = random.nextBelow(10_000);
    const last = first + random.nextBelow(100);
    const before = operations.probes;
    const found: number[] = [];
    tree.walk(first, last, (item) => found.push(item));
    // A red-black tree of n nodes is at most 2 log2(n + 1) high, 20 for 1000; both borders of the range are looked for.
    assert.ok(operations.probes - before <= 2 * 20 + found.length);
    const wanted = [...nodes.keys()].filter((one) => 10 * one <= last && first <= 10 * one + 6).toSorted((a, b) =>
      a - b
    );
    assert.deepEqual(found, wanted);
    assert.equal(
      tree.find(first),
      first % 10 <= 6 && nodes.has(Math.floor(first / 10)) ? Math.floor(first / 10) : undefined,
    );
  }
});

Deno.test("ascending starts, the worst for a plain tree: 32764 nodes are at most 30 high", () => {
  const operations = new SlotOperations();
  const tree = new RedBlackTree<number>(operations, false);
  for (let n = 0; n < 32_764; n++) tree.insert(n, n, n);
  validate(tree, false);
  let worst = 0;
  for (let n = 0; n < 32_764; n++) {
    const before = operations.probes;
    assert.equal(tree.find(n), n);
    worst = Math.max(worst, operations.probes - before);
  }
  assert.ok(worst <= 30 && worst >= 15, `${worst}`);
});
