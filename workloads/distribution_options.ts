/** Options that generators share: orders, migratetypes, lifetimes and touching. */
import { z } from "zod";
import { constant, discrete, type Distribution, exponential, pareto, uniform } from "../sim/core/distributions.ts";
import { durationSchema, type Field, field } from "../sim/core/options.ts";
import { MIGRATETYPES, ORDER_MAX, PAGEBLOCK_ORDER, RECLAIMABLE } from "../sim/guest/allocator.ts";
import { ORDER_PAGES } from "../sim/memory/range.ts";

/** Orders (0 to 10) or migratetypes by name, each with its weight. */
export type Weights = Readonly<Record<string, number>>;

const weightsSchema = (names: readonly string[], what: string): z.ZodType<Weights> =>
  z.record(z.string(), z.number().min(0).max(1e9)).superRefine((weights, context) => {
    for (const name of Object.keys(weights)) {
      if (!names.includes(name)) {
        context.addIssue({
          code: "custom",
          path: [name],
          message: `${JSON.stringify(name)} is not ${what}; known are ${names.join(", ")}`,
        });
        return;
      }
    }
    if (!(Object.values(weights).reduce((sum, weight) => sum + weight, 0) > 0)) {
      context.addIssue({ code: "custom", message: "the weights do not add up to more than 0" });
    }
  });

const TYPE_NAMES = MIGRATETYPES.slice(0, RECLAIMABLE + 1);

/** The option `orders`; what is larger than `largest` is refused. */
export function ordersField(value: Weights, largest: number = ORDER_MAX): Field<Weights> {
  const names = Array.from({ length: largest + 1 }, (_, order) => String(order));
  const what = largest < ORDER_MAX ? `an order up to ${largest}` : "an order";
  return field(weightsSchema(names, what), value, {
    summary: "how often each order is asked for (weights)",
  });
}

/** The option `orders` of faults: a folio of anonymous memory is no larger than 2 MiB (THP_ORDERS_ALL_ANON, include/linux/huge_mm.h). */
export function faultOrdersField(): Field<Weights> {
  return ordersField({ 0: 1 }, PAGEBLOCK_ORDER);
}

/** The option `migratetypes`. */
export function migratetypesField(): Field<Weights> {
  return field(weightsSchema(TYPE_NAMES, "a migratetype"), { movable: 1 }, {
    summary: "how often each migratetype is asked for (weights)",
  });
}

/** A distribution of orders. */
export function orderDistribution(weights: Weights): Distribution {
  return discrete(Object.keys(weights).map(Number), Object.values(weights));
}

/** A distribution of migratetype indices. */
export function typeDistribution(weights: Weights): Distribution {
  return discrete(Object.keys(weights).map((name) => TYPE_NAMES.indexOf(name)), Object.values(weights));
}

/** Mean pages of one allocation. */
export function meanPages(weights: Weights): number {
  let pages = 0;
  let total = 0;
  for (const [order, weight] of Object.entries(weights)) {
    pages += weight * ORDER_PAGES[Number(order)];
    total += weight;
  }
  return pages / total;
}

/** A distribution by its shape and its mean. */
export interface Shaped<Mean> {
  /** Its shape. */
  readonly distribution: "exponential" | "pareto" | "uniform" | "constant";
  /** Its mean. */
  readonly mean: Mean;
  /** Shape of the Pareto distribution. */
  readonly alpha: number;
}

/** The schema of a distribution whose mean has this one. */
export function shapedSchema<Mean>(mean: z.ZodType<Mean>): z.ZodType<Shaped<Mean>> {
  return z.strictObject({
    distribution: z.enum(["exponential", "pareto", "uniform", "constant"]).default("exponential"),
    mean,
    alpha: z.number().min(1.05).max(10).default(1.5),
  }) as unknown as z.ZodType<Shaped<Mean>>;
}

/** The distribution of a shape; a uniform one goes from 0 to twice the mean. */
export function shapedDistribution({ distribution, mean, alpha }: Shaped<number>): Distribution {
  switch (distribution) {
    case "exponential":
      return exponential(mean);
    case "pareto":
      return pareto(mean, alpha);
    case "uniform":
      return uniform(0, 2 * mean);
    case "constant":
      return constant(mean);
  }
}

/** A distribution of durations, ns. */
export type Lifetime = Shaped<number>;

const lifetimeSchema = shapedSchema(durationSchema(1000, 1e15));

/** The option `lifetime`. */
export function lifetimeField(mean: string): Field<Lifetime> {
  return field(lifetimeSchema, { distribution: "exponential", mean }, {
    summary: "how long an allocation lives: {distribution: exponential|pareto|uniform|constant, mean: 10s, alpha: 1.5}",
    unit: "ns",
  });
}

/** What is written of an allocation: all, nothing, a fraction, or all of it later. */
export type Touch = "all" | "none" | "later" | number;

/** The option `touch`; `later` only where the workload comes back to a block. */
export function touchField(laterAllowed = true): Field<Touch> {
  const names = laterAllowed ? ["all", "none", "later"] : ["all", "none"];
  const schema = z.union([z.enum(names as [string]), z.number().min(0).max(1)]) as unknown as z.ZodType<Touch>;
  return field(schema, "all", {
    summary: `which pages of an allocation are written: ${names.join(", ")}, or a fraction from 0 to 1`,
  });
}

/** Pages of an allocation that are written at once. */
export function touchedPages(touch: Touch, order: number): number {
  if (touch === "none" || touch === "later") return 0;
  return touch === "all" ? ORDER_PAGES[order] : Math.round(touch * ORDER_PAGES[order]);
}
