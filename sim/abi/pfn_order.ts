/**
 * The encoding `pfn-order`: one 64-bit word a naturally aligned block.
 *
 * Half the size of `pfn-len` for blocks as the buddy allocator has them, but a merged run needs a word for each power of
 * two in it. It is the head of Liang Li's v5 for unused pages (30 November 2016: pfn and shift, one word a block),
 * arranged like a physical address with the order in the bits of the page offset.
 *
 * @module
 */
import { forEachAlignedBlock, ORDER_PAGES, type Range } from "../memory/range.ts";
import type { Encoding, EncodingWork } from "./encoding.ts";
import { decodeError, payloadWork, rangeError, refusePartialRecord, refuseRanges, setU64, viewOf } from "./wire.ts";

const NAME = "pfn-order";
const RECORD_BYTES = 8;

/** 2^12 values of the page offset: the place of the order in the word. */
const OFFSET_VALUES = 4096;

/** Page frame numbers have 40 bits (4 PiB), so that a whole word stays below 2^53 and is exact in a double. */
const PFN_BITS = 40;

/** No limit of its own: the block of order 40 is all of the 2^40 pages, so every split is as coarse as alignment allows. */
const ORDER_MAX = PFN_BITS;

function error(range: Range): string | undefined {
  return rangeError(range, PFN_BITS);
}

function canonical(ranges: readonly Range[]): Range[] {
  const blocks: Range[] = [];
  const push = (pfn: number, order: number) => void blocks.push({ pfn, count: ORDER_PAGES[order] });
  for (const { pfn, count } of ranges) forEachAlignedBlock(pfn, count, ORDER_MAX, push);
  return blocks;
}

function countBlocks(ranges: readonly Range[]): number {
  let blocks = 0;
  const increment = () => void blocks++;
  for (const { pfn, count } of ranges) forEachAlignedBlock(pfn, count, ORDER_MAX, increment);
  return blocks;
}

function sizeOf(ranges: readonly Range[]): number {
  return countBlocks(ranges) * RECORD_BYTES;
}

function encode(ranges: readonly Range[]): Uint8Array {
  refuseRanges(NAME, error, ranges);
  const bytes = new Uint8Array(sizeOf(ranges));
  const view = viewOf(bytes);
  let offset = 0;
  const write = (pfn: number, order: number) => {
    setU64(view, offset, pfn * OFFSET_VALUES + order);
    offset += RECORD_BYTES;
  };
  for (const { pfn, count } of ranges) forEachAlignedBlock(pfn, count, ORDER_MAX, write);
  return bytes;
}

/** The block of the word at `offset`; taken from the halves, since a foreign word may be above 2^53. */
function decodeBlock(view: DataView, offset: number): Range {
  const low = view.getUint32(offset, true);
  const order = low % OFFSET_VALUES;
  const pfn = view.getUint32(offset + 4, true) * ORDER_PAGES[20] + (low - order) / OFFSET_VALUES;
  if (order > ORDER_MAX) throw decodeError(NAME, offset, `order ${order} is above ${ORDER_MAX}`);
  const count = ORDER_PAGES[order];
  if (pfn % count !== 0) throw decodeError(NAME, offset, `pfn ${pfn} is not aligned to its order ${order}`);
  const block = { pfn, count };
  const why = error(block);
  if (why !== undefined) throw decodeError(NAME, offset, why);
  return block;
}

function decode(bytes: Uint8Array): Range[] {
  refusePartialRecord(NAME, bytes, RECORD_BYTES);
  const view = viewOf(bytes);
  const blocks: Range[] = [];
  for (let offset = 0; offset < bytes.length; offset += RECORD_BYTES) blocks.push(decodeBlock(view, offset));
  return blocks;
}

function work(ranges: readonly Range[]): EncodingWork {
  const blocks = countBlocks(ranges);
  return payloadWork(blocks, blocks * RECORD_BYTES);
}

/**
 * Words u64 LE = pfn · 2^12 + order of 8 bytes: 2^order pages of 4 KiB from a pfn on that is aligned to the order.
 *
 * - `messageMax`: none (`Infinity`); `error`: a pfn or count that is no whole number, or an end above 2^40 pages (4 PiB).
 * - `canonical`: every range split into its maximal naturally aligned blocks, ascending in the range, ranges as given.
 *   `sizeOf`: 8 bytes a block.
 * - `work`: records = aligned blocks; words = 1 a record; cacheLines and allocBytes of a payload written once.
 * - `encode` throws RangeError naming the range that `error` refuses; `decode` on a length that is no multiple of 8, an
 *   order above 40, a pfn that is not aligned to it and an end above 2^40 pages. For refused ranges the other methods
 *   promise nothing.
 *
 * Source: the unused-page records of Liang Li's virtio-balloon v5 (linux-mm, 30 Nov 2016), without their length field.
 *
 * @example
 * ```ts
 * import { pfnOrder } from "./pfn_order.ts";
 *
 * // 6 MiB from 2 MiB on: an order-9 block at 2 MiB and an order-10 block at 4 MiB.
 * const blocks = pfnOrder.canonical([{ pfn: 512, count: 1536 }]);
 * if (blocks.length !== 2 || blocks[1].pfn !== 1024 || blocks[1].count !== 1024) throw new Error("another split");
 * if (pfnOrder.sizeOf(blocks) !== 16) throw new Error("two words are 16 bytes");
 * ```
 */
export const pfnOrder: Encoding = {
  name: NAME,
  messageMax: Infinity,
  error,
  canonical,
  sizeOf,
  encode,
  decode,
  work,
};
