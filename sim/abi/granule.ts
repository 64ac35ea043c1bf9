/**
 * Granules: how much memory one bit, or one unit of a run, stands for.
 *
 * @module
 */
import type { Range } from "../memory/range.ts";
import { rangeError } from "./wire.ts";

/**
 * How much memory one bit stands for.
 *
 * @example
 * ```ts
 * import { bitmap } from "./bitmap.ts";
 * import type { Granule } from "./granule.ts";
 *
 * const granule: Granule = "4MiB";
 * if (bitmap({ granule }).error({ pfn: 1024, count: 1024 }) !== undefined) throw new Error("4 MiB at 4 MiB is aligned");
 * ```
 */
export type Granule = "4KiB" | "2MiB" | "4MiB";

/**
 * Pages of 4 KiB in each granule: order 0, order 9 (a huge page) and order 10 (the buddy allocator's largest block).
 *
 * @example
 * ```ts
 * import { granulePages } from "./granule.ts";
 *
 * if (granulePages["2MiB"] !== 512) throw new Error("a huge page has 512 pages");
 * ```
 */
export const granulePages: Readonly<Record<Granule, number>> = { "4KiB": 1, "2MiB": 512, "4MiB": 1024 };

/** Pages in a granule. Throws RangeError, naming the encoding, when there is no such granule. */
export function unitPagesOf(name: string, granule: Granule): number {
  if (Object.hasOwn(granulePages, granule)) return granulePages[granule];
  const wanted = Object.keys(granulePages).join(", ");
  throw new RangeError(`Cannot make a ${name} of granule ${granule}: wanted one of ${wanted}`);
}

/** Why a range is none of whole granules that ends within the first 2^`pfnBits` pages, or undefined. */
export function granuleError(range: Range, pfnBits: number, granule: Granule): string | undefined {
  const why = rangeError(range, pfnBits);
  if (why !== undefined) return why;
  const { pfn, count } = range;
  const unitPages = granulePages[granule];
  if (pfn % unitPages !== 0) return `pfn ${pfn} is not a multiple of ${unitPages} pages, the granule of ${granule}`;
  if (count % unitPages === 0) return undefined;
  return `count ${count} is not a multiple of ${unitPages} pages, the granule of ${granule}`;
}
