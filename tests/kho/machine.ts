/** A small machine for handovers. */
import { randomStream } from "../../sim/core/random.ts";
import { InputError, parseOptions } from "../../sim/core/options.ts";
import { kho2025, khoCostsOf } from "../../sim/kho/costs.ts";
import type { HandoverParts } from "../../sim/kho/handover.ts";
import { type KhoLayout, khoLayout, scratchDefault } from "../../sim/kho/scratch.ts";
import type { TrackerPlugin } from "../../sim/kho/tracker.ts";
import { khoWorkloads } from "../../sim/kho/workloads/mod.ts";
import type { KhoWorkload } from "../../sim/kho/workloads/workload.ts";

/** The machine of most tests: 2 GiB. */
export const LAYOUT: KhoLayout = khoLayout(2 ** 19, scratchDefault(2 ** 19));

/** A workload of the registry on a machine. */
export function workloadOf(kind: string, options: Record<string, unknown>, layout = LAYOUT, seed = 1): KhoWorkload {
  const plugin = khoWorkloads.find(({ name }) => name === kind);
  if (plugin === undefined) throw new InputError([], `no workload ${kind}`);
  const random = (name: string) => randomStream(seed, 0, name);
  return plugin.create({ area: layout.area, random }, parseOptions(plugin.options, options, []).value);
}

/** Calls as a list: each writes its row. */
export function listed(
  rows: readonly (readonly [kind: number, pfn: number, count: number, order: number])[],
): KhoWorkload {
  let next = 0;
  return {
    calls: rows.length,
    fill(batch) {
      let row = 0;
      for (; row < batch.size && next < rows.length; row++) batch.set(row, ...rows[next++]);
      return row;
    },
  };
}

/** What a handover is made of, with the usual costs. */
export function partsOf(plugin: TrackerPlugin, workload: KhoWorkload, layout = LAYOUT): HandoverParts {
  return { plugin, workload, layout, costs: khoCostsOf(kho2025), overNs: 1e9, bootRegions: 32, threads: 0 };
}
