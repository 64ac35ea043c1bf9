/**
 * The encoding `v4-heads`: the inflate records of Liang Li's v4 and v5, heads of blocks mixed with words of bitmap.
 *
 * The driver marks the pages in bitmaps of 32 KiB and reads them again run by run (`set_bulk_pages`): a 64-bit word that is
 * only partly set is sent as it is behind a head, so that pages lying near share one record; what is left of a run are whole
 * words, sent as heads of blocks, powers of two from the largest down, aligned to 64 pages only. Dave Hansen's objections are
 * visible in it: half of each bitmap record is metadata, and one record says at most 64 pages of a scattered area.
 *
 * @module
 */
import { appendBitmap, type Run } from "../memory/bit_runs.ts";
import { mergeRanges, ORDER_PAGES, type Range, sizeOrder } from "../memory/range.ts";
import type { Encoding, MessageHead } from "./encoding.ts";
import { PAGE_SHIFT, pageHead, setPageHead } from "./page_head.ts";
import {
  bytesOf,
  decodeRespHead,
  RESP_HEAD_BYTES,
  RESP_MESSAGE_MAX,
  respDescriptors,
  respMessage,
} from "./resp_head.ts";
import { decodeError, payloadWork, rangeError, refuseOtherBytes, refuseRanges, viewOf } from "./wire.ts";

const NAME = "v4-heads";
const HEAD_BYTES = 8;

/** BITS_PER_LONG: the pages of one word of bitmap, and of the smallest block head. */
const WORD_PAGES = 64;
const WORD_BYTES = 8;
const WORD_ORDER = 6;

/** PFNS_PER_BMAP = 2^18: a run is read bitmap by bitmap, so no block is larger. */
const BITMAP_ORDER = 18;
const BITMAP_PAGES = ORDER_PAGES[BITMAP_ORDER];

const PFN_BITS = 52;

/** A range may have 2^32 pages (16 TiB): 16,384 bitmaps, of which each gives a record or more. */
const RANGE_PAGES_MAX = ORDER_PAGES[32];

function error(range: Range): string | undefined {
  const why = rangeError(range, PFN_BITS);
  if (why !== undefined || range.count <= RANGE_PAGES_MAX) return why;
  return `count ${range.count} is more than 2^32 pages`;
}

/** Takes the records, in the order of the wire. */
interface RecordSink {
  /** A block of 2^order pages. */
  block(pfn: number, order: number): void;
  /** A word of bitmap from page `pfn` on, in two halves. */
  word(pfn: number, low: number, high: number): void;
}

/** The bits `from` to `to - 1` of a 32-bit half, where both may lie outside of it. */
function halfMask(from: number, to: number): number {
  const first = Math.max(0, from);
  const end = Math.min(32, to);
  if (first >= end) return 0;
  return (ORDER_PAGES[end] - ORDER_PAGES[first]) >>> 0;
}

/** Says the word at `start`; the runs from `index` on are those that may lie in it. */
function emitWord(runs: readonly Range[], index: number, start: number, sink: RecordSink): void {
  let low = 0;
  let high = 0;
  for (; index < runs.length && runs[index].pfn < start + WORD_PAGES; index++) {
    const from = Math.max(0, runs[index].pfn - start);
    const to = Math.min(WORD_PAGES, runs[index].pfn + runs[index].count - start);
    low |= halfMask(from, to);
    high |= halfMask(from - 32, to - 32);
  }
  sink.word(start, low >>> 0, high >>> 0);
}

/**
 * Says the pages `from` to `to - 1` of a run (`do_set_resp_bitmap`): its first word if that is partly set, then its last one,
 * then the whole words between. Returns the page up to which everything is said.
 */
function emitRun(runs: readonly Range[], index: number, from: number, to: number, sink: RecordSink): number {
  const tail = to % WORD_PAGES;
  const done = tail === 0 ? to : to - tail + WORD_PAGES;
  const head = from % WORD_PAGES;
  if (head > 0) {
    emitWord(runs, index, from - head, sink);
    from += WORD_PAGES - head;
    if (from >= to) return done;
  }
  if (tail > 0) emitWord(runs, index, to - tail, sink);
  for (let left = to - tail - from; left > 0;) {
    const order = sizeOrder(left, BITMAP_ORDER);
    sink.block(from, order);
    from += ORDER_PAGES[order];
    left -= ORDER_PAGES[order];
  }
  return done;
}

function emitRecords(ranges: readonly Range[], sink: RecordSink): void {
  if (ranges.length === 0) return;
  const runs = mergeRanges(ranges);
  const base = runs[0].pfn - runs[0].pfn % WORD_PAGES;
  // Pages below are said: the word in which a run ends says the runs that begin in it, too.
  let said = base;
  for (let index = 0; index < runs.length; index++) {
    const end = runs[index].pfn + runs[index].count;
    let pfn = Math.max(said, runs[index].pfn);
    while (pfn < end) {
      const seam = pfn - (pfn - base) % BITMAP_PAGES + BITMAP_PAGES;
      said = emitRun(runs, index, pfn, Math.min(end, seam), sink);
      pfn = said;
    }
  }
}

function counted(ranges: readonly Range[]): { records: number; bytes: number } {
  let records = 0;
  let bytes = RESP_HEAD_BYTES;
  emitRecords(ranges, {
    block() {
      records++;
      bytes += HEAD_BYTES;
    },
    word() {
      records++;
      bytes += HEAD_BYTES + WORD_BYTES;
    },
  });
  return { records, bytes };
}

function sizeOf(ranges: readonly Range[]): number {
  return counted(ranges).bytes;
}

function canonical(ranges: readonly Range[]): Range[] {
  const seen: Range[] = [];
  const view = new DataView(new ArrayBuffer(WORD_BYTES));
  emitRecords(ranges, {
    block: (pfn, order) => void seen.push({ pfn, count: ORDER_PAGES[order] }),
    word(pfn, low, high) {
      view.setUint32(0, low, true);
      view.setUint32(4, high, true);
      pushWord(seen, view, 0, pfn);
    },
  });
  return seen;
}

/** The receiver takes record by record: runs do not go on from one into the next. */
function pushWord(seen: Range[], view: DataView, offset: number, pfn: number): void {
  const runs: Run[] = [];
  appendBitmap(runs, view, offset, WORD_PAGES, pfn, 1);
  seen.push(...runs);
}

function encode(ranges: readonly Range[], head?: MessageHead): Uint8Array {
  refuseRanges(NAME, error, ranges);
  const view = respMessage(NAME, sizeOf(ranges) - RESP_HEAD_BYTES, head);
  let offset = RESP_HEAD_BYTES;
  emitRecords(ranges, {
    block(pfn, order) {
      setPageHead(view, offset, { pfn, shift: PAGE_SHIFT + order, bmapLen: 0 });
      offset += HEAD_BYTES;
    },
    word(pfn, low, high) {
      setPageHead(view, offset, { pfn, shift: PAGE_SHIFT, bmapLen: WORD_BYTES });
      view.setUint32(offset + HEAD_BYTES, low, true);
      view.setUint32(offset + HEAD_BYTES + 4, high, true);
      offset += HEAD_BYTES + WORD_BYTES;
    },
  });
  return bytesOf(view);
}

/** Reads the record at `offset`; returns where the next one starts. */
function decodeRecord(view: DataView, offset: number, seen: Range[]): number {
  const { pfn, shift, bmapLen } = pageHead(view, offset);
  const refuse = (why: string): never => {
    throw decodeError(NAME, offset, why);
  };
  if (pfn % WORD_PAGES !== 0) refuse(`start_pfn ${pfn} is not a multiple of ${WORD_PAGES} pages`);
  if (bmapLen === 0) {
    const order = shift - PAGE_SHIFT;
    if (order < WORD_ORDER || order > BITMAP_ORDER) {
      const [min, max] = [PAGE_SHIFT + WORD_ORDER, PAGE_SHIFT + BITMAP_ORDER];
      refuse(`page_shift ${shift} of a block, wanted ${min} to ${max}`);
    }
    const why = error({ pfn, count: ORDER_PAGES[order] });
    if (why !== undefined) refuse(why);
    seen.push({ pfn, count: ORDER_PAGES[order] });
    return offset + HEAD_BYTES;
  }
  if (bmapLen !== WORD_BYTES) refuse(`bmap_len ${bmapLen}, wanted 0 or ${WORD_BYTES}`);
  if (shift !== PAGE_SHIFT) refuse(`page_shift ${shift} of a bitmap, wanted ${PAGE_SHIFT}`);
  if (offset + HEAD_BYTES === view.byteLength) refuse("the word of bitmap is missing");
  pushWord(seen, view, offset + HEAD_BYTES, pfn);
  return offset + HEAD_BYTES + WORD_BYTES;
}

function decode(bytes: Uint8Array): Range[] {
  const head = decodeRespHead(NAME, bytes);
  const view = viewOf(bytes);
  const seen: Range[] = [];
  for (let offset = RESP_HEAD_BYTES; offset < bytes.length;) offset = decodeRecord(view, offset, seen);
  refuseOtherBytes(NAME, bytes, encode(seen, head), RESP_HEAD_BYTES);
  return seen;
}

/**
 * The response header of 8 bytes {cmd 8, flag 8, id 16, data_len 32}, then records u64 LE {start_pfn 52, page_shift 6,
 * bmap_len 6}, the first field in the lowest bits. bmap_len 8: one more u64 LE, bit i of it page start_pfn + i, page_shift 12.
 * bmap_len 0: one block of 2^page_shift bytes. start_pfn is a multiple of 64 in both.
 *
 * - A word of 64 pages that is partly listed is a bitmap record. Whole words of a run are blocks, the largest power of two
 *   first, at most 2^18 pages; a run is cut at each 2^18 pages from the first page (rounded down to 64), where the sender's
 *   next bitmap begins. Runs ascend; of one run the word of its head comes first, then that of its tail, then its blocks.
 * - `messageMax`: the header and 2^32 - 8 bytes (the buffers of 32 KiB of the posted code are the policy's); `error`: a pfn or
 *   count that is no whole number, more than 2^32 pages, or an end above 2^52 pages.
 * - `canonical`: record by record, blocks whole, words as their runs of bits; order, overlap and repetition are lost.
 *   `sizeOf`: 8 bytes, 8 a block, 16 a word. `descriptors`: header and array are two.
 * - `work`: records = blocks and words; words, cacheLines and allocBytes of the message written once. The bitmaps that the
 *   sender clears and scans are not on the wire: the policy charges them.
 * - `decode` throws RangeError on a data_len that is not what follows, on fields with other values than these, and on records
 *   that the encoder would not write for their pages. For refused ranges the methods other than `encode` promise nothing.
 *
 * Source: Liang Li's virtio-balloon v4 (2 Nov 2016) and v5 (30 Nov 2016), `do_set_resp_bitmap`.
 *
 * @example
 * ```ts
 * import { v4Heads } from "./v4_heads.ts";
 *
 * // Pages 1, 3 and 5 share a word; 2 MiB at 2 MiB are a block.
 * const near = [1, 3, 5].map((pfn) => ({ pfn, count: 1 }));
 * if (v4Heads.sizeOf(near) !== 8 + 16) throw new Error("wanted one bitmap record");
 * if (v4Heads.sizeOf([...near, { pfn: 512, count: 512 }]) !== 8 + 16 + 8) throw new Error("wanted one more block");
 * ```
 */
export const v4Heads: Encoding = {
  name: NAME,
  messageMax: RESP_MESSAGE_MAX,
  headBytes: RESP_HEAD_BYTES,
  error,
  canonical,
  sizeOf,
  encode,
  decode,
  decodeHead: (bytes) => decodeRespHead(NAME, bytes),
  descriptors: (ranges) => respDescriptors(sizeOf(ranges)),
  work(ranges) {
    const { records, bytes } = counted(ranges);
    return payloadWork(records, bytes);
  },
};
