/** A population from the options that several kinds of users share. */
import {
  type Lifetime,
  meanPages,
  orderDistribution,
  shapedDistribution,
  type Weights,
} from "../distribution_options.ts";
import { PAGE_SIZE } from "../../sim/memory/range.ts";
import { type Amount, amountPages } from "./amounts.ts";
import { Population } from "./population.ts";
import type { UserContext } from "./user.ts";

/** What a population is told. */
export interface Arrivals {
  /** Memory of the whole guest at once at the start. */
  readonly start: Amount;
  /** Bytes of the whole guest a second. */
  readonly rate: number;
  /** Lifetimes. */
  readonly lifetime: Lifetime;
  /** Orders. */
  readonly orders: Weights;
  /** Migratetype. */
  readonly migratetype: number;
  /** Flags of the allocations; none unless told. */
  readonly flags?: number;
}

/** The part of a population that falls to one CPU. */
export function arrivals(context: UserContext, name: string, settings: Arrivals): Population {
  const { rate, orders, start, lifetime, migratetype, flags = 0 } = settings;
  return new Population({
    random: context.random(name),
    orders: orderDistribution(orders),
    migratetype,
    flags,
    lifetimes: shapedDistribution(lifetime),
    startPages: amountPages(start, context.memoryPages) / context.cpus,
    gapNs: rate > 0 ? 1e9 * meanPages(orders) * PAGE_SIZE * context.cpus / rate : Infinity,
  });
}
