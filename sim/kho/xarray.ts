/**
 * The kernel's xarray (lib/xarray.c) as far as the trackers use it: entries are stored and looked up, never erased.
 *
 * Nodes have 64 slots and the tree is as deep as its largest index needs. An entry at index 0 alone lies in the head and has
 * no node (xas_create with allow_root).
 */
import { grown } from "../memory/grown.ts";
import type { Operations } from "../memory/page_set.ts";

/** struct xa_node on 64 bits: 64 slots of 8 bytes, 24 of marks, 40 of head. */
export const XA_NODE_BYTES = 576;

const SLOT_BITS = 6;
const SLOTS = 1 << SLOT_BITS;

/** A map from indexes below 2^30 to numbers of at least 1. */
export class XArray {
  readonly #operations: Operations;
  #head = 0;
  /** Levels of nodes: 0 while the head is the entry at index 0. */
  #levels = 0;
  #nodes = 0;
  /** 64 for each node, the node with number 0 unused: what the node leads to, 0 for nothing. */
  #slots = new Int32Array(4 * SLOTS);

  /** An empty one, which counts its work in `operations`. */
  constructor(operations: Operations) {
    this.#operations = operations;
  }

  /** Nodes. */
  get nodes(): number {
    return this.#nodes;
  }

  /** The entry at an index, 0 for none. Looks at the head and one node for each level. */
  load(index: number): number {
    this.#operations.visits++;
    this.#operations.librarySteps++;
    let entry = this.#head;
    if (index >= this.#end()) return 0;
    for (let shift = (this.#levels - 1) * SLOT_BITS; shift >= 0 && entry !== 0; shift -= SLOT_BITS) {
      this.#operations.visits++;
      this.#operations.librarySteps++; // xas_descend reads node->shift beside the slot
      entry = this.#slots[entry * SLOTS + (index >>> shift & SLOTS - 1)];
    }
    return entry;
  }

  /** Stores an entry where none is (`xa_cmpxchg` with NULL). */
  store(index: number, entry: number): void {
    this.#grow(index);
    this.#operations.visits++;
    this.#operations.writes++;
    if (this.#levels === 0) {
      this.#head = entry;
      return;
    }
    if (this.#head === 0) this.#head = this.#add();
    let node = this.#head;
    for (let shift = (this.#levels - 1) * SLOT_BITS; shift > 0; shift -= SLOT_BITS) {
      this.#operations.visits++;
      const slot = node * SLOTS + (index >>> shift & SLOTS - 1);
      if (this.#slots[slot] === 0) {
        const child = this.#add();
        this.#slots[slot] = child;
        this.#operations.writes++;
      }
      node = this.#slots[slot];
    }
    this.#operations.visits++;
    this.#slots[node * SLOTS + (index & SLOTS - 1)] = entry;
  }

  /** Indexes and entries, ascending (`xa_for_each`); each node is looked at once. */
  entries(): Generator<[index: number, entry: number]> {
    return this.#under(this.#head, this.#levels, 0);
  }

  *#under(entry: number, levels: number, index: number): Generator<[index: number, entry: number]> {
    if (entry === 0) return;
    this.#operations.visits++;
    if (levels === 0) {
      yield [index, entry];
      return;
    }
    for (let slot = 0; slot < SLOTS; slot++) {
      const child = this.#slots[entry * SLOTS + slot];
      if (child !== 0) yield* this.#under(child, levels - 1, index * SLOTS + slot);
    }
  }

  /** Indexes the tree can hold now. */
  #end(): number {
    return 2 ** (SLOT_BITS * this.#levels);
  }

  /** Puts nodes above the head until the index fits (xas_expand). */
  #grow(index: number): void {
    while (index >= this.#end()) {
      this.#levels++;
      if (this.#head === 0) continue;
      const node = this.#add();
      this.#slots[node * SLOTS] = this.#head;
      this.#operations.writes++;
      this.#head = node;
    }
  }

  #add(): number {
    const node = ++this.#nodes;
    this.#operations.allocations++;
    if ((node + 1) * SLOTS > this.#slots.length) this.#slots = grown(this.#slots, 2 * this.#slots.length);
    return node;
  }
}
