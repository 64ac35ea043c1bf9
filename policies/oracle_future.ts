/**
 * The upper bound that knows the future: as `oracle`, but a free page that will be used again soon stays, as Belady's rule keeps
 * in a cache what is needed next. It stays when its next use is at most `keep` away: holding a page that long is taken to cost
 * as much as dropping it and faulting it in again.
 *
 * The future comes from a rehearsal of the same scenario in which this guest tells its host nothing (sim/guest/future.ts):
 * exact where stalls move no operation. Pages that migration moved when memory was unplugged are not foreseen.
 */
import { duration, type Options } from "../sim/core/options.ts";
import type { Sim } from "../sim/core/sim.ts";
import { type Future, KnownFree } from "../sim/guest/future.ts";
import { type PolicyContext, type PolicyPlugin, policyPlugin } from "../sim/guest/plugin.ts";
import type { HintingPolicy } from "../sim/guest/policy.ts";
import { UnaskedDrops } from "../sim/guest/unasked_drops.ts";
import type { Zone } from "../sim/guest/zone.ts";
import type { Host } from "../sim/host/host.ts";
import { HUGE_PAGES, ORDER_PAGES } from "../sim/memory/range.ts";

/** Options of the oracle that knows the future. */
export interface OracleFutureOptions {
  /** A page that is used again within this time stays, ns. */
  readonly keep: number;
}

const options: Options<OracleFutureOptions> = {
  fields: { keep: duration("10s", { summary: "a free page that is used again within this time stays" }) },
};

class OracleFuture implements HintingPolicy {
  readonly freeOrderMin = 0;
  #sim: Sim;
  #host: Host;
  #zones: readonly Zone[];
  #keepNs: number;
  #drops: UnaskedDrops;
  #known: KnownFree;
  #foretell: () => Future;
  #future: Future | undefined;
  #foreseenPages = 0;
  #keptPages = 0;

  constructor(context: PolicyContext, { keep }: OracleFutureOptions) {
    this.#sim = context.sim;
    this.#host = context.host;
    this.#zones = context.zones;
    this.#keepNs = keep;
    this.#drops = new UnaskedDrops(context);
    this.#known = new KnownFree(context.maxPfn);
    this.#foretell = context.future!;
  }

  start(): void {
    this.#future = this.#foretell();
    for (const zone of this.#zones) zone.forEachFree((pfn, order) => this.onFree(zone, pfn, order));
  }

  onFree(zone: Zone, pfn: number, order: number): void {
    const pages = ORDER_PAGES[order];
    this.#known.freed(pfn, pages, (run, count) => {
      for (let page = run; page < run + count; page++) this.#foresee(page);
      // A fault may have brought in what lies beside the page, in the same 2 MiB of the same block.
      const from = Math.max(pfn, Math.floor(run / HUGE_PAGES) * HUGE_PAGES);
      const to = Math.min(pfn + pages, Math.ceil((run + count) / HUGE_PAGES) * HUGE_PAGES);
      this.#knownPages(zone, from, to);
    });
  }

  /** Not a use to prepare for, but to know of. */
  needsUse(_zone: Zone, pfn: number, order: number): boolean {
    this.#known.used(pfn, ORDER_PAGES[order], () => {});
    return false;
  }

  counters(): Record<string, number> {
    return { kept_pages: this.#keptPages, foreseen_pages: this.#foreseenPages };
  }

  #foresee(pfn: number): void {
    const awayNs = this.#future!.freed(pfn, this.#sim.now) - this.#sim.now;
    if (awayNs < Infinity) this.#foreseenPages++;
    if (awayNs <= this.#keepNs) this.#keptPages++;
  }

  /** Drops those of the pages that will not be used soon. */
  #knownPages(zone: Zone, from: number, to: number): void {
    if (this.#host.residentIn(from, to - from) === 0) return;
    const untilNs = this.#sim.now + this.#keepNs;
    let run = from;
    for (let page = from; page <= to; page++) {
      if (page < to && this.#future!.reuseAtNs(page) > untilNs) continue;
      if (page > run) this.#drops.add(zone, run, page - run);
      run = page + 1;
    }
  }
}

/** The plug-in. */
export const oracleFuture: PolicyPlugin = policyPlugin({
  name: "oracle-future",
  summary: "upper bound: as oracle, but a page that will be used again soon stays",
  source: "hintsim, after Belady's rule for caches (1966)",
  options,
  needs: ["future"],
  skip: [
    { case: "skips as it reclaims: no page is dropped", reason: "it has no action but to reclaim" },
    { case: "memory comes while a message travels", reason: "it sends no messages" },
    { case: "memory goes while a message travels", reason: "it sends no messages" },
  ],
  create: (context, settings) => new OracleFuture(context, settings),
});
