/**
 * The encoding `hybrid`: extents or a bitmap by what each window holds, whichever is smaller.
 *
 * Dave Hansen asked for it in the review of v5 (7 December 2016): where pages are scattered a bitmap is up to 64 times denser,
 * where they are contiguous one extent says more than any bitmap. Nobody posted a format; this one is ours. It takes the words
 * of `v6-extended` and the windows of `bitmap`, told apart by one value of the length field.
 *
 * @module
 */
import { appendBitmap, type Run, setBits } from "../memory/bit_runs.ts";
import { mergeRanges, ORDER_PAGES, type Range } from "../memory/range.ts";
import type { Encoding } from "./encoding.ts";
import { type Granule, granuleError, unitPagesOf } from "./granule.ts";
import {
  decodeError,
  getU64,
  lower12,
  payloadWork,
  refuseOtherBytes,
  refusePartialRecord,
  refuseRanges,
  setFields,
  setU64,
  upper52,
  viewOf,
} from "./wire.ts";

const NAME = "hybrid";
const WORD_BYTES = 8;
const PFN_BITS = 52;

/** Granules of a window: one data page of bits. */
const WINDOW_BITS = 32_768;
const WINDOW_BYTES = WORD_BYTES + WINDOW_BITS / 8;

/** Values of the length field that are no lengths: the length is in the next word; the bits of a window follow. */
const LENGTH_FOLLOWS = 0;
const BITS_FOLLOW = 4095;

/** Takes the records, in the order of the wire; everything is in granules. */
interface RecordSink {
  /** A run of granules. */
  extent(start: number, length: number): void;
  /** The window that starts at granule `start`, with the runs `from` to `to - 1`. */
  window(start: number, runs: readonly Range[], from: number, to: number): void;
}

function extentBytes(length: number): number {
  return length < BITS_FOLLOW ? WORD_BYTES : 2 * WORD_BYTES;
}

/** Runs of granules: sorted, merged. */
function granuleRuns(ranges: readonly Range[], unitPages: number): Range[] {
  const runs = mergeRanges(ranges);
  if (unitPages === 1) return runs;
  return runs.map(({ pfn, count }) => ({ pfn: pfn / unitPages, count: count / unitPages }));
}

function emitRecords(runs: readonly Range[], sink: RecordSink): void {
  for (let index = 0; index < runs.length;) {
    const start = runs[index].pfn - runs[index].pfn % WINDOW_BITS;
    const stop = start + WINDOW_BITS;
    const from = index;
    let bytes = 0;
    for (; index < runs.length && runs[index].pfn + runs[index].count <= stop; index++) {
      bytes += extentBytes(runs[index].count);
    }
    if (bytes > WINDOW_BYTES) sink.window(start, runs, from, index);
    else for (let run = from; run < index; run++) sink.extent(runs[run].pfn, runs[run].count);
    // A run that goes on beyond the window is not cut: it is the last one of its window, and an extent.
    if (index < runs.length && runs[index].pfn < stop) {
      sink.extent(runs[index].pfn, runs[index].count);
      index++;
    }
  }
}

function counted(runs: readonly Range[]): { windows: number; bytes: number } {
  let windows = 0;
  let bytes = 0;
  emitRecords(runs, {
    extent: (_start, length) => void (bytes += extentBytes(length)),
    window() {
      windows++;
      bytes += WINDOW_BYTES;
    },
  });
  return { windows, bytes };
}

function encodeRuns(runs: readonly Range[]): Uint8Array {
  const bytes = new Uint8Array(counted(runs).bytes);
  const view = viewOf(bytes);
  let offset = 0;
  emitRecords(runs, {
    extent(start, length) {
      const short = length < BITS_FOLLOW;
      setFields(view, offset, start, short ? length : LENGTH_FOLLOWS);
      if (!short) setU64(view, offset + WORD_BYTES, length);
      offset += extentBytes(length);
    },
    window(start, listed, from, to) {
      setFields(view, offset, start, BITS_FOLLOW);
      offset += WORD_BYTES;
      for (let run = from; run < to; run++) {
        const first = listed[run].pfn - start;
        setBits(bytes, offset, first, first + listed[run].count);
      }
      offset += WINDOW_BITS / 8;
    },
  });
  return bytes;
}

/** Reads the record at `offset`; returns where the next one starts. */
function decodeRecord(view: DataView, offset: number, unitPages: number, granulesMax: number, runs: Run[]): number {
  const refuse = (why: string): never => {
    throw decodeError(NAME, offset, why);
  };
  const start = upper52(view, offset);
  let length = lower12(view, offset);
  const left = view.byteLength - offset;
  if (length === BITS_FOLLOW) {
    if (left < WINDOW_BYTES) refuse(`${left - WORD_BYTES} bytes of bits, wanted ${WINDOW_BITS / 8}`);
    if (start % WINDOW_BITS !== 0) refuse(`window start ${start} is not a multiple of ${WINDOW_BITS} granules`);
    if (start >= granulesMax) refuse(`window start ${start} lies above the limit of 2^${PFN_BITS} pages`);
    appendBitmap(runs, view, offset + WORD_BYTES, WINDOW_BITS, start, unitPages);
    return offset + WINDOW_BYTES;
  }
  const next = offset + (length === LENGTH_FOLLOWS ? 2 : 1) * WORD_BYTES;
  if (length === LENGTH_FOLLOWS) {
    if (left === WORD_BYTES) refuse("the word with the length is missing");
    length = getU64(view, offset + WORD_BYTES);
    if (length < BITS_FOLLOW) refuse(`length ${length} in a word of its own, wanted at least ${BITS_FOLLOW}`);
  }
  if (length > granulesMax - start) {
    refuse(`granule ${start} with ${length} granules ends above the limit of 2^${PFN_BITS} pages`);
  }
  runs.push({ pfn: start * unitPages, count: length * unitPages });
  return next;
}

function decodeRuns(bytes: Uint8Array, unitPages: number): Run[] {
  refusePartialRecord(NAME, bytes, WORD_BYTES);
  const view = viewOf(bytes);
  const runs: Run[] = [];
  const granulesMax = ORDER_PAGES[PFN_BITS] / unitPages;
  for (let offset = 0; offset < bytes.length;) {
    offset = decodeRecord(view, offset, unitPages, granulesMax, runs);
  }
  refuseOtherBytes(NAME, bytes, encodeRuns(granuleRuns(runs, unitPages)), 0);
  return runs;
}

/**
 * Records that begin with a word u64 LE = start · 2^12 + length, where start counts granules and the length says what follows:
 *
 * - 1 to 4094: nothing; an extent of so many granules. 8 bytes.
 * - 0: a second u64 LE with the length of the extent, at least 4095. 16 bytes.
 * - 4095: 512 words (4096 bytes) in which bit `i % 8` of byte `floor(i / 8)` says that granule start + i is listed; start is a
 *   multiple of 32,768. 4104 bytes.
 *
 * The sender merges the ranges to maximal runs and goes window by window of 32,768 granules, ascending. The runs that lie in
 * a window are sent as its bitmap when their extents would take more than 4104 bytes, that is from 514 short runs on; else as
 * extents. A run that goes on beyond its window is always an extent and is not cut.
 *
 * - `granule` (4KiB, 2MiB, 4MiB): what a granule is; both sides know it, as with `bitmap`.
 * - `messageMax`: none (`Infinity`); `error`: a pfn or count that is no whole number or no multiple of the granule, or an end
 *   above 2^52 pages. `canonical`: sorted maximal runs: order, overlap and repetition are lost.
 * - `sizeOf`: never more than extents alone take, and in no window more than 4104 bytes and one extent.
 * - `work`: records = runs and bitmaps; words, cacheLines and allocBytes of the payload written once.
 * - `decode` throws RangeError on bits or lengths that are missing, windows that are not aligned, an end above 2^52 pages, and
 *   on records that the encoder would not write for their pages. For refused ranges the methods other than `encode` promise
 *   nothing.
 *
 * Throws RangeError on an unknown granule. Source: Dave Hansen on virtio-balloon v5 (7 Dec 2016); the format is hintsim's.
 *
 * @example
 * ```ts
 * import { hybrid } from "./hybrid.ts";
 *
 * const { sizeOf } = hybrid({ granule: "4KiB" });
 * const scattered = (pages: number) => Array.from({ length: pages }, (_, index) => ({ pfn: 2 * index, count: 1 }));
 * if (sizeOf(scattered(513)) !== 4104 || sizeOf(scattered(16_384)) !== 4104) throw new Error("wanted extents, then a bitmap");
 * if (sizeOf([{ pfn: 0, count: 2 ** 28 }]) !== 16) throw new Error("1 TiB in one piece is one extent");
 * ```
 */
export function hybrid(options: { readonly granule: Granule }): Encoding {
  const { granule } = options;
  const unitPages = unitPagesOf(NAME, granule);
  const error = (range: Range) => granuleError(range, PFN_BITS, granule);
  return {
    name: NAME,
    messageMax: Infinity,
    error,
    canonical: (ranges) => mergeRanges(ranges),
    sizeOf: (ranges) => counted(granuleRuns(ranges, unitPages)).bytes,
    encode(ranges) {
      refuseRanges(NAME, error, ranges);
      return encodeRuns(granuleRuns(ranges, unitPages));
    },
    decode: (bytes) => decodeRuns(bytes, unitPages),
    work(ranges) {
      const runs = granuleRuns(ranges, unitPages);
      const { windows, bytes } = counted(runs);
      return payloadWork(runs.length + windows, bytes);
    },
  };
}
