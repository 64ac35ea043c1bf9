/** The runs of one command: built, simulated in slices, written. */
import { allCheckers, type Checker } from "../core/checkers.ts";
import type { Setting } from "../grid.ts";
import type { LoadedRun, LoadedScenario } from "../load.ts";
import type { Machine, MachineResult } from "../machine.ts";
import type { EventFormat } from "../scenario_options.ts";
import { buildMachine } from "../simulate.ts";
import { type SummaryRow, summaryRow } from "../summary_row.ts";
import { LoadError } from "../unpack.ts";
import { chooseEvents, estimatedRows, freeBytesAt } from "./event_choice.ts";
import { type Io, UsageError } from "./io.ts";
import { type FinishedRun, type InputHashes, runKey } from "./manifest.ts";
import { Progress } from "./progress.ts";
import type { ResultFolder } from "./result_folder.ts";
import { RunOutput } from "./run_output.ts";
import { ZstdWriter } from "./zstd_writer.ts";

/** What the user asked for. */
export interface RunOptions {
  /** Settings in the order of the command line. */
  readonly settings: readonly Setting[];
  /** Replications. */
  readonly reps: number;
  /** The folder of the result, or undefined for the default. */
  readonly out: string | undefined;
  /** Formats of the events, or undefined when the scenario or the size of the run decides. */
  readonly events: readonly EventFormat[] | undefined;
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

/** Events between two looks at clock and signals; about a twentieth of a second. */
const SLICE_EVENTS = 50_000;

/** Does something with the input; what does not fit becomes a refusal. */
export function refusing<T>(act: () => T): T {
  try {
    return act();
  } catch (error) {
    throw error instanceof LoadError ? new UsageError(error.message) : error;
  }
}

/** A run that was built and has not begun. */
interface BuiltRun {
  readonly machine: Machine;
  readonly output: RunOutput;
  readonly checkers: readonly Checker[];
}

/** The runs of one command. */
export class Batch {
  /** The runs that are finished, in order. */
  readonly finished: FinishedRun[] = [];
  #io: Io;
  #loaded: LoadedScenario;
  #options: RunOptions;
  #zstd = new ZstdWriter();
  /** The first run, until it is simulated. */
  #first: BuiltRun | undefined;
  #formats: readonly EventFormat[] = [];
  #interrupted = false;

  /** The runs of a scenario. */
  constructor(io: Io, loaded: LoadedScenario, options: RunOptions) {
    this.#io = io;
    this.#loaded = loaded;
    this.#options = options;
  }

  /**
   * Builds the first run and decides about the events, before anything is written, so that a bad input leaves nothing behind.
   * Returns a line for the user, if there is one. Throws {@link UsageError}.
   */
  prepare(target: string): string | undefined {
    const [run] = this.#loaded.runs;
    this.#first = this.#build(run);
    const { formats, notice } = chooseEvents({
      asked: this.#options.events ?? run.scenario.output.events,
      rows: Math.round(estimatedRows(this.#first.machine, run.scenario.untilNs)),
      eventsMax: this.#options.eventsMax,
      runs: this.#loaded.runs.length,
      freeBytes: freeBytesAt(target),
    });
    this.#formats = formats;
    return notice;
  }

  /** Simulates all; undefined when the user interrupted. Throws {@link UsageError}. */
  async run(folder: ResultFolder, inputs: InputHashes): Promise<readonly FinishedRun[] | undefined> {
    const progress = new Progress(this.#io, this.#options.quiet || this.#options.json);
    await progress.start();
    const stopListening = this.#io.onInterrupt(() => this.#interrupted = true);
    try {
      for (const [index, run] of this.#loaded.runs.entries()) {
        const key = await runKey(inputs, run, this.#formats, this.#options);
        const earlier = this.#options.goOn ? folder.finished(run.name, index) as FinishedRun | undefined : undefined;
        const done = earlier?.key === key ? earlier : await this.#runOne(folder, run, index, key, progress);
        if (done === undefined) return undefined;
        this.finished.push(done);
      }
    } finally {
      stopListening();
      progress.stop();
      this.#zstd.stop();
    }
    return this.finished;
  }

  /** Builds a run with everything that reads it; no file is made yet. Throws {@link UsageError}. */
  #build(run: LoadedRun): BuiltRun {
    const { check, eventsMax } = this.#options;
    const output = new RunOutput(this.#zstd);
    let checkers: readonly Checker[] = [];
    const machine = refusing(() =>
      buildMachine(this.#loaded, run, {
        readers: (guestPages) => {
          const hugetlb = run.scenario.host.backing === "hugetlb";
          if (check) checkers = allCheckers(guestPages, { hugetlb });
          return [output, ...checkers];
        },
        onSample: (sample) => output.sample(sample),
        checked: check,
        eventsMax,
      })
    );
    return { machine, output, checkers };
  }

  async #runOne(
    folder: ResultFolder,
    run: LoadedRun,
    index: number,
    key: string,
    progress: Progress,
  ): Promise<FinishedRun | undefined> {
    const built = index === 0 ? this.#first : undefined;
    this.#first = undefined; // its memory is needed for the next
    const { machine, output, checkers } = built ?? this.#build(run);
    try {
      output.open(folder.startRun(), this.#formats);
      if (!(await this.#advance(machine, output, run, index, progress))) return undefined;
      const result = machine.result();
      await output.finish();
      const findings = findingsOf(result, checkers, this.#options.check);
      const done = { key, row: withNulls(summaryRow(run, result)), findings };
      folder.finishRun(run.name, index, done);
      return done;
    } finally {
      await output.close();
    }
  }

  /** Runs a slice; true when the run has ended. What a policy from outside throws is its author's, and one sentence. */
  #advanceSlice(machine: Machine): boolean {
    try {
      return machine.advance(SLICE_EVENTS);
    } catch (error) {
      const sentence = this.#loaded.explainPolicy(error);
      throw sentence === undefined ? error : new UsageError(sentence);
    }
  }

  /** Runs in slices, giving signals a chance in between; false when the user interrupted. */
  async #advance(
    machine: Machine,
    output: RunOutput,
    run: LoadedRun,
    index: number,
    progress: Progress,
  ): Promise<boolean> {
    progress.startRun();
    while (!this.#advanceSlice(machine)) {
      await output.ready();
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
