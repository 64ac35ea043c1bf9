/**
 * A balloon of 2 MiB blocks, as the authors of HyperAlloc built it to compare with (luhsra/hyperalloc-bench, EuroSys 2025):
 * the classic driver with blocks of order 9. An encoding of ranges says a block in one record; `pfn-list` needs 512 entries.
 */
import type { Options } from "../sim/core/options.ts";
import { PAGEBLOCK_ORDER } from "../sim/guest/allocator.ts";
import { Balloon } from "../sim/guest/balloon.ts";
import { BALLOON_FIELDS, type BalloonOptions } from "../sim/guest/balloon_options.ts";
import { type PolicyPlugin, policyPlugin } from "../sim/guest/plugin.ts";

const options: Options<BalloonOptions> = { fields: BALLOON_FIELDS };

/** The plug-in. */
export const balloonHuge: PolicyPlugin = policyPlugin({
  name: "balloon-huge",
  summary: "the host sets the size of a balloon, the guest fills it with blocks of 2 MiB, 256 a message",
  source: "HyperAlloc artifact (luhsra/hyperalloc-qemu ab72a8a); the 256 blocks of a message are assumed",
  options,
  queue: "inflate",
  create: (context, { merge, ...settings }) =>
    new Balloon(context, { ...settings, order: PAGEBLOCK_ORDER, highestFirst: false, sorted: merge === "sorted" }),
});
