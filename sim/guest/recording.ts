/**
 * Recordings of a real kernel's page allocator: rows of events, and snapshots of its free lists.
 *
 * Rows are `dt_us,ev,pfn,order,mt,x[,cpu]`, one per kernel event (see docs/recording.md for the events). Snapshots are JSON by
 * tag. Both are read into typed columns; whatever does not fit is refused with the row.
 */
import { InputError, show } from "../core/options.ts";
import { MIGRATETYPE_COUNT, ORDER_MAX } from "./allocator.ts";

/** The header that every recording starts with; a `cpu` column may follow. */
const HEADER = "dt_us,ev,pfn,order,mt,x";

/** Events that a recording may hold; the others of the format are read by later levels of replay. */
const KNOWN_EVENTS = "AFBZDOPXKIUiRWwSMTHCcGVYzp";

/** Rows of a recording. */
export interface Recording {
  /** Number of rows. */
  readonly count: number;
  /** Time since the row before, in us. */
  readonly deltaUs: Float64Array;
  /** Character code of the event. */
  readonly event: Uint8Array;
  /** Page, -1 where the event has none. */
  readonly pfn: Float64Array;
  /** Order, -1 where the event has none. */
  readonly order: Int8Array;
  /** Migratetype, -1 where the event has none. */
  readonly migratetype: Int8Array;
  /** CPU, 0 where the recording has one CPU. */
  readonly cpu: Int16Array;
  /**
   * The x column of the rows where it says more than flags: S (snapshot tag), M (mark), X, K, T, C, c, R, O, P, H; of D
   * rows only the word `captured`.
   */
  readonly text: ReadonlyMap<number, string>;
}

/** 256 TiB of guest memory; readers keep a bitmap up to the largest page. */
const PFN_MAX = 2 ** 36;

const COMMA = 44;
const NEWLINE = 10;
const RETURN = 13;
const DIGIT_0 = 48;

/** Reads the decompressed bytes of a recording. Throws {@link InputError} with path `["row", n]`; the header is row 1. */
export function readRecording(bytes: Uint8Array): Recording {
  return new Reader(bytes).read();
}

function eventTable(events: string): Uint8Array {
  const table = new Uint8Array(256);
  for (const event of events) table[event.charCodeAt(0)] = 1;
  return table;
}

/** Events whose x column is kept. */
const TOLD_EVENTS = eventTable("XKTCcROPH");
/** Events that need a page and an order, and those that need a migratetype. */
const BLOCK_EVENTS = eventTable("ZDOPXIUTz");
const TYPE_EVENTS = eventTable("ZDOPXUz");

const LETTER_C = 99;

/** Whether the x column of a row is kept: where it matters, and wherever it is the word `captured`. */
function isTold(event: number, first: number): boolean {
  return TOLD_EVENTS[event] === 1 || first === LETTER_C;
}

class Reader {
  #bytes: Uint8Array;
  #at = 0;
  #row = 1;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  read(): Recording {
    const hasCpu = this.#header();
    let rows = 0;
    for (let i = this.#at; i < this.#bytes.length; i++) {
      if (this.#bytes[i] !== NEWLINE) continue;
      rows++;
      if (this.#bytes[i - 1] !== RETURN) continue;
      this.#row = rows + 1;
      throw this.#problem("the row ends with CR LF; wanted are lines that end with LF alone");
    }
    if (this.#at < this.#bytes.length && this.#bytes[this.#bytes.length - 1] !== NEWLINE) {
      this.#row = rows + 2;
      throw this.#problem("the file ends in the middle of a row");
    }
    const recording = {
      count: rows,
      deltaUs: new Float64Array(rows),
      event: new Uint8Array(rows),
      pfn: new Float64Array(rows).fill(-1),
      order: new Int8Array(rows).fill(-1),
      migratetype: new Int8Array(rows).fill(-1),
      cpu: new Int16Array(rows),
      text: new Map<number, string>(),
    };
    for (let row = 0; row < rows; row++) {
      this.#row = row + 2;
      this.#readRow(recording, row, hasCpu);
    }
    return recording;
  }

  #header(): boolean {
    const end = this.#bytes.indexOf(NEWLINE);
    const line = new TextDecoder().decode(this.#bytes.subarray(0, Math.min(end < 0 ? this.#bytes.length : end, 200)));
    if (line !== HEADER && line !== `${HEADER},cpu`) {
      throw this.#problem(`${show(line)} is not the header of a recording; wanted is ${HEADER}[,cpu]`);
    }
    this.#at = end < 0 ? this.#bytes.length : end + 1;
    return line.endsWith(",cpu");
  }

  #readRow(into: Recording & { text: Map<number, string> }, row: number, hasCpu: boolean): void {
    into.deltaUs[row] = this.#number("dt_us", false, Number.MAX_SAFE_INTEGER / 1e3);
    const event = this.#bytes[this.#at];
    if (!KNOWN_EVENTS.includes(String.fromCharCode(event)) || this.#bytes[this.#at + 1] !== COMMA) {
      throw this.#problem(`${show(this.#cell())} is not an event of a recording; known are ${KNOWN_EVENTS}`);
    }
    into.event[row] = event;
    this.#at += 2;
    const needsBlock = BLOCK_EVENTS[event] === 1;
    const needsType = TYPE_EVENTS[event] === 1;
    into.pfn[row] = this.#number("pfn", !needsBlock, PFN_MAX);
    into.order[row] = this.#number("order", !needsBlock, ORDER_MAX);
    into.migratetype[row] = this.#number("mt", !needsType, MIGRATETYPE_COUNT - 1);
    if (event === 83 || event === 77) into.text.set(row, this.#rest(hasCpu));
    else {
      const start = this.#at;
      while (!this.#atCellEnd()) this.#at++;
      if (isTold(event, this.#bytes[start])) into.text.set(row, this.#text(start));
      if (hasCpu && this.#bytes[this.#at] === COMMA) {
        this.#at++;
        into.cpu[row] = Math.max(0, this.#number("cpu", true, 4095, true));
      }
      if (this.#bytes[this.#at] !== NEWLINE) throw this.#problem("the row has too many columns");
      this.#at++;
    }
  }

  #atCellEnd(): boolean {
    const byte = this.#bytes[this.#at];
    return byte === COMMA || byte === NEWLINE;
  }

  /** Reads a cell of digits and the comma after it; an empty cell is -1 where that is allowed. */
  #number(name: string, emptyAllowed: boolean, max: number, last = false): number {
    const start = this.#at;
    let value = 0;
    let byte = this.#bytes[this.#at];
    for (; byte >= DIGIT_0 && byte <= DIGIT_0 + 9; byte = this.#bytes[++this.#at]) value = value * 10 + byte - DIGIT_0;
    const empty = this.#at === start;
    if (byte !== (last ? NEWLINE : COMMA)) {
      this.#at = start;
      const cell = this.#cell();
      if (byte === NEWLINE && !last) throw this.#problem(`the row ends at column ${name}; wanted are ${HEADER}`);
      throw this.#problem(`${show(cell)} is not a whole number for ${name}`);
    }
    if (empty && !emptyAllowed) throw this.#problem(`column ${name} is empty`);
    if (value > max) throw this.#problem(`${value} is too large for ${name}, at most ${max}`);
    if (!last) this.#at++;
    return empty ? -1 : value;
  }

  #text(start: number): string {
    return new TextDecoder().decode(this.#bytes.subarray(start, this.#at));
  }

  /** The present cell, for messages. */
  #cell(): string {
    let end = this.#at;
    while (end < this.#bytes.length && this.#bytes[end] !== COMMA && this.#bytes[end] !== NEWLINE) end++;
    return new TextDecoder().decode(this.#bytes.subarray(this.#at, end));
  }

  /** The rest of the line: a text that may hold commas. */
  #rest(hasCpu: boolean): string {
    const end = this.#bytes.indexOf(NEWLINE, this.#at);
    let text = new TextDecoder().decode(this.#bytes.subarray(this.#at, end));
    if (hasCpu) text = text.replace(/,\d*$/, "");
    this.#at = end + 1;
    return text.startsWith('"') && text.endsWith('"') ? text.slice(1, -1).replaceAll('""', '"') : text;
  }

  #problem(message: string): InputError {
    return new InputError(["row", this.#row], message);
  }
}
