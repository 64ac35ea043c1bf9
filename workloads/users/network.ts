/** Network buffers: atomic allocations of higher orders that live for milliseconds. */
import { fraction, type Options } from "../../sim/core/options.ts";
import { UNMOVABLE } from "../../sim/guest/allocator.ts";
import { OpFlag } from "../../sim/guest/operations.ts";
import { PAGE_SIZE } from "../../sim/memory/range.ts";
import { type Lifetime, lifetimeField, meanPages, ordersField, type Weights } from "../distribution_options.ts";
import { arrivals } from "./arrivals.ts";
import { type UserKind, userKind } from "./user.ts";

/** Options of network buffers. */
export interface NetworkOptions {
  /** Buffers a second. */
  readonly rate: number;
  /** How long one lives, ns. */
  readonly lifetime: Lifetime;
  /** Orders. */
  readonly orders: Weights;
}

const options: Options<NetworkOptions> = {
  fields: {
    rate: fraction(1000, 0.001, 1e7, { summary: "buffers a second" }),
    lifetime: lifetimeField("5ms"),
    orders: ordersField({ 0: 30, 1: 10, 3: 60 }),
  },
};

/** The kind. */
export const network: UserKind = userKind<NetworkOptions>({
  kind: "network",
  summary: "network buffers: atomic, of higher orders, for milliseconds",
  source: "net/core/skbuff.c, mm/page_alloc.c page_frag_alloc (order 3)",
  options,
  create: (context, settings) =>
    arrivals(context, "network", {
      ...settings,
      rate: settings.rate * meanPages(settings.orders) * PAGE_SIZE,
      start: { bytes: 0, share: 0 },
      migratetype: UNMOVABLE,
      flags: OpFlag.atomic,
    }),
});
