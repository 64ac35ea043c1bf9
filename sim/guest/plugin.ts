/** What a policy and a workload say of themselves, so that a registry and the assembly can work with them. */
import type { Options } from "../core/options.ts";
import type { Random } from "../core/random.ts";
import type { Sim } from "../core/sim.ts";
import type { Worker } from "../core/worker.ts";
import type { Costs } from "../host/costs.ts";
import type { Host } from "../host/host.ts";
import type { Driver } from "./driver.ts";
import type { Workload, WorkloadContext } from "./operations.ts";
import type { Future } from "./future.ts";
import type { HintingPolicy } from "./policy.ts";
import type { Zone } from "./zone.ts";

/** What a policy gets to work with. */
export interface PolicyContext {
  /** Clock and tasks. */
  readonly sim: Sim;
  /** The guest's zones, ascending by address. */
  readonly zones: readonly Zone[];
  /** The driver: lists, isolation, messages; it writes the rows and charges the time. */
  readonly driver: Driver;
  /** The one worker of the driver: its jobs run one after the other. */
  readonly worker: Worker;
  /** What things cost, ns. */
  readonly costs: Costs;
  /** Virtual CPUs of the guest. */
  readonly vcpus: number;
  /** Page frame after the last that the guest has or may get (`max_pfn`). */
  readonly maxPfn: number;
  /** The host itself, for upper bounds that no message limits. A design that could be built never uses it. */
  readonly host: Host;
  /** A random stream of the policy's own, by name. */
  readonly random: (name: string) => Random;
  /** What a rehearsal of the run knows, for plug-ins that need `future`; asked for when the run starts. */
  readonly future?: (() => Future) | undefined;
}

/** Something a plug-in cannot run without. The assembly refuses a combination that lacks it. */
export type Need = "requests" | "future" | "lists";

/** A case of the conformance suite (`tests/policies/conformance`) that a policy cannot pass. */
export interface SkippedCase {
  /** Name of the case. */
  readonly case: string;
  /** Why the policy cannot pass it, a sentence without a full stop. */
  readonly reason: string;
}

/** A policy as the registry holds it; made by {@link policyPlugin}. */
export interface PolicyPlugin {
  /** Name in scenarios, for example `per-order`. */
  readonly name: string;
  /** One line: what it does. */
  readonly summary: string;
  /** Where the design was posted or merged. */
  readonly source: string;
  /** Its options. */
  readonly options: Options<unknown>;
  /** What it needs; `requests` means that the host asks for its passes, `future` a rehearsal, `lists` free lists. */
  readonly needs: readonly Need[];
  /** The queue that its driver uses when it names none, `request` unless told; a VMM gives each a size of its own. */
  readonly queue?: string;
  /** Cases of the conformance suite that it cannot pass; the suite refuses one that it does pass. */
  readonly skip?: readonly SkippedCase[];
  /** Makes one for a guest. */
  create(context: PolicyContext, options: unknown): HintingPolicy;
}

/** Declares a policy with typed options. */
export function policyPlugin<O>(plugin: {
  readonly name: string;
  readonly summary: string;
  readonly source: string;
  readonly options: Options<O>;
  readonly needs?: readonly Need[];
  readonly queue?: string;
  readonly skip?: readonly SkippedCase[];
  readonly create: (context: PolicyContext, options: O) => HintingPolicy;
}): PolicyPlugin {
  return {
    ...plugin,
    options: plugin.options as Options<unknown>,
    needs: plugin.needs ?? [],
    create: (context, options) => plugin.create(context, options as O),
  };
}

/** A workload inside a workload. */
export interface ChildConfig {
  /** Its configuration in input form, `kind` included, without the keys that its parent reads. */
  readonly config: Readonly<Record<string, unknown>>;
  /** Where it stands in the options of its parent. */
  readonly path: readonly (string | number)[];
}

/** What a workload is composed of, for those who list and describe it: kinds with options of their own. */
export interface WorkloadUsers {
  /** The kinds, each with its name, one line on what it does, what it imitates, and its options. */
  readonly kinds: readonly Pick<WorkloadPlugin, "name" | "summary" | "source" | "options">[];
  /** Options that every kind takes. */
  readonly common: Options<unknown>;
}

/** A workload as the registry holds it; made by {@link workloadPlugin}. */
export interface WorkloadPlugin {
  /** Name in scenarios, for example `churn`. */
  readonly name: string;
  /** One line: what it does. */
  readonly summary: string;
  /** What it imitates or where it comes from. */
  readonly source: string;
  /** Its options. */
  readonly options: Options<unknown>;
  /** What it is composed of, if anything. */
  readonly users?: WorkloadUsers | undefined;
  /**
   * The options in input form with the defaults of what they hold inside, which is checked. Throws InputError with a path
   * in the options.
   */
  fill(options: unknown, filled: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>>;
  /** Files that it reads, as the scenario names them. */
  files(options: unknown): readonly string[];
  /** The configurations of the workloads that it is made of, in input form, with their place in the options. */
  children(options: unknown): readonly ChildConfig[];
  /** The machine it brings along, from its files, or undefined when the scenario decides. */
  memoryBytes(options: unknown, file: (path: string) => Uint8Array): number | undefined;
  /** Makes one for a guest. */
  create(context: WorkloadContext, options: unknown): Workload;
}

/** Declares a workload with typed options. */
export function workloadPlugin<O>(plugin: {
  readonly name: string;
  readonly summary: string;
  readonly source: string;
  readonly options: Options<O>;
  readonly users?: WorkloadUsers;
  readonly fill?: (options: O, filled: Readonly<Record<string, unknown>>) => Readonly<Record<string, unknown>>;
  readonly files?: (options: O) => readonly string[];
  readonly children?: (options: O) => readonly ChildConfig[];
  readonly memoryBytes?: (options: O, file: (path: string) => Uint8Array) => number | undefined;
  readonly create: (context: WorkloadContext, options: O) => Workload;
}): WorkloadPlugin {
  return {
    ...plugin,
    options: plugin.options as Options<unknown>,
    fill: (options, filled) => plugin.fill?.(options as O, filled) ?? filled,
    files: (options) => plugin.files?.(options as O) ?? [],
    children: (options) => plugin.children?.(options as O) ?? [],
    memoryBytes: (options, file) => plugin.memoryBytes?.(options as O, file),
    create: (context, options) => plugin.create(context, options as O),
  };
}
