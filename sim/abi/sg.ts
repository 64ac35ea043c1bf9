/**
 * The encoding `sg`: no payload at all, the descriptors of the ring are the ranges.
 *
 * VIRTIO_BALLOON_F_SG (Wei Wang's series from v12 on) and free page reporting (merged in 5.7) put the free memory itself on
 * the queue: a descriptor says address and length, and the message is a chain of them. So a message takes as many descriptors
 * as ranges, and the ring limits it, not a buffer.
 *
 * @module
 */
import type { Range } from "../memory/range.ts";
import type { Encoding, EncodingWork } from "./encoding.ts";
import {
  decodeError,
  lower12,
  rangeError,
  refuseLongMessage,
  refusePartialRecord,
  refuseRanges,
  setFields,
  upper52,
  viewOf,
} from "./wire.ts";

const NAME = "sg";
const DESCRIPTOR_BYTES = 16;
const PAGE_BYTES = 4096;
const PFN_BITS = 52;

/** The length is a u32 of bytes: UINT_MAX rounded down to pages, 4 GiB - 4 KiB. Longer ranges take several. */
const PAGES_MAX = 1_048_575;

/** Queue Size is at most 32,768 (VIRTIO 1.x), and `next` is a u16. */
const DESCRIPTORS_MAX = 32_768;
const MESSAGE_MAX = DESCRIPTORS_MAX * DESCRIPTOR_BYTES;

/** VIRTQ_DESC_F_NEXT and VIRTQ_DESC_F_WRITE. */
const NEXT = 1;
const WRITE = 2;

function error(range: Range): string | undefined {
  return rangeError(range, PFN_BITS);
}

function countDescriptors(ranges: readonly Range[]): number {
  let descriptors = 0;
  for (const { count } of ranges) descriptors += Math.ceil(count / PAGES_MAX);
  return descriptors;
}

function sizeOf(ranges: readonly Range[]): number {
  return countDescriptors(ranges) * DESCRIPTOR_BYTES;
}

function canonical(ranges: readonly Range[]): Range[] {
  const pieces: Range[] = [];
  for (const { pfn, count } of ranges) {
    for (let done = 0; done < count; done += PAGES_MAX) {
      pieces.push({ pfn: pfn + done, count: Math.min(PAGES_MAX, count - done) });
    }
  }
  return pieces;
}

function encode(ranges: readonly Range[]): Uint8Array {
  refuseRanges(NAME, error, ranges);
  const bytes = sizeOf(ranges);
  refuseLongMessage(NAME, bytes, MESSAGE_MAX);
  const view = viewOf(new Uint8Array(bytes));
  canonical(ranges).forEach(({ pfn, count }, index) => {
    const offset = index * DESCRIPTOR_BYTES;
    const last = offset + DESCRIPTOR_BYTES === bytes;
    setFields(view, offset, pfn, 0);
    view.setUint32(offset + 8, count * PAGE_BYTES, true);
    view.setUint16(offset + 12, last ? WRITE : WRITE + NEXT, true);
    view.setUint16(offset + 14, last ? 0 : index + 1, true);
  });
  return new Uint8Array(view.buffer);
}

/** The range of the descriptor at `offset`. */
function decodeDescriptor(view: DataView, offset: number): Range {
  const refuse = (why: string): never => {
    throw decodeError(NAME, offset, why);
  };
  const last = offset + DESCRIPTOR_BYTES === view.byteLength;
  const lenBytes = view.getUint32(offset + 8, true);
  const flags = view.getUint16(offset + 12, true);
  const next = view.getUint16(offset + 14, true);
  const wantedNext = last ? 0 : offset / DESCRIPTOR_BYTES + 1;
  if (lower12(view, offset) !== 0) refuse(`address ends in ${lower12(view, offset)} bytes, wanted whole pages`);
  if (lenBytes % PAGE_BYTES !== 0) refuse(`length ${lenBytes} is not a multiple of ${PAGE_BYTES} bytes`);
  if (flags !== (last ? WRITE : WRITE + NEXT)) refuse(`flags ${flags}, wanted ${last ? WRITE : WRITE + NEXT}`);
  if (next !== wantedNext) refuse(`next ${next}, wanted ${wantedNext}`);
  const range = { pfn: upper52(view, offset), count: lenBytes / PAGE_BYTES };
  const why = error(range);
  return why === undefined ? range : refuse(why);
}

function decode(bytes: Uint8Array): Range[] {
  refusePartialRecord(NAME, bytes, DESCRIPTOR_BYTES);
  if (bytes.length > MESSAGE_MAX) {
    throw decodeError(NAME, MESSAGE_MAX, `${bytes.length} bytes in all, wanted at most ${MESSAGE_MAX}`);
  }
  const view = viewOf(bytes);
  const ranges: Range[] = [];
  for (let offset = 0; offset < bytes.length; offset += DESCRIPTOR_BYTES) ranges.push(decodeDescriptor(view, offset));
  return ranges;
}

function work(ranges: readonly Range[]): EncodingWork {
  const records = countDescriptors(ranges);
  const bytes = records * DESCRIPTOR_BYTES;
  return { records, words: bytes / 8, cacheLines: Math.ceil(bytes / 64), allocBytes: 0 };
}

/**
 * Descriptors of 16 bytes {u64 LE address, u32 LE length in bytes, u16 LE flags, u16 LE next}, as they stand in the table of
 * a split ring or in an indirect table: chained in order from index 0 on, all WRITE (the device may write the memory, as
 * `virtqueue_add_inbuf` says), all but the last NEXT.
 *
 * - `inRing`: these bytes are descriptors, not payload; `descriptors` gives the length of each buffer, which is the memory.
 * - A descriptor has at most 1,048,575 pages (4 GiB - 4 KiB); a longer range takes several, as in `tell_host_sgs`.
 * - `messageMax`: 32,768 descriptors, the largest ring (524,288 bytes); `error`: a pfn or count that is no whole number, or an
 *   end above 2^52 pages.
 * - `canonical`: the ranges as given, cut to descriptors. `sizeOf`: 16 bytes a descriptor.
 * - `work`: records = descriptors; words and cacheLines of the table; allocBytes 0, since the ring is there already.
 * - `decode` throws RangeError on a length that is no multiple of 16 or above messageMax, addresses and lengths that are no
 *   whole pages, other flags, a chain in another order and an end above 2^52 pages. For refused ranges the methods other than
 *   `encode` promise nothing.
 *
 * Source: VIRTIO_BALLOON_F_SG, Wei Wang's v12 (July 2017); drivers/virtio/virtio_balloon.c, virtballoon_free_page_report;
 * VIRTIO 1.x, split virtqueues.
 *
 * @example
 * ```ts
 * import { sg } from "./sg.ts";
 *
 * const blocks = [{ pfn: 512, count: 512 }, { pfn: 2048, count: 1024 }];
 * const lengths = sg.descriptors?.(blocks).map((bytes) => bytes / 2 ** 20);
 * if (lengths?.join() !== "2,4" || sg.sizeOf(blocks) !== 32) throw new Error("wanted buffers of 2 MiB and 4 MiB");
 * ```
 */
export const sg: Encoding = {
  name: NAME,
  messageMax: MESSAGE_MAX,
  inRing: true,
  error,
  canonical,
  sizeOf,
  encode,
  decode,
  descriptors: (ranges) => canonical(ranges).map(({ count }) => count * PAGE_BYTES),
  work,
};
