/**
 * hintsim simulates how a virtual machine gives free memory back to its host: a guest page allocator, a driver with a policy,
 * a wire encoding, a virtqueue and a host, on one virtual clock.
 *
 * ```ts
 * import { load, simulate } from "./mod.ts";
 *
 * const loaded = await load(`
 * hintsim: 1
 * machine: {memory: 1GiB}
 * workload: {kind: fill-drain, cycles: 1}
 * policy: {kind: free-page-reporting}
 * `);
 * const [run] = simulate(loaded);
 * console.log(run.summary.returned_bytes, run.fingerprint);
 * ```
 *
 * @module
 */
import { policies } from "./policies/mod.ts";
import { type Loaded, LoadedScenario, type LoadOptions, loadScenario } from "./sim/load.ts";
import { type RunResult, simulateLoaded, type SimulateOptions } from "./sim/simulate.ts";
import { workloads } from "./workloads/mod.ts";

export { EVENTS } from "./sim/core/trace.ts";
export type { EventColumns } from "./sim/core/memory_sink.ts";
export type { AxisValue } from "./sim/grid.ts";
export type { Range } from "./sim/memory/range.ts";
export { LoadError } from "./sim/unpack.ts";
export type { Loaded, LoadOptions, ReadFile, RunInfo } from "./sim/load.ts";
export { SAMPLE_COLUMNS } from "./sim/samples.ts";
export type { RunResult, SampleColumns, SimulateOptions } from "./sim/simulate.ts";
export type { Cell, SummaryRow } from "./sim/summary_row.ts";

// What a policy of one's own is written with; docs/adding-a-policy.md goes from the idea to a table.
export { choice, duration, flag, fraction, integer, optional, size, text } from "./sim/core/options.ts";
export { ISOLATE, MIGRATETYPE_COUNT, MOVABLE, ORDER_MAX, RECLAIMABLE, UNMOVABLE } from "./sim/guest/allocator.ts";
export { policyPlugin } from "./sim/guest/plugin.ts";
export { requestsField } from "./sim/guest/requests.ts";
export { ORDER_PAGES, PAGE_SIZE } from "./sim/memory/range.ts";
export type { Field, FieldNotes, Options } from "./sim/core/options.ts";
export type { Random, RandomState } from "./sim/core/random.ts";
export type { Handler, RunEnd, Signal, Sim, Task, Wait } from "./sim/core/sim.ts";
export type { Trace, TraceReader, TraceRows } from "./sim/core/trace.ts";
export type { Worker } from "./sim/core/worker.ts";
export type { Allocator, PageAllocator } from "./sim/guest/allocator.ts";
export type { Driver, DriverCounters } from "./sim/guest/driver.ts";
export type { AllocFlags, Kernel, KernelZone } from "./sim/guest/kernel.ts";
export type { Future } from "./sim/guest/future.ts";
export type { Need, PolicyContext, PolicyPlugin, SkippedCase } from "./sim/guest/plugin.ts";
export type { HintingPolicy, HostRequest, Posted, SendOptions } from "./sim/guest/policy.ts";
export type { Requests } from "./sim/guest/requests.ts";
export type { Watermarks } from "./sim/guest/watermarks.ts";
export type { ReservingZone } from "./sim/guest/highatomic.ts";
export type { FreeCounts } from "./sim/guest/watermark_check.ts";
export type { Zone } from "./sim/guest/zone.ts";
export type { Cost, CostRole, Costs, CostTable } from "./sim/host/costs.ts";
export type { Host, HostAction } from "./sim/host/host.ts";
export type { PageBitmap } from "./sim/memory/bitmap.ts";

/**
 * Loads a scenario and the files that it names. `source` is a path (read with `options.read`), the text of a scenario, or an
 * object in the form of one. Throws {@link LoadError} with one sentence that names the place.
 *
 * ```ts
 * import { load } from "./mod.ts";
 *
 * const loaded = await load({ hintsim: 1, workload: { kind: "idle" } }, { set: ["machine.memory=1GiB,2GiB"] });
 * if (loaded.runs.length !== 2) throw new Error("two values are two runs");
 * ```
 */
export function load(source: string | Readonly<Record<string, unknown>>, options: LoadOptions = {}): Promise<Loaded> {
  return loadScenario(source, options, { policies, workloads });
}

/**
 * Simulates every run of a loaded scenario: synchronous and pure, the same result each time.
 *
 * ```ts
 * import { load, simulate } from "./mod.ts";
 *
 * const loaded = await load({ hintsim: 1, machine: { memory: "64MiB" }, workload: { kind: "idle", duration: "1s" } });
 * const [run] = simulate(loaded, { events: true, check: true });
 * if (run.problems.length > 0 || run.events === undefined) throw new Error(run.problems[0]);
 * ```
 */
export function simulate(loaded: Loaded, options: SimulateOptions = {}): RunResult[] {
  if (!(loaded instanceof LoadedScenario)) throw new TypeError("Cannot simulate what load() did not return");
  return simulateLoaded(loaded, options);
}
