/**
 * The serialised form of xarrays of bitmaps: a linked list of pages, each with entries of one order
 * (kernel/kexec_handover.c, `struct khoser_mem_chunk`).
 */
import type { Operations } from "../memory/page_set.ts";
import { PAGE_SIZE } from "../memory/range.ts";
import { Frames, hex, Image, type ImagePage } from "./tracker_memory.ts";
import { visitBits } from "./tracker_bitmaps.ts";
import { type Handover, ORDER_MAX, type Preserved } from "./tracker.ts";
import type { Serialize } from "./xarray_tracker.ts";

/** Header of a chunk: next 8, order 4, num_elms 4. */
const HEADER_BYTES = 16;
/** Entry: phys_start 8, bitmap 8. */
const ENTRY_BYTES = 16;
/** 255 (an often-read document says 508). */
const CHUNK_ENTRIES = (PAGE_SIZE - HEADER_BYTES) / ENTRY_BYTES;

/** Composes the chunks (`kho_mem_serialize`): a new one for each order, and when one is full. */
export const serializeChunks: Serialize = (bitmaps, allocate, operations) => {
  const chunks = new Frames(allocate);
  let last = { order: -1, entries: 0 };
  for (const { order, pfn, address } of bitmaps) {
    if (order !== last.order || last.entries === CHUNK_ENTRIES) {
      const chunk = chunks.add();
      operations.allocations++;
      operations.writes += 2;
      if (chunk > 0) chunks.setWord64(chunk - 1, 0, chunks.pfnOf(chunk) * PAGE_SIZE);
      chunks.setWord32(chunk, 8, order);
      last = { order, entries: 0 };
    }
    const chunk = chunks.count - 1;
    const byte = HEADER_BYTES + ENTRY_BYTES * last.entries++;
    chunks.setWord64(chunk, byte, pfn * PAGE_SIZE);
    chunks.setWord64(chunk, byte + 8, address);
    chunks.setWord32(chunk, 12, last.entries);
    operations.writes += 3;
  }
  return {
    pages: chunks.pages(),
    terms: [{ what: `chunk pages of ${CHUNK_ENTRIES} entries`, count: chunks.count, bytesEach: PAGE_SIZE }],
    rootPfn: chunks.count === 0 ? 0 : chunks.pfnOf(0),
  };
};

/** The next kernel's walk over the chunks (`kho_mem_deserialize`); looks at chunks, entries and 64-bit words of bitmaps. */
export function walkChunks(handover: Handover, bitmapBytes: number, visit: Preserved, operations: Operations): void {
  if (handover.rootPfn === 0) return;
  const image = new Image(handover);
  let chunk: ImagePage | undefined = image.root(handover.rootPfn);
  while (chunk !== undefined) {
    const order = chunk.word32(8);
    if (order > ORDER_MAX) throw chunk.corrupt(8, `order ${order} is more than ${ORDER_MAX}`);
    const entries = chunk.word32(12);
    if (entries < 1 || entries > CHUNK_ENTRIES) {
      throw chunk.corrupt(12, `${entries} entries: a chunk has 1 to ${CHUNK_ENTRIES}`);
    }
    operations.visits += 1 + entries;
    for (let entry = 0; entry < entries; entry++) {
      const byte = HEADER_BYTES + ENTRY_BYTES * entry;
      operations.visits += walkBitmap(image, chunk, byte, byte + 8, order, bitmapBytes, visit);
    }
    chunk = chunk.word64(0) === 0 ? undefined : image.enter(chunk, 0);
  }
}

/** Walks a bitmap: the address of its first folio is at `startByte`, the pointer to its bits at `pointerByte`. */
export function walkBitmap(
  image: Image,
  page: ImagePage,
  startByte: number,
  pointerByte: number,
  order: number,
  bitmapBytes: number,
  visit: Preserved,
): number {
  const start = page.word64(startByte);
  const covered = 8 * bitmapBytes * 2 ** order * PAGE_SIZE;
  if (start % covered !== 0 || start >= 2 ** ORDER_MAX * PAGE_SIZE) {
    throw page.corrupt(startByte, `no bitmap of order ${order} starts at address ${hex(start)}`);
  }
  const [bits, byte] = image.follow(page, pointerByte, bitmapBytes);
  return visitBits(bits, byte, 8 * bitmapBytes, start / PAGE_SIZE, order, visit);
}
