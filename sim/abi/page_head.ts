/**
 * The 64-bit head of Liang Li's v4 and v5: {start_pfn 52, page_shift 6, bmap_len 6} as bit fields of one le64.
 *
 * C compilers for little-endian x86-64 place the field that is declared first in the lowest bits: start_pfn in bits 0 to 51,
 * page_shift in bits 52 to 57, bmap_len in bits 58 to 63.
 *
 * Not an encoding of its own.
 *
 * @module
 */
import { ORDER_PAGES } from "../memory/range.ts";

const HALF = ORDER_PAGES[32];
const PFN_HIGH_VALUES = ORDER_PAGES[20];
const FIELD_VALUES = 64;

/** PAGE_SHIFT: log2 of a page of 4 KiB. */
export const PAGE_SHIFT = 12;

/** What a head says. */
export interface PageHead {
  /** First page. */
  readonly pfn: number;
  /** log2 of the bytes that the head, or one bit of its bitmap, stands for. */
  readonly shift: number;
  /** Bytes of the bitmap that follows; 0: none, the head is one block. */
  readonly bmapLen: number;
}

/**
 * Writes a head at a byte offset.
 *
 * @example
 * ```ts
 * import { pageHead, setPageHead } from "./page_head.ts";
 *
 * const view = new DataView(new ArrayBuffer(8));
 * setPageHead(view, 0, { pfn: 0x200, shift: 21, bmapLen: 0 }); // 2 MiB at 2 MiB: 21 << 52 | 0x200
 * if (view.getBigUint64(0, true) !== 0x0150_0000_0000_0200n) throw new Error("another order of the fields");
 * if (pageHead(view, 0).shift !== 21) throw new Error("the shift changed on its way");
 * ```
 */
export function setPageHead(view: DataView, offset: number, { pfn, shift, bmapLen }: PageHead): void {
  const high = Math.floor(pfn / HALF) + shift * PFN_HIGH_VALUES + bmapLen * PFN_HIGH_VALUES * FIELD_VALUES;
  // setUint32 itself takes the pfn modulo 2^32.
  view.setUint32(offset, pfn, true);
  view.setUint32(offset + 4, high, true);
}

/** Reads the head at a byte offset. */
export function pageHead(view: DataView, offset: number): PageHead {
  const high = view.getUint32(offset + 4, true);
  const fields = Math.floor(high / PFN_HIGH_VALUES);
  return {
    pfn: (high % PFN_HIGH_VALUES) * HALF + view.getUint32(offset, true),
    shift: fields % FIELD_VALUES,
    bmapLen: Math.floor(fields / FIELD_VALUES),
  };
}
