/**
 * A recorded kernel trace as a workload: the same requests at the same times, whatever pages they get. Where CPUs keep pages
 * and the recording says what tasks asked for, these are the requests, else what reached the zones.
 *
 * With snapshots the run starts from the kernel's own free lists, zones and watermarks. Open loop: a stall delays only what
 * waits. `closed: true` keeps the pauses instead, so that costs and stalls delay all that follows.
 */
import { flag, InputError, optional, type Options, text } from "../sim/core/options.ts";
import type { OpColumns, OpStream, RecordedState, Workload, WorkloadContext } from "../sim/guest/operations.ts";
import { type WorkloadPlugin, workloadPlugin } from "../sim/guest/plugin.ts";
import { type RecordedOperations, recordedOperations } from "../sim/guest/recorded_ops.ts";
import { readRecording } from "../sim/guest/recording.ts";
import { readSnapshots } from "../sim/guest/snapshot.ts";
import { PAGE_SIZE } from "../sim/memory/range.ts";

/** Options of page-trace. */
export interface PageTraceOptions {
  /** The recording. */
  readonly file: string;
  /** Its snapshots. */
  readonly snapshots?: string | undefined;
  /** The snapshot to start from. */
  readonly start: string;
  /** Whether pauses are kept instead of times. */
  readonly closed: boolean;
}

const options: Options<PageTraceOptions> = {
  fields: {
    file: text(undefined, { summary: "the recording, .csv or .csv.gz, relative to the scenario" }),
    snapshots: optional(
      text(undefined, { summary: "its snapshots, .json or .json.gz; without them set machine.memory" }),
    ),
    start: text("s0", { summary: "tag of the snapshot to start from" }),
    closed: flag(false, { summary: "keep the pauses instead of the times, so that costs delay what follows" }),
  },
};

class TraceStream implements OpStream {
  readonly open: boolean;
  #operations: RecordedOperations;
  #next = 0;

  constructor(operations: RecordedOperations, closed: boolean) {
    this.open = !closed;
    this.#operations = operations;
  }

  fill(columns: OpColumns): number {
    const { columns: recorded, count } = this.#operations;
    const first = this.#next;
    const rows = Math.min(columns.size, count - first);
    this.#next += rows;
    columns.copy(recorded, first, rows);
    if (this.open) return rows;
    for (let row = 0; row < rows; row++) {
      const at = first + row;
      if (at > 0) columns.timeNs[row] -= recorded.timeNs[at - 1];
    }
    return rows;
  }
}

function stateOf(settings: PageTraceOptions, file: (path: string) => Uint8Array): RecordedState | undefined {
  if (settings.snapshots === undefined) return undefined;
  const snapshots = within(settings.snapshots, () => readSnapshots(file(settings.snapshots!)));
  const state = snapshots.get(settings.start);
  if (state !== undefined) return state;
  throw new InputError(
    ["start"],
    `there is no snapshot ${settings.start}; the file has ${[...snapshots.keys()].join(", ")}`,
  );
}

/** Runs a reader, so that its problem names the file. */
function within<T>(file: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof InputError) throw new InputError(["file:", file, ...error.path], error.message);
    throw error;
  }
}

function create(context: WorkloadContext, settings: PageTraceOptions): Workload {
  const snapshot = stateOf(settings, context.file);
  const recorded = within(settings.file, () => {
    return recordedOperations(readRecording(context.file(settings.file)), snapshot, settings.start, context.perCpu);
  });
  const { state } = recorded;
  return {
    streams: [new TraceStream(recorded, settings.closed)],
    start: recorded.start,
    ...(state === undefined ? {} : { state }),
    zoneRequests: !recorded.requests,
    estimatedRows: Math.round(recorded.count * 1.5),
    durationNs: recorded.durationNs,
  };
}

/** The plug-in. */
export const pageTrace: WorkloadPlugin = workloadPlugin<PageTraceOptions>({
  name: "page-trace",
  summary: "replays the page allocations and frees of a recorded kernel",
  source: "kmem tracepoints of Linux 6.1 and 6.12 guests",
  options,
  files: ({ file, snapshots }) => snapshots === undefined ? [file] : [file, snapshots],
  memoryBytes: (settings, file) => {
    const state = stateOf(settings, file);
    return state === undefined ? undefined : state.pages * PAGE_SIZE;
  },
  create,
});
