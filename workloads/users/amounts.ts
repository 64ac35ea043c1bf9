/** Options that users of memory share: amounts, sizes by distribution, rates. */
import { z } from "zod";
import { constant, type Distribution, exponential, pareto, uniform } from "../../sim/core/distributions.ts";
import { type Field, field, sizeSchema } from "../../sim/core/options.ts";
import { PAGE_SIZE } from "../../sim/memory/range.ts";

/** An amount of memory: bytes, or a share of the guest's. */
export interface Amount {
  /** Bytes, when it is no share. */
  readonly bytes: number;
  /** Share of the guest's memory, from 0 to 1. */
  readonly share: number;
}

const SIZE = sizeSchema(0, 2 ** 44);

const amountSchema: z.ZodType<Amount> = z.unknown().transform((value, context): Amount => {
  if (typeof value === "string" && value.endsWith("%")) {
    const share = Number(value.slice(0, -1)) / 100;
    if (share >= 0 && share <= 1 && value.length > 1) return { bytes: 0, share };
    context.addIssue({ code: "custom", message: `${JSON.stringify(value)} is not a share from 0% to 100%` });
    return z.NEVER;
  }
  const result = SIZE.safeParse(value);
  if (result.success) return { bytes: result.data, share: 0 };
  context.addIssue({ code: "custom", message: result.error.issues[0].message });
  return z.NEVER;
});

/** An amount of memory: a size, or a share of the guest's memory such as `5%`. */
export function amountField(value: string | undefined, summary: string): Field<Amount> {
  return field(amountSchema, value, { summary: `${summary}: a size, or a share of memory such as 5%`, unit: "bytes" });
}

/** Pages of an amount in a guest of `memoryPages`. */
export function amountPages({ bytes, share }: Amount, memoryPages: number): number {
  return bytes / PAGE_SIZE + share * memoryPages;
}

/** Amounts by distribution. */
export interface Amounts {
  /** Shape. */
  readonly distribution: "exponential" | "pareto" | "uniform" | "constant";
  /** Mean. */
  readonly mean: Amount;
  /** Shape of the Pareto distribution. */
  readonly alpha: number;
}

const amountsSchema = z.strictObject({
  distribution: z.enum(["exponential", "pareto", "uniform", "constant"]).default("exponential"),
  mean: amountSchema,
  alpha: z.number().min(1.05).max(10).default(1.5),
}) as unknown as z.ZodType<Amounts>;

/** Amounts by distribution. */
export function amountsField(distribution: Amounts["distribution"], mean: string, summary: string): Field<Amounts> {
  return field(amountsSchema, { distribution, mean }, {
    summary: `${summary}: {distribution: exponential|pareto|uniform|constant, mean: 64MiB, alpha: 1.5}`,
    unit: "bytes",
  });
}

/** The distribution of pages that an option describes; at least one page is for the caller to see to. */
export function amountsDistribution({ distribution, mean, alpha }: Amounts, memoryPages: number): Distribution {
  const pages = Math.max(1, amountPages(mean, memoryPages));
  switch (distribution) {
    case "exponential":
      return exponential(pages);
    case "pareto":
      return pareto(pages, alpha);
    case "uniform":
      return uniform(0, 2 * pages);
    case "constant":
      return constant(pages);
  }
}

/** The part of a whole number of things that falls to one of `cpus` CPUs: what does not divide goes to the first ones. */
export function shareOf(total: number, cpu: number, cpus: number): number {
  return Math.floor(total / cpus) + (cpu < total % cpus ? 1 : 0);
}
