/** What the suites of encodings share: the encodings and their variants, and lists of ranges that they accept. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { granulePages } from "../../sim/abi/bitmap.ts";
import type { Encoding } from "../../sim/abi/encoding.ts";
import { type EncodingOptions, encodings } from "../../sim/abi/mod.ts";
import { ORDER_PAGES, type Range } from "../../sim/memory/range.ts";

/** Lists that each law is tried on. */
export const NUM_RUNS = 1000;

/** An encoding under test. */
export interface Subject {
  readonly title: string;
  readonly encoding: Encoding;
  /** Pages in the smallest range it accepts. */
  readonly unitPages: number;
  /** The largest number of bits such that page 2^bits - 1 can be said (with the whole unit that ends there). */
  readonly pfnBits: number;
}

/** Finds out what an encoding accepts by asking it. */
export function subjectOf(title: string, encoding: Encoding): Subject {
  const accepts = (pfn: number, count: number) => encoding.error({ pfn, count }) === undefined;
  const unitPages = ORDER_PAGES.find((count) => accepts(0, count));
  assert(unitPages !== undefined, `${title} accepts no range at page 0`);
  const pfnBits = ORDER_PAGES.findLastIndex((end) => end >= unitPages && accepts(end - unitPages, unitPages));
  return { title, encoding, unitPages, pfnBits };
}

/** The variants of an encoding that say what they are given; the posted bugs have laws of their own (posted_test.ts). */
function variantsOf(optionNames: readonly string[]): EncodingOptions[] {
  if (optionNames.includes("granule")) return Object.keys(granulePages).map((granule) => ({ granule }));
  if (optionNames.includes("bitmaps")) return [{}, { bitmaps: 1 }, { bitmaps: 3, window: "whole" }];
  return [{}];
}

function titleOf(name: string, options: EncodingOptions): string {
  return [name, ...Object.values(options)].join(" ");
}

/** All encodings, as they say what they are given. */
export const subjects: Subject[] = encodings.flatMap(({ name, create, optionNames }) =>
  variantsOf(optionNames).map((options) => subjectOf(titleOf(name, options), create(options)))
);

/** Small numbers, and numbers around each power of two where a 32-bit or a 53-bit slip would show. */
function pfnArbitrary(units: number): fc.Arbitrary<number> {
  const edges = [15, 31, 32, 40].map((bits) => ORDER_PAGES[bits]).filter((edge) => edge < units);
  const around = [...edges, units].map((edge) => fc.integer({ min: Math.max(0, edge - 300), max: edge - 1 }));
  const above = edges.map((edge) => fc.integer({ min: edge, max: Math.min(edge + 300, units - 1) }));
  return fc.oneof({ arbitrary: fc.nat(300), weight: 3 }, fc.nat(Math.min(100_000, units - 1)), ...around, ...above);
}

/** A list of ranges that the encoding accepts, in any order, with overlaps, that fits into one message. */
export function acceptedArbitrary({ encoding, unitPages, pfnBits }: Subject): fc.Arbitrary<Range[]> {
  const units = ORDER_PAGES[Math.min(pfnBits, 40)] / unitPages;
  const counts = fc.oneof(
    { arbitrary: fc.integer({ min: 1, max: 40 }), weight: 8 },
    fc.integer({ min: 1, max: 70_000 }),
  );
  const range = fc.tuple(pfnArbitrary(units), counts).map(([pfn, count]) => ({
    pfn: pfn * unitPages,
    count: Math.min(count, units - pfn) * unitPages,
  }));
  return fc.array(range, { maxLength: 12 }).map((ranges) => fitting(encoding, ranges));
}

/** Drops what would make the message longer than it may be. */
function fitting(encoding: Encoding, ranges: readonly Range[]): Range[] {
  const taken: Range[] = [];
  for (const range of ranges) {
    taken.push(range);
    if (encoding.sizeOf(taken) > encoding.messageMax) taken.pop();
  }
  return taken;
}

/** Any two numbers at all, mostly wrong ones. */
export const wildRange: fc.Arbitrary<Range> = fc.record({
  pfn: fc.oneof(
    fc.nat(5000),
    fc.nat(9).map((granules) => granules * 1024),
    fc.constantFrom(0, 512, 1024, -1, 0.5, NaN, Infinity),
    fc.constantFrom(...[31, 32, 40, 52].flatMap((bits) => [ORDER_PAGES[bits] - 1024, ORDER_PAGES[bits]])),
    fc.maxSafeInteger(),
  ),
  count: fc.oneof(
    fc.integer({ min: 1, max: 3000 }),
    fc.integer({ min: 1, max: 9 }).map((granules) => granules * 1024),
    fc.constantFrom(0, -1, 1.5, NaN, Infinity, 1, 512, 1024, 1025, Number.MAX_SAFE_INTEGER),
  ),
});

/** The message of the RangeError that something throws, or undefined. */
export function messageOf(act: () => unknown): string | undefined {
  try {
    act();
  } catch (error) {
    assert(error instanceof RangeError, `wanted a RangeError, not ${error}`);
    return error.message;
  }
  return undefined;
}
