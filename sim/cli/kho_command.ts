/** The command `kho`: every workload of a scenario with every tracker and every restore: one table, and a result folder. */
import { EventsCsv } from "../core/csv_writer.ts";
import { stringify } from "yaml";
import { InputError } from "../core/options.ts";
import type { TraceReader } from "../core/trace.ts";
import { khoCostProfiles } from "../kho/costs.ts";
import { type KhoFigure, khoFigures } from "../kho/figures.ts";
import type { Setting } from "../grid.ts";
import { allKhoWorkloads, checkKho, type KhoResult, khoRunNames, runKho } from "../kho_run.ts";
import { type KhoScenario, loadKho } from "../kho_scenario.ts";
import { axesText } from "../lab_grid.ts";
import { PAGE_SIZE } from "../memory/range.ts";
import { decodeText } from "../load.ts";
import { formatSize } from "../memory/units.ts";
import type { Registries } from "../scenario.ts";
import { LoadError } from "../unpack.ts";
import { VERSION } from "../version.ts";
import { readFile, resolvePath } from "./files.ts";
import { DONE, FOUND, type Io, UsageError } from "./io.ts";
import { khoFigureSums, khoSums, khoTable } from "./kho_table.ts";
import { ResultFolder, resultPlace } from "./result_folder.ts";
import { summaryCsv } from "./summary_csv.ts";
import { formatTable } from "./table.ts";

/** What the user asked for. */
export interface KhoCommandOptions {
  /** Folder of the result; `out/<name>` when undefined. */
  readonly out: string | undefined;
  /** Whether the rows of the trace are written. */
  readonly events: "none" | "csv";
  /** Whether the result is printed as JSON. */
  readonly json: boolean;
  /** Whether the bytes are explained. */
  readonly explain: boolean;
  /** Whether only the tables are printed. */
  readonly quiet: boolean;
  /** Settings in the order of the command line. */
  readonly settings: readonly Setting[];
  /** What is shown instead of running anything. */
  readonly preview: "runs" | "defaults" | undefined;
  /** What the user typed. */
  readonly command: readonly string[];
}

/** Runs the laboratory. Returns the exit status; throws {@link UsageError}. */
export function khoCommand(io: Io, path: string, options: KhoCommandOptions, registries: Registries): number {
  const scenarios = load(io, path, options.settings, registries);
  if (options.preview !== undefined) return preview(io, scenarios, options.preview);
  const { target, shown } = resultPlace(io, scenarios[0].name, options.out);
  const folder = new ResultFolder(target, shown, options.command);
  folder.open(false);
  let results: readonly Finished[];
  try {
    results = runAll(scenarios, folder, options);
  } catch (error) {
    folder.discard(false);
    throw error;
  }
  folder.write("summary.csv", summaryCsv(results.map(({ row, finding }) => ({ ...row, finding })), ["finding"]));
  folder.write("manifest.json", manifestOf(scenarios, results, options.command));
  folder.commit();
  if (options.json) printJson(io, shown, results, options.explain);
  else printTables(io, shown, results, options);
  return results.some(({ finding }) => finding !== undefined) ? FOUND : DONE;
}

function load(
  io: Io,
  path: string,
  settings: readonly Setting[],
  registries: Registries,
): readonly KhoScenario[] {
  const bytes = readFile(resolvePath(io.userFolder, path), path);
  try {
    const scenarios = loadKho(`${decodeText(bytes, path)}\n`, path, allKhoWorkloads(registries), settings);
    // A name that is too long for a folder, and a workload that does not fit, are found before anything runs.
    scenarios.forEach(khoRunNames);
    for (const scenario of scenarios) explaining(scenario, () => checkKho(scenario));
    return scenarios;
  } catch (error) {
    if (error instanceof InputError) throw new UsageError(`${path}: ${error.message}`);
    throw error instanceof LoadError ? new UsageError(error.message) : error;
  }
}

/** What is refused becomes one sentence with its place. */
function explaining<T>(scenario: KhoScenario, act: () => T): T {
  try {
    return act();
  } catch (error) {
    throw error instanceof InputError ? new UsageError(scenario.explain(error)) : error;
  }
}

function preview(io: Io, scenarios: readonly KhoScenario[], what: "runs" | "defaults"): number {
  if (what === "defaults") {
    io.out(stringify(scenarios[0].filled));
    return DONE;
  }
  const rows = scenarios.flatMap((scenario) =>
    khoRunNames(scenario).map((name) => [name, formatSize(scenario.memory), String(scenario.seed)])
  );
  io.out(formatTable([["run", "memory", "seed"], ...rows]));
  return DONE;
}

/** A result, and the scenario that it is of. */
interface Finished extends KhoResult {
  readonly scenario: KhoScenario;
}

/** Runs everything, and writes the rows of each run where they are wanted. */
function runAll(
  scenarios: readonly KhoScenario[],
  folder: ResultFolder,
  { events }: KhoCommandOptions,
): readonly Finished[] {
  const files: Deno.FsFile[] = [];
  const writers: EventsCsv[] = [];
  const readers = (run: string): readonly TraceReader[] => {
    if (events === "none") return [];
    const path = `${folder.partial}/${run}`;
    Deno.mkdirSync(path);
    const file = Deno.openSync(`${path}/events.csv`, { write: true, create: true });
    const writer = new EventsCsv((bytes) => {
      for (let rest = bytes; rest.length > 0;) rest = rest.subarray(file.writeSync(rest));
    });
    files.push(file);
    writers.push(writer);
    return [writer];
  };
  try {
    const results = scenarios.flatMap((scenario) =>
      explaining(scenario, () => Array.from(runKho(scenario, readers), (result) => ({ ...result, scenario })))
    );
    for (const writer of writers) writer.close();
    return results;
  } finally {
    for (const file of files) file.close();
  }
}

function manifestOf(
  scenarios: readonly KhoScenario[],
  results: readonly Finished[],
  command: readonly string[],
): string {
  const [scenario] = scenarios;
  const { profile } = (scenario.filled.kho as { costs: { profile: string } }).costs;
  const manifest = {
    hintsim: VERSION,
    format: 1,
    name: scenario.name,
    command,
    seed: scenario.seed,
    scenario: scenario.filled,
    costs: khoCostProfiles.find(({ name }) => name === profile),
    runs: results.map(({ row, finding, scenario: { axes, filled } }) => ({
      run: row.run,
      axes: Object.fromEntries(axes.map(({ key, label }) => [key, label])),
      fingerprint: row.fingerprint,
      events: row.events,
      findings: finding === undefined ? [] : [finding],
      // All combinations but the first have another.
      ...(scenarios.length > 1 ? { scenario: filled } : {}),
    })),
  };
  return JSON.stringify(manifest, null, 2) + "\n";
}

function printJson(io: Io, shown: string, results: readonly Finished[], explain: boolean): void {
  const runs = results.map(({ row, finding, trackerTerms, serializedTerms }) => ({
    ...row,
    findings: finding === undefined ? [] : [finding],
    ...(explain ? { tracker_terms: trackerTerms, serialized_terms: serializedTerms } : {}),
  }));
  const figures = explain ? { figures: figuresOf(results.map(({ scenario }) => scenario)) } : {};
  io.out(JSON.stringify({ out: shown, runs, ...figures }, null, 2) + "\n");
}

/** The bytes of the designs of all scenarios, each by itself. */
function figuresOf(scenarios: readonly KhoScenario[]): readonly KhoFigure[] {
  return khoFigures([...new Set(scenarios.flatMap(({ plugins }) => plugins))]);
}

/** One table for each combination of the axes. */
function printTables(
  io: Io,
  shown: string,
  results: readonly Finished[],
  { explain, quiet }: KhoCommandOptions,
): void {
  const scenarios = [...new Set(results.map(({ scenario }) => scenario))];
  for (const scenario of scenarios) {
    const own = results.filter((one) => one.scenario === scenario);
    const scratch = formatSize(scenario.layout.scratch.count * PAGE_SIZE);
    io.out(`${axesText(scenario.axes)}${formatSize(scenario.memory)} of memory, scratch ${scratch}\n${khoTable(own)}`);
    if (explain) io.out(khoSums(own));
    io.out("\n");
  }
  if (explain) io.out(`${khoFigureSums(figuresOf(scenarios))}\n`);
  for (const { row, finding } of results) if (finding !== undefined) io.err(`${row.run}: ${finding}\n`);
  const seeds = [...new Set(scenarios.map(({ seed }) => seed))].join(", ");
  if (!quiet) io.out(`seed ${seeds}; results in ${shown}\n`);
}
