/**
 * Nodes of a maple tree in typed columns: 256 bytes each (include/linux/maple_tree.h, `struct maple_node`).
 *
 * A leaf, and an inner node of a tree that does not track gaps, is a maple_range_64: 16 slots and 15 pivots. An inner node of
 * one that does is a maple_arange_64: 10 slots, 9 pivots, 10 gaps. The last slot of a node needs no pivot: it ends where the
 * node ends, which is kept here all the same.
 */
import { grown } from "../memory/grown.ts";
import type { Operations } from "../memory/page_set.ts";

/** Bytes of a node of any kind. */
export const NODE_BYTES = 256;
/** Slots of a maple_range_64, and how many at least are filled outside of the root (mt_min_slots). */
export const RANGE64_SLOTS = 16;
const RANGE64_MIN = 6;
/** Of a maple_arange_64. */
export const ARANGE64_SLOTS = 10;
const ARANGE64_MIN = 4;
/** No node. */
export const NONE = -1;

/** Slots of a node while it is being written: what they lead to or hold, and the last index of each. */
export class Row {
  /** Last index of each slot. */
  readonly last: Float64Array = new Float64Array(2 * RANGE64_SLOTS + 4);
  /** Child or value of each slot. */
  readonly slot: Int32Array = new Int32Array(2 * RANGE64_SLOTS + 4);
  /** Slots in use. */
  length = 0;

  /** Appends a slot. */
  push(last: number, slot: number): void {
    this.last[this.length] = last;
    this.slot[this.length++] = slot;
  }
}

/** The nodes. */
export class MapleNodes {
  /** Slots of an inner node. */
  readonly innerSlots: number;
  readonly #innerMin: number;
  readonly #operations: Operations;
  #last = new Float64Array(16 * RANGE64_SLOTS);
  #slot = new Int32Array(16 * RANGE64_SLOTS);
  #length = new Uint8Array(16);
  #leaf = new Uint8Array(16);
  #parent = new Int32Array(16);
  #place = new Uint8Array(16);
  #made = 0;
  readonly #free: number[] = [];
  #leaves = 0;
  #inner = 0;

  /** No nodes; inner ones track gaps or not. */
  constructor(allocRange: boolean, operations: Operations) {
    this.innerSlots = allocRange ? ARANGE64_SLOTS : RANGE64_SLOTS;
    this.#innerMin = allocRange ? ARANGE64_MIN : RANGE64_MIN;
    this.#operations = operations;
  }

  /** Leaves. */
  get leaves(): number {
    return this.#leaves;
  }

  /** Inner nodes. */
  get inner(): number {
    return this.#inner;
  }

  /** A node without slots and without a parent. */
  add(leaf: boolean): number {
    const node = this.#free.pop() ?? this.#made++;
    if (node === this.#length.length) this.#grow(2 * node);
    this.#length[node] = 0;
    this.#leaf[node] = leaf ? 1 : 0;
    this.#parent[node] = NONE;
    if (leaf) this.#leaves++;
    else this.#inner++;
    this.#operations.allocations++;
    return node;
  }

  /** Frees a node. */
  remove(node: number): void {
    if (this.isLeaf(node)) this.#leaves--;
    else this.#inner--;
    this.#free.push(node);
    this.#operations.frees++;
  }

  /** Whether a node is a leaf. */
  isLeaf(node: number): boolean {
    return this.#leaf[node] === 1;
  }

  /** Slots in use. */
  lengthOf(node: number): number {
    return this.#length[node];
  }

  /** Slots it can have. */
  slotsOf(node: number): number {
    return this.isLeaf(node) ? RANGE64_SLOTS : this.innerSlots;
  }

  /** Slots it has at least unless it is the root. */
  minOf(node: number): number {
    return this.isLeaf(node) ? RANGE64_MIN : this.#innerMin;
  }

  /** Last index of a slot. */
  last(node: number, slot: number): number {
    return this.#last[node * RANGE64_SLOTS + slot];
  }

  /** Child of a slot, or its value in a leaf (0 for none). */
  slot(node: number, slot: number): number {
    return this.#slot[node * RANGE64_SLOTS + slot];
  }

  /** Last index of the node. */
  maxOf(node: number): number {
    return this.last(node, this.#length[node] - 1);
  }

  /** Lets a slot end at another index. */
  setLast(node: number, slot: number, last: number): void {
    this.#last[node * RANGE64_SLOTS + slot] = last;
    this.#operations.writes++;
  }

  /** The parent, NONE for the root. */
  parentOf(node: number): number {
    return this.#parent[node];
  }

  /** The slot of the parent that leads to the node. */
  placeOf(node: number): number {
    return this.#place[node];
  }

  /** Makes a node the root. */
  orphan(node: number): void {
    this.#parent[node] = NONE;
  }

  /** The neighbour at a distance of one slot under the same parent, or NONE. */
  sibling(node: number, distance: 1 | -1): number {
    const parent = this.#parent[node];
    const place = this.#place[node] + distance;
    return parent === NONE || place < 0 || place >= this.#length[parent] ? NONE : this.slot(parent, place);
  }

  /** The slot that an index lies in. */
  slotAt(node: number, index: number): number {
    const first = node * RANGE64_SLOTS;
    let slot = 0;
    while (this.#last[first + slot] < index) slot++;
    return slot;
  }

  /** Appends the slots `from` to `to` - 1 of a node to a row. */
  copyTo(row: Row, node: number, from: number, to: number): void {
    for (let slot = from; slot < to; slot++) row.push(this.last(node, slot), this.slot(node, slot));
  }

  /** Writes the slots `from` to `to` - 1 of a row as the slots of a node. */
  write(node: number, row: Row, from: number, to: number): void {
    const first = node * RANGE64_SLOTS;
    const isLeaf = this.isLeaf(node);
    for (let slot = 0; slot < to - from; slot++) {
      const child = row.slot[from + slot];
      const isSame = slot < this.#length[node] && this.#slot[first + slot] === child &&
        this.#last[first + slot] === row.last[from + slot];
      if (!isSame) this.#operations.writes++;
      this.#last[first + slot] = row.last[from + slot];
      this.#slot[first + slot] = child;
      if (isLeaf) continue;
      this.#parent[child] = node;
      this.#place[child] = slot;
    }
    this.#length[node] = to - from;
  }

  #grow(nodes: number): void {
    this.#last = grown(this.#last, nodes * RANGE64_SLOTS);
    this.#slot = grown(this.#slot, nodes * RANGE64_SLOTS);
    this.#length = grown(this.#length, nodes);
    this.#leaf = grown(this.#leaf, nodes);
    this.#parent = grown(this.#parent, nodes);
    this.#place = grown(this.#place, nodes);
  }
}
