/**
 * All free blocks in one message: one loop from the highest order down (Andrea Arcangeli's wish in the 2016 threads).
 *
 * The message is split only when the buffer or the ring cannot hold it; each split is counted.
 */
import type { Options } from "../sim/core/options.ts";
import type { Task } from "../sim/core/sim.ts";
import { ORDER_MAX } from "../sim/guest/allocator.ts";
import { Blocks, collect, COLLECT_FIELDS, type CollectOptions, giveBack, rangesOf } from "../sim/guest/collect.ts";
import { type PolicyContext, type PolicyPlugin, policyPlugin } from "../sim/guest/plugin.ts";
import type { HintingPolicy } from "../sim/guest/policy.ts";

const options: Options<CollectOptions> = { fields: COLLECT_FIELDS };

class SingleBatch implements HintingPolicy {
  #context: PolicyContext;
  #options: CollectOptions;

  constructor(context: PolicyContext, settings: CollectOptions) {
    this.#context = context;
    this.#options = settings;
  }

  *onRequest(): Task {
    const { driver, zones, costs } = this.#context;
    driver.pass();
    const blocks = new Blocks();
    for (let order = ORDER_MAX; order >= 0; order--) {
      for (const zone of zones) collect(driver, zone, order, this.#options, blocks);
    }
    yield driver.commit();
    const ranges = rangesOf(driver, blocks, this.#options, costs);
    driver.metadata(Math.min(driver.bytesOf(ranges), this.#options.bufferMax));
    yield* driver.send(this.#options.action, ranges, this.#options.bufferMax);
    giveBack(driver, zones, blocks, this.#options);
    yield driver.commit();
  }
}

/** The plug-in. */
export const singleBatch: PolicyPlugin = policyPlugin({
  name: "single-batch",
  summary: "on a host request all free blocks in one message, from the highest order down",
  source: "Andrea Arcangeli, linux-mm, Dec 2016",
  options,
  needs: ["requests", "lists"],
  create: (context, settings) => new SingleBatch(context, settings),
});
