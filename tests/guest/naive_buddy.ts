/**
 * A twin of the buddy allocator that one can check by reading: plain arrays of blocks, linear searches.
 *
 * Written from the rules of the kernel (mm/page_alloc.c: __rmqueue_smallest, __free_one_page, buddy_merge_likely), not from
 * sim/guest/buddy.ts, so that a slip in the one is not a slip in the other.
 */

/** A free block on a list. */
export interface NaiveBlock {
  /** First page. */
  readonly pfn: number;
  /** Whether the block carries the Reported flag. */
  reported: boolean;
}

const ORDER_COUNT = 11;
const TYPE_COUNT = 5;
/** Pages of a pageblock. */
const PAGEBLOCK = 512;

/** The free lists of one zone. */
export class NaiveBuddy {
  /** lists[order][migratetype], heads first. */
  readonly lists: NaiveBlock[][][];
  readonly #start: number;
  readonly #end: number;
  readonly #types = new Map<number, number>();

  constructor(start: number, pages: number) {
    this.#start = start;
    this.#end = start + pages;
    this.lists = Array.from({ length: ORDER_COUNT }, () => Array.from({ length: TYPE_COUNT }, (): NaiveBlock[] => []));
  }

  /** §1.2: the first block of the smallest order that has one; upper halves go to the heads. */
  alloc(order: number, migratetype: number): number {
    for (let current = order; current < ORDER_COUNT; current++) {
      const block = this.lists[current][migratetype].shift();
      if (block === undefined) continue;
      while (current > order) {
        current -= 1;
        this.lists[current][migratetype].unshift({ pfn: block.pfn + 2 ** current, reported: false });
      }
      return block.pfn;
    }
    return -1;
  }

  /** §1.3 and §1.4; returns the order of the block in the end. */
  free(pfn: number, order: number, migratetype: number, toTail: boolean): number {
    while (order < 10) {
      const buddy = buddyOf(pfn, order);
      const list = this.#listWith(buddy, order);
      if (list === undefined) break;
      if (order >= 9 && !mergeable(this.type(pfn), this.type(buddy))) break;
      list.splice(list.findIndex((block) => block.pfn === buddy), 1);
      pfn = Math.min(pfn, buddy);
      order += 1;
    }
    const block = { pfn, reported: false };
    if (toTail || this.#mergeLikely(pfn, order)) this.lists[order][migratetype].push(block);
    else this.lists[order][migratetype].unshift(block);
    return order;
  }

  /** Takes a block off whatever list it is on. */
  remove(pfn: number, order: number): void {
    const list = this.#listWith(pfn, order)!;
    list.splice(list.findIndex((block) => block.pfn === pfn), 1);
  }

  /** The cyclic order stays, the block comes first. */
  rotate(pfn: number, order: number, migratetype: number): void {
    const list = this.lists[order][migratetype];
    while (list[0].pfn !== pfn) list.push(list.shift()!);
  }

  setReported(pfn: number, order: number): void {
    this.#listWith(pfn, order)!.find((block) => block.pfn === pfn)!.reported = true;
  }

  /** The type of the pageblock of a page, MOVABLE until it is changed. */
  type(pfn: number): number {
    return this.#types.get(Math.floor(pfn / PAGEBLOCK)) ?? 1;
  }

  setType(pfn: number, migratetype: number): void {
    this.#types.set(Math.floor(pfn / PAGEBLOCK), migratetype);
  }

  /** Every free block with its place, by order, type and position. */
  blocks(): { pfn: number; order: number; migratetype: number; reported: boolean }[] {
    return this.lists.flatMap((types, order) =>
      types.flatMap((list, migratetype) => list.map(({ pfn, reported }) => ({ pfn, order, migratetype, reported })))
    );
  }

  nrFree(order: number): number {
    return this.lists[order].reduce((sum, list) => sum + list.length, 0);
  }

  get freePages(): number {
    return this.blocks().reduce((sum, { order }) => sum + 2 ** order, 0);
  }

  get reportedPages(): number {
    return this.blocks().reduce((sum, { order, reported }) => sum + (reported ? 2 ** order : 0), 0);
  }

  /** §1.4 rule 3. */
  #mergeLikely(pfn: number, order: number): boolean {
    if (order >= 9) return false;
    const combined = Math.min(pfn, buddyOf(pfn, order));
    return this.#listWith(buddyOf(combined, order + 1), order + 1) !== undefined;
  }

  /** The list on which a whole block of the zone stands as a free block of this order. */
  #listWith(pfn: number, order: number): NaiveBlock[] | undefined {
    if (pfn < this.#start || pfn + 2 ** order > this.#end) return undefined;
    return this.lists[order].find((list) => list.some((block) => block.pfn === pfn));
  }
}

/** pfn XOR 2^order, also above 2^32. */
function buddyOf(pfn: number, order: number): number {
  return Number(BigInt(pfn) ^ (1n << BigInt(order)));
}

/** Only types 0 to 2 merge with other types. */
function mergeable(a: number, b: number): boolean {
  return a === b || (a < 3 && b < 3);
}
