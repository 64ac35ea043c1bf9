/** V2: the same balloon on other wires, with V1's costs and no new fit. */
import { judged, type Validation } from "./row.ts";
import { inflation, INFLATION_START_NS, sumsOf } from "./simulated.ts";

/** The whole request in one round, neighbours joined: as the sets of 2016 took it. */
const SORTED = { batch: 7 * 2 ** 18, merge: "sorted" };

/** Encoding, and what was measured with it, ms; scatter-gather was measured three times, here the middle of 491 and 597. */
const WIRES = [["v3-bitmap", 590, "bitmap"], ["pfn-len", 590, "pfn with length"], [
  "sg",
  544,
  "scatter-gather",
]] as const;

/** The validation. */
export const v2: Validation = {
  name: "V2",
  experiment: "the balloon of V1 on other wires",
  async run(context) {
    const common = { profile: "e5-2016", inputs: "V1's costs" };
    const times: number[] = [];
    const rows = [];
    for (const [encoding, target, what] of WIRES) {
      const { ackNs } = await sumsOf(context, inflation(SORTED, encoding));
      const simulated = (ackNs - INFLATION_START_NS) / 1e6;
      times.push(simulated);
      rows.push(judged(v2, { ...common, quantity: `time, ${what}`, unit: "ms", target, simulated, tolerance: 0.3 }));
    }
    const simulated = Math.max(...times) / Math.min(...times);
    const quantity = "slowest against fastest of the three";
    rows.push(judged(v2, { ...common, quantity, unit: "", target: 1, simulated, tolerance: 0.25 }));
    return rows;
  },
};
