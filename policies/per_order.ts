/**
 * One message per order, from 10 down to 0: the unused-page report of Liang Li's v5 (linux-mm, 30 Nov 2016).
 *
 * The buffer starts at 32 KiB. When the blocks of an order do not fit it is doubled and the order is walked again; at its
 * limit an order takes more than one message. As posted the blocks stay on their lists while the message travels.
 *
 * Bugs of the posted code (v5 5/5), with `asPosted`:
 * - `mark_unused_pages` returns ENOSPC with the zone lock held and interrupts off: when a list does not fit, the next one who
 *   wants the lock waits for ever. The run ends there, and says so.
 * - The message of order 0 alone carries DONE. Without a free block of order 0 the host is never told that the answer is
 *   complete (`unfinished_answers`); otherwise the last message that there is carries it.
 * - bmap_len is never written: this is an option of the encoding `v5-heads`.
 */
import { flag, type Options } from "../sim/core/options.ts";
import type { Task } from "../sim/core/sim.ts";
import { ORDER_MAX } from "../sim/guest/allocator.ts";
import {
  type AckWait,
  Blocks,
  collect,
  COLLECT_FIELDS,
  type CollectOptions,
  giveBack,
  rangesOf,
  waitField,
} from "../sim/guest/collect.ts";
import type { Range } from "../sim/memory/range.ts";
import { type PolicyContext, type PolicyPlugin, policyPlugin } from "../sim/guest/plugin.ts";
import type { HintingPolicy } from "../sim/guest/policy.ts";

/** Options of v5. */
export interface PerOrderOptions extends CollectOptions {
  /** How the driver waits for an answer. */
  readonly wait: AckWait;
  /** Whether bugs of the posted code are kept. */
  readonly asPosted: boolean;
}

const options: Options<PerOrderOptions> = {
  fields: {
    ...COLLECT_FIELDS,
    wait: waitField("sleep", "the default is sleep, so that policies compare in what they send"),
    asPosted: flag(false, {
      summary: "keep the bugs of the posted code: a zone lock that is never let go, DONE at order 0 only",
      source: "send_unused_pages_info and mark_unused_pages, Liang Li v5 5/5, 30 Nov 2016",
    }),
  },
};

/** The first buffer of v5: 4096 words. */
const BUFFER_START_BYTES = 32 * 1024;

class PerOrder implements HintingPolicy {
  #context: PolicyContext;
  #options: PerOrderOptions;
  #bufferBytes = BUFFER_START_BYTES;
  #unfinishedAnswers = 0;

  constructor(context: PolicyContext, settings: PerOrderOptions) {
    this.#context = context;
    this.#options = settings;
  }

  counters(): Readonly<Record<string, number>> {
    return { unfinished_answers: this.#unfinishedAnswers };
  }

  *onRequest(): Task {
    const { driver, zones, costs } = this.#context;
    const { action, wait, asPosted } = this.#options;
    this.#bufferBytes = Math.min(BUFFER_START_BYTES, this.#options.bufferMax);
    // A header comes in a buffer of its own.
    const headBytes = driver.bytesOf([]);
    driver.pass();
    let done = false;
    for (let order = ORDER_MAX; order >= 0; order--) {
      if (!this.#growBuffer(order)) return;
      const blocks = new Blocks();
      for (const zone of zones) collect(driver, zone, order, this.#options, blocks);
      yield driver.commit();
      const ranges = rangesOf(driver, blocks, this.#options, costs);
      if (driver.recordBytes(order) === 0) this.#growForBytes(ranges, blocks);
      yield driver.commit();
      const sent = yield* driver.send(action, ranges, this.#bufferBytes + headBytes, { busyWait: wait === "busy" });
      giveBack(driver, zones, blocks, this.#options);
      yield driver.commit();
      if (!sent) return;
      done = ranges.length > 0;
    }
    if (asPosted && !done) this.#unfinishedAnswers++;
  }

  /**
   * Doubles the buffer until the order fits (v5 knows nr_free of a zone before it walks it); each try walks again. False when
   * that ends the run, as posted.
   */
  #growBuffer(order: number): boolean {
    const { driver, zones, sim } = this.#context;
    const { bufferMax, asPosted } = this.#options;
    const recordBytes = driver.recordBytes(order);
    for (let fits = false; !fits;) {
      let blocks = 0;
      fits = true;
      for (const zone of zones) {
        const more = zone.allocator.nrFree(order);
        if ((blocks + more) * recordBytes > this.#bufferBytes && (asPosted || this.#bufferBytes < bufferMax)) {
          if (asPosted) {
            sim.halt(
              `the guest hangs: v5 as posted keeps the lock of zone ${zone.name} when order ${order} does not fit`,
            );
            return false;
          }
          this.#bufferBytes = Math.min(this.#bufferBytes * 2, bufferMax);
          for (const walked of zones.slice(0, zone.index)) driver.visit(walked, walked.allocator.nrFree(order));
          fits = false;
          break;
        }
        blocks += more;
      }
    }
    driver.metadata(this.#bufferBytes);
    return true;
  }

  /** Where the size depends on where the blocks lie (a bitmap), it is known only after the walk, and the walk is redone. */
  #growForBytes(ranges: readonly Range[], blocks: Blocks): void {
    const { driver, zones } = this.#context;
    const bytes = driver.bytesOf(ranges);
    while (bytes > this.#bufferBytes && this.#bufferBytes < this.#options.bufferMax) {
      this.#bufferBytes = Math.min(this.#bufferBytes * 2, this.#options.bufferMax);
      for (const zone of zones) driver.visit(zone, blocks.countIn(zone));
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
  needs: ["requests", "lists"],
  create: (context, settings) => new PerOrder(context, settings),
});
