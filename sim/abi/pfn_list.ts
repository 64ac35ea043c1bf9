/**
 * The encoding `pfn-list`: the array of the classic virtio balloon, one 32-bit page frame number a 4 KiB page.
 *
 * Linux fills an array of VIRTIO_BALLOON_ARRAY_PFNS_MAX = 256 entries and sends it as one buffer; QEMU looks up and
 * discards pfn by pfn, so the receiver sees single pages, whatever ranges the sender had in mind.
 *
 * @module
 */
import { pagesOf, type Range } from "../memory/range.ts";
import type { Encoding, EncodingWork } from "./encoding.ts";
import { decodeError, payloadWork, rangeError, refusePartialRecord, refuseRanges, viewOf } from "./wire.ts";

const NAME = "pfn-list";
const ENTRY_BYTES = 4;

/** VIRTIO_BALLOON_ARRAY_PFNS_MAX: 1 MiB a message. */
const ENTRIES_MAX = 256;
const MESSAGE_BYTES_MAX = ENTRIES_MAX * ENTRY_BYTES;

/** A u32 entry limits the balloon to 16 TiB of guest addresses. */
const PFN_BITS = 32;

function error(range: Range): string | undefined {
  return rangeError(range, PFN_BITS);
}

function canonical(ranges: readonly Range[]): Range[] {
  const pages: Range[] = [];
  for (const { pfn, count } of ranges) {
    for (let page = pfn; page < pfn + count; page++) pages.push({ pfn: page, count: 1 });
  }
  return pages;
}

function sizeOf(ranges: readonly Range[]): number {
  return pagesOf(ranges) * ENTRY_BYTES;
}

function encode(ranges: readonly Range[]): Uint8Array {
  refuseRanges(NAME, error, ranges);
  const messageBytes = sizeOf(ranges);
  if (messageBytes > MESSAGE_BYTES_MAX) {
    const pages = messageBytes / ENTRY_BYTES;
    throw new RangeError(`Cannot encode ${pages} pages as one ${NAME} message: at most ${ENTRIES_MAX} fit`);
  }
  const bytes = new Uint8Array(messageBytes);
  const view = viewOf(bytes);
  let offset = 0;
  for (const { pfn, count } of ranges) {
    for (let page = pfn; page < pfn + count; page++) {
      view.setUint32(offset, page, true);
      offset += ENTRY_BYTES;
    }
  }
  return bytes;
}

function decode(bytes: Uint8Array): Range[] {
  refusePartialRecord(NAME, bytes, ENTRY_BYTES);
  if (bytes.length > MESSAGE_BYTES_MAX) {
    throw decodeError(NAME, MESSAGE_BYTES_MAX, `${bytes.length} bytes in all, wanted at most ${MESSAGE_BYTES_MAX}`);
  }
  const view = viewOf(bytes);
  const pages: Range[] = [];
  for (let offset = 0; offset < bytes.length; offset += ENTRY_BYTES) {
    pages.push({ pfn: view.getUint32(offset, true), count: 1 });
  }
  return pages;
}

function work(ranges: readonly Range[]): EncodingWork {
  const pages = pagesOf(ranges);
  return payloadWork(pages, pages * ENTRY_BYTES);
}

/**
 * Entries u32 LE of 4 bytes, one page of 4 KiB each, at most 256 a message (1 MiB of memory).
 *
 * - `messageMax`: 1024 bytes. It is a limit of the message, not of a range: `error` accepts a range of more than 256
 *   pages, `sizeOf` says what it would take, and the sender has to cut it; `encode` throws RangeError.
 * - `error`: a pfn or count that is no whole number, or an end above 2^32 pages (16 TiB).
 * - `canonical`: single pages, in the order given (QEMU handles pfn by pfn). `sizeOf`: 4 bytes a page.
 * - `work`: records = pages; words = half a record, rounded up; cacheLines and allocBytes of a payload written once.
 * - `decode` throws RangeError on a length that is no multiple of 4 or above 1024. For refused ranges the methods other
 *   than `encode` promise nothing.
 *
 * Source: VIRTIO 1.x §5.5 (traditional memory balloon) and drivers/virtio/virtio_balloon.c, QEMU hw/virtio/virtio-balloon.c.
 *
 * @example
 * ```ts
 * import { pfnList } from "./pfn_list.ts";
 *
 * const pages = pfnList.decode(pfnList.encode([{ pfn: 7, count: 2 }]));
 * if (pages.length !== 2 || pages[1].pfn !== 8 || pages[1].count !== 1) throw new Error("wanted the pages 7 and 8");
 * if (pfnList.sizeOf([{ pfn: 0, count: 257 }]) <= pfnList.messageMax) throw new Error("257 pages need two messages");
 * ```
 */
export const pfnList: Encoding = {
  name: NAME,
  messageMax: MESSAGE_BYTES_MAX,
  error,
  canonical,
  sizeOf,
  encode,
  decode,
  work,
};
