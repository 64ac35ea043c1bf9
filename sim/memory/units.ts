/**
 * Durations and sizes as people write them (scenario files and command line), and as tables show them.
 *
 * Inside the simulator a duration is a whole number of nanoseconds and a size a whole number of bytes, both at most 2^53.
 * Parsing is exact: the decimal digits are scaled as big integers, so "1.1s" is 1100000000 ns and not a float beside it.
 */

/** One unit: its name and how many ns or bytes it stands for. */
type Unit = readonly [name: string, factor: number];

/** What distinguishes a duration from a size in the parser. */
interface Quantity {
  readonly noun: string;
  /** The plural of the base unit, for messages. */
  readonly base: string;
  /** Ascending; the first is the base unit. */
  readonly units: readonly Unit[];
  /** What to write instead, for messages. */
  readonly hint: string;
}

const LIMIT = 2 ** 53;

const DURATION: Quantity = {
  noun: "duration",
  base: "nanoseconds",
  units: [["ns", 1], ["us", 1e3], ["ms", 1e6], ["s", 1e9], ["min", 60e9], ["h", 3600e9]],
  hint: "write a number and ns, us, ms, s, min or h, like 250ms",
};

const SIZE: Quantity = {
  noun: "size",
  base: "bytes",
  units: [["B", 1], ["KiB", 2 ** 10], ["MiB", 2 ** 20], ["GiB", 2 ** 30], ["TiB", 2 ** 40]],
  hint: "write a number and B, KiB, MiB, GiB or TiB, like 4GiB",
};

/**
 * The nanoseconds of a duration such as `250ms`, `1.5 s` or `90` (plain numbers, also as text, are nanoseconds).
 * The result is an integer from 0 to 2^53. Throws RangeError with one sentence on anything else.
 *
 * ```ts
 * import { parseDuration } from "./units.ts";
 * if (parseDuration("1.5s") !== 1_500_000_000) throw new Error("1.5 s are 1500000000 ns");
 * ```
 */
export function parseDuration(text: string | number): number {
  return parseQuantity(text, DURATION);
}

/**
 * The bytes of a size such as `4GiB`, `1.5 MiB` or `4096` (plain numbers, also as text, are bytes).
 * The result is an integer from 0 to 2^53. Throws RangeError with one sentence on anything else.
 *
 * ```ts
 * import { parseSize } from "./units.ts";
 * if (parseSize("4 GiB") !== 4294967296) throw new Error("4 GiB are 4294967296 bytes");
 * ```
 */
export function parseSize(text: string | number): number {
  return parseQuantity(text, SIZE);
}

/**
 * A duration for tables: in the largest unit that leaves at least 1, with at most three decimals, such as `1.234s`,
 * `250ms`, `1.5min` or `0ns`. Takes any number of ns, also fractions (means) and negative ones (differences);
 * infinities and NaN come out as `Infinity`, `-Infinity` and `NaN`.
 */
export function formatDuration(ns: number): string {
  return formatQuantity(ns, DURATION, (scaled) => scaled.toFixed(3).replace(/\.?0+$/, ""));
}

/**
 * A size for tables: in the largest unit that leaves at least 1, with one decimal, such as `854.0MiB` or `4.0KiB`;
 * whole bytes below 1 KiB (`512B`). Takes any number of bytes, as {@link formatDuration} does.
 */
export function formatSize(bytes: number): string {
  return formatQuantity(bytes, SIZE, (scaled, isBase) => scaled.toFixed(isBase ? 0 : 1));
}

/** At most 64 characters, so that a hostile text cannot keep the big integers busy. */
const LENGTH_MAX = 64;
const PATTERN = /^(-?)(\d+)(?:\.(\d+))?(?: ?([A-Za-z]+))?$/;

function parseQuantity(text: string | number, quantity: Quantity): number {
  const { noun, base, units, hint } = quantity;
  if (typeof text === "number") {
    if (Number.isInteger(text) && text >= 0 && text <= LIMIT) return text + 0; // + 0 makes -0 a 0
    throw new RangeError(numberProblem(text, quantity));
  }
  const shown = text.length > LENGTH_MAX ? `"${text.slice(0, LENGTH_MAX)}…"` : JSON.stringify(text);
  const [, sign, whole, decimals = "", unitName] = text.length > LENGTH_MAX ? [] : PATTERN.exec(text) ?? [];
  const unit = units.find(([name]) => name === (unitName ?? units[0][0]));
  if (whole === undefined || unit === undefined) throw new RangeError(`${shown} is not a ${noun}: ${hint}`);
  if (sign === "-") throw new RangeError(`${shown} is negative: a ${noun} is 0 or more`);
  const scaled = BigInt(whole + decimals) * BigInt(unit[1]);
  const divisor = 10n ** BigInt(decimals.length);
  if (scaled % divisor !== 0n) throw new RangeError(`${shown} is not a whole number of ${base}`);
  const value = scaled / divisor;
  if (value > BigInt(LIMIT)) throw new RangeError(`${shown} is more than the largest ${noun}, ${limitOf(quantity)}`);
  return Number(value);
}

/** Why a plain number is no quantity. */
function numberProblem(value: number, quantity: Quantity): string {
  const { noun, base, hint } = quantity;
  if (!Number.isFinite(value)) return `${value} is not a ${noun}: ${hint}`;
  if (value < 0) return `${value} is negative: a ${noun} is 0 or more`;
  if (value > LIMIT) return `${value} is more than the largest ${noun}, ${limitOf(quantity)}`;
  return `${value} is not a whole number of ${base}`;
}

function limitOf(quantity: Quantity): string {
  return `2^53 ${quantity.base}` + (quantity === DURATION ? " or about 104 days" : " or 8192TiB");
}

function formatQuantity(
  value: number,
  quantity: Quantity,
  digits: (scaled: number, isBase: boolean) => string,
): string {
  if (!Number.isFinite(value)) return String(value);
  if (value < 0) {
    const positive = formatQuantity(-value, quantity, digits);
    return /[1-9]/.test(positive) ? `-${positive}` : positive; // what rounds to 0 has no sign
  }
  const { units } = quantity;
  let index = units.length - 1;
  while (index > 0 && value < units[index][1]) index--;
  let shown = digits(value / units[index][1], index === 0);
  // Rounding may reach the next unit: 999.9999ms is shown as 1s, not as 1000ms.
  if (index + 1 < units.length && Number(shown) * units[index][1] >= units[index + 1][1]) {
    index++;
    shown = digits(1, false);
  }
  return shown + units[index][0];
}
