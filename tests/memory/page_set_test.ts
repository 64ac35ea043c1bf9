import assert from "node:assert/strict";
import fc from "fast-check";
import { appendBitmap, type Run, setBits } from "../../sim/memory/bit_runs.ts";
import type { PageSet } from "../../sim/memory/page_set.ts";
import { BitmapSet } from "../../sim/memory/page_set_bitmap.ts";
import { RunSet } from "../../sim/memory/page_set_runs.ts";
import type { Range } from "../../sim/memory/range.ts";

const SLOW = Deno.env.get("HINTSIM_TIER") === "slow";

/** Pages of the sets, more than one window of a bitmap's ranges. */
const PAGES = 2 ** 18 + 4096;

const SETS: readonly (readonly [name: string, make: () => PageSet])[] = [
  ["runs", () => new RunSet()],
  ["bitmap", () => new BitmapSet(PAGES)],
];

interface Change {
  readonly adds: boolean;
  readonly pfn: number;
  readonly count: number;
}

/** Pages near the borders of words, blocks and windows, and of each other. */
const changes: fc.Arbitrary<Change> = fc.record({
  adds: fc.boolean(),
  pfn: fc.oneof(
    fc.nat(200),
    fc.integer({ min: 480, max: 1100 }),
    fc.integer({ min: 2 ** 18 - 300, max: 2 ** 18 + 300 }),
  ),
  count: fc.oneof(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 700 })),
});

/** The maximal runs of numbers. */
function runsOf(pages: ReadonlySet<number>): Range[] {
  const runs: { pfn: number; count: number }[] = [];
  for (const pfn of [...pages].sort((a, b) => a - b)) {
    const last = runs.at(-1);
    if (last !== undefined && last.pfn + last.count === pfn) last.count++;
    else runs.push({ pfn, count: 1 });
  }
  return runs;
}

for (const [name, make] of SETS) {
  Deno.test(`${name}: a page set is a set of numbers`, () => {
    fc.assert(
      fc.property(fc.array(changes, { maxLength: 60 }), (list) => {
        const [set, numbers] = [make(), new Set<number>()];
        for (const { adds, pfn, count } of list) {
          const before = numbers.size;
          for (let page = pfn; page < pfn + count; page++) {
            if (adds) numbers.add(page);
            else numbers.delete(page);
          }
          const changed = adds ? set.add(pfn, count) : set.remove(pfn, count);
          assert.equal(changed, Math.abs(numbers.size - before));
          assert.equal(set.count, numbers.size);
          for (const page of [pfn, pfn + count - 1, pfn + count]) assert.equal(set.contains(page), numbers.has(page));
        }
        assert.deepEqual([...set.ranges()], runsOf(numbers));
      }),
      { seed: 6, numRuns: SLOW ? 3000 : 100 },
    );
  });

  Deno.test(`${name}: work only grows, bytes are not negative and come back`, () => {
    const set = make();
    const { bytes } = set;
    for (let pfn = 0; pfn < 1000; pfn += 100) {
      const { visits, writes } = set.operations;
      set.add(pfn, 50);
      assert.ok(set.operations.visits >= visits && set.operations.writes > writes);
    }
    assert.equal(set.count, 500);
    set.remove(0, 1000);
    assert.equal(set.count, 0);
    assert.deepEqual([...set.ranges()], []);
    // Of the bitmap pages 512 to 999 are a block that was not cleared at once: its 64 bytes of bits stay. Ten runs fit into the
    // columns as they were.
    assert.equal(set.bytes, name === "bitmap" ? bytes + 64 : bytes);
  });
}

Deno.test("runs go beyond 2^31 pages", () => {
  const set = new RunSet();
  set.add(2 ** 40 - 3, 2);
  set.add(2 ** 40 - 1, 1);
  assert.deepEqual([...set.ranges()], [{ pfn: 2 ** 40 - 3, count: 3 }]);
  assert.ok(!set.contains(2 ** 40 - 4));
});

Deno.test("bits that are set are the runs that are found", () => {
  const bits = fc.array(fc.tuple(fc.nat(250), fc.integer({ min: 1, max: 70 })), { maxLength: 8 });
  fc.assert(
    fc.property(bits, fc.integer({ min: 1, max: 512 }), (list, unitPages) => {
      const [bytes, numbers] = [new Uint8Array(8 + 41), new Set<number>()];
      for (const [from, count] of list) {
        setBits(bytes, 8, from, from + count);
        for (let bit = from; bit < from + count; bit++) numbers.add(bit);
      }
      const runs: Run[] = [];
      const found = appendBitmap(runs, new DataView(bytes.buffer), 8, 320, 32, unitPages);
      assert.equal(found, numbers.size > 0);
      const wanted = runsOf(numbers).map(({ pfn, count }) => ({
        pfn: (32 + pfn) * unitPages,
        count: count * unitPages,
      }));
      assert.deepEqual(runs, wanted);
    }),
    { seed: 6, numRuns: 200 },
  );
});
