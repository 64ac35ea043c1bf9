/** The command `memslots`: every table of memory slots with every guest of a scenario, one table and a result folder. */
import { InputError } from "../core/options.ts";
import { CLOCK_GHZ, LOOKUP_COSTS, UPDATE_COSTS } from "../kvm/costs.ts";
import { figureBytes, figures } from "../kvm/figures.ts";
import type { ByteTerm } from "../kvm/slot_table.ts";
import { decodeText } from "../load.ts";
import { formatDuration, formatSize } from "../memory/units.ts";
import { type MemslotsResult, runMemslots, type SimulatedLookups, simulatedLookups } from "../memslots_run.ts";
import { type GuestSlots, loadMemslots, type MemslotsScenario, type SimulationSpec } from "../memslots_scenario.ts";
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
  const scenario = refusing(() => loadMemslots(`${decodeText(readFile(full, path), path)}\n`, path));
  const simulations = await simulate(io, scenario, folderOf(full), registries);
  const results = refusing(() => [...runMemslots(scenario, (spec) => simulations.get(spec)!)], scenario);
  const { target, shown } = resultPlace(io, scenario.name, options.out);
  const folder = new ResultFolder(target, shown, options.command);
  folder.open(false);
  folder.write("summary.csv", summaryCsv(results.map(({ row, refused }) => ({ ...row, refused })), ["refused"]));
  folder.write("manifest.json", manifestOf(scenario, results, options.command));
  folder.commit();
  if (options.json) {
    const runs = results.map(({ row, refused, terms }) => ({ ...row, refused, ...(options.explain ? { terms } : {}) }));
    const quoted = options.explain ? { figures: figures().map((one) => ({ ...one, bytes: figureBytes(one) })) } : {};
    io.out(JSON.stringify({ out: shown, runs, ...quoted }, null, 2) + "\n");
    return DONE;
  }
  io.out(comparison(results));
  if (options.explain) io.out(explained(results));
  io.out(`\nseed ${scenario.seed}; cycles of lookups, times at ${CLOCK_GHZ} GHz; results in ${shown}\n`);
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

/** Runs the scenarios whose faults and discards are asked for. */
async function simulate(
  io: Io,
  { guests, explain }: MemslotsScenario,
  folder: string,
  registries: Registries,
): Promise<ReadonlyMap<GuestSlots, SimulatedLookups>> {
  const simulations = new Map<GuestSlots, SimulatedLookups>();
  for (const guest of guests) {
    if (guest.kind !== "simulation") continue;
    try {
      const loaded = await openScenario(
        { ...io, userFolder: folder },
        (guest satisfies SimulationSpec).scenario,
        { settings: [], reps: 1 },
        registries,
      );
      simulations.set(guest, simulatedLookups(loaded));
    } catch (error) {
      if (!(error instanceof UsageError) && !(error instanceof LoadError)) throw error;
      throw new UsageError(explain(new InputError([...guest.path, "scenario"], error.message)));
    }
  }
  return simulations;
}

function manifestOf(
  { name, seed, filled }: MemslotsScenario,
  results: readonly MemslotsResult[],
  command: readonly string[],
): string {
  const manifest = {
    hintsim: VERSION,
    format: 1,
    name,
    command,
    seed,
    scenario: filled,
    costs: { lookup: LOOKUP_COSTS, update: UPDATE_COSTS, clockGhz: CLOCK_GHZ },
    runs: results.map(({ row, refused }) => ({ run: row.run, refused })),
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
  ["delete", ({ delete_ns: ns }) => time(ns)],
  ["refaults", ({ delete_refaults: refaults }) => number(refaults)],
  ["set-up", ({ setup_ns: ns }) => time(ns)],
  ["refaults of it", ({ setup_refaults: refaults }) => number(refaults)],
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

function explained(results: readonly MemslotsResult[]): string {
  const tables = results.map(({ row, terms, refused }) =>
    `${row.run}: ${sumText(terms)}${refused === undefined ? "" : `\n  refused ${refused}`}\n`
  );
  const quoted = figures().map((one) => `${one.name}: ${sumText(one.terms)} (${one.target} in ${one.source})\n`);
  return `\nbytes of each table\n${tables.join("")}\nbytes that the threads quote\n${quoted.join("")}`;
}
