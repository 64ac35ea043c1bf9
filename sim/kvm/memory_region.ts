/**
 * What a VMM may ask of the slots (`KVM_SET_USER_MEMORY_REGION`), checked as the kernel checks it, in its order
 * (virt/kvm/kvm_main.c `__kvm_set_memory_region`, v6.12): a call makes a slot, removes it (size 0), moves it or changes its flags.
 */
import { PAGE_SIZE, type Range } from "../memory/range.ts";
import { formatSize } from "../memory/units.ts";
import { KvmError, type MemorySlot, type SlotTable, type SlotTablePlugin } from "./slot_table.ts";

/** The argument of the call. */
export interface MemoryRegion {
  /** Number of the slot. */
  readonly slot: number;
  /** First byte of the guest's memory. */
  readonly gpa: number;
  /** Bytes; 0 removes the slot. */
  readonly size: number;
  /** First byte of the VMM's memory. */
  readonly hva: number;
  /** Flags: 1 logs dirty pages, 2 is read-only. */
  readonly flags: number;
}

/** Flags that exist for an ordinary VM: KVM_MEM_LOG_DIRTY_PAGES and KVM_MEM_READONLY. */
const FLAGS = 3;
const READONLY = 2;
/** KVM_MEM_MAX_NR_PAGES. */
const PAGES_MAX = 2 ** 31 - 1;

/** What a call did. */
export type Change = "create" | "delete" | "move" | "flags" | "none";

/** What surrounds the slots of a VM. */
export interface VmParts {
  /** The table. */
  readonly plugin: SlotTablePlugin;
  /** Its parsed options. */
  readonly options: unknown;
  /** Kernel memory for the table, bytes. */
  readonly memory: number;
  /** Told what is unmapped from EPT; all when undefined. */
  readonly zap?: (range: Range | undefined) => void;
}

/** The slots of one VM behind the interface. */
export class VmSlots {
  /** The table. */
  readonly table: SlotTable;
  #bytes = 0;
  readonly #memory: number;

  /** A VM without slots. Throws {@link KvmError} when the empty table does not fit into the memory. */
  constructor({ plugin, options, memory, zap }: VmParts) {
    this.#memory = memory;
    this.table = plugin.create({
      zap: (range) => zap?.(range),
      allocate: (bytes) => this.#allocate(bytes),
      free: (bytes) => void (this.#bytes -= bytes),
    }, options);
  }

  /** Kernel memory taken at present. */
  get allocatedBytes(): number {
    return this.#bytes;
  }

  /** The call. Throws {@link KvmError} with the kernel's error, and then nothing has changed. */
  setRegion(region: MemoryRegion): Change {
    const { table } = this;
    checkRegion(region, table.slotsMax);
    const { slot: id, gpa, size, hva, flags } = region;
    const old = table.byId(id);
    if (size === 0) {
      if (old === undefined) throw new KvmError("EINVAL", `slot ${id} is to be deleted and is not there`);
      table.remove(id);
      return "delete";
    }
    const next: MemorySlot = { id, gfn: gpa / PAGE_SIZE, pages: size / PAGE_SIZE, hvaPage: hva / PAGE_SIZE, flags };
    if (old !== undefined) checkChange(old, next);
    const moves = old !== undefined && old.gfn !== next.gfn;
    if (old === undefined || moves) this.#checkOverlap(next);
    if (old === undefined) table.set(next);
    else if (moves) table.move(id, next.gfn, flags);
    else if (old.flags !== flags) table.flags(id, flags);
    else return "none";
    return old === undefined ? "create" : moves ? "move" : "flags";
  }

  #checkOverlap(next: MemorySlot): void {
    const other = this.table.overlapping({ pfn: next.gfn, count: next.pages }, next.id);
    if (other === undefined) return;
    throw new KvmError("EEXIST", `slot ${next.id} (${placeOf(next)}) overlaps slot ${other.id} (${placeOf(other)})`);
  }

  #allocate(bytes: number): void {
    if (this.#bytes + bytes > this.#memory) {
      const left = formatSize(this.#memory - this.#bytes);
      throw new KvmError("ENOMEM", `${formatSize(bytes)} for the slots are wanted and ${left} are left`);
    }
    this.#bytes += bytes;
  }
}

function placeOf({ gfn, pages }: MemorySlot): string {
  return `${hex(gfn * PAGE_SIZE)} to ${hex((gfn + pages) * PAGE_SIZE - 1)}`;
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}

function checkRegion({ slot, gpa, size, hva, flags }: MemoryRegion, slotsMax: number): void {
  const refuse = (message: string): never => {
    throw new KvmError("EINVAL", message);
  };
  if (flags > FLAGS) refuse(`flags ${flags} are unknown; 1 logs dirty pages, 2 is read-only`);
  const aligned: readonly (readonly [string, number])[] = [["size", size], ["guest address", gpa], [
    "VMM address",
    hva,
  ]];
  for (const [what, value] of aligned) {
    if (value % PAGE_SIZE !== 0) refuse(`the ${what} ${hex(value)} is not aligned to 4 KiB`);
  }
  if (slot >= slotsMax) refuse(`slot ${slot} is over the limit: this table has the slots 0 to ${slotsMax - 1}`);
  if (size / PAGE_SIZE > PAGES_MAX) refuse(`${size / PAGE_SIZE} pages are more than the ${PAGES_MAX} of one slot`);
}

/** A slot that is there keeps its size, its memory and whether it is read-only. */
function checkChange(old: MemorySlot, next: MemorySlot): void {
  const what = old.pages !== next.pages
    ? `has ${old.pages} pages and cannot have ${next.pages}`
    : old.hvaPage !== next.hvaPage
    ? "cannot change its VMM address"
    : (old.flags & READONLY) !== (next.flags & READONLY)
    ? "cannot change whether it is read-only"
    : undefined;
  if (what !== undefined) throw new KvmError("EINVAL", `slot ${next.id} ${what}; delete it first`);
}
