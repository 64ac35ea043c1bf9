/**
 * Loading: everything that needs input and output, done before a run starts. A scenario and the files that it names become
 * runs whose simulation is pure.
 */
import { Document, LineCounter, parseAllDocuments } from "yaml";
import { InputError } from "./core/options.ts";
import { type AxisValue, expandGrid, parseSetting, type Setting, withoutCycles } from "./grid.ts";
import { type ImportPolicy, nameOutsidePolicies, type OutsidePolicy } from "./outside_policies.ts";
import type { PolicyPlugin } from "./guest/plugin.ts";
import { Places } from "./places.ts";
import { parseScenario, type Registries, type Scenario, type WorkloadSpec } from "./scenario.ts";
import { LoadError, unpack } from "./unpack.ts";

/** Reads a file, named relative to the scenario or as given. */
export type ReadFile = (path: string) => Promise<Uint8Array> | Uint8Array;

/** How a scenario is loaded. */
export interface LoadOptions {
  /** Reads files; needed when the scenario is a path or names files. What a scenario names is relative to its folder. */
  readonly read?: ReadFile;
  /** Settings as on the command line, `policy.order=9` or `policy.order=0,9`; several values make an axis. */
  readonly set?: readonly string[];
  /** Replications of each run, with random streams of their own. */
  readonly reps?: number;
  /** Name of the scenario in messages; the path when there is one. */
  readonly label?: string;
  /** Policies of the program's own, which the scenario may name beside those of hintsim. */
  readonly policies?: readonly PolicyPlugin[];
}

/** How the command line loads a scenario. */
export interface CommandLoadOptions extends LoadOptions {
  /** Settings that were written another way, such as `--seed`; they come before those of {@link LoadOptions.set}. */
  readonly settings?: readonly Setting[];
  /** Imports policies that are named by the path of a module. */
  readonly importPolicy?: ImportPolicy;
}

/** What is known of a run before it is simulated. */
export interface RunInfo {
  /** Name: the axes that vary, or `run`. */
  readonly name: string;
  /** Its values on the axes of the grid. */
  readonly axes: readonly AxisValue[];
  /** Replication, from 0. */
  readonly rep: number;
}

/** A scenario with its files, ready to be simulated. */
export interface Loaded {
  /** Name, for the output folder. */
  readonly name: string;
  /** The runs, the first axis varying slowest. */
  readonly runs: readonly RunInfo[];
  /** Lines that the user should see. */
  readonly notices: readonly string[];
}

/** One run with its scenario. */
export interface LoadedRun extends RunInfo {
  /** The scenario. */
  readonly scenario: Scenario;
}

/** What {@link loadScenario} makes. */
export class LoadedScenario implements Loaded {
  /** Name, for the output folder. */
  readonly name: string;
  /** The runs, the first axis varying slowest. */
  readonly runs: readonly LoadedRun[];
  /** Lines that the user should see. */
  readonly notices: readonly string[];
  /** Files as they were read, compressed or not, by the name in the scenario. */
  readonly files: ReadonlyMap<string, Uint8Array>;
  #unpacked: ReadonlyMap<string, Uint8Array>;
  #places: Places;
  #outside: readonly OutsidePolicy[];

  /** Puts together what was read. */
  constructor(
    runs: readonly LoadedRun[],
    notices: readonly string[],
    read: FilesRead,
    places: Places,
    outside: readonly OutsidePolicy[],
  ) {
    this.name = runs[0].scenario.name ?? "scenario";
    this.runs = runs;
    this.notices = notices;
    this.files = new Map([...read.files, ...outside.flatMap(({ files }) => [...files])]);
    this.#unpacked = read.unpacked;
    this.#places = places;
    this.#outside = outside;
  }

  /** The decompressed bytes of a file. */
  file(path: string): Uint8Array {
    return this.#unpacked.get(path)!;
  }

  /** Turns a problem of a run into one sentence with its place. */
  explain(error: InputError): string {
    return this.#places.sentence(error);
  }

  /** What an error comes to that a policy from outside threw; undefined when none of them did. */
  explainPolicy(error: unknown): string | undefined {
    for (const { explain } of this.#outside) {
      const sentence = explain(error);
      if (sentence !== undefined) return sentence;
    }
    return undefined;
  }
}

interface FilesRead {
  readonly files: ReadonlyMap<string, Uint8Array>;
  readonly unpacked: ReadonlyMap<string, Uint8Array>;
}

/**
 * Loads a scenario: a path (read with `read`), the text of one (it holds a line break), or an object in input form.
 * Throws {@link LoadError}.
 */
export async function loadScenario(
  source: string | Readonly<Record<string, unknown>>,
  options: CommandLoadOptions,
  registries: Registries,
): Promise<LoadedScenario> {
  const lines = new LineCounter();
  let label = options.label ?? "scenario";
  let document: Document | undefined;
  let input: unknown = source;
  if (typeof source === "string") {
    const isText = source.includes("\n");
    if (!isText) label = options.label ?? source;
    const text = isText ? source : decodeText(await readOrFail(options.read, source), label);
    document = parseYaml(text, label, lines);
    input = toPlain(document, label);
  } else if (!isPlain(source)) throw new LoadError(`${label}: a value refers to itself`);
  const written = [
    ...options.settings ?? [],
    ...(options.set ?? []).map((text) => explaining(label, () => parseSetting(text, registries))),
  ];
  const places = new Places(label, document, lines, written);
  const refused = (error: unknown) => error instanceof InputError ? new LoadError(places.sentence(error)) : error;
  const guarded = <T>(run: () => T): T => {
    try {
      return run();
    } catch (error) {
      throw refused(error);
    }
  };
  const known = withOwn(registries, options.policies ?? []);
  const named = await nameOutsidePolicies(input, written, known, options.importPolicy).catch((error) => {
    throw refused(error);
  });
  const grid = guarded(() => expandGrid(named.input, named.settings, options.reps ?? 1, named.registries));
  const runs = grid.runs.map(({ name, axes, raw, rep }) => ({
    name,
    axes,
    rep,
    scenario: guarded(() => parseScenario(raw, named.registries)),
  }));
  // What a scenario names lies beside it.
  const folder = typeof source === "string" && !source.includes("\n") ? source.replace(/[^/]*$/, "") : "";
  const read = await readFiles(runs, options.read, folder).catch((error) => {
    throw refused(error);
  });
  return new LoadedScenario(runs, grid.notices, read, places, named.outside);
}

function explaining<T>(label: string, run: () => T): T {
  try {
    return run();
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    throw new LoadError(error.message.startsWith("--") ? error.message : `${label}: ${error.message}`);
  }
}

async function readOrFail(read: ReadFile | undefined, path: string): Promise<Uint8Array> {
  if (read === undefined) throw new LoadError(`${path}: cannot be read without a read function`);
  try {
    return await read(path);
  } catch (error) {
    throw error instanceof LoadError ? error : new LoadError((error as Error).message);
  }
}

/** The text of a scenario file. Throws {@link LoadError} when it is none. */
export function decodeText(bytes: Uint8Array, label: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new LoadError(`${label}: is not a text in UTF-8; wanted is a scenario in YAML`);
  }
}

/** The plain values of a YAML text, for scenarios of other kinds, and where its parts stand. Throws {@link LoadError}. */
export function readYaml(
  text: string,
  label: string,
  settings: readonly Setting[] = [],
): { readonly input: unknown; readonly places: Places } {
  const lines = new LineCounter();
  const document = parseYaml(text, label, lines);
  return { input: toPlain(document, label), places: new Places(label, document, lines, settings) };
}

function parseYaml(text: string, label: string, lines: LineCounter): Document {
  const [document, second] = parseAllDocuments(text, {
    lineCounter: lines,
    prettyErrors: false,
    logLevel: "silent",
  }) as Document[];
  if (document === undefined) return new Document(null);
  if (second !== undefined) {
    const { line } = lines.linePos(second.range?.[0] ?? 0);
    throw new LoadError(`${label}:${Math.max(1, line)}:1: a second document begins; wanted is one scenario`);
  }
  const [error] = document.errors;
  if (error === undefined) return document;
  const { line, col } = lines.linePos(error.pos[0]);
  throw new LoadError(`${label}:${Math.max(1, line)}:${Math.max(1, col)}: not YAML: ${oneLine(error.message)}`);
}

function toPlain(document: Document, label: string): unknown {
  try {
    return withoutCycles(document.toJS({ maxAliasCount: 100 }));
  } catch (error) {
    throw new LoadError(`${label}: not YAML: ${oneLine((error as Error).message)}`);
  }
}

function isPlain(source: unknown): boolean {
  try {
    withoutCycles(source);
    return true;
  } catch {
    return false;
  }
}

function oneLine(message: string): string {
  return message.split("\n")[0].replace(/[.:]$/, "");
}

/** The registries with policies of the program's own. Throws {@link LoadError} when two have one name. */
function withOwn({ policies, ...others }: Registries, own: readonly PolicyPlugin[]): Registries {
  const all = [...policies, ...own];
  const twice = all.find(({ name }, index) => all.findIndex((one) => one.name === name) < index);
  if (twice !== undefined) throw new LoadError(`there are two policies ${twice.name}; give one another name`);
  return { ...others, policies: all };
}

/** Every file that any run names, read once. Throws {@link LoadError}, or {@link InputError} where a file cannot be read. */
async function readFiles(
  runs: readonly LoadedRun[],
  read: ReadFile | undefined,
  folder: string,
): Promise<FilesRead> {
  const files = new Map<string, Uint8Array>();
  const unpacked = new Map<string, Uint8Array>();
  const visit = async ({ plugin, options, path, children }: WorkloadSpec) => {
    for (const file of plugin.files(options)) {
      if (files.has(file)) continue;
      const key = Object.entries(options as Record<string, unknown>).find(([, value]) => value === file)?.[0];
      try {
        files.set(file, await readOrFail(read, /^([a-z]+:|\/)/.test(file) ? file : folder + file));
      } catch (error) {
        throw new InputError(key === undefined ? path : [...path, key], (error as Error).message);
      }
      unpacked.set(file, await unpack(file, files.get(file)!));
    }
    for (const child of children) await visit(child);
  };
  for (const { scenario } of runs) for (const { workload } of scenario.guests) await visit(workload);
  return { files, unpacked };
}
