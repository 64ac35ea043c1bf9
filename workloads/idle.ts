/** A guest that does nothing for a while. */
import { duration } from "../sim/core/options.ts";
import { Op, type OpColumns, type OpStream } from "../sim/guest/operations.ts";
import { type WorkloadPlugin, workloadPlugin } from "../sim/guest/plugin.ts";
import { StartBlocks } from "../sim/guest/start_blocks.ts";

/** Options of the idle workload. */
export interface IdleOptions {
  /** How long, ns. */
  readonly duration: number;
}

/** A stream with a single pause. */
function pause(delayNs: number, cpu: number): OpStream {
  let sent = false;
  return {
    open: false,
    fill(columns: OpColumns): number {
      if (sent) return 0;
      sent = true;
      columns.set(0, Op.wait, 0, 0, 0, delayNs, 0, cpu);
      return 1;
    },
  };
}

/** The plug-in. */
export const idle: WorkloadPlugin = workloadPlugin<IdleOptions>({
  name: "idle",
  summary: "nothing is allocated or freed",
  source: "baseline",
  options: { fields: { duration: duration("10s", { summary: "how long" }) } },
  create: ({ vcpus }, options) => ({
    streams: Array.from({ length: vcpus }, (_, cpu) => pause(options.duration, cpu)),
    start: new StartBlocks(),
    estimatedRows: 0,
    durationNs: options.duration,
  }),
});
