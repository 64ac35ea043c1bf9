import assert from "node:assert/strict";
import fc from "fast-check";
import { Quantiles } from "../../sim/core/quantiles.ts";

function collected(values: Iterable<number>): Quantiles {
  const quantiles = new Quantiles();
  for (const value of values) quantiles.add(value);
  return quantiles;
}

Deno.test("nothing has no quantiles", () => {
  const quantiles = new Quantiles();
  assert.equal(quantiles.rank(0.5), undefined);
  assert.equal(quantiles.max, undefined);
  assert.equal(quantiles.count, 0);
});

Deno.test("the nearest rank of the textbook", () => {
  const quantiles = collected([50, 15, 35, 20, 40]); // 15 20 35 40 50: rank ceil(5 q)
  assert.deepEqual([0, 0.05, 0.3, 0.4, 0.5, 1].map((q) => quantiles.rank(q)), [15, 15, 20, 20, 35, 50]);
  assert.equal(quantiles.max, 50);
});

Deno.test("a rank that rounding puts a hair above a whole number is that number", () => {
  const quantiles = collected(Array.from({ length: 100 }, (_, i) => i + 1));
  for (let percent = 1; percent <= 100; percent++) assert.equal(quantiles.rank(percent / 100), percent);
});

Deno.test("a million values in any order, and further ones after an answer", () => {
  const count = 1_000_000;
  const quantiles = new Quantiles();
  // 7 is prime to the count, so this visits every value from 0 to count - 1 once.
  for (let i = 0; i < count; i++) quantiles.add((i * 7) % count);
  assert.equal(quantiles.rank(0.99), 989_999);
  assert.equal(quantiles.rank(0.5), 499_999);
  for (let i = 0; i < count; i++) quantiles.add(5e6);
  assert.equal(quantiles.rank(0.5), 999_999);
  assert.equal(quantiles.rank(0.500001), 5e6);
  assert.equal(quantiles.max, 5e6);
  assert.equal(quantiles.count, 2 * count);
});

Deno.test("property: the rank is the one of the sorted list", () => {
  const values = fc.array(fc.integer({ min: -20, max: 2 ** 40 }), { minLength: 1, maxLength: 300 });
  fc.assert(fc.property(values, fc.nat(4), fc.integer({ min: 1, max: 1000 }), (few, doublings, permille) => {
    let list = few;
    for (let i = 0; i < doublings; i++) list = [...list, ...list, i];
    const sorted = [...list].sort((a, b) => a - b);
    const rank = Math.ceil(permille * list.length / 1000);
    assert.equal(collected(list).rank(permille / 1000), sorted[rank - 1]);
  }));
});
