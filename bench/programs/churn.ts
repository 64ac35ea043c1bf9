/**
 * A whole run of steady churn at 75 % of a guest: `churn.ts MEMORY OPERATIONS [linux]`. With `linux` the guest has per-CPU
 * lists, a machine's holes, kept watermarks and kernel pages among the movable ones. Blocks of order 0, 3 and 9, so that a terabyte
 * needs millions of allocations and not hundreds of millions. CPU time per operation and per row, without building.
 */
import { argument, build, open, report, runMachine } from "./measure.ts";

const ORDERS = { 0: 50, 3: 20, 9: 30 };
const MEAN_PAGES = 0.5 + 0.2 * 8 + 0.3 * 512;
const OCCUPANCY = 0.75;
/** The operations of a run are spread over this time, ns. */
const DURATION_NS = 100e9;
const LINUX = { perCpu: true, keepMarks: true, zones: "q35", reserved: "auto" };
const linux = Deno.args[2] === "linux";

/** The scenario in which about so many blocks are allocated or freed. */
function scenario(memoryMiB: number, operations: number): Record<string, unknown> {
  const liveBlocks = memoryMiB * 256 * OCCUPANCY / MEAN_PAGES;
  const lifetimeNs = Math.max(1, Math.round(DURATION_NS * liveBlocks / (operations / 2)));
  return {
    machine: { memory: `${memoryMiB}MiB`, ...(linux ? LINUX : {}) },
    host: { memory: "2TiB" },
    workload: {
      kind: "churn",
      occupancy: OCCUPANCY,
      orders: ORDERS,
      ...(linux ? { migratetypes: { movable: 8, unmovable: 1, reclaimable: 1 } } : {}),
      lifetime: { mean: `${lifetimeNs}ns` },
      duration: `${DURATION_NS}ns`,
    },
    output: { sample: "10s" },
  };
}

const memoryMiB = argument(0);
const operations = argument(1);
runMachine(build(await open(scenario(Math.min(memoryMiB, 1024), 300_000))));
const machine = build(await open(scenario(memoryMiB, operations)));
const wallStartMs = performance.now();
const run = runMachine(machine);
const wallMs = performance.now() - wallStartMs;
report(run.fingerprint, {
  operationNs: run.spentNs / run.operations,
  rowNs: run.spentNs / run.rows,
  rows: run.rows,
  wallMs,
});
