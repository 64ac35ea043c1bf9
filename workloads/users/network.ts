/**
 * Network buffers: atomic allocations of higher orders that live for milliseconds. Where there is no block of their order they are
 * made of smaller ones, down to single pages (`alloc_skb_with_frags`; that of 6.1 goes on with single pages at once).
 */
import { fraction, type Options } from "../../sim/core/options.ts";
import { UNMOVABLE } from "../../sim/guest/allocator.ts";
import { OpFlag } from "../../sim/guest/operations.ts";
import { PAGE_SIZE } from "../../sim/memory/range.ts";
import { type Lifetime, lifetimeField, meanPages, ordersField, type Weights } from "../distribution_options.ts";
import { arrivals } from "./arrivals.ts";
import { type UserKind, userKind } from "./user.ts";

/** Buffers are no larger than 32 KiB (include/net/sock.h SKB_FRAG_PAGE_ORDER). */
const SKB_ORDER_MAX = 3;

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
    orders: ordersField({ 0: 30, 1: 10, 3: 60 }, SKB_ORDER_MAX),
  },
};

/** The kind. */
export const network: UserKind = userKind<NetworkOptions>({
  kind: "network",
  summary: "network buffers: atomic, of higher orders, for milliseconds",
  source: "net/core/skbuff.c alloc_skb_with_frags, net/core/sock.c skb_page_frag_refill (order 3)",
  options,
  create: (context, settings) =>
    arrivals(context, "network", {
      ...settings,
      rate: settings.rate * meanPages(settings.orders) * PAGE_SIZE,
      start: { bytes: 0, share: 0 },
      migratetype: UNMOVABLE,
      flags: OpFlag.atomic | OpFlag.fallback,
    }),
});
