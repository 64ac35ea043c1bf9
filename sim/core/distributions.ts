/**
 * Distributions for costs, sizes, lifetimes and arrival times.
 *
 * Fingerprints must be equal on every engine, and the language leaves the library's logarithm, exponential and power
 * functions to the implementation. So {@link naturalLog} and {@link naturalExp} are made here of + - * / and a table,
 * which IEEE 754 fixes to the last bit.
 *
 * Every distribution but {@link constant} takes exactly one `nextFloat` a draw and is monotone in it where it can be (by
 * inversion), so that runs that differ in one parameter stay in step: common random numbers.
 * Draws are not rounded; a model rounds once, when it makes nanoseconds or pages of them.
 */
import type { Random } from "./random.ts";

/** A distribution of numbers, in the unit of the parameters it was made from. */
export interface Distribution {
  /** The next number. */
  draw(random: Random): number;
  /** The expected value (of {@link pareto}: without its bound). */
  readonly mean: number;
}

// ln 2 in two parts (the split of FreeBSD's e_log.c): the first has 32 trailing zero bits, so that a product with a
// small integer is exact.
const LN2_HIGH = 6.93147180369123816490e-1;
const LN2_LOW = 1.90821492927058770002e-10;

/** ln((1 + z) / (1 - z)) for |z| up to 0.2: 2 (z + z^3/3 + z^5/5 + …), summed until a term no longer counts. */
function logOfRatio(z: number): number {
  const square = z * z;
  let sum = 0;
  let power = z;
  for (let odd = 1; sum + power / odd !== sum; odd += 2) {
    sum += power / odd;
    power *= square;
  }
  return 2 * sum;
}

/** LOG_TABLE[k] = ln(k / 128) for k from 96 to 192. */
const LOG_TABLE = Float64Array.from({ length: 193 }, (_, k) => k < 96 ? NaN : logOfRatio((k - 128) / (k + 128)));

/** 2^n at n + 1074, for every n that a double can have. */
const POWERS_OF_TWO = new Float64Array(2098);
for (let i = 0, power = 2 ** -1074; i < POWERS_OF_TWO.length; i++, power *= 2) POWERS_OF_TWO[i] = power;

/** 2^exponent, exact, for exponents from -1074 to 1023. */
function powerOfTwo(exponent: number): number {
  return POWERS_OF_TWO[exponent + 1074];
}

// A double and its bits: the exponent is in the word that is not 0 for 1.
const doubleView = new Float64Array([1]);
const doubleWords = new Uint32Array(doubleView.buffer);
const EXPONENT_WORD = doubleWords[0] === 0 ? 1 : 0;

/**
 * The natural logarithm, equal on every engine, within 1e-15 relative, also near 1.
 * Gives -Infinity for 0 and NaN for negative numbers, as the library's does.
 *
 * With x = m 2^e, m in [0.75, 1.5), and c the multiple of 1/128 next to m: ln x = e ln 2 + ln c + ln(m / c).
 * Around 1, c is 1 and e is 0, so nothing cancels.
 */
export function naturalLog(x: number): number {
  if (!(x > 0)) return x === 0 ? -Infinity : NaN;
  if (x === Infinity) return Infinity;
  // Subnormal numbers hide their exponent.
  if (x < 2 ** -1000) return naturalLog(x * 2 ** 100) - 100 * LN2_HIGH - 100 * LN2_LOW;
  doubleView[0] = x;
  let exponent = (doubleWords[EXPONENT_WORD] >>> 20) - 1023;
  x *= powerOfTwo(-exponent);
  if (x >= 1.5) {
    x *= 0.5;
    exponent++;
  }
  const k = Math.floor(x * 128 + 0.5);
  const center = k / 128;
  const z = (x - center) / (x + center); // |z| < 1/383, so that z^9 is below the last bit
  const square = z * z;
  const near = 2 * (z + z * square * (1 / 3 + square * (1 / 5 + square * (1 / 7))));
  return exponent * LN2_HIGH + (LOG_TABLE[k] + (near + exponent * LN2_LOW));
}

/** 1/n! for n from 0 to 14. */
const INVERSE_FACTORIALS = new Float64Array(15);
for (let n = 0, factorial = 1; n < 15; n++, factorial *= n) INVERSE_FACTORIALS[n] = 1 / factorial;

/**
 * e^x, equal on every engine, within 1e-15 relative for results that are normal numbers.
 *
 * With k = x / ln 2 rounded: e^x = 2^k e^(x - k ln 2), and 14 powers of a remainder below 0.35.
 */
export function naturalExp(x: number): number {
  if (x > 709.782712893384) return Infinity;
  if (x < -745.2) return 0;
  const k = Math.floor(x / LN2_HIGH + 0.5);
  const rest = x - k * LN2_HIGH - k * LN2_LOW;
  let sum = INVERSE_FACTORIALS[14];
  for (let n = 13; n >= 0; n--) sum = sum * rest + INVERSE_FACTORIALS[n];
  const half = k >> 1; // 2^k itself may be too large or too small for a double
  return sum * powerOfTwo(half) * powerOfTwo(k - half);
}

/** Throws the RangeError of a parameter that is no finite number in (or at, if `inclusive`) the lower bound and above. */
function requireNumber(what: string, value: number, lower: number, inclusive: boolean): void {
  if (Number.isFinite(value) && (value > lower || (inclusive && value === lower))) return;
  const wanted = lower === -Infinity ? "a finite number" : `a finite number ${inclusive ? "from" : "above"} ${lower}`;
  throw new RangeError(`${value} is not ${what}: it must be ${wanted}`);
}

/** Always `value`; takes nothing from the stream. Throws RangeError unless it is finite. */
export function constant(value: number): Distribution {
  requireNumber("the value of a constant distribution", value, -Infinity, false);
  return { mean: value, draw: () => value };
}

/** Evenly spread over [low, high); `low` when both are equal. Throws RangeError unless both are finite and low ≤ high. */
export function uniform(low: number, high: number): Distribution {
  requireNumber("the lower end of a uniform distribution", low, -Infinity, false);
  requireNumber("the upper end of a uniform distribution", high, low, true);
  const width = high - low;
  if (width === Infinity) {
    throw new RangeError(`the range from ${low} to ${high} is too wide for a uniform distribution`);
  }
  return {
    mean: low + width / 2,
    draw(random): number {
      const value = low + width * random.nextFloat();
      return value < high ? value : low; // the sum may round up to the excluded end
    },
  };
}

/**
 * Exponential with the given mean, by inversion: -mean ln(1 - u). With 53 bits of u the largest draw is 36.8 means.
 * Throws RangeError unless the mean is finite and above 0.
 *
 * ```ts
 * import { exponential } from "./distributions.ts";
 * import { randomStream } from "./random.ts";
 * const lifetimeNs = Math.round(exponential(2e9).draw(randomStream(1, 0, "lifetimes")));
 * if (lifetimeNs < 0) throw new Error("an exponential is never negative");
 * ```
 */
export function exponential(mean: number): Distribution {
  requireNumber("the mean of an exponential distribution", mean, 0, false);
  return {
    mean,
    draw: (random) => mean * (0 - naturalLog(1 - random.nextFloat())), // 0 - x, so that u = 0 gives 0 and not -0
  };
}

/** Quantiles of {@link pareto} above 1 - 2^-40 give the value at it. */
const PARETO_TAIL = 2 ** -40;

/**
 * Pareto with the given mean and tail index alpha: P(X > x) = (scale / x)^alpha for x above scale = mean (alpha - 1) / alpha.
 *
 * Draws are bounded at the quantile 1 - 2^-40, which is scale 2^(40 / alpha): beyond it a simulated time has no meaning.
 * `mean` is that of the unbounded distribution; the bound takes 2^(-40 (alpha - 1) / alpha) / alpha of it away: 5e-7 at
 * alpha = 2, 6e-5 at 1.5, 7 % at 1.1.
 *
 * Throws RangeError unless the mean is finite and above 0 and alpha is finite and above 1.
 */
export function pareto(mean: number, alpha: number): Distribution {
  requireNumber("the mean of a Pareto distribution", mean, 0, false);
  requireNumber("the tail index of a Pareto distribution", alpha, 1, false);
  const scale = mean * (alpha - 1) / alpha;
  return {
    mean,
    draw(random): number {
      const above = 1 - random.nextFloat();
      return scale * naturalExp((0 - naturalLog(above > PARETO_TAIL ? above : PARETO_TAIL)) / alpha);
    },
  };
}

/**
 * `values[i]` with a probability proportional to `weights[i]`, in constant time (Vose's alias method, IEEE TSE 17, 1991).
 * A value of weight 0 is never drawn.
 * Throws RangeError unless there are as many values as weights, all finite, no weight negative and one above 0.
 */
export function discrete(values: readonly number[], weights: readonly number[]): Distribution {
  const total = checkWeights(values, weights);
  const kept = values.filter((_, i) => weights[i] > 0);
  const shares = weights.filter((weight) => weight > 0).map((weight) => weight / total);
  const { chances, aliases } = aliasTable(shares);
  return {
    mean: kept.reduce((sum, value, i) => sum + value * shares[i], 0),
    draw(random): number {
      // One float serves as both index and coin; u below 1 never rounds up to the number of values.
      const position = random.nextFloat() * kept.length;
      const index = Math.floor(position);
      return kept[position - index < chances[index] ? index : aliases[index]];
    },
  };
}

/** The sum of the weights; throws as {@link discrete} says. */
function checkWeights(values: readonly number[], weights: readonly number[]): number {
  if (values.length !== weights.length) {
    throw new RangeError(
      `a discrete distribution needs a weight for each value: ${values.length} values and ` +
        `${weights.length} weights were given`,
    );
  }
  for (const value of values) requireNumber("a value of a discrete distribution", value, -Infinity, false);
  for (const weight of weights) requireNumber("a weight of a discrete distribution", weight, 0, true);
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  if (!(total > 0 && total < Infinity)) {
    throw new RangeError(
      `the weights of a discrete distribution add up to ${total}: it must be a finite number above 0`,
    );
  }
  return total;
}

/** Splits n columns of height 1 so that column i holds i up to `chances[i]` and `aliases[i]` above. */
function aliasTable(shares: readonly number[]): { chances: Float64Array; aliases: Int32Array } {
  const n = shares.length;
  const chances = Float64Array.from(shares, (share) => share * n);
  const aliases = Int32Array.from(shares, (_, i) => i);
  const small: number[] = [];
  const large: number[] = [];
  chances.forEach((chance, i) => (chance < 1 ? small : large).push(i));
  while (small.length > 0 && large.length > 0) {
    const filled = small.pop()!;
    const donor = large[large.length - 1];
    aliases[filled] = donor;
    chances[donor] -= 1 - chances[filled];
    if (chances[donor] < 1) small.push(large.pop()!);
  }
  // What is left differs from a full column by rounding only; its alias is itself.
  return { chances, aliases };
}
