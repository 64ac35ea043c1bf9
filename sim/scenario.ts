/**
 * A scenario of one run: from the input form (what a file says, with the axes of a grid already fixed) to what the assembly
 * needs. Everything unknown or out of range is refused with its place.
 */
import { z } from "zod";
import { type EncodingEntry, type EncodingOptions, encodings } from "./abi/mod.ts";
import {
  duration,
  type Field,
  field,
  inOption,
  InputError,
  integer,
  type Options,
  parseField,
  parseOptions,
  show,
  unknownName,
} from "./core/options.ts";
import type { PolicyPlugin, WorkloadPlugin } from "./guest/plugin.ts";
import { type CostProfile, costProfiles } from "./host/costs.ts";
import { refuseOtherKind } from "./scenario_kind.ts";
import { PAGE_SIZE } from "./memory/range.ts";
import {
  HOST,
  type HostOptions,
  MACHINE,
  type MachineOptions,
  OUTPUT,
  type OutputOptions,
  TOP,
  TRANSPORT,
  type TransportOptions,
} from "./scenario_options.ts";

/** The plug-ins that a scenario may name; the top of the program hands them down. */
export interface Registries {
  /** Policies. */
  readonly policies: readonly PolicyPlugin[];
  /** Workloads. */
  readonly workloads: readonly WorkloadPlugin[];
  /** Paths of the modules that policies came from, as the user wrote them, by the name of the policy. */
  readonly paths?: ReadonlyMap<string, string>;
}

/** Keys that hold something with a kind; a name alone stands for `{kind: name}`. */
export const KIND_KEYS: readonly string[] = ["workload", "policy", "encoding", "transport"];

/** Keys of a scenario below the top ones. */
const SECTIONS = ["machine", "workload", "policy", "encoding", "transport", "host", "guests", "output"];

/** A workload with its parsed options. */
export interface WorkloadSpec {
  /** The plug-in. */
  readonly plugin: WorkloadPlugin;
  /** Its parsed options. */
  readonly options: unknown;
  /** The workloads that it is made of. */
  readonly children: readonly WorkloadSpec[];
  /** Where it stands in the scenario. */
  readonly path: readonly (string | number)[];
}

/** A policy with its parsed options. */
export interface PolicySpec {
  /** The plug-in. */
  readonly plugin: PolicyPlugin;
  /** Its parsed options. */
  readonly options: unknown;
}

/** One guest, or several alike. */
export interface GuestSpec {
  /** When it starts, ns. */
  readonly startNs: number;
  /** Its machine. */
  readonly machine: MachineOptions;
  /** Its workload. */
  readonly workload: WorkloadSpec;
  /** Its policy. */
  readonly policy: PolicySpec;
  /** Where its machine stands in the scenario. */
  readonly path: readonly (string | number)[];
}

/** A scenario, ready to be assembled. */
export interface Scenario {
  /** Name, for the output folder. */
  readonly name: string | undefined;
  /** Seed of all random streams. */
  readonly seed: number;
  /** When the run ends, ns; Infinity when its workload decides. */
  readonly untilNs: number;
  /** The guests. */
  readonly guests: readonly GuestSpec[];
  /** The encoding, and its options. */
  readonly encoding: { readonly entry: EncodingEntry; readonly options: EncodingOptions };
  /** The way to the host. */
  readonly transport: TransportOptions;
  /** The host. */
  readonly host: HostOptions;
  /** Its costs. */
  readonly costs: CostProfile;
  /** What is written. */
  readonly output: OutputOptions;
  /** The input with all defaults filled in. */
  readonly filled: Readonly<Record<string, unknown>>;
}

type Path = readonly (string | number)[];
type Raw = Readonly<Record<string, unknown>>;

/** Checks a scenario. Throws {@link InputError} at its first problem. */
export function parseScenario(raw: unknown, registries: Registries): Scenario {
  if (typeof raw !== "object" || raw === null || Array.isArray(raw)) {
    throw new InputError([], `${show(raw)} is not a scenario: wanted is a mapping that begins with hintsim: 1`);
  }
  const input = raw as Raw;
  refuseOtherKind(input, "run");
  const top = parseOptions(TOP, input, [], SECTIONS);
  const host = parseOptions(HOST, input.host, ["host"]);
  const transport = parseOptions(TRANSPORT, kindOf(input.transport), ["transport"]);
  const encoding = parseEncoding(input.encoding ?? "pfn-len");
  const output = parseOptions(OUTPUT, input.output, ["output"]);
  const { guests, filled } = parseGuests(input, registries);
  return {
    name: top.value.name,
    seed: top.value.seed,
    untilNs: top.value.until ?? Infinity,
    guests,
    encoding,
    transport: transport.value,
    host: host.value,
    costs: costProfiles.find(({ name }) => name === host.value.costs)!,
    output: output.value,
    filled: {
      ...top.filled,
      ...filled,
      encoding: encoding.filled,
      transport: transport.filled,
      host: host.filled,
      output: output.filled,
    },
  };
}

function kindOf(input: unknown): unknown {
  return typeof input === "string" ? { kind: input } : input;
}

function parseEncoding(input: unknown): Scenario["encoding"] & { filled: unknown } {
  const raw = kindOf(input) as Raw | null;
  const name = raw?.kind;
  const entry = encodings.find((candidate) => candidate.name === name);
  const names = encodings.map((candidate) => candidate.name);
  if (entry === undefined) throw new InputError(["encoding", "kind"], unknownKind("encoding", name ?? input, names));
  const { value: options } = parseOptions(entry.options, raw, ["encoding"], ["kind"]);
  const { kind: _, ...given } = raw!;
  try {
    entry.create(options);
  } catch (error) {
    throw new InputError(["encoding", ...Object.keys(given).slice(0, 1)], (error as Error).message);
  }
  return { entry, options, filled: Object.keys(given).length === 0 ? name : { kind: name, ...given } };
}

const GUEST_KEYS = ["machine", "workload", "policy"];

interface GuestGroup {
  readonly count: number;
  readonly start: number;
}

const GUEST: Options<GuestGroup> = {
  fields: {
    count: integer(1, 1, 1000, { summary: "how many guests alike" }),
    start: duration("0s", { summary: "when they start" }),
  },
};

function parseGuests(input: Raw, registries: Registries): { guests: GuestSpec[]; filled: Record<string, unknown> } {
  if (input.guests === undefined) {
    const { filled, ...guest } = parseGuest(input, [], 0, registries);
    return { guests: [guest], filled };
  }
  for (const key of GUEST_KEYS) {
    if (input[key] !== undefined) {
      throw new InputError([key], `${key} stands beside guests; say it inside of each guest`);
    }
  }
  const groups = parseField(field(z.array(z.unknown()).min(1).max(1000), undefined, { summary: "" }), input.guests, [
    "guests",
  ]);
  const guests: GuestSpec[] = [];
  const filled = groups.map((group, index) => {
    const path = ["guests", index];
    const { value, filled } = parseOptions(GUEST, group, path, GUEST_KEYS);
    const { filled: parts, ...guest } = parseGuest(group as Raw, path, value.start, registries);
    for (let copy = 0; copy < value.count; copy++) guests.push(guest);
    return { ...filled, ...parts };
  });
  if (guests.length > 1000) throw new InputError(["guests"], `${guests.length} guests are more than 1000`);
  return { guests, filled: { guests: filled } };
}

function parseGuest(input: Raw, path: Path, startNs: number, registries: Registries): GuestSpec & { filled: Raw } {
  const machine = parseOptions(MACHINE, input.machine, [...path, "machine"]);
  const { memory } = machine.value;
  if (memory !== undefined && memory % PAGE_SIZE !== 0) {
    throw new InputError([...path, "machine", "memory"], `${memory} bytes are not whole pages of 4 KiB`);
  }
  const workload = parseWorkload(input.workload, [...path, "workload"], registries);
  const policy = parsePolicy(input.policy ?? "none", [...path, "policy"], registries);
  return {
    startNs,
    machine: machine.value,
    workload: workload.spec,
    policy: policy.spec,
    path: [...path, "machine"],
    filled: { machine: machine.filled, workload: workload.filled, policy: policy.filled },
  };
}

function unknownKind(what: string, kind: unknown, names: readonly string[]): string {
  return typeof kind === "string" ? unknownName(what, kind, names) : `${show(kind)} is not the name of a ${what}`;
}

function find<T extends { readonly name: string }>(plugins: readonly T[], what: string, raw: unknown, path: Path): T {
  if (typeof raw !== "object" || raw === null || Array.isArray(raw)) {
    throw new InputError(path, raw === undefined ? `no ${what} is given` : `${show(raw)} is not a ${what}`);
  }
  const { kind } = raw as Raw;
  if (kind === undefined) throw new InputError(path, `the ${what} has no kind`);
  const plugin = plugins.find(({ name }) => name === kind);
  if (plugin !== undefined) return plugin;
  throw new InputError([...path, "kind"], unknownKind(what, kind, plugins.map(({ name }) => name)));
}

function parsePolicy(input: unknown, path: Path, registries: Registries): { spec: PolicySpec; filled: unknown } {
  const raw = kindOf(input);
  const plugin = find(registries.policies, "policy", raw, path);
  const { value, filled } = parseOptions(plugin.options, raw, path, ["kind"]);
  return {
    spec: { plugin, options: value },
    filled: { kind: registries.paths?.get(plugin.name) ?? plugin.name, ...filled },
  };
}

function parseWorkload(input: unknown, path: Path, registries: Registries): { spec: WorkloadSpec; filled: unknown } {
  const list = Array.isArray(input);
  const raw = list ? { kind: "phases", phases: input } : kindOf(input);
  const plugin = find(registries.workloads, "workload", raw, path);
  let parsed;
  try {
    parsed = parseOptions(plugin.options, raw, path, ["kind"]);
  } catch (error) {
    if (!list || !(error instanceof InputError)) throw error;
    throw new InputError([...path, ...error.path.slice(path.length + 1)], error.message);
  }
  const { value, filled: written } = parsed;
  const filledIn = inOption(path, () => plugin.fill(value, written));
  const filled = structuredClone({ kind: plugin.name, ...filledIn }) as Record<string, unknown>;
  const children = plugin.children(value).map(({ config, path: inner }) => {
    const child = parseWorkload(config, [...path, ...(list ? inner.slice(1) : inner)], registries);
    const [key, index] = inner as [string, number];
    const said = (filled[key] as Raw[])[index];
    (filled[key] as unknown[])[index] = { ...said, ...child.filled as Raw };
    return child.spec;
  });
  return { spec: { plugin, options: value, children, path }, filled };
}

/** Every field of a scenario by its dotted path, for `--set` and for what is a list by itself. */
export function fieldAt(path: readonly string[], registries: Registries): Field | undefined {
  const [section, key] = path[0] === "guests" ? path.slice(2) : path;
  const options: Readonly<Record<string, Options<unknown>>> = {
    machine: MACHINE as Options<unknown>,
    transport: TRANSPORT as Options<unknown>,
    host: HOST as Options<unknown>,
    output: OUTPUT as Options<unknown>,
  };
  if (key === undefined) return (TOP.fields as Readonly<Record<string, Field>>)[section];
  const named = (set: Options<unknown> | undefined) =>
    (set?.fields as Readonly<Record<string, Field>> | undefined)?.[key];
  if (options[section] !== undefined) return named(options[section]);
  const plugins = section === "policy" ? registries.policies : section === "workload" ? registries.workloads : [];
  for (const plugin of plugins) {
    const found = named(plugin.options);
    if (found !== undefined) return found;
  }
  return undefined;
}
