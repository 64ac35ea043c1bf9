/**
 * The registry of policies: one file a design, one line here.
 *
 * @module
 */
import type { PolicyPlugin } from "../sim/guest/plugin.ts";
import { bitmapWindows } from "./bitmap_windows.ts";
import { balloon } from "./balloon.ts";
import { balloonHuge } from "./balloon_huge.ts";
import { freePageHinting } from "./free_page_hinting.ts";
import { freePageReporting } from "./free_page_reporting.ts";
import { none } from "./none.ts";
import { oracle } from "./oracle.ts";
import { oracleFuture } from "./oracle_future.ts";
import { pageHinting } from "./page_hinting.ts";
import { pageHintingBoundary } from "./page_hinting_boundary.ts";
import { perOrder } from "./per_order.ts";
import { singleBatch } from "./single_batch.ts";
import { singlePassHybrid } from "./single_pass_hybrid.ts";
import { spillBatch } from "./spill_batch.ts";

/** All policies, in the order in which they are listed. */
export const policies: readonly PolicyPlugin[] = [
  none,
  bitmapWindows,
  perOrder,
  spillBatch,
  singleBatch,
  singlePassHybrid,
  pageHinting,
  pageHintingBoundary,
  freePageReporting,
  freePageHinting,
  balloon,
  balloonHuge,
  oracle,
  oracleFuture,
];
