/**
 * Grids of the laboratories: settings of the command line and lists where one value is wanted make runs, as for the simulator.
 *
 * A laboratory compares lists by itself (trackers, restores, workloads; tables, guests), and these stay what they are: several
 * values of a setting there are such a list.
 */
import { InputError, unknownName } from "./core/options.ts";
import { type Axis, type AxisValue, combineAxes, type Setting } from "./grid.ts";
import { TOP } from "./scenario_options.ts";

type Tree = Record<string, unknown>;
type Path = readonly string[];

/** A laboratory, as its grid needs it. */
export interface LabGridShape {
  /** The section, such as `kho`. */
  readonly section: string;
  /** Its keys. */
  readonly keys: readonly string[];
  /** Whether a list at a path, from the section on, is what is wanted there. */
  readonly takesList: (path: Path) => boolean;
  /** The key that a text stands for where a mapping may stand (`kind` of a workload), or undefined. */
  readonly shortFor: (path: Path) => string | undefined;
}

/** One combination of a grid. */
export interface LabRun {
  /** Its values on the axes that vary. */
  readonly axes: readonly AxisValue[];
  /** The scenario in input form. */
  readonly input: unknown;
}

/** The combinations of a scenario in input form with settings. Throws {@link InputError}. */
export function labGrid(input: unknown, settings: readonly Setting[], shape: LabGridShape): readonly LabRun[] {
  if (typeof input !== "object" || input === null || Array.isArray(input)) return [{ axes: [], input }];
  const base = structuredClone(input) as Tree;
  const axes: Axis[] = [];
  const set = (tree: Tree, path: Path, value: unknown) => setAt(tree, path, value, shape);
  for (const { key, values, origin } of settings) {
    const path = key.split(".");
    refuseShort(path, origin, shape);
    if (values.length === 1) set(base, path, values[0]);
    else if (shape.takesList(path)) set(base, path, values);
    else axes.push({ path, values });
  }
  const own = new Set(axes.map(({ path }) => path.join(".")));
  findAxes(base, [], shape, (axis) => {
    if (!own.has(axis.path.join("."))) axes.push(axis);
  });
  const runs = combineAxes(base, axes, { reps: 1, set, drop: () => [] });
  return runs.map((run) => ({ axes: run.axes, input: run.raw }));
}

/**
 * The options of an entry of a compared list, for each combination of the values of those that are lists: several entries by
 * themselves. What is a list by itself stays one. Throws {@link InputError} at `path`.
 */
export function variants(options: Readonly<Tree>, path: readonly (string | number)[], lists: Path): Readonly<Tree>[] {
  let all: Readonly<Tree>[] = [{}];
  for (const [key, value] of Object.entries(options)) {
    const values = Array.isArray(value) && !lists.includes(key) ? value : [value];
    if (values.length === 0) throw new InputError([...path, key], "the list is empty");
    all = all.flatMap((one) => values.map((single) => ({ ...one, [key]: single })));
  }
  return all;
}

/** Refuses an entry that stands twice in a compared list: its runs would have one name. Throws {@link InputError}. */
export function refuseTwice(
  entries: readonly { readonly label: string; readonly path: readonly (string | number)[] }[],
) {
  entries.forEach(({ label, path }, index) => {
    if (entries.findIndex((one) => one.label === label) === index) return;
    throw new InputError(path, `${label} stands there twice`);
  });
}

/** The axes as columns of summary.csv, where they are none already. */
export function axisColumns(axes: readonly AxisValue[]): Readonly<Record<string, string>> {
  return Object.fromEntries(axes.filter(({ key }) => key !== "seed").map(({ key, label }) => [key, label]));
}

/** The axes as they are shown above a table: `kho.memory=1GiB, `, or nothing. */
export function axesText(axes: readonly AxisValue[]): string {
  return axes.map(({ key, label }) => `${key}=${label}, `).join("");
}

/** A key of the section that is named without it is not a key of the top. */
function refuseShort([first]: Path, origin: string, { section, keys }: LabGridShape): void {
  const known = [...Object.keys(TOP.fields), section];
  if (known.includes(first)) return;
  const problem = keys.includes(first)
    ? `unknown key ${JSON.stringify(first)}; did you mean ${section}.${first}?`
    : unknownName("key", first, known);
  throw new InputError([], `${origin}: ${problem}`);
}

/** Lists where one value is wanted, in the order of the file. */
function findAxes(node: unknown, path: Path, shape: LabGridShape, found: (axis: Axis) => void): void {
  if (typeof node !== "object" || node === null) return;
  if (Array.isArray(node)) {
    if (!shape.takesList(path)) found({ path, values: node });
    return;
  }
  const { axis } = node as Tree;
  if (Array.isArray(axis) && Object.keys(node).length === 1) found({ path, values: axis });
  else for (const [key, child] of Object.entries(node)) findAxes(child, [...path, key], shape, found);
}

function setAt(tree: Tree, path: Path, value: unknown, shape: LabGridShape): void {
  let node: Tree | unknown[] = tree;
  for (const [index, key] of path.slice(0, -1).entries()) {
    const at = path.slice(0, index + 1);
    refuseOutside(node, key, at);
    const next: unknown = Object.hasOwn(node, key) ? (node as Tree)[key] : undefined;
    const short = shape.shortFor(at);
    if (typeof next === "string" && short !== undefined) (node as Tree)[key] = { [short]: next };
    else if (typeof next !== "object" || next === null) (node as Tree)[key] = {};
    node = (node as Tree)[key] as Tree;
  }
  refuseOutside(node, path[path.length - 1], path);
  (node as Tree)[path[path.length - 1]] = value;
}

/** What belongs to an entry of a list needs the number of the entry. */
function refuseOutside(node: Tree | readonly unknown[], key: string, path: Path): void {
  if (!Array.isArray(node)) return;
  const list = path.slice(0, -1).join(".");
  if (!/^\d+$/.test(key)) {
    throw new InputError(path, `${list} is a list; name the entry by its number, such as ${list}.0.${key}`);
  }
  if (Number(key) < node.length) return;
  throw new InputError(path, `${list} has the entries 0 to ${node.length - 1}`);
}
