/**
 * Rows of a recording with all of their columns, for the tools that change recordings: the texts of column x are kept, each
 * once, and times are those since the beginning.
 */
import { InputError } from "../core/options.ts";
import { grown } from "../memory/grown.ts";
import { readRecording } from "./recording.ts";

/** Character codes of the events whose x is a text to the end of the row. */
const SNAPSHOT = 83;
const MARK = 77;
const COMMA = 44;
const NEWLINE = 10;

const HEADER = "dt_us,ev,pfn,order,mt,x";

/** Rows of one piece of output. */
const PIECE_ROWS = 8192;

/** Typed columns that grow row by row. */
export class TraceRows {
  /** Whether the recording has a column `cpu`. */
  hasCpu = false;
  /** Time, us since the recording began. */
  timeUs: Float64Array = new Float64Array(1024);
  /** Character code of the event. */
  event: Uint8Array = new Uint8Array(1024);
  /** Page, -1 where the row has none. */
  pfn: Float64Array = new Float64Array(1024);
  /** Order, -1 where the row has none. */
  order: Int8Array = new Int8Array(1024);
  /** Migratetype, -1 where the row has none. */
  migratetype: Int8Array = new Int8Array(1024);
  /** CPU. */
  cpu: Int16Array = new Int16Array(1024);
  /** Number of the text in column x. */
  x: Int32Array = new Int32Array(1024);
  #count = 0;
  #texts: string[] = [];
  #numbers = new Map<string, number>();

  /** Number of rows. */
  get count(): number {
    return this.#count;
  }

  /** The text of column x of a row. */
  text(row: number): string {
    return this.#texts[this.x[row]];
  }

  /** The text of this number. */
  textOf(number: number): string {
    return this.#texts[number];
  }

  /** The number of a text; the same text has one number. */
  number(text: string): number {
    const known = this.#numbers.get(text);
    if (known !== undefined) return known;
    this.#numbers.set(text, this.#texts.length);
    return this.#texts.push(text) - 1;
  }

  /** Appends a row; `x` is the number of its text. Returns its index. */
  push(
    timeUs: number,
    event: number,
    pfn: number,
    order: number,
    migratetype: number,
    x: number,
    cpu: number,
  ): number {
    const row = this.#count++;
    if (row === this.event.length) this.#grow();
    this.timeUs[row] = timeUs;
    this.event[row] = event;
    this.pfn[row] = pfn;
    this.order[row] = order;
    this.migratetype[row] = migratetype;
    this.x[row] = x;
    this.cpu[row] = cpu;
    return row;
  }

  /** The same rows in another order: row n of the result is row `order[n]`. */
  permuted(order: Uint32Array): TraceRows {
    const rows = new TraceRows();
    rows.hasCpu = this.hasCpu;
    this.copyTo(rows, order);
    return rows;
  }

  /** Appends rows of this one to another one. */
  copyTo(other: TraceRows, rows: Uint32Array): void {
    const { timeUs, event, pfn, order, migratetype, cpu } = this;
    for (const row of rows) {
      const x = other.number(this.text(row));
      other.push(timeUs[row], event[row], pfn[row], order[row], migratetype[row], x, cpu[row]);
    }
  }

  #grow(): void {
    const length = 2 * this.event.length;
    this.timeUs = grown(this.timeUs, length);
    this.event = grown(this.event, length);
    this.pfn = grown(this.pfn, length);
    this.order = grown(this.order, length);
    this.migratetype = grown(this.migratetype, length);
    this.cpu = grown(this.cpu, length);
    this.x = grown(this.x, length);
  }
}

/** Reads the decompressed bytes of a recording. Throws {@link InputError} with path `["row", n]`; the header is row 1. */
export function readTraceRows(bytes: Uint8Array): TraceRows {
  const recording = readRecording(bytes);
  const rows = new TraceRows();
  rows.hasCpu = bytes[HEADER.length] === COMMA;
  const texts = new ShortTexts(rows, bytes);
  let at = bytes.indexOf(NEWLINE) + 1;
  let timeUs = 0;
  for (let row = 0; row < recording.count; row++) {
    for (let commas = 0; commas < 5; at++) if (bytes[at] === COMMA) commas++;
    const end = bytes.indexOf(NEWLINE, at);
    const event = recording.event[row];
    timeUs += recording.deltaUs[row];
    if (timeUs > Number.MAX_SAFE_INTEGER) {
      throw new InputError(["row", row + 2], "the times add up to more than 2^53 us");
    }
    const xEnd = rows.hasCpu ? endWithoutCpu(bytes, at, end) : end;
    const { pfn, order, migratetype, cpu } = recording;
    rows.push(timeUs, event, pfn[row], order[row], migratetype[row], texts.number(at, xEnd), cpu[row]);
    at = end + 1;
  }
  return rows;
}

/** Where the cell before the cpu ends; a row may stand without a cpu. */
function endWithoutCpu(bytes: Uint8Array, start: number, end: number): number {
  let comma = end - 1;
  while (comma >= start && bytes[comma] >= 48 && bytes[comma] <= 57) comma--;
  return comma >= start && bytes[comma] === COMMA ? comma : end;
}

/** Numbers of the texts in column x. Most are a few characters that come again: they are found without making a string. */
class ShortTexts {
  #rows: TraceRows;
  #bytes: Uint8Array;
  #short = new Map<number, number>();
  #decoder = new TextDecoder();

  constructor(rows: TraceRows, bytes: Uint8Array) {
    this.#rows = rows;
    this.#bytes = bytes;
  }

  number(start: number, end: number): number {
    if (end - start > 6) return this.#rows.number(this.#decode(start, end));
    let key = 0;
    for (let at = start; at < end; at++) key = key * 256 + this.#bytes[at];
    let number = this.#short.get(key);
    if (number === undefined) this.#short.set(key, number = this.#rows.number(this.#decode(start, end)));
    return number;
  }

  #decode(start: number, end: number): string {
    return this.#decoder.decode(this.#bytes.subarray(start, end));
  }
}

/** Rows with the row of a snapshot: where it is, and where the reading of its state began. */
export interface RowsWithSnapshot {
  /** The rows. */
  readonly rows: TraceRows;
  /** Index of the row of the snapshot. */
  readonly at: number;
  /** Index of the first row after the mark `reading <tag>`, or of the snapshot's row. */
  readonly from: number;
}

/** The rows with a snapshot of this tag, which is put before all others when there is none. */
export function withSnapshotRow(rows: TraceRows, tag: string): RowsWithSnapshot {
  let from = -1;
  for (let row = 0; row < rows.count; row++) {
    const isText = rows.event[row] === SNAPSHOT || rows.event[row] === MARK;
    if (!isText) continue;
    if (rows.event[row] === SNAPSHOT && rows.text(row) === tag) return { rows, at: row, from: from < 0 ? row : from };
    if (rows.text(row) === `reading ${tag}`) from = row + 1;
  }
  const more = new TraceRows();
  more.hasCpu = rows.hasCpu;
  more.push(rows.count === 0 ? 0 : rows.timeUs[0], SNAPSHOT, -1, -1, -1, more.number(tag), 0);
  rows.copyTo(more, Uint32Array.from({ length: rows.count }, (_, row) => row));
  return { rows: more, at: 0, from: 0 };
}

/** The bytes of a recording, in pieces. */
export function* writeTraceRows(rows: TraceRows): Generator<Uint8Array<ArrayBuffer>> {
  const encoder = new TextEncoder();
  let piece = `${HEADER}${rows.hasCpu ? ",cpu" : ""}\n`;
  let beforeUs = 0;
  for (let row = 0; row < rows.count; row++) {
    const timeUs = rows.timeUs[row];
    piece += `${timeUs - beforeUs},${cells(rows, row)}\n`;
    beforeUs = timeUs;
    if (row % PIECE_ROWS < PIECE_ROWS - 1) continue;
    yield encoder.encode(piece);
    piece = "";
  }
  yield encoder.encode(piece);
}

/** A row without its time. */
function cells(rows: TraceRows, row: number): string {
  const { pfn, order, migratetype, cpu, hasCpu } = rows;
  const event = rows.event[row];
  const text = rows.text(row);
  const start = `${String.fromCharCode(event)},${cell(pfn[row])},${cell(order[row])},${cell(migratetype[row])},${text}`;
  if (!hasCpu) return start;
  // A text stands without a cpu, unless its own end would be taken for one.
  if ((event === SNAPSHOT || event === MARK) && !/,\d*$/.test(text)) return start;
  return `${start},${cpu[row]}`;
}

function cell(value: number): string {
  return value < 0 ? "" : String(value);
}
