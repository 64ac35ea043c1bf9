/**
 * One pass over each free list, every block noted in the window it lies in: what Dave Hansen asked for in the review of v4 and
 * v5 (linux-mm, 4 Nov and 7 Dec 2016).
 *
 * No list is walked twice, whatever the size of the guest. A window is what one data page of bits covers, 128 MiB. It is noted
 * as extents while these are smaller, and as a bitmap from there on: 514 blocks of 8 bytes are more than the 4104 bytes of a
 * bitmap with its head. When the windows fill the buffer, after the list at hand, they are sent, ascending, neighbours joined;
 * what is left goes out at the end.
 *
 * Nobody posted code. The encoding `hybrid` says each window by the same rule; with another encoding the runs are the same, in
 * its own form. Finding the window of a block costs one comparison.
 */
import type { Options } from "../sim/core/options.ts";
import type { Task } from "../sim/core/sim.ts";
import { ORDER_MAX } from "../sim/guest/allocator.ts";
import {
  type AckWait,
  Blocks,
  collect,
  COLLECT_FIELDS,
  type CollectOptions,
  giveBack,
  sayable,
  waitField,
} from "../sim/guest/collect.ts";
import { type PolicyContext, type PolicyPlugin, policyPlugin } from "../sim/guest/plugin.ts";
import type { HintingPolicy } from "../sim/guest/policy.ts";
import { PageBitmap } from "../sim/memory/bitmap.ts";
import { ORDER_PAGES, type Range } from "../sim/memory/range.ts";

/** Options of the hybrid. */
export interface SinglePassHybridOptions extends Omit<CollectOptions, "merge"> {
  /** How the driver waits for an answer. */
  readonly wait: AckWait;
}

const options: Options<SinglePassHybridOptions> = {
  fields: {
    action: COLLECT_FIELDS.action,
    isolate: COLLECT_FIELDS.isolate,
    acquire: COLLECT_FIELDS.acquire,
    bufferMax: COLLECT_FIELDS.bufferMax,
    wait: waitField("busy", "as in the sets that this was asked of"),
    requests: COLLECT_FIELDS.requests,
  },
};

/** Pages of a window: the bits of one data page. */
const WINDOW_PAGES = 32_768;
/** A bitmap with its head, and an extent. */
const BITMAP_BYTES = 8 + WINDOW_PAGES / 8;
const EXTENT_BYTES = 8;

class SinglePassHybrid implements HintingPolicy {
  #context: PolicyContext;
  #options: SinglePassHybridOptions;
  #blocks = new Blocks();
  /** Blocks in each window that has any, by number of the window. */
  #windows = new Map<number, number>();
  /** What the windows take, each as extents or bitmap. */
  #bytes = 0;
  #extentWindows = 0;
  #bitmapWindows = 0;

  constructor(context: PolicyContext, settings: SinglePassHybridOptions) {
    this.#context = context;
    this.#options = settings;
  }

  counters(): Readonly<Record<string, number>> {
    return { extent_windows: this.#extentWindows, bitmap_windows: this.#bitmapWindows };
  }

  *onRequest(): Task {
    const { driver, zones } = this.#context;
    driver.pass();
    for (let order = ORDER_MAX; order >= 0; order--) {
      for (const zone of zones) {
        const before = this.#blocks.count;
        collect(driver, zone, order, this.#options, this.#blocks);
        this.#note(before);
        if (this.#bytes >= this.#options.bufferMax && !(yield* this.#send())) return;
      }
    }
    yield* this.#send();
  }

  /** Puts the blocks from an index on into their windows. */
  #note(from: number): void {
    const { driver, costs } = this.#context;
    const blocks = this.#blocks;
    for (let index = from; index < blocks.count; index++) {
      // A window is larger than any block and aligned to it.
      const window = Math.floor(blocks.pfn(index) / WINDOW_PAGES);
      const extents = this.#windows.get(window) ?? 0;
      this.#windows.set(window, extents + 1);
      this.#bytes += windowBytes(extents + 1) - windowBytes(extents);
    }
    driver.spend((blocks.count - from) * costs.compareNs);
    driver.metadata(this.#bytes);
  }

  /** Sends all windows and empties them; false when the run ends. */
  *#send(): Task<boolean> {
    const { driver, zones } = this.#context;
    const { action, bufferMax, wait } = this.#options;
    yield driver.commit();
    const runs = this.#runs();
    this.#countWindows(runs);
    const ranges = sayable(driver, runs);
    // The header comes in a buffer of its own.
    const limit = bufferMax + driver.bytesOf([]);
    const sent = yield* driver.send(action, ranges, limit, { busyWait: wait === "busy" });
    giveBack(driver, zones, this.#blocks, this.#options);
    this.#blocks.clear();
    this.#windows.clear();
    this.#bytes = 0;
    yield driver.commit();
    return sent;
  }

  /** Counts the windows in which runs begin by how they are said. */
  #countWindows(runs: readonly Range[]): void {
    for (let index = 0; index < runs.length;) {
      const window = Math.floor(runs[index].pfn / WINDOW_PAGES);
      const from = index;
      while (index < runs.length && Math.floor(runs[index].pfn / WINDOW_PAGES) === window) index++;
      if ((index - from) * EXTENT_BYTES > BITMAP_BYTES) this.#bitmapWindows++;
      else this.#extentWindows++;
    }
  }

  /** The pages of all blocks as runs, ascending. */
  #runs(): Range[] {
    const blocks = this.#blocks;
    const bits = new PageBitmap(this.#context.maxPfn);
    for (let index = 0; index < blocks.count; index++) {
      bits.setRange(blocks.pfn(index), ORDER_PAGES[blocks.order(index)]);
    }
    const runs: Range[] = [];
    bits.forEachRun(0, this.#context.maxPfn, true, (pfn, count) => void runs.push({ pfn, count }));
    return runs;
  }
}

/** Bytes of a window with so many extents. */
function windowBytes(extents: number): number {
  return Math.min(extents * EXTENT_BYTES, BITMAP_BYTES);
}

/** The plug-in. */
export const singlePassHybrid: PolicyPlugin = policyPlugin({
  name: "single-pass-hybrid",
  summary:
    "on a host request one pass over each list, blocks noted in windows as extents or bitmap, whichever is smaller",
  source: "Dave Hansen on virtio-balloon v4 and v5, linux-mm, 4 Nov and 7 Dec 2016",
  options,
  needs: ["requests", "lists"],
  create: (context, settings) => new SinglePassHybrid(context, settings),
});
