/**
 * The encoding `v3-bitmap`: a header with the first page and up to 32 bitmaps of 32 KiB behind it, one bit a 4 KiB page.
 *
 * Liang Li's v3 keeps the bitmaps in pieces of 32 KiB, since one of 1 MiB is hard to allocate, and posts header and pieces as
 * one scatter-gather list: up to 33 descriptors. Before bits are set all pieces are cleared, whatever the message says.
 *
 * @module
 */
import { appendBitmap, type Run, setBits } from "../memory/bit_runs.ts";
import { mergeRanges, type Range } from "../memory/range.ts";
import type { Encoding, EncodingWork, MessageHead } from "./encoding.ts";
import { NO_HEAD, refuseField } from "./resp_head.ts";
import { decodeError, getU64, rangeError, refuseLongMessage, refuseRanges, setU64, viewOf } from "./wire.ts";

const NAME = "v3-bitmap";
const HEAD_BYTES = 32;
const PAGE_SHIFT = 12;
const PFN_BITS = 52;

/** BALLOON_BMAP_SIZE, PFNS_PER_BMAP and BALLOON_BMAP_COUNT. */
const BITMAP_BYTES = 32_768;
const BITMAP_PAGES = BITMAP_BYTES * 8;
const BITMAPS_MAX = 32;

/** BITS_PER_LONG: start and length of a bitmap are rounded to words. */
const WORD_PAGES = 64;

/** Which pages a message has bits for: those from the first to the last listed one, or a whole window of all bitmaps. */
export type BitmapWindow = "fitted" | "whole";

/** The names of {@link BitmapWindow}. */
export const bitmapWindows: readonly BitmapWindow[] = ["fitted", "whole"];

/** The options of {@link v3Bitmap}. */
export interface V3BitmapOptions {
  /** Bitmaps that the sender has, 1 to 32. */
  readonly bitmaps?: number;
  /** Which pages a message has bits for. */
  readonly window?: BitmapWindow;
  /** Whether the count of bitmaps is rounded down. */
  readonly asPosted?: boolean;
}

/** Where the bits of a message lie. */
interface Span {
  /** The page of bit 0. */
  readonly start: number;
  /** Bits, whole words of 64. */
  readonly pages: number;
}

type Settings = Required<V3BitmapOptions>;

function error(range: Range): string | undefined {
  return rangeError(range, PFN_BITS);
}

function spanOf(ranges: readonly Range[], { bitmaps, window }: Settings): Span {
  if (ranges.length === 0) return { start: 0, pages: 0 };
  let first = Infinity;
  let end = 0;
  for (const { pfn, count } of ranges) {
    first = Math.min(first, pfn);
    end = Math.max(end, pfn + count);
  }
  const unit = window === "whole" ? bitmaps * BITMAP_PAGES : WORD_PAGES;
  const start = first - first % unit;
  return { start, pages: Math.ceil((end - start) / unit) * unit };
}

/** Bytes of bitmap that go out. As posted, a bitmap that is not full is not counted, and without bitmaps nothing follows. */
function sentBytes({ pages }: Span, { asPosted }: Settings): number {
  return asPosted && pages < BITMAP_PAGES ? 0 : pages / 8;
}

/** Pages whose bits arrive. As posted, what follows the last full bitmap is read from behind that bitmap's memory. */
function arrivingPages({ pages }: Span, { asPosted }: Settings): number {
  return asPosted ? pages - pages % BITMAP_PAGES : pages;
}

function messageMaxOf({ bitmaps }: Settings): number {
  return HEAD_BYTES + bitmaps * BITMAP_BYTES;
}

function sizeOf(ranges: readonly Range[], settings: Settings): number {
  return HEAD_BYTES + sentBytes(spanOf(ranges, settings), settings);
}

function encode(ranges: readonly Range[], { cmd, flag, id }: MessageHead, settings: Settings): Uint8Array {
  refuseRanges(NAME, error, ranges);
  refuseField(NAME, "cmd", cmd, 65_535);
  refuseField(NAME, "flag", flag, 65_535);
  refuseField(NAME, "id", id, Number.MAX_SAFE_INTEGER);
  const span = spanOf(ranges, settings);
  const length = HEAD_BYTES + span.pages / 8;
  refuseLongMessage(NAME, length, messageMaxOf(settings));
  const bytes = new Uint8Array(HEAD_BYTES + sentBytes(span, settings));
  const view = viewOf(bytes);
  view.setUint16(0, cmd, true);
  view.setUint16(2, PAGE_SHIFT, true);
  view.setUint16(4, flag, true);
  setU64(view, 8, id);
  setU64(view, 16, span.start);
  setU64(view, 24, span.pages / 8);
  const pages = arrivingPages(span, settings);
  for (const { pfn, count } of ranges) {
    const from = pfn - span.start;
    const to = Math.min(pages, from + count);
    if (from < to) setBits(bytes, HEAD_BYTES, from, to);
  }
  return bytes;
}

function canonical(ranges: readonly Range[], settings: Settings): Range[] {
  const merged = mergeRanges(ranges);
  if (!settings.asPosted) return merged;
  const span = spanOf(ranges, settings);
  const end = span.start + arrivingPages(span, settings);
  const seen: Range[] = [];
  for (const { pfn, count } of merged) {
    if (pfn < end) seen.push({ pfn, count: Math.min(count, end - pfn) });
  }
  return seen;
}

function decodeHead(bytes: Uint8Array): MessageHead {
  if (bytes.length < HEAD_BYTES) {
    throw decodeError(NAME, 0, `${bytes.length} bytes in all, wanted a header of ${HEAD_BYTES} bytes`);
  }
  const view = viewOf(bytes);
  const shift = view.getUint16(2, true);
  const reserved = view.getUint16(6, true);
  const id = getU64(view, 8);
  if (shift !== PAGE_SHIFT) throw decodeError(NAME, 2, `page_shift ${shift}, wanted ${PAGE_SHIFT}`);
  if (reserved !== 0) throw decodeError(NAME, 6, `reserved ${reserved}, wanted 0`);
  if (id > Number.MAX_SAFE_INTEGER) throw decodeError(NAME, 8, "req_id lies above 2^53 - 1");
  return { cmd: view.getUint16(0, true), flag: view.getUint16(4, true), id };
}

/** The span that the header says; it has to be one that the encoder writes, with just its bytes behind it. */
function decodeSpan(bytes: Uint8Array, settings: Settings): Span {
  const view = viewOf(bytes);
  const start = getU64(view, 16);
  const bmapLen = getU64(view, 24);
  const unit = settings.window === "whole" ? settings.bitmaps * BITMAP_PAGES : WORD_PAGES;
  const span = { start, pages: bmapLen * 8 };
  if (span.pages % unit !== 0 || HEAD_BYTES + bmapLen > messageMaxOf(settings)) {
    const max = settings.bitmaps * BITMAP_BYTES;
    throw decodeError(NAME, 24, `bmap_len ${bmapLen}, wanted a multiple of ${unit / 8} up to ${max}`);
  }
  const sent = sentBytes(span, settings);
  const follow = bytes.length - HEAD_BYTES;
  if (sent !== follow) throw decodeError(NAME, 24, `bmap_len ${bmapLen}, but ${follow} bytes follow, wanted ${sent}`);
  if (bmapLen === 0 && start === 0) return span;
  if (start % unit !== 0 || bmapLen === 0) {
    throw decodeError(NAME, 16, `start_pfn ${start} of ${bmapLen} bytes, wanted a multiple of ${unit} pages`);
  }
  if (start >= 2 ** PFN_BITS) {
    throw decodeError(NAME, 16, `start_pfn ${start} lies above the limit of 2^${PFN_BITS} pages`);
  }
  return span;
}

function decode(bytes: Uint8Array, settings: Settings): Range[] {
  decodeHead(bytes);
  const { start, pages } = decodeSpan(bytes, settings);
  const runs: Run[] = [];
  const arriving = arrivingPages({ start, pages }, settings);
  if (arriving > 0) appendBitmap(runs, viewOf(bytes), HEAD_BYTES, arriving, start, 1);
  if (settings.asPosted || pages === 0) return runs;
  const seen = spanOf(runs, settings);
  if (runs.length === 0 || seen.start !== start || seen.pages !== pages) {
    throw decodeError(NAME, HEAD_BYTES, "no bit set in the first or the last word that the header announces");
  }
  const last = runs[runs.length - 1];
  const why = error(last);
  if (why !== undefined) throw decodeError(NAME, HEAD_BYTES, why);
  return runs;
}

/** Every bitmap that is needed is allocated and cleared whole, also where the last one is sent in part or not at all. */
function work(ranges: readonly Range[], settings: Settings): EncodingWork {
  const bitmaps = Math.ceil(spanOf(ranges, settings).pages / BITMAP_PAGES);
  const bytes = HEAD_BYTES + bitmaps * BITMAP_BYTES;
  return {
    records: ranges.length + bitmaps,
    words: bytes / 8,
    cacheLines: Math.ceil(bytes / 64),
    allocBytes: bytes,
  };
}

/** Lengths of header and bitmaps; the last bitmap takes what is left, which as posted is more than it holds. */
function descriptors(ranges: readonly Range[], settings: Settings): number[] {
  const lengths = [HEAD_BYTES];
  const span = spanOf(ranges, settings);
  const bitmaps = settings.asPosted ? Math.floor(span.pages / BITMAP_PAGES) : Math.ceil(span.pages / BITMAP_PAGES);
  let left = sentBytes(span, settings);
  for (let index = 1; index <= bitmaps; index++) {
    const length = index === bitmaps ? left : BITMAP_BYTES;
    lengths.push(length);
    left -= length;
  }
  return lengths;
}

/**
 * A header of 32 bytes {u16 cmd, u16 page_shift = 12, u16 flag, u16 reserved, u64 req_id, u64 start_pfn, u64 bmap_len}, all
 * LE, then bmap_len bytes in which bit `i % 8` of byte `floor(i / 8)` says that page start_pfn + i is listed. The bytes are
 * posted as up to 32 bitmaps of 32 KiB (262,144 pages, 1 GiB) each, the last one as short as bmap_len has it.
 *
 * - `bitmaps` (1 to 32, default 32): how many the sender has, so how many pages a message spans: 1 GiB to 32 GiB.
 * - `window: fitted` (default, as in inflation): start_pfn is the first listed page rounded down to 64, and bmap_len ends with
 *   the word of the last one. `whole` (as for unused pages): start_pfn is a multiple of `bitmaps` · 262,144 and all bitmaps are
 *   sent, also those without a bit. (The posted code cuts the last window at max_pfn, which a message does not know.)
 * - `messageMax`: 32 bytes and `bitmaps` · 32 KiB; a wider span is no wrong range, the sender has to cut it: `sizeOf` says what
 *   it would take, `encode` throws RangeError. `error`: a pfn or count that is no whole number, or an end above 2^52 pages.
 * - `canonical`: sorted maximal runs: order, overlap and repetition are lost. `sizeOf`: 32 bytes and 8 for each 64 pages of
 *   the span. `descriptors`: the header and each bitmap.
 * - `work`: records = ranges given plus bitmaps; words, cacheLines and allocBytes of the header and of whole bitmaps, since
 *   each is cleared before bits are set, whatever is sent of it.
 * - `asPosted`: `tell_host` rounds the count of bitmaps down. A span below 262,144 pages sends the header alone; of a wider one
 *   bmap_len bytes go out, but those behind the last full bitmap are read beyond its memory (here: zeros), so the pages there
 *   are lost. It changes nothing with `window: whole`, whose spans are whole bitmaps.
 * - `decode` throws RangeError on a page_shift that is not 12, reserved bits, a req_id above 2^53 - 1, a span that is not as
 *   above or not what follows, and one that has no bit in its first or last word (fitted) or at all (whole). For refused ranges
 *   the methods other than `encode` promise nothing.
 *
 * Throws RangeError on wrong options. Source: Liang Li's virtio-balloon v3 (21 Oct 2016), `tell_host`.
 *
 * @example
 * ```ts
 * import { v3Bitmap } from "./v3_bitmap.ts";
 *
 * // Page 70 and page 300,000 lie in one message: pages 64 to 300,031 are 37,496 bytes, a bitmap and a part of a second.
 * const ranges = [{ pfn: 70, count: 1 }, { pfn: 300_000, count: 1 }];
 * const lengths = v3Bitmap().descriptors?.(ranges);
 * if (lengths?.join() !== "32,32768,4728") throw new Error(`wanted three buffers, not ${lengths}`);
 * if (v3Bitmap({ asPosted: true }).canonical(ranges).length !== 1) throw new Error("page 300,000 is lost as posted");
 * ```
 */
export function v3Bitmap(options: V3BitmapOptions = {}): Encoding {
  const { bitmaps = BITMAPS_MAX, window = "fitted", asPosted = false } = options;
  if (!Number.isInteger(bitmaps) || bitmaps < 1 || bitmaps > BITMAPS_MAX) {
    throw new RangeError(`Cannot make a ${NAME} of ${bitmaps} bitmaps: wanted 1 to ${BITMAPS_MAX}`);
  }
  if (!bitmapWindows.includes(window)) {
    throw new RangeError(`Cannot make a ${NAME} of window ${window}: wanted one of ${bitmapWindows.join(", ")}`);
  }
  const settings: Settings = { bitmaps, window, asPosted };
  return {
    name: NAME,
    messageMax: messageMaxOf(settings),
    headBytes: HEAD_BYTES,
    error,
    canonical: (ranges) => canonical(ranges, settings),
    sizeOf: (ranges) => sizeOf(ranges, settings),
    encode: (ranges, head = NO_HEAD) => encode(ranges, head, settings),
    decode: (bytes) => decode(bytes, settings),
    decodeHead,
    descriptors: (ranges) => descriptors(ranges, settings),
    work: (ranges) => work(ranges, settings),
  };
}
