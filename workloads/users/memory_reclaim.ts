/** Writes an amount to a cgroup's memory.reclaim, once or again and again: a daemon that keeps a guest small. */
import { duration, optional, type Options } from "../../sim/core/options.ts";
import { type Amount, amountField, amountPages } from "./amounts.ts";
import { checkAt, type MemoryUser, type OpSink, type UserContext, type UserKind, userKind } from "./user.ts";

/** The most pages of one write: a column holds 32 bits. */
const PAGES_MAX = 2 ** 31 - 1;

/** Options of memory-reclaim. */
export interface MemoryReclaimOptions {
  /** What is asked for each time. */
  readonly amount: Amount;
  /** When for the first time, from the start of the phase, ns. */
  readonly at: number;
  /** From one time to the next, ns; only once when left out. */
  readonly every: number | undefined;
}

const options: Options<MemoryReclaimOptions> = {
  fields: {
    amount: amountField("10%", "what is asked for each time"),
    at: duration("0s", { summary: "when for the first time, from the start of the phase" }),
    every: optional(duration(undefined, { summary: "from one time to the next; once when left out" }, 1000)),
  },
};

/** One CPU writes; what is less than a page is nothing. */
class MemoryReclaim implements MemoryUser {
  dueNs: number;
  readonly #pages: number;
  readonly #everyNs: number;

  constructor({ cpu, memoryPages }: UserContext, { amount, at, every }: MemoryReclaimOptions) {
    this.#pages = Math.min(PAGES_MAX, Math.floor(amountPages(amount, memoryPages)));
    this.#everyNs = every ?? Infinity;
    this.dueNs = cpu === 0 && this.#pages > 0 ? at : Infinity;
  }

  act(sink: OpSink): void {
    sink.reclaim(this.#pages);
    this.dueNs = sink.nowNs + this.#everyNs;
  }

  end(): void {}
}

/** The kind. */
export const memoryReclaim: UserKind = userKind<MemoryReclaimOptions>({
  kind: "memory-reclaim",
  summary: "asks the kernel to drop page cache and reclaimable slab, once or regularly",
  source: "cgroup v2 memory.reclaim, mm/memcontrol.c memory_reclaim; of the whole guest, there are no cgroups",
  options,
  check: ({ at }, durationNs) => checkAt(at, durationNs),
  create: (context, settings) => new MemoryReclaim(context, settings),
});
