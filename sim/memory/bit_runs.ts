/**
 * Bits of bitmaps: setting runs of them and finding the runs again.
 *
 * Bit `i % 8` of byte `floor(i / 8)` is bit `i`, which is also bit `i % 64` of the little-endian word `floor(i / 64)`. Bit
 * numbers count from the start of a bitmap and stay below 2^31: unlike page frame numbers they may be shifted.
 *
 * @module
 */

/** A run of pages under construction. */
export interface Run {
  /** First page. */
  readonly pfn: number;
  /** Pages. */
  count: number;
}

/** Sets the bits `from` to `to - 1` of the bitmap at byte `offset`. */
export function setBits(bytes: Uint8Array, offset: number, from: number, to: number): void {
  const first = offset + (from >> 3);
  const last = offset + ((to - 1) >> 3);
  const head = 0xff << (from & 7);
  const tail = 0xff >> (7 - ((to - 1) & 7));
  if (first === last) {
    bytes[first] |= head & tail;
    return;
  }
  bytes[first] |= head;
  bytes.fill(0xff, first + 1, last);
  bytes[last] |= tail;
}

/** Appends a run of pages, or makes the last run longer when it touches: runs go on from word to word. */
function appendRun(runs: Run[], pfn: number, count: number): void {
  const last = runs.at(-1);
  if (last !== undefined && last.pfn + last.count === pfn) last.count += count;
  else runs.push({ pfn, count });
}

/** Trailing zero bits of a 32-bit word that is not 0. */
function trailingZeros(word: number): number {
  return 31 - Math.clz32(word & -word);
}

/** Appends the runs of set bits in one 32-bit word, whose first bit is `granule`, as runs of pages. */
function appendWord(runs: Run[], word: number, granule: number, unitPages: number): void {
  while (word !== 0) {
    const zeros = trailingZeros(word);
    const ones = word >>> zeros === 0xffff_ffff ? 32 : trailingZeros(~(word >>> zeros));
    appendRun(runs, (granule + zeros) * unitPages, ones * unitPages);
    granule += zeros + ones;
    // Two steps, since a shift by 32 would be a shift by 0.
    word = zeros + ones < 32 ? word >>> zeros >>> ones : 0;
  }
}

/**
 * Appends the runs of set bits in a bitmap of `bits` bits (a multiple of 32) at byte `offset`; its first bit is `granule`.
 * Says whether any bit was set.
 *
 * @example
 * ```ts
 * import { appendBitmap, type Run } from "./bit_runs.ts";
 *
 * const runs: Run[] = [];
 * appendBitmap(runs, new DataView(Uint8Array.of(0xc8, 0x01, 0, 0).buffer), 0, 32, 64, 1);
 * if (runs.map(({ pfn, count }) => `${pfn}+${count}`).join() !== "67+1,70+3") throw new Error("wanted bits 3, 6, 7 and 8");
 * ```
 */
export function appendBitmap(
  runs: Run[],
  view: DataView,
  offset: number,
  bits: number,
  granule: number,
  unitPages: number,
): boolean {
  let found = false;
  for (let bit = 0; bit < bits; bit += 32) {
    const word = view.getUint32(offset + bit / 8, true);
    if (word === 0) continue;
    found = true;
    appendWord(runs, word, granule + bit, unitPages);
  }
  return found;
}
