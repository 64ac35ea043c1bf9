/** The command `trace convert`: between recordings and the texts of kernel traces, with start states from /proc. */
import { InputError } from "../core/options.ts";
import { type StartState, stateFromFreeMemory, stateFromProc } from "../guest/start_state.ts";
import { readTraceRows, type TraceRows, withSnapshotRow, writeTraceRows } from "../guest/trace_rows.ts";
import type { KernelGeneration } from "../guest/trace_text/gfp_flags.ts";
import { readKernelText } from "../guest/trace_text/kernel_text.ts";
import { kernelOf, type TextFormat, writeKernelText } from "../guest/trace_text/text_writer.ts";
import { readUserFile } from "./files.ts";
import { DONE, type Io, UsageError } from "./io.ts";
import { writeOutFile } from "./out_file.ts";
import { ofFile, stemOf } from "./trace_input.ts";

/** The formats by name. */
export const TRACE_FORMATS = ["csv", "tracefs", "trace-cmd", "perf"] as const;
/** One of them. */
export type TraceFormat = (typeof TRACE_FORMATS)[number];

/** What the user asked for. */
export interface ConvertOptions {
  /** The file to write. */
  readonly out: string;
  /** Format of the input; undefined: by its first line. */
  readonly from: TraceFormat | undefined;
  /** Format of the output; undefined: csv when its name says so, else tracefs. */
  readonly to: TraceFormat | undefined;
  /** The kernel; undefined: as the input says. */
  readonly kernel: KernelGeneration | undefined;
  /** Counts per us of a clock that is not in seconds. */
  readonly tscMhz: number | undefined;
  /** Whether a trace with lost events is converted. */
  readonly lostOk: boolean;
  /** A copy of /proc/kpageflags at the start. */
  readonly kpageflags: string | undefined;
  /** A copy of /proc/zoneinfo. */
  readonly zoneinfo: string | undefined;
  /** A copy of /proc/pagetypeinfo. */
  readonly pagetypeinfo: string | undefined;
  /** Memory of the guest in bytes, for a start state from free memory alone. */
  readonly memoryBytes: number | undefined;
  /** Free memory at the start in bytes. */
  readonly freeBytes: number | undefined;
  /** Words of the command line, for messages. */
  readonly command: readonly string[];
}

/** The tag of a start state. */
const START_TAG = "s0";

/** Converts a trace. Returns the exit status; throws {@link UsageError}. */
export async function convertCommand(io: Io, path: string, options: ConvertOptions): Promise<number> {
  const { out, command } = options;
  const to = outputFormat(options);
  const asksStart = asksForStart(options);
  if (asksStart && to !== "csv") {
    throw new UsageError(`${out}: a start state stands beside a recording; write one with --to csv`);
  }
  const input = await read(io, path, options);
  input.notices.forEach((notice) => io.err(`${path}: ${notice}\n`));
  let { rows } = input;
  const kernel = options.kernel ?? input.kernel;
  const inputs = [path, options.kpageflags, options.zoneinfo, options.pagetypeinfo].filter((one) => one !== undefined);
  if (asksStart) {
    const start = withSnapshotRow(rows, START_TAG);
    rows = start.rows;
    const state = await startState(io, options, start);
    state.notices.forEach((notice) => io.err(`${START_TAG}: ${notice}\n`));
    const snapshotsOut = `${stemOf(out)}.snaps.json.gz`;
    const json = new TextEncoder().encode(JSON.stringify({ [START_TAG]: { kernel, ...state.snapshot } }));
    await writeOutFile(io, { path: snapshotsOut, command, inputs }, [json]);
    io.out(`${snapshotsOut}: ${START_TAG}\n`);
  }
  const pieces = to === "csv"
    ? writeTraceRows(rows)
    : writeKernelText(rows, { format: to, kernel, tscMhz: options.tscMhz });
  await writeOutFile(io, { path: out, command, inputs }, pieces);
  io.out(`${out}: ${rows.count} rows, ${to}\n`);
  return DONE;
}

function outputFormat({ out, to }: ConvertOptions): TraceFormat {
  const isCsv = /\.csv(\.gz)?$/.test(out);
  if (to === "csv" && !isCsv) throw new UsageError(`${out}: a recording is named .csv or .csv.gz`);
  return to ?? (isCsv ? "csv" : "tracefs");
}

function asksForStart(options: ConvertOptions): boolean {
  const { kpageflags, zoneinfo, pagetypeinfo, memoryBytes, freeBytes } = options;
  if (
    (kpageflags === undefined) !== (zoneinfo === undefined) || pagetypeinfo !== undefined && kpageflags === undefined
  ) {
    throw new UsageError("a start state from /proc wants --kpageflags and --zoneinfo, and --pagetypeinfo beside them");
  }
  if ((memoryBytes === undefined) !== (freeBytes === undefined)) {
    throw new UsageError("a start state from free memory alone wants --memory and --free");
  }
  if (kpageflags !== undefined && memoryBytes !== undefined) {
    throw new UsageError("a start state is made from --kpageflags or from --memory and --free, not from both");
  }
  return kpageflags !== undefined || memoryBytes !== undefined;
}

interface Input {
  readonly rows: TraceRows;
  readonly kernel: KernelGeneration;
  readonly notices: readonly string[];
}

async function read(io: Io, path: string, options: ConvertOptions): Promise<Input> {
  const bytes = await ofFile(path, () => readUserFile(io, path));
  return await ofFile(path, () => {
    if ((options.from ?? formatOf(bytes)) !== "csv") return readKernelText(bytes, options);
    const rows = readTraceRows(bytes);
    return { rows, kernel: kernelOf(rows), notices: [] };
  });
}

/** A recording begins with its header; the texts are told apart line by line. */
function formatOf(bytes: Uint8Array): "csv" | TextFormat {
  return new TextDecoder().decode(bytes.subarray(0, 6)) === "dt_us," ? "csv" : "tracefs";
}

async function startState(
  io: Io,
  options: ConvertOptions,
  recorded: { rows: TraceRows; at: number; from: number },
): Promise<StartState> {
  const { kpageflags, zoneinfo, pagetypeinfo, memoryBytes, freeBytes } = options;
  if (memoryBytes !== undefined) {
    return await ofFile("--memory", () => stateFromFreeMemory(memoryBytes, freeBytes!, recorded));
  }
  const text = async (path: string) => new TextDecoder().decode(await readUserFile(io, path));
  const flags = await readUserFile(io, kpageflags!);
  const zones = await text(zoneinfo!);
  const types = pagetypeinfo === undefined ? undefined : await text(pagetypeinfo);
  try {
    return stateFromProc({ kpageflags: flags, zoneinfo: zones, pagetypeinfo: types }, recorded);
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    // The first part of the path says which of the files it is.
    const [which, ...rest] = error.path;
    const file = which === "kpageflags" ? kpageflags : which === "zoneinfo" ? zoneinfo : pagetypeinfo;
    return await ofFile(String(file), () => Promise.reject(new InputError(rest, error.message)));
  }
}
