import assert from "node:assert/strict";
import fc from "fast-check";
import { PageBitmap } from "../../sim/memory/bitmap.ts";

/** Pages of one block, whose bits are stored together. */
const BLOCK = 512;
/** Pages of one segment of blocks. */
const SEGMENT = 2 ** 20;
const SLOW = Deno.env.get("HINTSIM_TIER") === "slow";

/** A bitmap beside a set of numbers. */
class Twin {
  readonly bitmap: PageBitmap;
  readonly set = new Set<number>();

  constructor(pages: number) {
    this.bitmap = new PageBitmap(pages);
  }

  change(member: boolean, page: number, count: number): void {
    const before = this.set.size;
    for (let i = page; i < page + count; i++) {
      if (member) this.set.add(i);
      else this.set.delete(i);
    }
    const changed = member ? this.bitmap.setRange(page, count) : this.bitmap.clearRange(page, count);
    assert.equal(changed, Math.abs(this.set.size - before));
    assert.equal(this.bitmap.count, this.set.size);
  }

  check(page: number, count: number): void {
    const runs: [boolean, number, number][] = [];
    let inside = 0;
    for (let i = page; i < page + count; i++) {
      const member = this.set.has(i);
      if (member) inside++;
      const last = runs.at(-1);
      if (last !== undefined && last[0] === member) last[2]++;
      else runs.push([member, i, 1]);
    }
    assert.equal(this.bitmap.countRange(page, count), inside);
    assert.equal(this.bitmap.hasAll(page, count), inside === count);
    for (const wanted of [true, false]) {
      const found: [boolean, number, number][] = [];
      this.bitmap.forEachRun(page, count, wanted, (start, length) => void found.push([wanted, start, length]));
      assert.deepEqual(found, runs.filter(([member]) => member === wanted));
    }
    for (const i of [page, page + 1, page + (count >> 1), page + count - 1]) {
      if (i >= 0 && i < this.bitmap.pages) assert.equal(this.bitmap.has(i), this.set.has(i));
    }
  }
}

interface Change {
  readonly member: boolean;
  readonly from: number;
  readonly to: number;
}

/** Pages near the borders of words, chunks and the whole set, and anywhere. */
function pageIn(pages: number): fc.Arbitrary<number> {
  const near = fc.tuple(fc.constantFrom(0, 32, 64, BLOCK, 2 * BLOCK, pages), fc.integer({ min: -33, max: 33 }));
  return fc.oneof(near.map(([at, by]) => Math.min(pages, Math.max(0, at + by))), fc.nat(pages));
}

Deno.test("the bitmap does what a set of numbers does: ranges in words, over borders of blocks, whole blocks", () => {
  const pages = 2 * (16 * BLOCK) + 1000;
  const change: fc.Arbitrary<Change> = fc.record({ member: fc.boolean(), from: pageIn(pages), to: pageIn(pages) });
  fc.assert(
    fc.property(fc.array(change, { maxLength: 12 }), pageIn(pages), pageIn(pages), (changes, a, b) => {
      const twin = new Twin(pages);
      for (const { member, from, to } of changes) {
        twin.change(member, Math.min(from, to), Math.abs(from - to));
        twin.check(Math.max(0, from - 40), Math.min(80, pages - Math.max(0, from - 40)));
      }
      twin.check(Math.min(a, b), Math.abs(a - b));
      twin.check(0, pages);
    }),
    { numRuns: SLOW ? 1000 : 60 },
  );
});

Deno.test("the bitmap does what a set of numbers does: small ranges in one block", () => {
  const change: fc.Arbitrary<Change> = fc.record({ member: fc.boolean(), from: fc.nat(150), to: fc.nat(150) });
  fc.assert(fc.property(fc.array(change, { maxLength: 80, size: "max" }), (changes) => {
    const twin = new Twin(151);
    for (const { member, from, to } of changes) {
      twin.change(member, Math.min(from, to), Math.abs(from - to));
      twin.check(Math.min(from, to), Math.abs(from - to) + 1);
    }
    twin.check(0, 151);
  }));
});

Deno.test("what is uniform takes no room: a block is stored from its first odd page on, and no more when it is filled", () => {
  const bitmap = new PageBitmap(2 ** 28); // a terabyte
  assert.equal(bitmap.bytes, 0);
  assert.equal(bitmap.setRange(0, 2 ** 28), 2 ** 28);
  assert.equal(bitmap.bytes, 0);
  assert.equal(bitmap.clearRange(5, 1), 1);
  assert.equal(bitmap.bytes, 64);
  assert.equal(bitmap.clearRange(SEGMENT - 1, 2), 2);
  assert.equal(bitmap.bytes, 3 * 64);
  assert.equal(bitmap.setRange(0, SEGMENT), 2);
  assert.equal(bitmap.bytes, 64);
  assert.equal(bitmap.count, 2 ** 28 - 1);
  assert.equal(bitmap.clearRange(SEGMENT, 512), 511);
  assert.equal(bitmap.bytes, 0);
  assert.equal(bitmap.count, 2 ** 28 - 512);
});

Deno.test("nothing changes twice: a range that is there already adds nothing, an empty one neither", () => {
  const bitmap = new PageBitmap(100_000);
  assert.equal(bitmap.setRange(30_000, 10_000), 10_000);
  assert.equal(bitmap.setRange(30_000, 10_000), 0);
  assert.equal(bitmap.setRange(35_000, 10_000), 5000);
  assert.equal(bitmap.setRange(99_999, 0), 0);
  assert.equal(bitmap.clearRange(0, 30_000), 0);
  assert.equal(bitmap.clearRange(0, 100_000), 15_000);
  assert.equal(bitmap.count, 0);
});

Deno.test("the bitmap does what a set of numbers does over the border of two segments", () => {
  const near = fc.integer({ min: SEGMENT - 1500, max: SEGMENT + 1500 });
  const change: fc.Arbitrary<Change> = fc.record({ member: fc.boolean(), from: near, to: near });
  fc.assert(fc.property(fc.array(change, { maxLength: 12 }), (changes) => {
    const twin = new Twin(2 * SEGMENT);
    for (const { member, from, to } of changes) {
      twin.change(member, Math.min(from, to), Math.abs(from - to));
      twin.check(Math.min(from, to), Math.abs(from - to) + 1);
    }
    twin.check(SEGMENT - 2000, 4000);
  }));
});

Deno.test("a visitor may change the run it is given", () => {
  const bitmap = new PageBitmap(3 * (16 * BLOCK));
  bitmap.setRange(10, 5);
  bitmap.setRange((16 * BLOCK) - 5, (16 * BLOCK) + 10);
  const runs: number[][] = [];
  bitmap.forEachRun(0, 3 * (16 * BLOCK), true, (page, count) => {
    bitmap.clearRange(page, count);
    runs.push([page, count]);
  });
  assert.deepEqual(runs, [[10, 5], [(16 * BLOCK) - 5, (16 * BLOCK) + 10]]);
  assert.equal(bitmap.count, 0);
});

Deno.test("page numbers beyond 2^31 are pages like others", () => {
  const bitmap = new PageBitmap(2 ** 33);
  bitmap.setRange(2 ** 32 - 3, 6);
  assert.deepEqual([2 ** 32 - 4, 2 ** 32 - 3, 2 ** 32 + 2, 2 ** 32 + 3].map((page) => bitmap.has(page)), [
    false,
    true,
    true,
    false,
  ]);
  assert.equal(bitmap.countRange(0, 2 ** 33), 6);
  const runs: number[][] = [];
  bitmap.forEachRun(2 ** 32 - 100, 200, true, (page, count) => void runs.push([page, count]));
  assert.deepEqual(runs, [[2 ** 32 - 3, 6]]);
});

Deno.test("two sets are counted together as their bits are, whatever is stored and whatever is uniform", () => {
  const pages = 3 * (16 * BLOCK) + 77;
  const range = fc.tuple(fc.nat({ max: pages - 1 }), fc.nat({ max: 2 * (16 * BLOCK) }), fc.boolean());
  fc.assert(fc.property(fc.array(range, { maxLength: 6 }), fc.array(range, { maxLength: 6 }), (first, second) => {
    const [a, b] = [first, second].map((ranges) => {
      const bitmap = new PageBitmap(pages);
      for (const [page, count, member] of ranges) {
        const length = Math.min(count, pages - page);
        if (member) bitmap.setRange(page, length);
        else bitmap.clearRange(page, length);
      }
      return bitmap;
    });
    let both = 0;
    a.forEachRun(0, pages, true, (page, count) => {
      both += b.countRange(page, count);
    });
    assert.equal(a.countBoth(b), both);
    assert.equal(b.countBoth(a), both);
  }));
});

Deno.test("huge pages that come and go store nothing, in whatever order", () => {
  const bitmap = new PageBitmap(2 * SEGMENT);
  const blocks = Array.from({ length: (2 * SEGMENT) / 512 }, (_, i) => (i * 769) % 4096 * 512);
  for (const page of blocks) bitmap.setRange(page, 512);
  assert.deepEqual([bitmap.count, bitmap.bytes], [2 * SEGMENT, 0]);
  for (const page of blocks.toReversed()) assert.equal(bitmap.clearRange(page, 512), 512);
  assert.deepEqual([bitmap.count, bitmap.bytes], [0, 0]);
});
