/**
 * The memory of ordered free lists: chunks, rings and the words that lead from a block to its entry (list_layout.ts), and
 * their upkeep. What the entries mean is the matter of free_lists.ts.
 */
import { CapacityError } from "../core/capacity_error.ts";
import { MIGRATETYPE_COUNT, PAGEBLOCK_ORDER, PAGEBLOCK_PAGES } from "./allocator.ts";
import { LAYOUT, NO_CELLS } from "./list_layout.ts";

const { LISTS, TAIL, COUNT, RING, CHUNKS, LIVE, OWNER, AFTER, BEFORE } = LAYOUT;
const { CHUNK_BITS, CHUNK_ENTRIES, CHUNK_MASK, GAP, PAGE_MASK, STATE_BITS } = LAYOUT;
/** The lists of the orders that have words in each pageblock begin here. */
const LARGE_LISTS = PAGEBLOCK_ORDER * MIGRATETYPE_COUNT;
const PAGEBLOCK_SHIFT = PAGEBLOCK_ORDER;
/** As many chunks as 28 bits of place can tell apart. */
const CHUNKS_MAX = 2 ** (32 - STATE_BITS - CHUNK_BITS);
/** Two inner neighbours with at most this many entries become one, so that a walk does not read gaps only. */
const SPARSE_ENTRIES = CHUNK_ENTRIES / 2;
/** Gaps are closed before the arena grows when they are more than this share of it and of the pairs of pages. */
const GAPS_OF_ARENA = 1 / 7;
const GAPS_OF_PAIRS = 1 / 32;

/** Cells, rings of chunks and their upkeep; FreeLists gives them the meaning of lists. */
export class ListMemory {
  /** Everything, as the table above says. */
  readonly cells: Int32Array = NO_CELLS;
  /** Where the words of the pairs begin. */
  readonly pairWords: number = 0;
  /** Where the words of the pageblocks begin. */
  readonly blockWords: number = 0;
  readonly #gapsMin: number;
  readonly #firstChunk: number = 0;
  readonly #endChunk: number = 0;
  /** A chunk without a list, the first of a chain, or 0. */
  #spare = 0;
  /** The first chunk that was never in use. */
  #fresh = 0;

  /** Memory for a zone of `pages` pages, a multiple of the largest block. */
  constructor(pages: number) {
    const pairs = pages >>> 1;
    // Entries never exceed the pairs; see GAPS_OF_ARENA for the gaps; and both ends of a list may be half filled.
    const wanted = (Math.ceil(1.2 * pairs / CHUNK_ENTRIES) + 3 * LISTS) | 0;
    this.#firstChunk = (Math.ceil((CHUNKS + 4 * (wanted + 4)) / (CHUNK_ENTRIES - 4)) + 1) | 0;
    this.#endChunk = Math.min(CHUNKS_MAX, this.#firstChunk + wanted) | 0;
    this.#fresh = this.#firstChunk;
    this.#gapsMin = Math.max(pairs * GAPS_OF_PAIRS, 2 * CHUNK_ENTRIES);
    // Bit operators keep fields integers for the compiler: a double, even a whole one, would make every use a conversion.
    this.pairWords = (this.#endChunk << CHUNK_BITS) | 0;
    this.blockWords = (this.pairWords + pairs) | 0;
    this.cells = new Int32Array(this.blockWords + pages / PAGEBLOCK_PAGES);
    for (let list = 0; list < LISTS; list++) this.cells[(list << 2) | TAIL] = GAP;
  }

  /** Bytes of the chunks that were ever in use. What was touched once stays with the process, so this never falls. */
  get arenaBytes(): number {
    return (this.#fresh - this.#firstChunk) * CHUNK_ENTRIES * Int32Array.BYTES_PER_ELEMENT;
  }

  /** The head of a list whose first chunk has no room in front: a new chunk in front of it, filled from its end. */
  growHead(list: number): number {
    const chunk = this.#link(list);
    if (this.cells[(chunk << 2) + AFTER] !== chunk) this.cells[list << 2] = (chunk + 1) * CHUNK_ENTRIES;
    return this.cells[list << 2];
  }

  /** The tail of a list whose last chunk has no room behind: a new chunk behind it, filled from its start. */
  growTail(list: number): number {
    const chunk = this.#link(list);
    if (this.cells[(chunk << 2) + AFTER] !== chunk) this.cells[(list << 2) | TAIL] = chunk * CHUNK_ENTRIES - 1;
    return this.cells[(list << 2) | TAIL];
  }

  /**
   * A chunk has no entry left: it leaves the ring, and head or tail move on when they stood in it. The only chunk of a list
   * stays, since the next entry is likely to come soon.
   */
  empty(list: number, chunk: number): void {
    const { cells } = this;
    if (cells[(list << 2) | COUNT] === 0) return this.#center(list, chunk);
    if (chunk === this.#first(list)) cells[list << 2] = this.firstOf(cells[(chunk << 2) + AFTER]);
    else if (chunk === this.#last(list)) cells[(list << 2) | TAIL] = this.lastOf(cells[(chunk << 2) + BEFORE]);
    this.#release(chunk);
  }

  /** The place of the first entry of a chunk that was not the first one. */
  firstOf(chunk: number): number {
    let at = chunk * CHUNK_ENTRIES;
    while (this.cells[at] === GAP) at++;
    return at;
  }

  /** The place of the last entry of a chunk that was not the last one. */
  lastOf(chunk: number): number {
    let at = chunk * CHUNK_ENTRIES + CHUNK_MASK;
    while (this.cells[at] === GAP) at--;
    return at;
  }

  /** A chunk lost entries from its middle: it leaves when it is empty, and joins a neighbour when both have become sparse. */
  thin(list: number, chunk: number): void {
    const { cells } = this;
    if (cells[(chunk << 2) + LIVE] === 0) return this.empty(list, chunk);
    this.#join(list, chunk, cells[(chunk << 2) + AFTER]);
    this.#join(list, cells[(chunk << 2) + BEFORE], chunk);
  }

  /** Checks the ring of a list and what is counted for it. Throws Error naming the first that is wrong. */
  validate(list: number): void {
    const { cells } = this;
    if (cells[list << 2] === 0) return;
    const first = this.#first(list);
    const last = this.#last(list);
    let count = 0;
    let chunks = 0;
    for (
      let chunk = first, start = true;
      start || chunk !== first;
      chunk = cells[(chunk << 2) + AFTER], start = false
    ) {
      const from = chunk === first ? cells[list << 2] : chunk * CHUNK_ENTRIES;
      const to = chunk === last ? cells[(list << 2) | TAIL] : chunk * CHUNK_ENTRIES + CHUNK_MASK;
      let live = 0;
      for (let at = from; at <= to; at++) if (cells[at] !== GAP) live++;
      const linked = cells[4 * cells[(chunk << 2) + AFTER] + BEFORE] === chunk && cells[(chunk << 2) + OWNER] === list;
      if (live !== cells[(chunk << 2) + LIVE] || !linked) {
        throw new Error(
          `Chunk ${chunk} of list ${list} has ${live} entries, not ${cells[(chunk << 2) + LIVE]}, or no link`,
        );
      }
      count += live;
      chunks++;
    }
    const counted = count === cells[(list << 2) | COUNT] && chunks === cells[(list << 2) | RING];
    if (counted && cells[(last << 2) + AFTER] === first) return;
    throw new Error(
      `List ${list} has ${count} entries in ${chunks} chunks, not ${cells[(list << 2) | COUNT]}, or no ring`,
    );
  }

  #first(list: number): number {
    return this.cells[list << 2] >>> CHUNK_BITS;
  }

  #last(list: number): number {
    return this.cells[(list << 2) | TAIL] >>> CHUNK_BITS;
  }

  /** Makes two neighbouring chunks one, if both are inner chunks and sparse. */
  #join(list: number, chunk: number, next: number): void {
    const { cells } = this;
    if (chunk === next || cells[(chunk << 2) + LIVE] + cells[(next << 2) + LIVE] > SPARSE_ENTRIES) return;
    if (this.#isInner(list, chunk) && this.#isInner(list, next)) this.#pack(list, chunk, next);
  }

  #isInner(list: number, chunk: number): boolean {
    return chunk !== this.#first(list) && chunk !== this.#last(list);
  }

  #center(list: number, chunk: number): void {
    const head = chunk * CHUNK_ENTRIES + CHUNK_ENTRIES / 2;
    this.cells[list << 2] = head;
    this.cells[(list << 2) | TAIL] = head - 1;
  }

  /** Puts a chunk between the last and the first one of a list. */
  #link(list: number): number {
    const { cells } = this;
    const chunk = this.#take();
    cells[(chunk << 2) + OWNER] = list;
    cells[(chunk << 2) + LIVE] = 0;
    cells[(list << 2) | RING]++;
    if (cells[list << 2] === 0) {
      cells[(chunk << 2) + AFTER] = cells[(chunk << 2) + BEFORE] = chunk;
      this.#center(list, chunk);
      return chunk;
    }
    const first = this.#first(list);
    const last = cells[(first << 2) + BEFORE];
    cells[(last << 2) + AFTER] = cells[(first << 2) + BEFORE] = chunk;
    cells[(chunk << 2) + BEFORE] = last;
    cells[(chunk << 2) + AFTER] = first;
    return chunk;
  }

  #release(chunk: number): void {
    const { cells } = this;
    const after = cells[(chunk << 2) + AFTER];
    const before = cells[(chunk << 2) + BEFORE];
    cells[(before << 2) + AFTER] = after;
    cells[(after << 2) + BEFORE] = before;
    cells[(cells[(chunk << 2) + OWNER] << 2) | RING]--;
    cells[(chunk << 2) + AFTER] = this.#spare;
    this.#spare = chunk;
  }

  #take(): number {
    if (this.#spare === 0) this.#closeGaps();
    const chunk = this.#spare;
    if (chunk !== 0) {
      this.#spare = this.cells[(chunk << 2) + AFTER];
      return chunk;
    }
    if (this.#fresh === this.#endChunk) {
      const entries = (this.#endChunk - this.#firstChunk) * CHUNK_ENTRIES;
      throw new CapacityError(`the free lists of a zone hold at most ${entries} entries`);
    }
    return this.#fresh++;
  }

  /** Gaps between the head and the tail of a list that has inner chunks. */
  #gaps(list: number): number {
    const { cells } = this;
    const chunks = cells[(list << 2) | RING];
    const ends = (cells[list << 2] & CHUNK_MASK) + CHUNK_MASK - (cells[(list << 2) | TAIL] & CHUNK_MASK);
    return chunks < 3 ? 0 : chunks * CHUNK_ENTRIES - ends - cells[(list << 2) | COUNT];
  }

  /**
   * Closes gaps when there are many, the sparsest chunks first: a chunk that is half empty gives a place for each entry that
   * moves, one that is nearly full a place for hundreds.
   */
  #closeGaps(): void {
    const enough = Math.max((this.#fresh - this.#firstChunk) * CHUNK_ENTRIES * GAPS_OF_ARENA, this.#gapsMin);
    let gaps = 0;
    for (let list = 0; list < LISTS; list++) gaps += this.#gaps(list);
    if (gaps <= enough) return;
    for (let entries = CHUNK_ENTRIES / 2; gaps > enough / 2 && entries <= CHUNK_ENTRIES; entries += CHUNK_ENTRIES / 4) {
      gaps = 0;
      for (let list = 0; list < LISTS; list++) {
        if (this.#gaps(list) > CHUNK_ENTRIES) this.#packRuns(list, entries);
        gaps += this.#gaps(list);
      }
    }
  }

  /** Packs every run of inner chunks that have at most `entriesMax` entries each. */
  #packRuns(list: number, entriesMax: number): void {
    const { cells } = this;
    const end = this.#last(list);
    let chunk = cells[4 * this.#first(list) + AFTER];
    while (chunk !== end) {
      const first = chunk;
      let last = chunk;
      let entries = 0;
      let chunks = 0;
      for (; chunk !== end && cells[(chunk << 2) + LIVE] <= entriesMax; chunk = cells[(chunk << 2) + AFTER]) {
        last = chunk;
        entries += cells[(chunk << 2) + LIVE];
        chunks++;
      }
      if (chunks === 0) chunk = cells[(chunk << 2) + AFTER];
      else if (entries <= (chunks - 1) * CHUNK_ENTRIES) this.#pack(list, first, last);
    }
  }

  /** Moves the entries of the inner chunks from `first` to `last` together; chunks that become empty are released. */
  #pack(list: number, first: number, last: number): void {
    const { cells } = this;
    const large = list >= LARGE_LISTS;
    const shift = large ? PAGEBLOCK_SHIFT : 1;
    const words = large ? this.blockWords : this.pairWords;
    // The state follows from the order: to write a word without reading it first does not wait for the cache.
    const order = (list / MIGRATETYPE_COUNT) | 0;
    const state = order === 0 ? 1 : order + 2;
    const odd = order === 0 ? 1 : 0;
    let into = first;
    let put = into * CHUNK_ENTRIES;
    let end = put + CHUNK_ENTRIES;
    for (let chunk = first, left = cells[(chunk << 2) + LIVE];; left = cells[(chunk << 2) + LIVE]) {
      for (let at = chunk * CHUNK_ENTRIES; left > 0; at++) {
        const entry = cells[at];
        if (entry === GAP) continue;
        left--;
        if (put === end) {
          cells[(into << 2) + LIVE] = CHUNK_ENTRIES;
          into = cells[(into << 2) + AFTER];
          put = into * CHUNK_ENTRIES;
          end = put + CHUNK_ENTRIES;
        }
        if (put !== at) {
          cells[put] = entry;
          cells[(words + ((entry & PAGE_MASK) >>> shift)) | 0] = (put << STATE_BITS) | (state + (entry & odd));
        }
        put++;
      }
      if (chunk === last) break;
      chunk = cells[(chunk << 2) + AFTER];
    }
    cells[(into << 2) + LIVE] = CHUNK_ENTRIES - (end - put);
    cells.fill(GAP, put, end);
    for (let chunk = last; chunk !== into;) {
      const before = cells[(chunk << 2) + BEFORE];
      this.#release(chunk);
      chunk = before;
    }
  }
}
