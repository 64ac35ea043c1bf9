/** The command `kho`: every workload of a scenario with every tracker and every restore, one table each, and a result folder. */
import { EventsCsv } from "../core/csv_writer.ts";
import { stringify } from "yaml";
import { InputError } from "../core/options.ts";
import type { TraceReader } from "../core/trace.ts";
import { khoCostProfiles } from "../kho/costs.ts";
import type { BytesTerm } from "../kho/tracker.ts";
import type { Setting } from "../grid.ts";
import { allKhoWorkloads, type KhoResult, khoRunNames, runKho } from "../kho_run.ts";
import { type KhoScenario, loadKho } from "../kho_scenario.ts";
import { axesText } from "../lab_grid.ts";
import { PAGE_SIZE } from "../memory/range.ts";
import { decodeText } from "../load.ts";
import { formatDuration, formatSize } from "../memory/units.ts";
import type { Registries } from "../scenario.ts";
import type { SummaryRow } from "../summary_row.ts";
import { LoadError } from "../unpack.ts";
import { VERSION } from "../version.ts";
import { readFile, resolvePath } from "./files.ts";
import { DONE, FOUND, type Io, UsageError } from "./io.ts";
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
    // A name that is too long for a folder is found before anything runs.
    scenarios.forEach(khoRunNames);
    return scenarios;
  } catch (error) {
    if (error instanceof InputError) throw new UsageError(`${path}: ${error.message}`);
    throw error instanceof LoadError ? new UsageError(error.message) : error;
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
      Array.from(runKho(scenario, readers), (result) => ({ ...result, scenario }))
    );
    for (const writer of writers) writer.close();
    return results;
  } catch (error) {
    throw error instanceof InputError ? new UsageError(scenarios[0].explain(error)) : error;
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

function printJson(io: Io, shown: string, results: readonly KhoResult[], explain: boolean): void {
  const runs = results.map(({ row, finding, trackerTerms, serializedTerms }) => ({
    ...row,
    findings: finding === undefined ? [] : [finding],
    ...(explain ? { tracker_terms: trackerTerms, serialized_terms: serializedTerms } : {}),
  }));
  io.out(JSON.stringify({ out: shown, runs }, null, 2) + "\n");
}

const NO_VALUE = "-";

const sized = (column: string) => (row: SummaryRow) =>
  typeof row[column] === "number" ? formatSize(Number(row[column])) : NO_VALUE;
const timed = (column: string) => (row: SummaryRow) =>
  typeof row[column] === "number" ? formatDuration(Number(row[column])) : NO_VALUE;
const plain = (column: string) => (row: SummaryRow) => row[column] === undefined ? NO_VALUE : String(row[column]);

/** Three digits that count. */
const counted = (column: string) => (row: SummaryRow) => {
  const value = row[column];
  if (typeof value !== "number") return NO_VALUE;
  return value < 1e6 ? String(value) : value.toExponential(2).replace("e+", "e");
};

/** Titles of the table, and what stands below: before the blackout, in it (visits by part, the time of all), after it. */
const SHOWN: readonly (readonly [title: string, cell: (row: SummaryRow) => string])[] = [
  ["restore", plain("restore")],
  ["kept", sized("kept_bytes")],
  ["serialised", sized("serialized_bytes")],
  ["steps before", counted("calls_steps")],
  ["time", timed("calls_ns")],
  ["serialise", timed("serialize_ns")],
  ["walk", counted("walk_visits")],
  ["reserve", counted("reserve_visits")],
  ["memmap", counted("memmap_visits")],
  ["buddy", counted("buddy_visits")],
  ["restore", timed("restore_ns")],
  ["blackout", timed("blackout_ns")],
  ["largest order", plain("largest_free_order")],
];

function printTables(
  io: Io,
  shown: string,
  results: readonly Finished[],
  { explain, quiet }: KhoCommandOptions,
): void {
  const scenarios = [...new Set(results.map(({ scenario }) => scenario))];
  const tables = scenarios.flatMap((scenario) =>
    scenario.workloads.map(({ label }) =>
      results.filter((one) => one.scenario === scenario && one.row.workload === label)
    )
  );
  for (const own of tables) {
    const [{ row, scenario }] = own;
    const preserved = typeof row.preserved_pages === "number" ? row.preserved_pages * PAGE_SIZE : 0;
    const free = own.find((one) => one.finding === undefined)?.row.largest_free_run_pages;
    io.out(
      `${axesText(scenario.axes)}${row.workload}: ${formatSize(preserved)} preserved of ${
        formatSize(scenario.memory)
      }, scratch ` +
        `${formatSize(Number(row.scratch_bytes))}` +
        (typeof free === "number" ? `, longest free run ${formatSize(free * PAGE_SIZE)}\n` : "\n"),
    );
    io.out(comparison(own));
    if (explain) io.out(explained(own));
    io.out("\n");
  }
  for (const { row, finding } of results) if (finding !== undefined) io.err(`${row.run}: ${finding}\n`);
  const seeds = [...new Set(scenarios.map(({ seed }) => seed))].join(", ");
  if (!quiet) io.out(`seed ${seeds}; results in ${shown}\n`);
}

/** One line for each tracker and restore. */
function comparison(results: readonly KhoResult[]): string {
  const width = Math.max("tracker".length, ...results.map(({ row }) => String(row.tracker).length));
  const restores = Math.max(...results.map(({ row }) => String(row.restore).length));
  const lines = results.map(({ row }) => [String(row.tracker), ...SHOWN.map(([, cell]) => cell(row))]);
  const table = [["tracker", ...SHOWN.map(([title]) => title)], ...lines];
  // Two texts stand at the left.
  return formatTable(
    table.map(([tracker, restore, ...cells]) => [`${tracker.padEnd(width)}  ${restore.padEnd(restores)}`, ...cells]),
  );
}

/** The sums that bytes are, once for each tracker. */
function explained(results: readonly KhoResult[]): string {
  const seen = new Set<unknown>();
  const lines: string[] = [];
  for (const { row, trackerTerms, serializedTerms } of results) {
    if (seen.has(row.tracker) || trackerTerms.length === 0) continue;
    seen.add(row.tracker);
    lines.push(`${row.tracker}: ${row.tracker_bytes} bytes in memory = ${sumText(trackerTerms)}`);
    lines.push(`${row.tracker}: ${row.serialized_bytes} bytes serialised = ${sumText(serializedTerms)}`);
  }
  return `\n${lines.join("\n")}\n`;
}

function sumText(terms: readonly BytesTerm[]): string {
  const some = terms.filter(({ count }) => count > 0);
  return some.length === 0
    ? "0"
    : some.map(({ what, count, bytesEach }) => `${count} x ${bytesEach} (${what})`).join(" + ");
}
