/** Memory is filled, kept, drained and left alone, again and again: one guest that works in bursts. */
import { choice, duration, fraction, integer, type Options } from "../sim/core/options.ts";
import type { Random } from "../sim/core/random.ts";
import { Op, type OpColumns, type OpStream, type WorkloadContext } from "../sim/guest/operations.ts";
import { type WorkloadPlugin, workloadPlugin } from "../sim/guest/plugin.ts";
import { StartBlocks } from "../sim/guest/start_blocks.ts";
import {
  meanPages,
  migratetypesField,
  orderDistribution,
  ordersField,
  type Touch,
  touchedPages,
  touchField,
  typeDistribution,
  type Weights,
} from "./distribution_options.ts";

/** Options of fill-drain. */
export interface FillDrainOptions {
  /** Share of memory that is filled. */
  readonly occupancy: number;
  /** Weights of the orders. */
  readonly orders: Weights;
  /** Weights of the migratetypes. */
  readonly migratetypes: Weights;
  /** What is written. */
  readonly touch: Touch;
  /** How long filling takes at least, ns. */
  readonly fill: number;
  /** Pause when full, ns. */
  readonly hold: number;
  /** How long draining takes at least, ns. */
  readonly drain: number;
  /** Pause when empty, ns. */
  readonly pause: number;
  /** How often. */
  readonly cycles: number;
  /** In which order blocks are freed. */
  readonly freeOrder: "fifo" | "lifo" | "random";
  /** Share of the blocks that are not drained: those last in that order. */
  readonly keep: number;
}

const options: Options<FillDrainOptions> = {
  fields: {
    occupancy: fraction(0.5, 0, 1, { summary: "share of memory that is filled, from 0 to 1" }),
    orders: ordersField({ 0: 90, 9: 10 }),
    migratetypes: migratetypesField(),
    touch: touchField(),
    fill: duration("1s", { summary: "how long filling takes, without its costs" }),
    hold: duration("5s", { summary: "pause when full" }),
    drain: duration("1s", { summary: "how long draining takes, without its costs" }),
    pause: duration("10s", { summary: "pause when empty" }),
    cycles: integer(2, 1, 1e6, { summary: "how often" }),
    freeOrder: choice("random", ["fifo", "lifo", "random"], { summary: "in which order blocks are freed" }),
    keep: fraction(0, 0, 1, {
      summary: "share of the blocks that stay when the others are drained, a random checkerboard unless freed in order",
    }),
  },
};

class FillDrainStream implements OpStream {
  readonly open = false;
  readonly blocks: number;
  #ops: Iterator<[kind: number, handle: number, order: number, type: number, pauseNs: number, touch: number]>;
  #cpu: number;

  constructor(settings: FillDrainOptions, random: Random, pages: number, cpu: number, cpus: number) {
    this.blocks = Math.floor((pages * settings.occupancy) / meanPages(settings.orders) / cpus);
    this.#cpu = cpu;
    this.#ops = operations(settings, random, this.blocks, cpu, cpus);
  }

  fill(columns: OpColumns): number {
    let row = 0;
    for (; row < columns.size; row++) {
      const next = this.#ops.next();
      if (next.done) break;
      const [kind, handle, order, type, pauseNs, touch] = next.value;
      columns.set(row, kind, handle, order, type, pauseNs, touch, this.#cpu);
    }
    return row;
  }
}

function* operations(
  settings: FillDrainOptions,
  random: Random,
  blocks: number,
  cpu: number,
  cpus: number,
): Generator<[number, number, number, number, number, number], void> {
  const orders = orderDistribution(settings.orders);
  const types = typeDistribution(settings.migratetypes);
  const fillGapNs = Math.floor(settings.fill / Math.max(1, blocks));
  const drainGapNs = Math.floor(settings.drain / Math.max(1, blocks));
  const sequence = Array.from({ length: blocks }, (_, index) => index * cpus + cpu);
  const kept = Math.floor(blocks * settings.keep);
  let empty: readonly number[] = sequence;
  for (let cycle = 0; cycle < settings.cycles; cycle++) {
    for (const handle of empty) {
      const order = orders.draw(random);
      yield [Op.alloc, handle, order, types.draw(random), fillGapNs, touchedPages(settings.touch, order)];
    }
    if (settings.touch === "later") { for (const handle of sequence) yield [Op.touch, handle, 0, 0, 0, 2 ** 30]; }
    yield [Op.wait, 0, 0, 0, settings.hold, 0];
    const drained = freeSequence(sequence, settings.freeOrder, random).slice(0, blocks - kept);
    for (const handle of drained) {
      yield [Op.free, handle, 0, 0, drainGapNs, 0];
    }
    empty = drained.sort((a, b) => a - b);
    yield [Op.wait, 0, 0, 0, settings.pause, 0];
  }
}

function freeSequence(handles: readonly number[], order: FillDrainOptions["freeOrder"], random: Random): number[] {
  const sequence = [...handles];
  if (order === "lifo") return sequence.reverse();
  if (order === "fifo") return sequence;
  for (let i = sequence.length - 1; i > 0; i--) {
    const j = random.nextBelow(i + 1);
    [sequence[i], sequence[j]] = [sequence[j], sequence[i]];
  }
  return sequence;
}

function create(context: WorkloadContext, settings: FillDrainOptions) {
  const { vcpus, memoryPages } = context;
  const streams = Array.from(
    { length: vcpus },
    (_, cpu) => new FillDrainStream(settings, context.random(`cpu${cpu}`), memoryPages, cpu, vcpus),
  );
  const blocks = streams.reduce((sum, stream) => sum + stream.blocks, 0);
  return {
    streams,
    start: new StartBlocks(),
    estimatedRows: 3 * blocks * settings.cycles,
    durationNs: settings.cycles * (settings.fill + settings.hold + settings.drain + settings.pause),
  };
}

/** The plug-in. */
export const fillDrain: WorkloadPlugin = workloadPlugin<FillDrainOptions>({
  name: "fill-drain",
  summary: "memory is filled, kept, drained and left alone, in cycles",
  source: "the balloon and reporting benchmarks of the mailing lists: memhog, then idle",
  options,
  create,
});
