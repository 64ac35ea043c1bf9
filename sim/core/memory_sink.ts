/** The trace of a run kept in memory, in typed columns, for notebooks. */
import { EVENTS, type TraceReader, type TraceRows } from "./trace.ts";

/** Rows of a trace in typed columns, each with one entry per row; NONE (-1) where a field does not apply. */
export interface EventColumns {
  /** Number of rows. */
  readonly count: number;
  /** Names of the event codes. */
  readonly eventNames: readonly string[];
  /** Virtual time, ns. */
  readonly timeNs: Float64Array;
  /** Event code, an index into {@link eventNames}. */
  readonly event: Uint8Array;
  /** First page frame number. */
  readonly pfn: Float64Array;
  /** Number of pages. */
  readonly pages: Float64Array;
  /** Order of the block. */
  readonly order: Int8Array;
  /** Index of the zone. */
  readonly zone: Int8Array;
  /** Message id. */
  readonly message: Float64Array;
  /** Payload bytes on the wire. */
  readonly bytes: Float64Array;
  /** Time the step takes, ns. */
  readonly costNs: Float64Array;
  /** Index of the guest. */
  readonly guest: Int16Array;
  /** Index of the virtual CPU. */
  readonly cpu: Int16Array;
}

const COLUMNS = [
  "timeNs",
  "event",
  "pfn",
  "pages",
  "order",
  "zone",
  "message",
  "bytes",
  "costNs",
  "guest",
  "cpu",
] as const;

/** A reader that keeps every row: about 55 bytes each, and as much again while the columns grow. */
export class MemorySink implements TraceReader {
  #count = 0;
  #capacity = 4096;
  #columns = emptyColumns(this.#capacity);

  /** Rows kept so far. */
  get count(): number {
    return this.#count;
  }

  /** Keeps a block of rows. */
  read(rows: TraceRows): void {
    const count = this.#count + rows.count;
    if (count > this.#capacity) this.#grow(count);
    for (const name of COLUMNS) this.#columns[name].set(rows[name].subarray(0, rows.count), this.#count);
    this.#count = count;
  }

  /** A copy of the rows so far; later rows do not change it. */
  columns(): EventColumns {
    const copy = emptyColumns(this.#count);
    for (const name of COLUMNS) copy[name].set(this.#columns[name].subarray(0, this.#count));
    return copy;
  }

  #grow(count: number): void {
    while (this.#capacity < count) this.#capacity *= 2;
    const columns = emptyColumns(this.#capacity);
    for (const name of COLUMNS) columns[name].set(this.#columns[name].subarray(0, this.#count));
    this.#columns = columns;
  }
}

function emptyColumns(count: number): EventColumns {
  return {
    count,
    eventNames: EVENTS,
    timeNs: new Float64Array(count),
    event: new Uint8Array(count),
    pfn: new Float64Array(count),
    pages: new Float64Array(count),
    order: new Int8Array(count),
    zone: new Int8Array(count),
    message: new Float64Array(count),
    bytes: new Float64Array(count),
    costNs: new Float64Array(count),
    guest: new Int16Array(count),
    cpu: new Int16Array(count),
  };
}
