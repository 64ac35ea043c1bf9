import assert from "node:assert/strict";
import fc from "fast-check";
import { hash128, Random, type RandomState, randomStream } from "../../sim/core/random.ts";

function draws(random: Random, count: number): number[] {
  return Array.from({ length: count }, () => random.nextUint32());
}

/**
 * Made by compiling the published algorithm (xoshiro128starstar.c, version 1.1) with gcc 12; the first row is also the
 * vector in the tests of the Rust crate rand_xoshiro. Each row: state, the first ten numbers, the millionth number.
 */
const KNOWN: readonly [RandomState, number[], number][] = [
  [
    [1, 2, 3, 4],
    [11520, 0, 5927040, 70819200, 2031721883, 1637235492, 1287239034, 3734860849, 3729100597, 4258142804],
    3457443141,
  ],
  [
    [0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff],
    [4294962679, 4294962679, 4292019319, 2943360, 1509943680, 246671744, 2681405836, 4051244843, 1053453815, 832600121],
    833194955,
  ],
  [
    [0x9e3779b9, 0x243f6a88, 0xb7e15162, 0xdeadbeef],
    [2463954730, 5524658, 74256371, 1905451993, 3123413897, 314453775, 1263677054, 1531511215, 693760292, 1307612896],
    1164111450,
  ],
];

Deno.test("xoshiro128** draws the numbers of the published program", () => {
  for (const [state, first, millionth] of KNOWN) {
    const random = Random.fromState(state);
    assert.deepEqual(draws(random, 10), first);
    for (let i = 10; i < 999_999; i++) random.nextUint32();
    assert.equal(random.nextUint32(), millionth);
  }
});

Deno.test("the state continues the stream, and bad states are refused", () => {
  const random = Random.fromState([1, 2, 3, 4]);
  draws(random, 100);
  const copy = Random.fromState(random.state());
  assert.deepEqual(draws(copy, 100), draws(random, 100));
  assert.throws(
    () => Random.fromState([0, 0, 0, 0]),
    /^RangeError: the state of a random generator must not be all zero$/,
  );
  for (const word of [-1, 2 ** 32, 0.5, NaN]) assert.throws(() => Random.fromState([1, word, 3, 4]), RangeError);
});

Deno.test("nextFloat: 53 bits of two steps, in [0, 1)", () => {
  // The first two from the C program above: ((a >> 5) * 2^26 + (b >> 6)) / 2^53.
  const random = Random.fromState([1, 2, 3, 4]);
  assert.equal(random.nextFloat(), 2.6822090148925781e-06);
  assert.equal(random.nextFloat(), 0.0013799966610139602);
  const stub = Random.fromState([1, 2, 3, 4]);
  stub.nextUint32 = () => 0xffffffff;
  assert.equal(stub.nextFloat(), 1 - 2 ** -53);
  stub.nextUint32 = () => 0;
  assert.equal(stub.nextFloat(), 0);
});

/** nextBelow as its definition says, in big integers. */
function belowTwin(random: Random, n: number): number {
  const bound = BigInt(n);
  if (n > 2 ** 32) {
    const bits = (bound - 1n).toString(2).length - 32;
    for (;;) {
      const draw = (BigInt(random.nextUint32()) % (1n << BigInt(bits)) << 32n) + BigInt(random.nextUint32());
      if (draw < bound) return Number(draw);
    }
  }
  for (;;) {
    const product = BigInt(random.nextUint32()) * bound;
    if (product % 2n ** 32n >= 2n ** 32n % bound) return Number(product >> 32n);
  }
}

Deno.test("nextBelow: the twin in big integers draws the same", () => {
  const bound = fc.oneof(
    fc.integer({ min: 1, max: 100 }),
    fc.integer({ min: 1, max: 2 ** 32 }),
    fc.integer({ min: 2 ** 32 - 5, max: 2 ** 32 + 5 }),
    fc.integer({ min: 2 ** 31 - 5, max: 2 ** 31 + 5 }),
    fc.maxSafeNat().map((n) => n + 1),
    fc.integer({ min: 0, max: 53 }).map((bits) => 2 ** bits),
  );
  fc.assert(fc.property(bound, fc.maxSafeNat(), (n, seed) => {
    const random = randomStream(seed, 0, "below");
    const twin = randomStream(seed, 0, "below");
    for (let i = 0; i < 50; i++) {
      const drawn = random.nextBelow(n);
      assert.equal(drawn, belowTwin(twin, n));
      assert.ok(drawn >= 0 && drawn < n);
    }
    assert.deepEqual(random.state(), twin.state());
  }));
  const random = Random.fromState([1, 2, 3, 4]);
  for (const n of [0, -1, 1.5, NaN, 2 ** 53 + 2, Infinity]) assert.throws(() => random.nextBelow(n), RangeError);
  assert.equal(random.nextBelow(1), 0);
});

Deno.test("nextBelow: the draws where rounding or the bound matters", () => {
  function below(n: number, ...words: number[]): number {
    const random = Random.fromState([1, 2, 3, 4]);
    random.nextUint32 = () => words.shift()!;
    const drawn = random.nextBelow(n);
    assert.equal(words.length, 0);
    return drawn;
  }
  // The product is 2^63 + 2^32 - 1200; as a double, less its low half, it falls just short of 2^63.
  assert.equal(below(2 ** 32 - 48, 2 ** 31 + 25), 2 ** 31);
  assert.equal(below(2 ** 32, 0xffffffff), 0xffffffff);
  // 3 is cut to one bit; 2^32 + 1 is the bound itself and drawn again.
  assert.equal(below(2 ** 32 + 1, 3, 1, 1, 0), 2 ** 32);
  assert.equal(below(2 ** 53, 0xffffffff, 0xffffffff), 2 ** 53 - 1);
});

/** Pearson's statistic of counts against equal shares, in standard deviations from what is expected. */
function chiSquareSigmas(counts: readonly number[]): number {
  const expected = counts.reduce((sum, count) => sum + count, 0) / counts.length;
  const statistic = counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
  const freedom = counts.length - 1;
  return (statistic - freedom) / Math.sqrt(2 * freedom);
}

Deno.test("nextBelow is even, also where plain scaling would be biased", () => {
  for (const n of [3, 7, 1000, 3 * 2 ** 30, 3 * 2 ** 51]) {
    const cells = Math.min(n, 1000);
    const counts = new Array<number>(cells).fill(0);
    const random = randomStream(7, 0, `even ${n}`);
    for (let i = 0; i < 300_000; i++) counts[Math.floor(random.nextBelow(n) / (n / cells))]++;
    assert.ok(Math.abs(chiSquareSigmas(counts)) < 4, `n = ${n}`);
  }
});

Deno.test("hash128 has the verification value that SMHasher publishes for MurmurHash3_x86_128", () => {
  // SMHasher's VerificationTest: keys {}, {0}, {0, 1}, … with the seeds 256, 255, …; then the hash of all the hashes.
  const hashes = new DataView(new ArrayBuffer(256 * 16));
  for (let i = 0; i < 256; i++) {
    const key = Uint8Array.from({ length: i }, (_, j) => j);
    hash128(key, 256 - i).forEach((word, lane) => hashes.setUint32(i * 16 + lane * 4, word, true));
  }
  assert.equal(hash128(new Uint8Array(hashes.buffer), 0)[0], 0xb3ece62a);
});

Deno.test("randomStream: states known from the Python package mmh3", () => {
  // struct.unpack("<4I", mmh3.hash_bytes(struct.pack("<QQ", seed, replication) + name.encode(), 0, False)), mmh3 5
  const known: [number, number, string, RandomState][] = [
    [0, 0, "", [1514173910, 1798126887, 3549588527, 3944909319]],
    [1, 0, "workload", [3982166569, 2596338947, 2902572247, 2334823512]],
    [1, 1, "workload", [2829050018, 2534850861, 1527531597, 3913636740]],
    [2 ** 53, 2 ** 53, "wörkload/€", [2629953832, 3119778692, 759621256, 1529384324]],
    [4294967296, 7, "policy.delay.jitter", [2873258671, 2639062465, 1840942269, 3674107818]],
  ];
  for (const [seed, replication, name, state] of known) {
    assert.deepEqual(randomStream(seed, replication, name).state(), state);
  }
  for (const bad of [-1, 0.5, NaN, 2 ** 53 + 2]) {
    assert.throws(() => randomStream(bad, 0, "x"), /^RangeError: .* is not a seed: write an integer from 0 to 2\^53$/);
    assert.throws(() => randomStream(0, bad, "x"), /is not a replication/);
  }
});

Deno.test("streams of neighbouring seeds, replications and names differ and are not correlated", () => {
  const states = new Set<string>();
  const counts = new Array<number>(256).fill(0);
  const bitsSet = new Array<number>(32).fill(0);
  let streams = 0;
  for (let seed = 0; seed < 30; seed++) {
    for (let replication = 0; replication < 30; replication++) {
      for (const name of ["a", "b", "ab", "ba", "a0", "workload", "workload ", "Workload"]) {
        const random = randomStream(seed, replication, name);
        states.add(random.state().join());
        const first = random.nextUint32();
        counts[first >>> 24]++;
        for (let bit = 0; bit < 32; bit++) bitsSet[bit] += (first >>> bit) & 1;
        streams++;
      }
    }
  }
  assert.equal(states.size, streams);
  assert.ok(Math.abs(chiSquareSigmas(counts)) < 4);
  for (const ones of bitsSet) assert.ok(Math.abs(ones - streams / 2) < 4.5 * Math.sqrt(streams) / 2);
});

Deno.test("two neighbouring streams agree in half of their bits", () => {
  const left = randomStream(1, 0, "x");
  const right = randomStream(1, 1, "x");
  let equalBits = 0;
  for (let i = 0; i < 100_000; i++) {
    for (let word = ~(left.nextUint32() ^ right.nextUint32()); word !== 0; word &= word - 1) equalBits++;
  }
  assert.ok(Math.abs(equalBits - 1_600_000) < 4 * Math.sqrt(3_200_000) / 2);
});
