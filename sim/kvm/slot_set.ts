/** One of the two sets of slots since v5.17: a hash by number, a tree by guest page, an interval tree by address of the VMM. */
import type { Range } from "../memory/range.ts";
import { RedBlackTree, type TreeNode } from "./red_black_tree.ts";
import type { MemorySlot, SlotOperations } from "./slot_table.ts";

/** Buckets of the hash by number. */
const BUCKETS = 128;

/** The golden ratio by which the kernel spreads 32-bit keys (include/linux/hash.h), here to seven bits. */
function bucketOf(id: number): number {
  return Math.imul(id, 0x61c88647) >>> 25;
}

interface Nodes {
  readonly gfn: TreeNode<MemorySlot>;
  readonly hva: TreeNode<MemorySlot>;
}

/** One of the two sets that a slot is linked into; the other has the same slots but for a change under way. */
export class SlotSet {
  readonly #operations: SlotOperations;
  readonly #byGfn: RedBlackTree<MemorySlot>;
  readonly #byHva: RedBlackTree<MemorySlot>;
  readonly #buckets: MemorySlot[][] = Array.from({ length: BUCKETS }, () => []);
  readonly #nodes = new Map<MemorySlot, Nodes>();
  /** The slot found last by somebody who is no vCPU. */
  last: MemorySlot | undefined;

  /** An empty set; `operations` counts what is looked at and written. */
  constructor(operations: SlotOperations) {
    this.#operations = operations;
    this.#byGfn = new RedBlackTree(operations, false);
    this.#byHva = new RedBlackTree(operations, true);
  }

  /** Slots in it. */
  get count(): number {
    return this.#nodes.size;
  }

  /** All of them. */
  all(): Iterable<MemorySlot> {
    return this.#nodes.keys();
  }

  /** The slot of a number. */
  byId(id: number): MemorySlot | undefined {
    const chain = this.#buckets[bucketOf(id)];
    this.#operations.probes++;
    // A new slot stands at the head of its chain: the end of the list here.
    for (let at = chain.length - 1; at >= 0; at--) {
      this.#operations.probes++;
      if (chain[at].id === id) return chain[at];
    }
    return undefined;
  }

  /** The slot of a guest page. */
  byGfn(gfn: number): MemorySlot | undefined {
    return this.#byGfn.find(gfn);
  }

  /** Visits the slots that have guest pages in a range. */
  inGfn({ pfn, count }: Range, visit: (slot: MemorySlot) => void): void {
    this.#byGfn.walk(pfn, pfn + count - 1, visit);
  }

  /** Visits the slots that have pages in a range of the VMM's memory. */
  inHva({ pfn, count }: Range, visit: (slot: MemorySlot) => void): void {
    this.#byHva.walk(pfn, pfn + count - 1, visit);
  }

  /** A slot appears, disappears, or stands for another one; one that keeps its guest pages keeps its node by guest page. */
  replace(old: MemorySlot | undefined, next: MemorySlot | undefined): void {
    this.#operations.setChanges++;
    const nodes = old === undefined ? undefined : this.#nodes.get(old)!;
    if (old !== undefined) {
      this.#unhash(old);
      this.#byHva.remove(nodes!.hva);
      this.#nodes.delete(old);
      if (this.last === old) this.last = next;
    }
    const stays = next !== undefined && old?.gfn === next.gfn;
    if (nodes !== undefined && !stays) this.#byGfn.remove(nodes.gfn);
    if (next === undefined) return;
    this.#buckets[bucketOf(next.id)].push(next);
    this.#operations.writes += 2;
    const hva = this.#byHva.insert(next.hvaPage, next.hvaPage + next.pages - 1, next);
    if (stays) {
      nodes!.gfn.item = next;
      this.#operations.writes += 3;
      this.#nodes.set(next, { gfn: nodes!.gfn, hva });
    } else this.#nodes.set(next, { gfn: this.#byGfn.insert(next.gfn, next.gfn + next.pages - 1, next), hva });
  }

  #unhash(slot: MemorySlot): void {
    const chain = this.#buckets[bucketOf(slot.id)];
    chain.splice(chain.lastIndexOf(slot), 1);
    this.#operations.writes += 2;
  }
}
