/** Xarrays of bitmaps of a page, of late 2025. */
import { PAGE_SIZE } from "../memory/range.ts";
import type { TrackerPlugin } from "./tracker.ts";
import { serializeChunks, walkChunks } from "./xarray_chunks.ts";
import { XarrayTracker } from "./xarray_tracker.ts";

/** 32,768 folios a bitmap: 128 MiB of order 0, 64 GiB of order 9, 32 TiB of 1 GiB folios (the source says "8TB fits"). */
export const xarrayBitmapsPage: TrackerPlugin = {
  name: "xarray-bitmaps-page",
  summary: "xarray of orders, xarrays of bitmaps of a page; serialised into a list of chunk pages",
  source: "kernel/kexec_handover.c of late 2025 (with KHO_PAGE_MAGIC)",
  remembers: "folios",
  create: (allocate, options) =>
    new XarrayTracker({ bitmapBytes: PAGE_SIZE, serialize: serializeChunks, missing: "WARN" }, allocate, options),
  walk: (handover, visit, operations) => walkChunks(handover, PAGE_SIZE, visit, operations),
};
