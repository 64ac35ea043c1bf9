/** Workloads one after the other, each for a given time: a day of a guest. */
import { z } from "zod";
import { durationSchema, field, InputError, type Options } from "../sim/core/options.ts";
import { Op, OpColumns, type OpStream, type Workload, type WorkloadContext } from "../sim/guest/operations.ts";
import { type WorkloadPlugin, workloadPlugin } from "../sim/guest/plugin.ts";
import { StartBlocks } from "../sim/guest/start_blocks.ts";
import { Handles } from "./handles.ts";

/** One phase: a workload and what is said of it here. */
export interface Phase {
  /** How long, ns; until its workload ends when left out. */
  readonly for?: number | undefined;
  /** Whether what it still holds at its end stays allocated. */
  readonly keep: boolean;
  /** The workload in input form. */
  readonly config: Readonly<Record<string, unknown>>;
}

/** Options of phases. */
export interface PhasesOptions {
  /** The phases in order. */
  readonly phases: readonly Phase[];
}

const phaseSchema = z.looseObject({
  kind: z.string(),
  for: durationSchema(1000).optional(),
  keep: z.boolean().default(false),
}).transform(({ for: forNs, keep, ...config }): Phase => ({ for: forNs, keep, config }));

const options: Options<PhasesOptions> = {
  fields: {
    phases: field(z.array(phaseSchema).min(1) as unknown as z.ZodType<readonly Phase[]>, undefined, {
      summary: "workloads in order, each with `for: 10s` (how long) and `keep: true` (what it holds at its end stays)",
    }),
  },
};

/** One CPU's way through the phases. */
class PhaseStream implements OpStream {
  readonly open = false;
  #phases: readonly Phase[];
  #workloads: readonly Workload[];
  #cpu: number;
  #handles: Handles;
  #index = -1;
  #columns = new OpColumns(256);
  #row = 0;
  #count = 0;
  #leftNs = 0;
  /** Live allocations of the phase: its handle to ours. */
  #live = new Map<number, number>();
  /** Operations to hand out before the phase goes on: allocations it starts with, frees at its end. */
  #extra: [kind: number, handle: number, order: number, type: number][] = [];
  #extraRow = 0;

  constructor(phases: readonly Phase[], workloads: readonly Workload[], cpu: number, cpus: number) {
    this.#phases = phases;
    this.#workloads = workloads;
    this.#cpu = cpu;
    this.#handles = new Handles(cpu, cpus);
  }

  fill(columns: OpColumns): number {
    let row = 0;
    while (row < columns.size) {
      if (this.#extraRow < this.#extra.length) {
        const [kind, handle, order, type] = this.#extra[this.#extraRow++];
        columns.set(row++, kind, handle, order, type, 0, 2 ** order, this.#cpu);
      } else if (this.#row < this.#count) this.#copy(columns, row++);
      else if (!this.#refill()) break;
    }
    return row;
  }

  /** Fills the buffer from the phase, or goes on to the next phase; false after the last. */
  #refill(): boolean {
    const stream = this.#workloads[this.#index]?.streams[this.#cpu];
    this.#row = 0;
    this.#count = stream === undefined || this.#leftNs <= 0 ? 0 : stream.fill(this.#columns);
    return this.#count > 0 || this.#waitForEnd() || this.#nextPhase();
  }

  /** A phase with a length lasts that long, also when its workload ended before; true when there is something to wait for. */
  #waitForEnd(): boolean {
    if (this.#leftNs <= 0 || this.#leftNs === Infinity) return false;
    this.#columns.set(0, Op.wait, 0, 0, 0, this.#leftNs, 0, this.#cpu);
    this.#count = 1;
    return true;
  }

  #nextPhase(): boolean {
    this.#extra = [];
    this.#extraRow = 0;
    if (this.#phases[this.#index]?.keep === false) {
      for (const handle of this.#live.values()) {
        this.#extra.push([Op.free, handle, 0, 0]);
        this.#handles.give(handle);
      }
    }
    this.#live.clear();
    if (this.#index < this.#phases.length) this.#index++;
    this.#leftNs = 0;
    if (this.#index === this.#phases.length) return this.#extra.length > 0;
    this.#leftNs = this.#phases[this.#index].for ?? Infinity;
    // Generators number their allocations by CPU.
    const { start, streams } = this.#workloads[this.#index];
    for (let n = 0; n < start.count; n++) {
      if (start.handle(n) % streams.length !== this.#cpu) continue;
      this.#extra.push([Op.alloc, this.#own(start.handle(n)), start.order(n), start.migratetype(n)]);
    }
    return true;
  }

  #own(handle: number): number {
    const ours = this.#handles.take();
    this.#live.set(handle, ours);
    return ours;
  }

  /** Copies an operation of the phase under our handle; one after the end of the phase becomes the pause until its end. */
  #copy(columns: OpColumns, row: number): void {
    const from = this.#columns;
    const at = this.#row++;
    const pauseNs = from.timeNs[at];
    if (pauseNs > this.#leftNs) {
      columns.set(row, Op.wait, 0, 0, 0, this.#leftNs, 0, this.#cpu);
      this.#leftNs = 0;
      this.#count = this.#row = 0;
      return;
    }
    this.#leftNs -= pauseNs;
    const kind = from.kind[at];
    const handle = kind === Op.alloc ? this.#own(from.handle[at]) : this.#live.get(from.handle[at]);
    if (handle === undefined) {
      columns.set(row, Op.wait, 0, 0, 0, pauseNs, 0, this.#cpu);
      return;
    }
    const { order, migratetype, touch, flags } = from;
    columns.set(row, kind, handle, order[at], migratetype[at], pauseNs, touch[at], this.#cpu, -1, -1, flags[at]);
    if (kind === Op.free) {
      this.#live.delete(from.handle[at]);
      this.#handles.give(handle);
    }
  }
}

function create(context: WorkloadContext, { phases }: PhasesOptions): Workload {
  const { vcpus } = context;
  const workloads = phases.map((_, index) => context.child(index, `phase${index}`));
  workloads.forEach((workload, index) => {
    if (!workload.streams.some(({ open }) => open) && workload.state === undefined) return;
    throw new InputError(
      ["phases", index],
      "a recording cannot be a phase: it brings its own times and its own memory",
    );
  });
  const padded = workloads.map((workload) => ({
    ...workload,
    streams: Array.from({ length: vcpus }, (_, cpu) => workload.streams[cpu] ?? { open: false, fill: () => 0 }),
  }));
  return {
    streams: Array.from({ length: vcpus }, (_, cpu) => new PhaseStream(phases, padded, cpu, vcpus)),
    start: new StartBlocks(),
    estimatedRows: workloads.reduce((sum, { estimatedRows }) => sum + estimatedRows, 0),
    durationNs: workloads.reduce((sum, { durationNs }, i) => sum + (phases[i].for ?? durationNs), 0),
  };
}

/** The plug-in. */
export const phases: WorkloadPlugin = workloadPlugin<PhasesOptions>({
  name: "phases",
  summary: "workloads one after the other, each for a given time",
  source: "baseline",
  options,
  children: (settings) => settings.phases.map(({ config }, index) => ({ config, path: ["phases", index] })),
  create,
});
