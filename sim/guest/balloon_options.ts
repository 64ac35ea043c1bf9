/** The options that balloons have in common. */
import { z } from "zod";
import { choice, duration, durationSchema, type Field, field, flag, integer, sizeSchema } from "../core/options.ts";
import type { HostAction } from "../host/host.ts";

/** How large the host wants the balloon from some time on. */
export interface BalloonTarget {
  /** From when on, ns after the start of the guest. */
  readonly at: number;
  /** Memory in the balloon, bytes. */
  readonly size: number;
}

/** Options of a balloon. */
export interface BalloonOptions {
  /** Its size at certain times, ascending. */
  readonly target: readonly BalloonTarget[];
  /** What the host may do. */
  readonly action: HostAction;
  /** Most blocks of one round. */
  readonly batch: number;
  /** Whether neighbours of a round are joined. */
  readonly merge: "none" | "sorted";
  /** Whether it gives memory back when an allocation fails. */
  readonly deflateOnOom: boolean;
  /** How long it sleeps when nothing is left, ns. */
  readonly retry: number;
}

const targetSchema = z.array(z.strictObject({ at: durationSchema(), size: sizeSchema() })).superRefine(
  (targets, context) => {
    for (let index = 1; index < targets.length; index++) {
      if (targets[index].at > targets[index - 1].at) continue;
      context.addIssue({ code: "custom", message: "the times are not ascending", path: [index, "at"] });
      return;
    }
  },
);

/** The fields of {@link BalloonOptions}. */
export const BALLOON_FIELDS: { readonly [name in keyof BalloonOptions]: Field<BalloonOptions[name]> } = {
  target: field<readonly BalloonTarget[]>(targetSchema, [{ at: "1s", size: "64MiB" }], {
    summary: "memory in the balloon from some times on: [{at: 1s, size: 7GiB}, {at: 20s, size: 0}]; whole blocks count",
    unit: "bytes",
    source: "num_pages of the configuration space, QEMU's `balloon` command",
  }),
  action: choice<HostAction>("reclaim", ["reclaim", "skip"], {
    summary: "what the host may do with a page in the balloon",
    source: "QEMU virtio_balloon_handle_output: discard",
  }),
  batch: integer(256, 1, 2 ** 31 - 1, {
    summary: "most blocks of one round; the sets of 2016 took the whole request at once",
    unit: "blocks",
    source: "VIRTIO_BALLOON_ARRAY_PFNS_MAX",
  }),
  merge: choice<"none" | "sorted">("none", ["none", "sorted"], {
    summary: "tell of each block, or sort those of a round and join neighbours, for encodings of ranges",
    source: "none: fill_balloon; sorted: Wei Wang, VIRTIO_BALLOON_F_SG, 2017",
  }),
  deflateOnOom: flag(false, {
    summary: "give 256 pages back when an allocation fails; nobody takes them again before the target changes",
    source: "VIRTIO_BALLOON_F_DEFLATE_ON_OOM, virtio_balloon_oom_notify",
  }),
  retry: duration(
    "200ms",
    { summary: "sleep when nothing is left to take", source: "fill_balloon, msleep(200)" },
    1000,
  ),
};
