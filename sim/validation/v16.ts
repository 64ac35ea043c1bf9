/** V16: the slowest lookup of a memory slot, in cycles, with nothing in the caches (9c1a5d3878, a Windows guest). */
import { parseOptions } from "../core/options.ts";
import { coldCycles, LOOKUP_COSTS } from "../kvm/costs.ts";
import { VmSlots } from "../kvm/memory_region.ts";
import { slotTables } from "../kvm/mod.ts";
import { PAGE_SIZE } from "../memory/range.ts";
import { judged, type Validation } from "./row.ts";

/** Slots of v3.19, when it was measured: 80 bytes, 125 or 509 of them. */
const LINEAR = ["sorted-by-size", { user: 125, private: 3, slotBytes: 80 }] as const;
const BINARY = ["sorted-by-gfn", { slotBytes: 80 }] as const;

/** Cycles of the slowest lookup, each slot asked for once after another one. */
export function slowestLookup([name, input]: typeof LINEAR | typeof BINARY, slots: number): number {
  const plugin = slotTables.find((one) => one.name === name)!;
  const { table, setRegion } = bound(
    new VmSlots({
      plugin,
      options: parseOptions(plugin.options, input, []).value,
      memory: Infinity,
    }),
  );
  for (let slot = 0; slot < slots; slot++) {
    setRegion({ slot, gpa: slot * PAGE_SIZE, size: PAGE_SIZE, hva: slot * PAGE_SIZE, flags: 0 });
  }
  let slowest = 0;
  for (let gfn = 0; gfn < slots; gfn++) {
    const before = table.operations.now();
    table.byGfn(gfn, 0);
    slowest = Math.max(slowest, coldCycles(table.operations.since(before), table.slotBytes));
  }
  return slowest;
}

function bound(vm: VmSlots) {
  return { table: vm.table, setRegion: vm.setRegion.bind(vm) };
}

/** The validation. */
export const v16: Validation = {
  name: "V16",
  experiment: "memory slots: lookup",
  run() {
    const inputs = `1450 cycles for 13 slots, linear: ${LOOKUP_COSTS.fetch.cycles.toFixed(1)} a fetch of 128 bytes`;
    const common = { profile: "9c1a5d3878, machine not named", inputs, unit: "cycles" };
    const figure = (quantity: string, simulated: number, target: number, tolerance: number) =>
      judged(v16, { ...common, quantity, simulated, target, tolerance });
    return Promise.resolve([
      figure("slowest of 117 slots, linear", slowestLookup(LINEAR, 117), 13_000, 0.02),
      figure("slowest of 117 slots, binary", slowestLookup(BINARY, 117), 2000, 0.2),
    ]);
  },
};
