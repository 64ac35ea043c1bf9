/** What the cases of the conformance suite share: a guest to run, options that fit a policy, and the rows of a run. */
import assert from "node:assert/strict";
import { load, type RunResult, simulate } from "../../../mod.ts";
import { policies } from "../../../policies/mod.ts";
import type { Field } from "../../../sim/core/options.ts";
import type { PolicyPlugin } from "../../../sim/guest/plugin.ts";
import type { HintingPolicy } from "../../../sim/guest/policy.ts";
import { fieldAt } from "../../../sim/scenario.ts";
import { workloads } from "../../../workloads/mod.ts";

/** Whether the slow tier runs, which tries every combination. */
export const slow: boolean = Deno.env.get("HINTSIM_TIER") === "slow";

/** Something in the input form of a scenario. */
export type Raw = Record<string, unknown>;

/** One case: something that holds for every policy. */
export interface Case {
  /** Its name, by which a policy may skip it. */
  readonly name: string;
  /** Whether it says something about a policy; about each unless told. */
  readonly appliesTo?: (plugin: PolicyPlugin) => boolean;
  /** Throws where the policy fails. */
  readonly run: (plugin: PolicyPlugin) => Promise<void>;
}

/** A guest that frees much, in blocks large enough for every policy. */
export const BURSTS: Raw = {
  machine: { memory: "256MiB", vcpus: 2, thp: false },
  workload: {
    kind: "fill-drain",
    cycles: 2,
    occupancy: 0.6,
    orders: { 0: 50, 9: 50 },
    fill: "50ms",
    hold: "50ms",
    drain: "50ms",
    pause: "3s",
  },
};

/** The most events of a run: a policy that goes round in circles ends there, with a finding. */
const EVENTS_MAX = 3e6;

/** Options under which nothing in use may be dropped; a policy takes those that it has. */
export const SAFE: Raw = { action: "reclaim", isolate: true, waitOnAck: true, requests: { every: "500ms" } };

/** Whether the policy has an option. */
export function hasOption(plugin: PolicyPlugin, name: string): boolean {
  return name in plugin.options.fields;
}

/** The values of an option that is one of some names. */
export function choicesOf(plugin: PolicyPlugin, name: string): readonly string[] {
  const { schema } = (plugin.options.fields as Readonly<Record<string, Field>>)[name];
  return (schema as unknown as { readonly options: readonly string[] }).options;
}

/** Whether scenarios know a key, such as `host.inhibit`. */
export function hasKey(...path: readonly string[]): boolean {
  return fieldAt(path, { policies, workloads }) !== undefined;
}

/** Whether a key of a scenario takes a value. */
export function takes(value: unknown, ...path: readonly string[]): boolean {
  return fieldAt(path, { policies, workloads })?.schema.safeParse(value).success ?? false;
}

/** The policy in input form with those of the wanted options that it has. */
export function withOptions(plugin: PolicyPlugin, wanted: Raw): Raw {
  return {
    kind: plugin.name,
    ...Object.fromEntries(Object.entries(wanted).filter(([name]) => hasOption(plugin, name))),
  };
}

/** Whether a policy tells the host anything at all. */
export function tells(plugin: PolicyPlugin): boolean {
  return plugin.name !== "none";
}

/** How a scenario is run. */
export interface RunSettings {
  /** Options for the policy, those of {@link SAFE} unless told. */
  readonly options?: Raw;
  /** Events between two steps of the engine. */
  readonly slice?: number;
}

/** Runs a scenario under a policy with all checkers; what they find fails the case, and so does an early end. */
export async function runUnder(plugin: PolicyPlugin, scenario: Raw, settings: RunSettings = {}): Promise<RunResult> {
  const policy = withOptions(plugin, settings.options ?? SAFE);
  const result = await runScenario(plugin, { ...BURSTS, policy, ...scenario }, settings.slice);
  assert.equal(result.finding, undefined);
  return result;
}

/** Runs a whole scenario, which may name the policy, with all checkers. */
export async function runScenario(plugin: PolicyPlugin, scenario: Raw, slice?: number): Promise<RunResult> {
  // A policy that stands in for one of the registry takes its place under a name of its own.
  const own = policies.includes(plugin) ? {} : { policies: [plugin] };
  const loaded = await load({ hintsim: 1, ...scenario }, own);
  const [result] = simulate(loaded, {
    check: true,
    events: true,
    eventsMax: EVENTS_MAX,
    ...(slice === undefined ? {} : { slice }),
  });
  assert.deepEqual(result.problems, []);
  return result;
}

/** One row of a trace. */
export interface Row {
  readonly index: number;
  readonly timeNs: number;
  readonly event: string;
  readonly pfn: number;
  readonly pages: number;
  readonly order: number;
  readonly message: number;
  readonly bytes: number;
  readonly costNs: number;
  readonly guest: number;
}

/** The rows of the named events, or all. */
export function rowsOf({ events }: RunResult, ...names: readonly string[]): Row[] {
  const rows: Row[] = [];
  const columns = events!;
  for (let index = 0; index < columns.count; index++) {
    const event = columns.eventNames[columns.event[index]];
    if (names.length > 0 && !names.includes(event)) continue;
    rows.push({
      index,
      timeNs: columns.timeNs[index],
      event,
      pfn: columns.pfn[index],
      pages: columns.pages[index],
      order: columns.order[index],
      message: columns.message[index],
      bytes: columns.bytes[index],
      costNs: columns.costNs[index],
      guest: columns.guest[index],
    });
  }
  return rows;
}

/** Sum of a field over rows. */
export function sumOf(rows: readonly Row[], field: "pages" | "bytes" | "costNs"): number {
  return rows.reduce((sum, row) => sum + row[field], 0);
}

/** A policy that is watched: how often it is made, and when it starts. */
export interface Watched {
  /** The policy under the name `watched`. */
  readonly plugin: PolicyPlugin;
  /** What was made, in order. */
  readonly made: HintingPolicy[];
  /** Virtual times at which they started, ns. */
  readonly startsNs: number[];
}

/** The policy under another name, noting what the assembly does with it. */
export function watch(plugin: PolicyPlugin): Watched {
  const made: HintingPolicy[] = [];
  const startsNs: number[] = [];
  const create: PolicyPlugin["create"] = (context, options) => {
    const policy = plugin.create(context, options);
    const start = policy.start;
    policy.start = () => {
      startsNs.push(context.sim.now);
      start?.call(policy);
    };
    made.push(policy);
    return policy;
  };
  return { plugin: { ...plugin, name: "watched", create }, made, startsNs };
}
