/** Runs a scenario for a validation and sums what its rows cost. */
import { EVENTS, type TraceRows } from "../core/trace.ts";
import { loadScenario } from "../load.ts";
import { buildMachine } from "../simulate.ts";
import type { ValidationContext } from "./row.ts";

/** Sums over the rows of a run. */
export interface Sums {
  /** Rows by event. */
  readonly rows: Readonly<Record<string, number>>;
  /** Their costs, ns. */
  readonly costNs: Readonly<Record<string, number>>;
  /** When the last message was answered, ns. */
  readonly ackNs: number;
}

/** Runs a scenario of one run. */
export async function sumsOf(context: ValidationContext, scenario: Readonly<Record<string, unknown>>): Promise<Sums> {
  const rows: Record<string, number> = {};
  const costNs: Record<string, number> = {};
  let ackNs = 0;
  const reader = {
    read({ count, event, costNs: ns, timeNs }: TraceRows): void {
      for (let row = 0; row < count; row++) {
        const name = EVENTS[event[row]];
        rows[name] = (rows[name] ?? 0) + 1;
        costNs[name] = (costNs[name] ?? 0) + ns[row];
        if (name === "ack") ackNs = timeNs[row];
      }
    },
  };
  const loaded = await loadScenario(scenario, {}, context.registries);
  buildMachine(loaded, loaded.runs[0], { readers: () => [reader] }).runToEnd();
  return { rows, costNs, ackNs };
}

/** A balloon that takes 7 of the 8 GiB of an idle guest of 2016, one second after the start. */
export function inflation(policy: Readonly<Record<string, unknown>>, encoding: string): Record<string, unknown> {
  return {
    hintsim: 1,
    machine: { memory: "8GiB", vcpus: 1, initOnAlloc: false, perCpu: false, keepMarks: false },
    workload: { kind: "idle", duration: "20s" },
    until: "20s",
    policy: { kind: "balloon", target: [{ at: "1s", size: "7GiB" }], ...policy },
    encoding,
    host: { costs: "e5-2016" },
  };
}

/** When {@link inflation} begins, ns. */
export const INFLATION_START_NS = 1e9;
