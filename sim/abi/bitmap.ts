/**
 * The encoding `bitmap`: one bit a granule, in windows of one data page of bits.
 *
 * Liang Li's v3 (21 October 2016) sent one bit a 4 KiB page behind a header with the first pfn. Dave Hansen (7 December
 * 2016) weighed it against 8-byte records: one data page of 2 MiB bits covers 64 GiB. A bitmap is denser only where
 * there is more than one record in 64 granules, and it has to be cleared and scanned whatever it says.
 *
 * @module
 */
import { appendBitmap, type Run, setBits } from "../memory/bit_runs.ts";
import { mergeRanges, ORDER_PAGES, type Range } from "../memory/range.ts";
import type { Encoding, EncodingWork } from "./encoding.ts";
import { type Granule, granuleError, unitPagesOf } from "./granule.ts";
import { decodeError, getU64, refusePartialRecord, refuseRanges, setU64, viewOf } from "./wire.ts";

export { type Granule, granulePages } from "./granule.ts";

const NAME = "bitmap";

/** Bits of one data page of 4096 bytes: the granules in a window. */
const WINDOW_BITS = 32_768;
const HEAD_BYTES = 8;
const WINDOW_BYTES = HEAD_BYTES + WINDOW_BITS / 8;
const WINDOW_WORDS = WINDOW_BYTES / 8;

/** A 64-bit physical address has 52 bits of page frame number; this also keeps every sum exact in a double. */
const PFN_BITS = 52;

/** A range may have 2^32 granules: 131,072 windows, 538 MB of payload, the 16 TiB machine in 4 KiB bits. */
const RANGE_GRANULES_MAX = ORDER_PAGES[32];

function errorOf(range: Range, unitPages: number, granule: Granule): string | undefined {
  const why = granuleError(range, PFN_BITS, granule);
  if (why !== undefined || range.count / unitPages <= RANGE_GRANULES_MAX) return why;
  return `count ${range.count} is more than 2^32 granules of ${granule}`;
}

/** The numbers of the windows in which a range sets bits, each once, in order of appearance. */
function windowSet(ranges: readonly Range[], windowPages: number): Set<number> {
  const windows = new Set<number>();
  for (const { pfn, count } of ranges) {
    const last = Math.floor((pfn + count - 1) / windowPages);
    for (let window = Math.floor(pfn / windowPages); window <= last; window++) windows.add(window);
  }
  return windows;
}

/** How many windows have a bit: in O(ranges) and without an allocation as long as no range goes back. */
function countWindows(ranges: readonly Range[], windowPages: number): number {
  let windows = 0;
  // The windows from..last are counted, without a gap; nothing above last is.
  let from = 0;
  let last = -1;
  for (const { pfn, count } of ranges) {
    const first = Math.floor(pfn / windowPages);
    const end = Math.floor((pfn + count - 1) / windowPages);
    if (first < from) return windowSet(ranges, windowPages).size;
    if (first > last + 1) from = first;
    if (end <= last) continue;
    windows += end - Math.max(first, last + 1) + 1;
    last = end;
  }
  return windows;
}

function encodeWindows(ranges: readonly Range[], unitPages: number): Uint8Array {
  const windows = [...windowSet(ranges, WINDOW_BITS * unitPages)].sort((a, b) => a - b);
  const bytes = new Uint8Array(windows.length * WINDOW_BYTES);
  const view = viewOf(bytes);
  const offsets = new Map<number, number>();
  windows.forEach((window, index) => {
    setU64(view, index * WINDOW_BYTES, window * WINDOW_BITS);
    offsets.set(window, index * WINDOW_BYTES + HEAD_BYTES);
  });
  for (const { pfn, count } of ranges) {
    const end = (pfn + count) / unitPages;
    for (let granule = pfn / unitPages; granule < end;) {
      const window = Math.floor(granule / WINDOW_BITS);
      const start = window * WINDOW_BITS;
      const stop = Math.min(end, start + WINDOW_BITS);
      setBits(bytes, offsets.get(window)!, granule - start, stop - start);
      granule = stop;
    }
  }
  return bytes;
}

/** The first granule of the window at `offset`, which has to lie above the window before it. */
function decodeHead(view: DataView, offset: number, granuleMin: number, unitPages: number): number {
  const granule = getU64(view, offset);
  if (granule >= ORDER_PAGES[PFN_BITS] / unitPages) {
    throw decodeError(NAME, offset, `window start ${granule} lies above the limit of 2^${PFN_BITS} pages`);
  }
  if (granule % WINDOW_BITS !== 0) {
    throw decodeError(NAME, offset, `window start ${granule} is not a multiple of ${WINDOW_BITS} granules`);
  }
  if (granule < granuleMin) {
    throw decodeError(NAME, offset, `window start ${granule} is not above the window before it`);
  }
  return granule;
}

function decodeWindows(bytes: Uint8Array, unitPages: number): Range[] {
  refusePartialRecord(NAME, bytes, WINDOW_BYTES);
  const view = viewOf(bytes);
  const runs: Run[] = [];
  let granuleMin = 0;
  for (let offset = 0; offset < bytes.length; offset += WINDOW_BYTES) {
    const granule = decodeHead(view, offset, granuleMin, unitPages);
    const found = appendBitmap(runs, view, offset + HEAD_BYTES, WINDOW_BITS, granule, unitPages);
    if (!found) throw decodeError(NAME, offset, `window ${granule} has no bit set, wanted only windows with bits`);
    granuleMin = granule + WINDOW_BITS;
  }
  return runs;
}

/** A bitmap is cleared before bits are set, so all of its words are touched, however few bits it has. */
function workOf(ranges: readonly Range[], windows: number): EncodingWork {
  const bytes = windows * WINDOW_BYTES;
  return {
    records: ranges.length + windows,
    words: windows * WINDOW_WORDS,
    cacheLines: Math.ceil(bytes / 64),
    allocBytes: bytes,
  };
}

/**
 * Windows of 4104 bytes: a u64 LE with the number of the window's first granule (a multiple of 32,768), then 4096 bytes
 * in which bit `i % 8` of byte `floor(i / 8)` says that the window's granule `i` is listed. Only windows with a bit set
 * are sent, ascending.
 *
 * - `messageMax`: none (`Infinity`); `error`: a pfn or count that is no whole number, no multiple of the granule or above
 *   2^32 granules, or an end above 2^52 pages.
 * - `canonical`: sorted maximal runs, merged across windows: order, overlap and repetition are lost.
 *   `sizeOf`: 4104 bytes a window that has a bit.
 * - `work`: records = ranges given plus windows; words = 513 a window (the head and the 512 words that have to be
 *   cleared, whether a bit is set in them or not); cacheLines and allocBytes of the whole payload.
 * - `encode` throws RangeError naming the range that `error` refuses; `decode` on a length that is no multiple of 4104,
 *   and on windows that are not aligned, not ascending, empty or above 2^52 pages. For refused ranges the other methods
 *   promise nothing.
 *
 * Throws RangeError on an unknown granule. Source: the bitmaps of Liang Li's virtio-balloon v3 (21 Oct 2016), with Dave Hansen's granule of 2 MiB (7 Dec 2016).
 *
 * @example
 * ```ts
 * import { bitmap } from "./bitmap.ts";
 *
 * // One data page of 2 MiB bits covers 64 GiB.
 * const { sizeOf } = bitmap({ granule: "2MiB" });
 * const pages = 64 * 1024 ** 3 / 4096;
 * if (sizeOf([{ pfn: 0, count: pages }]) !== 8 + 4096) throw new Error("wanted one window");
 * ```
 */
export function bitmap(options: { readonly granule: Granule }): Encoding {
  const { granule } = options;
  const unitPages = unitPagesOf(NAME, granule);
  const windowPages = WINDOW_BITS * unitPages;
  const error = (range: Range) => errorOf(range, unitPages, granule);
  return {
    name: NAME,
    messageMax: Infinity,
    error,
    canonical: (ranges) => mergeRanges(ranges),
    sizeOf: (ranges) => countWindows(ranges, windowPages) * WINDOW_BYTES,
    encode(ranges) {
      refuseRanges(NAME, error, ranges);
      return encodeWindows(ranges, unitPages);
    },
    decode: (bytes) => decodeWindows(bytes, unitPages),
    work: (ranges) => workOf(ranges, countWindows(ranges, windowPages)),
  };
}
