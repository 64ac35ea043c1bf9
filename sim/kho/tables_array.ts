/**
 * The KHO array: xarrays of bitmaps, serialised into a list of pages of pointers to entries that are kmalloc'd one by one
 * (Pratyush Yadav, [RFC PATCH 1/4] kho: introduce the KHO array and 2/4, 9 September 2025).
 */
import type { Operations } from "../memory/page_set.ts";
import { PAGE_SIZE } from "../memory/range.ts";
import { Frames, Image, type ImagePage } from "./tracker_memory.ts";
import { type Handover, ORDER_MAX, type Preserved, type TrackerPlugin } from "./tracker.ts";
import { walkBitmap } from "./xarray_chunks.ts";
import { type Serialize, XarrayTracker } from "./xarray_tracker.ts";

const BITMAP_BYTES = 512;

/** `KARR` as the source has it: KHO_ARRAY_MAGIC. */
const MAGIC = 0x4b415252;
const VERSION = 0;
/** struct kho_array: magic 4, version 2, reserved 2, first 8. */
const DESCRIPTOR_BYTES = 16;

/** struct kho_array_page: next 8, startpos 8, then pointers. */
const HEADER_BYTES = 16;
const PAGE_ENTRIES = (PAGE_SIZE - HEADER_BYTES) / 8;

/** struct khoser_mem_bitmap_ptr: phys_start 8, order 4, reserved 4, bitmap 8. */
const ENTRY_BYTES = 24;
/** kmalloc has no objects of 24 bytes: they lie in those of 32. */
const ENTRY_STRIDE = 32;
const ENTRIES_PER_PAGE = PAGE_SIZE / ENTRY_STRIDE;

/** Composes descriptor, pages of pointers and entries (`kho_mem_serialize` of the RFC). */
const serialize: Serialize = (bitmaps, allocate, operations) => {
  const [descriptor, pages, entries] = [new Frames(allocate), new Frames(allocate), new Frames(allocate)];
  descriptor.add();
  descriptor.setWord32(0, 0, MAGIC);
  descriptor.setWord32(0, 4, VERSION);
  operations.allocations++;
  operations.writes += 3;
  let position = 0;
  for (const { order, pfn, address } of bitmaps) {
    if (position % ENTRIES_PER_PAGE === 0) entries.add();
    const entry = position % ENTRIES_PER_PAGE * ENTRY_STRIDE;
    entries.setWord64(entries.count - 1, entry, pfn * PAGE_SIZE);
    entries.setWord32(entries.count - 1, entry + 8, order);
    entries.setWord64(entries.count - 1, entry + 16, address);
    if (position % PAGE_ENTRIES === 0) addPage(descriptor, pages, position, operations);
    const pointer = HEADER_BYTES + 8 * (position % PAGE_ENTRIES);
    pages.setWord64(pages.count - 1, pointer, entries.pfnOf(entries.count - 1) * PAGE_SIZE + entry);
    operations.allocations++;
    operations.writes += 4;
    position++;
  }
  return {
    pages: [...descriptor.pages(DESCRIPTOR_BYTES), ...pages.pages(), ...entries.pages()],
    terms: [
      { what: "descriptor of the array", count: 1, bytesEach: DESCRIPTOR_BYTES },
      { what: `pages of ${PAGE_ENTRIES} pointers`, count: pages.count, bytesEach: PAGE_SIZE },
      { what: "entries", count: position, bytesEach: ENTRY_BYTES },
    ],
    rootPfn: descriptor.pfnOf(0),
  };
};

/** Adds a page of pointers that begins at a position. */
function addPage(descriptor: Frames, pages: Frames, position: number, operations: Operations): void {
  const page = pages.add();
  pages.setWord64(page, 8, position);
  const address = pages.pfnOf(page) * PAGE_SIZE;
  if (page === 0) descriptor.setWord64(0, 8, address);
  else pages.setWord64(page - 1, 0, address);
  operations.allocations++;
  operations.writes += 2;
}

/** The next kernel's walk; looks at pages, pointers, entries and 64-bit words of bitmaps. */
function walk(handover: Handover, visit: Preserved, operations: Operations): void {
  const image = new Image(handover);
  const descriptor = image.root(handover.rootPfn);
  if (descriptor.word32(0) !== MAGIC) throw descriptor.corrupt(0, "no KHO array begins here (magic)");
  if (descriptor.word32(4) !== VERSION) {
    throw descriptor.corrupt(4, `version ${descriptor.word32(4)} is not ${VERSION}`);
  }
  let page = descriptor.word64(8) === 0 ? undefined : image.enter(descriptor, 8);
  for (let position = 0; page !== undefined; position += PAGE_ENTRIES) {
    operations.visits++;
    if (page.word64(8) !== position) throw page.corrupt(8, `starts at position ${page.word64(8)}, not at ${position}`);
    for (let entry = 0; entry < PAGE_ENTRIES; entry++) {
      const byte = HEADER_BYTES + 8 * entry;
      operations.visits++;
      if (page.word64(byte) !== 0) operations.visits += walkEntry(image, page, byte, visit);
    }
    page = page.word64(0) === 0 ? undefined : image.enter(page, 0);
  }
}

/** Follows the pointer to an entry; returns what was looked at. */
function walkEntry(image: Image, from: ImagePage, pointer: number, visit: Preserved): number {
  const [page, byte] = image.follow(from, pointer, ENTRY_STRIDE);
  const order = page.word32(byte + 8);
  if (order > ORDER_MAX) throw page.corrupt(byte + 8, `order ${order} is more than ${ORDER_MAX}`);
  if (page.word32(byte + 12) !== 0) throw page.corrupt(byte + 12, "reserved bytes are not zero");
  return 1 + walkBitmap(image, page, byte, byte + 16, order, BITMAP_BYTES, visit);
}

/** The tracker is that of 6.16; the chunks are replaced. */
export const tablesBitmaps: TrackerPlugin = {
  name: "tables-bitmaps",
  summary: "xarrays of bitmaps of 512 bytes; serialised into pages of pointers to entries (KHO array)",
  source: "Pratyush Yadav, [RFC PATCH 0/4] KHO array, 9 September 2025",
  remembers: "folios",
  create: (allocate, options) =>
    new XarrayTracker({ bitmapBytes: BITMAP_BYTES, serialize, missing: "loop" }, allocate, options),
  walk,
};
