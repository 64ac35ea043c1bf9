/**
 * CSV as RFC 4180 wants it, with `\n` at the end of each line (the RFC's CRLF is what only some readers want, and `\n` is
 * what they all take).
 *
 * Large tables of numbers go through {@link CsvTable}: its columns are known at the start, so that a row costs about as much
 * as its digits. Small files with texts in them are made of {@link csvLine}.
 */
import { ByteWriter, DIGITS_MAX, type Word, wordOf } from "./byte_writer.ts";
import { actorOf, EVENTS, type TraceReader, type TraceRows } from "./trace.ts";

const COMMA = 44;
const LINE_END = 10;

/** A column of a {@link CsvTable}. */
export interface CsvColumn {
  /** Its name in the header. */
  readonly name: string;
  /** The words of a column of names, a cell being an index into them; left out, the cells are integers. */
  readonly words?: readonly string[];
}

/** A CSV file of numbers and names, written row by row into one reused buffer. */
export class CsvTable {
  #out: ByteWriter;
  /** Per column its words, or undefined when it holds integers. */
  #words: readonly (readonly Word[] | undefined)[];
  #rowBytesMax: number;

  /**
   * Compiles the columns and writes the header. `write` takes the bytes of the file in pieces; they are only valid during
   * the call. Throws RangeError when a row may be larger than the buffer.
   */
  constructor(columns: readonly CsvColumn[], write: (bytes: Uint8Array) => void) {
    this.#out = new ByteWriter(write);
    this.#words = columns.map(({ words }) => words?.map((word) => wordOf(quoted(word))));
    this.#rowBytesMax = 0;
    for (const words of this.#words) {
      const cellBytesMax = words === undefined ? DIGITS_MAX : Math.max(0, ...words.map((word) => word.length));
      this.#rowBytesMax += cellBytesMax + 1;
    }
    const header = wordOf(csvLine(columns.map(({ name }) => name)));
    this.#out.reserve(Math.max(header.length, this.#rowBytesMax));
    this.#out.word(header);
  }

  /**
   * Writes one row: a cell per column, an integer from 0 to 2^53 or the index of a word. A negative number, such as NONE,
   * makes an empty cell.
   */
  row(cells: Float64Array): void {
    const out = this.#out;
    const columns = this.#words;
    out.reserve(this.#rowBytesMax);
    const last = columns.length - 1;
    for (let i = 0; i <= last; i++) {
      const cell = cells[i];
      if (cell >= 0) {
        const words = columns[i];
        if (words === undefined) out.integer(cell);
        else out.word(words[cell]);
      }
      out.byte(i === last ? LINE_END : COMMA);
    }
  }

  /** Hands over what is still in the buffer. */
  close(): void {
    this.#out.close();
  }
}

const ACTORS: readonly string[] = ["guest", "driver", "queue", "host"];

/** The index into {@link ACTORS} by event code. */
const ACTOR_OF_EVENT = Uint8Array.from(EVENTS, (_, event) => ACTORS.indexOf(actorOf(event)));

const EVENT_COLUMNS: readonly CsvColumn[] = [
  { name: "time_ns" },
  { name: "actor", words: ACTORS },
  { name: "event", words: EVENTS },
  { name: "pfn" },
  { name: "pages" },
  { name: "order" },
  { name: "zone" },
  { name: "message" },
  { name: "bytes" },
  { name: "cost_ns" },
  { name: "guest" },
  { name: "cpu" },
];

/**
 * A reader of the trace that writes `events.csv`: a header, then one line per row, ended by `\n`, with an empty cell where a
 * field does not apply. Call {@link close} after the last row.
 */
export class EventsCsv implements TraceReader {
  #table: CsvTable;
  #cells = new Float64Array(EVENT_COLUMNS.length);

  /** Writes the header. `write` takes the bytes of the file in pieces; they are only valid during the call. */
  constructor(write: (bytes: Uint8Array) => void) {
    this.#table = new CsvTable(EVENT_COLUMNS, write);
  }

  /** Writes a block of rows. */
  read(rows: TraceRows): void {
    const cells = this.#cells;
    const table = this.#table;
    for (let i = 0; i < rows.count; i++) {
      const event = rows.event[i];
      cells[0] = rows.timeNs[i];
      cells[1] = ACTOR_OF_EVENT[event];
      cells[2] = event;
      cells[3] = rows.pfn[i];
      cells[4] = rows.pages[i];
      cells[5] = rows.order[i];
      cells[6] = rows.zone[i];
      cells[7] = rows.message[i];
      cells[8] = rows.bytes[i];
      cells[9] = rows.costNs[i];
      cells[10] = rows.guest[i];
      cells[11] = rows.cpu[i];
      table.row(cells);
    }
  }

  /** Hands over what is still in the buffer. */
  close(): void {
    this.#table.close();
  }
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
