/**
 * Scenarios of the laboratory of memory slots: which tables, which guests, what is asked of them.
 *
 * A guest is a layout of slots (sim/kvm/layouts.ts), a list of calls as a VMM makes them, or a scenario that is simulated, whose
 * faults and discards are the lookups.
 */
import { z } from "zod";
import {
  type Field,
  field,
  InputError,
  integer,
  type Options,
  parseField,
  parseOptions,
  show,
  size,
  sizeSchema,
  text,
  unknownName,
} from "./core/options.ts";
import { type LayoutPlugin, layouts } from "./kvm/layouts.ts";
import type { MemoryRegion } from "./kvm/memory_region.ts";
import { slotTables } from "./kvm/mod.ts";
import type { SlotTablePlugin } from "./kvm/slot_table.ts";
import type { AxisValue, Setting } from "./grid.ts";
import { labGrid, type LabGridShape, refuseTwice, variants } from "./lab_grid.ts";
import { readYaml } from "./load.ts";
import { PAGE_SIZE } from "./memory/range.ts";
import type { Places } from "./places.ts";
import { refuseOtherKind } from "./scenario_kind.ts";
import { TOP } from "./scenario_options.ts";
import { LoadError } from "./unpack.ts";

type Path = readonly (string | number)[];
type Raw = Readonly<Record<string, unknown>>;

/** A table with its options. */
export interface TableSpec {
  /** Kind and the options that differ from their defaults. */
  readonly label: string;
  /** The design. */
  readonly plugin: SlotTablePlugin;
  /** Its parsed options. */
  readonly options: unknown;
  /** Where it stands in the scenario. */
  readonly path: Path;
}

/** Calls that make the slots of a guest. */
export interface LayoutSpec {
  /** What they come from. */
  readonly kind: "layout" | "calls";
  /** Kind and options. */
  readonly label: string;
  /** The calls in order. */
  readonly regions: readonly MemoryRegion[];
  /** Where it stands in the scenario. */
  readonly path: Path;
}

/** A scenario whose faults and discards are the lookups. */
export interface SimulationSpec {
  /** Tells it from the others. */
  readonly kind: "simulation";
  /** The file. */
  readonly label: string;
  /** Path of the scenario, relative to this one. */
  readonly scenario: string;
  /** Slots that the guest's memory is cut into. */
  readonly slots: number;
  /** Where it stands in the scenario. */
  readonly path: Path;
}

/** A guest. */
export type GuestSlots = LayoutSpec | SimulationSpec;

/** The laboratory's options beside tables and guests. */
export interface LabOptions {
  /** Lookups of each stream. */
  readonly lookups: number;
  /** vCPUs that ask in turn. */
  readonly vcpus: number;
  /** Kernel memory for the slots of a VM, bytes. */
  readonly memory: number;
  /** Bytes that one mapping of EPT covers. */
  readonly mapping: number;
  /** Bytes of a discard. */
  readonly discard: number;
}

/** A scenario, ready to be run. */
export interface MemslotsScenario {
  /** Name, for the output folder. */
  readonly name: string;
  /** Seed of the streams. */
  readonly seed: number;
  /** Its values on the axes of the grid that vary. */
  readonly axes: readonly AxisValue[];
  /** The tables. */
  readonly tables: readonly TableSpec[];
  /** The guests. */
  readonly guests: readonly GuestSlots[];
  /** The rest. */
  readonly lab: LabOptions;
  /** The input with all defaults filled in. */
  readonly filled: Raw;
  /** Turns a problem into one sentence with its place. */
  readonly explain: (error: InputError) => string;
}

const LAB: Options<LabOptions> = {
  fields: {
    lookups: integer(10_000, 1, 1e7, { summary: "lookups of each stream" }),
    vcpus: integer(4, 1, 1024, { summary: "vCPUs that ask in turn" }),
    memory: size("1GiB", 4096, 2 ** 50, { summary: "kernel memory for the slots of a VM" }),
    mapping: size("2MiB", 4096, 2 ** 30, { summary: "bytes that one mapping of EPT covers; all slots are mapped" }),
    discard: size("2MiB", 4096, 2 ** 40, { summary: "bytes of a discard, for the walk by VMM address" }),
  },
};

const SIMULATION: Options<{ scenario: string; slots: number }> = {
  fields: {
    scenario: text(undefined, { summary: "the scenario, beside this file" }),
    slots: integer(64, 1, 32_764, { summary: "slots that the guest's memory is cut into" }),
  },
};

const CALL = z.strictObject({
  slot: z.int().min(0).max(65_535),
  gpa: sizeSchema(),
  size: sizeSchema(),
  hva: sizeSchema(),
  flags: z.int().min(0).max(2 ** 32 - 1).default(0),
});

const CALLS = field(z.array(CALL).min(1) as unknown as z.ZodType<readonly MemoryRegion[]>, undefined, {
  summary: "calls of KVM_SET_USER_MEMORY_REGION: slot, gpa, size (0 deletes), hva, flags",
});

/** Options of a table or a guest with several values are several tables or guests by themselves; see {@link listOf}. */
const LISTS: readonly string[] = ["tables", "guests"];

const GRID: LabGridShape = {
  section: "memslots",
  keys: [...Object.keys(LAB.fields), ...LISTS],
  takesList: ([section, key]) => section === "memslots" && LISTS.includes(key),
  shortFor: ([section, key, ...inner]) =>
    section === "memslots" && LISTS.includes(key) && inner.every((one) => /^\d+$/.test(one)) ? "kind" : undefined,
};

/**
 * Reads a scenario with the settings of the command line: one for each combination of the axes, the first varying slowest.
 * `label` names it in messages. Throws {@link LoadError}.
 */
export function loadMemslots(
  source: string,
  label: string,
  settings: readonly Setting[] = [],
): readonly MemslotsScenario[] {
  const { input, places } = readYaml(source, label, settings);
  try {
    return labGrid(input, settings, GRID).map((run) => ({ ...parseMemslots(run.input, places), axes: run.axes }));
  } catch (error) {
    throw error instanceof InputError ? new LoadError(places.sentence(error)) : error;
  }
}

function parseMemslots(input: unknown, places: Places): Omit<MemslotsScenario, "axes"> {
  if (typeof input !== "object" || input === null || Array.isArray(input)) {
    throw new InputError([], `${show(input)} is not a scenario: wanted is a mapping that begins with hintsim: 1`);
  }
  refuseOtherKind(input as Raw, "memslots");
  const { memslots, ...rest } = input as Raw;
  const top = parseOptions(TOP, rest, [], []);
  if (memslots === undefined) throw new InputError([], "no memslots are given; this is not a scenario of memory slots");
  const lab = parseOptions(LAB, memslots, ["memslots"], ["tables", "guests"]);
  refuseParts({ ...lab.value }, ["mapping", "discard"], ["memslots"]);
  const { tables: rawTables, guests: rawGuests } = memslots as Raw;
  const tables = listOf(rawTables ?? slotTables.map(({ name }) => name), ["memslots", "tables"], parseTable);
  const guests = listOf(rawGuests ?? "slots", ["memslots", "guests"], parseGuest);
  refuseTwice(tables.map(({ spec }) => spec));
  refuseTwice(guests.map(({ spec }) => spec));
  return {
    name: top.value.name ?? "memslots",
    seed: top.value.seed,
    tables: tables.map(({ spec }) => spec),
    guests: guests.map(({ spec }) => spec),
    lab: lab.value,
    filled: {
      ...top.filled,
      memslots: {
        tables: tables.map(({ filled }) => filled),
        guests: guests.map(({ filled }) => filled),
        ...lab.filled,
      },
    },
    explain: (error) => places.sentence(error),
  };
}

interface Parsed<T> {
  readonly spec: T;
  readonly filled: unknown;
}

/** Parses a list or a single entry; an option with several values makes several entries, as an axis of a grid. */
function listOf<T>(
  input: unknown,
  path: Path,
  parse: (kind: string, options: Raw, path: Path, label: string) => Parsed<T>,
): Parsed<T>[] {
  const list = Array.isArray(input) ? input : [input];
  if (list.length === 0) throw new InputError(path, "the list is empty");
  return list.flatMap((entry, index) => {
    const at = Array.isArray(input) ? [...path, index] : path;
    const raw = typeof entry === "string" ? { kind: entry } : entry;
    if (typeof raw !== "object" || raw === null || Array.isArray(raw) || typeof (raw as Raw).kind !== "string") {
      throw new InputError(at, `${show(entry)} has no kind`);
    }
    const { kind, ...options } = raw as Raw & { kind: string };
    return variants(options, at, ["calls"]).map((one) => parse(kind, one, at, labelOf(kind, one)));
  });
}

function labelOf(kind: string, options: Raw): string {
  const parts = kind === "calls" ? [] : Object.entries(options).map(([key, value]) => `${key}=${value}`);
  return [kind, ...parts].join(" ");
}

function parseTable(kind: string, options: Raw, path: Path, label: string): Parsed<TableSpec> {
  const plugin = found(slotTables, kind, "table", path);
  const { value, filled } = parseOptions(plugin.options, options, path);
  return { spec: { label, plugin, options: value, path }, filled: { kind, ...filled } };
}

function parseGuest(kind: string, options: Raw, path: Path, label: string): Parsed<GuestSlots> {
  if (kind === "simulation") {
    const { value, filled } = parseOptions(SIMULATION, options, path);
    const spec: SimulationSpec = { kind, label: `${value.scenario} slots=${value.slots}`, ...value, path };
    return { spec, filled: { kind, ...filled } };
  }
  if (kind === "calls") {
    const known = Object.keys(options).find((key) => key !== "calls");
    if (known !== undefined) throw new InputError([...path, known], unknownName("key", known, ["kind", "calls"]));
    const regions = parseField(CALLS, options.calls, [...path, "calls"]);
    return { spec: { kind, label, regions, path: [...path, "calls"] }, filled: { kind, calls: options.calls } };
  }
  const names = [...layouts.map(({ name }) => name), "calls", "simulation"];
  const plugin: LayoutPlugin = found(layouts, kind, "guest", path, names);
  const { value, filled } = parseOptions(plugin.options, options, path);
  const sizes = Object.entries<Field>(plugin.options.fields).filter(([, { unit }]) => unit === "bytes");
  refuseParts(value as Raw, sizes.map(([key]) => key), path);
  return { spec: { kind: "layout", label, regions: plugin.create(value), path }, filled: { kind, ...filled } };
}

/** Refuses sizes that are no whole pages: the kernel would refuse each slot. */
function refuseParts(value: Raw, keys: readonly string[], path: Path): void {
  for (const key of keys) {
    if (Number(value[key]) % PAGE_SIZE === 0) continue;
    throw new InputError([...path, key], `${value[key]} bytes are not whole pages of 4 KiB`);
  }
}

function found<T extends { readonly name: string }>(
  plugins: readonly T[],
  kind: string,
  what: string,
  path: Path,
  names: readonly string[] = plugins.map(({ name }) => name),
): T {
  const plugin = plugins.find(({ name }) => name === kind);
  if (plugin === undefined) throw new InputError([...path, "kind"], unknownName(what, kind, names));
  return plugin;
}
