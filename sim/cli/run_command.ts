/** The command `run`: simulates every run of a scenario, one after the other, and writes the result folder. */
import { allCheckers, type Checker } from "../core/checkers.ts";
import { csvLine, EventsCsv } from "../core/csv_writer.ts";
import type { TraceReader } from "../core/trace.ts";
import type { Setting } from "../grid.ts";
import type { LoadedRun, LoadedScenario } from "../load.ts";
import { LoadError } from "../unpack.ts";
import type { Machine, MachineResult } from "../machine.ts";
import { SAMPLE_COLUMNS } from "../samples.ts";
import type { Registries } from "../scenario.ts";
import type { EventFormat } from "../scenario_options.ts";
import { buildMachine } from "../simulate.ts";
import { type SummaryRow, summaryRow } from "../summary_row.ts";
import { resolvePath } from "./files.ts";
import { DONE, FOUND, INTERRUPTED, type Io, quoteArgs, UsageError } from "./io.ts";
import { type FinishedRun, type InputHashes, inputHashes, manifestOf, runKey } from "./manifest.ts";
import { openScenario } from "./open_scenario.ts";
import { Progress } from "./progress.ts";
import { ResultFolder } from "./result_folder.ts";
import { formatSize } from "../memory/units.ts";
import { comparisonTable } from "./table.ts";

/** What the user asked for. */
export interface RunOptions {
  /** Settings in the order of the command line. */
  readonly settings: readonly Setting[];
  /** Replications. */
  readonly reps: number;
  /** The folder of the result, or undefined for the default. */
  readonly out: string | undefined;
  /** Format of the events, or undefined when the size of the run decides. */
  readonly events: EventFormat | undefined;
  /** The most events of a run. */
  readonly eventsMax: number;
  /** Whether the invariant checkers run. */
  readonly check: boolean;
  /** Whether only the result is printed, as JSON. */
  readonly json: boolean;
  /** Whether nothing but problems is printed on standard error. */
  readonly quiet: boolean;
  /** Whether finished runs of an interrupted grid are kept. */
  readonly goOn: boolean;
  /** The command, for the manifest. */
  readonly command: readonly string[];
}

/** Rows of a run up to which its events are written unless told otherwise. */
const EVENTS_DEFAULT_ROWS = 5e6;

/** Bytes of one row of events.csv, on the mean. */
export const EVENT_ROW_BYTES = 60;

/** No permission of the task tells how much disk is free; what no disk of today holds is refused. */
const EVENTS_BYTES_MAX = 2 ** 42;

/** Events between two looks at clock and signals; about a twentieth of a second. */
const SLICE_EVENTS = 50_000;

/** Simulates a scenario. Returns the exit status; throws {@link UsageError}. */
export async function runCommand(io: Io, path: string, options: RunOptions, registries: Registries): Promise<number> {
  const loaded = await openScenario(io, path, options, registries);
  const say = (line: string) => options.quiet || options.json ? undefined : io.err(`${line}\n`);
  loaded.notices.forEach(say);
  const shown = options.out ?? `out/${loaded.name}`;
  const target = options.out === undefined
    ? `${io.projectFolder}/out/${loaded.name}`
    : resolvePath(io.userFolder, options.out);
  // The first machine is built before anything is written, so that a bad input leaves nothing behind.
  const events = eventsFor(loaded, options, say);
  const folder = new ResultFolder(target, shown, options.command);
  folder.open(options.goOn);
  const inputs = await inputHashes(loaded);
  const batch = new Batch(io, loaded, inputs, folder, options, events);
  let finished: readonly FinishedRun[] | undefined;
  try {
    finished = await batch.run();
  } catch (error) {
    folder.discard(batch.finished.length > 0 && loaded.runs.length > 1);
    throw error instanceof LoadError ? new UsageError(error.message) : error;
  }
  if (finished === undefined) return interrupted(io, folder, batch.finished.length, loaded.runs.length, options);
  folder.write("summary.csv", summaryCsv(finished));
  folder.write("manifest.json", manifestOf(loaded, inputs, finished, options.command));
  folder.commit();
  report(io, shown, finished, options);
  return exitStatus(finished, options.check);
}

/** The format of the events, with one line where the size of the run decides. */
function eventsFor(loaded: LoadedScenario, options: RunOptions, say: (line: string) => void): EventFormat {
  const asked = options.events ?? loaded.runs[0].scenario.output.events;
  const rows = Math.round(estimateRows(loaded, loaded.runs[0]));
  if (asked === "csv" && rows * EVENT_ROW_BYTES * loaded.runs.length > EVENTS_BYTES_MAX) {
    const size = formatSize(rows * EVENT_ROW_BYTES * loaded.runs.length);
    throw new UsageError(
      `--events csv: the events would take about ${size}, more than a disk holds; use --events none`,
    );
  }
  if (asked !== undefined) return asked;
  if (loaded.runs.length > 1) {
    say(`events: none for a grid of ${loaded.runs.length} runs; --events csv writes them`);
    return "none";
  }
  if (rows > EVENTS_DEFAULT_ROWS) {
    say(`events: none for about ${rows} rows; --events csv writes them`);
    return "none";
  }
  say(`events: csv, about ${rows} rows; --events none leaves them out`);
  return "csv";
}

/** Rows of a run, roughly; building the machine also finds what does not fit. Throws {@link UsageError}. */
export function estimateRows(loaded: LoadedScenario, run: LoadedRun): number {
  try {
    const machine = buildMachine(loaded, run, {});
    const { untilNs } = run.scenario;
    const longestNs = Math.max(1, ...machine.guests.map(({ workload }) => workload.durationNs));
    return machine.estimatedRows * Math.min(1, untilNs / longestNs);
  } catch (error) {
    throw error instanceof LoadError ? new UsageError(error.message) : error;
  }
}

/** The runs of one command. */
class Batch {
  readonly finished: FinishedRun[] = [];
  #io: Io;
  #loaded: LoadedScenario;
  #inputs: InputHashes;
  #folder: ResultFolder;
  #options: RunOptions;
  #events: EventFormat;
  #interrupted = false;

  constructor(
    io: Io,
    loaded: LoadedScenario,
    inputs: InputHashes,
    folder: ResultFolder,
    options: RunOptions,
    events: EventFormat,
  ) {
    this.#io = io;
    this.#loaded = loaded;
    this.#inputs = inputs;
    this.#folder = folder;
    this.#options = options;
    this.#events = events;
  }

  /** Runs all; undefined when the user interrupted. */
  async run(): Promise<readonly FinishedRun[] | undefined> {
    const progress = new Progress(this.#io, this.#options.quiet || this.#options.json);
    const stopListening = this.#io.onInterrupt(() => this.#interrupted = true);
    try {
      for (const [index, run] of this.#loaded.runs.entries()) {
        const key = await runKey(this.#inputs, run, this.#events, this.#options);
        const earlier = this.#options.goOn
          ? this.#folder.finished(run.name, index) as FinishedRun | undefined
          : undefined;
        if (earlier?.key === key) {
          this.finished.push(earlier);
          continue;
        }
        const done = await this.#runOne(run, index, key, progress);
        if (done === undefined) return undefined;
        this.finished.push(done);
      }
    } finally {
      stopListening();
      progress.stop();
    }
    return this.finished;
  }

  async #runOne(run: LoadedRun, index: number, key: string, progress: Progress): Promise<FinishedRun | undefined> {
    const path = this.#folder.startRun();
    const output = new RunOutput(path, this.#events);
    let checkers: readonly Checker[] = [];
    try {
      const machine = buildMachine(this.#loaded, run, {
        readers: (guestPages) => {
          const hugetlb = run.scenario.host.backing === "hugetlb";
          if (this.#options.check) checkers = allCheckers(guestPages, { hugetlb });
          return [...output.readers, ...checkers];
        },
        onSample: (sample) => output.sample(sample),
        checked: this.#options.check,
        eventsMax: this.#options.eventsMax,
      });
      if (!(await this.#advance(machine, run, index, progress))) return undefined;
      const result = machine.result();
      output.close();
      const findings = findingsOf(result, checkers, this.#options.check);
      const done = { key, row: withNulls(summaryRow(run, result)), findings };
      this.#folder.finishRun(run.name, index, done);
      return done;
    } finally {
      output.close();
    }
  }

  /** Runs in slices, giving signals a chance in between; false when the user interrupted. */
  async #advance(machine: Machine, run: LoadedRun, index: number, progress: Progress): Promise<boolean> {
    progress.startRun();
    while (!machine.advance(SLICE_EVENTS)) {
      await new Promise((resolve) => setTimeout(resolve, 0));
      if (this.#interrupted) return false;
      progress.update({
        run: run.name,
        number: index + 1,
        runs: this.#loaded.runs.length,
        events: machine.sim.executed,
        timeNs: machine.sim.now,
        endNs: machine.endEstimateNs,
      });
    }
    await new Promise((resolve) => setTimeout(resolve, 0));
    return !this.#interrupted;
  }
}

/** The files of one run. */
class RunOutput {
  readonly readers: readonly TraceReader[];
  #files: Deno.FsFile[] = [];
  #events: EventsCsv | undefined;
  #samples: Deno.FsFile;
  #encoder = new TextEncoder();
  #closed = false;

  constructor(path: string, events: EventFormat) {
    this.#samples = this.#open(`${path}/samples.csv`);
    this.#write(this.#samples, this.#encoder.encode(csvLine(SAMPLE_COLUMNS)));
    if (events === "csv") {
      const file = this.#open(`${path}/events.csv`);
      this.#events = new EventsCsv((bytes) => this.#write(file, bytes));
    }
    this.readers = this.#events === undefined ? [] : [this.#events];
  }

  sample(sample: readonly number[]): void {
    this.#write(this.#samples, this.#encoder.encode(csvLine(sample)));
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    try {
      this.#events?.close();
    } finally {
      for (const file of this.#files) file.close();
    }
  }

  #open(path: string): Deno.FsFile {
    const file = Deno.openSync(path, { write: true, create: true, truncate: true });
    this.#files.push(file);
    return file;
  }

  #write(file: Deno.FsFile, bytes: Uint8Array): void {
    try {
      for (let rest = bytes; rest.length > 0;) rest = rest.subarray(file.writeSync(rest));
    } catch (error) {
      throw new UsageError(`the result cannot be written: ${(error as Error).message}`);
    }
  }
}

/** A row as JSON keeps it: a figure that does not exist is null, so that every column stays. */
function withNulls(row: SummaryRow): SummaryRow {
  return Object.fromEntries(Object.entries(row).map(([column, value]) => [column, value ?? null]));
}

function findingsOf(result: MachineResult, checkers: readonly Checker[], check: boolean): string[] {
  const findings = checkers.flatMap(({ name, problems }) => problems.map((problem) => `${name}: ${problem}`));
  if (result.finding !== undefined) findings.unshift(result.finding);
  const { violations, violationPages } = result.figures;
  if (check && violations > 0) findings.push(`${violations} violations: ${violationPages} pages in use were dropped`);
  return findings;
}

function summaryCsv(finished: readonly FinishedRun[]): string {
  const columns = Object.keys(finished[0].row);
  return [columns, ...finished.map(({ row }) => columns.map((column) => row[column] ?? undefined))].map(csvLine).join(
    "",
  );
}

function report(io: Io, shown: string, finished: readonly FinishedRun[], options: RunOptions): void {
  const rows = finished.map(({ row }) => row);
  if (options.json) {
    const runs = finished.map(({ row, findings }) => ({ ...row, findings }));
    io.out(JSON.stringify({ out: shown, runs }, null, 2) + "\n");
    return;
  }
  io.out(comparisonTable(rows));
  for (const { row, findings } of finished) for (const finding of findings) io.err(`${row.run}: ${finding}\n`);
  if (!options.quiet) io.out(`\nseed ${rows[0].seed}; results in ${shown}\n`);
}

function exitStatus(finished: readonly FinishedRun[], check: boolean): number {
  const found = finished.some(({ row, findings }) => findings.length > 0 || (check && Number(row.violations) > 0));
  return found ? FOUND : DONE;
}

function interrupted(io: Io, folder: ResultFolder, done: number, runs: number, options: RunOptions): number {
  const keep = done > 0 && runs > 1;
  folder.discard(keep);
  if (keep) {
    const args = [...options.command.filter((word) => word !== "--continue"), "--continue"];
    io.err(
      `interrupted: ${done} of ${runs} runs are finished and kept; go on with: deno task sim ${quoteArgs(args)}\n`,
    );
  } else io.err("interrupted: nothing was kept\n");
  return INTERRUPTED;
}
