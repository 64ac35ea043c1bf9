import assert from "node:assert/strict";
import fc from "fast-check";
import {
  constant,
  discrete,
  type Distribution,
  exponential,
  naturalExp,
  naturalLog,
  pareto,
  uniform,
} from "../../sim/core/distributions.ts";
import { type Random, randomStream } from "../../sim/core/random.ts";

/** A source whose next float is u, so that a draw by inversion is the quantile at u. */
function at(u: number): Random {
  return { nextFloat: () => u } as unknown as Random;
}

function assertClose(actual: number, expected: number, relative: number, what: string): void {
  assert.ok(Math.abs(actual - expected) <= relative * Math.abs(expected), `${what}: ${actual}, expected ${expected}`);
}

/** Mean and variance of 10^6 draws. */
function moments(distribution: Distribution, name: string): { mean: number; variance: number } {
  const random = randomStream(1, 0, name);
  let sum = 0;
  let squares = 0;
  for (let i = 0; i < 1e6; i++) {
    const value = distribution.draw(random);
    sum += value;
    squares += value * value;
  }
  const mean = sum / 1e6;
  return { mean, variance: squares / 1e6 - mean * mean };
}

// The constants of the tables below were made with Python's decimal module at 60 digits, from the exact doubles.
Deno.test("naturalLog against 60-digit arithmetic", () => {
  const known = [
    [1.1102230246251565e-16, -36.7368005696771],
    [9.094947017729282e-13, -27.725887222397812],
    [1e-9, -20.72326583694641],
    [0.01, -4.605170185988091],
    [0.1, -2.3025850929940455],
    [0.5, -0.6931471805599453],
    [0.7499999999999999, -0.28768207245178107],
    [0.75, -0.2876820724517809],
    [0.9, -0.10536051565782628],
    [0.9999999999999999, -1.1102230246251565e-16],
    [1.0000000000000002, 2.2204460492503128e-16],
    [1.001, 0.0009995003330834232],
    [1.4999999999999998, 0.4054651081081642],
    [1.5, 0.4054651081081644],
    [2, 0.6931471805599453],
    [10, 2.302585092994046],
    [12345.678, 9.421061321291832],
    [1e300, 690.7755278982137],
    [5e-324, -744.4400719213812],
  ];
  for (const [x, log] of known) assertClose(naturalLog(x), log, 4e-16, `ln ${x}`);
  assert.equal(naturalLog(1), 0);
  assert.equal(naturalLog(0), -Infinity);
  assert.equal(naturalLog(Infinity), Infinity);
  assert.ok(Number.isNaN(naturalLog(-1)));
});

Deno.test("naturalExp against 60-digit arithmetic", () => {
  const known = [
    [-700, 9.85967654375977e-305],
    [-30.5, 5.675685232632723e-14],
    [-1, 0.36787944117144233],
    [-1e-9, 0.999999999],
    [0, 1],
    [1e-9, 1.000000001],
    [0.1, 1.1051709180756477],
    [0.34657359, 1.4142135619771539],
    [0.5, 1.6487212707001282],
    [1, 2.718281828459045],
    [10, 22026.465794806718],
    [27.725887222397812, 1099511627776],
    [700, 1.0142320547350045e304],
  ];
  for (const [x, power] of known) assertClose(naturalExp(x), power, 1e-15, `exp ${x}`);
  assert.equal(naturalExp(710), Infinity);
  assert.equal(naturalExp(-746), 0);
  assert.ok(Number.isNaN(naturalExp(NaN)));
});

Deno.test("naturalLog and naturalExp agree with this engine's own everywhere", () => {
  const positive = fc.double({ min: 2 ** -1000, max: 2 ** 1000, noNaN: true });
  fc.assert(fc.property(positive, (x) => assertClose(naturalLog(x), Math.log(x), 1e-15, `ln ${x}`)), { numRuns: 3000 });
  const nearOne = fc.double({ min: 0.5, max: 2, noNaN: true });
  fc.assert(fc.property(nearOne, (x) => assertClose(naturalLog(x), Math.log(x), 1e-15, `ln ${x}`)), { numRuns: 3000 });
  const exponent = fc.double({ min: -700, max: 700, noNaN: true });
  fc.assert(fc.property(exponent, (x) => assertClose(naturalExp(x), Math.exp(x), 2e-15, `exp ${x}`)), {
    numRuns: 3000,
  });
});

Deno.test("exponential: quantiles and moments", () => {
  const known = [
    [0, 0],
    [1.1102230246251565e-16, 2.220446049250313e-7],
    [0.001, 2001000.667167067],
    [0.25, 575364144.9035618],
    [0.5, 1386294361.1198907],
    [0.9, 4605170185.988091],
    [0.99, 9210340371.976181],
    [0.999999, 27631021115.871037],
    [0.9999999999999999, 73473601139.3542],
  ];
  const distribution = exponential(2e9);
  for (const [u, quantile] of known) assertClose(distribution.draw(at(u)), quantile, 1e-15, `quantile ${u}`);
  assert.ok(Object.is(distribution.draw(at(0)), 0));
  assert.equal(distribution.mean, 2e9);
  const { mean, variance } = moments(exponential(3), "exponential");
  assertClose(mean, 3, 4e-3, "mean"); // 4 sigma of the mean of 10^6 draws
  assertClose(variance, 9, 0.012, "variance");
});

Deno.test("pareto: quantiles, the bound and moments", () => {
  const known = [
    [0, 1],
    [0.25, 1.2114137285547597],
    [0.5, 1.5874010519681996],
    [0.9, 4.641588833612779],
    [0.99, 21.544346900318825],
    [0.999999, 9999.999999808295],
    [1 - 2 ** -40, 106528681.30999084],
    [1 - 2 ** -53, 106528681.30999084],
  ];
  const distribution = pareto(3, 1.5);
  for (const [u, quantile] of known) assertClose(distribution.draw(at(u)), quantile, 1e-14, `quantile ${u}`);
  assert.equal(distribution.mean, 3);
  // alpha = 5: scale 0.8 and variance scale^2 5 / (4^2 3) = 1/15.
  const { mean, variance } = moments(pareto(1, 5), "pareto");
  assertClose(mean, 1, 2e-3, "mean");
  assertClose(variance, 1 / 15, 0.05, "variance");
});

Deno.test("uniform: ends, quantiles and moments", () => {
  const distribution = uniform(10, 20);
  assert.equal(distribution.mean, 15);
  assert.equal(distribution.draw(at(0)), 10);
  assert.equal(distribution.draw(at(0.25)), 12.5);
  // 1e16 + 2 (1 - 2^-53) rounds to the excluded end.
  assert.equal(uniform(1e16, 1e16 + 2).draw(at(1 - 2 ** -53)), 1e16);
  assert.equal(uniform(5, 5).draw(at(0.5)), 5);
  const { mean, variance } = moments(distribution, "uniform");
  assertClose(mean, 15, 8e-4, "mean");
  assertClose(variance, 100 / 12, 0.004, "variance");
});

Deno.test("constant takes nothing from the stream, the others one float a draw", () => {
  const cases: [Distribution, number][] = [
    [constant(5), 0],
    [uniform(0, 1), 1],
    [exponential(1), 1],
    [pareto(1, 2), 1],
    [discrete([1, 2, 3], [1, 0, 5]), 1],
  ];
  for (const [distribution, floats] of cases) {
    const random = randomStream(1, 0, "steps");
    const twin = randomStream(1, 0, "steps");
    for (let i = 0; i < 100; i++) {
      distribution.draw(random);
      for (let j = 0; j < floats; j++) twin.nextFloat();
    }
    assert.deepEqual(random.state(), twin.state());
  }
  assert.equal(constant(5).draw(at(0)), 5);
  assert.equal(constant(5).mean, 5);
});

Deno.test("discrete: shares of 10^6 draws, and a weight of 0 is never drawn", () => {
  const values = [4096, 8192, 16384, 2 ** 21, 0];
  const weights = [10, 5, 0, 1, 4];
  const distribution = discrete(values, weights);
  assertClose(distribution.mean, (4096 * 10 + 8192 * 5 + 2 ** 21) / 20, 1e-15, "mean");
  const counts = new Map<number, number>(values.map((value) => [value, 0]));
  const random = randomStream(1, 0, "discrete");
  for (let i = 0; i < 1e6; i++) {
    const value = distribution.draw(random);
    counts.set(value, counts.get(value)! + 1);
  }
  values.forEach((value, i) => {
    const share = weights[i] / 20;
    const sigma = Math.sqrt(1e6 * share * (1 - share));
    assert.ok(Math.abs(counts.get(value)! - 1e6 * share) <= 4 * sigma, `${value}: ${counts.get(value)}`);
  });
});

Deno.test("discrete: the part of [0, 1) that gives a value is its share, for any weights", () => {
  const steps = 2000;
  const weights = fc.array(fc.integer({ min: 0, max: 50 }), { minLength: 1, maxLength: 20 });
  fc.assert(fc.property(weights.filter((list) => list.some((weight) => weight > 0)), (list) => {
    const distribution = discrete(list.map((_, i) => i), list);
    const hits = list.map(() => 0);
    for (let step = 0; step < steps; step++) hits[distribution.draw(at((step + 0.5) / steps))]++;
    const total = list.reduce((sum, weight) => sum + weight, 0);
    // Each of the n columns can misplace one step at its boundary.
    list.forEach((weight, i) => {
      assert.ok(Math.abs(hits[i] - steps * weight / total) <= list.length + 1);
      if (weight === 0) assert.equal(hits[i], 0);
    });
  }));
  assert.equal(discrete([3, 4, 5], [1, 1, 1]).draw(at(1 - 2 ** -53)), 5);
});

Deno.test("bad parameters are refused in one sentence", () => {
  const cases: [() => unknown, string][] = [
    [() => constant(NaN), "NaN is not the value of a constant distribution: it must be a finite number"],
    [() => uniform(2, 1), "1 is not the upper end of a uniform distribution: it must be a finite number from 2"],
    [() => uniform(-1.7e308, 1.7e308), "the range from -1.7e+308 to 1.7e+308 is too wide for a uniform distribution"],
    [() => exponential(0), "0 is not the mean of an exponential distribution: it must be a finite number above 0"],
    [
      () => exponential(Infinity),
      "Infinity is not the mean of an exponential distribution: it must be a finite number above 0",
    ],
    [() => pareto(1, 1), "1 is not the tail index of a Pareto distribution: it must be a finite number above 1"],
    [() => pareto(-1, 2), "-1 is not the mean of a Pareto distribution: it must be a finite number above 0"],
    [
      () => discrete([1], []),
      "a discrete distribution needs a weight for each value: 1 values and 0 weights were given",
    ],
    [() => discrete([1], [-1]), "-1 is not a weight of a discrete distribution: it must be a finite number from 0"],
    [() => discrete([], []), "the weights of a discrete distribution add up to 0: it must be a finite number above 0"],
  ];
  for (const [action, message] of cases) assert.throws(action, { name: "RangeError", message });
});

/** FNV-1a over the bytes of 10^5 draws: differs when one bit of one draw differs. */
function checksum(distribution: Distribution, name: string): number {
  const random = randomStream(1, 0, name);
  const view = new DataView(new ArrayBuffer(8));
  let hash = 0x811c9dc5;
  for (let i = 0; i < 1e5; i++) {
    view.setFloat64(0, distribution.draw(random), true);
    for (let byte = 0; byte < 8; byte++) hash = Math.imul(hash ^ view.getUint8(byte), 0x01000193);
  }
  return hash >>> 0;
}

Deno.test("every engine draws the same to the last bit", () => {
  // The same arithmetic in a Python program (CPython 3 floats, no library functions) gave the same four numbers.
  assert.equal(checksum(uniform(10, 20), "check"), 343026403);
  assert.equal(checksum(exponential(2e9), "check"), 714667017);
  assert.equal(checksum(pareto(3, 1.5), "check"), 2185873397);
  assert.equal(checksum(discrete([1, 2, 3, 4], [4, 3, 2, 1]), "check"), 2589074293);
});
