import assert from "node:assert/strict";
import fc from "fast-check";
import { Memblock } from "../../sim/kho/memblock.ts";
import { KhoError } from "../../sim/kho/tracker.ts";
import { NaiveMemblock } from "./naive_memblock.ts";

const ARRAYS = 10_000_000;
const slow = Deno.env.get("HINTSIM_TIER") === "slow";

/** Room below a page, one array below the other. */
function below(top: number): (bytes: number) => number {
  return (bytes) => top -= Math.ceil(bytes / 4096);
}

function regionsOf(memblock: Memblock): { pfn: number; count: number; flags: number }[] {
  const regions: { pfn: number; count: number; flags: number }[] = [];
  memblock.forEach((pfn, count, flags) => regions.push({ pfn, count, flags }));
  return regions;
}

Deno.test("one page between others: the visits by hand", () => {
  const memblock = new Memblock(() => -1);
  memblock.reserve(10, 1); // the empty array is special: nothing is scanned
  assert.equal(memblock.visits, 0);
  memblock.reserve(30, 1); // 1 scanned; merge looks at the pair (10, 30)
  assert.equal(memblock.visits, 2);
  memblock.visits = 0;
  // 10 is passed and 30 ends the scan; merge looks at (10, 20) and (20, 30); nothing of it touches.
  memblock.reserve(20, 1);
  assert.equal(memblock.visits, 4);
  assert.equal(memblock.movedBytes, 24, "the region of page 30 moves");
  memblock.visits = 0;
  // 10, 20 and 30 are looked at to isolate page 20; merge looks at both pairs.
  memblock.markNoinit(20, 1);
  assert.equal(memblock.visits, 5);
  assert.deepEqual(regionsOf(memblock).map(({ flags }) => flags), [0, 16, 0]);
});

Deno.test("pages in a row are one region, however many", () => {
  const memblock = new Memblock(() => -1);
  memblock.reserve(0, 1);
  for (let pfn = 100; pfn < 1100; pfn++) memblock.reserveNoinit(pfn, 1);
  assert.deepEqual(regionsOf(memblock), [{ pfn: 0, count: 1, flags: 0 }, { pfn: 100, count: 1000, flags: 16 }]);
  // Page 101 and each after it: reserve scans 2 and merges over 2 pairs: (0, 100) and (100, 101), whose flags differ.
  // To mark it 3 are scanned; merge begins at the region before it: one pair, which becomes one region.
  const visits = memblock.visits;
  memblock.reserveNoinit(1100, 1);
  assert.equal(memblock.visits - visits, 2 + 1 + 3 + 1);
});

Deno.test("a region is 24 bytes, 128 are static, then the array doubles and is reserved itself", () => {
  const asked: number[] = [];
  const place = below(ARRAYS);
  const memblock = new Memblock((bytes) => {
    asked.push(bytes);
    return place(bytes);
  });
  for (let i = 0; i < 300; i++) memblock.reserve(10 * i, 1);
  assert.deepEqual(asked, [8192, 12_288], "256 and 512 regions of 24 bytes, in whole pages");
  assert.equal(memblock.bytes, 512 * 24);
  assert.equal(memblock.count, 301, "the old array was given back");
});

Deno.test("without room the array does not grow: ENOMEM in memblock's words", () => {
  const memblock = new Memblock(() => -1);
  for (let i = 0; i < 127; i++) memblock.reserve(10 * i, 1);
  const refused = () => {
    for (let i = 127; i < 200; i++) memblock.reserve(10 * i, 1);
  };
  assert.throws(refused, (error) =>
    error instanceof KhoError && error.code === "ENOMEM" &&
    /failed to double the reserved array from 128 to 256 entries/.test(error.message));
});

/** One step of the model-based test. */
interface Step {
  readonly act: "reserve" | "markNoinit" | "reserveNoinit" | "remove" | "run";
  readonly pfn: number;
  readonly count: number;
}

function apply(step: Step, to: Memblock | NaiveMemblock): void {
  const { act, pfn, count } = step;
  const both = (page: number, pages: number) => {
    if (to instanceof Memblock) return to.reserveNoinit(page, pages);
    to.reserve(page, pages);
    to.markNoinit(page, pages);
  };
  if (act === "reserveNoinit") both(pfn, count);
  else if (act === "run") { for (let i = 0; i < 5 * count; i++) both(pfn + 2 * i, 2); }
  else to[act](pfn, count);
}

Deno.test("regions, visits and moved bytes are those of an array that is really scanned", () => {
  const act = fc.constantFrom("reserve", "reserveNoinit", "reserveNoinit", "run", "markNoinit", "remove");
  const step = fc.record({ act, pfn: fc.nat(4000), count: fc.integer({ min: 1, max: 12 }) }) as fc.Arbitrary<Step>;
  fc.assert(
    fc.property(fc.array(step, { maxLength: 400, size: "max" }), (steps) => {
      const memblock = new Memblock(below(ARRAYS));
      const naive = new NaiveMemblock(ARRAYS);
      for (const one of steps) {
        apply(one, memblock);
        apply(one, naive);
        assert.equal(memblock.visits, naive.visits);
        assert.equal(memblock.movedBytes, naive.movedBytes);
      }
      assert.deepEqual(regionsOf(memblock), naive.regions);
      assert.equal(memblock.count, naive.regions.length);
    }),
    { numRuns: slow ? 2000 : 60 },
  );
});

Deno.test("thousands of regions in random order: chunks split and sum up as the array does", () => {
  const memblock = new Memblock(below(ARRAYS));
  const naive = new NaiveMemblock(ARRAYS);
  // 7919 is prime to 12,000: every third place once, in an order that jumps.
  for (let i = 0; i < 4000; i++) {
    const pfn = 3 * (i * 7919 % 12_000);
    for (const one of [memblock, naive]) apply({ act: "reserveNoinit", pfn, count: 1 }, one);
  }
  for (let i = 0; i < 4000; i += 3) {
    const pfn = 3 * (i * 7919 % 12_000);
    for (const one of [memblock, naive]) one.remove(pfn, 1);
  }
  assert.equal(memblock.visits, naive.visits);
  assert.equal(memblock.movedBytes, naive.movedBytes);
  assert.deepEqual(regionsOf(memblock), naive.regions);
});

Deno.test("scattered pages cost three scans each: 3 n^2 / 2 visits", () => {
  const n = 50_000;
  const memblock = new Memblock(below(1e9));
  for (let i = 0; i < n; i++) memblock.reserveNoinit(2 * i, 1);
  const expected = 3 * n * n / 2;
  assert.ok(Math.abs(memblock.visits / expected - 1) < 0.01, `${memblock.visits} visits`);
});
