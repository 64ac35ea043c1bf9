/**
 * The upper bound: the host knows every free page at once. What becomes free is dropped in that instant, without a message and
 * without any work of the guest; the host pays for its discards, and the guest for the faults that follow.
 *
 * Free means on the free lists: pages on per-CPU lists are not seen before they are drained, as with any other design.
 * Where a fault brought in 2 MiB for one page, the free pages beside it are dropped when a page next to them is freed.
 */
import type { Options } from "../sim/core/options.ts";
import { type PolicyContext, type PolicyPlugin, policyPlugin } from "../sim/guest/plugin.ts";
import type { HintingPolicy } from "../sim/guest/policy.ts";
import { UnaskedDrops } from "../sim/guest/unasked_drops.ts";
import type { Zone } from "../sim/guest/zone.ts";
import { ORDER_PAGES } from "../sim/memory/range.ts";

const options: Options<Record<never, never>> = { fields: {} };

class Oracle implements HintingPolicy {
  readonly freeOrderMin = 0;
  #zones: readonly Zone[];
  #drops: UnaskedDrops;

  constructor(context: PolicyContext) {
    this.#zones = context.zones;
    this.#drops = new UnaskedDrops(context);
  }

  start(): void {
    for (const zone of this.#zones) zone.forEachFree((pfn, order) => this.onFree(zone, pfn, order));
  }

  onFree(zone: Zone, pfn: number, order: number): void {
    this.#drops.add(zone, pfn, ORDER_PAGES[order]);
  }
}

/** The plug-in. */
export const oracle: PolicyPlugin = policyPlugin({
  name: "oracle",
  summary: "upper bound: the host drops every free page at once, without being told",
  source: "hintsim",
  options,
  skip: [
    { case: "skips as it reclaims: no page is dropped", reason: "it has no action but to reclaim" },
    {
      case: "what the encoding cannot say is left out, and the policy comes to rest all the same",
      reason: "it needs no encoding",
    },
    { case: "memory comes while a message travels", reason: "it sends no messages" },
    { case: "memory goes while a message travels", reason: "it sends no messages" },
  ],
  create: (context) => new Oracle(context),
});
