/**
 * CSV as RFC 4180 wants it, with `\n` at the end of each line (the RFC's CRLF is what only some readers want, and `\n` is
 * what they all take).
 *
 * Events go through {@link EventsCsv}, which knows their columns: a row is about fifteen stores of four or eight bytes from
 * tables into one buffer (docs/decisions/trace-writing.md). Small files are made of {@link csvLine}.
 */
import { actorOf, EVENTS, type TraceReader, type TraceRows } from "./trace.ts";

/** Most bytes that an {@link EventsCsv} hands over at a time. */
export const BUFFER_BYTES: number = 128 * 1024;

/** More than the longest row: four columns of 17 bytes, time and event of 41, the small ones, and what a store adds. */
const ROW_BYTES_MAX = 192;

/** Where the last row of a buffer may begin. */
const ROW_START_MAX = BUFFER_BYTES - ROW_BYTES_MAX;

// Buffer and tables are constants of this module, not exported and not fields, so that the compiler knows where they are:
// this saves a third of the time. Nothing stays in the buffer between two calls, so all writers can share it.
const BYTES = new Uint8Array(BUFFER_BYTES);
const VIEW = new DataView(BYTES.buffer);

/** 0 to 999 and a comma, after an empty cell at 0: "," "0," "1," ... "999,". The bytes are little-endian, as in all tables. */
const CELLS = new Uint32Array(1001);
/** Bytes of {@link CELLS}, and of {@link LAST_CELLS}. */
const CELL_BYTES = new Uint8Array(1001);
/** The same for the last cell of a row: "\n" "0\n" ... "999\n". */
const LAST_CELLS = new Uint32Array(1001);
/** Three digits and a comma, which is overwritten where further digits follow: "000," ... "999,". */
const GROUPS = new Uint32Array(1000);
for (let index = 0; index <= 1000; index++) {
  const digits = index === 0 ? "" : String(index - 1);
  CELLS[index] = word32(`${digits},`);
  LAST_CELLS[index] = word32(`${digits}\n`);
  CELL_BYTES[index] = digits.length + 1;
  if (index < 1000) GROUPS[index] = word32(`${String(index).padStart(3, "0")},`);
}

/** "guest,alloc," of each event, as three doubles of eight bytes. */
const EVENT_WORDS = new Float64Array(3 * EVENTS.length);
/** How many bytes of them. */
const EVENT_BYTES = new Uint8Array(EVENTS.length);
for (let event = 0; event < EVENTS.length; event++) {
  const text = `${actorOf(event)},${EVENTS[event]},`;
  for (let part = 0; part < 3; part++) EVENT_WORDS[3 * event + part] = word64(text.slice(8 * part, 8 * part + 8));
  EVENT_BYTES[event] = text.length;
}

/** Orders and zones, each plus one, that {@link PLACE_WORDS} holds. */
const PLACE_ORDERS = 12;
const PLACE_ZONES = 16;
/** "9,2,,," for order and zone, and no message and no bytes. */
const PLACE_WORDS = new Float64Array(PLACE_ORDERS * PLACE_ZONES);
/** How many bytes of them are order and zone. */
const PLACE_BYTES = new Uint8Array(PLACE_ORDERS * PLACE_ZONES);
for (let order = 0; order < PLACE_ORDERS; order++) {
  for (let zone = 0; zone < PLACE_ZONES; zone++) {
    const text = `${order === 0 ? "" : order - 1},${zone === 0 ? "" : zone - 1},`;
    PLACE_WORDS[order * PLACE_ZONES + zone] = word64(`${text},,`);
    PLACE_BYTES[order * PLACE_ZONES + zone] = text.length;
  }
}

/** Up to four ASCII characters as the number whose little-endian bytes they are. */
function word32(text: string): number {
  let word = 0;
  for (let i = text.length - 1; i >= 0; i--) word = word * 256 + text.charCodeAt(i);
  return word;
}

/** Up to eight ASCII characters as the double whose little-endian bytes they are; never NaN, which may lose its bytes. */
function word64(text: string): number {
  const view = new DataView(new ArrayBuffer(8));
  for (let i = 0; i < text.length; i++) view.setUint8(i, text.charCodeAt(i));
  return view.getFloat64(0, true);
}

/** Writes an integer up to 2^53, or nothing when it is negative, and a comma at `at`; returns where it ends. */
function cell(at: number, value: number): number {
  if (value >= 1000) return value < 1e9 ? largeCell(at, value | 0) : hugeCell(at, value);
  const index = value >= 0 ? (value + 1) | 0 : 0;
  VIEW.setUint32(at, CELLS[index], true);
  return at + CELL_BYTES[index];
}

/** {@link cell} for 1000 to 10^9 - 1. */
function largeCell(at: number, value: number): number {
  const thousands = (value / 1000) | 0;
  if (thousands < 1000) {
    VIEW.setUint32(at, CELLS[thousands + 1], true);
    at += CELL_BYTES[thousands + 1] - 1;
  } else {
    const millions = (thousands / 1000) | 0;
    VIEW.setUint32(at, CELLS[millions + 1], true);
    at += CELL_BYTES[millions + 1] - 1;
    VIEW.setUint32(at, GROUPS[thousands - millions * 1000], true);
    at += 3;
  }
  VIEW.setUint32(at, GROUPS[value - thousands * 1000], true);
  return at + 4;
}

/** {@link cell} for 10^9 and more. */
function hugeCell(at: number, value: number): number {
  // Exact: the rounded quotient of two whole numbers up to 2^53 never reaches the next whole number.
  const billions = Math.floor(value / 1e9);
  return nineDigits(cell(at, billions) - 1, (value - billions * 1e9) | 0);
}

/** Writes a number below 10^9 with all its nine digits, and a comma. */
function nineDigits(at: number, value: number): number {
  const thousands = (value / 1000) | 0;
  const millions = (thousands / 1000) | 0;
  VIEW.setUint32(at, GROUPS[millions], true);
  VIEW.setUint32(at + 3, GROUPS[thousands - millions * 1000], true);
  VIEW.setUint32(at + 6, GROUPS[value - thousands * 1000], true);
  return at + 10;
}

const HEADER = "time_ns,actor,event,pfn,pages,order,zone,message,bytes,cost_ns,guest,cpu\n";

/**
 * A reader of the trace that writes `events.csv`: a header, then one line per row, ended by `\n`, with an empty cell where a
 * field does not apply. Call {@link close} after the last row.
 *
 * ```ts
 * import { EventsCsv } from "./csv_writer.ts";
 * import { Event, NONE, Trace } from "./trace.ts";
 *
 * let text = "";
 * const csv = new EventsCsv((bytes) => text += new TextDecoder().decode(bytes));
 * const trace = new Trace([csv]);
 * trace.write(Event.free, 512, 4, 2, 0, NONE, NONE, 360, 0, 1);
 * trace.flush();
 * csv.close();
 * if (text.split("\n")[1] !== "0,guest,free,512,4,2,0,,,360,0,1") throw new Error(text);
 * ```
 */
export class EventsCsv implements TraceReader {
  #write: (bytes: Uint8Array) => void;
  #begun = false;

  /**
   * `write` takes the bytes of the file in pieces of at most {@link BUFFER_BYTES}, which are only valid during the call; the
   * first comes with the first rows, or with {@link close}.
   */
  constructor(write: (bytes: Uint8Array) => void) {
    this.#write = write;
  }

  /** Writes a block of rows. */
  read(rows: TraceRows): void {
    const { count, timeNs, event, pfn, pages, order, zone, message, bytes, costNs, guest, cpu } = rows;
    this.#begin();
    // Always a small integer for the compiler: a position that a method returned would cost a third more.
    let at = 0;
    // Rows of one second share the upper digits of their times.
    let secondNs = Infinity;
    let second = 0;
    let secondBytes = 0;
    for (let i = 0; i < count; i++) {
      if (at > ROW_START_MAX) {
        this.#handOver(at);
        at = 0;
      }
      const timeNow = timeNs[i];
      if (timeNow < 1e9) at = cell(at, timeNow);
      else {
        if (!(timeNow >= secondNs && timeNow < secondNs + 1e9)) {
          const seconds = Math.floor(timeNow / 1e9);
          secondNs = seconds * 1e9;
          secondBytes = cell(at, seconds) - 1 - at;
          second = VIEW.getFloat64(at, true);
        }
        VIEW.setFloat64(at, second, true);
        at = nineDigits(at + secondBytes, (timeNow - secondNs) | 0);
      }
      const code = event[i];
      VIEW.setFloat64(at, EVENT_WORDS[3 * code], true);
      VIEW.setFloat64(at + 8, EVENT_WORDS[3 * code + 1], true);
      VIEW.setFloat64(at + 16, EVENT_WORDS[3 * code + 2], true);
      at = cell(at + EVENT_BYTES[code], pfn[i]);
      at = cell(at, pages[i]);
      at = placeCells(at, order[i], zone[i]);
      // Most rows are not about a message: the two commas stand behind the place already.
      if (message[i] < 0 && bytes[i] < 0) at += 2;
      else at = cell(cell(at, message[i]), bytes[i]);
      at = cell(at, costNs[i]);
      at = lastCell(cell(at, guest[i]), cpu[i]);
    }
    this.#handOver(at);
  }

  /** Writes the header if there was no row. Nothing is ever left to be written. */
  close(): void {
    this.#begin();
  }

  /** Writes the header, once. */
  #begin(): void {
    if (this.#begun) return;
    this.#begun = true;
    this.#handOver(new TextEncoder().encodeInto(HEADER, BYTES).written);
  }

  #handOver(count: number): void {
    this.#write(BYTES.subarray(0, count));
  }
}

/** Writes the cells of order and zone, and two commas that the caller may skip or overwrite. */
function placeCells(at: number, order: number, zone: number): number {
  if ((order + 1) >>> 0 < PLACE_ORDERS && (zone + 1) >>> 0 < PLACE_ZONES) {
    const place = (order + 1) * PLACE_ZONES + zone + 1;
    VIEW.setFloat64(at, PLACE_WORDS[place], true);
    return at + PLACE_BYTES[place];
  }
  at = cell(cell(at, order), zone);
  VIEW.setUint16(at, 0x2c2c, true);
  return at;
}

/** Writes the cell that ends a row. */
function lastCell(at: number, value: number): number {
  if ((value + 1) >>> 0 <= 1000) {
    VIEW.setUint32(at, LAST_CELLS[value + 1], true);
    return at + CELL_BYTES[value + 1];
  }
  at = cell(at, value);
  VIEW.setUint8(at - 1, 10);
  return at;
}

/**
 * One line of a small CSV file, `\n` included. Undefined is an empty cell; a text with a comma, a quote or a line break is
 * put in quotes. Numbers are written as the language prints them, -1 too.
 */
export function csvLine(cells: readonly (string | number | undefined)[]): string {
  return cells.map((cell) => cell === undefined ? "" : quoted(String(cell))).join(",") + "\n";
}

/** A cell in quotes where RFC 4180 wants them, quotes inside it doubled. */
function quoted(cell: string): string {
  return /[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell;
}
