/**
 * The encoding `v5-heads`: the unused pages of Liang Li's v5, one 64-bit head a free block.
 *
 * v5 gave up the bitmap walk for unused pages: `mark_unused_pages` copies the free lists order by order into an array of
 * heads. It writes start_pfn and page_shift and leaves bmap_len as the buffer happens to have it; Dave Hansen asked for it in
 * review. The buffer comes from kmalloc and is also the one that inflation fills with v4 heads, so that 0 and 8 are likely.
 *
 * @module
 */
import { appendBitmap, type Run } from "../memory/bit_runs.ts";
import { forEachAlignedBlock, ORDER_PAGES, type Range } from "../memory/range.ts";
import type { Encoding, MessageHead } from "./encoding.ts";
import { PAGE_SHIFT, pageHead, setPageHead } from "./page_head.ts";
import {
  bytesOf,
  decodeRespHead,
  refuseField,
  RESP_HEAD_BYTES,
  RESP_MESSAGE_MAX,
  respDescriptors,
  respMessage,
} from "./resp_head.ts";
import { decodeError, payloadWork, rangeError, refuseRanges, viewOf } from "./wire.ts";

const NAME = "v5-heads";
const RECORD_BYTES = 8;
const PFN_BITS = 52;
const BMAP_LEN_MAX = 63;

/** page_shift has 6 bits: 63 is a block of 2^51 pages. */
const ORDER_MAX = 63 - PAGE_SHIFT;

function error(range: Range): string | undefined {
  return rangeError(range, PFN_BITS);
}

function countBlocks(ranges: readonly Range[]): number {
  let blocks = 0;
  const increment = () => void blocks++;
  for (const { pfn, count } of ranges) forEachAlignedBlock(pfn, count, ORDER_MAX, increment);
  return blocks;
}

function sizeOf(ranges: readonly Range[]): number {
  return RESP_HEAD_BYTES + countBlocks(ranges) * RECORD_BYTES;
}

function canonical(ranges: readonly Range[]): Range[] {
  const blocks: Range[] = [];
  const push = (pfn: number, order: number) => void blocks.push({ pfn, count: ORDER_PAGES[order] });
  for (const { pfn, count } of ranges) forEachAlignedBlock(pfn, count, ORDER_MAX, push);
  return blocks;
}

function encode(ranges: readonly Range[], head: MessageHead | undefined, bmapLen: number): Uint8Array {
  refuseRanges(NAME, error, ranges);
  const view = respMessage(NAME, countBlocks(ranges) * RECORD_BYTES, head);
  let offset = RESP_HEAD_BYTES;
  const write = (pfn: number, order: number) => {
    setPageHead(view, offset, { pfn, shift: PAGE_SHIFT + order, bmapLen });
    offset += RECORD_BYTES;
  };
  for (const { pfn, count } of ranges) forEachAlignedBlock(pfn, count, ORDER_MAX, write);
  return bytesOf(view);
}

function decode(bytes: Uint8Array): Range[] {
  decodeRespHead(NAME, bytes);
  const view = viewOf(bytes);
  const blocks: Range[] = [];
  for (let offset = RESP_HEAD_BYTES; offset < bytes.length; offset += RECORD_BYTES) {
    const { pfn, shift, bmapLen } = pageHead(view, offset);
    if (bmapLen !== 0) throw decodeError(NAME, offset, `bmap_len ${bmapLen} of a block, wanted 0`);
    if (shift < PAGE_SHIFT) throw decodeError(NAME, offset, `page_shift ${shift} is below ${PAGE_SHIFT}, a page`);
    const block = { pfn, count: ORDER_PAGES[shift - PAGE_SHIFT] };
    if (pfn % block.count !== 0) {
      throw decodeError(NAME, offset, `start_pfn ${pfn} is not aligned to its page_shift ${shift}`);
    }
    const why = error(block);
    if (why !== undefined) throw decodeError(NAME, offset, why);
    blocks.push(block);
  }
  return blocks;
}

/**
 * What a receiver that trusts bmap_len reads: a head with a length takes the words behind it for a bitmap of pages of
 * 2^page_shift bytes. A bitmap that is cut off and bits above 2^52 pages are nothing to it; it refuses nothing.
 */
function decodeTrusting(bytes: Uint8Array): Range[] {
  decodeRespHead(NAME, bytes);
  const view = viewOf(bytes);
  const seen: Range[] = [];
  for (let offset = RESP_HEAD_BYTES; offset < bytes.length;) {
    const { pfn, shift, bmapLen } = pageHead(view, offset);
    const words = Math.ceil(bmapLen / 8);
    offset += RECORD_BYTES;
    if (shift >= PAGE_SHIFT && offset + words * 8 <= bytes.length) {
      const unitPages = ORDER_PAGES[shift - PAGE_SHIFT];
      const runs: Run[] = [];
      if (words === 0) runs.push({ pfn, count: unitPages });
      else appendBitmap(runs, view, offset, words * 64, 0, unitPages);
      for (const run of runs) {
        const range = words === 0 ? run : { pfn: pfn + run.pfn, count: run.count };
        if (error(range) === undefined) seen.push(range);
      }
    }
    offset += words * 8;
  }
  return seen;
}

/**
 * The response header of 8 bytes {cmd 8, flag 8, id 16, data_len 32}, then a head u64 LE {start_pfn 52, page_shift 6,
 * bmap_len 6}, the first field in the lowest bits, for each naturally aligned block: page_shift = order + 12, bmap_len 0.
 *
 * - `messageMax`: the header and 2^32 - 8 bytes; `error`: a pfn or count that is no whole number, or an end above 2^52 pages.
 * - `canonical`: every range split into its maximal naturally aligned blocks, ascending in the range, ranges as given.
 *   `sizeOf`: 8 bytes and 8 a block. `descriptors`: header and array are two.
 * - `work`: records = blocks; words, cacheLines and allocBytes of the message written once.
 * - `asPosted`: bmap_len is `garbage` (0 to 63, what the buffer held) in every head. Then `canonical` and `decode` are those
 *   of a receiver that trusts it, as for v4 heads: with 1 to 8 every second head is a bitmap that says arbitrary pages, some
 *   possibly outside of the guest. `garbage` 0 is the lucky case.
 * - `decode` throws RangeError on a data_len that is not what follows, a bmap_len, a page_shift below 12, a start_pfn that is
 *   not aligned to it and an end above 2^52 pages. For refused ranges the methods other than `encode` promise nothing.
 *
 * Throws RangeError on a `garbage` that does not fit, or without `asPosted`. Source: Liang Li's virtio-balloon v5
 * (30 Nov 2016), `mark_unused_pages`.
 *
 * @example
 * ```ts
 * import { v5Heads } from "./v5_heads.ts";
 *
 * const blocks = [{ pfn: 512, count: 512 }, { pfn: 7, count: 1 }];
 * if (v5Heads().sizeOf(blocks) !== 8 + 2 * 8) throw new Error("wanted a head a block");
 * const seen = v5Heads({ asPosted: true, garbage: 8 }).canonical(blocks);
 * if (seen.some(({ pfn }) => pfn === 7)) throw new Error("the second head is taken for a bitmap");
 * ```
 */
export function v5Heads(options: { readonly asPosted?: boolean; readonly garbage?: number } = {}): Encoding {
  const { asPosted = false, garbage = 0 } = options;
  refuseField(NAME, "garbage", garbage, BMAP_LEN_MAX);
  if (garbage !== 0 && !asPosted) {
    throw new RangeError(`Cannot make ${NAME} with garbage ${garbage}: only asPosted has it`);
  }
  const written = (ranges: readonly Range[], head?: MessageHead) => encode(ranges, head, garbage);
  return {
    name: NAME,
    messageMax: RESP_MESSAGE_MAX,
    headBytes: RESP_HEAD_BYTES,
    error,
    canonical: garbage === 0 ? canonical : (ranges) => decodeTrusting(written(ranges)),
    sizeOf,
    encode: written,
    decode: asPosted ? decodeTrusting : decode,
    decodeHead: (bytes) => decodeRespHead(NAME, bytes),
    descriptors: (ranges) => respDescriptors(sizeOf(ranges)),
    work: (ranges) => payloadWork(countBlocks(ranges), sizeOf(ranges)),
  };
}
