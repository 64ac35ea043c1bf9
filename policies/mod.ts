/**
 * The registry of policies: one file a design, one line here.
 *
 * @module
 */
import type { PolicyPlugin } from "../sim/guest/plugin.ts";
import { freePageReporting } from "./free_page_reporting.ts";
import { none } from "./none.ts";
import { perOrder } from "./per_order.ts";
import { singleBatch } from "./single_batch.ts";

/** All policies, in the order in which they are listed. */
export const policies: readonly PolicyPlugin[] = [
  none,
  perOrder,
  singleBatch,
  freePageReporting,
];
