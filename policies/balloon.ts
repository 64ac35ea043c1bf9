/**
 * The classic balloon (drivers/virtio/virtio_balloon.c, QEMU 7.2 hw/virtio/virtio-balloon.c): single pages, 256 page frame
 * numbers a message. Its wire is the encoding `pfn-list`; with another one its pages are said as ranges.
 *
 * The host drops what it is told of page by page. Pages are given back in the order of a stack, and only after the host's
 * answer. Pages of a balloon are not migrated: memory under a balloon page cannot be unplugged, as nothing in the simulated
 * guest compacts (`virtballoon_migratepage` would send two messages of one page each).
 */
import { choice, type Options } from "../sim/core/options.ts";
import { Balloon } from "../sim/guest/balloon.ts";
import { BALLOON_FIELDS, type BalloonOptions } from "../sim/guest/balloon_options.ts";
import { type PolicyPlugin, policyPlugin } from "../sim/guest/plugin.ts";

/** Options of the classic balloon. */
export interface ClassicBalloonOptions extends BalloonOptions {
  /** From which lists its pages come. */
  readonly acquire: "order0" | "highest-first";
}

const options: Options<ClassicBalloonOptions> = {
  fields: {
    ...BALLOON_FIELDS,
    acquire: choice<"order0" | "highest-first">("order0", ["order0", "highest-first"], {
      summary: "take single pages, or blocks as large as the round has room for and split them",
      source: "order0: balloon_page_alloc; highest-first: hintsim",
    }),
  },
};

/** The plug-in. */
export const balloon: PolicyPlugin = policyPlugin({
  name: "balloon",
  summary: "the host sets the size of a balloon, the guest fills it with single pages, 256 a message",
  source: "Linux 6.12 drivers/virtio/virtio_balloon.c",
  options,
  queue: "inflate",
  create: (context, { acquire, merge, ...settings }) =>
    new Balloon(context, {
      ...settings,
      order: 0,
      highestFirst: acquire === "highest-first",
      sorted: merge === "sorted",
    }),
});
