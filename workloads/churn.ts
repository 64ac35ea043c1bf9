/**
 * Allocations that come and go at a steady occupancy: a population of blocks with lifetimes, replaced as they die.
 *
 * Each CPU is a closed loop whose pauses are drawn beforehand: an allocation every (lifetime / live blocks) on the mean, its
 * free when its lifetime is over. By Little's law the occupancy settles where the option says; it starts there.
 */
import type { Distribution } from "../sim/core/distributions.ts";
import { exponential } from "../sim/core/distributions.ts";
import { LadderQueue } from "../sim/core/ladder_queue.ts";
import { duration, fraction, type Options } from "../sim/core/options.ts";
import type { Random } from "../sim/core/random.ts";
import { Op, type OpColumns, type OpStream, type WorkloadContext } from "../sim/guest/operations.ts";
import { type WorkloadPlugin, workloadPlugin } from "../sim/guest/plugin.ts";
import { StartBlocks } from "../sim/guest/start_blocks.ts";
import { atomicField, AtomicShare } from "./atomic_share.ts";
import {
  type Lifetime,
  lifetimeField,
  meanPages,
  migratetypesField,
  orderDistribution,
  ordersField,
  shapedDistribution,
  type Touch,
  touchedPages,
  touchField,
  typeDistribution,
  type Weights,
} from "./distribution_options.ts";
import { Handles } from "./handles.ts";

/** Options of churn. */
export interface ChurnOptions {
  /** Mean share of memory in use. */
  readonly occupancy: number;
  /** Weights of the orders. */
  readonly orders: Weights;
  /** Weights of the migratetypes. */
  readonly migratetypes: Weights;
  /** Share of allocations that cannot wait. */
  readonly atomic: number;
  /** How long an allocation lives. */
  readonly lifetime: Lifetime;
  /** What is written. */
  readonly touch: Touch;
  /** How long it goes on, ns. */
  readonly duration: number;
}

const options: Options<ChurnOptions> = {
  fields: {
    occupancy: fraction(0.75, 0, 1, { summary: "mean share of memory in use, from 0 to 1" }),
    orders: ordersField({ 0: 70, 1: 10, 2: 6, 3: 10, 9: 4 }),
    migratetypes: migratetypesField(),
    atomic: atomicField(),
    lifetime: lifetimeField("30s"),
    touch: touchField(),
    duration: duration("60s", { summary: "how long it goes on" }),
  },
};

/** Kinds of what is due in a stream. */
const DUE_FREE = 0;
const DUE_TOUCH = 1;

/** What the streams share. */
interface Shape {
  readonly options: ChurnOptions;
  readonly orders: Distribution;
  readonly types: Distribution;
  readonly lifetimes: Distribution;
  /** Pauses between the allocations of one CPU. */
  readonly gaps: Distribution;
  /** Live allocations of one CPU on the mean. */
  readonly live: number;
}

class ChurnStream implements OpStream {
  readonly open = false;
  #shape: Shape;
  #random: Random;
  #atomic: AtomicShare;
  #handles: Handles;
  #cpu: number;
  #due = new LadderQueue({ capacity: 1024 });
  #nowNs = 0;
  #nextAllocNs: number;

  constructor(shape: Shape, start: StartBlocks, context: WorkloadContext, cpu: number) {
    const random = context.random(`cpu${cpu}`);
    this.#shape = shape;
    this.#random = random;
    this.#atomic = new AtomicShare(shape.options.atomic, context.random(`cpu${cpu}/atomic`));
    this.#cpu = cpu;
    this.#handles = new Handles(cpu, context.vcpus);
    for (let i = 0; i < Math.round(shape.live); i++) {
      const handle = this.#handles.take();
      const order = shape.orders.draw(random);
      start.add(handle, order, shape.types.draw(random));
      // What is left of a lifetime at a random moment of it; exact for the exponential distribution.
      const rest = shape.options.lifetime.distribution === "exponential" ? 1 : random.nextFloat();
      this.#due.push(Math.round(shape.lifetimes.draw(random) * rest), 0, DUE_FREE, handle, 0);
    }
    this.#nextAllocNs = this.#gap();
  }

  fill(columns: OpColumns): number {
    let row = 0;
    for (; row < columns.size; row++) {
      const dueNs = this.#due.peekTimeNs();
      const timeNs = Math.min(dueNs, this.#nextAllocNs);
      if (timeNs > this.#shape.options.duration) break;
      const pauseNs = timeNs - this.#nowNs;
      this.#nowNs = timeNs;
      if (dueNs <= this.#nextAllocNs) this.#runDue(columns, row, pauseNs);
      else this.#alloc(columns, row, pauseNs);
    }
    return row;
  }

  #runDue(columns: OpColumns, row: number, pauseNs: number): void {
    this.#due.pop();
    const handle = this.#due.target;
    if (this.#due.kind === DUE_TOUCH) {
      columns.set(row, Op.touch, handle, 0, 0, pauseNs, 2 ** 30, this.#cpu);
      return;
    }
    columns.set(row, Op.free, handle, 0, 0, pauseNs, 0, this.#cpu);
    this.#handles.give(handle);
  }

  #alloc(columns: OpColumns, row: number, pauseNs: number): void {
    const { options, orders, types, lifetimes } = this.#shape;
    const handle = this.#handles.take();
    const order = orders.draw(this.#random);
    const lifetimeNs = Math.round(lifetimes.draw(this.#random));
    const touch = touchedPages(options.touch, order);
    columns.set(row, Op.alloc, handle, order, types.draw(this.#random), pauseNs, touch, this.#cpu);
    this.#atomic.mark(columns, row);
    if (options.touch === "later") {
      this.#due.push(this.#nowNs + Math.floor(lifetimeNs / 2), 0, DUE_TOUCH, handle, 0);
    }
    this.#due.push(this.#nowNs + lifetimeNs, 0, DUE_FREE, handle, 0);
    this.#nextAllocNs = this.#nowNs + this.#gap();
  }

  #gap(): number {
    return Math.max(1, Math.round(this.#shape.gaps.draw(this.#random)));
  }
}

function create(context: WorkloadContext, settings: ChurnOptions) {
  const { vcpus, memoryPages } = context;
  const live = (memoryPages * settings.occupancy) / meanPages(settings.orders) / vcpus;
  const gapNs = live > 0 ? settings.lifetime.mean / live : Number.MAX_SAFE_INTEGER / 1e6;
  const shape: Shape = {
    options: settings,
    orders: orderDistribution(settings.orders),
    types: typeDistribution(settings.migratetypes),
    lifetimes: shapedDistribution(settings.lifetime),
    gaps: exponential(gapNs),
    live,
  };
  const start = new StartBlocks();
  const streams = Array.from(
    { length: vcpus },
    (_, cpu) => new ChurnStream(shape, start, context, cpu),
  );
  return {
    streams,
    start,
    estimatedRows: Math.round((3 * vcpus * settings.duration) / gapNs),
    durationNs: settings.duration,
  };
}

/** The plug-in. */
export const churn: WorkloadPlugin = workloadPlugin<ChurnOptions>({
  name: "churn",
  summary: "blocks with random orders and lifetimes come and go at a steady occupancy",
  source: "steady-state aging of allocator benchmarks",
  options,
  create,
});
