/** Xarrays of bitmaps of 512 bytes, as merged. */
import type { TrackerPlugin } from "./tracker.ts";
import { serializeChunks, walkChunks } from "./xarray_chunks.ts";
import { XarrayTracker } from "./xarray_tracker.ts";

const BITMAP_BYTES = 512;

/** 4096 folios a bitmap: 16 MiB of order 0, 8 GiB of order 9, 4 TiB of 1 GiB folios. */
export const xarrayBitmaps512: TrackerPlugin = {
  name: "xarray-bitmaps-512",
  summary: "xarray of orders, xarrays of bitmaps of 512 bytes; serialised into a list of chunk pages",
  source: "Linux 6.16 kernel/kexec_handover.c, commit fc33e4b44b27",
  remembers: "folios",
  create: (allocate, options) =>
    new XarrayTracker({ bitmapBytes: BITMAP_BYTES, serialize: serializeChunks, missing: "loop" }, allocate, options),
  walk: (handover, visit, operations) => walkChunks(handover, BITMAP_BYTES, visit, operations),
};
