/**
 * A guest that lives: users of memory (`workloads/users/`, one file each) side by side, in phases.
 *
 * ```yaml
 * workload:
 *   kind: living
 *   curve: recordings/clang-build-guest.csv      # only for users with `follow: true`: columns t_s, used_gib, cached_gib
 *   phases:
 *     - for: 30s                                 # every phase has a length
 *       users:
 *         - { kind: processes, jobs: 12, memory: { mean: 300MiB }, lifetime: { mean: 20s } }
 *         - { kind: page-cache, files: 8GiB, rate: 100MiB, keep: true }
 *     - for: 10s
 *       users: [{ kind: drop-caches, what: 3 }]
 * ```
 *
 * Every user also takes `cpus: 4` (on how many CPUs it runs, all unless told), `from: 5s` and `until: 9s` (in the phase), and
 * `keep: true` (what it holds at its end stays allocated for good; else it is freed then). Amounts are sizes (`300MiB`) or shares of the guest's memory (`5%`), and
 * they, rates and counts are of the whole guest: the CPUs share them evenly. `deno task sim list users` shows the kinds with their
 * options.
 */
import { z } from "zod";
import {
  duration,
  durationSchema,
  field,
  flag,
  inOption,
  InputError,
  integer,
  optional,
  type Options,
  parseOptions,
  text,
  unknownName,
} from "../sim/core/options.ts";
import { formatDuration } from "../sim/memory/units.ts";
import type { Workload, WorkloadContext } from "../sim/guest/operations.ts";
import { type WorkloadPlugin, workloadPlugin } from "../sim/guest/plugin.ts";
import { StartBlocks } from "../sim/guest/start_blocks.ts";
import type { Weights } from "./distribution_options.ts";
import { readUserCurve } from "./users/curve.ts";
import { userKinds } from "./users/mod.ts";
import { type PhaseUser, UserStream } from "./users/stream.ts";
import type { UserContext, UserCurve, UserKind } from "./users/user.ts";

/** A user of memory in a phase. */
interface UserSetting {
  readonly kind: UserKind;
  readonly options: unknown;
  /** It in input form, with all defaults. */
  readonly filled: Readonly<Record<string, unknown>>;
  /** On how many CPUs it runs; all when left out. */
  readonly cpus: number | undefined;
  /** Whether what it holds at the end of the phase stays allocated. */
  readonly keep: boolean;
  /** When it starts in the phase, ns. */
  readonly from: number;
  /** When it ends in the phase, ns; with the phase when left out. */
  readonly until: number | undefined;
}

type Path = readonly (string | number)[];

/** A phase. */
export interface LivingPhase {
  /** How long, ns. */
  readonly for: number;
  /** Users in input form. */
  readonly users: readonly Readonly<Record<string, unknown>>[];
}

/** Options of a living guest. */
export interface LivingOptions {
  /** The phases in order. */
  readonly phases: readonly LivingPhase[];
  /** A recorded curve for users with `follow`. */
  readonly curve?: string | undefined;
}

const userSchema = z.looseObject({ kind: z.string() });

const phaseSchema = z.strictObject({ for: durationSchema(1000), users: z.array(userSchema).default([]) });

const options: Options<LivingOptions> = {
  fields: {
    phases: field(z.array(phaseSchema) as unknown as z.ZodType<readonly LivingPhase[]>, undefined, {
      summary: `phases in order, each {for: 30s, users: [{kind: …}]}; kinds are ${
        userKinds.map(({ kind }) => kind).join(", ")
      }`,
    }),
    curve: optional(text(undefined, {
      summary: "a CSV file with t_s, used_gib (page cache included) and cached_gib, for users with follow: true",
    })),
  },
};

/** What every user takes. */
const COMMON: Options<Omit<UserSetting, "kind" | "options" | "filled">> = {
  fields: {
    cpus: optional(
      integer(undefined, 1, 65536, {
        summary:
          "on how many CPUs it runs, as many as there are at most, each with an equal part of its amounts; all when left out",
      }),
    ),
    keep: flag(false, { summary: "what it holds at the end stays allocated for good" }),
    from: duration("0s", { summary: "when it starts, from the start of its phase" }),
    until: optional(duration(undefined, { summary: "when it ends; with its phase when left out" })),
  },
};

type Times = Pick<UserSetting, "from" | "until">;

/** How long a user is there in a phase of `phaseNs`, ns. */
function durationOf({ from, until }: Times, phaseNs: number): number {
  return Math.min(until ?? phaseNs, phaseNs) - from;
}

/** Refuses a user that would never act. */
function checkTimes({ from, until }: Times, phaseNs: number, path: Path): void {
  if (from >= phaseNs) {
    throw new InputError([...path, "from"], `starts when its phase of ${formatDuration(phaseNs)} is over`);
  }
  if (until !== undefined && until <= from) {
    throw new InputError([...path, "until"], `ends no later than it starts, at ${formatDuration(from)}`);
  }
}

/** Checks a user, which stands at `path` in a phase of `phaseNs`, against its kind. */
function parseUser(input: Readonly<Record<string, unknown>>, path: Path, phaseNs: number, curve: boolean): UserSetting {
  const { kind: name, cpus, keep, from, until, ...rest } = input;
  const kind = userKinds.find((known) => known.kind === name);
  if (kind === undefined) {
    throw new InputError([...path, "kind"], unknownName("user", String(name), userKinds.map((known) => known.kind)));
  }
  const { value: common, filled: filledCommon } = parseOptions(COMMON, { cpus, keep, from, until }, path);
  const { value, filled } = parseOptions(kind.options, rest, path, Object.keys(COMMON.fields));
  checkTimes(common, phaseNs, path);
  inOption(path, () => kind.check(value, durationOf(common, phaseNs)));
  if ((value as { follow?: boolean }).follow === true && !curve) {
    throw new InputError([...path, "follow"], "follow needs the key `curve` of the workload");
  }
  const { burst = 1, orders = {} } = value as { burst?: number; orders?: Weights };
  if (burst > 1 && Object.entries(orders).some(([order, weight]) => order !== "0" && weight > 0)) {
    throw new InputError([...path, "burst"], "burst is for single pages, orders: {0: 1}, and these are larger");
  }
  return { kind, options: value, filled: { kind: kind.kind, ...filledCommon, ...filled }, ...common };
}

/** Handles for files at most: a column holds 32 bits, and half of them are left for everything else. */
const FILE_HANDLES_MAX = 2 ** 30;

/** Makes the users of all phases, for each CPU. */
class Assembly {
  readonly byCpu: PhaseUser[][];
  /** Handles given to files so far. */
  handles = 0;
  #context: WorkloadContext;
  #curve: UserCurve | undefined;

  constructor(context: WorkloadContext, curve: UserCurve | undefined) {
    this.#context = context;
    this.#curve = curve;
    this.byCpu = Array.from({ length: context.vcpus }, () => []);
  }

  /**
   * Adds a user to every CPU on which it runs; `name` separates its random streams from those of others. Throws
   * {@link InputError} when it wants more than the columns can hold.
   */
  add(setting: UserSetting, name: string, phaseNs: number, phase: LivingPhase): void {
    const { memoryPages, vcpus } = this.#context;
    const startNs = phaseNs + setting.from;
    const durationNs = durationOf(setting, phase.for);
    const cpus = Math.min(setting.cpus ?? vcpus, vcpus);
    for (let cpu = 0; cpu < cpus; cpu++) {
      const context: UserContext = {
        memoryPages,
        vcpus,
        cpu,
        cpus,
        durationNs,
        startNs,
        curve: this.#curve,
        range: (count) => this.#range(count),
        random: (stream) => this.#context.random(`${name}/cpu${cpu}/${stream}`),
      };
      const user = setting.kind.create(context, setting.options);
      this.byCpu[cpu].push({ user, startNs, endNs: startNs + durationNs, keep: setting.keep });
    }
  }

  #range(count: number): number {
    this.handles += count;
    if (this.handles <= FILE_HANDLES_MAX) return this.handles - count;
    throw new InputError(
      [],
      `its files have more than the ${FILE_HANDLES_MAX} folios that those of a workload can have`,
    );
  }
}

/** Checks the users of all phases. */
function parseUsers({ phases, curve }: LivingOptions): UserSetting[][] {
  if (phases.length === 0) throw new InputError(["phases"], "a guest that lives needs at least one phase");
  return phases.map(({ users, for: phaseNs }, index) =>
    users.map((input, at) => parseUser(input, ["phases", index, "users", at], phaseNs, curve !== undefined))
  );
}

/** The phases in input form with the defaults of their users. */
function fill(settings: LivingOptions, filled: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const users = parseUsers(settings);
  const phases = filled.phases as readonly LivingPhase[];
  return {
    ...filled,
    phases: phases.map((phase, index) => ({ ...phase, users: users[index].map((user) => user.filled) })),
  };
}

function create(context: WorkloadContext, settings: LivingOptions): Workload {
  const { vcpus } = context;
  const assembly = new Assembly(context, settings.curve === undefined ? undefined : curveOf(context, settings.curve));
  let startNs = 0;
  parseUsers(settings).forEach((users, index) => {
    const phase = settings.phases[index];
    users.forEach((setting, at) =>
      inOption(
        ["phases", index, "users", at],
        () => assembly.add(setting, `phase${index}/user${at}`, startNs, phase),
      )
    );
    startNs += phase.for;
  });
  return {
    streams: assembly.byCpu.map((users, cpu) => new UserStream(users, startNs, assembly.handles, cpu, vcpus)),
    start: new StartBlocks(),
    living: true,
    // What users ask for depends on their sizes and rates; this is what a busy guest asks for in that time.
    estimatedRows: Math.round(startNs / 1e9 * vcpus * ROWS_PER_CPU_SECOND),
    durationNs: startNs,
  };
}

/** Rows of the trace that a busy CPU writes in a second, for estimates: about those of the clang build. */
const ROWS_PER_CPU_SECOND = 1000;

function curveOf(context: WorkloadContext, file: string): UserCurve {
  return inOption(["curve:", file], () => readUserCurve(context.file(file)));
}

/** The plug-in. */
export const living: WorkloadPlugin = workloadPlugin<LivingOptions>({
  name: "living",
  summary: "a guest that lives: processes, page cache, slab, kernel pages, tmpfs, network, in phases",
  source: "workloads/users/",
  options,
  users: {
    kinds: userKinds.map(({ kind, summary, source, options }) => ({ name: kind, summary, source, options })),
    common: COMMON as Options<unknown>,
  },
  fill,
  files: ({ curve }) => curve === undefined ? [] : [curve],
  create,
});
