/** The command `list`: what a scenario may name, read from the registries. */
import { encodings } from "../abi/mod.ts";
import type { Field, Options } from "../core/options.ts";
import type { PolicyPlugin, SkippedCase } from "../guest/plugin.ts";
import { BACKINGS } from "../host/backing.ts";
import { costProfiles } from "../host/costs.ts";
import { trackers } from "../kho/mod.ts";
import { slotTables } from "../kvm/mod.ts";
import type { Registries } from "../scenario.ts";
import { DONE, type Io, UsageError } from "./io.ts";
import { formatTable } from "./table.ts";

/** What can be listed. */
export const LISTS: readonly string[] = [
  "policies",
  "encodings",
  "workloads",
  "users",
  "hosts",
  "costs",
  "trackers",
  "slots",
];

interface Entry {
  readonly name: string;
  readonly summary: string;
  readonly source: string;
  readonly options: readonly Readonly<Record<string, unknown>>[];
  /** What a policy needs of the assembly. */
  readonly needs?: readonly string[];
  /** Cases of the conformance suite that a policy cannot pass. */
  readonly skip?: readonly SkippedCase[];
}

/** Prints one list, or the names of all. Throws {@link UsageError} for an unknown list. */
export function listCommand(io: Io, what: string | undefined, json: boolean, registries: Registries): number {
  const wanted = what === undefined ? LISTS : [what];
  if (what !== undefined && !LISTS.includes(what)) {
    throw new UsageError(`list ${what}: unknown list; known are ${LISTS.join(", ")}`);
  }
  const lists = Object.fromEntries(wanted.map((name) => [name, entriesOf(name, registries)]));
  if (json) {
    io.out(JSON.stringify(what === undefined ? lists : lists[what], null, 2) + "\n");
    return DONE;
  }
  for (const name of wanted) {
    if (what === undefined) io.out(`${name}:\n`);
    io.out(lists[name].length === 0 ? `no ${name} yet\n` : textOf(lists[name], what !== undefined));
    if (what === undefined) io.out("\n");
  }
  return DONE;
}

function entriesOf(list: string, { policies, workloads }: Registries): Entry[] {
  const plugin = (one: { name: string; summary: string; source: string; options: Options<unknown> }): Entry => ({
    name: one.name,
    summary: one.summary,
    source: one.source,
    options: optionsOf(one.options),
  });
  switch (list) {
    case "policies":
      return policies.map((one: PolicyPlugin) => ({ ...plugin(one), needs: one.needs, skip: one.skip ?? [] }));
    case "workloads":
      return workloads.map(plugin);
    case "users":
      return workloads.flatMap(({ users }) =>
        (users?.kinds ?? []).map((one) => ({
          ...plugin(one),
          options: [...optionsOf(one.options), ...optionsOf(users!.common)],
        }))
      );
    case "trackers":
      return trackers.map(({ name, summary, source }) => ({ name, summary, source, options: [] }));
    case "slots":
      return slotTables.map(plugin);
    case "encodings":
      return encodings.map(({ name, summary, source, optionNames }) => ({
        name,
        summary,
        source,
        options: optionNames.map((option) => ({ name: option })),
      }));
    case "hosts":
      return BACKINGS.map((name) => ({ name, summary: BACKING_SUMMARIES[name], source: "Linux mm", options: [] }));
    case "costs":
      return costProfiles.map(({ name, summary, costs }) => ({
        name,
        summary,
        source: "see each cost",
        options: Object.entries(costs).map(([cost, { valueNs, range, role, source }]) => ({
          name: cost,
          value: valueNs,
          unit: "ns",
          range,
          role,
          source,
        })),
      }));
    default:
      return [];
  }
}

const BACKING_SUMMARIES: Readonly<Record<string, string>> = {
  "4k": "anonymous memory in 4 KiB pages",
  "thp": "anonymous memory with transparent huge pages",
  "hugetlb": "a pool of 2 MiB pages: only whole ones are dropped",
};

function optionsOf(options: Options<unknown>): Readonly<Record<string, unknown>>[] {
  return Object.entries(options.fields as Readonly<Record<string, Field>>).map(([name, field]) => ({
    name,
    default: field.default,
    choices: choicesOf(field),
    unit: field.unit,
    summary: field.summary,
    source: field.source,
  }));
}

/** The values of a field that is one of some names. */
function choicesOf({ schema }: Field): readonly string[] | undefined {
  const values = (schema as { readonly options?: unknown }).options;
  return Array.isArray(values) && values.every((value) => typeof value === "string") ? values : undefined;
}

function textOf(entries: readonly Entry[], withOptions: boolean): string {
  if (!withOptions) return formatTable(entries.map(({ name, summary }) => [`  ${name}`, summary]), true);
  return entries.map(({ name, summary, source, options, needs, skip }) => {
    const lines = [
      `source: ${source}`,
      ...(needs ?? []).map((need) => `needs: ${need}`),
      ...options.map(describe),
      ...(skip ?? []).map((one) => `skips the case ${one.case}: ${one.reason}`),
    ];
    return [`${name}: ${summary}`, ...lines.map((line) => `    ${line}`)].map((line) => `${line}\n`).join("");
  }).join("\n");
}

function describe(option: Readonly<Record<string, unknown>>): string {
  const { name, unit, summary, source, role, range, value } = option;
  if (role !== undefined) {
    const [low, high] = range as [number, number];
    return `${name} = ${value} ns (${low} to ${high}, ${role}): ${source}`;
  }
  const shown = option.default === undefined ? "" : ` = ${JSON.stringify(option.default)}`;
  const choices = option.choices === undefined ? "" : ` (${(option.choices as readonly string[]).join(", ")})`;
  const plain = unit === undefined || unit === "" ? "" : ` (a plain number is ${unit})`;
  return `${name}${shown}${choices}${plain}${summary === undefined ? "" : `: ${summary}`}${
    source === undefined ? "" : ` [${source}]`
  }`;
}
