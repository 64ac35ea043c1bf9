/**
 * Cutting a part out of a recording. The rows stay byte by byte as they are, except for the time of the first one, which is 0.
 */
import { InputError } from "../core/options.ts";
import { readRecording, type Recording } from "./recording.ts";

const NEWLINE = 10;
const COMMA = 44;

/** Character codes of the events with a text to name. */
const SNAPSHOT = 83;
const MARK = 77;

/** A part of a recording. */
export interface TracePart {
  /** The recording, in two pieces. */
  readonly pieces: readonly Uint8Array<ArrayBuffer>[];
  /** First row of the file that is in it; the header is row 1. */
  readonly firstRow: number;
  /** Last row. */
  readonly lastRow: number;
  /** Tags of the snapshots in it. */
  readonly tags: readonly string[];
  /** Whether it begins at a snapshot, so that what is in use at its start is known. */
  readonly startsAtSnapshot: boolean;
}

/**
 * Cuts from one place to another, both included. A place is a row (the header is row 1), the tag of a snapshot, or the text of
 * a mark; of several marks with one text, the first counts for the beginning and the first from there on for the end.
 *
 * ```ts
 * import { cutTrace } from "./trace_cut.ts";
 * const text = "dt_us,ev,pfn,order,mt,x\n5,S,,,,s0\n7,S,,,,s1\n9,Z,512,9,1,\n";
 * const { pieces } = cutTrace(new TextEncoder().encode(text), "s1", undefined);
 * if (new TextDecoder().decode(pieces[1]) !== "0,S,,,,s1\n9,Z,512,9,1,\n") throw new Error("from s1 to the end");
 * ```
 */
export function cutTrace(bytes: Uint8Array, from: string | undefined, to: string | undefined): TracePart {
  const recording = readRecording(bytes);
  if (recording.count === 0) throw new InputError([], "has no rows");
  const first = from === undefined ? 0 : placeOf(recording, from, 0, "--from");
  const last = to === undefined ? recording.count - 1 : placeOf(recording, to, first, "--to");
  if (last < first) {
    throw new InputError([], `--to ${to}: row ${last + 2} lies before row ${first + 2}, where the part begins`);
  }
  const starts = rowStarts(bytes, first, last);
  const tags = [...recording.text].filter(([row]) => row >= first && row <= last && recording.event[row] === SNAPSHOT)
    .map(([, tag]) => tag);
  return {
    pieces: [copy(bytes, 0, bytes.indexOf(NEWLINE) + 1), withoutTime(bytes, starts.first, starts.end)],
    firstRow: first + 2,
    lastRow: last + 2,
    tags,
    startsAtSnapshot: recording.event[first] === SNAPSHOT,
  };
}

/** Index of the row at a place, from row `after` on for texts. */
function placeOf({ count, event, text }: Recording, place: string, after: number, option: string): number {
  const found = [...text].filter(([row, name]) => name === place && (event[row] === SNAPSHOT || event[row] === MARK));
  const tag = found.find(([row]) => event[row] === SNAPSHOT);
  if (tag !== undefined) return tag[0];
  if (/^\d+$/.test(place)) {
    const row = Number(place) - 2;
    if (row >= 0 && row < count) return row;
    throw new InputError([], `${option} ${place}: the rows are 2 to ${count + 1}`);
  }
  const mark = found.find(([row]) => row >= after);
  if (mark !== undefined) return mark[0];
  const tags = [...text].filter(([row]) => event[row] === SNAPSHOT).map(([, name]) => name);
  throw new InputError(
    [],
    `${option} ${place}: is no row, snapshot or mark; snapshots are ${tags.join(", ") || "none"}`,
  );
}

/** Where two rows begin and end, in bytes. */
function rowStarts(bytes: Uint8Array, first: number, last: number): { first: number; end: number } {
  let at = bytes.indexOf(NEWLINE) + 1;
  let start = at;
  for (let row = 0; row <= last; row++) {
    if (row === first) start = at;
    at = bytes.indexOf(NEWLINE, at) + 1;
  }
  return { first: start, end: at };
}

/** Rows from one byte to another, the first at time 0. */
function withoutTime(bytes: Uint8Array, start: number, end: number): Uint8Array<ArrayBuffer> {
  const comma = bytes.indexOf(COMMA, start);
  const piece = copy(bytes, comma - 1, end);
  piece[0] = 48;
  return piece;
}

function copy(bytes: Uint8Array, start: number, end: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(bytes.subarray(start, end));
}
