/**
 * A maple tree (lib/maple_tree.c): a B-tree of ranges that cover every index; what holds nothing is a range with value 0 and
 * takes a slot too.
 *
 * A node that overflows gives slots to its left or right neighbour when both have room (mas_push_data), otherwise it is split
 * in half (mas_split). A node that has too few slots takes some from a neighbour or is joined with it (mas_rebalance). A leaf
 * is not cut behind an empty range (mab_no_null_split). A range that reaches into other leaves is stored in its first leaf and
 * taken out of the others (mas_wr_spanning_store).
 */
import type { Operations } from "../memory/page_set.ts";
import { MapleNodes, NONE, Row } from "./maple_nodes.ts";

/** Ranges with values of at least 1 on the indexes 0 to `max`. */
export class MapleTree {
  /** Last index. */
  readonly max: number;
  /** Its nodes. */
  readonly nodes: MapleNodes;
  readonly #operations: Operations;
  readonly #row = new Row();
  #root = NONE;

  /** An empty tree, which has no node. */
  constructor(max: number, allocRange: boolean, operations: Operations) {
    this.max = max;
    this.nodes = new MapleNodes(allocRange, operations);
    this.#operations = operations;
  }

  /** The leaf that an index lies in, NONE in an empty tree. */
  descend(index: number): number {
    let node = this.#root;
    if (node === NONE) return NONE;
    this.#operations.visits++;
    while (!this.nodes.isLeaf(node)) {
      node = this.nodes.slot(node, this.nodes.slotAt(node, index));
      this.#operations.visits++;
    }
    return node;
  }

  /** First index of a node. */
  minOf(node: number): number {
    const { nodes } = this;
    for (let parent = nodes.parentOf(node); parent !== NONE; node = parent, parent = nodes.parentOf(node)) {
      if (nodes.placeOf(node) > 0) return nodes.last(parent, nodes.placeOf(node) - 1) + 1;
    }
    return 0;
  }

  /** The leaf after a leaf, or NONE. */
  nextLeaf(leaf: number): number {
    const { nodes } = this;
    let node = leaf;
    while (node !== NONE && nodes.sibling(node, 1) === NONE) node = nodes.parentOf(node);
    if (node === NONE) return NONE;
    node = nodes.sibling(node, 1);
    this.#operations.visits++;
    while (!nodes.isLeaf(node)) {
      node = nodes.slot(node, 0);
      this.#operations.visits++;
    }
    return node;
  }

  /** Stores a value, 0 for none, on the indexes `low` to `high`. */
  store(low: number, high: number, value: number): void {
    if (this.#root === NONE) this.#plant();
    if (value === 0) [low, high] = this.#widened(low, high);
    const leaf = this.descend(low);
    if (this.#lengthen(leaf, low, high, value)) return;
    const isSpanning = this.nodes.maxOf(leaf) < high;
    while (this.nodes.maxOf(leaf) < high) this.#absorb(leaf, high);
    this.#replace(leaf, low, high, value);
    this.#balance(low);
    if (isSpanning && high < this.max) this.#balance(high + 1);
    this.#trimRoot();
  }

  /** Makes a range longer at the cost of the one after it, where that is all there is to do (mas_wr_slot_store). */
  #lengthen(leaf: number, low: number, high: number, value: number): boolean {
    const { nodes } = this;
    const slot = nodes.slotAt(leaf, low);
    if (nodes.slot(leaf, slot) !== value || slot + 1 >= nodes.lengthOf(leaf)) return false;
    if (nodes.last(leaf, slot) > high || nodes.last(leaf, slot + 1) <= high) return false;
    nodes.setLast(leaf, slot, high);
    return true;
  }

  /** A leaf with one empty range. */
  #plant(): void {
    this.#root = this.nodes.add(true);
    this.#row.length = 0;
    this.#row.push(this.max, 0);
    this.nodes.write(this.#root, this.#row, 0, 1);
  }

  /** Makes an empty range as long as its empty neighbours allow (mas_wr_extend_null). */
  #widened(low: number, high: number): [low: number, high: number] {
    const { nodes } = this;
    if (low > 0) {
      const leaf = this.descend(low - 1);
      const slot = nodes.slotAt(leaf, low - 1);
      if (nodes.slot(leaf, slot) === 0) low = slot > 0 ? nodes.last(leaf, slot - 1) + 1 : this.minOf(leaf);
    }
    if (high < this.max) {
      const leaf = this.descend(high + 1);
      const slot = nodes.slotAt(leaf, high + 1);
      if (nodes.slot(leaf, slot) === 0) high = nodes.last(leaf, slot);
    }
    return [low, high];
  }

  /** Makes a leaf end at `high`, or where the next leaf ends that is not beyond it, and takes these indexes out of that. */
  #absorb(leaf: number, high: number): void {
    const { nodes } = this;
    const next = this.nextLeaf(leaf);
    const end = nodes.maxOf(next);
    if (end <= high) {
      this.#unlink(next);
      this.#setMax(leaf, end);
      return;
    }
    const row = this.#row;
    row.length = 0;
    nodes.copyTo(row, next, nodes.slotAt(next, high + 1), nodes.lengthOf(next));
    nodes.write(next, row, 0, row.length);
    this.#setMax(leaf, high);
  }

  /** Lets a leaf end at an index, and what is above it too. */
  #setMax(leaf: number, max: number): void {
    const { nodes } = this;
    nodes.setLast(leaf, nodes.lengthOf(leaf) - 1, max);
    for (
      let node = leaf, parent = nodes.parentOf(node);
      parent !== NONE;
      node = parent, parent = nodes.parentOf(node)
    ) {
      nodes.setLast(parent, nodes.placeOf(node), max);
      if (nodes.sibling(node, 1) !== NONE) return;
    }
  }

  /** Takes a node out of its parent, and out of the tree; parents that are left without children go too. */
  #unlink(node: number): void {
    const { nodes } = this;
    const [parent, place] = [nodes.parentOf(node), nodes.placeOf(node)];
    nodes.remove(node);
    if (nodes.lengthOf(parent) === 1) return this.#unlink(parent);
    const row = this.#row;
    row.length = 0;
    nodes.copyTo(row, parent, 0, place);
    nodes.copyTo(row, parent, place + 1, nodes.lengthOf(parent));
    this.#operations.movedBytes += 16 * (row.length - place);
    nodes.write(parent, row, 0, row.length);
  }

  /** Stores a value inside of one leaf. */
  #replace(leaf: number, low: number, high: number, value: number): void {
    const { nodes } = this;
    const row = this.#row;
    const [first, final] = [nodes.slotAt(leaf, low), nodes.slotAt(leaf, high)];
    row.length = 0;
    nodes.copyTo(row, leaf, 0, first);
    const start = first > 0 ? nodes.last(leaf, first - 1) + 1 : this.minOf(leaf);
    if (start < low) row.push(low - 1, nodes.slot(leaf, first));
    row.push(high, value);
    if (nodes.last(leaf, final) > high) row.push(nodes.last(leaf, final), nodes.slot(leaf, final));
    const length = nodes.lengthOf(leaf);
    nodes.copyTo(row, leaf, final + 1, length);
    if (row.length !== length) this.#operations.movedBytes += 16 * (length - final - 1);
    this.#put(leaf, row);
  }

  /** Writes a row to a node, with more nodes where it is too long. */
  #put(node: number, row: Row): void {
    if (row.length <= this.nodes.slotsOf(node)) this.nodes.write(node, row, 0, row.length);
    else if (!this.#push(node, row, -1) && !this.#push(node, row, 1)) this.#split(node, row);
  }

  /** Shares the slots with a neighbour, if together they leave some free (mas_push_data). */
  #push(node: number, row: Row, distance: 1 | -1): boolean {
    const { nodes } = this;
    const other = nodes.sibling(node, distance);
    if (other === NONE) return false;
    this.#operations.visits++;
    let space = 2 * nodes.slotsOf(node);
    if (nodes.isLeaf(node)) space--;
    if (row.last[row.length - 1] === this.max) space--;
    if (row.length + nodes.lengthOf(other) >= space) return false;
    const both = new Row();
    if (distance < 0) nodes.copyTo(both, other, 0, nodes.lengthOf(other));
    for (let slot = 0; slot < row.length; slot++) both.push(row.last[slot], row.slot[slot]);
    if (distance > 0) nodes.copyTo(both, other, 0, nodes.lengthOf(other));
    this.#share(distance < 0 ? other : node, distance < 0 ? node : other, both);
    return true;
  }

  /** Gives the slots of a row half and half to two neighbours under one parent. */
  #share(left: number, right: number, row: Row): void {
    const { nodes } = this;
    const half = this.#half(left, row);
    nodes.write(left, row, 0, half);
    nodes.write(right, row, half, row.length);
    this.#operations.movedBytes += 16 * row.length;
    nodes.setLast(nodes.parentOf(left), nodes.placeOf(left), row.last[half - 1]);
  }

  /** How many slots of a row go to the left one of two nodes: half, and not behind an empty range of a leaf. */
  #half(left: number, row: Row): number {
    const half = Math.ceil(row.length / 2);
    if (!this.nodes.isLeaf(left) || row.slot[half - 1] !== 0) return half;
    const isRoom = half < this.nodes.slotsOf(left) && row.length - half - 1 >= this.nodes.minOf(left);
    return isRoom ? half + 1 : half - 1;
  }

  /** Splits a node; its right half is a new one. */
  #split(node: number, row: Row): void {
    const { nodes } = this;
    const half = this.#half(node, row);
    const right = nodes.add(nodes.isLeaf(node));
    const end = row.last[row.length - 1];
    const cut = row.last[half - 1];
    nodes.write(node, row, 0, half);
    nodes.write(right, row, half, row.length);
    this.#operations.movedBytes += 16 * (row.length - half);
    const above = new Row();
    const parent = nodes.parentOf(node);
    if (parent === NONE) {
      above.push(cut, node);
      above.push(end, right);
      this.#root = nodes.add(false);
      nodes.write(this.#root, above, 0, 2);
      return;
    }
    const place = nodes.placeOf(node);
    nodes.copyTo(above, parent, 0, place);
    above.push(cut, node);
    above.push(end, right);
    nodes.copyTo(above, parent, place + 1, nodes.lengthOf(parent));
    this.#operations.movedBytes += 16 * (above.length - place - 2);
    this.#put(parent, above);
  }

  /** Sees to it that no node on the way to an index has too few slots. */
  #balance(index: number): void {
    const { nodes } = this;
    for (let node = this.descend(index); node !== NONE; node = nodes.parentOf(node)) {
      if (nodes.parentOf(node) === NONE || nodes.lengthOf(node) >= nodes.minOf(node)) continue;
      if (this.#hasSibling(node)) this.#balanceOne(node);
    }
  }

  /** Whether a node has a neighbour; its parent, where it has one child only, gets more from its own neighbour. */
  #hasSibling(node: number): boolean {
    const parent = this.nodes.parentOf(node);
    if (parent === NONE) return false;
    if (this.nodes.lengthOf(parent) === 1 && this.#hasSibling(parent)) this.#balanceOne(parent);
    return this.nodes.lengthOf(parent) > 1;
  }

  /** Fills a node from its neighbour under the same parent, or joins both. */
  #balanceOne(node: number): void {
    const { nodes } = this;
    const next = nodes.sibling(node, 1);
    const [left, right] = next === NONE ? [nodes.sibling(node, -1), node] : [node, next];
    this.#operations.visits++;
    const row = new Row();
    nodes.copyTo(row, left, 0, nodes.lengthOf(left));
    nodes.copyTo(row, right, 0, nodes.lengthOf(right));
    if (row.length > nodes.slotsOf(left)) {
      this.#share(left, right, row);
      return;
    }
    this.#operations.movedBytes += 16 * row.length;
    this.#unlink(next === NONE ? left : right);
    nodes.write(node, row, 0, row.length);
    nodes.setLast(nodes.parentOf(node), nodes.placeOf(node), row.last[row.length - 1]);
  }

  /** A root with one child gives way to it; a tree that holds nothing has no node. */
  #trimRoot(): void {
    const { nodes } = this;
    while (!nodes.isLeaf(this.#root) && nodes.lengthOf(this.#root) === 1) {
      const child = nodes.slot(this.#root, 0);
      nodes.remove(this.#root);
      nodes.orphan(child);
      this.#root = child;
    }
    if (!nodes.isLeaf(this.#root) || nodes.lengthOf(this.#root) > 1 || nodes.slot(this.#root, 0) !== 0) return;
    nodes.remove(this.#root);
    this.#root = NONE;
  }
}
