/** Options that users of memory share: amounts, sizes by distribution, rates. */
import { z } from "zod";
import type { Distribution } from "../../sim/core/distributions.ts";
import { type Field, field, sizeSchema } from "../../sim/core/options.ts";
import { PAGE_SIZE } from "../../sim/memory/range.ts";
import { type Shaped, shapedDistribution, shapedSchema } from "../distribution_options.ts";

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
export type Amounts = Shaped<Amount>;

const amountsSchema = shapedSchema(amountSchema);

/** Amounts by distribution. */
export function amountsField(distribution: Amounts["distribution"], mean: string, summary: string): Field<Amounts> {
  return field(amountsSchema, { distribution, mean }, {
    summary: `${summary}: {distribution: exponential|pareto|uniform|constant, mean: 64MiB, alpha: 1.5}`,
    unit: "bytes",
  });
}

/** The distribution of pages that an option describes; at least one page is for the caller to see to. */
export function amountsDistribution(amounts: Amounts, memoryPages: number): Distribution {
  return shapedDistribution({ ...amounts, mean: Math.max(1, amountPages(amounts.mean, memoryPages)) });
}

/** The part of a whole number of things that falls to one of `cpus` CPUs: what does not divide goes to the first ones. */
export function shareOf(total: number, cpu: number, cpus: number): number {
  return Math.floor(total / cpus) + (cpu < total % cpus ? 1 : 0);
}
