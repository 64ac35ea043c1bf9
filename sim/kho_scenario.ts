/** Scenarios of the laboratory of handovers: which machine, which trackers and restores, what is preserved. */
import { z } from "zod";
import {
  choice,
  duration,
  type Field,
  field,
  InputError,
  integer,
  type Options,
  parseOptions,
  show,
  size,
  sizeSchema,
  unknownName,
} from "./core/options.ts";
import { khoCostProfiles, type KhoCosts, khoCostsOf } from "./kho/costs.ts";
import { trackers, trackersAndPosted } from "./kho/mod.ts";
import { type RestoreMode, RESTORES } from "./kho/restore.ts";
import { bootPages, type KhoLayout, khoLayout, scratchDefault } from "./kho/scratch.ts";
import type { TrackerPlugin } from "./kho/tracker.ts";
import type { KhoWorkloadPlugin } from "./kho/workloads/workload.ts";
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

/** A workload with its options. */
export interface KhoWorkloadSpec {
  /** Kind, and the options that the scenario gives. */
  readonly label: string;
  /** The plug-in. */
  readonly plugin: KhoWorkloadPlugin;
  /** Its parsed options. */
  readonly options: unknown;
  /** Where it stands in the scenario. */
  readonly path: Path;
}

/** The options of `kho` beside workload and costs. */
export interface KhoOptions {
  /** Memory of the machine, bytes. */
  readonly memory: number;
  /** Names of the trackers. */
  readonly trackers: readonly string[];
  /** Ways to restore. */
  readonly restore: readonly RestoreMode[];
  /** Size of scratch, bytes. */
  readonly scratch: number | "auto";
  /** Time over which the calls come, ns. */
  readonly over: number;
  /** Regions that the successor reserves before it restores. */
  readonly bootRegions: number;
  /** Threads that initialise page descriptors. */
  readonly threads: number;
}

/** A scenario, ready to be run. */
export interface KhoScenario extends KhoOptions {
  /** Name, for the output folder. */
  readonly name: string;
  /** Seed of all random streams. */
  readonly seed: number;
  /** Its values on the axes of the grid that vary. */
  readonly axes: readonly AxisValue[];
  /** The machine. */
  readonly layout: KhoLayout;
  /** The trackers. */
  readonly plugins: readonly TrackerPlugin[];
  /** What is preserved: each workload is a comparison of its own. */
  readonly workloads: readonly KhoWorkloadSpec[];
  /** What things take, ns. */
  readonly costs: KhoCosts;
  /** The input with all defaults filled in. */
  readonly filled: Raw;
  /** Turns a problem into one sentence with its place. */
  readonly explain: (error: InputError) => string;
}

/** A list of names; see {@link listed} for a single one. */
function names<T extends string>(known: readonly T[], value: readonly T[], summary: string): Field<readonly T[]> {
  const schema = z.array(z.enum(known as unknown as [T, ...T[]])).min(1)
    .refine((list) => new Set(list).size === list.length, "a name stands there twice");
  return field(schema as unknown as z.ZodType<readonly T[]>, value, { summary });
}

/** The options of `kho`. */
export const KHO: Options<KhoOptions> = {
  fields: {
    memory: size("64GiB", 2 ** 28, 2 ** 44, { summary: "memory of the machine" }),
    trackers: names(
      trackersAndPosted.map(({ name }) => name),
      trackers.map(({ name }) => name),
      "designs that remember",
    ),
    restore: names(RESTORES, RESTORES, "how the successor takes over"),
    scratch: field(z.union([z.literal("auto"), sizeSchema(PAGE_SIZE, 2 ** 44)]), "auto", {
      summary: "memory in which the successor boots; auto is twice what a kernel reserves at boot",
      unit: "bytes",
      source: "kho_scratch=200%, kernel/kexec_handover.c",
    }),
    over: duration("10s", { summary: "time over which the calls come", source: "assumed" }),
    bootRegions: integer(32, 1, 126, {
      summary: "regions that the successor has reserved when the restore begins; they lie before what is preserved",
      source: "assumed; x86-64 logs with memblock=debug show 10 to 60",
    }),
    threads: integer(0, 0, 39, {
      summary: "threads that initialise page descriptors; 0 without deferred initialisation, which KHO excludes",
      source: "kernel/Kconfig.kexec: KEXEC_HANDOVER depends on !DEFERRED_STRUCT_PAGE_INIT; threads: S1",
    }),
  },
};

const COSTS = {
  profile: choice<string>("kho-2025", khoCostProfiles.map(({ name }) => name), { summary: "profile of costs" }),
};

/** Keys whose lists are compared. */
const LISTS: readonly string[] = ["trackers", "restore", "workload"];

/** Several values of a setting, and lists, are what is compared, or an axis of a grid. */
const GRID: LabGridShape = {
  section: "kho",
  keys: [...Object.keys(KHO.fields), "workload", "costs"],
  takesList: ([section, key, ...inner]) =>
    section === "kho" && (inner.length === 0 ? LISTS.includes(key) : key === "workload" && inner.at(-1) === "calls"),
  shortFor: ([section, key, ...inner]) => {
    if (section !== "kho" || inner.some((one) => !/^\d+$/.test(one))) return undefined;
    return key === "workload" ? "kind" : key === "costs" ? "profile" : undefined;
  },
};

/**
 * Reads a scenario with the settings of the command line: one for each combination of the axes, the first varying slowest.
 * `label` names it in messages. Throws {@link LoadError}.
 */
export function loadKho(
  source: string,
  label: string,
  known: readonly KhoWorkloadPlugin[],
  settings: readonly Setting[] = [],
): readonly KhoScenario[] {
  const { input, places } = readYaml(source, label, settings);
  try {
    return labGrid(input, settings, GRID).map((run) => ({ ...parseKho(run.input, places, known), axes: run.axes }));
  } catch (error) {
    throw error instanceof InputError ? new LoadError(places.sentence(error)) : error;
  }
}

function parseKho(input: unknown, places: Places, known: readonly KhoWorkloadPlugin[]): Omit<KhoScenario, "axes"> {
  if (typeof input !== "object" || input === null || Array.isArray(input)) {
    throw new InputError([], `${show(input)} is not a scenario: wanted is a mapping that begins with hintsim: 1`);
  }
  refuseOtherKind(input as Raw, "kho");
  const { kho, until, ...rest } = input as Raw;
  if (until !== undefined) throw new InputError(["until"], "a handover ends when the successor runs; leave until out");
  const top = parseOptions(TOP, rest, [], ["kho"]);
  if (kho === undefined) throw new InputError([], "no kho is given; this is not a scenario of a handover");
  const { value, filled } = parseOptions(KHO, listed(kho), ["kho"], ["workload", "costs"]);
  const { workload, costs: rawCosts } = kho as Raw;
  const workloads = parseWorkloads(workload, known);
  const costs = parseCosts(rawCosts);
  return {
    ...value,
    name: top.value.name ?? "kho",
    seed: top.value.seed,
    layout: layoutOf(value),
    plugins: value.trackers.map((name) => trackersAndPosted.find((one) => one.name === name)!),
    workloads: workloads.map(({ spec }) => spec),
    costs: costs.value,
    filled: {
      ...top.filled,
      kho: { ...filled, workload: workloads.map((one) => one.filled), costs: costs.filled },
    },
    explain: (error) => places.sentence(error),
  };
}

/** A single tracker or restore is a list of one. */
function listed(kho: unknown): unknown {
  if (typeof kho !== "object" || kho === null || Array.isArray(kho)) return kho;
  const raw: Record<string, unknown> = { ...kho };
  for (const key of ["trackers", "restore"]) if (typeof raw[key] === "string") raw[key] = [raw[key]];
  return raw;
}

function layoutOf({ memory, scratch, bootRegions }: KhoOptions): KhoLayout {
  if (memory % PAGE_SIZE !== 0) throw new InputError(["kho", "memory"], `${memory} bytes are not whole pages of 4 KiB`);
  const pages = memory / PAGE_SIZE;
  const scratchPages = scratch === "auto" ? scratchDefault(pages) : scratch / PAGE_SIZE;
  if (!Number.isInteger(scratchPages)) {
    throw new InputError(["kho", "scratch"], `${scratch} bytes are not whole pages of 4 KiB`);
  }
  const needed = bootPages(pages) + bootRegions;
  if (scratchPages < needed) {
    throw new InputError(
      ["kho", "scratch"],
      `${scratchPages * PAGE_SIZE} bytes are too few: the successor boots in them, and its page descriptors and own ` +
        `regions take ${needed * PAGE_SIZE}`,
    );
  }
  try {
    return khoLayout(pages, scratchPages);
  } catch (error) {
    throw new InputError(["kho", scratch === "auto" ? "memory" : "scratch"], (error as Error).message);
  }
}

interface ParsedWorkload {
  readonly spec: KhoWorkloadSpec;
  readonly filled: unknown;
}

/** One workload or a list of them, where an option with several values makes several workloads. */
function parseWorkloads(input: unknown, known: readonly KhoWorkloadPlugin[]): ParsedWorkload[] {
  const list = Array.isArray(input) ? input : [input];
  if (list.length === 0) throw new InputError(["kho", "workload"], "the list is empty");
  const all = list.flatMap((entry, index) => {
    const path = ["kho", "workload", ...(Array.isArray(input) ? [index] : [])];
    const isMapping = typeof entry === "object" && entry !== null && !Array.isArray(entry);
    return (isMapping ? variants(entry as Raw, path, ["calls"]) : [entry]).map((one) =>
      parseWorkload(one, path, known)
    );
  });
  refuseTwice(all.map(({ spec }) => spec));
  return all;
}

function parseWorkload(input: unknown, path: Path, known: readonly KhoWorkloadPlugin[]): ParsedWorkload {
  const raw = typeof input === "string" ? { kind: input } : input;
  if (typeof raw !== "object" || raw === null || Array.isArray(raw)) {
    throw new InputError(path, input === undefined ? "no workload is given" : `${show(input)} is not a workload`);
  }
  const { kind, ...given } = raw as Raw;
  if (kind === undefined) throw new InputError(path, "the workload has no kind");
  const plugin = known.find(({ name }) => name === kind);
  if (plugin === undefined) {
    const problem = unknownName(
      "workload",
      typeof kind === "string" ? kind : show(kind),
      known.map(({ name }) => name),
    );
    throw new InputError([...path, "kind"], problem);
  }
  const { value, filled } = parseOptions(plugin.options, given, path, ["kind"]);
  const shown = Object.entries(given).filter(([, one]) => typeof one !== "object").map(([key, one]) => `${key}=${one}`);
  const label = [plugin.name, ...shown].join(" ");
  return { spec: { label, plugin, options: value, path }, filled: { kind, ...filled } };
}

/** A profile by its name, or one with some of its costs replaced. */
function parseCosts(input: unknown): { readonly value: KhoCosts; readonly filled: Raw } {
  const path = ["kho", "costs"];
  const raw = (typeof input === "string" ? { profile: input } : input ?? {}) as Raw;
  const { profile: name, ...given } = raw;
  const { value: { profile }, filled } = parseOptions<{ profile: string }>({ fields: COSTS }, { profile: name }, path);
  const costs: Record<string, number> = { ...khoCostsOf(khoCostProfiles.find((one) => one.name === profile)!) };
  for (const [key, value] of Object.entries(given)) {
    if (!(key in costs)) throw new InputError([...path, key], unknownName("cost", key, Object.keys(costs)));
    if (typeof value !== "number" || !(value >= 0 && value <= 1e12)) {
      throw new InputError([...path, key], `${show(value)} is not a time in ns from 0 to 1e12`);
    }
    costs[key] = value;
  }
  return { value: costs as unknown as KhoCosts, filled: { ...filled, ...given } };
}
