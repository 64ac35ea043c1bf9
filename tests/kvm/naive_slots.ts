/** The slots as a plain map, searched from end to end, with the rules of the interface written a second time. */
import type { MemoryRegion } from "../../sim/kvm/memory_region.ts";
import type { MemorySlot } from "../../sim/kvm/slot_table.ts";

const PAGE = 4096;

/** A VM that remembers its slots without any structure. */
export class NaiveSlots {
  readonly slots = new Map<number, MemorySlot>();
  readonly #slotsMax: number;

  constructor(slotsMax: number) {
    this.#slotsMax = slotsMax;
  }

  /** What the call does, or the error that it gives. */
  setRegion({ slot: id, gpa, size, hva, flags }: MemoryRegion): string {
    if (flags > 3 || [gpa, size, hva].some((bytes) => bytes % PAGE !== 0) || id >= this.#slotsMax) return "EINVAL";
    if (size / PAGE >= 2 ** 31) return "EINVAL";
    const old = this.slots.get(id);
    if (size === 0) {
      if (old === undefined) return "EINVAL";
      this.slots.delete(id);
      return "delete";
    }
    const next = { id, gfn: gpa / PAGE, pages: size / PAGE, hvaPage: hva / PAGE, flags };
    if (old !== undefined) {
      if (old.pages !== next.pages || old.hvaPage !== next.hvaPage || (old.flags ^ flags) >= 2) return "EINVAL";
      if (old.gfn === next.gfn && old.flags === flags) return "none";
    }
    if (old?.gfn !== next.gfn) {
      for (const other of this.slots.values()) {
        if (other.id === id) continue;
        if (other.gfn < next.gfn + next.pages && next.gfn < other.gfn + other.pages) return "EEXIST";
      }
    }
    this.slots.set(id, next);
    return old === undefined ? "create" : old.gfn !== next.gfn ? "move" : "flags";
  }

  byGfn(gfn: number): MemorySlot | undefined {
    return [...this.slots.values()].find((slot) => gfn >= slot.gfn && gfn < slot.gfn + slot.pages);
  }

  inHva(first: number, count: number): MemorySlot[] {
    return [...this.slots.values()].filter((slot) => slot.hvaPage < first + count && first < slot.hvaPage + slot.pages);
  }
}
