/**
 * How the free lists of a zone lie in memory: one Int32Array with everything in it, so that the compiler loads its address and
 * length once for an operation.
 *
 * | cells | what |
 * |---|---|
 * | 0 to 255 | four for each list: head, tail, entries, chunks; then the pages on the lists, those marked Reported, and the blocks of each order so marked |
 * | 256 to the arena | four for each chunk: live entries, list, next and previous chunk |
 * | the arena | the entries of the lists, 1024 in each chunk; place / 1024 is the number of the chunk |
 * | pair words | one word for each pair of pages: 4 bits of state, 28 bits of place |
 * | block words | the same for each pageblock, for blocks of order 9 and 10 |
 *
 * A list is a ring of chunks. The entries from head to tail in the order of the ring are the list; one that was taken out of
 * the middle leaves a gap. An entry is the first page of a block relative to the zone, with the Reported mark as its sign. The
 * array is made once, at full size: pages of it that nobody wrote cost no memory.
 */
import { MIGRATETYPE_COUNT, ORDERS } from "./allocator.ts";

/** What a field holds before its constructor sets it: V8 treats a field that was undefined first as one of any type. */
export const NO_CELLS: Int32Array = new Int32Array(0);

const LISTS = ORDERS * MIGRATETYPE_COUNT;
const CHUNKS = 256;
const CHUNK_BITS = 10;

/**
 * The constants, for destructuring at the top of a module: V8 folds the constants of the module that it compiles, but loads and
 * checks an imported one at every use. The cell of a head is 4 * list, of a tail 4 * list + TAIL; of the live entries of a chunk
 * 4 * chunk + LIVE.
 */
export const LAYOUT = {
  /** Lists of one zone: one for every order and migratetype, numbered order * 5 + migratetype. */
  LISTS,
  /** Place of the last entry of a list; where the list is empty, one before its head. */
  TAIL: 1,
  /** Entries of a list. */
  COUNT: 2,
  /** Chunks of a list. */
  RING: 3,
  /** Pages on the lists, kept by the allocator. */
  FREE_PAGES: 4 * LISTS,
  /** Pages of the blocks that are marked Reported. */
  REPORTED_PAGES: 4 * LISTS + 1,
  /** Blocks that are marked Reported, a cell for each order from here on. */
  REPORTED_BLOCKS: 4 * LISTS + 2,
  /** Where the chunks are described. */
  CHUNKS,
  /** Entries of a chunk, without gaps. */
  LIVE: CHUNKS,
  /** The list of a chunk. */
  OWNER: CHUNKS + 1,
  /** The next chunk of the ring; after the last comes the first. Of a chunk without a list: the next such chunk. */
  AFTER: CHUNKS + 2,
  /** The chunk before this one in the ring. */
  BEFORE: CHUNKS + 3,
  /** Entries of a chunk are numbered with this many bits. */
  CHUNK_BITS,
  /** Entries of a chunk. */
  CHUNK_ENTRIES: 1 << CHUNK_BITS,
  /** The last place in a chunk. */
  CHUNK_MASK: (1 << CHUNK_BITS) - 1,
  /** An entry that is none. */
  GAP: -1,
  /** The page of an entry, without the Reported mark. */
  PAGE_MASK: 0x7fffffff,
  /** The state in a word: 0 none, 1 and 2 the even and the odd page of order 0, else order + 2. */
  STATE_MASK: 15,
  /** Where the place begins in a word. */
  STATE_BITS: 4,
} as const;
