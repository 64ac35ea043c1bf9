/** Pages that the kernel has for itself: long-lived ones, vmalloc, driver memory. Page tables and stacks come with processes. */
import { choice, type Options, size } from "../../sim/core/options.ts";
import { type Lifetime, lifetimeField, ordersField, type Weights } from "../distribution_options.ts";
import { type Amount, amountField } from "./amounts.ts";
import { RECLAIMABLE, UNMOVABLE } from "../../sim/guest/allocator.ts";
import { arrivals } from "./arrivals.ts";
import { type UserKind, userKind } from "./user.ts";

/** Options of kernel pages. */
export interface KernelPagesOptions {
  /** What it has at once. */
  readonly start: Amount;
  /** Bytes allocated a second. */
  readonly rate: number;
  /** How long a block lives, ns. */
  readonly lifetime: Lifetime;
  /** Orders. */
  readonly orders: Weights;
  /** Mobility. */
  readonly type: "unmovable" | "reclaimable";
}

const options: Options<KernelPagesOptions> = {
  fields: {
    start: amountField("32MiB", "memory at the start of the phase"),
    rate: size("0", 0, 2 ** 44, { summary: "bytes allocated a second" }),
    lifetime: lifetimeField("1h"),
    orders: ordersField({ 0: 80, 1: 10, 2: 6, 3: 4 }),
    type: choice("unmovable", ["unmovable", "reclaimable"], { summary: "mobility" }),
  },
};

/** The kind. */
export const kernelPages: UserKind = userKind<KernelPagesOptions>({
  kind: "kernel-pages",
  summary: "long-lived pages of the kernel, at the start and at a rate",
  source: "mm/page_alloc.c, mm/vmalloc.c, include/linux/gfp_types.h",
  options,
  create: (context, settings) =>
    arrivals(context, "kernel-pages", {
      ...settings,
      migratetype: settings.type === "unmovable" ? UNMOVABLE : RECLAIMABLE,
    }),
});
