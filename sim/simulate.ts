/** Simulating what was loaded: synchronous, pure, with typed results. */
import { allCheckers, type Checker } from "./core/checkers.ts";
import { type EventColumns, MemorySink } from "./core/memory_sink.ts";
import { InputError } from "./core/options.ts";
import type { LoadedRun, LoadedScenario } from "./load.ts";
import { LoadError } from "./unpack.ts";
import { Machine, type MachineParts } from "./machine.ts";
import { rehearsal } from "./rehearsal.ts";
import { type Sample, SAMPLE_COLUMNS } from "./samples.ts";
import { type SummaryRow, summaryRow } from "./summary_row.ts";

/** What a simulation keeps. */
export interface SimulateOptions {
  /** Keep the rows of the trace in memory. */
  readonly events?: boolean;
  /** Keep samples (on unless false). */
  readonly samples?: boolean;
  /** Run the invariant checkers. */
  readonly check?: boolean;
  /** The most events of a run, 10^9 unless told. */
  readonly eventsMax?: number;
  /** Events between two steps of the engine; the result does not depend on it. */
  readonly slice?: number;
}

/** Samples in typed columns, all of the same length. */
export type SampleColumns = Readonly<Record<string, Float64Array>>;

/** The result of one run. */
export interface RunResult {
  /** Name of the run. */
  readonly name: string;
  /** 16 hexadecimal digits over all rows of the trace. */
  readonly fingerprint: string;
  /** The row of summary.csv. */
  readonly summary: SummaryRow;
  /** Samples by column of samples.csv. */
  readonly samples: SampleColumns;
  /** The rows of the trace, when they were asked for. */
  readonly events: EventColumns | undefined;
  /** What the checkers found wrong with the simulation itself. */
  readonly problems: readonly string[];
  /** Why the run ended early, or undefined. */
  readonly finding: string | undefined;
}

/** Builds the machine of a run. Throws {@link LoadError} when the parts of its scenario do not fit. */
export function buildMachine(
  loaded: LoadedScenario,
  run: LoadedRun,
  parts: Omit<MachineParts, "scenario" | "rep" | "file">,
): Machine {
  try {
    const all = { ...parts, scenario: run.scenario, rep: run.rep, file: (path: string) => loaded.file(path) };
    return new Machine({ ...all, future: rehearsal(all) });
  } catch (error) {
    throw error instanceof InputError ? new LoadError(loaded.explain(error)) : error;
  }
}

/** Simulates every run of what was loaded, one after the other. Throws {@link LoadError}. */
export function simulateLoaded(loaded: LoadedScenario, options: SimulateOptions = {}): RunResult[] {
  return loaded.runs.map((run) => simulateRun(loaded, run, options));
}

/** Simulates one run. */
export function simulateRun(loaded: LoadedScenario, run: LoadedRun, options: SimulateOptions = {}): RunResult {
  const sink = options.events ? new MemorySink() : undefined;
  const samples: Sample[] = [];
  let checkers: readonly Checker[] = [];
  const machine = buildMachine(loaded, run, {
    readers: (guestPages) => {
      if (options.check) checkers = allCheckers(guestPages, { hugetlb: run.scenario.host.backing === "hugetlb" });
      return sink === undefined ? checkers : [...checkers, sink];
    },
    ...(options.samples === false ? {} : { onSample: (sample: Sample) => samples.push(sample) }),
    checked: options.check ?? false,
    eventsMax: options.eventsMax ?? 1e9,
  });
  while (!machine.advance(options.slice ?? 1e6));
  const result = machine.result();
  return {
    name: run.name,
    fingerprint: result.fingerprint,
    summary: summaryRow(run, result),
    samples: toColumns(samples),
    events: sink?.columns(),
    problems: checkers.flatMap(({ problems }) => problems),
    finding: result.finding,
  };
}

function toColumns(samples: readonly Sample[]): SampleColumns {
  return Object.fromEntries(
    SAMPLE_COLUMNS.map((name, column) => [name, Float64Array.from(samples, (sample) => sample[column])]),
  );
}
