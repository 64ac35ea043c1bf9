/** Writes to /proc/sys/vm/drop_caches once. */
import { duration, integer, type Options } from "../../sim/core/options.ts";
import { checkAt, type MemoryUser, type OpSink, type UserKind, userKind } from "./user.ts";

/** Options of drop-caches. */
export interface DropCachesOptions {
  /** 1 page cache, 2 reclaimable slab, 3 both. */
  readonly what: number;
  /** When, from the start of the phase, ns. */
  readonly at: number;
}

const options: Options<DropCachesOptions> = {
  fields: {
    what: integer(3, 1, 3, { summary: "1 page cache, 2 reclaimable slab, 3 both", source: "fs/drop_caches.c" }),
    at: duration("0s", { summary: "when, from the start of the phase" }),
  },
};

/** Acts once, on one CPU. */
class DropCaches implements MemoryUser {
  dueNs: number;
  #what: number;

  constructor({ what, at }: DropCachesOptions, first: boolean) {
    this.dueNs = first ? at : Infinity;
    this.#what = what;
  }

  act(sink: OpSink): void {
    sink.dropCaches(this.#what);
    this.dueNs = Infinity;
  }

  end(): void {}
}

/** The kind. */
export const dropCaches: UserKind = userKind<DropCachesOptions>({
  kind: "drop-caches",
  summary: "drops caches once",
  source: "fs/drop_caches.c",
  options,
  check: ({ at }, durationNs) => checkAt(at, durationNs),
  create: (context, settings) => new DropCaches(settings, context.cpu === 0),
});
