/**
 * Random numbers: xoshiro128** and named streams.
 *
 * Everything here is integer arithmetic of 32 bits and exact double arithmetic, so every engine draws the same numbers.
 * A model never shares a stream with another model: it asks {@link randomStream} for its own by name, so that adding a
 * draw in one place does not shift the numbers of another, and two policies see the same workload.
 */

const TWO_32 = 2 ** 32;
const TWO_53 = 2 ** 53;

/** The four 32-bit words of the state of a {@link Random}. */
export type RandomState = readonly [number, number, number, number];

/**
 * The generator xoshiro128** 1.1 of Blackman and Vigna (https://prng.di.unimi.it/xoshiro128starstar.c): 128 bits of
 * state, period 2^128 - 1, one 32-bit number a step.
 *
 * ```ts
 * import { Random } from "./random.ts";
 * const random = Random.fromState([1, 2, 3, 4]);
 * if (random.nextUint32() !== 11520) throw new Error("the published first number is 11520");
 * ```
 */
export class Random {
  // Kept as signed 32-bit integers: V8 holds those without allocating.
  private a: number;
  private b: number;
  private c: number;
  private d: number;

  private constructor(a: number, b: number, c: number, d: number) {
    this.a = a | 0;
    this.b = b | 0;
    this.c = c | 0;
    this.d = d | 0;
  }

  /**
   * A generator that starts in the given state, four integers from 0 to 2^32 - 1.
   * Throws RangeError when a word is none of these, or when all are zero (the generator would stay there).
   */
  static fromState(state: RandomState): Random {
    for (const word of state) {
      if (!Number.isInteger(word) || word < 0 || word >= TWO_32) {
        throw new RangeError(`${word} is not a word of a random state: write integers from 0 to 4294967295`);
      }
    }
    if (state.every((word) => word === 0)) throw new RangeError("the state of a random generator must not be all zero");
    return new Random(state[0], state[1], state[2], state[3]);
  }

  /** The present state; a generator made from it continues with the same numbers. */
  state(): RandomState {
    return [this.a >>> 0, this.b >>> 0, this.c >>> 0, this.d >>> 0];
  }

  /** The next integer from 0 to 2^32 - 1. */
  nextUint32(): number {
    const b = this.b;
    const scrambled = Math.imul(b, 5);
    const result = Math.imul((scrambled << 7) | (scrambled >>> 25), 9) >>> 0;
    const c = this.c ^ this.a;
    const d = this.d ^ b;
    this.b = b ^ c;
    this.a ^= d;
    this.c = c ^ (b << 9);
    this.d = (d << 11) | (d >>> 21);
    return result;
  }

  /** The next multiple of 2^-53 in [0, 1), from two steps: 27 bits of the first above 26 bits of the second. */
  nextFloat(): number {
    const high = this.nextUint32() >>> 5;
    const low = this.nextUint32() >>> 6;
    return (high * 0x4000000 + low) / TWO_53;
  }

  /**
   * The next integer from 0 to n - 1, every one equally likely (numbers that would favour some are drawn again).
   * Up to 2^32 it takes one step, rarely more; beyond that two steps, less than four on average.
   * Throws RangeError unless n is an integer from 1 to 2^53.
   */
  nextBelow(n: number): number {
    if (!(n >= 1 && n <= TWO_53) || Math.floor(n) !== n) {
      throw new RangeError(`cannot draw an integer below ${n}: the bound must be an integer from 1 to 2^53`);
    }
    return n <= TWO_32 ? this.belowUint32(n) : this.belowLarge(n);
  }

  /**
   * Lemire, "Fast Random Integer Generation in an Interval" (ACM TOMACS 29, 2019): the high half of draw * n, unless the
   * low half is below 2^32 mod n.
   */
  private belowUint32(n: number): number {
    let draw = this.nextUint32();
    let low = Math.imul(draw, n) >>> 0;
    if (low < n) {
      const threshold = TWO_32 % n;
      while (low < threshold) {
        draw = this.nextUint32();
        low = Math.imul(draw, n) >>> 0;
      }
    }
    // The product may need 64 bits. It is rounded by less than 2^11, so that removing the exact low half leaves a
    // multiple of 2^32 with an error far below one half: rounding gives the exact high half.
    return Math.floor((draw * n - low) / TWO_32 + 0.5);
  }

  /** Draws as many bits as n - 1 has and rejects what is too large; for n above 2^32. */
  private belowLarge(n: number): number {
    const mask = 0xffffffff >>> Math.clz32((n - 1) / TWO_32);
    for (;;) {
      const high = (this.nextUint32() & mask) >>> 0;
      const draw = high * TWO_32 + this.nextUint32();
      if (draw < n) return draw;
    }
  }
}

/**
 * The random stream of one use in one run. The state is {@link hash128} with seed 0 of these bytes: the seed and the
 * replication as 64-bit little-endian integers, then the name in UTF-8; a hash of all zeros becomes the state 1, 2, 3, 4.
 *
 * The two numbers fill exactly the first block of the hash, and the hash is a bijection of that block. So with one
 * name, different (seed, replication) never share a state; different names share one with probability 2^-128.
 *
 * Throws RangeError unless seed and replication are integers from 0 to 2^53.
 *
 * ```ts
 * import { randomStream } from "./random.ts";
 * const sizes = randomStream(1, 0, "workload.sizes");
 * const again = randomStream(1, 0, "workload.sizes");
 * if (sizes.nextUint32() !== again.nextUint32()) throw new Error("a stream depends on its three arguments only");
 * ```
 */
export function randomStream(seed: number, replication: number, name: string): Random {
  const nameBytes = new TextEncoder().encode(name);
  const bytes = new Uint8Array(16 + nameBytes.length);
  const view = new DataView(bytes.buffer);
  [["seed", seed] as const, ["replication", replication] as const].forEach(([what, value], index) => {
    if (!Number.isInteger(value) || value < 0 || value > TWO_53) {
      throw new RangeError(`${value} is not a ${what}: write an integer from 0 to 2^53`);
    }
    view.setUint32(index * 8, value % TWO_32, true);
    view.setUint32(index * 8 + 4, Math.floor(value / TWO_32), true);
  });
  bytes.set(nameBytes, 16);
  const state = hash128(bytes, 0);
  return Random.fromState(state.every((word) => word === 0) ? [1, 2, 3, 4] : state);
}

// Per lane of MurmurHash3_x86_128: the multipliers c1..c4 (lane i uses i and i + 1), the rotations of the key words and
// of the lanes, and the constants added to the lanes.
const MULTIPLIERS = [0x239b961b, 0xab0e9789, 0x38b34ae5, 0xa1e38b93];
const KEY_ROTATIONS = [15, 16, 17, 18];
const LANE_ROTATIONS = [19, 17, 15, 13];
const LANE_CONSTANTS = [0x561ccd1b, 0x0bcaa747, 0x96cd1c35, 0x32ac3b17];

/**
 * MurmurHash3_x86_128 of Appleby (public domain, SMHasher): four 32-bit words from any bytes and a 32-bit seed.
 * It spreads streams apart; it is no protection against somebody who wants two inputs to collide.
 */
export function hash128(bytes: Uint8Array, seed: number): RandomState {
  const lanes = [seed | 0, seed | 0, seed | 0, seed | 0];
  const blocks = Math.floor(bytes.length / 16);
  for (let block = 0; block < blocks; block++) {
    for (let lane = 0; lane < 4; lane++) {
      lanes[lane] ^= mixKey(readWord(bytes, block * 16 + lane * 4), lane);
      const rotated = rotateLeft(lanes[lane], LANE_ROTATIONS[lane]) + lanes[(lane + 1) % 4];
      lanes[lane] = (Math.imul(rotated, 5) + LANE_CONSTANTS[lane]) | 0;
    }
  }
  // A word beyond the end reads as 0 and mixes to 0, so the tail needs no special case.
  for (let lane = 0; lane < 4; lane++) lanes[lane] ^= mixKey(readWord(bytes, blocks * 16 + lane * 4), lane);
  for (let lane = 0; lane < 4; lane++) lanes[lane] ^= bytes.length;
  addLanes(lanes);
  for (let lane = 0; lane < 4; lane++) lanes[lane] = finalMix(lanes[lane]);
  addLanes(lanes);
  return [lanes[0] >>> 0, lanes[1] >>> 0, lanes[2] >>> 0, lanes[3] >>> 0];
}

/** Adds the other lanes to the first, then the first to the others. */
function addLanes(lanes: number[]): void {
  lanes[0] = (lanes[0] + lanes[1] + lanes[2] + lanes[3]) | 0;
  for (let lane = 1; lane < 4; lane++) lanes[lane] = (lanes[lane] + lanes[0]) | 0;
}

/** The 32-bit little-endian word at an offset; bytes beyond the end count as 0. */
function readWord(bytes: Uint8Array, offset: number): number {
  let word = 0;
  for (let i = 0; i < 4 && offset + i < bytes.length; i++) word |= bytes[offset + i] << (8 * i);
  return word;
}

function mixKey(word: number, lane: number): number {
  const mixed = rotateLeft(Math.imul(word, MULTIPLIERS[lane]), KEY_ROTATIONS[lane]);
  return Math.imul(mixed, MULTIPLIERS[(lane + 1) % 4]);
}

/** The avalanche step `fmix32` of MurmurHash3: a bijection in which every input bit flips about half of the output. */
function finalMix(word: number): number {
  let mixed = Math.imul(word ^ (word >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return mixed ^ (mixed >>> 16);
}

function rotateLeft(word: number, bits: number): number {
  return (word << bits) | (word >>> (32 - bits));
}
