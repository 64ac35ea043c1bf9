/** V19: the arithmetic of the threads of 2016 on bitmaps and ranges, by the encodings themselves. */
import { bitmap } from "../abi/bitmap.ts";
import { pfnOrder } from "../abi/pfn_order.ts";
import { v3Bitmap } from "../abi/v3_bitmap.ts";
import { HUGE_PAGES, PAGE_SIZE, type Range } from "../memory/range.ts";
import { judged, type Validation } from "./row.ts";

const GIB = 2 ** 30;
/** Head of a window of bits, and of the 32 KiB bitmaps of v3. */
const HEAD_BYTES = 8;
const V3_HEAD_BYTES = 32;
const GRANULES = 32_768;

/** Windows that bitmaps of the third set need for so much memory. */
function windows(bitmaps: number, bytes: number): number {
  const { sizeOf, messageMax } = v3Bitmap({ bitmaps, window: "whole" });
  return (sizeOf([{ pfn: 0, count: bytes / PAGE_SIZE }]) - V3_HEAD_BYTES) / (messageMax - V3_HEAD_BYTES);
}

/** Memory in GiB that 512 records of 8 bytes say, in blocks of 2 MiB. */
function recordsOfPage(): number {
  const blocks: Range[] = [];
  while (pfnOrder.sizeOf(blocks) < PAGE_SIZE) blocks.push({ pfn: 2 * blocks.length * HUGE_PAGES, count: HUGE_PAGES });
  return blocks.length * HUGE_PAGES * PAGE_SIZE / GIB;
}

/** One granule of so many is free: how many at least, so that records take no more than bits. */
function breakEven(): number {
  for (let period = 1;; period++) {
    const free = Array.from({ length: Math.floor(GRANULES / period) }, (_, index) => ({
      pfn: index * period * HUGE_PAGES,
      count: HUGE_PAGES,
    }));
    if (pfnOrder.sizeOf(free) <= bitmap({ granule: "2MiB" }).sizeOf(free) - HEAD_BYTES) return period;
  }
}

/** The validation. */
export const v19: Validation = {
  name: "V19",
  experiment: "wire arithmetic of the threads of 2016",
  run() {
    const bitsOfGib = bitmap({ granule: "4KiB" }).sizeOf([{ pfn: 0, count: GIB / PAGE_SIZE }]) - 8 * HEAD_BYTES;
    const window = [{ pfn: 0, count: GRANULES * HUGE_PAGES }];
    const bitsOfPage = bitmap({ granule: "2MiB" }).sizeOf(window) - HEAD_BYTES === PAGE_SIZE ? GRANULES * 2 / 1024 : 0;
    const exact = (quantity: string, unit: string, simulated: number, target: number) =>
      judged(v19, { profile: "none", inputs: "the formats", quantity, unit, simulated, target, tolerance: 0 });
    return Promise.resolve([
      exact("bits of 1 GiB in 4 KiB pages (the mail said 4 GB)", "bytes", bitsOfGib, 32_768),
      exact("passes over 1 TiB with one bitmap (the mail said 256)", "passes", windows(1, 1024 * GIB), 1024),
      exact("passes over 1 TiB with 32 bitmaps", "passes", windows(32, 1024 * GIB), 32),
      exact("a data page of 2 MiB bits", "GiB", bitsOfPage, 64),
      exact("a data page of 8-byte records", "GiB", recordsOfPage(), 1),
      exact("break-even of bits and records, one free granule of", "granules", breakEven(), 64),
    ]);
  },
};
