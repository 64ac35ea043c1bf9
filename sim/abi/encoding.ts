/**
 * The interface of a wire encoding. An encoding turns ranges into the bytes of one message and back; it has no clock.
 *
 * Two laws hold for every encoding and every list of ranges it accepts:
 * `decode(encode(x))` equals `canonical(x)`, and `encode(x).length` equals `sizeOf(x)`.
 */
import type { Range } from "../memory/range.ts";

/** The work of encoding (or decoding) one message, to be priced by a cost profile. */
export interface EncodingWork {
  /** Records written: pairs, words, list entries, or bitmap windows. */
  readonly records: number;
  /** 64-bit words touched in the payload (rounded up). */
  readonly words: number;
  /** 64-byte cache lines touched in the payload (rounded up). */
  readonly cacheLines: number;
  /** Bytes of buffer that have to be allocated for the payload. */
  readonly allocBytes: number;
}

/** A wire encoding of ranges. */
export interface Encoding {
  /** Name in scenarios, for example `pfn-len`. */
  readonly name: string;
  /** Largest payload of one message in bytes, `Infinity` where the format sets no limit. */
  readonly messageMax: number;
  /** Why this range cannot be said in this encoding (a sentence without a full stop), or undefined when it can. */
  error(range: Range): string | undefined;
  /** The ranges that the receiver will see, in the order in which it sees them. */
  canonical(ranges: readonly Range[]): Range[];
  /** Payload bytes of the message, without encoding it. */
  sizeOf(ranges: readonly Range[]): number;
  /** The payload, byte for byte. Throws RangeError on a range that {@link error} refuses. */
  encode(ranges: readonly Range[]): Uint8Array;
  /** The ranges of a payload. Throws RangeError with a sentence (naming the byte offset) on bytes that no encoder writes. */
  decode(bytes: Uint8Array): Range[];
  /** What the encoding costs. */
  work(ranges: readonly Range[]): EncodingWork;
}
