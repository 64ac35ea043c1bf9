/** A table of slots on the host's path: what each fault and each discard takes to find its slot. */
import type { SlotPath } from "../host/slot_path.ts";
import { HUGE_PAGES, PAGE_SIZE } from "../memory/range.ts";
import { CLOCK_GHZ, warmCycles } from "./costs.ts";
import { VmSlots } from "./memory_region.ts";
import type { SlotTablePlugin } from "./slot_table.ts";

/** Where the guest's memory stands in the VMM, pages. */
const HVA_PAGE = 2 ** 24;

/** The slots of a running guest: its memory in parts of about one size. */
export class HostSlots implements SlotPath {
  lookupNs = 0;
  readonly #vm: VmSlots;

  /** Cuts `pages` of guest memory into slots. Throws {@link KvmError} when the table has no room for so many. */
  constructor(plugin: SlotTablePlugin, options: unknown, pages: number, slots: number) {
    this.#vm = new VmSlots({ plugin, options, memory: Infinity });
    const blocks = Math.ceil(pages / HUGE_PAGES);
    const count = Math.min(slots, blocks);
    for (let slot = 0; slot < count; slot++) {
      const first = Math.floor(slot * blocks / count) * HUGE_PAGES;
      const end = Math.floor((slot + 1) * blocks / count) * HUGE_PAGES;
      const region = {
        slot,
        gpa: first * PAGE_SIZE,
        size: (end - first) * PAGE_SIZE,
        hva: (HVA_PAGE + first) * PAGE_SIZE,
      };
      this.#vm.setRegion({ ...region, flags: 0 });
    }
  }

  faultNs(pfn: number, faults: number, cpu: number): number {
    const { table } = this.#vm;
    const ns = this.#timed(faults, () => {
      for (let n = 0; n < faults; n++) table.byGfn(pfn + n, cpu);
    });
    const rounded = Math.round(ns);
    this.lookupNs += rounded;
    return rounded;
  }

  discardNs(pfn: number, count: number): number {
    const ns = this.#timed(1, () => this.#vm.table.walkHva({ pfn: HVA_PAGE + pfn, count }, () => {}));
    this.lookupNs += ns;
    return ns;
  }

  /** The time of lookups whose table is in the caches. */
  #timed(lookups: number, act: () => void): number {
    const { operations } = this.#vm.table;
    const before = operations.now();
    act();
    return warmCycles(operations.since(before), lookups) / CLOCK_GHZ;
  }
}
