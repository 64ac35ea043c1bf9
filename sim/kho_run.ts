/** The laboratory of handovers: every workload with every tracker and every restore, one row each. */
import { Fingerprint } from "./core/fingerprint.ts";
import { InputError } from "./core/options.ts";
import { randomStream } from "./core/random.ts";
import type { TraceReader, TraceRows } from "./core/trace.ts";
import { stepsOf } from "./kho/costs.ts";
import {
  type HandedOver,
  handOver,
  type HandoverParts,
  RefusedCall,
  type TakenOver,
  takeOver,
} from "./kho/handover.ts";
import { khoWorkloads } from "./kho/workloads/mod.ts";
import type { KhoContext, KhoWorkloadPlugin } from "./kho/workloads/workload.ts";
import { fragmentedHost } from "./kho_fragmented.ts";
import { runName } from "./grid.ts";
import type { KhoScenario, KhoWorkloadSpec } from "./kho_scenario.ts";
import { axisColumns } from "./lab_grid.ts";
import { BUDDY_ORDER_MAX } from "./kho/buddy_release.ts";
import { DESCRIPTOR_BYTES } from "./kho/scratch.ts";
import type { RestoreMode } from "./kho/restore.ts";
import { type BytesTerm, KhoError, type TrackerPlugin } from "./kho/tracker.ts";
import { PAGE_SIZE } from "./memory/range.ts";
import type { Registries } from "./scenario.ts";
import type { SummaryRow } from "./summary_row.ts";

/** A handover and a restore. */
export interface KhoResult {
  /** The row of summary.csv. */
  readonly row: SummaryRow;
  /** The sum that the tracker's bytes are. */
  readonly trackerTerms: readonly BytesTerm[];
  /** The sum that the serialised bytes are. */
  readonly serializedTerms: readonly BytesTerm[];
  /** Why it ended early, or undefined. */
  readonly finding: string | undefined;
}

/** Readers of the rows of a run, by its name, beside its fingerprint. */
export type KhoReaders = (run: string) => readonly TraceReader[];

/** All workloads; one of them simulates a guest, with the workloads of the simulator. */
export function allKhoWorkloads(registries: Registries): readonly KhoWorkloadPlugin[] {
  return [...khoWorkloads, fragmentedHost(registries)];
}

/** Runs everything. Throws {@link InputError} where the input is refused. */
export function* runKho(scenario: KhoScenario, readers: KhoReaders = () => []): Generator<KhoResult> {
  for (const workload of scenario.workloads) {
    for (const plugin of scenario.plugins) yield* runTracker(scenario, workload, plugin, readers);
  }
}

/** What one run is made of, and counts. */
class Run {
  readonly name: string;
  readonly restore: RestoreMode;
  readonly readers: readonly TraceReader[];
  readonly fingerprint = new Fingerprint();
  events = 0;

  constructor(name: string, restore: RestoreMode, readers: KhoReaders) {
    this.name = name;
    this.restore = restore;
    const count = { read: (rows: TraceRows) => void (this.events += rows.count) };
    this.readers = [this.fingerprint, count, ...readers(name)];
  }
}

/** One tracker with every restore: the old kernel runs once, and its rows belong to all of them. */
function* runTracker(
  scenario: KhoScenario,
  spec: KhoWorkloadSpec,
  plugin: TrackerPlugin,
  readers: KhoReaders,
): Generator<KhoResult> {
  const runs = scenario.restore.map((restore) => new Run(nameOf(scenario, spec, plugin, restore), restore, readers));
  const parts = partsOf(scenario, spec, plugin);
  let handed: HandedOver;
  try {
    handed = handOver(parts, runs.flatMap((run) => run.readers));
  } catch (error) {
    const finding = refusal(spec, plugin, error);
    for (const run of runs) {
      const row = headOf(scenario, spec, plugin, run);
      yield { row, trackerTerms: [], serializedTerms: [], finding };
    }
    return;
  }
  const trackerTerms = handed.tracker.explain();
  const serializedTerms = handed.handover.terms;
  for (const run of runs) {
    const terms = { trackerTerms, serializedTerms };
    const before = { ...oldFigures(handed) };
    try {
      const taken = takeOver(parts, handed, run.restore, run.readers);
      const row = { ...headOf(scenario, spec, plugin, run, taken), ...before, ...newFigures(handed, taken) };
      yield { row, ...terms, finding: undefined };
    } catch (error) {
      const finding = refusal(spec, plugin, error);
      yield { row: { ...headOf(scenario, spec, plugin, run), ...before }, ...terms, finding };
    }
  }
}

/** Finds workloads that do not fit the machine, before anything runs. Throws {@link InputError}. */
export function checkKho(scenario: KhoScenario): void {
  for (const spec of scenario.workloads) {
    const { plugin } = spec;
    onMachine(scenario, spec, (context) => void (plugin.check ?? plugin.create)(context, spec.options));
  }
}

function partsOf(scenario: KhoScenario, spec: KhoWorkloadSpec, plugin: TrackerPlugin): HandoverParts {
  const { layout, costs, over, bootRegions, threads } = scenario;
  const workload = onMachine(scenario, spec, (context) => spec.plugin.create(context, spec.options));
  return { plugin, workload, layout, costs, overNs: over, bootRegions, threads };
}

/** Does something with a workload on the machine; a problem with an option has its place in the scenario. */
function onMachine<T>({ layout, seed }: KhoScenario, spec: KhoWorkloadSpec, act: (context: KhoContext) => T): T {
  const random = (name: string) => randomStream(seed, 0, `kho/${spec.label}/${name}`);
  try {
    return act({ area: layout.area, random });
  } catch (error) {
    if (error instanceof InputError) throw new InputError([...spec.path, ...error.path], error.message);
    throw error;
  }
}

/** The kernel's error in words: of a call that the scenario lists an {@link InputError}, else what is found in the run. */
function refusal({ plugin: workload, path }: KhoWorkloadSpec, { name }: TrackerPlugin, error: unknown): string {
  if (!(error instanceof KhoError)) throw error;
  const { code, message } = error;
  const sentence = `${name}: ${/^E[A-Z]+$/.test(code) ? `${code}: ` : ""}${message}`;
  if (error instanceof RefusedCall && code !== "ENOMEM" && workload.name === "calls") {
    throw new InputError([...path, "calls", error.call], sentence);
  }
  return sentence;
}

/** The names of the runs of a scenario, in order. Throws {@link InputError} when one is too long. */
export function khoRunNames(scenario: KhoScenario): readonly string[] {
  const { workloads, plugins, restore } = scenario;
  return workloads.flatMap((spec) =>
    plugins.flatMap((plugin) => restore.map((mode) => nameOf(scenario, spec, plugin, mode)))
  );
}

/** The axes of the grid that vary, then those of the comparison, or `run`. */
function nameOf(scenario: KhoScenario, spec: KhoWorkloadSpec, { name }: TrackerPlugin, restore: RestoreMode): string {
  const axes = [...scenario.axes];
  if (scenario.workloads.length > 1) axes.push({ key: "kho.workload", label: spec.label });
  if (scenario.plugins.length > 1) axes.push({ key: "kho.trackers", label: name });
  if (scenario.restore.length > 1) axes.push({ key: "kho.restore", label: restore });
  return runName(axes);
}

function headOf(
  { seed, layout, axes }: KhoScenario,
  { label }: KhoWorkloadSpec,
  { name }: TrackerPlugin,
  { name: run, restore, fingerprint, events }: Run,
  taken?: TakenOver,
): SummaryRow {
  return {
    run,
    workload: label,
    tracker: name,
    restore,
    seed,
    ...axisColumns(axes),
    fingerprint: fingerprint.hex,
    sim_time_ns: taken?.endNs,
    events: taken === undefined ? events : events - 1,
    memory_bytes: layout.pages * PAGE_SIZE,
    scratch_bytes: layout.scratch.count * PAGE_SIZE,
  };
}

/** Figures of the old kernel. */
function oldFigures(handed: HandedOver): SummaryRow {
  const { kept, preserves, unpreserves, callsNs, before, serializing, serializeNs, handover, tracker } = handed;
  return {
    preserved_pages: kept.count,
    preserve_calls: preserves,
    unpreserve_calls: unpreserves,
    calls_ns: Math.round(callsNs),
    calls_steps: stepsOf(before),
    calls_moved_bytes: before.movedBytes,
    calls_allocations: before.allocations,
    tracker_bytes: tracker.bytes,
    serialized_bytes: handover.serializedBytes,
    kept_bytes: handover.keptBytes,
    serialize_steps: stepsOf(serializing),
    serialize_ns: serializeNs,
  };
}

/** Figures of the successor. */
function newFigures(
  { serializeNs, free }: HandedOver,
  { restored, blackoutNs }: TakenOver,
): SummaryRow {
  const { walk, reserve, memmap, buddy } = restored;
  const parts = [walk, reserve, memmap, buddy];
  const restoreNs = parts.reduce((sum, { ns }) => sum + Math.round(ns), 0);
  return {
    kexec_ns: blackoutNs - serializeNs - restoreNs,
    found: restored.found,
    walk_visits: walk.visits,
    walk_ns: Math.round(walk.ns),
    reserve_visits: reserve.visits,
    reserve_moved_bytes: reserve.movedBytes,
    reserve_ns: Math.round(reserve.ns),
    memmap_visits: memmap.visits,
    memmap_ns: Math.round(memmap.ns),
    memmap_bytes: memmap.descriptors * DESCRIPTOR_BYTES,
    buddy_visits: buddy.visits,
    buddy_ns: Math.round(buddy.ns),
    restore_ns: restoreNs,
    blackout_ns: blackoutNs,
    claim_ns: Math.round(restored.claimNs),
    memblock_regions: restored.regions,
    memblock_bytes: restored.memblockBytes,
    scratch_peak_bytes: restored.scratchPeakPages * PAGE_SIZE,
    free_pages: free.pages,
    free_blocks: free.count,
    largest_free_order: free.largestOrder,
    largest_free_run_pages: free.longestPages,
    ...Object.fromEntries(
      Array.from({ length: BUDDY_ORDER_MAX + 1 }, (_, order) => [`free_order_${order}`, free.blocks[order]]),
    ),
  };
}
