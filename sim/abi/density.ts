/**
 * How dense blocks are, and what they take in each encoding: the quantities that the arguments of 2016 turned on.
 *
 * Andrea Arcangeli: a length beats an order only where neighbours of different orders merge, so how many records have a length
 * that is no power of two? Dave Hansen: a bitmap is worth its bits only where many are set, so how many are, word by word?
 *
 * @module
 */
import { mergeRanges, pagesOf, type Range } from "../memory/range.ts";
import type { Encoding } from "./encoding.ts";

/** The density of a list of blocks. */
export interface Density {
  /** Pages in the blocks, each once. */
  readonly pages: number;
  /** Blocks as given. */
  readonly blocks: number;
  /** Maximal runs: the records of a format with lengths. */
  readonly runs: number;
  /** Share of the runs whose length in pages is no power of two, 0 to 1; 0 without runs. */
  readonly unevenShare: number;
  /** Mean set bits of the 64-bit words that hold a listed page, as v4 sends them; 0 without runs. */
  readonly bitsPerSetWord: number;
  /** Mean set bits of all 64-bit words from the first to the last listed page, as v3 sends them; 0 without runs. */
  readonly bitsPerWord: number;
  /** Bytes by the name of the encoding, as if one message could be that long; absent where a block cannot be said. */
  readonly bytes: ReadonlyMap<string, number>;
}

const WORD_PAGES = 64;

function isPowerOfTwo(count: number): boolean {
  // Not by bit operators: a run may have more than 2^31 pages.
  while (count % 2 === 0) count /= 2;
  return count === 1;
}

/** Words of 64 pages that hold a page of sorted runs, each once. */
function countSetWords(runs: readonly Range[]): number {
  let words = 0;
  let last = -1;
  for (const { pfn, count } of runs) {
    const first = Math.max(last + 1, Math.floor(pfn / WORD_PAGES));
    last = Math.floor((pfn + count - 1) / WORD_PAGES);
    words += last - first + 1;
  }
  return words;
}

/** Words of 64 pages from the first to the last page of sorted runs. */
function countSpanWords(runs: readonly Range[]): number {
  if (runs.length === 0) return 0;
  const { pfn, count } = runs[runs.length - 1];
  return Math.floor((pfn + count - 1) / WORD_PAGES) - Math.floor(runs[0].pfn / WORD_PAGES) + 1;
}

/**
 * The density of blocks, and their bytes in the given encodings.
 *
 * @example
 * ```ts
 * import { densityOf } from "./density.ts";
 * import { pfnLen } from "./pfn_len.ts";
 * import { pfnOrder } from "./pfn_order.ts";
 *
 * // [2 MiB, +2 MiB] and [4 MiB, +4 MiB] merge to one run of 6 MiB, and page 0 stays alone.
 * const blocks = [{ pfn: 512, count: 512 }, { pfn: 1024, count: 1024 }, { pfn: 0, count: 1 }];
 * const { runs, unevenShare, bytes } = densityOf(blocks, [pfnLen, pfnOrder]);
 * if (runs !== 2 || unevenShare !== 0.5) throw new Error("one of two runs is no power of two");
 * if (bytes.get("pfn-len") !== 48 || bytes.get("pfn-order") !== 24) throw new Error("blocks are encoded as they are given");
 * ```
 */
export function densityOf(blocks: readonly Range[], encodings: readonly Encoding[]): Density {
  const runs = mergeRanges(blocks);
  const pages = pagesOf(runs);
  const share = (part: number, whole: number) => whole === 0 ? 0 : part / whole;
  const bytes = new Map<string, number>();
  for (const { name, error, sizeOf } of encodings) {
    if (blocks.every((block) => error(block) === undefined)) bytes.set(name, sizeOf(blocks));
  }
  return {
    pages,
    blocks: blocks.length,
    runs: runs.length,
    unevenShare: share(runs.filter(({ count }) => !isPowerOfTwo(count)).length, runs.length),
    bitsPerSetWord: share(pages, countSetWords(runs)),
    bitsPerWord: share(pages, countSpanWords(runs)),
    bytes,
  };
}
