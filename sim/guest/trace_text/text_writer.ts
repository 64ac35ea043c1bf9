/**
 * Writing a recording as the text of a kernel trace. A row that has no event of the kernel (snapshots, and rows that were made
 * from several events) is written as a mark, so that reading the text gives the same rows again.
 */
import type { TraceRows } from "../trace_rows.ts";
import { gfpFlags, gfpText, type KernelGeneration } from "./gfp_flags.ts";
import { CODE, CPUS_MAX, OWN_MARK, ROW_MARK, SNAPSHOT_MARK } from "./text_rows.ts";

/** The texts that are written. */
export const TEXT_FORMATS = ["tracefs", "trace-cmd", "perf"] as const;
/** One of them. */
export type TextFormat = (typeof TEXT_FORMATS)[number];

/** How a text is written. */
export interface TextWriterOptions {
  /** Whose text. */
  readonly format: TextFormat;
  /** The kernel, which decides the names of flags and the order of fallback rows. */
  readonly kernel: KernelGeneration;
  /** Writes times as counts of a clock with this many counts per us, as x86-tsc does; seconds when undefined. */
  readonly tscMhz?: number | undefined;
}

/** Lines of one piece of output. */
const PIECE_ROWS = 4096;

/** Where the array of struct pages begins without randomization (arch/x86/include/asm/pgtable_64_types.h), upper half. */
const VMEMMAP_HIGH = 0xffffea00;
const STRUCT_PAGE_BYTES = 64;

/** The bytes of the text, in pieces. */
export function* writeKernelText(rows: TraceRows, options: TextWriterOptions): Generator<Uint8Array<ArrayBuffer>> {
  const encoder = new TextEncoder();
  const writer = new Writer(rows, options);
  let piece = writer.header();
  for (let row = 0; row < rows.count; row++) {
    piece += writer.lines(row);
    if (row % PIECE_ROWS < PIECE_ROWS - 1) continue;
    yield encoder.encode(piece);
    piece = "";
  }
  yield encoder.encode(piece);
}

/** Which kernel the rows are of: only the newer one has claims of their own (z) and the decay of per-CPU lists (Y). */
export function kernelOf(rows: TraceRows): KernelGeneration {
  for (let row = 0; row < rows.count; row++) {
    if (rows.event[row] === CODE.z || rows.event[row] === CODE.Y) return "6.12";
  }
  return "6.1";
}

class Writer {
  #rows: TraceRows;
  #options: TextWriterOptions;
  /** The next row of the same CPU, for fallbacks. */
  #next: Int32Array;
  #gfp = new Map<number, string | undefined>();

  constructor(rows: TraceRows, options: TextWriterOptions) {
    this.#rows = rows;
    this.#options = options;
    this.#next = nextOnCpu(rows);
  }

  header(): string {
    const { count, hasCpu, cpu } = this.#rows;
    const { format, kernel, tscMhz } = this.#options;
    let cpus = hasCpu ? 2 : 1;
    for (let row = 0; row < count; row++) cpus = Math.max(cpus, cpu[row] + 1);
    const clock = tscMhz === undefined ? "zero=0.000000" : `zero=0 tsc_mhz=${tscMhz}`;
    const own = `# hintsim: kernel=${kernel} cpus=${cpus} ${clock}\n`;
    if (format === "perf") return own;
    if (format === "trace-cmd") return `${own}cpus=${cpus}\n`;
    return `# tracer: nop\n#\n${own}#           TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION\n`;
  }

  /** The line or lines of a row. */
  lines(row: number): string {
    const { event, order } = this.#rows;
    const body = this.#event(row);
    if (body === undefined) return this.#mark(row, `${ROW_MARK}${this.#cells(row)}`);
    const line = this.#line(row, body);
    if (event[row] !== CODE.I && event[row] !== CODE.i) return line;
    const pages = event[row] === CODE.I ? (2 ** order[row]).toString(16) : "0";
    const back = "isolate_free_page_ret: (isolate_freepages_block+0x0/0x0 <- __isolate_free_page)";
    return `${line}${this.#line(row, `${back} ret=0x${pages}`)}`;
  }

  #mark(row: number, text: string): string {
    const isTracefs = this.#options.format === "tracefs";
    return this.#line(row, `${isTracefs ? "" : "print: "}tracing_mark_write: ${text}`);
  }

  /** Task, CPU and time before `name: text`. */
  #line(row: number, text: string): string {
    const { format } = this.#options;
    const cpu = String(this.#rows.cpu[row]).padStart(3, "0");
    const time = this.#time(this.#rows.timeUs[row]);
    if (format === "perf") {
      const isMark = text.startsWith("print: ");
      const system = isMark ? "ftrace:" : text.startsWith("mm_") ? "kmem:" : "probe:";
      return `           <...>     0 [${cpu}] ${time}: ${system}${text}\n`;
    }
    if (format === "tracefs") return `           <...>-0       [${cpu}] ..... ${time}: ${text}\n`;
    const colon = text.indexOf(": ") + 1;
    return `           <...>-0     [${cpu}] ..... ${time}: ${text.slice(0, colon).padEnd(21)} ${
      text.slice(colon + 1)
    }\n`;
  }

  #time(timeUs: number): string {
    const { tscMhz } = this.#options;
    if (tscMhz !== undefined) return BigInt(Math.round(timeUs * tscMhz)).toString().padStart(12);
    const micros = timeUs % 1e6;
    return `${String((timeUs - micros) / 1e6).padStart(5)}.${String(micros).padStart(6, "0")}`;
  }

  /** Name and fields of the event of a row, or undefined when it has none that says all of it. */
  #event(row: number): string | undefined {
    const { pfn, order, migratetype } = this.#rows;
    const x = this.#rows.text(row);
    const event = this.#rows.event[row];
    const page = pfn[row];
    const has = (hasOrder: boolean, hasType: boolean) =>
      (hasOrder ? order[row] >= 0 : order[row] < 0) && (hasType ? migratetype[row] >= 0 : migratetype[row] < 0);
    if (event === CODE.S || event === CODE.M) {
      return page < 0 && has(false, false) ? this.#markText(event, x) : undefined;
    }
    if (event === CODE.K) return page < 0 && has(false, false) ? bulk(x) : undefined;
    if (event === CODE.Y) {
      const isPlain = page < 0 && has(false, true) && x === "";
      return isPlain ? `decay_pcp_high: (decay_pcp_high+0x0/0x0) zone=0x${migratetype[row]}` : undefined;
    }
    if (page < 1 || !has(event !== CODE.B, !"BFIi".includes(String.fromCharCode(event)))) return undefined;
    return this.#pageEvent(row, event, x);
  }

  /** The events that have a page. */
  #pageEvent(row: number, event: number, x: string): string | undefined {
    const { kernel } = this.#options;
    const order = this.#rows.order[row];
    const where = `${this.#page(row)} order=${order}`;
    const type = `migratetype=${this.#rows.migratetype[row]}`;
    switch (event) {
      case CODE.A: {
        const flags = this.#gfpOf(this.#rows.x[row]);
        return flags === undefined ? undefined : `mm_page_alloc: ${where} ${type} gfp_flags=${flags}`;
      }
      case CODE.B:
        return x === "" ? `mm_page_free_batched: ${this.#page(row)} order=0` : undefined;
      case CODE.F:
        return x === "" ? `mm_page_free: ${where}` : undefined;
      case CODE.D:
        return x === "" ? `mm_page_pcpu_drain: ${where} ${type}` : undefined;
      case CODE.Z:
      case CODE.z: {
        const isOwn = (event === CODE.z) === this.#precedesFallback(row) && /^[01]$/.test(x);
        return isOwn ? `mm_page_alloc_zone_locked: ${where} ${type} percpu_refill=${x}` : undefined;
      }
      case CODE.X:
        return this.#extfrag(row, x);
      case CODE.O:
      case CODE.U:
        return this.#probe(row, x, event === CODE.O ? "free_one_page" : "putback_isolated_page");
      case CODE.P:
      case CODE.p:
        return (event === CODE.p) === (kernel === "6.12") ? this.#probe(row, x, "free_pages_ok") : undefined;
      case CODE.I:
      case CODE.i:
        return x === ""
          ? `isolate_free_page: (__isolate_free_page+0x0/0x0) pfn=${this.#rows.pfn[row]} order=${order}`
          : undefined;
      default:
        return undefined;
    }
  }

  /** Whether a fallback of the same page follows directly on this CPU, as after a claim since 6.10. */
  #precedesFallback(row: number): boolean {
    const next = this.#next[row];
    const { event, pfn } = this.#rows;
    return this.#options.kernel === "6.12" && next >= 0 && event[next] === CODE.X && pfn[next] === pfn[row] &&
      this.#event(next) !== undefined;
  }

  #extfrag(row: number, x: string): string | undefined {
    const parts = /^(\d|10)\/([0-4])\/([01])$/.exec(x);
    if (parts === null) return undefined;
    const [, order, type, own] = parts;
    const { order: wanted, migratetype } = this.#rows;
    return `mm_page_alloc_extfrag: ${this.#page(row)} alloc_order=${wanted[row]} fallback_order=${order} ` +
      `pageblock_order=9 alloc_migratetype=${migratetype[row]} fallback_migratetype=${type} ` +
      `fragmenting=${Number(order) < 9 ? 1 : 0} change_ownership=${own}`;
  }

  #probe(row: number, x: string, name: string): string | undefined {
    if (!/^(0|[1-9a-f][0-9a-f]{0,7})?$/.test(x)) return undefined;
    const { pfn, order, migratetype } = this.#rows;
    const symbol = name === "free_one_page" ? name : `__${name}`;
    const flags = x === "" ? "" : ` fpi=0x${x}`;
    return `${name}: (${symbol}+0x0/0x0) pfn=${pfn[row]} order=${order[row]} mt=${migratetype[row]}${flags}`;
  }

  #page(row: number): string {
    const pfn = this.#rows.pfn[row];
    const isTracefs = this.#options.format === "tracefs";
    return `page=${this.#pointer(pfn, isTracefs ? "" : "0x")} pfn=0x${pfn.toString(16)}`;
  }

  #pointer(pfn: number, prefix: string): string {
    const offset = pfn * STRUCT_PAGE_BYTES;
    const low = offset % 2 ** 32;
    return `${prefix}${(VMEMMAP_HIGH + (offset - low) / 2 ** 32).toString(16)}${low.toString(16).padStart(8, "0")}`;
  }

  /** Flags by the number of their text, undefined where names would not lead back to it. */
  #gfpOf(x: number): string | undefined {
    if (this.#gfp.has(x)) return this.#gfp.get(x);
    const { kernel } = this.#options;
    const text = this.#rows.textOf(x);
    const flags = /^(0|[1-9a-f][0-9a-f]{0,7})$/.test(text) ? gfpText(parseInt(text, 16), kernel) : undefined;
    const isExact = text === "" || flags !== undefined && gfpFlags(flags, kernel)?.toString(16) === text;
    const printed = isExact ? flags ?? "" : undefined;
    this.#gfp.set(x, printed);
    return printed;
  }

  #markText(event: number, x: string): string | undefined {
    const isQuoted = x.startsWith('"') && x.endsWith('"');
    if (isQuoted || event === CODE.M && x.startsWith(OWN_MARK)) return undefined;
    const system = this.#options.format === "tracefs" ? "" : "print: ";
    return `${system}tracing_mark_write: ${event === CODE.S ? SNAPSHOT_MARK : ""}${x}`;
  }

  #cells(row: number): string {
    const { event, pfn, order, migratetype } = this.#rows;
    const cell = (value: number) => value < 0 ? "" : value;
    return `${String.fromCharCode(event[row])},${cell(pfn[row])},${cell(order[row])},${cell(migratetype[row])},${
      this.#rows.text(row)
    }`;
  }
}

function bulk(x: string): string | undefined {
  if (!/^[1-9]\d{0,8}$/.test(x)) return undefined;
  return `alloc_pages_bulk_ret: (__vmalloc_node_range+0x0/0x0 <- __alloc_pages_bulk) ret=${x}`;
}

/** For each row the next one of its CPU, -1 at the end. */
function nextOnCpu({ count, cpu }: TraceRows): Int32Array {
  const next = new Int32Array(count).fill(-1);
  const last = new Int32Array(CPUS_MAX).fill(-1);
  for (let row = count - 1; row >= 0; row--) {
    next[row] = last[cpu[row]];
    last[cpu[row]] = row;
  }
  return next;
}
