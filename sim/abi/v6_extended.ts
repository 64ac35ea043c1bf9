/**
 * The encoding `v6-extended`: Liang Li's v6, a page frame number and a page count in one word, in two where the count is long.
 *
 * The word has 12 bits for the count: 1 to 4095 pages, and 0 for a count that follows in a word of its own. As posted, the
 * inflate side compares with "more than 4096", so that a run of exactly 4096 pages sets bit 12, the lowest of the page frame
 * number, and leaves a count of 0: the receiver takes the record behind it for the count.
 *
 * @module
 */
import type { Range } from "../memory/range.ts";
import type { Encoding, MessageHead } from "./encoding.ts";
import {
  bytesOf,
  decodeRespHead,
  RESP_HEAD_BYTES,
  RESP_MESSAGE_MAX,
  respDescriptors,
  respMessage,
} from "./resp_head.ts";
import {
  decodeError,
  getU64,
  lower12,
  payloadWork,
  rangeError,
  refuseRanges,
  setFields,
  setU64,
  upper52,
  viewOf,
} from "./wire.ts";

const NAME = "v6-extended";
const WORD_BYTES = 8;
const PFN_BITS = 52;

/** 2^VIRTIO_BALLOON_NR_PFN_BITS: the first count that does not fit into 12 bits. */
const COUNT_VALUES = 4096;

function error(range: Range): string | undefined {
  return rangeError(range, PFN_BITS);
}

function canonical(ranges: readonly Range[]): Range[] {
  return ranges.map(({ pfn, count }) => ({ pfn, count }));
}

/** Counts up to this one take one word: 4095, or 4096 as posted. */
function shortMaxOf(asPosted: boolean): number {
  return asPosted ? COUNT_VALUES : COUNT_VALUES - 1;
}

function sizeOf(ranges: readonly Range[], shortMax: number): number {
  let words = 0;
  for (const { count } of ranges) words += count <= shortMax ? 1 : 2;
  return RESP_HEAD_BYTES + words * WORD_BYTES;
}

function encode(ranges: readonly Range[], head: MessageHead | undefined, shortMax: number): Uint8Array {
  refuseRanges(NAME, error, ranges);
  const view = respMessage(NAME, sizeOf(ranges, shortMax) - RESP_HEAD_BYTES, head);
  let offset = RESP_HEAD_BYTES;
  for (const { pfn, count } of ranges) {
    if (count > shortMax) {
      setFields(view, offset, pfn, 0);
      setU64(view, offset + WORD_BYTES, count);
      offset += WORD_BYTES;
    } else if (count === COUNT_VALUES) {
      // Bit 12 is or-ed into the word: the lowest bit of the pfn is set, whatever it was.
      setFields(view, offset, pfn % 2 === 0 ? pfn + 1 : pfn, 0);
    } else setFields(view, offset, pfn, count);
    offset += WORD_BYTES;
  }
  return bytesOf(view);
}

function decode(bytes: Uint8Array): Range[] {
  decodeRespHead(NAME, bytes);
  const view = viewOf(bytes);
  const ranges: Range[] = [];
  for (let offset = RESP_HEAD_BYTES; offset < bytes.length; offset += WORD_BYTES) {
    const start = offset;
    const pfn = upper52(view, start);
    let count = lower12(view, start);
    if (count === 0) {
      offset += WORD_BYTES;
      if (offset === bytes.length) throw decodeError(NAME, start, "the word with the length is missing");
      count = getU64(view, offset);
      if (count < COUNT_VALUES) throw decodeError(NAME, offset, `length ${count}, wanted at least ${COUNT_VALUES}`);
    }
    const range = { pfn, count };
    const why = error(range);
    if (why !== undefined) throw decodeError(NAME, start, why);
    ranges.push(range);
  }
  return ranges;
}

/** What a receiver makes of the posted bytes: a length that is missing or beyond the address space is nothing to it. */
function decodeTrusting(bytes: Uint8Array): Range[] {
  decodeRespHead(NAME, bytes);
  const view = viewOf(bytes);
  const ranges: Range[] = [];
  for (let offset = RESP_HEAD_BYTES; offset < bytes.length; offset += WORD_BYTES) {
    const pfn = upper52(view, offset);
    let count = lower12(view, offset);
    if (count === 0) {
      offset += WORD_BYTES;
      if (offset === bytes.length) break;
      count = getU64(view, offset);
    }
    if (error({ pfn, count }) === undefined) ranges.push({ pfn, count });
  }
  return ranges;
}

/**
 * The response header of 8 bytes {cmd 8, flag 8, id 16, data_len 32}, then words u64 LE = pfn · 2^12 + count for 1 to 4095
 * pages. From 4096 pages on the lower 12 bits are 0 and a second u64 LE is the count.
 *
 * So 4095 pages (16 MiB - 4 KiB) take 8 bytes, 4096 and 4097 pages take 16. The posted code writes 4096 into one word, which
 * the field cannot hold: here that is `asPosted`.
 *
 * - `messageMax`: the header and 2^32 - 8 bytes; `error`: a pfn or count that is no whole number, or an end above 2^52 pages.
 * - `canonical`: the ranges as given, overlaps and neighbours included. `sizeOf`: 8 bytes, and 8 or 16 a range.
 *   `descriptors`: header and array are two.
 * - `work`: records = ranges; words, cacheLines and allocBytes of the message written once.
 * - `asPosted`: exactly 4096 pages are one word with the lowest bit of the pfn set and the count 0. `canonical` and `decode`
 *   are then those of a receiver that follows the rule: it takes the next word for the count, which may say pages outside of
 *   the guest, and leaves a range out that would end above 2^52 pages or has no next word.
 * - `decode` throws RangeError on a data_len that is not what follows, a missing second word, one below 4096 and an end above
 *   2^52 pages. For refused ranges the methods other than `encode` promise nothing.
 *
 * Source: Liang Li's virtio-balloon v6 (21 Dec 2016), `do_set_resp_bitmap` and `mark_unused_pages`.
 *
 * @example
 * ```ts
 * import { v6Extended } from "./v6_extended.ts";
 *
 * const sizes = [4095, 4096, 4097].map((count) => v6Extended().sizeOf([{ pfn: 0, count }]));
 * if (sizes.join() !== "16,24,24") throw new Error(`wanted one word up to 4095 pages, not ${sizes}`);
 * ```
 */
export function v6Extended(options: { readonly asPosted?: boolean } = {}): Encoding {
  const { asPosted = false } = options;
  const shortMax = shortMaxOf(asPosted);
  const written = (ranges: readonly Range[], head?: MessageHead) => encode(ranges, head, shortMax);
  return {
    name: NAME,
    messageMax: RESP_MESSAGE_MAX,
    headBytes: RESP_HEAD_BYTES,
    error,
    canonical: asPosted ? (ranges) => decodeTrusting(written(ranges)) : canonical,
    sizeOf: (ranges) => sizeOf(ranges, shortMax),
    encode: written,
    decode: asPosted ? decodeTrusting : decode,
    decodeHead: (bytes) => decodeRespHead(NAME, bytes),
    descriptors: (ranges) => respDescriptors(sizeOf(ranges, shortMax)),
    work: (ranges) => payloadWork(ranges.length, sizeOf(ranges, shortMax)),
  };
}
