/**
 * One suite for every registered encoding. It asks the encoding itself which ranges it accepts, so a new encoding is
 * covered by its entry in sim/abi/mod.ts alone.
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import type { Encoding } from "../../sim/abi/encoding.ts";
import type { MessageHead } from "../../sim/abi/mod.ts";
import { ORDER_PAGES, PAGE_SIZE, pagesOf, type Range } from "../../sim/memory/range.ts";
import { acceptedArbitrary, messageOf, NUM_RUNS, subjects, wildRange } from "./subjects.ts";

/** Encodings whose sender takes more memory than it sends: v3 clears whole bitmaps. */
const CLEARS_WHOLE_BITMAPS: readonly string[] = ["v3-bitmap"];

/** What arrives is an error sentence, or something that the encoder would have written the same way. */
function assertCanonicalBytes(encoding: Encoding, bytes: Uint8Array): boolean {
  let ranges: Range[] | undefined;
  const message = messageOf(() => ranges = encoding.decode(bytes));
  if (message !== undefined) assert.match(message, /^Cannot decode \S+ at byte \d+: .*[^.]$/);
  else assert.deepEqual(encoding.encode(ranges!, encoding.decodeHead?.(bytes)), bytes);
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
        const touched = CLEARS_WHOLE_BITMAPS.includes(encoding.name) ? allocBytes : bytes;
        assert(touched >= bytes);
        assert.equal(allocBytes, encoding.inRing ? 0 : touched);
        assert.equal(cacheLines, Math.ceil(touched / 64));
        assert.equal(words, Math.ceil(touched / 8));
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

  Deno.test(`${title}: an empty list is a header, where there is one, and no records`, () => {
    const bytes = encoding.headBytes ?? 0;
    assert.equal(encoding.sizeOf([]), bytes);
    assert.equal(encoding.encode([]).length, bytes);
    assert.deepEqual(encoding.decode(encoding.encode([])), []);
    assert.deepEqual(encoding.canonical([]), []);
    const [words, cacheLines] = [bytes / 8, Math.ceil(bytes / 64)];
    assert.deepEqual(encoding.work([]), { records: 0, words, cacheLines, allocBytes: bytes });
  });

  Deno.test(`${title}: the buffers of a message are its bytes, or the memory that it speaks of`, () => {
    const { descriptors, inRing } = encoding;
    if (descriptors === undefined) return;
    fc.assert(
      fc.property(accepted, (ranges) => {
        const lengths = descriptors(ranges);
        const wanted = inRing ? pagesOf(ranges) * PAGE_SIZE : encoding.sizeOf(ranges);
        assert.equal(lengths.reduce((sum, length) => sum + length, 0), wanted);
        if (inRing) assert.deepEqual(lengths, encoding.canonical(ranges).map(({ count }) => count * PAGE_SIZE));
        else assert.equal(lengths[0], encoding.headBytes);
      }),
      { numRuns: NUM_RUNS },
    );
  });

  Deno.test(`${title}: a header comes back as it was given, and changes nothing else`, () => {
    const { decodeHead, headBytes = 0 } = encoding;
    assert.equal(decodeHead === undefined, headBytes === 0);
    const fields = { cmd: fc.nat(255), flag: fc.nat(255), id: fc.nat(65_535) };
    const heads = fc.record(fields, { noNullPrototype: true });
    fc.assert(
      fc.property(accepted, heads, (ranges, head: MessageHead) => {
        const bytes = encoding.encode(ranges, head);
        const plain = encoding.encode(ranges);
        assert.deepEqual(bytes.slice(headBytes), plain.slice(headBytes));
        if (decodeHead === undefined) return;
        assert.deepEqual(decodeHead(bytes), head);
        assert.deepEqual(decodeHead(plain), { cmd: 0, flag: 0, id: 0 });
        assert.deepEqual(encoding.decode(bytes), encoding.canonical(ranges));
      }),
    );
    if (headBytes === 0) return;
    for (const field of ["cmd", "flag", "id"]) {
      for (const value of [-1, 0.5, NaN, Infinity]) {
        const head = { cmd: 0, flag: 0, id: 0, [field]: value };
        assert.match(
          messageOf(() => encoding.encode([], head))!,
          new RegExp(`^Cannot encode ${field} ${value} in a header`),
        );
      }
    }
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
    assert.equal(Math.ceil(sizeOf(ranges) / 8) <= work(ranges).words, true);
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
