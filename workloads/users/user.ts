/**
 * Users of memory compose a guest's life: each says when it acts next, and what it asks for then. A stream merges the users of
 * one virtual CPU.
 */
import { InputError, type Options } from "../../sim/core/options.ts";
import type { Random } from "../../sim/core/random.ts";
import { formatDuration } from "../../sim/memory/units.ts";

/** Takes the operations of a user at the time it was asked for, and hands out handles. */
export interface OpSink {
  /** Virtual CPU on which the operations run. */
  readonly cpu: number;
  /** Virtual time of the operations since the start of the user's phase, ns. */
  readonly nowNs: number;
  /** The process for which what follows is asked (OpColumns.owner); 0, nobody, when a user begins to act. */
  owner: number;
  /** The number of a new process, which no other has or had. */
  newOwner(): number;
  /** Allocates 2^order pages and writes `touch` of them; returns the handle. `flags` are those of OpFlag; with fallback the order is 9 at most. */
  alloc(order: number, migratetype: number, touch: number, flags?: number): number;
  /** A fault of a movable folio of 2^order pages, 9 at most, that may become smaller ones (OpFlag.fallback). Returns the handle. */
  fault(order: number, touch: number): number;
  /** Faults of 2^order single pages one after the other, 2^9 at most, that are run as one operation. Returns the handle. */
  faultSingles(order: number): number;
  /** Frees a handle of {@link OpSink.alloc}, {@link OpSink.fault} or {@link OpSink.faultSingles}. */
  free(handle: number): void;
  /** Writes the first `pages` pages of a handle. */
  touch(handle: number, pages: number): void;
  /**
   * Reads a page of the page cache, or with RECLAIMABLE uses a shrinkable slab, under a handle that stays the user's: a hit, or
   * 2^order new pages (OpFlag.cache).
   */
  read(handle: number, order: number, migratetype?: number): void;
  /** Drops caches: 1 page cache, 2 reclaimable slab, 3 both. */
  dropCaches(what: number): void;
  /** Reclaims so many pages (`memory.reclaim`); what follows waits for it. */
  reclaim(pages: number): void;
}

/** One user of memory on one virtual CPU. */
export interface MemoryUser {
  /** When it acts next, ns since the start of its phase; Infinity when it never does again. */
  readonly dueNs: number;
  /** Acts; its next time is later, or the same if it has more to do at once. */
  act(sink: OpSink): void;
  /** The phase is over: frees what it holds. */
  end(sink: OpSink): void;
}

/** A recorded curve of what a guest used; between its points it is straight. */
export interface UserCurve {
  /** Pages in use without the page cache at a time of the workload, ns. */
  workingPages(timeNs: number): number;
  /** Pages of the page cache. */
  cachedPages(timeNs: number): number;
}

/** A kind of user as the registry (`mod.ts`) holds it; made by {@link userKind}. */
export interface UserKind {
  /** Name in scenarios. */
  readonly kind: string;
  /** One line: what it does. */
  readonly summary: string;
  /** What it imitates: subsystem, file, function. */
  readonly source: string;
  /** Its options. */
  readonly options: Options<unknown>;
  /** Refuses options that a user of so many ns cannot have. Throws InputError with a path in its options. */
  check(options: unknown, durationNs: number): void;
  /** Makes one for one CPU. */
  create(context: UserContext, options: unknown): MemoryUser;
}

/** Declares a kind of user with typed options. */
export function userKind<O>(kind: {
  readonly kind: string;
  readonly summary: string;
  readonly source: string;
  readonly options: Options<O>;
  readonly check?: (options: O, durationNs: number) => void;
  readonly create: (context: UserContext, options: O) => MemoryUser;
}): UserKind {
  return {
    ...kind,
    options: kind.options as Options<unknown>,
    check: (options, durationNs) => kind.check?.(options as O, durationNs),
    create: (context, options) => kind.create(context, options as O),
  };
}

/** What users are made with. */
export interface UserContext {
  /** Pages of memory of the guest. */
  readonly memoryPages: number;
  /** Virtual CPUs of the guest. */
  readonly vcpus: number;
  /** The CPU of this user. */
  readonly cpu: number;
  /** On how many CPUs the user runs: each has this part of its amounts and rates. */
  readonly cpus: number;
  /** How long its phase is, ns. */
  readonly durationNs: number;
  /** When its phase starts in the workload, ns. */
  readonly startNs: number;
  /** The recorded curve of the workload, if it names one. */
  readonly curve: UserCurve | undefined;
  /** A range of `count` handles that stay the user's until the end: the pages of files. Only while users are made. */
  range(count: number): number;
  /** A random stream by name, of this user on this CPU. */
  random(name: string): Random;
}

/** Refuses a time, from its start, at which a user of `durationNs` is gone. Throws {@link InputError} at its key `at`. */
export function checkAt(atNs: number, durationNs: number): void {
  if (atNs < durationNs) return;
  throw new InputError(["at"], `comes when it is over, after ${formatDuration(durationNs)}`);
}
