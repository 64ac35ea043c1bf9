/**
 * V17: making n slots. The selftest of the patches that brought the trees was measured with 10, 509 and 32764 slots, before and
 * after; its figures for 10 and 509 give what a swap and a byte cost, those for 32764 are the target (Maciej Szmigiero, "KVM:
 * Scalable memslots", v4 and v5, 2021, test "Slot setup", Xeon Platinum 8167M).
 */
import { parseOptions } from "../core/options.ts";
import { CLOCK_GHZ, warmCycles } from "../kvm/costs.ts";
import { layouts } from "../kvm/layouts.ts";
import { VmSlots } from "../kvm/memory_region.ts";
import { slotTables } from "../kvm/mod.ts";
import type { SlotOperations } from "../kvm/slot_table.ts";
import { type AssumedRange, judged, type Validation } from "./row.ts";

/** Measured, ns; the array with 10 slots is left over as a check. */
const MEASURED = { tree10: 283_000, tree509: 8_030_000, array10: 342_000, array509: 13_500_000 };
const MANY = 32_764;

/** Tables as they were before and after the patches. */
const ARRAY = ["sorted-by-gfn", { user: MANY, flexible: true }] as const;
const TREE = ["tree", {}] as const;

/** What making so many slots does, each of 2 MiB above the one before. */
function setUp([name, input]: typeof ARRAY | typeof TREE, count: number): SlotOperations {
  const plugin = slotTables.find((one) => one.name === name)!;
  const vm = new VmSlots({ plugin, options: parseOptions(plugin.options, input, []).value, memory: Infinity });
  const layout = layouts.find((one) => one.name === "slots")!;
  const { value } = parseOptions(layout.options, { count }, []);
  for (const region of layout.create(value)) vm.setRegion(region);
  return vm.table.operations;
}

/** What solves the measured figures. */
export interface SetUpCosts {
  /** What the test takes before its first slot, ns. */
  readonly startNs: number;
  /** A swap with its wait and the call around it, ns. */
  readonly swapNs: number;
  /** A byte copied, ns. */
  readonly byteNs: number;
}

const comparesNs = (did: SlotOperations, factor: number) => factor * warmCycles(did, 0) / CLOCK_GHZ;

/** Solves the costs; comparisons have theirs from V16, times `factor`. */
export function solveSetUp(factor = 1): SetUpCosts {
  const [few, some, array] = [setUp(TREE, 10), setUp(TREE, 509), setUp(ARRAY, 509)];
  const fewNs = MEASURED.tree10 - comparesNs(few, factor);
  const swapNs = (MEASURED.tree509 - comparesNs(some, factor) - fewNs) / (some.swaps - few.swaps);
  const startNs = fewNs - few.swaps * swapNs;
  const byteNs = (MEASURED.array509 - comparesNs(array, factor) - startNs - array.swaps * swapNs) / array.copiedBytes;
  return { startNs, swapNs, byteNs };
}

/** The validation. */
export const v17: Validation = {
  name: "V17",
  experiment: "memory slots: set-up of n slots",
  run() {
    const predicted = (did: SlotOperations, factor: number) => {
      const { startNs, swapNs, byteNs } = solveSetUp(factor);
      return startNs + did.swaps * swapNs + did.copiedBytes * byteNs + comparesNs(did, factor);
    };
    const common = { profile: "Xeon Platinum 8167M", inputs: "Slot setup at 10 and 509 slots" };
    const figure = (quantity: string, did: SlotOperations, targetS: number, tolerance: number) => {
      const seconds = (factor: number) => predicted(did, factor) / 1e9;
      const assumed: AssumedRange[] = [{
        cost: "cycles of a comparison (another machine's)",
        low: seconds(0.5),
        high: seconds(1.5),
      }];
      return judged(v17, {
        ...common,
        quantity,
        unit: "s",
        target: targetS,
        simulated: seconds(1),
        tolerance,
        assumed,
      });
    };
    const [array, half] = [setUp(ARRAY, MANY), setUp(ARRAY, MANY / 2)];
    const [tree, halfTree] = [setUp(TREE, MANY), setUp(TREE, MANY / 2)];
    const growth = (quantity: string, whole: SlotOperations, part: SlotOperations, target: number) =>
      judged(v17, {
        ...common,
        quantity,
        unit: "times",
        target,
        simulated: predicted(whole, 1) / predicted(part, 1),
        tolerance: 0.1,
      });
    return Promise.resolve([
      figure("array, 32764 slots", array, 16.1, 0.5),
      figure("tree, 32764 slots", tree, 0.59, 0.5),
      figure("array, 10 slots (left over)", setUp(ARRAY, 10), MEASURED.array10 / 1e9, 0.05),
      // Twice as many slots: n^2 takes 4 times as long, n log n from 14 to 15 bits 2 x 15 / 14.
      growth("array, growth from 16382 to 32764", array, half, 4),
      growth("tree, growth from 16382 to 32764", tree, halfTree, 2 * 15 / 14),
    ]);
  },
};
