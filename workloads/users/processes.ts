/**
 * Jobs that come one after the other: a process is forked, grows, reads files, exits; a build's compilers, a shell's commands.
 *
 * At the fork its kernel stack (order 2, `alloc_thread_stack_node`) and its top page tables are allocated, and with `parent` copies of
 * the page tables of that (`dup_mmap`, `copy_page_range`), which go at the exec (`exec_mmap`); its memory is faulted in over the first
 * part of its life, page tables with it; at the exit all of it goes at once (`exit_mmap`).
 * A job that the OOM killer ended is not missed: its slot forks again when the job would have exited.
 */
import { type Distribution, uniform } from "../../sim/core/distributions.ts";
import { duration, flag, fraction, InputError, integer, optional, type Options, size } from "../../sim/core/options.ts";
import { UNMOVABLE } from "../../sim/guest/allocator.ts";
import { PAGE_SIZE } from "../../sim/memory/range.ts";
import {
  faultOrdersField,
  type Lifetime,
  lifetimeField,
  orderDistribution,
  shapedDistribution,
  type Weights,
} from "../distribution_options.ts";
import {
  type Amount,
  amountField,
  amountPages,
  type Amounts,
  amountsDistribution,
  amountsField,
  shareOf,
} from "./amounts.ts";
import { type Backing, burstField, Region, TABLE_PAGES } from "./region.ts";
import { type MemoryUser, type OpSink, type UserContext, type UserKind, userKind } from "./user.ts";

/** Options of processes. */
export interface ProcessesOptions {
  /** Processes at a time. */
  readonly jobs: number;
  /** So many jobs for every so much memory, bytes. */
  readonly jobsPer: number | undefined;
  /** Largest memory of a process. */
  readonly memory: Amounts;
  /** How long a process lives, ns. */
  readonly lifetime: Lifetime;
  /** From an exit to the next fork, ns. */
  readonly pause: number;
  /** Anonymous memory of the parent, whose page tables a fork copies. */
  readonly parent: Amount;
  /** From a fork to the exec, ns. */
  readonly exec: number;
  /** Part of its life in which a process grows. */
  readonly growth: number;
  /** How often a process faults, ns. */
  readonly tick: number;
  /** Folios of a fault. */
  readonly orders: Weights;
  /** How many faults of single pages are run as one operation, at most. */
  readonly burst: number;
  /** Share of memory from huge faults. */
  readonly huge: number;
  /** File pages read for every MiB that it grows. */
  readonly reads: number;
  /** Size of the files that are read. */
  readonly files: Amount;
  /** Whether the curve says how much memory the processes have. */
  readonly follow: boolean;
  /** What the curve's use holds that is not the processes', bytes. */
  readonly base: Amount;
  /** How far the largest memory of a process lies from the mean with `follow`. */
  readonly spread: number;
}

/** Processes at a time, at most. */
const JOBS_MAX = 1e5;

const options: Options<ProcessesOptions> = {
  fields: {
    jobs: integer(4, 0, JOBS_MAX, { summary: "processes at a time", unit: "processes" }),
    jobsPer: optional(size(undefined, 1, 2 ** 44, { summary: "as many jobs for every so much memory of the guest" })),
    memory: amountsField("exponential", "64MiB", "largest memory of a process"),
    lifetime: lifetimeField("10s"),
    pause: duration("10ms", { summary: "mean time from an exit to the next fork" }),
    parent: amountField("0", "anonymous memory of the parent, whose page tables a fork copies"),
    exec: duration("1ms", { summary: "with parent: from a fork to the exec, which frees these copies" }),
    growth: fraction(0.5, 0, 1, { summary: "part of its life in which a process grows, from 0 to 1" }),
    tick: duration("50ms", { summary: "how often a process that grows faults" }, 1000),
    orders: faultOrdersField(),
    burst: burstField,
    huge: fraction(0, 0, 1, {
      summary: "share of memory from huge faults, with fallback (THP)",
      source: "mm/huge_memory.c do_huge_pmd_anonymous_page",
    }),
    reads: fraction(0, 0, 256, { summary: "file pages read for every MiB that a process grows" }),
    files: amountField("1GiB", "size of the files that are read, at random"),
    follow: flag(false, { summary: "the curve says how much memory all processes have, instead of `memory`" }),
    base: amountField("0", "what the curve's use holds that is not the processes'"),
    spread: fraction(0.3, 0, 1, {
      summary: "with follow: largest memory of a process, from 1 - spread to 1 + spread times",
    }),
  },
};

/** What the processes of one CPU share. */
interface Shape {
  readonly context: UserContext;
  readonly options: ProcessesOptions;
  readonly backing: Backing;
  readonly memory: Distribution;
  readonly lifetimes: Distribution;
  readonly spread: Distribution;
  readonly jobs: number;
  /** Page tables that a fork copies. */
  readonly copiedTables: number;
  /** First handle and number of the pages of the files. */
  readonly firstFile: number;
  readonly filePages: number;
}

/** Pages of a process below which it is not started: the curve has ended. */
const PROCESS_PAGES_MIN = 64;

/** With `follow` a process that has so many times what the curve wants of it exits: a falling curve is jobs that end. */
const EXCESS_MAX = 1.25;

/** Order of a kernel stack, THREAD_SIZE_ORDER of x86-64. */
const STACK_ORDER = 2;

/** Top levels of page tables: pgd, p4d or pud, pmd. */
const TABLES = 3;

/** One slot for jobs: a process at a time. */
class Job implements MemoryUser {
  dueNs: number;
  #shape: Shape;
  #region: Region;
  #kernel: number[] = [];
  /** Copies of the parent's page tables, until the exec. */
  #copied: number[] = [];
  /** The process that runs, or 0. */
  #owner = 0;
  #startNs = 0;
  #endNs = -1;
  /** Largest pages, or with `follow` a multiple of what the curve says. */
  #size = 0;

  constructor(shape: Shape) {
    this.#shape = shape;
    this.#region = new Region(shape.backing);
    // Jobs do not start in step.
    this.dueNs = Math.round(shape.backing.random.nextFloat() * Math.min(shape.options.lifetime.mean, 1e9));
  }

  act(sink: OpSink): void {
    sink.owner = this.#owner;
    if (this.#kernel.length === 0) this.#fork(sink);
    else if (sink.nowNs >= this.#endNs) this.#exit(sink);
    else if (this.#copied.length > 0) this.#exec(sink);
    else this.#grow(sink);
  }

  end(sink: OpSink): void {
    sink.owner = this.#owner;
    if (this.#kernel.length > 0) this.#exit(sink);
  }

  #fork(sink: OpSink): void {
    const { options, backing, lifetimes, memory, spread, copiedTables } = this.#shape;
    if (options.follow && this.#followed(sink.nowNs) < PROCESS_PAGES_MIN) {
      this.dueNs = sink.nowNs + options.lifetime.mean;
      return;
    }
    this.#startNs = sink.nowNs;
    this.#endNs = sink.nowNs + Math.max(options.tick, Math.round(lifetimes.draw(backing.random)));
    this.#size = options.follow
      ? spread.draw(backing.random) / (1 - options.growth / 2)
      : Math.max(1, memory.draw(backing.random));
    sink.owner = this.#owner = sink.newOwner();
    this.#kernel.push(sink.alloc(STACK_ORDER, UNMOVABLE, 1));
    for (let n = 0; n < TABLES; n++) this.#kernel.push(sink.alloc(0, UNMOVABLE, 1));
    for (let n = 0; n < copiedTables; n++) this.#copied.push(sink.alloc(0, UNMOVABLE, 1));
    this.dueNs = Math.min(this.#endNs, sink.nowNs + (copiedTables > 0 ? options.exec : options.tick));
  }

  /** The new program begins without what the fork copied. */
  #exec(sink: OpSink): void {
    this.#freeCopied(sink);
    this.dueNs = Math.min(this.#endNs, sink.nowNs + this.#shape.options.tick);
  }

  #freeCopied(sink: OpSink): void {
    for (const handle of this.#copied) sink.free(handle);
    this.#copied = [];
  }

  #grow(sink: OpSink): void {
    const { options } = this.#shape;
    const before = this.#region.pages;
    const grownNs = (this.#endNs - this.#startNs) * options.growth;
    const ramp = grownNs > 0 ? Math.min(1, (sink.nowNs - this.#startNs) / grownNs) : 1;
    const largest = options.follow ? this.#size * this.#followed(sink.nowNs) : this.#size;
    if (options.follow && before > EXCESS_MAX * largest && before > PROCESS_PAGES_MIN) {
      this.#exit(sink);
      return;
    }
    this.#region.grow(sink, Math.ceil(largest * ramp));
    this.#read(sink, this.#region.pages - before);
    const more = ramp < 1 || options.follow;
    this.dueNs = more ? Math.min(this.#endNs, sink.nowNs + options.tick) : this.#endNs;
  }

  #read(sink: OpSink, grownPages: number): void {
    const { options, backing: { random }, filePages, firstFile } = this.#shape;
    if (options.reads === 0 || filePages === 0) return;
    const expected = grownPages * PAGE_SIZE / 2 ** 20 * options.reads;
    const reads = Math.floor(expected) + (random.nextFloat() < expected % 1 ? 1 : 0);
    for (let n = 0; n < reads; n++) sink.read(firstFile + random.nextBelow(filePages), 0);
  }

  #exit(sink: OpSink): void {
    const { options, backing } = this.#shape;
    this.#region.unmap(sink);
    this.#freeCopied(sink);
    for (const handle of this.#kernel) sink.free(handle);
    this.#kernel = [];
    this.#owner = 0;
    this.dueNs = sink.nowNs + Math.round(options.pause * 2 * backing.random.nextFloat());
  }

  /** Pages of one process on the mean, as the curve says. */
  #followed(nowNs: number): number {
    const { context, options, jobs } = this.#shape;
    const pages = context.curve!.workingPages(context.startNs + nowNs) - amountPages(options.base, context.memoryPages);
    return Math.max(0, pages) / jobs;
  }
}

/** The jobs of one CPU. */
class Jobs implements MemoryUser {
  dueNs = Infinity;
  #jobs: readonly Job[];

  constructor(jobs: readonly Job[]) {
    this.#jobs = jobs;
    this.#settle();
  }

  act(sink: OpSink): void {
    for (const job of this.#jobs) {
      if (job.dueNs <= sink.nowNs) job.act(sink);
    }
    this.#settle();
  }

  end(sink: OpSink): void {
    for (const job of this.#jobs) job.end(sink);
  }

  #settle(): void {
    this.dueNs = this.#jobs.reduce((dueNs, job) => Math.min(dueNs, job.dueNs), Infinity);
  }
}

function create(context: UserContext, settings: ProcessesOptions): MemoryUser {
  const { memoryPages, cpu, cpus } = context;
  const { jobsPer, jobs } = settings;
  const total = jobsPer === undefined ? jobs : Math.ceil(jobs * memoryPages * PAGE_SIZE / jobsPer);
  if (total > JOBS_MAX) {
    throw new InputError(["jobsPer"], `${total} processes at a time are too many; wanted are ${JOBS_MAX} at most`);
  }
  const filePages = settings.reads > 0 ? Math.floor(amountPages(settings.files, memoryPages) / cpus) : 0;
  const shape: Shape = {
    context,
    options: settings,
    backing: {
      orders: orderDistribution(settings.orders),
      huge: settings.huge,
      burst: settings.burst,
      random: context.random("processes"),
    },
    memory: amountsDistribution(settings.memory, memoryPages),
    lifetimes: shapedDistribution(settings.lifetime),
    spread: uniform(1 - settings.spread, 1 + settings.spread),
    jobs: total,
    copiedTables: Math.ceil(amountPages(settings.parent, memoryPages) / TABLE_PAGES),
    firstFile: filePages > 0 ? context.range(filePages) : 0,
    filePages,
  };
  return new Jobs(Array.from({ length: shareOf(total, cpu, cpus) }, () => new Job(shape)));
}

/** The kind. */
export const processes: UserKind = userKind<ProcessesOptions>({
  kind: "processes",
  summary: "jobs one after the other: fork, growth, file reads, exit at once",
  source: "kernel/fork.c, fs/exec.c, mm/mmap.c exit_mmap",
  options,
  create,
});
