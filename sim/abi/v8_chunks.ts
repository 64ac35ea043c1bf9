/**
 * The encoding `v8-chunks`: Wei Wang's v8, a base and a size in a word each.
 *
 * After v7 had kept two forms of a record, as v6 had, Michael Tsirkin asked for one: 52 bits of base and of size, each shifted
 * like an address, with the lower 12 bits reserved. Header and chunks are one buffer, so a message is one descriptor.
 *
 * @module
 */
import type { Range } from "../memory/range.ts";
import type { Encoding, MessageHead } from "./encoding.ts";
import { bytesOf, decodeRespHead, RESP_HEAD_BYTES, RESP_MESSAGE_MAX, respMessage } from "./resp_head.ts";
import { decodeError, lower12, payloadWork, rangeError, refuseRanges, setFields, upper52, viewOf } from "./wire.ts";

const NAME = "v8-chunks";
const RECORD_BYTES = 16;
const PFN_BITS = 52;

/** data_len in whole chunks. */
const MESSAGE_MAX = RESP_MESSAGE_MAX - 8;

function error({ pfn, count }: Range): string | undefined {
  const why = rangeError({ pfn, count }, PFN_BITS);
  // The size has 52 bits, too.
  if (why !== undefined || count < 2 ** PFN_BITS) return why;
  return `count ${count} does not fit into ${PFN_BITS} bits`;
}

function canonical(ranges: readonly Range[]): Range[] {
  return ranges.map(({ pfn, count }) => ({ pfn, count }));
}

function sizeOf(ranges: readonly Range[]): number {
  return RESP_HEAD_BYTES + ranges.length * RECORD_BYTES;
}

function encode(ranges: readonly Range[], head?: MessageHead): Uint8Array {
  refuseRanges(NAME, error, ranges);
  const view = respMessage(NAME, ranges.length * RECORD_BYTES, head);
  let offset = RESP_HEAD_BYTES;
  for (const { pfn, count } of ranges) {
    setFields(view, offset, pfn, 0);
    setFields(view, offset + 8, count, 0);
    offset += RECORD_BYTES;
  }
  return bytesOf(view);
}

function decode(bytes: Uint8Array): Range[] {
  decodeRespHead(NAME, bytes, RECORD_BYTES);
  const view = viewOf(bytes);
  const ranges: Range[] = [];
  for (let offset = RESP_HEAD_BYTES; offset < bytes.length; offset += RECORD_BYTES) {
    for (const word of [offset, offset + 8]) {
      const reserved = lower12(view, word);
      if (reserved !== 0) throw decodeError(NAME, word, `reserved bits ${reserved}, wanted 0`);
    }
    const range = { pfn: upper52(view, offset), count: upper52(view, offset + 8) };
    const why = error(range);
    if (why !== undefined) throw decodeError(NAME, offset, why);
    ranges.push(range);
  }
  return ranges;
}

/**
 * The response header of 8 bytes {u8 cmd, u8 flag, le16 id, le32 data_len}, then chunks of 16 bytes: u64 LE first page · 2^12
 * and u64 LE pages · 2^12, the lower 12 bits of both reserved.
 *
 * - `messageMax`: the header and 2^32 - 16 bytes; `error`: a pfn or count that is no whole number, an end above 2^52 pages, or
 *   all of the 2^52 pages at once.
 * - `canonical`: the ranges as given, overlaps and neighbours included. `sizeOf`: 8 bytes and 16 a range. One descriptor.
 * - `work`: records = ranges; words, cacheLines and allocBytes of the message written once.
 * - `decode` throws RangeError on a data_len that is not what follows or no multiple of 16, reserved bits, a size of 0 and an
 *   end above 2^52 pages. For refused ranges the methods other than `encode` promise nothing.
 *
 * Source: Wei Wang's virtio-balloon v8 (16 Mar 2017), VIRTIO_BALLOON_F_CHUNK_TRANSFER.
 *
 * @example
 * ```ts
 * import { v8Chunks } from "./v8_chunks.ts";
 *
 * const bytes = v8Chunks.encode([{ pfn: 512, count: 1536 }], { cmd: 0, flag: 1, id: 3 });
 * if (bytes.length !== 8 + 16 || v8Chunks.decodeHead?.(bytes).flag !== 1) throw new Error("another message");
 * ```
 */
export const v8Chunks: Encoding = {
  name: NAME,
  messageMax: MESSAGE_MAX,
  headBytes: RESP_HEAD_BYTES,
  error,
  canonical,
  sizeOf,
  encode,
  decode,
  decodeHead: (bytes) => decodeRespHead(NAME, bytes, RECORD_BYTES),
  work: (ranges) => payloadWork(ranges.length, sizeOf(ranges)),
};
