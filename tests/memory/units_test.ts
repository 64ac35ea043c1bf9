import assert from "node:assert/strict";
import fc from "fast-check";
import { formatDuration, formatSize, parseDuration, parseSize } from "../../sim/memory/units.ts";

const LIMIT = 2 ** 53;

/** The whole message of a refusal. */
function refusal(action: () => number): string {
  try {
    return `accepted as ${action()}`;
  } catch (error) {
    assert.ok(error instanceof RangeError);
    return error.message;
  }
}

Deno.test("parseDuration: every unit, decimals, blanks and plain numbers", () => {
  const cases: [string | number, number][] = [
    ["0", 0],
    ["90", 90],
    [90, 90],
    [-0, 0],
    [LIMIT, LIMIT],
    ["7ns", 7],
    ["7us", 7_000],
    ["250ms", 250_000_000],
    ["2s", 2_000_000_000],
    ["1.5s", 1_500_000_000],
    ["1.1s", 1_100_000_000],
    ["0.000000001s", 1],
    ["0.0000000010s", 1],
    ["1.0ns", 1],
    ["1.50", -1],
    ["3min", 180_000_000_000],
    ["104 h", 374_400_000_000_000],
    ["0.5 us", 500],
    ["9007199254740992ns", LIMIT],
    ["9007199.254740992s", LIMIT],
  ];
  for (const [text, ns] of cases) {
    if (ns >= 0) assert.ok(Object.is(parseDuration(text), ns), `${text}`);
    else assert.throws(() => parseDuration(text), RangeError);
  }
});

Deno.test("parseSize: every unit, decimals, blanks and plain numbers", () => {
  const cases: [string | number, number][] = [
    ["0B", 0],
    ["4096", 4096],
    [4096, 4096],
    ["512 B", 512],
    ["4KiB", 4096],
    ["1.5MiB", 1572864],
    ["4 GiB", 4294967296],
    ["16TiB", 2 ** 44],
    ["0.0009765625KiB", 1],
    ["8192TiB", LIMIT],
  ];
  for (const [text, bytes] of cases) assert.equal(parseSize(text), bytes, `${text}`);
});

Deno.test("durations: each refusal is one sentence that names the value", () => {
  const wanted = "write a number and ns, us, ms, s, min or h, like 250ms";
  const largest = "is more than the largest duration, 2^53 nanoseconds or about 104 days";
  const cases: [string | number, string][] = [
    ["5 sec", `"5 sec" is not a duration: ${wanted}`],
    ["", `"" is not a duration: ${wanted}`],
    ["s", `"s" is not a duration: ${wanted}`],
    ["5S", `"5S" is not a duration: ${wanted}`],
    [".5s", `".5s" is not a duration: ${wanted}`],
    ["1.s", `"1.s" is not a duration: ${wanted}`],
    ["1e3s", `"1e3s" is not a duration: ${wanted}`],
    ["1,5s", `"1,5s" is not a duration: ${wanted}`],
    ["5  s", `"5  s" is not a duration: ${wanted}`],
    [" 5s", `" 5s" is not a duration: ${wanted}`],
    ["5s\n", `"5s\\n" is not a duration: ${wanted}`],
    ["4GiB", `"4GiB" is not a duration: ${wanted}`],
    ["9".repeat(99), `"${"9".repeat(64)}…" is not a duration: ${wanted}`],
    [NaN, `NaN is not a duration: ${wanted}`],
    [Infinity, `Infinity is not a duration: ${wanted}`],
    ["-5s", `"-5s" is negative: a duration is 0 or more`],
    [-1, `-1 is negative: a duration is 0 or more`],
    ["1.5ns", `"1.5ns" is not a whole number of nanoseconds`],
    ["0.0000000001s", `"0.0000000001s" is not a whole number of nanoseconds`],
    [0.5, `0.5 is not a whole number of nanoseconds`],
    ["2502h", `"2502h" ${largest}`],
    ["9007199254740993", `"9007199254740993" ${largest}`],
    [LIMIT + 2, `${LIMIT + 2} ${largest}`],
  ];
  for (const [text, message] of cases) assert.equal(refusal(() => parseDuration(text)), message);
});

Deno.test("sizes: each refusal is one sentence that names the value", () => {
  const wanted = "write a number and B, KiB, MiB, GiB or TiB, like 4GiB";
  const cases: [string | number, string][] = [
    ["4GB", `"4GB" is not a size: ${wanted}`],
    ["4G", `"4G" is not a size: ${wanted}`],
    ["4gib", `"4gib" is not a size: ${wanted}`],
    ["-1B", `"-1B" is negative: a size is 0 or more`],
    ["0.1KiB", `"0.1KiB" is not a whole number of bytes`],
    ["8193TiB", `"8193TiB" is more than the largest size, 2^53 bytes or 8192TiB`],
  ];
  for (const [text, message] of cases) assert.equal(refusal(() => parseSize(text)), message);
});

Deno.test("decimals are exact: any number of ns written in seconds comes back", () => {
  fc.assert(fc.property(fc.bigInt(0n, 2n ** 53n), (ns) => {
    const digits = ns.toString().padStart(10, "0");
    assert.equal(parseDuration(`${digits.slice(0, -9)}.${digits.slice(-9)}s`), Number(ns));
  }));
});

Deno.test("formatDuration", () => {
  const cases: [number, string][] = [
    [0, "0ns"],
    [1, "1ns"],
    [999, "999ns"],
    [0.25, "0.25ns"],
    [1_000, "1us"],
    [1_500, "1.5us"],
    [250_000_000, "250ms"],
    [1_234_000_000, "1.234s"],
    [1_234_567_890, "1.235s"],
    [999_999_999, "1s"],
    [999_499_999, "999.5ms"],
    [59_999_999_999, "1min"],
    [90_000_000_000, "1.5min"],
    [7_200_000_000_000, "2h"],
    [100 * 3_600_000_000_000, "100h"],
    [-1_500, "-1.5us"],
    [-0.0001, "0ns"],
    [Infinity, "Infinity"],
    [NaN, "NaN"],
  ];
  for (const [ns, text] of cases) assert.equal(formatDuration(ns), text);
});

Deno.test("formatSize", () => {
  const cases: [number, string][] = [
    [0, "0B"],
    [512, "512B"],
    [1023, "1023B"],
    [1023.7, "1.0KiB"],
    [1024, "1.0KiB"],
    [854 * 2 ** 20, "854.0MiB"],
    [2 ** 20 - 1, "1.0MiB"],
    [2 ** 40, "1.0TiB"],
    [2 ** 53, "8192.0TiB"],
    [-4096, "-4.0KiB"],
  ];
  for (const [bytes, text] of cases) assert.equal(formatSize(bytes), text);
});

Deno.test("what is formatted is near the value", () => {
  fc.assert(fc.property(fc.nat(2 ** 31 - 1), fc.nat(2 ** 21), (low, high) => {
    const value = high * 2 ** 31 + low; // at most 2^52: the neighbours of 2^53 round to more than a duration may be
    assert.ok(Math.abs(parseDuration(formatDuration(value)) - value) <= value * 0.0006);
  }));
});
