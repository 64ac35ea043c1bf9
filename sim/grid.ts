/**
 * Grids: a scenario with axes becomes runs. An axis is a list where one value is wanted, `{axis: […]}` where a list is wanted,
 * or several values of one setting on the command line.
 */
import { type Document, isMap, isSeq, parseDocument } from "yaml";
import { InputError, takesList } from "./core/options.ts";
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

type Path = readonly (string | number)[];
type Tree = Record<string, unknown>;

interface Axis {
  readonly path: readonly string[];
  readonly values: readonly unknown[];
}

/** Reads the values of `--set`: comma-separated YAML, where a comma inside of brackets or quotes does not separate. */
export function parseSetting(text: string, registries: Registries): Setting {
  const equals = text.indexOf("=");
  if (equals < 1) throw new InputError([], `--set ${text}: wanted is key=value[,value...]`);
  const key = text.slice(0, equals).trim();
  const origin = `--set ${key}`;
  if (key.split(".").some((part) => !/^[A-Za-z0-9_-]+$/.test(part))) {
    throw new InputError([], `${origin}: ${JSON.stringify(key)} is not a dotted path of keys`);
  }
  const field = fieldAt(key.split("."), registries);
  const values = splitValues(text.slice(equals + 1)).map((part) => {
    const document = parseDocument(part, { logLevel: "silent" });
    if (document.errors.length > 0) throw new InputError([], `${origin}: ${JSON.stringify(part)} is not a value`);
    const value = document.toJS();
    // What YAML reads as a number may be a name, such as a kernel version.
    const named = field !== undefined && !field.schema.safeParse(value).success && field.schema.safeParse(part).success;
    return named ? part : value;
  });
  return { key, values, origin };
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
  for (const key of KIND_KEYS) if (typeof base[key] === "string") base[key] = { kind: base[key] };
  const axes: Axis[] = [];
  for (const { key, values } of settings) {
    const path = key.split(".");
    if (values.length > 1) axes.push({ path, values });
    else setAt(base, path, values[0]);
  }
  const own = new Set(axes.map(({ path }) => path.join(".")));
  findAxes(base, [], registries, (path, values) => {
    if (!own.has(path.join("."))) axes.push({ path, values });
  });
  const runs = combine(base, axes, reps);
  return { runs, notices: dropForeign(runs, input as Tree, registries) };
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
    if (path.length === 0 || isListKey(path, registries)) return;
    found(path, node);
    return;
  }
  for (const [key, child] of Object.entries(node)) findAxes(child, [...path, key], registries, found);
}

function isListKey(path: readonly string[], registries: Registries): boolean {
  if (path.length === 1 && ["workload", "guests"].includes(path[0])) return true;
  // Below the options of a plug-in (requests.at) lists are lists.
  if (path.length > 2) return true;
  const field = fieldAt(path, registries);
  return field !== undefined && takesList(field);
}

function combine(base: Tree, axes: readonly Axis[], reps: number): GridRun[] {
  const total = axes.reduce((product, { values }) => product * values.length, reps);
  for (const { path, values } of axes) {
    if (values.length === 0) throw new InputError(path, "an axis without values");
  }
  if (total > RUNS_MAX) throw new InputError([], `the grid has ${total} runs, more than ${RUNS_MAX}`);
  const runs: GridRun[] = [];
  for (let index = 0; index < total; index++) {
    const raw = structuredClone(base);
    const labels: AxisValue[] = [];
    let rest = Math.floor(index / reps);
    for (const { path, values } of [...axes].reverse()) {
      const at = rest % values.length;
      rest = Math.floor(rest / values.length);
      setAt(raw, path, structuredClone(values[at]));
      if (values.length > 1) labels.unshift(labelOf(path, values, at));
    }
    const rep = index % reps;
    if (reps > 1) labels.push({ key: "rep", label: String(rep) });
    runs.push({ name: runName(labels), axes: labels, raw, rep });
  }
  return runs;
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

/** The name of a run: `key=value,key=value`, other characters percent-encoded. */
export function runName(axes: readonly AxisValue[]): string {
  if (axes.length === 0) return "run";
  const encode = (text: string) =>
    encodeURIComponent(text).replace(
      /[!'()*~%]/g,
      (char) => char === "%" ? "%" : `%${char.charCodeAt(0).toString(16).toUpperCase()}`,
    );
  return axes.map(({ key, label }) => `${encode(key)}=${encode(label)}`).join(",");
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

/**
 * Options that belong to another kind of the grid, or to the kind that the file names, do not apply to a run: they are taken
 * out, with one line. What no kind knows stays, and is refused where it stands.
 */
function dropForeign(runs: readonly GridRun[], input: Tree, registries: Registries): string[] {
  const notices = new Set<string>();
  for (const section of ["policy", "workload"] as const) {
    const plugins = section === "policy" ? registries.policies : registries.workloads;
    const fieldsOf = (kind: unknown) => Object.keys(plugins.find(({ name }) => name === kind)?.options.fields ?? {});
    const kinds = new Set([
      ...runs.map(({ raw }) => (raw[section] as Tree | undefined)?.kind),
      ...writtenKinds(input[section]),
    ]);
    if (kinds.size < 2) continue;
    const known = new Set([...kinds].flatMap(fieldsOf));
    for (const { raw } of runs) {
      const options = raw[section];
      if (typeof options !== "object" || options === null || Array.isArray(options)) continue;
      const { kind } = options as Tree;
      const own = fieldsOf(kind);
      if (own.length === 0 && !plugins.some(({ name }) => name === kind)) continue;
      const foreign = Object.keys(options).filter((key) => key !== "kind" && !own.includes(key) && known.has(key));
      for (const key of foreign) delete (options as Tree)[key];
      if (foreign.length > 0) {
        notices.add(`${foreign.map((key) => `${section}.${key}`).join(", ")} does not apply to ${kind}`);
      }
    }
  }
  return [...notices];
}

/** The kinds that a section of the file names: one, a list of them, or those of a list of sections. */
function writtenKinds(section: unknown): unknown[] {
  if (typeof section === "string") return [section];
  if (Array.isArray(section)) return section.flatMap(writtenKinds);
  const { kind, axis } = (section ?? {}) as Tree;
  const listed = Array.isArray(kind) ? kind : (kind as Tree | undefined)?.axis ?? kind;
  return Array.isArray(axis) ? axis.flatMap(writtenKinds) : Array.isArray(listed) ? listed : [listed];
}

/** Where a path stands in a YAML document, as an offset: its value, or its key, or the nearest outer one that exists. */
export function offsetOf(document: Document, path: Path, wantKey: boolean): number {
  let node: unknown = document.contents;
  let offset = 0;
  for (const [index, key] of path.entries()) {
    if (isSeq(node)) {
      const item: unknown = node.items[Number(key)];
      if (item === undefined) return offset;
      node = item;
    } else if (isMap(node)) {
      const pair = node.items.find((one) => String((one.key as { value?: unknown })?.value) === String(key));
      if (pair === undefined) return offset;
      const keyRange = (pair.key as { range?: [number, number, number] | null }).range;
      if (keyRange) offset = keyRange[0];
      if (wantKey && index === path.length - 1) return offset;
      node = pair.value;
    } else return offset;
    const range = (node as { range?: [number, number, number] | null } | null)?.range;
    if (range) offset = range[0];
  }
  return offset;
}
