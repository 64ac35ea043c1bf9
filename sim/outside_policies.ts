/**
 * Policies from outside of the registry: a scenario or the command line names a module by its path, and whoever loads the
 * scenario imports it. From there on it is a policy like those of the registry, under its own name.
 */
import { InputError } from "./core/options.ts";
import type { Setting } from "./grid.ts";
import type { PolicyPlugin } from "./guest/plugin.ts";
import type { Registries } from "./scenario.ts";

/** A policy from a module. */
export interface OutsidePolicy {
  /** The policy. */
  readonly plugin: PolicyPlugin;
  /** The module and the files that it imports by a relative path, as they were read, by the name that the user gave. */
  readonly files: ReadonlyMap<string, Uint8Array>;
  /** What an error thrown by its code comes to, in one sentence; undefined when the error is another's. */
  readonly explain: (error: unknown) => string | undefined;
}

/**
 * Imports the policy of a module. A path of a setting is meant against the user's folder, one of a scenario against the
 * scenario's. Throws Error with a sentence that names the path.
 */
export type ImportPolicy = (path: string, writtenIn: "setting" | "scenario") => Promise<OutsidePolicy>;

/** A scenario whose policies all have names. */
export interface NamedPolicies {
  /** The scenario in input form. */
  readonly input: unknown;
  /** The settings. */
  readonly settings: readonly Setting[];
  /** The plug-ins, those from outside among them. */
  readonly registries: Registries;
  /** The policies that were imported, in the order in which they were met. */
  readonly outside: readonly OutsidePolicy[];
}

type Path = readonly (string | number)[];
type Tree = Readonly<Record<string, unknown>>;

/** Imports what a scenario and its settings name by a path, and puts names in place of the paths. Throws {@link InputError}. */
export async function nameOutsidePolicies(
  input: unknown,
  settings: readonly Setting[],
  registries: Registries,
  importPolicy: ImportPolicy | undefined,
): Promise<NamedPolicies> {
  const found = new OutsidePolicies(registries, importPolicy);
  const named: Setting[] = [];
  for (const setting of settings) {
    const { key, values } = setting;
    if (!/^(guests\.\d+\.)?policy(\.kind)?$/.test(key)) named.push(setting);
    else named.push({ ...setting, values: await found.name(values, key.split("."), "setting") as unknown[] });
  }
  return {
    input: await found.inScenario(input),
    settings: named,
    registries: found.registries,
    outside: found.outside,
  };
}

class OutsidePolicies {
  readonly outside: OutsidePolicy[] = [];
  #registries: Registries;
  #importPolicy: ImportPolicy | undefined;
  /** Paths as written, by the name of the policy. */
  #paths = new Map<string, string>();

  constructor(registries: Registries, importPolicy: ImportPolicy | undefined) {
    this.#registries = registries;
    this.#importPolicy = importPolicy;
  }

  get registries(): Registries {
    const { policies, workloads } = this.#registries;
    return { policies: [...policies, ...this.outside.map(({ plugin }) => plugin)], workloads, paths: this.#paths };
  }

  async inScenario(input: unknown): Promise<unknown> {
    if (!isTree(input)) return input;
    const { policy, guests } = input;
    const changed: Record<string, unknown> = { ...input };
    if (policy !== undefined) changed.policy = await this.name(policy, ["policy"], "scenario");
    if (Array.isArray(guests)) {
      const named: unknown[] = [];
      for (const [index, guest] of guests.entries()) {
        const inside = isTree(guest) && guest.policy !== undefined;
        const path = ["guests", index, "policy"];
        named.push(inside ? { ...guest, policy: await this.name(guest.policy, path, "scenario") } : guest);
      }
      changed.guests = named;
    }
    return changed;
  }

  /** A policy in input form (a name, something with a kind, a list or an axis of these) with names in place of paths. */
  async name(node: unknown, path: Path, writtenIn: "setting" | "scenario"): Promise<unknown> {
    if (typeof node === "string") return isPath(node) ? await this.#import(node, path, writtenIn) : node;
    if (Array.isArray(node)) {
      const named: unknown[] = [];
      // A value of a setting has no place of its own: the setting names it.
      for (const [index, one] of node.entries()) {
        named.push(await this.name(one, writtenIn === "setting" ? path : [...path, index], writtenIn));
      }
      return named;
    }
    if (!isTree(node)) return node;
    const changed: Record<string, unknown> = { ...node };
    for (const key of ["kind", "axis"]) {
      if (node[key] !== undefined) changed[key] = await this.name(node[key], [...path, key], writtenIn);
    }
    return changed;
  }

  async #import(file: string, path: Path, writtenIn: "setting" | "scenario"): Promise<string> {
    if (this.#importPolicy === undefined) {
      throw new InputError(path, `${file}: is not imported here; a program hands policies of its own to load()`);
    }
    let outside: OutsidePolicy;
    try {
      outside = await this.#importPolicy(file, writtenIn);
    } catch (error) {
      throw new InputError(path, (error as Error).message);
    }
    const { name } = outside.plugin;
    if (!this.outside.includes(outside)) {
      const there = this.#registries.policies.some((one) => one.name === name) ? "hintsim" : this.#paths.get(name);
      if (there !== undefined) {
        throw new InputError(path, `${file}: ${there} has a policy ${name} already; give this one another name`);
      }
      this.outside.push(outside);
      this.#paths.set(name, file);
    }
    return name;
  }
}

/** Whether the name of a policy is the path of a module. */
function isPath(name: string): boolean {
  return name.includes("/") || /\.[cm]?[jt]s$/.test(name);
}

function isTree(value: unknown): value is Tree {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
