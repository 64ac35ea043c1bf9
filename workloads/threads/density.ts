/**
 * The single batch, with a look at what it finds: how the free blocks lie in memory after a given uptime. Andrea Arcangeli and
 * Dave Hansen argued in 2016 about runs whose length is no power of two and about bitmaps with few bits; these are both.
 *
 * It asks by itself, once, so that a grid can have the uptime as an axis.
 */
import {
  duration,
  type HintingPolicy,
  MIGRATETYPE_COUNT,
  ORDER_MAX,
  ORDER_PAGES,
  type PolicyContext,
  policyPlugin,
} from "hintsim";
import { singleBatch } from "../../policies/single_batch.ts";
import { densityOf } from "../../sim/abi/density.ts";
import { parseOptions } from "../../sim/core/options.ts";
import { walkList } from "../../sim/guest/collect.ts";

const WORD_PAGES = 64;

/** Blocks of these orders fill words of 64 pages only in part. */
const SMALL_ORDERS = 6;

/** Options of the measured batch. */
interface DensityOptions {
  /** When the host asks, ns. */
  readonly uptime: number;
}

class Density implements HintingPolicy {
  readonly #context: PolicyContext;
  readonly #uptimeNs: number;
  readonly #batch: HintingPolicy;
  readonly #counters: Record<string, number> = {};

  constructor(context: PolicyContext, { uptime }: DensityOptions) {
    this.#context = context;
    this.#uptimeNs = uptime;
    this.#batch = singleBatch.create(context, parseOptions(singleBatch.options, { merge: "sorted" }, []).value);
  }

  start(): void {
    const { sim, worker } = this.#context;
    const kind = sim.register("uptime", () => {
      this.#measure();
      worker.post(() => this.#batch.onRequest!({ id: 1 }));
    });
    sim.after(this.#uptimeNs, kind);
  }

  counters(): Record<string, number> {
    return this.#counters;
  }

  /** Looks at the lists; this costs the guest nothing, as it is no part of a design. */
  #measure(): void {
    const counters = this.#counters;
    const all = [];
    for (let order = 0; order <= ORDER_MAX; order++) {
      const pfns = this.#pfnsOf(order);
      for (const pfn of pfns) all.push({ pfn, count: ORDER_PAGES[order] });
      if (order >= SMALL_ORDERS) continue;
      const words = new Set(pfns.map((pfn) => Math.floor(pfn / WORD_PAGES)));
      counters[`bits_per_word_o${order}`] = words.size === 0 ? 0 : pfns.length * ORDER_PAGES[order] / words.size;
    }
    const { blocks, runs, unevenShare, bitsPerSetWord, bitsPerWord } = densityOf(all, []);
    counters.blocks = blocks;
    counters.runs = runs;
    counters.uneven_percent = 100 * unevenShare;
    counters.bits_per_set_word = bitsPerSetWord;
    counters.bits_per_word = bitsPerWord;
  }

  /** First pages of all free blocks of an order. */
  #pfnsOf(order: number): number[] {
    const pfns: number[] = [];
    for (const zone of this.#context.zones) {
      for (let type = 0; type < MIGRATETYPE_COUNT; type++) {
        walkList(zone, order, type, false, (pfn) => pfns.push(pfn) > 0);
      }
    }
    return pfns;
  }
}

export default policyPlugin<DensityOptions>({
  name: "measured-batch",
  summary: "one batch of merged runs after a given uptime, with a look at how dense the free blocks are",
  source: "Andrea Arcangeli and Dave Hansen, linux-mm, Nov and Dec 2016",
  options: { fields: { uptime: duration("10s", { summary: "when the host asks" }) } },
  create: (context, options) => new Density(context, options),
});
