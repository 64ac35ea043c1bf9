/**
 * The slots since v5.17, each allocated by itself and linked into two sets at once: by number in a hash, by guest page in a
 * red-black tree, by address of the VMM in an interval tree. Readers use one set while the other is changed; then they trade
 * places (virt/kvm/kvm_main.c `kvm_replace_memslot`, `kvm_activate_memslot`, `kvm_swap_active_memslots`).
 */
import { choice, type Options } from "../core/options.ts";
import type { Range } from "../memory/range.ts";
import { SlotSet } from "./slot_set.ts";
import {
  type ByteTerm,
  holdsGfn,
  type MemorySlot,
  SlotOperations,
  type SlotTable,
  type SlotTableContext,
  type SlotTablePlugin,
  slotTablePlugin,
} from "./slot_table.ts";

/** What is unmapped when a slot goes: all, as an ordinary VM has it (quirk SLOT_ZAP_ALL), or the range of the slot. */
export type DeleteZap = "all" | "slot";

/** Options of the trees. */
export interface TreeOptions {
  /** What is unmapped when a slot goes. */
  readonly deleteZap: DeleteZap;
  /** How large a slot is: with the file of guest_memfd, or without. */
  readonly guestMemfd: "off" | "on";
}

/** Bytes of struct kvm_memslots: 32 of heads and counters, 128 buckets of 8, two node indexes, aligned (domain.md 7.4). */
export const SET_BYTES = 1072;
/** Sets of an address space, and address spaces of an x86 VM. */
const SETS = 2;
const ADDRESS_SPACES = 2;
/** SHRT_MAX slots less three of KVM's own. */
const SLOTS_MAX = 32764;

/** What a vCPU found last, and in which generation of the slots. */
interface CpuCache {
  generation: number;
  slot: MemorySlot | undefined;
}

class TreeTable implements SlotTable {
  readonly slotsMax = SLOTS_MAX;
  readonly slotBytes: number;
  readonly operations = new SlotOperations();
  readonly #context: SlotTableContext;
  readonly #options: TreeOptions;
  readonly #sets = [new SlotSet(this.operations), new SlotSet(this.operations)];
  readonly #cpus: CpuCache[] = [];
  #active = 0;
  #generation = 0;

  constructor(context: SlotTableContext, options: TreeOptions) {
    this.#context = context;
    this.#options = options;
    this.slotBytes = options.guestMemfd === "on" ? 280 : 264;
    context.allocate(SETS * ADDRESS_SPACES * SET_BYTES);
  }

  get slots(): number {
    return this.#sets[this.#active].count;
  }

  get bytes(): number {
    return this.terms().reduce((sum, term) => sum + term.bytes, 0);
  }

  terms(): readonly ByteTerm[] {
    return [
      {
        what: `${SETS} sets x ${ADDRESS_SPACES} address spaces x ${SET_BYTES}`,
        bytes: SETS * ADDRESS_SPACES * SET_BYTES,
      },
      { what: `${this.slots} slots x ${this.slotBytes}`, bytes: this.slots * this.slotBytes },
    ];
  }

  set(slot: MemorySlot): void {
    this.#take();
    this.#inactive().replace(undefined, slot);
    this.#activate(undefined, slot);
  }

  remove(id: number): void {
    const old = this.byId(id)!;
    const invalid = this.#invalidate(old);
    this.#inactive().replace(old, undefined);
    this.#activate(invalid, undefined);
    this.#give(2);
  }

  move(id: number, gfn: number, flags: number): void {
    const old = this.byId(id)!;
    this.#take();
    let invalid: MemorySlot;
    try {
      invalid = this.#invalidate(old);
    } catch (error) {
      this.#give(1);
      throw error;
    }
    const next = { ...old, gfn, flags };
    this.#inactive().replace(old, next);
    this.#activate(invalid, next);
    this.#give(2);
  }

  flags(id: number, flags: number): void {
    const old = this.byId(id)!;
    this.#take();
    const next = { ...old, flags };
    this.#inactive().replace(old, next);
    this.#activate(old, next);
    this.#give(1);
  }

  byId(id: number): MemorySlot | undefined {
    return this.#sets[this.#active].byId(id);
  }

  /**
   * A vCPU looks at what it found last and then into the tree, past the slot that the VM found last, so that vCPUs do not take
   * that from each other (`kvm_vcpu_gfn_to_memslot`). domain.md 7.1 has it ask both; the code does not.
   */
  byGfn(gfn: number, cpu: number): MemorySlot | undefined {
    const set = this.#sets[this.#active];
    const cache = cpu < 0 ? undefined : this.#cpus[cpu] ??= { generation: -1, slot: undefined };
    if (cache !== undefined && cache.generation !== this.#generation) {
      cache.slot = undefined;
      cache.generation = this.#generation;
    }
    const last = cache === undefined ? set.last : cache.slot;
    // The cell of the cache and the slot that it leads to.
    this.operations.cacheLooks += last === undefined ? 1 : 2;
    if (last !== undefined && holdsGfn(last, gfn)) return last;
    const slot = set.byGfn(gfn);
    if (slot === undefined) return undefined;
    this.operations.writes++;
    if (cache === undefined) set.last = slot;
    else cache.slot = slot;
    return slot;
  }

  byHva(hvaPage: number): MemorySlot | undefined {
    let found: MemorySlot | undefined;
    this.walkHva({ pfn: hvaPage, count: 1 }, (slot) => found ??= slot);
    return found;
  }

  walkHva(range: Range, visit: (slot: MemorySlot) => void): void {
    this.#sets[this.#active].inHva(range, visit);
  }

  overlapping(range: Range, id: number): MemorySlot | undefined {
    let found: MemorySlot | undefined;
    this.#sets[this.#active].inGfn(range, (slot) => {
      if (slot.id !== id) found ??= slot;
    });
    return found;
  }

  all(): Iterable<MemorySlot> {
    return this.#sets[this.#active].all();
  }

  #inactive(): SlotSet {
    return this.#sets[1 - this.#active];
  }

  /** The sets trade places; then the other one gets the same change. */
  #activate(old: MemorySlot | undefined, next: MemorySlot | undefined): void {
    this.#swap();
    this.#inactive().replace(old, next);
  }

  #swap(): void {
    this.#active = 1 - this.#active;
    this.#generation += ADDRESS_SPACES;
    this.operations.swaps++;
    this.operations.srcuWaits++;
  }

  /** Publishes a copy of the slot that nobody may use, and unmaps (`kvm_invalidate_memslot`). */
  #invalidate(old: MemorySlot): MemorySlot {
    this.#take();
    const invalid = { ...old };
    this.#inactive().replace(old, invalid);
    this.#swap();
    if (this.#options.deleteZap === "all") {
      this.operations.rootZaps++;
      this.#context.zap(undefined);
    } else {
      this.operations.rangeZaps++;
      this.#context.zap({ pfn: old.gfn, count: old.pages });
    }
    return invalid;
  }

  #take(): void {
    this.#context.allocate(this.slotBytes);
    this.operations.allocations++;
  }

  #give(slots: number): void {
    this.#context.free(slots * this.slotBytes);
    this.operations.frees += slots;
  }
}

const OPTIONS: Options<TreeOptions> = {
  fields: {
    deleteZap: choice<DeleteZap>("all", ["all", "slot"], {
      summary: "what is unmapped when a slot goes: all, or its range",
      source: "KVM_X86_QUIRK_SLOT_ZAP_ALL, on for an ordinary VM",
    }),
    guestMemfd: choice("off", ["off", "on"], {
      summary: "slots of 264 bytes, or of 280 with guest_memfd",
      source: "struct kvm_memory_slot, Linux 6.12",
    }),
  },
};

/** The plug-in. */
export const tree: SlotTablePlugin = slotTablePlugin<TreeOptions>({
  name: "tree",
  summary: "each slot by itself in a hash, a red-black tree and an interval tree, twice",
  source: "Linux v5.17 to today, a54d8066, ed922739",
  options: OPTIONS,
  create: (context, options) => new TreeTable(context, options),
});
