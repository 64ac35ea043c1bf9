/**
 * A red-black tree of intervals, ordered by their start: today's tree of slots by guest page, and, with the greatest end below
 * each node, the interval tree by address of the VMM (lib/rbtree.c, include/linux/interval_tree_generic.h).
 */
import type { SlotOperations } from "./slot_table.ts";

/** A node of a tree; the tree makes it. */
export class TreeNode<T> {
  /** First point of the interval. */
  readonly start: number;
  /** Last point. */
  readonly last: number;
  /** What the interval belongs to. */
  item: T;
  /** Greatest last point below and at the node. */
  greatest: number;
  left: TreeNode<T> | undefined;
  right: TreeNode<T> | undefined;
  parent: TreeNode<T> | undefined;
  red = true;

  /** A node by itself. */
  constructor(start: number, last: number, item: T) {
    this.start = start;
    this.last = last;
    this.item = item;
    this.greatest = last;
  }
}

/** The tree. Looking at a node is a probe, changing a link is a write. */
export class RedBlackTree<T> {
  /** The node at the top. */
  root: TreeNode<T> | undefined;
  readonly #operations: SlotOperations;
  /** Whether intervals may overlap, so that nodes keep the greatest end. */
  readonly #overlapping: boolean;

  /** An empty tree. */
  constructor(operations: SlotOperations, overlapping: boolean) {
    this.#operations = operations;
    this.#overlapping = overlapping;
  }

  /** Adds an interval; among equal starts it comes last. */
  insert(start: number, last: number, item: T): TreeNode<T> {
    const node = new TreeNode(start, last, item);
    let parent: TreeNode<T> | undefined;
    let isLeft = false;
    for (let at = this.root; at !== undefined; at = isLeft ? at.left : at.right) {
      this.#operations.probes++;
      parent = at;
      isLeft = start < at.start;
    }
    this.#link(node, parent, isLeft);
    this.#widen(parent);
    this.#afterInsert(node);
    return node;
  }

  /** Takes a node out. */
  remove(node: TreeNode<T>): void {
    let child: TreeNode<T> | undefined;
    let parent: TreeNode<T> | undefined;
    let removedRed = node.red;
    if (node.left === undefined || node.right === undefined) {
      child = node.left ?? node.right;
      parent = node.parent;
      this.#replace(node, child);
    } else {
      let next = node.right;
      this.#operations.probes++;
      for (; next.left !== undefined; next = next.left) this.#operations.probes++;
      removedRed = next.red;
      child = next.right;
      if (next.parent === node) parent = next;
      else {
        parent = next.parent;
        this.#replace(next, child);
        this.#link(node.right, next, false);
      }
      this.#replace(node, next);
      this.#link(node.left, next, true);
      next.red = node.red;
    }
    this.#widen(parent);
    if (!removedRed) this.#afterRemove(child, parent);
  }

  /** The item whose interval holds a point; intervals must not overlap. */
  find(point: number): T | undefined {
    for (let at = this.root; at !== undefined;) {
      this.#operations.probes++;
      if (point < at.start) at = at.left;
      else if (point <= at.last) return at.item;
      else at = at.right;
    }
    return undefined;
  }

  /** Visits the items whose intervals share a point with `first` to `last`, in order. */
  walk(first: number, last: number, visit: (item: T) => void): void {
    const below = (node: TreeNode<T> | undefined) => {
      if (node === undefined || this.#overlapping && node.greatest < first) return;
      this.#operations.probes++;
      // Where intervals do not overlap, those to the left end before this one starts.
      if (this.#overlapping || node.start > first) below(node.left);
      if (node.start <= last && node.last >= first) visit(node.item);
      if (node.start <= last) below(node.right);
    };
    below(this.root);
  }

  #link(node: TreeNode<T>, parent: TreeNode<T> | undefined, isLeft: boolean): void {
    this.#operations.writes += 2;
    node.parent = parent;
    if (parent === undefined) this.root = node;
    else if (isLeft) parent.left = node;
    else parent.right = node;
  }

  /** Puts a child in the place of a node. */
  #replace(node: TreeNode<T>, child: TreeNode<T> | undefined): void {
    this.#operations.writes++;
    const { parent } = node;
    if (parent === undefined) this.root = child;
    else if (parent.left === node) parent.left = child;
    else parent.right = child;
    if (child !== undefined) child.parent = parent;
  }

  /** Brings the greatest ends up to date from a node upwards. */
  #widen(node: TreeNode<T> | undefined): void {
    if (!this.#overlapping) return;
    for (let at = node; at !== undefined; at = at.parent) this.#measure(at);
  }

  #measure(node: TreeNode<T>): void {
    node.greatest = Math.max(node.last, node.left?.greatest ?? -1, node.right?.greatest ?? -1);
    this.#operations.writes++;
  }

  /** Turns a node down to one side; its child of the other side takes its place. */
  #rotate(node: TreeNode<T>, toLeft: boolean): void {
    const child = toLeft ? node.right! : node.left!;
    const middle = toLeft ? child.left : child.right;
    this.#replace(node, child);
    if (toLeft) [node.right, child.left] = [middle, node];
    else [node.left, child.right] = [middle, node];
    if (middle !== undefined) middle.parent = node;
    node.parent = child;
    this.#operations.writes += 3;
    if (!this.#overlapping) return;
    this.#measure(node);
    this.#measure(child);
  }

  #afterInsert(node: TreeNode<T>): void {
    let at = node;
    while (at.parent?.red) {
      const parent = at.parent;
      const above = parent.parent!;
      const onLeft = above.left === parent;
      const uncle = onLeft ? above.right : above.left;
      if (uncle?.red) {
        parent.red = uncle.red = false;
        above.red = true;
        at = above;
        continue;
      }
      if (at === (onLeft ? parent.right : parent.left)) {
        at = parent;
        this.#rotate(at, onLeft);
      }
      at.parent!.red = false;
      above.red = true;
      this.#rotate(above, !onLeft);
    }
    this.root!.red = false;
  }

  /** A black node went from above `child`, which may be empty: black heights are made equal again. */
  #afterRemove(child: TreeNode<T> | undefined, parent: TreeNode<T> | undefined): void {
    let at = child;
    let above = parent;
    while (above !== undefined && !at?.red) {
      const onLeft = above.left === at;
      let sibling = (onLeft ? above.right : above.left)!;
      if (sibling.red) {
        sibling.red = false;
        above.red = true;
        this.#rotate(above, onLeft);
        sibling = (onLeft ? above.right : above.left)!;
      }
      const near = onLeft ? sibling.left : sibling.right;
      let far = onLeft ? sibling.right : sibling.left;
      if (!near?.red && !far?.red) {
        sibling.red = true;
        at = above;
        above = at.parent;
        continue;
      }
      if (!far?.red) {
        near!.red = false;
        sibling.red = true;
        this.#rotate(sibling, !onLeft);
        far = sibling;
        sibling = near!;
      }
      sibling.red = above.red;
      above.red = false;
      far!.red = false;
      this.#rotate(above, onLeft);
      return;
    }
    if (at !== undefined) at.red = false;
  }
}
