/** The command `memslots`: every table of memory slots with every guest of a scenario, one table and a result folder. */
import { stringify } from "yaml";
import { InputError } from "../core/options.ts";
import type { Setting } from "../grid.ts";
import { CLOCK_GHZ, LOOKUP_COSTS, REFAULT_COST, UPDATE_COSTS } from "../kvm/costs.ts";
import { figureBytes, figures } from "../kvm/figures.ts";
import type { ByteTerm } from "../kvm/slot_table.ts";
import { axesText } from "../lab_grid.ts";
import { decodeText } from "../load.ts";
import { formatDuration, formatSize } from "../memory/units.ts";
import {
  type MemslotsResult,
  memslotsRunNames,
  runMemslots,
  type SimulatedLookups,
  simulatedLookups,
} from "../memslots_run.ts";
import { loadMemslots, type MemslotsScenario, type SimulationSpec } from "../memslots_scenario.ts";
import type { Registries } from "../scenario.ts";
import { LoadError } from "../unpack.ts";
import { VERSION } from "../version.ts";
import { folderOf, readFile, resolvePath } from "./files.ts";
import { DONE, type Io, UsageError } from "./io.ts";
import { openScenario } from "./open_scenario.ts";
import { ResultFolder, resultPlace } from "./result_folder.ts";
import { summaryCsv } from "./summary_csv.ts";
import { formatTable } from "./table.ts";

/** What the user asked for. */
export interface MemslotsOptions {
  /** Folder of the result; `out/<name>` when undefined. */
  readonly out: string | undefined;
  /** Whether the result is printed as JSON. */
  readonly json: boolean;
  /** Whether the bytes are explained. */
  readonly explain: boolean;
  /** Settings in the order of the command line. */
  readonly settings: readonly Setting[];
  /** What is shown instead of running anything. */
  readonly preview: "runs" | "defaults" | undefined;
  /** What the user typed. */
  readonly command: readonly string[];
}

/** Runs the laboratory. Returns the exit status; throws {@link UsageError}. */
export async function memslotsCommand(
  io: Io,
  path: string,
  options: MemslotsOptions,
  registries: Registries,
): Promise<number> {
  const full = resolvePath(io.userFolder, path);
  const scenarios = refusing(() => loadMemslots(`${decodeText(readFile(full, path), path)}\n`, path, options.settings));
  const [scenario] = scenarios;
  refusing(() => scenarios.forEach(memslotsRunNames), scenario);
  const loaded = await openSimulations(io, scenarios, folderOf(full), registries);
  if (options.preview !== undefined) return preview(io, scenarios, options.preview);
  const simulations = new Map(Array.from(loaded, ([name, simulate]) => [name, simulate()]));
  const results = refusing(
    () => scenarios.flatMap((one) => tried(one, (spec) => simulations.get(spec.scenario)!)),
    scenario,
  );
  const { target, shown } = resultPlace(io, scenario.name, options.out);
  const folder = new ResultFolder(target, shown, options.command);
  folder.open(false);
  folder.write("summary.csv", summaryCsv(results.map(({ row, refused }) => ({ ...row, refused })), ["refused"]));
  folder.write("manifest.json", manifestOf(scenarios, results, options.command));
  folder.commit();
  if (options.json) {
    const runs = results.map(({ row, refused, terms }) => ({ ...row, refused, ...(options.explain ? { terms } : {}) }));
    const quoted = options.explain ? { figures: figures().map((one) => ({ ...one, bytes: figureBytes(one) })) } : {};
    io.out(JSON.stringify({ out: shown, runs, ...quoted }, null, 2) + "\n");
    return DONE;
  }
  const tables = scenarios.map((one) => `${heading(one)}${comparison(results.filter((it) => it.scenario === one))}`);
  io.out(tables.join("\n"));
  if (options.explain) io.out(explained(results));
  const seeds = [...new Set(scenarios.map(({ seed }) => seed))].join(", ");
  io.out(`\nseed ${seeds}; cycles of lookups, times at ${CLOCK_GHZ} GHz; results in ${shown}\n`);
  return DONE;
}

/** What the scenario is refused for becomes one sentence. */
function refusing<T>(act: () => T, scenario?: MemslotsScenario): T {
  try {
    return act();
  } catch (error) {
    if (error instanceof LoadError) throw new UsageError(error.message);
    if (error instanceof InputError && scenario !== undefined) throw new UsageError(scenario.explain(error));
    throw error;
  }
}

function preview(io: Io, scenarios: readonly MemslotsScenario[], what: "runs" | "defaults"): number {
  if (what === "defaults") {
    io.out(stringify(scenarios[0].filled));
    return DONE;
  }
  const rows = scenarios.flatMap((scenario) =>
    memslotsRunNames(scenario).map((name) => [name, String(scenario.lab.lookups), String(scenario.seed)])
  );
  io.out(formatTable([["run", "lookups", "seed"], ...rows]));
  return DONE;
}

/** A result, and the scenario that it is of. */
interface Finished extends MemslotsResult {
  readonly scenario: MemslotsScenario;
}

function tried(scenario: MemslotsScenario, simulated: (spec: SimulationSpec) => SimulatedLookups): Finished[] {
  return Array.from(runMemslots(scenario, simulated), (result) => ({ ...result, scenario }));
}

/** Above the table of one combination of a grid. */
function heading({ axes }: MemslotsScenario): string {
  return axes.length === 0 ? "" : `${axesText(axes).replace(/, $/, ":")}\n`;
}

/** Loads the scenarios whose faults and discards are asked for, by their names; what is returned simulates one. */
async function openSimulations(
  io: Io,
  scenarios: readonly MemslotsScenario[],
  folder: string,
  registries: Registries,
): Promise<ReadonlyMap<string, () => SimulatedLookups>> {
  const simulations = new Map<string, () => SimulatedLookups>();
  for (const guest of scenarios.flatMap(({ guests }) => guests)) {
    if (guest.kind !== "simulation" || simulations.has(guest.scenario)) continue;
    const refused = (error: unknown) => {
      if (!(error instanceof UsageError) && !(error instanceof LoadError)) return error;
      return new UsageError(scenarios[0].explain(new InputError([...guest.path, "scenario"], error.message)));
    };
    const options = { settings: [], reps: 1 };
    const loaded = await openScenario({ ...io, userFolder: folder }, guest.scenario, options, registries)
      .catch((error) => {
        throw refused(error);
      });
    simulations.set(guest.scenario, () => {
      try {
        return simulatedLookups(loaded);
      } catch (error) {
        throw refused(error);
      }
    });
  }
  return simulations;
}

function manifestOf(
  scenarios: readonly MemslotsScenario[],
  results: readonly Finished[],
  command: readonly string[],
): string {
  const [{ name, seed, filled }] = scenarios;
  const manifest = {
    hintsim: VERSION,
    format: 1,
    name,
    command,
    seed,
    scenario: filled,
    costs: { lookup: LOOKUP_COSTS, update: UPDATE_COSTS, refault: REFAULT_COST, clockGhz: CLOCK_GHZ },
    runs: results.map(({ row, refused, scenario }) => ({
      run: row.run,
      axes: Object.fromEntries(scenario.axes.map(({ key, label }) => [key, label])),
      refused,
      // All combinations but the first have another.
      ...(scenarios.length > 1 ? { scenario: scenario.filled } : {}),
    })),
  };
  return JSON.stringify(manifest, null, 2) + "\n";
}

/** Column of the table, and the columns of a row that it shows. */
const SHOWN: readonly (readonly [title: string, cell: (row: MemslotsResult["row"]) => string])[] = [
  ["table", ({ table }) => String(table)],
  ["guest", ({ guest }) => String(guest)],
  ["slots", ({ slots, slots_wanted: wanted }) => slots === wanted ? String(slots) : `${slots} of ${wanted}`],
  ["same", ({ same_cycles: cycles }) => number(cycles)],
  ["boot", ({ boot_cycles: cycles }) => number(cycles)],
  ["in turn", ({ sequential_cycles: cycles }) => number(cycles)],
  ["random", ({ random_cycles: cycles }) => number(cycles)],
  ["worst", ({ random_worst_cycles: cycles }) => number(cycles)],
  ["own faults", ({ fault_cycles: cycles }) => number(cycles)],
  ["discard", ({ own_discard_cycles: own, discard_cycles: cycles }) => number(own ?? cycles)],
  ["create", ({ create_ns: ns }) => time(ns)],
  ["flags", ({ flags_ns: ns }) => time(ns)],
  ["delete", ({ delete_ns: ns }) => time(ns)],
  ["refaults of it", ({ delete_refaults: refaults }) => number(refaults)],
  ["refaulting", ({ delete_refault_ns: ns }) => time(ns)],
  ["move", ({ move_ns: ns }) => time(ns)],
  ["refaults of it", ({ move_refaults: refaults }) => number(refaults)],
  ["refaulting", ({ move_refault_ns: ns }) => time(ns)],
  ["set-up", ({ setup_ns: ns }) => time(ns)],
  ["refaults of it", ({ setup_refaults: refaults }) => number(refaults)],
  ["refaulting", ({ setup_refault_ns: ns }) => time(ns)],
  ["bytes", ({ bytes }) => formatSize(Number(bytes))],
  ["of 8", ({ guest_of_8_bytes: bytes }) => formatSize(Number(bytes))],
  ["per page", ({ metadata_bytes: bytes }) => formatSize(Number(bytes))],
  ["devices", ({ devices_typical: typical, devices_worst: worst }) => `${typical}/${worst}`],
];

type Value = MemslotsResult["row"][string];

function number(value: Value): string {
  return typeof value === "number" ? String(Math.round(value)) : "-";
}

function time(value: Value): string {
  return typeof value === "number" ? formatDuration(value) : "-";
}

/** One line for each table and guest; columns that no row fills are left out. */
function comparison(results: readonly MemslotsResult[]): string {
  const rows = results.map(({ row }) => SHOWN.map(([, cell]) => cell(row)));
  const kept = SHOWN.map((_, column) => column).filter((column) => rows.some((row) => row[column] !== "-"));
  const table = [SHOWN.map(([title]) => title), ...rows].map((row) => kept.map((column) => row[column]));
  // Two texts stand at the left.
  const width = Math.max(...table.map(([name]) => name.length));
  return formatTable(table.map(([name, guest, ...others]) => [`${name.padEnd(width)}  ${guest}`, ...others]));
}

function sumText(terms: readonly ByteTerm[]): string {
  const sum = terms.reduce((all, { bytes }) => all + bytes, 0);
  return `${terms.map(({ what, bytes }) => `${what} = ${bytes}`).join("; ")}; together ${sum} bytes`;
}

function explained(results: readonly Finished[]): string {
  const tables = results.map(({ row, terms, refused, scenario }) =>
    `${axesText(scenario.axes)}${row.table}, ${row.guest}: ${sumText(terms)}${
      refused === undefined ? "" : `\n  refused ${refused}`
    }\n`
  );
  const quoted = figures().map((one) => `${one.name}: ${sumText(one.terms)} (${one.target} in ${one.source})\n`);
  return `\nbytes of each table\n${tables.join("")}\nbytes that the threads quote\n${quoted.join("")}`;
}
