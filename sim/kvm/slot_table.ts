/**
 * Memory slots of KVM: which range of the guest's memory stands where in the VMM's memory, and how a kernel remembers that.
 *
 * A table is what one generation of kernels had, as the data structure that it was. The checks of the interface
 * (`KVM_SET_USER_MEMORY_REGION`) are the same for all and stand in memory_region.ts.
 */
import type { Options } from "../core/options.ts";
import type { Range } from "../memory/range.ts";

/** One slot; addresses are counted in pages of 4 KiB. */
export interface MemorySlot {
  /** Number that the VMM gave it. */
  readonly id: number;
  /** First guest page (`base_gfn`). */
  readonly gfn: number;
  /** Pages (`npages`), at least 1. */
  readonly pages: number;
  /** First page of the VMM's memory (`userspace_addr` in pages). */
  readonly hvaPage: number;
  /** Flags of the interface: bit 0 logs dirty pages, bit 1 is read-only. */
  readonly flags: number;
}

/** What a table did. Counts only grow. */
export class SlotOperations {
  /** Slots looked at one after the other in the order in which they are stored. */
  scans = 0;
  /** Looks at what was found last: the header that says so, and that slot. */
  cacheLooks = 0;
  /** Accesses that wait for the one before: a half of a search, a node of a tree or of a hash chain. */
  probes = 0;
  /** Slots, index entries or links written. */
  writes = 0;
  /** Bytes copied into a new array or moved inside of one. */
  copiedBytes = 0;
  /** Allocations. */
  allocations = 0;
  /** Frees. */
  frees = 0;
  /** Times that a new set of slots was published. */
  swaps = 0;
  /** Waits until no reader holds the old set (`synchronize_srcu_expedited`), one a swap. */
  srcuWaits = 0;
  /** Changes made to one of the two sets of today's trees. */
  setChanges = 0;
  /** Times that all EPT roots were invalidated. */
  rootZaps = 0;
  /** Times that the range of one slot was unmapped. */
  rangeZaps = 0;

  /** Slots and nodes looked at. */
  get compares(): number {
    return this.scans + this.cacheLooks + this.probes;
  }

  /** A copy of the counts as they are now. */
  now(): SlotOperations {
    return Object.assign(new SlotOperations(), this);
  }

  /** What was done since `before`. */
  since(before: SlotOperations): SlotOperations {
    const difference = new SlotOperations();
    for (const name of Object.keys(this) as (keyof SlotOperations & string)[]) {
      if (name === "compares" || name === "now" || name === "since") continue;
      difference[name] = this[name] - before[name];
    }
    return difference;
  }
}

/** One term of the sum that {@link SlotTable.bytes} is. */
export interface ByteTerm {
  /** What takes the bytes, with the factors: `36 x (64 slot + 4 index)`. */
  readonly what: string;
  /** Bytes. */
  readonly bytes: number;
}

/** What a table needs of the VM around it. */
export interface SlotTableContext {
  /** Unmaps a range of guest pages from EPT, or all of it (undefined). */
  zap(range: Range | undefined): void;
  /** Takes kernel memory. Throws {@link KvmError} with ENOMEM when there is none; then nothing was changed. */
  allocate(bytes: number): void;
  /** Gives kernel memory back. */
  free(bytes: number): void;
}

/** A table of the slots of one VM. Callers have checked what they ask for (memory_region.ts). */
export interface SlotTable {
  /** Slots that the VMM may have. */
  readonly slotsMax: number;
  /** Slots in use. */
  readonly slots: number;
  /** Kernel memory of the table, bytes; what a slot keeps for each of its pages is not in it (metadata.ts). */
  readonly bytes: number;
  /** Bytes of one slot in it. */
  readonly slotBytes: number;
  /** What it did so far. */
  readonly operations: SlotOperations;
  /** Adds a slot (`KVM_MR_CREATE`). */
  set(slot: MemorySlot): void;
  /** Removes a slot (`KVM_MR_DELETE`). */
  remove(id: number): void;
  /** Moves a slot to other guest pages; it takes the flags of the call, too (`KVM_MR_MOVE`). */
  move(id: number, gfn: number, flags: number): void;
  /** Changes the flags of a slot (`KVM_MR_FLAGS_ONLY`). */
  flags(id: number, flags: number): void;
  /** The slot of a number. */
  byId(id: number): MemorySlot | undefined;
  /** The slot of a guest page, asked for by a vCPU or, with `cpu` -1, by nobody in particular. */
  byGfn(gfn: number, cpu: number): MemorySlot | undefined;
  /** The slot of a page of the VMM's memory. */
  byHva(hvaPage: number): MemorySlot | undefined;
  /** Visits every slot that has pages in a range of the VMM's memory: what a discard does (MMU notifier). */
  walkHva(range: Range, visit: (slot: MemorySlot) => void): void;
  /** A slot other than `id` that shares guest pages with a range. */
  overlapping(range: Range, id: number): MemorySlot | undefined;
  /** All slots, in the order in which they are stored. */
  all(): Iterable<MemorySlot>;
  /** The sum that {@link bytes} is. */
  terms(): readonly ByteTerm[];
}

/** A design, as the registry holds it. */
export interface SlotTablePlugin<O = unknown> {
  /** Name in scenarios. */
  readonly name: string;
  /** One line: what it is. */
  readonly summary: string;
  /** Version of the kernel, commit or mail. */
  readonly source: string;
  /** Its options. */
  readonly options: Options<O>;
  /** An empty table. */
  create(context: SlotTableContext, options: O): SlotTable;
}

/** Makes a plug-in of a design whose options are `O`; the registry does not know their type. */
export function slotTablePlugin<O>(plugin: SlotTablePlugin<O>): SlotTablePlugin {
  return plugin as unknown as SlotTablePlugin;
}

/** What the interface refuses, in words. */
export class KvmError extends Error {
  /** The error the kernel returns, for example `EEXIST`. */
  readonly code: string;

  /** An error with the kernel's code; the message is a sentence without a full stop. */
  constructor(code: string, message: string) {
    super(message);
    this.name = "KvmError";
    this.code = code;
  }
}

/** Whether a slot holds a guest page. */
export function holdsGfn(slot: MemorySlot, gfn: number): boolean {
  return gfn >= slot.gfn && gfn < slot.gfn + slot.pages;
}

/** Whether a slot shares guest pages with a range. */
export function sharesGfn(slot: MemorySlot, { pfn, count }: Range): boolean {
  return slot.gfn < pfn + count && pfn < slot.gfn + slot.pages;
}

/** Whether a slot shares pages of the VMM's memory with a range. */
export function sharesHva(slot: MemorySlot, { pfn, count }: Range): boolean {
  return slot.hvaPage < pfn + count && pfn < slot.hvaPage + slot.pages;
}
