/**
 * Options of a kind that a run does not have: when a grid or `--policy` changes the kind, options that the new kind also has
 * are kept and the others do not apply there.
 */
import { encodings } from "./abi/mod.ts";
import type { Registries } from "./scenario.ts";

type Tree = Record<string, unknown>;

/** Sections whose options depend on their kind. */
const SECTIONS = ["policy", "workload", "encoding"] as const;

/** The kinds of each section that occur anywhere in a grid. */
export type GridKinds = Readonly<Record<string, ReadonlySet<unknown>>>;

/** Every kind that the file, the file with its settings, and the axes name. */
export function kindsOfGrid(
  trees: readonly Tree[],
  axes: readonly { path: readonly string[]; values: readonly unknown[] }[],
): GridKinds {
  return Object.fromEntries(SECTIONS.map((section) => {
    const kinds = new Set(trees.flatMap((tree) => writtenKinds(tree[section])));
    for (const { path, values } of axes) {
      if (path.join(".") === section) values.flatMap(writtenKinds).forEach((kind) => kinds.add(kind));
      if (path.join(".") === `${section}.kind`) values.forEach((kind) => kinds.add(kind));
    }
    return [section, kinds];
  }));
}

/**
 * Takes the options out of a run that belong to another kind of the grid; returns their dotted paths and notes one line. What
 * no kind of the grid knows stays, and is refused where it stands.
 */
export function dropForeign(raw: Tree, kinds: GridKinds, registries: Registries, notices: Set<string>): string[] {
  const dropped: string[] = [];
  for (const section of SECTIONS) {
    const options = raw[section];
    if (typeof options !== "object" || options === null || Array.isArray(options)) continue;
    const { kind } = options as Tree;
    const own = optionNames(section, kind, registries);
    if (own === undefined) continue;
    const known = new Set([...kinds[section]].flatMap((other) => optionNames(section, other, registries) ?? []));
    const foreign = Object.keys(options).filter((key) => key !== "kind" && !own.includes(key) && known.has(key));
    for (const key of foreign) delete (options as Tree)[key];
    const paths = foreign.map((key) => `${section}.${key}`);
    dropped.push(...paths);
    if (paths.length > 0) notices.add(`${paths.join(", ")} ${paths.length > 1 ? "do" : "does"} not apply to ${kind}`);
  }
  return dropped;
}

/** The options of a kind, or undefined when there is no such kind. */
function optionNames(
  section: string,
  kind: unknown,
  { policies, workloads }: Registries,
): readonly string[] | undefined {
  if (section === "encoding") return encodings.find(({ name }) => name === kind)?.optionNames;
  const plugins = section === "policy" ? policies : workloads;
  const plugin = plugins.find(({ name }) => name === kind);
  return plugin === undefined ? undefined : Object.keys(plugin.options.fields);
}

/** The kinds that a section names: one, a list of them, or those of a list of sections. */
function writtenKinds(section: unknown): unknown[] {
  if (typeof section === "string") return [section];
  if (Array.isArray(section)) return section.flatMap(writtenKinds);
  const { kind, axis } = (section ?? {}) as Tree;
  const listed = Array.isArray(kind) ? kind : (kind as Tree | undefined)?.axis ?? kind;
  return Array.isArray(axis) ? axis.flatMap(writtenKinds) : Array.isArray(listed) ? listed : [listed];
}
