/**
 * The encoding `pfn-len`: one pair of first page and page count a range.
 *
 * This is what the ballooning sets of Wei Wang came to (v8 of 16 March 2017: a chunk of two 64-bit words {base, size};
 * from v12 on the virtqueue's own 16-byte descriptors say the same) and what Andrea Arcangeli argued for: the host ends
 * in madvise ranges anyway. A pair says any range, so neighbours of different orders can be merged before it is written.
 *
 * @module
 */
import type { Range } from "../memory/range.ts";
import type { Encoding, EncodingWork } from "./encoding.ts";
import {
  decodeError,
  getU64,
  payloadWork,
  rangeError,
  refusePartialRecord,
  refuseRanges,
  setU64,
  viewOf,
} from "./wire.ts";

const NAME = "pfn-len";
const RECORD_BYTES = 16;

/** A 64-bit physical address has 52 bits of page frame number; this also keeps every sum exact in a double. */
const PFN_BITS = 52;

function error(range: Range): string | undefined {
  return rangeError(range, PFN_BITS);
}

/** A copy: the receiver sees the very list, also when ranges overlap, touch or repeat. */
function canonical(ranges: readonly Range[]): Range[] {
  return ranges.map(({ pfn, count }) => ({ pfn, count }));
}

function sizeOf(ranges: readonly Range[]): number {
  return ranges.length * RECORD_BYTES;
}

function encode(ranges: readonly Range[]): Uint8Array {
  refuseRanges(NAME, error, ranges);
  const bytes = new Uint8Array(sizeOf(ranges));
  const view = viewOf(bytes);
  let offset = 0;
  for (const { pfn, count } of ranges) {
    setU64(view, offset, pfn);
    setU64(view, offset + 8, count);
    offset += RECORD_BYTES;
  }
  return bytes;
}

function decode(bytes: Uint8Array): Range[] {
  refusePartialRecord(NAME, bytes, RECORD_BYTES);
  const view = viewOf(bytes);
  const ranges: Range[] = [];
  for (let offset = 0; offset < bytes.length; offset += RECORD_BYTES) {
    const range = { pfn: getU64(view, offset), count: getU64(view, offset + 8) };
    const why = error(range);
    if (why !== undefined) throw decodeError(NAME, offset, why);
    ranges.push(range);
  }
  return ranges;
}

function work(ranges: readonly Range[]): EncodingWork {
  return payloadWork(ranges.length, sizeOf(ranges));
}

/**
 * Pairs {u64 LE pfn, u64 LE count} of 16 bytes, both in pages of 4 KiB, in the order given.
 *
 * - `messageMax`: none (`Infinity`); `error`: a pfn or count that is no whole number, or an end above 2^52 pages.
 * - `canonical`: the same list, nothing is merged. `sizeOf`: 16 bytes a range, without looking at the ranges.
 * - `work`: records = ranges; words = 2 a record; cacheLines and allocBytes of a payload written once.
 * - `encode` throws RangeError naming the range that `error` refuses; `decode` on a length that is no multiple of 16,
 *   a count of 0 and an end above 2^52 pages. For refused ranges the other methods promise nothing.
 *
 * Source: the chunks of Wei Wang's virtio-balloon v8 (16 Mar 2017), two words a range.
 *
 * @example
 * ```ts
 * import { pfnLen } from "./pfn_len.ts";
 *
 * const bytes = pfnLen.encode([{ pfn: 512, count: 1536 }]); // 6 MiB from 2 MiB on
 * const [range] = pfnLen.decode(bytes);
 * if (bytes.length !== 16 || range.pfn !== 512 || range.count !== 1536) throw new Error("the range changed on its way");
 * ```
 */
export const pfnLen: Encoding = {
  name: NAME,
  messageMax: Infinity,
  error,
  canonical,
  sizeOf,
  encode,
  decode,
  work,
};
