/** Policies that a user keeps in a file of their own: the module is imported, checked and hashed. */
import { InputError } from "../core/options.ts";
import type { PolicyContext, PolicyPlugin } from "../guest/plugin.ts";
import type { ImportPolicy, OutsidePolicy } from "../outside_policies.ts";
import { LoadError } from "../unpack.ts";
import { exists, folderOf, readFile, resolvePath } from "./files.ts";

/** The folder of hintsim's own modules: what a policy imports from there has the version of the program. */
const PROGRAM = new URL("../", import.meta.url).href;

/** Names as the registry has them: they become names of folders and values on a command line. */
const NAME = /^[a-z0-9]+(-[a-z0-9]+)*$/;

/** Imports policies of modules; `folders` are those against which paths are meant. Each module is imported once. */
export function policyImporter(folders: { readonly setting: string; readonly scenario: string }): ImportPolicy {
  const imported = new Map<string, Promise<OutsidePolicy>>();
  return (path, writtenIn) => {
    const full = normal(resolvePath(folders[writtenIn], path));
    let policy = imported.get(full);
    if (policy === undefined) imported.set(full, policy = importPolicyFile(full, path));
    return policy;
  };
}

/** The policy of one module, shown to the user as `shown`. Throws Error with one sentence. */
export async function importPolicyFile(full: string, shown: string): Promise<OutsidePolicy> {
  const files = filesOf(full, shown);
  let module: Readonly<Record<string, unknown>>;
  try {
    module = await import(`file://${pathOf(full)}`);
  } catch (error) {
    throw new LoadError(importProblem(error as Error, full, shown));
  }
  const explain = (error: unknown) => {
    const place = placeIn(error, full);
    return place === undefined
      ? undefined
      : `${shown}${place}: the policy threw: ${firstLine((error as Error).message)}`;
  };
  return { plugin: guarded(pluginOf(module, shown), full, shown), files, explain };
}

/** A path without `.` and `..`. */
function normal(path: string): string {
  return decodeURIComponent(new URL(urlOf(path)).pathname);
}

function urlOf(path: string): string {
  return `file://${pathOf(path)}`;
}

function pathOf(path: string): string {
  return path.split("/").map(encodeURIComponent).join("/");
}

/** The bytes of a module and of the files that it imports by a relative path, by name. */
function filesOf(full: string, shown: string): Map<string, Uint8Array> {
  const files = new Map<string, Uint8Array>();
  const seen = new Set<string>();
  const visit = (file: string, name: string) => {
    if (seen.has(file)) return;
    seen.add(file);
    const bytes = readFile(file, name);
    files.set(name, bytes);
    const text = new TextDecoder().decode(bytes);
    for (const [, relative] of text.matchAll(/\b(?:from|import)\s*\(?\s*["'](\.{1,2}\/[^"']+)["']/g)) {
      const next = normal(`${folderOf(file)}/${relative}`);
      // What is in a comment only may not exist; what is missing is told by the import itself.
      if (!urlOf(next).startsWith(PROGRAM) && exists(next)) {
        visit(next, `${folderOf(name)}/${relative.replace(/^\.\//, "")}`);
      }
    }
  };
  visit(full, shown);
  return files;
}

function pluginOf(module: Readonly<Record<string, unknown>>, shown: string): PolicyPlugin {
  const exported = isPlugin(module.default) ? [module.default] : [...new Set(Object.values(module).filter(isPlugin))];
  if (exported.length === 0) {
    throw new LoadError(`${shown}: exports no policy; wanted is \`export default policyPlugin({...})\``);
  }
  if (exported.length > 1) {
    const names = exported.map(({ name }) => name).join(", ");
    throw new LoadError(`${shown}: exports the policies ${names}; make one of them the default export`);
  }
  const [plugin] = exported;
  if (NAME.test(plugin.name)) return plugin;
  const wanted = "wanted are lower-case letters, digits and single hyphens";
  throw new LoadError(`${shown}: ${JSON.stringify(plugin.name)} is not a name for a policy; ${wanted}`);
}

function isPlugin(value: unknown): value is PolicyPlugin {
  if (typeof value !== "object" || value === null) return false;
  const { name, summary, source, options, needs, create } = value as Partial<PolicyPlugin>;
  return [name, summary, source].every((text) => typeof text === "string") && typeof options?.fields === "object" &&
    Array.isArray(needs) && typeof create === "function";
}

/** The plug-in, telling in one sentence when it cannot be made. */
function guarded(plugin: PolicyPlugin, full: string, shown: string): PolicyPlugin {
  const create = (context: PolicyContext, options: unknown) => {
    try {
      return plugin.create(context, options);
    } catch (error) {
      if (error instanceof InputError) throw error;
      const { message } = error as Error;
      const place = placeIn(error, full) ?? "";
      throw new LoadError(`${shown}${place}: the policy ${plugin.name} cannot be made: ${firstLine(message)}`);
    }
  };
  return { ...plugin, create };
}

/** Why a module could not be imported: its place and the reason, in one sentence. */
function importProblem(error: Error, full: string, shown: string): string {
  const message = plain(error.message);
  if (/^The lockfile is out of date/.test(message)) {
    return `${shown}: imports a package that hintsim does not have; it may import "hintsim" and files beside it`;
  }
  const place = placeIn(error, full);
  const elsewhere = place === undefined ? /\bat (file:\/\/\S+?):(\d+:\d+)/.exec(message) : null;
  const reason = firstLine(message).replace(/\s+at file:\S+$/, "").replace(/ from "file:[^"]*"$/, "")
    .replace(/^SyntaxError: /, "");
  const at = place ??
    (elsewhere === null ? "" : `: ${decodeURIComponent(new URL(elsewhere[1]).pathname)}:${elsewhere[2]}`);
  return `${shown}${at}: ${reason.replaceAll(/"file:\/\/([^"]*)"/g, "$1").replace(/\.$/, "")}`;
}

/** `:line:column` of the first place in a module that an error names, or undefined. */
function placeIn(error: unknown, full: string): string | undefined {
  if (!(error instanceof Error)) return undefined;
  const text = plain(`${error.message}\n${error.stack ?? ""}`);
  const at = text.indexOf(`${urlOf(full)}:`);
  if (at < 0) return undefined;
  return /^:\d+:\d+/.exec(text.slice(at + urlOf(full).length))?.[0];
}

/** A text without the colours of a terminal. */
function plain(text: string): string {
  // deno-lint-ignore no-control-regex
  return text.replace(/\u001b\[[0-9;]*m/g, "");
}

function firstLine(text: string): string {
  return text.split("\n")[0].trim();
}
