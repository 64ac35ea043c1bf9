/**
 * Blocks are freed and used again at once, in bursts: the pattern that meets a host acting on stale hints.
 *
 * Linux hands out the block that was freed last, so that what a message calls free is likely to be in use when it arrives.
 */
import { duration, fraction, integer, type Options } from "../sim/core/options.ts";
import type { Distribution } from "../sim/core/distributions.ts";
import type { Random } from "../sim/core/random.ts";
import { MOVABLE } from "../sim/guest/allocator.ts";
import { Op, type OpColumns, type OpStream, type WorkloadContext } from "../sim/guest/operations.ts";
import { type WorkloadPlugin, workloadPlugin } from "../sim/guest/plugin.ts";
import { StartBlocks } from "../sim/guest/start_blocks.ts";
import { atomicField, AtomicShare } from "./atomic_share.ts";
import {
  meanPages,
  orderDistribution,
  ordersField,
  type Touch,
  touchedPages,
  touchField,
  type Weights,
} from "./distribution_options.ts";

/** Options of the storm. */
export interface StormOptions {
  /** Share of memory in use. */
  readonly occupancy: number;
  /** Weights of the orders. */
  readonly orders: Weights;
  /** Share of allocations that cannot wait. */
  readonly atomic: number;
  /** Blocks freed before as many are allocated. */
  readonly burst: number;
  /** Pause between the two halves of a burst, ns. */
  readonly gap: number;
  /** Pause between bursts, ns. */
  readonly interval: number;
  /** What is written. */
  readonly touch: Touch;
  /** How long it goes on, ns. */
  readonly duration: number;
}

const options: Options<StormOptions> = {
  fields: {
    occupancy: fraction(0.5, 0.001, 0.99, { summary: "share of memory in use, from 0.001 to 0.99" }),
    orders: ordersField({ 0: 50, 3: 25, 9: 25 }),
    atomic: atomicField(),
    burst: integer(8, 1, 1e6, { summary: "blocks freed before as many are allocated", unit: "blocks" }),
    gap: duration("5us", { summary: "pause between the frees and the allocations of a burst" }),
    interval: duration("200us", { summary: "pause between bursts" }, 1000),
    touch: touchField(false),
    duration: duration("5s", { summary: "how long it goes on" }),
  },
};

const UNTOUCHED = 0;

class StormStream implements OpStream {
  readonly open = false;
  #options: StormOptions;
  #random: Random;
  #atomic: AtomicShare;
  #cpu: number;
  #orders: Uint8Array;
  #handles: Int32Array;
  #victims: number[] = [];
  /** Blocks that this burst has freed. */
  #freed: Uint8Array;
  #phase = 0;
  #nowNs = 0;

  constructor(
    settings: StormOptions,
    start: StartBlocks,
    orders: Distribution,
    context: WorkloadContext,
    blocks: number,
    cpu: number,
  ) {
    const random = context.random(`cpu${cpu}`);
    this.#options = settings;
    this.#random = random;
    this.#atomic = new AtomicShare(settings.atomic, context.random(`cpu${cpu}/atomic`));
    this.#cpu = cpu;
    this.#orders = new Uint8Array(blocks);
    this.#handles = new Int32Array(blocks);
    this.#freed = new Uint8Array(blocks);
    for (let i = 0; i < blocks; i++) {
      this.#orders[i] = orders.draw(random);
      this.#handles[i] = i * context.vcpus + cpu;
      start.add(this.#handles[i], this.#orders[i], MOVABLE);
    }
  }

  fill(columns: OpColumns): number {
    const { burst, duration } = this.#options;
    if (this.#handles.length === 0) return 0;
    let row = 0;
    for (; row < columns.size; row++) {
      if (this.#phase === 0 && this.#nowNs > duration) break;
      if (this.#phase < burst) this.#free(columns, row);
      else this.#alloc(columns, row);
      this.#phase = (this.#phase + 1) % (2 * burst);
    }
    return row;
  }

  #pause(ns: number): number {
    this.#nowNs += ns;
    return ns;
  }

  /** Frees a random live block; one that this burst freed before is left out. */
  #free(columns: OpColumns, row: number): void {
    const pauseNs = this.#pause(this.#phase === 0 ? this.#options.interval : 0);
    const victim = this.#random.nextBelow(this.#handles.length);
    if (this.#freed[victim] === 1) {
      columns.set(row, Op.wait, 0, 0, 0, pauseNs, UNTOUCHED, this.#cpu);
      return;
    }
    this.#victims.push(victim);
    this.#freed[victim] = 1;
    columns.set(row, Op.free, this.#handles[victim], 0, 0, pauseNs, UNTOUCHED, this.#cpu);
  }

  #alloc(columns: OpColumns, row: number): void {
    const pauseNs = this.#pause(this.#phase === this.#options.burst ? this.#options.gap : 0);
    const victim = this.#victims.pop();
    if (victim === undefined) {
      columns.set(row, Op.wait, 0, 0, 0, pauseNs, UNTOUCHED, this.#cpu);
      return;
    }
    this.#freed[victim] = 0;
    const order = this.#orders[victim];
    const touch = touchedPages(this.#options.touch, order);
    columns.set(row, Op.alloc, this.#handles[victim], order, MOVABLE, pauseNs, touch, this.#cpu);
    this.#atomic.mark(columns, row);
  }
}

function create(context: WorkloadContext, settings: StormOptions) {
  const { vcpus, memoryPages } = context;
  const orders = orderDistribution(settings.orders);
  const blocks = Math.floor((memoryPages * settings.occupancy) / meanPages(settings.orders) / vcpus);
  const start = new StartBlocks();
  const streams = Array.from(
    { length: vcpus },
    (_, cpu) => new StormStream(settings, start, orders, context, blocks, cpu),
  );
  const bursts = settings.duration / (settings.interval + settings.gap);
  return {
    streams,
    start,
    estimatedRows: Math.round(3 * bursts * settings.burst * vcpus),
    durationNs: settings.duration,
  };
}

/** The plug-in. */
export const storm: WorkloadPlugin = workloadPlugin<StormOptions>({
  name: "storm",
  summary: "blocks are freed and used again at once, to meet a host that acts on stale hints",
  source: "the race described in Firecracker's ballooning documentation and the 2016 threads",
  options,
  create,
});
