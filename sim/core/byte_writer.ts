/**
 * Text written as bytes into one buffer that is used again and again, without a string per cell.
 *
 * Digits go three at a time from a table, as one 32-bit store of which only the valid bytes are kept; words (the names of
 * events) are encoded once and stored the same way. So a store may write up to three bytes past the text: the buffer
 * keeps {@link SLACK_BYTES} for them.
 */

/** Bytes in the buffer of a {@link ByteWriter} unless told otherwise. */
export const BUFFER_BYTES: number = 64 * 1024;

/** Most digits of an integer up to 2^53. */
export const DIGITS_MAX = 16;

/** What a 32-bit store may write past the last valid byte. */
const SLACK_BYTES = 3;

/** The three digits of 0 to 999, as little-endian bytes: "007". */
const GROUPS = new Uint32Array(1000);
/** The digits of 0 to 999 without leading zeros: "7". */
const LEADS = new Uint32Array(1000);
/** How many digits {@link LEADS} has. */
const LEAD_DIGITS = new Uint8Array(1000);
for (let value = 0; value < 1000; value++) {
  GROUPS[value] = packed(String(value).padStart(3, "0"));
  LEADS[value] = packed(String(value));
  LEAD_DIGITS[value] = String(value).length;
}

/** Up to four ASCII characters as the 32-bit number whose little-endian bytes they are. */
function packed(text: string): number {
  let word = 0;
  for (let i = text.length - 1; i >= 0; i--) word = word * 256 + text.charCodeAt(i);
  return word;
}

/** A text in UTF-8, ready to be written many times by {@link ByteWriter.word}. */
export interface Word {
  /** Its bytes, four in each number, little-endian; the last number is padded with zeros. */
  readonly parts: Uint32Array;
  /** How many bytes it has. */
  readonly length: number;
}

/** Encodes a text for {@link ByteWriter.word}. */
export function wordOf(text: string): Word {
  const bytes = new TextEncoder().encode(text);
  const padded = new Uint8Array(Math.ceil(bytes.length / 4) * 4);
  padded.set(bytes);
  const view = new DataView(padded.buffer);
  const parts = new Uint32Array(padded.length / 4);
  for (let i = 0; i < parts.length; i++) parts[i] = view.getUint32(4 * i, true);
  return { parts, length: bytes.length };
}

/** A buffer of bytes that hands itself over when it is full. */
export class ByteWriter {
  #write: (bytes: Uint8Array) => void;
  #bytes: Uint8Array;
  #view: DataView;
  #capacity: number;
  #at = 0;

  /**
   * A writer that hands its bytes to `write`, at most `capacity` at a time. The bytes are only valid during the call: the
   * buffer is written again afterwards.
   */
  constructor(write: (bytes: Uint8Array) => void, capacity: number = BUFFER_BYTES) {
    this.#write = write;
    this.#capacity = capacity;
    this.#bytes = new Uint8Array(capacity + SLACK_BYTES);
    this.#view = new DataView(this.#bytes.buffer);
  }

  /**
   * Makes room for `count` bytes; must come before they are written. Throws RangeError when they are more than the buffer
   * holds.
   */
  reserve(count: number): void {
    if (this.#at + count <= this.#capacity) return;
    if (count > this.#capacity) throw new RangeError(`${count} bytes do not fit into a buffer of ${this.#capacity}`);
    this.close();
  }

  /** Writes one byte. */
  byte(value: number): void {
    this.#view.setUint8(this.#at++, value);
  }

  /** Writes an encoded text. */
  word(word: Word): void {
    const { parts, length } = word;
    for (let i = 0; i < parts.length; i++) this.#view.setUint32(this.#at + 4 * i, parts[i], true);
    this.#at += length;
  }

  /** Writes an integer from 0 to 2^53 in decimal digits, at most {@link DIGITS_MAX}. */
  integer(value: number): void {
    if (value < 1e9) return this.#lead(value);
    // Exact: the rounded quotient of two whole numbers up to 2^53 never reaches the next whole number.
    const billions = Math.floor(value / 1e9);
    this.#lead(billions);
    const rest = value - billions * 1e9;
    const millions = (rest / 1e6) | 0; // below 2^31, as every number from here on
    const thousands = (rest / 1e3) | 0;
    this.#group(millions);
    this.#group(thousands - millions * 1000);
    this.#group(rest - thousands * 1000);
  }

  /** Hands over what is in the buffer. The writer may go on afterwards. */
  close(): void {
    if (this.#at === 0) return;
    const count = this.#at;
    this.#at = 0;
    this.#write(this.#bytes.subarray(0, count));
  }

  /** Writes a value below 10^9 without leading zeros. */
  #lead(value: number): void {
    if (value < 1000) return this.#first(value);
    const thousands = (value / 1e3) | 0;
    if (thousands < 1000) this.#first(thousands);
    else {
      const millions = (thousands / 1e3) | 0;
      this.#first(millions);
      this.#group(thousands - millions * 1000);
    }
    this.#group(value - thousands * 1000);
  }

  #first(value: number): void {
    this.#view.setUint32(this.#at, LEADS[value], true);
    this.#at += LEAD_DIGITS[value];
  }

  #group(value: number): void {
    this.#view.setUint32(this.#at, GROUPS[value], true);
    this.#at += 3;
  }
}
