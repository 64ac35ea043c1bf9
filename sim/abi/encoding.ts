/**
 * The interface of a wire encoding. An encoding turns ranges into the bytes of one message and back; it has no clock.
 *
 * Two laws hold for every encoding and every list of ranges it accepts:
 * `decode(encode(x))` equals `canonical(x)`, and `encode(x).length` equals `sizeOf(x)`.
 * They hold for the `asPosted` variants, too: there `canonical` is what the receiver of the posted bytes makes of them.
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

/**
 * What a header says of a message besides its ranges. Formats without a header have no place for it.
 *
 * In Liang Li's sets cmd 0 asks for unused pages, flag 0 (CONT) says that more is coming and flag 1 (DONE) that it is not.
 */
export interface MessageHead {
  /** What kind of request is answered. */
  readonly cmd: number;
  /** Status of the answer: 0 CONT, 1 DONE. */
  readonly flag: number;
  /** Number of the request; formats with 16 bits for it send it modulo 2^16, as a C bit field does. */
  readonly id: number;
}

/** A wire encoding of ranges. */
export interface Encoding {
  /** Name in scenarios, for example `pfn-len`. */
  readonly name: string;
  /** Largest payload of one message in bytes, `Infinity` where the format sets no limit. */
  readonly messageMax: number;
  /** Bytes of the header, which a message without ranges has, too; absent where there is no header. */
  readonly headBytes?: number;
  /**
   * Whether the bytes are descriptors of the ring itself: each is a buffer made of the memory that is spoken of, and there is
   * no payload besides.
   */
  readonly inRing?: boolean;
  /** Why this range cannot be said in this encoding (a sentence without a full stop), or undefined when it can. */
  error(range: Range): string | undefined;
  /** The ranges that the receiver will see, in the order in which it sees them. */
  canonical(ranges: readonly Range[]): Range[];
  /** Payload bytes of the message, without encoding it. */
  sizeOf(ranges: readonly Range[]): number;
  /**
   * The payload, byte for byte; `head` goes into the header, all zeros unless given. Throws RangeError on a range that
   * {@link error} refuses, on more than {@link messageMax} bytes and on a header field that does not fit.
   */
  encode(ranges: readonly Range[], head?: MessageHead): Uint8Array;
  /** The ranges of a payload. Throws RangeError with a sentence (naming the byte offset) on bytes that no encoder writes. */
  decode(bytes: Uint8Array): Range[];
  /** The header of a payload. Throws RangeError as {@link decode} does, for what it reads. */
  decodeHead?(bytes: Uint8Array): MessageHead;
  /** Lengths in bytes of the buffers that make up the message, in order; absent where it is one contiguous payload. */
  descriptors?(ranges: readonly Range[]): number[];
  /** What the encoding costs. */
  work(ranges: readonly Range[]): EncodingWork;
}
