/**
 * One suite for every registered encoding. It asks the encoding itself which ranges it accepts, so a new encoding is
 * covered by its entry in sim/abi/mod.ts alone.
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import { granulePages } from "../../sim/abi/bitmap.ts";
import type { Encoding } from "../../sim/abi/encoding.ts";
import { encodings } from "../../sim/abi/mod.ts";
import { ORDER_PAGES, type Range } from "../../sim/memory/range.ts";

const NUM_RUNS = 1000;

interface Subject {
  readonly title: string;
  readonly encoding: Encoding;
  /** Pages in the smallest range it accepts. */
  readonly unitPages: number;
  /** The largest number of bits such that page 2^bits - 1 can be said (with the whole unit that ends there). */
  readonly pfnBits: number;
}

function subjectOf(title: string, encoding: Encoding): Subject {
  const accepts = (pfn: number, count: number) => encoding.error({ pfn, count }) === undefined;
  const unitPages = ORDER_PAGES.find((count) => accepts(0, count));
  assert(unitPages !== undefined, `${title} accepts no range at page 0`);
  const pfnBits = ORDER_PAGES.findLastIndex((end) => end >= unitPages && accepts(end - unitPages, unitPages));
  return { title, encoding, unitPages, pfnBits };
}

const subjects: Subject[] = encodings.flatMap(({ name, create, optionNames }) =>
  optionNames.includes("granule")
    ? Object.keys(granulePages).map((granule) => subjectOf(`${name} ${granule}`, create({ granule })))
    : [subjectOf(name, create({}))]
);

/** Small numbers, and numbers around each power of two where a 32-bit or a 53-bit slip would show. */
function pfnArbitrary(units: number): fc.Arbitrary<number> {
  const edges = [15, 31, 32, 40].map((bits) => ORDER_PAGES[bits]).filter((edge) => edge < units);
  const around = [...edges, units].map((edge) => fc.integer({ min: Math.max(0, edge - 300), max: edge - 1 }));
  const above = edges.map((edge) => fc.integer({ min: edge, max: Math.min(edge + 300, units - 1) }));
  return fc.oneof({ arbitrary: fc.nat(300), weight: 3 }, fc.nat(Math.min(100_000, units - 1)), ...around, ...above);
}

/** A list of ranges that the encoding accepts, in any order, with overlaps, that fits into one message. */
function acceptedArbitrary({ encoding, unitPages, pfnBits }: Subject): fc.Arbitrary<Range[]> {
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
const wildRange: fc.Arbitrary<Range> = fc.record({
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

function messageOf(act: () => unknown): string | undefined {
  try {
    act();
  } catch (error) {
    assert(error instanceof RangeError, `wanted a RangeError, not ${error}`);
    return error.message;
  }
  return undefined;
}

/** What arrives is an error sentence, or something that the encoder would have written the same way. */
function assertCanonicalBytes(encoding: Encoding, bytes: Uint8Array): boolean {
  let ranges: Range[] | undefined;
  const message = messageOf(() => ranges = encoding.decode(bytes));
  if (message !== undefined) assert.match(message, /^Cannot decode \S+ at byte \d+: .*[^.]$/);
  else assert.deepEqual(encoding.encode(ranges!), bytes);
  return message === undefined;
}

for (const subject of subjects) {
  const { title, encoding, unitPages, pfnBits } = subject;
  const accepted = acceptedArbitrary(subject);

  Deno.test(`${title}: decode(encode(x)) equals canonical(x)`, () => {
    fc.assert(
      fc.property(accepted, (ranges) => {
        assert.deepEqual(encoding.decode(encoding.encode(ranges)), encoding.canonical(ranges));
      }),
      { numRuns: NUM_RUNS },
    );
  });

  Deno.test(`${title}: encode(x).length equals sizeOf(x), within messageMax`, () => {
    fc.assert(
      fc.property(accepted, (ranges) => {
        assert.equal(encoding.encode(ranges).length, encoding.sizeOf(ranges));
        assert(encoding.sizeOf(ranges) <= encoding.messageMax);
      }),
      { numRuns: NUM_RUNS },
    );
  });

  Deno.test(`${title}: canonical covers the same pages and is its own canonical form`, () => {
    fc.assert(
      fc.property(accepted, (ranges) => {
        const canonical = encoding.canonical(ranges);
        assert.deepEqual(encoding.canonical(canonical), canonical);
        assert.deepEqual(coverOf(canonical), coverOf(ranges));
        for (const range of canonical) assert.equal(encoding.error(range), undefined);
      }),
      { numRuns: NUM_RUNS },
    );
  });

  Deno.test(`${title}: work agrees with the payload`, () => {
    fc.assert(
      fc.property(accepted, (ranges) => {
        const { records, words, cacheLines, allocBytes } = encoding.work(ranges);
        const bytes = encoding.sizeOf(ranges);
        assert.equal(allocBytes, bytes);
        assert.equal(cacheLines, Math.ceil(bytes / 64));
        assert.equal(words, Math.ceil(bytes / 8));
        assert(ranges.length === 0 ? records === 0 : records >= 1);
      }),
      { numRuns: NUM_RUNS },
    );
  });

  Deno.test(`${title}: encode throws exactly on a range that error refuses and on a message above messageMax`, () => {
    fc.assert(
      fc.property(wildRange, (range) => {
        const why = encoding.error(range);
        const message = messageOf(() => encoding.encode([range]));
        if (why !== undefined) {
          assert.equal(message, `Cannot encode range 0 as ${encoding.name}: ${why}`);
          assert.match(why, /[^.]$/);
        } else assert.equal(message !== undefined, encoding.sizeOf([range]) > encoding.messageMax);
      }),
      { numRuns: NUM_RUNS },
    );
  });

  Deno.test(`${title}: decode takes a spoilt message for an error or for what the encoder writes`, () => {
    const spoilt = fc.tuple(accepted, fc.nat(), fc.nat(255), fc.nat(20)).map(([ranges, at, byte, cut]) => {
      const bytes = encoding.encode(ranges);
      if (bytes.length > 0) bytes[at % bytes.length] = byte;
      return bytes.slice(0, cut === 1 ? at % (bytes.length + 1) : bytes.length);
    });
    fc.assert(fc.property(spoilt, (bytes) => void assertCanonicalBytes(encoding, bytes)), { numRuns: NUM_RUNS });
  });

  Deno.test(`${title}: decode takes random bytes for an error or for what the encoder writes`, () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => void assertCanonicalBytes(encoding, bytes)),
      { numRuns: NUM_RUNS },
    );
  });

  Deno.test(`${title}: an empty list is an empty message and no work`, () => {
    assert.equal(encoding.sizeOf([]), 0);
    assert.deepEqual(encoding.encode([]), new Uint8Array());
    assert.deepEqual(encoding.decode(new Uint8Array()), []);
    assert.deepEqual(encoding.canonical([]), []);
    assert.deepEqual(encoding.work([]), { records: 0, words: 0, cacheLines: 0, allocBytes: 0 });
  });

  Deno.test(`${title}: the last page that it can say survives, the next one is refused`, () => {
    const end = ORDER_PAGES[pfnBits];
    const last = [{ pfn: end - unitPages, count: unitPages }];
    assert.deepEqual(encoding.decode(encoding.encode(last)), last);
    assert.match(encoding.error({ pfn: end, count: unitPages })!, /limit of 2\^\d+ pages$/);
    assert.match(encoding.error({ pfn: end - unitPages, count: 2 * unitPages })!, /limit of 2\^\d+ pages$/);
  });

  Deno.test(`${title}: decode reads only its part of a bigger buffer, and nothing changes its input`, () => {
    const ranges = Object.freeze([Object.freeze({ pfn: 3 * unitPages, count: 2 * unitPages })]);
    const bytes = encoding.encode(ranges);
    const buffer = new Uint8Array(bytes.length + 20).fill(0xaa);
    buffer.set(bytes, 7);
    assert.deepEqual(encoding.decode(buffer.subarray(7, 7 + bytes.length)), encoding.canonical(ranges));
    assert.deepEqual(buffer.subarray(7, 7 + bytes.length), bytes);
    assert.notEqual(encoding.canonical(ranges)[0], ranges[0], "canonical hands out objects of its own");
  });

  Deno.test(`${title}: the methods work without their object`, () => {
    const { encode, decode, canonical, sizeOf, work, error } = encoding;
    const ranges = [{ pfn: 0, count: unitPages }];
    assert.equal(error(ranges[0]), undefined);
    assert.deepEqual(decode(encode(ranges)), canonical(ranges));
    assert.equal(sizeOf(ranges), work(ranges).allocBytes);
  });
}

/** The pages as sorted runs of [first, end), computed from the ends alone: not with the code under test. */
function coverOf(ranges: readonly Range[]): [number, number][] {
  const steps = ranges.flatMap(({ pfn, count }): [number, number][] => [[pfn, 1], [pfn + count, -1]]);
  // At one place starts come before ends, so that touching ranges are one run.
  steps.sort((a, b) => a[0] - b[0] || b[1] - a[1]);
  const runs: [number, number][] = [];
  let depth = 0;
  for (const [pfn, step] of steps) {
    if (depth === 0) runs.push([pfn, pfn]);
    depth += step;
    if (depth === 0) runs[runs.length - 1][1] = pfn;
  }
  return runs;
}
