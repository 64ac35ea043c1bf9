/**
 * What all wire encodings share: 64-bit words in two halves, the check of a range, and the wording of errors.
 *
 * Nothing here is an encoding. Virtio is little-endian since version 1.0, so every multi-byte field is.
 *
 * @module
 */
import { ORDER_PAGES, type Range } from "../memory/range.ts";
import type { EncodingWork } from "./encoding.ts";

/** 2^32: what one unit of the upper half of a 64-bit word is worth. */
const HALF = ORDER_PAGES[32];

/** Values of the lower 12 bits of a word, and of those of its upper 52 bits that lie in the lower half. */
const LOWER_VALUES = 4096;
const UPPER_IN_LOW_HALF = ORDER_PAGES[20];

/**
 * A view on exactly the bytes of an array, also when it is a part of a bigger buffer.
 *
 * @example
 * ```ts
 * import { viewOf } from "./wire.ts";
 *
 * const ring = Uint8Array.of(1, 2, 3, 4);
 * if (viewOf(ring.subarray(2)).byteLength !== 2) throw new Error("the view is wider than the array");
 * ```
 */
export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/**
 * Writes a whole number from 0 to 2^53 - 1 as a little-endian 64-bit word at a byte offset.
 *
 * @example
 * ```ts
 * import { getU64, setU64, viewOf } from "./wire.ts";
 *
 * const view = viewOf(new Uint8Array(8));
 * setU64(view, 0, 2 ** 40 + 7);
 * if (getU64(view, 0) !== 2 ** 40 + 7) throw new Error("the word changed on its way");
 * ```
 */
export function setU64(view: DataView, offset: number, value: number): void {
  // setUint32 itself takes the value modulo 2^32, also above 2^32: cheaper than a remainder of doubles.
  view.setUint32(offset, value, true);
  view.setUint32(offset + 4, Math.floor(value / HALF), true);
}

/**
 * Reads the little-endian 64-bit word at a byte offset. Exact below 2^53; above it the result is rounded but still at
 * least 2^53, so a caller that refuses anything above a limit of at most 2^52 never takes a rounded value for a good one.
 *
 * @example
 * ```ts
 * import { getU64, viewOf } from "./wire.ts";
 *
 * const bytes = Uint8Array.of(2, 0, 0, 0, 1, 0, 0, 0);
 * if (getU64(viewOf(bytes), 0) !== 2 ** 32 + 2) throw new Error("the halves are swapped");
 * ```
 */
export function getU64(view: DataView, offset: number): number {
  return view.getUint32(offset + 4, true) * HALF + view.getUint32(offset, true);
}

/**
 * Why a range is none that ends within the first 2^`pfnBits` pages (a sentence without a full stop), or undefined.
 *
 * @example
 * ```ts
 * import { rangeError } from "./wire.ts";
 *
 * if (rangeError({ pfn: 0, count: 1 }, 32) !== undefined) throw new Error("page 0 is a good range");
 * if (rangeError({ pfn: 2 ** 32, count: 1 }, 32) === undefined) throw new Error("2^32 does not fit into 32 bits");
 * ```
 */
export function rangeError({ pfn, count }: Range, pfnBits: number): string | undefined {
  if (!Number.isSafeInteger(pfn) || pfn < 0) return `pfn ${pfn} is not a whole number from 0 on`;
  if (!Number.isSafeInteger(count) || count < 1) return `count ${count} is not a whole number of at least 1 page`;
  // Not pfn + count > limit: the sum of two safe integers may round.
  if (count > ORDER_PAGES[pfnBits] - pfn) {
    return `pfn ${pfn} with ${count} pages ends above the limit of 2^${pfnBits} pages`;
  }
  return undefined;
}

/**
 * Throws a RangeError naming the first range that an encoding refuses.
 *
 * @example
 * ```ts
 * import { rangeError, refuseRanges } from "./wire.ts";
 *
 * let message = "";
 * try {
 *   refuseRanges("pfn-list", (range) => rangeError(range, 32), [{ pfn: 2 ** 32, count: 1 }]);
 * } catch (error) {
 *   message = (error as RangeError).message;
 * }
 * if (!message.startsWith("Cannot encode range 0 as pfn-list: ")) throw new Error(message);
 * ```
 */
export function refuseRanges(
  name: string,
  errorOf: (range: Range) => string | undefined,
  ranges: readonly Range[],
): void {
  for (let index = 0; index < ranges.length; index++) {
    const why = errorOf(ranges[index]);
    if (why !== undefined) throw new RangeError(`Cannot encode range ${index} as ${name}: ${why}`);
  }
}

/**
 * The error for bytes that no encoder writes: `offset` is the byte at which the wrong record starts.
 *
 * @example
 * ```ts
 * import { decodeError } from "./wire.ts";
 *
 * const { message } = decodeError("pfn-len", 16, "count is 0, wanted at least 1");
 * if (message !== "Cannot decode pfn-len at byte 16: count is 0, wanted at least 1") throw new Error(message);
 * ```
 */
export function decodeError(name: string, offset: number, why: string): RangeError {
  return new RangeError(`Cannot decode ${name} at byte ${offset}: ${why}`);
}

/**
 * Throws a RangeError when a payload does not consist of whole records of `recordBytes` bytes.
 *
 * @example
 * ```ts
 * import { refusePartialRecord } from "./wire.ts";
 *
 * refusePartialRecord("pfn-len", new Uint8Array(32), 16); // two whole records: nothing happens
 * ```
 */
export function refusePartialRecord(name: string, bytes: Uint8Array, recordBytes: number): void {
  const rest = bytes.length % recordBytes;
  if (rest === 0) return;
  throw decodeError(name, bytes.length - rest, `${rest} bytes left over, wanted whole records of ${recordBytes} bytes`);
}

/**
 * The work of a payload that is written once from its first to its last byte, into a buffer of just its size.
 *
 * @example
 * ```ts
 * import { payloadWork } from "./wire.ts";
 *
 * const { words, cacheLines, allocBytes } = payloadWork(5, 80);
 * if (words !== 10 || cacheLines !== 2 || allocBytes !== 80) throw new Error("80 bytes are 10 words on 2 lines");
 * ```
 */
export function payloadWork(records: number, bytes: number): EncodingWork {
  return { records, words: Math.ceil(bytes / 8), cacheLines: Math.ceil(bytes / 64), allocBytes: bytes };
}

/**
 * Writes the little-endian 64-bit word `upper` · 2^12 + `low`, of 52 and 12 bits: a page frame number where a physical
 * address has it, and something in the place of the page offset. Exact for the whole word, which a double is not.
 *
 * @example
 * ```ts
 * import { lower12, setFields, upper52, viewOf } from "./wire.ts";
 *
 * const view = viewOf(new Uint8Array(8));
 * setFields(view, 0, 2 ** 52 - 1, 7);
 * if (upper52(view, 0) !== 2 ** 52 - 1 || lower12(view, 0) !== 7) throw new Error("the fields changed on their way");
 * ```
 */
export function setFields(view: DataView, offset: number, upper: number, low: number): void {
  view.setUint32(offset, (upper % UPPER_IN_LOW_HALF) * LOWER_VALUES + low, true);
  view.setUint32(offset + 4, Math.floor(upper / UPPER_IN_LOW_HALF), true);
}

/** The upper 52 bits of the word at a byte offset; see {@link setFields}. */
export function upper52(view: DataView, offset: number): number {
  const low = Math.floor(view.getUint32(offset, true) / LOWER_VALUES);
  return view.getUint32(offset + 4, true) * UPPER_IN_LOW_HALF + low;
}

/** The lower 12 bits of the word at a byte offset; see {@link setFields}. */
export function lower12(view: DataView, offset: number): number {
  return view.getUint32(offset, true) % LOWER_VALUES;
}

/** Throws a RangeError when a message has more bytes than the format can say. */
export function refuseLongMessage(name: string, bytes: number, messageMax: number): void {
  if (bytes <= messageMax) return;
  throw new RangeError(`Cannot encode ${bytes} bytes as one ${name} message: at most ${messageMax} fit`);
}

/**
 * Throws a RangeError at the first 8-byte word, counted from `start`, in which a payload differs from what the encoder
 * writes for the ranges that were read from it: records in another order, overlapping, or cut in another way.
 */
export function refuseOtherBytes(name: string, bytes: Uint8Array, wanted: Uint8Array, start: number): void {
  const length = Math.max(bytes.length, wanted.length);
  let at = start;
  while (at < length && bytes[at] === wanted[at]) at++;
  if (at === length) return;
  throw decodeError(name, at - (at - start) % 8, "the encoder would not write this record for these pages");
}
