/**
 * What all tables had until v5.16: an array of slots that is copied whole for each change, published with one pointer, and
 * freed when no reader holds it any more (virt/kvm/kvm_main.c `__kvm_set_memory_region`, `install_new_memslots`).
 */
import type { Range } from "../memory/range.ts";
import {
  type ByteTerm,
  type MemorySlot,
  sharesGfn,
  sharesHva,
  SlotOperations,
  type SlotTable,
  type SlotTableContext,
} from "./slot_table.ts";

/** Sizes of an array of slots. */
export interface ArraySizes {
  /** Slots for the VMM. */
  readonly user: number;
  /** Slots that KVM keeps for itself. */
  readonly private: number;
  /** Bytes of a slot. */
  readonly slotBytes: number;
  /** Bytes of its entry in the index by number; 0 where the place is the number. */
  readonly indexBytes: number;
}

/** How a kernel changes its array. */
export interface ArrayWays {
  /** Whether a removed or moved slot costs two copies (until v3.8), or the array it replaced is used again. */
  readonly copiesTwice: boolean;
  /** Whether a discard looks through the slots for each of its pages (before 84504ef3, v3.7), or once for the range. */
  readonly walksEachPage: boolean;
}

/** A table that is one array. */
export abstract class ArrayTable implements SlotTable {
  readonly operations: SlotOperations = new SlotOperations();
  abstract readonly slotsMax: number;
  abstract readonly slotBytes: number;
  protected readonly context: SlotTableContext;
  readonly #ways: ArrayWays;
  #slots = 0;

  /** A table without slots; call {@link begin} when it is built. */
  constructor(context: SlotTableContext, ways: ArrayWays) {
    this.context = context;
    this.#ways = ways;
  }

  get slots(): number {
    return this.#slots;
  }

  get bytes(): number {
    return this.terms().reduce((sum, term) => sum + term.bytes, 0);
  }

  abstract terms(): readonly ByteTerm[];
  abstract byId(id: number): MemorySlot | undefined;
  abstract byGfn(gfn: number, cpu: number): MemorySlot | undefined;
  /** The slots in the order of the array. */
  abstract all(): Iterable<MemorySlot>;
  /** Bytes of the array when it holds so many slots. */
  protected abstract arrayBytes(slots: number): number;
  /** Writes a change into the new array: a slot appears (`old` undefined), disappears (`next` undefined) or changes. */
  protected abstract place(old: MemorySlot | undefined, next: MemorySlot | undefined): void;

  set(slot: MemorySlot): void {
    this.#change(undefined, slot, 1);
  }

  remove(id: number): void {
    this.#change(this.byId(id), undefined, 2);
  }

  move(id: number, gfn: number, flags: number): void {
    const old = this.byId(id)!;
    this.#change(old, { ...old, gfn, flags }, 2);
  }

  flags(id: number, flags: number): void {
    const old = this.byId(id)!;
    this.#change(old, { ...old, flags }, 1);
  }

  byHva(hvaPage: number): MemorySlot | undefined {
    let found: MemorySlot | undefined;
    this.walkHva({ pfn: hvaPage, count: 1 }, (slot) => found ??= slot);
    return found;
  }

  walkHva(range: Range, visit: (slot: MemorySlot) => void): void {
    this.operations.scans += this.scanned() * (this.#ways.walksEachPage ? range.count : 1);
    for (const slot of this.all()) if (sharesHva(slot, range)) visit(slot);
  }

  overlapping(range: Range, id: number): MemorySlot | undefined {
    this.operations.scans += this.scanned();
    for (const slot of this.all()) if (slot.id !== id && sharesGfn(slot, range)) return slot;
    return undefined;
  }

  /** Slots that a loop over the whole table looks at. */
  protected scanned(): number {
    return this.#slots;
  }

  /** Takes the memory of the first arrays. */
  begin(): this {
    this.context.allocate(this.bytes);
    this.operations.allocations++;
    return this;
  }

  /** A new array takes the place of the old one. */
  protected replaceArray(oldBytes: number, newBytes: number): void {
    const { operations, context } = this;
    context.allocate(newBytes);
    operations.allocations++;
    operations.copiedBytes += Math.min(oldBytes, newBytes);
    this.publish();
    context.free(oldBytes);
    operations.frees++;
  }

  /** One pointer is swapped, and readers of the old set are waited for. */
  protected publish(): void {
    this.operations.swaps++;
    this.operations.srcuWaits++;
  }

  /** All mappings go (`kvm_arch_flush_shadow_memslot` of these kernels). */
  protected zapAll(): void {
    this.operations.rootZaps++;
    this.context.zap(undefined);
  }

  #change(old: MemorySlot | undefined, next: MemorySlot | undefined, swaps: 1 | 2): void {
    const before = this.arrayBytes(this.#slots);
    const slots = this.#slots + (old === undefined ? 1 : 0) - (next === undefined ? 1 : 0);
    if (swaps === 2 && this.#ways.copiesTwice) {
      // First the slot is published as invalid, so that nobody uses it any more.
      this.replaceArray(before, before);
      this.zapAll();
      this.replaceArray(before, this.arrayBytes(slots));
    } else if (swaps === 2) {
      // The array that was replaced is used again for the second change.
      this.replaceArray(before, this.arrayBytes(slots));
      this.zapAll();
      this.publish();
    } else this.replaceArray(before, this.arrayBytes(slots));
    this.#slots = slots;
    this.place(old, next);
  }
}

/**
 * The bytes of the arrays that the mail of 5 Dec 2012 counts: N x (slot + index) + 8 x ceil(N / 64), the last for the bitmap of
 * slots that each shadow page carried.
 */
export function arrayTerms({ user, private: kept, slotBytes, indexBytes }: ArraySizes): readonly ByteTerm[] {
  const count = user + kept;
  const words = Math.ceil(count / 64);
  return [
    {
      what: `${count} (${user} + ${kept} private) x (${slotBytes} slot + ${indexBytes} index)`,
      bytes: count * (slotBytes + indexBytes),
    },
    { what: `8 x ceil(${count} / 64) slot_bitmap`, bytes: 8 * words },
  ];
}
