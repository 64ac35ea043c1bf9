/**
 * Reading a kernel trace as text: `trace` and `trace_pipe` of tracefs, `trace-cmd report`, `perf script`. The three are told
 * apart line by line; what they say becomes the rows of a recording.
 */
import { InputError, show } from "../../core/options.ts";
import { PAGEBLOCK_PAGES } from "../allocator.ts";
import type { TraceRows } from "../trace_rows.ts";
import { generationOf, type KernelGeneration } from "./gfp_flags.ts";
import { FieldError, Kind, kindOf } from "./kernel_events.ts";
import { emptyHead, type LineHead, readHead } from "./line_head.ts";
import { CODE, CPUS_MAX, TextRows } from "./text_rows.ts";

/** What the text does not say itself. */
export interface KernelTextOptions {
  /** The kernel; undefined: as the text says, or 6.1. */
  readonly kernel?: KernelGeneration | undefined;
  /** Counts of the clock per us where times are plain counts; undefined: as the text says. */
  readonly tscMhz?: number | undefined;
  /** Whether a trace with lost events is read nevertheless. */
  readonly lostOk?: boolean;
}

/** A text that was read. */
export interface KernelText {
  /** The rows, by time. */
  readonly rows: TraceRows;
  /** The kernel that was assumed. */
  readonly kernel: KernelGeneration;
  /** What is not as exact as it might be, one sentence each. */
  readonly notices: readonly string[];
}

/** Bytes decoded at once. */
const PIECE_BYTES = 2 ** 20;

/**
 * Reads the decompressed bytes of a trace. Throws {@link InputError} with path `["row", n]` for line n.
 *
 * ```ts
 * import { readKernelText } from "./kernel_text.ts";
 * const line = "  bash-7  [000] d..1.  1.000010: mm_page_pcpu_drain: page=(hashed) pfn=0x200 order=0 migratetype=1\n";
 * const { rows } = readKernelText(new TextEncoder().encode(line), {});
 * if (rows.pfn[0] !== 512) throw new Error("page 0x200");
 * ```
 */
export function readKernelText(bytes: Uint8Array, options: KernelTextOptions): KernelText {
  return new Reader(options).read(bytes);
}

class Reader {
  #options: KernelTextOptions;
  #said: Record<string, string> = {};
  #text = new TextRows(() => this.#kernel());
  #kinds = new Map<string, number>();
  #passed = new Map<string, number>();
  #head: LineHead = emptyHead();
  #line = 0;
  #isSeconds: boolean | undefined;
  #zeroHigh = 0;
  #zeroLow = 0;
  #hasZero = false;
  #lost = 0;
  #cpus = 1;

  constructor(options: KernelTextOptions) {
    this.#options = options;
  }

  read(bytes: Uint8Array): KernelText {
    for (const line of lines(bytes)) {
      this.#line++;
      if (readHead(line, this.#head)) this.#event();
      else this.#other(line);
    }
    const { rows } = this.#text;
    this.#text.resolveZones();
    if (rows.count === 0) throw new InputError([], "holds no event of the page allocator and no mark");
    rows.hasCpu = this.#cpus > 1;
    const merged = byTime(rows);
    const guessed = resolveTypes(merged);
    return { rows: merged, kernel: this.#kernel(), notices: this.#notices(guessed) };
  }

  #kernel(): KernelGeneration {
    return this.#options.kernel ?? generationOf(this.#said.kernel ?? "") ?? "6.1";
  }

  #event(): void {
    const { event, body, cpu } = this.#head;
    let kind = this.#kinds.get(event);
    if (kind === undefined) this.#kinds.set(event, kind = kindOf(event, body));
    if (cpu >= CPUS_MAX) throw this.#problem(`CPU ${cpu} is beyond the ${CPUS_MAX} that a recording may have`);
    if (kind === Kind.other) return void this.#passed.set(event, (this.#passed.get(event) ?? 0) + 1);
    this.#cpus = Math.max(this.#cpus, cpu + 1);
    const timeUs = this.#timeUs();
    try {
      this.#text.add(kind, body, cpu, timeUs);
    } catch (error) {
      if (error instanceof FieldError) throw this.#problem(`${event} ${error.message}`);
      throw error;
    }
  }

  #timeUs(): number {
    const { isSeconds, high, low } = this.#head;
    if (this.#isSeconds === undefined) {
      this.#isSeconds = isSeconds;
      if (!this.#hasZero) [this.#zeroHigh, this.#zeroLow] = [high, low];
    }
    if (isSeconds !== this.#isSeconds) {
      throw this.#problem("the time is of another clock than that of the lines before");
    }
    let timeUs: number;
    if (isSeconds) timeUs = Math.round((high - this.#zeroHigh) * 1e6 + (low - this.#zeroLow) / 1000);
    else {
      const mhz = this.#options.tscMhz ?? Number(this.#said.tsc_mhz);
      if (!(mhz > 0)) {
        throw this.#problem("the times are counts of a clock such as x86-tsc; give its rate with --tsc-mhz");
      }
      timeUs = Math.round(((high - this.#zeroHigh) * 1e9 + low - this.#zeroLow) / mhz);
    }
    if (Math.abs(timeUs) > 2 ** 50) throw this.#problem("the time lies more than 35 years from that of the first line");
    return timeUs;
  }

  /** A line without an event: headers, lost events, stacks; anything else is refused. */
  #other(line: string): void {
    if (line.startsWith("#")) return this.#comment(line);
    const lost = /^CPU:\d+ \[(?:LOST )?(\d*) ?EVENTS(?: DROPPED)?\]/.exec(line) ??
      /PERF_RECORD_LOST.*?(\d+)/.exec(line);
    if (lost !== null) return this.#lose(Number(lost[1]) || 1);
    const cpus = /^cpus=(\d+)$/.exec(line);
    if (cpus !== null) return void (this.#cpus = Math.max(this.#cpus, Number(cpus[1])));
    if (/^\s*$|^version = \d|^trace\.dat|^\s*=> |^\s+[0-9a-f]{8,16} /.test(line)) return;
    throw this.#problem(`${show(line.length > 60 ? `${line.slice(0, 60)}…` : line)} is not a line of a kernel trace`);
  }

  #comment(line: string): void {
    const entries = /entries-in-buffer\/entries-written: (\d+)\/(\d+)\s+#P:(\d+)/.exec(line);
    if (entries !== null) {
      this.#cpus = Math.max(this.#cpus, Number(entries[3]));
      if (Number(entries[2]) > Number(entries[1])) this.#lose(Number(entries[2]) - Number(entries[1]));
    }
    const release = /^# os release : (\S+)/.exec(line);
    if (release !== null) this.#said.kernel ??= release[1];
    if (!line.startsWith("# hintsim: ")) return;
    for (const [, key, value] of line.matchAll(/(\w+)=(\S+)/g)) this.#said[key] = value;
    if (Number(this.#said.lost) > 0) this.#lose(Number(this.#said.lost));
    if (/^\d+$/.test(this.#said.cpus ?? "")) this.#cpus = Math.max(this.#cpus, Number(this.#said.cpus));
    const zero = this.#said.zero;
    if (zero === undefined) return;
    const read = readHead(` [000] ${zero}: zero:`, this.#head);
    if (!read) throw this.#problem(`${show(zero)} is not a time`);
    [this.#zeroHigh, this.#zeroLow, this.#hasZero] = [this.#head.high, this.#head.low, true];
  }

  #lose(events: number): void {
    this.#lost += events;
    if (this.#options.lostOk) return;
    throw this.#problem(
      `${events} events were lost; record with a larger buffer, or keep what there is with --lost-ok`,
    );
  }

  #notices(guessed: number): string[] {
    const { failedAllocations, unknownPages } = this.#text;
    const passed = [...this.#passed].map(([event, count]) => `${count} ${event}`);
    return [
      ...(this.#lost > 0 ? [`${this.#lost} events are missing: a replay is not exact from there on`] : []),
      ...(passed.length > 0 ? [`passed over, as they are not events of the page allocator: ${passed.join(", ")}`] : []),
      ...(failedAllocations > 0 ? [`left out: ${failedAllocations} allocations that failed`] : []),
      ...(unknownPages > 0 ? [`left out: ${unknownPages} rows of probes whose page is not known`] : []),
      ...(guessed > 0
        ? [`${guessed} rows of probes have no migratetype: that of their pageblock's last row is taken`]
        : []),
    ];
  }

  #problem(message: string): InputError {
    return new InputError(["row", this.#line], message);
  }
}

function* lines(bytes: Uint8Array): Generator<string> {
  const decoder = new TextDecoder();
  for (let at = 0; at < bytes.length;) {
    let end = Math.min(bytes.length, at + PIECE_BYTES);
    if (end < bytes.length) {
      const newline = bytes.lastIndexOf(10, end - 1);
      end = (newline >= at ? newline : bytes.indexOf(10, end)) + 1;
      if (end === 0) end = bytes.length;
    }
    const piece = decoder.decode(bytes.subarray(at, end));
    at = end;
    const parts = piece.split("\n");
    if (parts[parts.length - 1] === "") parts.pop();
    yield* parts;
  }
}

/** The rows by time, those of one CPU in the order of the file, without dropped ones; the first is not before 0. */
function byTime(rows: TraceRows): TraceRows {
  const { timeUs, cpu, event, count } = rows;
  const latest = new Float64Array(CPUS_MAX).fill(-Infinity);
  let first = 0;
  let isSorted = true;
  for (let row = 0; row < count; row++) {
    // One CPU's rows are in order even where its clock is not.
    timeUs[row] = latest[cpu[row]] = Math.max(timeUs[row], latest[cpu[row]]);
    first = Math.min(first, timeUs[row]);
    if (event[row] === 0 || row > 0 && timeUs[row] < timeUs[row - 1]) isSorted = false;
  }
  if (first < 0) { for (let row = 0; row < count; row++) timeUs[row] -= first; }
  if (isSorted) return rows;
  const order = Uint32Array.from({ length: count }, (_, row) => row).filter((row) => event[row] !== 0);
  return rows.permuted(order.sort((a, b) => timeUs[a] - timeUs[b] || a - b));
}

/** Gives frees without a migratetype that of the nearest row of their pageblock; returns how many there were. */
function resolveTypes(rows: TraceRows): number {
  const { event, migratetype, count } = rows;
  const isNeeded = (row: number) => migratetype[row] < 0 && (event[row] === CODE.O || event[row] === CODE.P);
  const needing: number[] = [];
  for (let row = 0; row < count; row++) if (isNeeded(row)) needing.push(row);
  if (needing.length === 0) return 0;
  const found = new Map<number, number>();
  const types = new Map<number, number>();
  const look = (row: number) => {
    const block = Math.floor(rows.pfn[row] / PAGEBLOCK_PAGES);
    if (isNeeded(row)) {
      const type = types.get(block);
      if (type !== undefined && !found.has(row)) found.set(row, type);
    } else if (event[row] === CODE.Z || event[row] === CODE.D) types.set(block, migratetype[row]);
  };
  for (let row = 0; row < count; row++) look(row);
  types.clear();
  for (let row = count - 1; row >= 0; row--) look(row);
  for (const row of needing) migratetype[row] = found.get(row) ?? 1;
  return needing.length;
}
