/**
 * Grids: a scenario with axes becomes runs. An axis is a list where one value is wanted, `{axis: […]}` where a list is wanted,
 * or several values of one setting on the command line.
 */
import { type Document, parseDocument } from "yaml";
import { type Field, InputError, takesList } from "./core/options.ts";
import { dropForeign, kindsOfGrid } from "./foreign_options.ts";
import { fieldAt, KIND_KEYS, type Registries } from "./scenario.ts";

/** A setting of the command line: `key=value[,value…]`. */
export interface Setting {
  /** Dotted path, for example `policy.order`. */
  readonly key: string;
  /** The values; several make an axis. */
  readonly values: readonly unknown[];
  /** How it was written, for messages: `--set policy.order`. */
  readonly origin: string;
}

/** One value of one axis. */
export interface AxisValue {
  /** Dotted path. */
  readonly key: string;
  /** The value as it is shown. */
  readonly label: string;
}

/** One run of a grid in input form. */
export interface GridRun {
  /** Name: the axes that vary, or `run`. */
  readonly name: string;
  /** Its values on the axes. */
  readonly axes: readonly AxisValue[];
  /** The scenario in input form. */
  readonly raw: Record<string, unknown>;
  /** Replication, from 0. */
  readonly rep: number;
}

/** The runs of a scenario. */
export interface Grid {
  /** The runs, the first axis varying slowest. */
  readonly runs: readonly GridRun[];
  /** Lines about settings that do not apply somewhere. */
  readonly notices: readonly string[];
}

/** The most runs of one grid. */
const RUNS_MAX = 100_000;

/** The longest name of a folder that file systems take. */
const NAME_BYTES_MAX = 255;

type Tree = Record<string, unknown>;

/** An axis of a grid. */
export interface Axis {
  /** Where the value stands. */
  readonly path: readonly string[];
  /** Its values. */
  readonly values: readonly unknown[];
}

/** Reads the values of `--set`: comma-separated YAML, where a comma inside of brackets or quotes does not separate. */
export function parseSetting(text: string, registries: Registries): Setting {
  return parseSettingOf(text, (path) => fieldAt(path, registries));
}

/** The same for scenarios of another kind; `fieldOf` finds the option at a path, as far as one is known. */
export function parseSettingOf(text: string, fieldOf: (path: readonly string[]) => Field | undefined): Setting {
  const equals = text.indexOf("=");
  if (equals < 1) throw new InputError([], `--set ${text}: wanted is key=value[,value...]`);
  const key = text.slice(0, equals).trim();
  const origin = `--set ${key}`;
  if (key.split(".").some((part) => !/^[A-Za-z0-9_-]+$/.test(part))) {
    throw new InputError([], `${origin}: ${JSON.stringify(key)} is not a dotted path of keys`);
  }
  const field = fieldOf(key.split("."));
  const values = splitValues(text.slice(equals + 1)).map((part) => {
    const document = parseDocument(part, { logLevel: "silent" });
    if (document.errors.length > 0) throw new InputError([], `${origin}: ${JSON.stringify(part)} is not a value`);
    const value = plain(document, origin);
    // What YAML reads as a number may be a name, such as a kernel version.
    const named = field !== undefined && !field.schema.safeParse(value).success && field.schema.safeParse(part).success;
    return named ? part : value;
  });
  return { key, values, origin };
}

/** The value of a document. Throws {@link InputError} when it holds itself. */
function plain(document: Document, origin: string): unknown {
  try {
    return withoutCycles(document.toJS({ maxAliasCount: 100 }));
  } catch (error) {
    throw new InputError([], `${origin}: ${(error as Error).message.split("\n")[0]}`);
  }
}

/** The value itself. Throws Error when it holds itself. */
export function withoutCycles<T>(value: T, outer: readonly unknown[] = []): T {
  if (typeof value !== "object" || value === null) return value;
  if (outer.includes(value)) throw new Error("a value refers to itself");
  for (const inner of Object.values(value)) withoutCycles(inner, [...outer, value]);
  return value;
}

function splitValues(text: string): string[] {
  const parts: string[] = [];
  let depth = 0;
  let quote = "";
  let part = "";
  for (const char of text) {
    if (quote !== "") quote = char === quote ? "" : quote;
    else if (char === '"' || char === "'") quote = char;
    else if ("[{".includes(char)) depth++;
    else if ("]}".includes(char)) depth--;
    if (char === "," && depth === 0 && quote === "") {
      parts.push(part);
      part = "";
    } else part += char;
  }
  return [...parts, part];
}

/** Whether a section says its kind alone, or a list of kinds: an axis that a setting of the kind replaces. */
function isKind(section: unknown): boolean {
  if (Array.isArray(section)) return section.length > 0 && section.every((one) => typeof one === "string");
  return typeof section === "string";
}

/** Expands a scenario in input form and the settings of the command line. Throws {@link InputError}. */
export function expandGrid(
  input: unknown,
  settings: readonly Setting[],
  reps: number,
  registries: Registries,
): Grid {
  if (typeof input !== "object" || input === null || Array.isArray(input)) {
    return { runs: [{ name: "run", axes: [], raw: input as Tree, rep: 0 }], notices: [] };
  }
  const base = structuredClone(input) as Tree;
  for (const key of KIND_KEYS) if (isKind(base[key])) base[key] = { kind: base[key] };
  const axes: Axis[] = [];
  for (const { key, values, origin } of settings) {
    const path = key.split(".");
    if (values.length > 1 && isListKey(path, registries) && !isInsideOfList(base, path)) {
      throw new InputError(
        [],
        `${origin}: wants a list; write [${values.join(", ")}], or {axis: [...]} for an axis of lists`,
      );
    }
    if (values.length > 1) axes.push({ path, values });
    else setAt(base, path, values[0]);
  }
  const own = new Set(axes.map(({ path }) => path.join(".")));
  findAxes(base, [], registries, (path, values) => {
    if (!own.has(path.join("."))) axes.push({ path, values });
  });
  const notices = new Set<string>();
  const kinds = kindsOfGrid([input as Tree, base], axes);
  const runs = combineAxes(base, axes, {
    reps,
    set: setAt,
    drop: (raw) => dropForeign(raw, kinds, registries, notices),
  });
  return { runs, notices: [...notices] };
}

/** Lists where one value is wanted, in the order of the file. */
function findAxes(
  node: unknown,
  path: string[],
  registries: Registries,
  found: (path: string[], values: unknown[]) => void,
): void {
  if (typeof node !== "object" || node === null) return;
  const axis = (node as Tree).axis;
  if (!Array.isArray(node) && Array.isArray(axis) && Object.keys(node).length === 1) {
    found(path, axis);
    return;
  }
  if (Array.isArray(node)) {
    if (path.join(".") === "guests") {
      node.forEach((guest, index) => findAxes(guest, [...path, String(index)], registries, found));
    } else if (path.length > 0 && !isListKey(path, registries)) found(path, node);
    else node.forEach((inner, index) => findSaid(inner, [...path, String(index)], found));
    return;
  }
  for (const [key, child] of Object.entries(node)) findAxes(child, [...path, key], registries, found);
}

/** Inside of a list only what says that it is an axis is one: a list may be what is wanted there. */
function findSaid(node: unknown, path: string[], found: (path: string[], values: unknown[]) => void): void {
  if (typeof node !== "object" || node === null) return;
  const { axis } = node as Tree;
  if (!Array.isArray(node) && Array.isArray(axis) && Object.keys(node).length === 1) found(path, axis);
  else for (const [key, child] of Object.entries(node)) findSaid(child, [...path, key], found);
}

/** Whether a path leads into an entry of a list of the scenario, to something that is no list itself. */
function isInsideOfList(base: Tree, path: readonly string[]): boolean {
  let node: unknown = base;
  let inside = false;
  for (const key of path) {
    inside ||= Array.isArray(node);
    node = typeof node === "object" && node !== null && Object.hasOwn(node, key) ? (node as Tree)[key] : undefined;
  }
  return inside && !Array.isArray(node);
}

/** Whether a list is wanted at a path: tried by giving the option a list there. */
function isListKey(path: readonly string[], registries: Registries): boolean {
  const own = path[0] === "guests" ? path.slice(2) : path;
  if (own.length < 2) return own.length === 0 || ["workload", "guests"].includes(own[0]);
  const field = fieldAt(own.slice(0, 2), registries);
  if (field === undefined) return false;
  if (own.length === 2) return takesList(field);
  const nested = own.slice(2).reduceRight<unknown>((inner, key) => ({ [key]: inner }), ["1s"]);
  // Inside of a list (phases, guests) everything belongs to it.
  return takesList(field) || field.schema.safeParse(nested).success;
}

/** How the values of axes come into a scenario. */
export interface CombineHow {
  /** Replications. */
  readonly reps: number;
  /** Puts a value at a path. */
  readonly set: (tree: Tree, path: readonly string[], value: unknown) => void;
  /** Takes out what does not apply to a run; returns the dotted paths. */
  readonly drop: (raw: Tree) => readonly string[];
}

/** A run for each combination of the values of the axes, the first axis varying slowest. Throws {@link InputError}. */
export function combineAxes(base: Tree, axes: readonly Axis[], { reps, set, drop }: CombineHow): GridRun[] {
  const total = axes.reduce((product, { values }) => product * values.length, reps);
  for (const { path, values } of axes) {
    if (values.length === 0) throw new InputError(path, "an axis without values");
    const labels = values.map((_, at) => labelOf(path, values, at).label);
    const twice = labels.find((label, at) => labels.indexOf(label) !== at);
    if (twice !== undefined) throw new InputError(path, `the axis has the value ${twice} twice`);
  }
  if (total > RUNS_MAX) throw new InputError([], `the grid has ${total} runs, more than ${RUNS_MAX}`);
  const runs = new Map<string, GridRun>();
  for (let index = 0; index < total; index++) {
    const raw = structuredClone(base);
    let labels: AxisValue[] = [];
    let rest = Math.floor(index / reps);
    for (const { path, values } of [...axes].reverse()) {
      const at = rest % values.length;
      rest = Math.floor(rest / values.length);
      set(raw, path, structuredClone(values[at]));
      if (values.length > 1) labels.unshift(labelOf(path, values, at));
    }
    // An axis that does not apply to the kind of this run makes no further runs of it.
    const dropped = drop(raw);
    labels = labels.filter(({ key }) => !dropped.some((option) => key === option || key.startsWith(`${option}.`)));
    const rep = index % reps;
    if (reps > 1) labels.push({ key: "rep", label: String(rep) });
    const name = runName(labels);
    if (!runs.has(name)) runs.set(name, { name, axes: labels, raw, rep });
  }
  return [...runs.values()];
}

/** An axis of whole policies is named by their kinds, as far as these differ. */
function labelOf(path: readonly string[], values: readonly unknown[], at: number): AxisValue {
  const key = path.join(".");
  const value = values[at];
  if (typeof value !== "object" || value === null) return { key, label: String(value) };
  const kinds = values.map((one) => (one as Tree | null)?.kind);
  if (kinds.every((kind) => typeof kind === "string") && new Set(kinds).size === kinds.length) {
    return { key: `${key}.kind`, label: String(kinds[at]) };
  }
  return { key, label: String(at) };
}

/** The name of a run: `key=value,key=value`, other characters percent-encoded. Throws {@link InputError} when it is too long. */
export function runName(axes: readonly AxisValue[]): string {
  if (axes.length === 0) return "run";
  const encode = (text: string) =>
    encodeURIComponent(text).replace(
      /[!'()*~%]/g,
      (char) => char === "%" ? "%" : `%${char.charCodeAt(0).toString(16).toUpperCase()}`,
    );
  const name = axes.map(({ key, label }) => `${encode(key)}=${encode(label)}`).join(",");
  if (name.length <= NAME_BYTES_MAX) return name;
  throw new InputError(
    [],
    `the name of a run would have ${name.length} bytes, more than ${NAME_BYTES_MAX}: ${name.slice(0, 40)}...`,
  );
}

function setAt(tree: Tree, path: readonly string[], value: unknown): void {
  let node: Tree = tree;
  for (const [index, key] of path.slice(0, -1).entries()) {
    const next = Object.hasOwn(node, key) ? node[key] : undefined;
    if (typeof next === "string" && index === 0 && KIND_KEYS.includes(key)) node[key] = { kind: next };
    else if (typeof next !== "object" || next === null) node[key] = {};
    node = node[key] as Tree;
  }
  node[path[path.length - 1]] = value;
}
