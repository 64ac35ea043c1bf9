/**
 * One message per order, from 10 down to 0: the unused-page report of Liang Li's v5 (linux-mm, 30 Nov 2016).
 *
 * The buffer starts at 32 KiB. When the blocks of an order do not fit it is doubled and the order is walked again; at its
 * limit an order takes more than one message. As posted the blocks stay on their lists while the message travels.
 */
import type { Options } from "../sim/core/options.ts";
import type { Task } from "../sim/core/sim.ts";
import { ORDER_MAX } from "../sim/guest/allocator.ts";
import { type Block, collect, COLLECT_FIELDS, type CollectOptions, giveBack, rangesOf } from "../sim/guest/collect.ts";
import type { Range } from "../sim/memory/range.ts";
import { type PolicyContext, type PolicyPlugin, policyPlugin } from "../sim/guest/plugin.ts";
import type { HintingPolicy } from "../sim/guest/policy.ts";

const options: Options<CollectOptions> = { fields: COLLECT_FIELDS };

/** The first buffer of v5: 4096 words. */
const BUFFER_START_BYTES = 32 * 1024;

class PerOrder implements HintingPolicy {
  #context: PolicyContext;
  #options: CollectOptions;
  #bufferBytes = BUFFER_START_BYTES;

  constructor(context: PolicyContext, settings: CollectOptions) {
    this.#context = context;
    this.#options = settings;
  }

  *onRequest(): Task {
    const { driver, zones, costs } = this.#context;
    this.#bufferBytes = Math.min(BUFFER_START_BYTES, this.#options.bufferMax);
    driver.pass();
    for (let order = ORDER_MAX; order >= 0; order--) {
      this.#growBuffer(order);
      const blocks: Block[] = [];
      for (const zone of zones) collect(driver, zone, order, this.#options, blocks);
      yield driver.commit();
      const ranges = rangesOf(driver, blocks, this.#options, costs);
      if (driver.recordBytes(order) === 0) this.#growForBytes(ranges, blocks);
      yield driver.commit();
      const sent = yield* driver.send(this.#options.action, ranges, this.#bufferBytes);
      giveBack(driver, blocks, this.#options);
      yield driver.commit();
      if (!sent) return;
    }
  }

  /** Doubles the buffer until the order fits (v5 knows nr_free of a zone before it walks it); each try walks again. */
  #growBuffer(order: number): void {
    const { driver, zones } = this.#context;
    const recordBytes = driver.recordBytes(order);
    for (let fits = false; !fits;) {
      let blocks = 0;
      fits = true;
      for (const zone of zones) {
        const more = zone.allocator.nrFree(order);
        if ((blocks + more) * recordBytes > this.#bufferBytes && this.#bufferBytes < this.#options.bufferMax) {
          this.#bufferBytes = Math.min(this.#bufferBytes * 2, this.#options.bufferMax);
          for (const walked of zones.slice(0, zone.index)) driver.visit(walked, walked.allocator.nrFree(order));
          fits = false;
          break;
        }
        blocks += more;
      }
    }
    driver.metadata(this.#bufferBytes);
  }

  /** Where the size depends on where the blocks lie (a bitmap), it is known only after the walk, and the walk is redone. */
  #growForBytes(ranges: readonly Range[], blocks: readonly Block[]): void {
    const { driver, zones } = this.#context;
    const bytes = driver.bytesOf(ranges);
    while (bytes > this.#bufferBytes && this.#bufferBytes < this.#options.bufferMax) {
      this.#bufferBytes = Math.min(this.#bufferBytes * 2, this.#options.bufferMax);
      for (const zone of zones) driver.visit(zone, blocks.filter((block) => block.zone === zone).length);
    }
    driver.metadata(this.#bufferBytes);
  }
}

/** The plug-in. */
export const perOrder: PolicyPlugin = policyPlugin({
  name: "per-order",
  summary: "on a host request one message per order, from 10 down to 0",
  source: "Liang Li, virtio-balloon v5, 30 Nov 2016",
  options,
  needs: ["requests"],
  create: (context, settings) => new PerOrder(context, settings),
});
