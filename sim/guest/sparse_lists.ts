/**
 * The page allocator of a zone that spans far more memory than it has: sections of 128 MiB come and go anywhere in 64 TiB.
 *
 * The sections that exist have numbers of their own, without gaps, and one Buddy does the work over pages numbered by them. No
 * free block is larger than 4 MiB, so none crosses a section and buddies are the same pages in both numberings.
 */
import { ORDER_PAGES } from "../memory/range.ts";
import { type Allocator, forEachOnLists, MIGRATETYPE_COUNT, MOVABLE, ORDERS, PAGEBLOCK_PAGES } from "./allocator.ts";
import { Buddy } from "./buddy.ts";
import { SECTION_PAGES, SectionTable } from "./section_table.ts";

// Literals, since imported constants cost a load and a check at each use.
const PFN_END = 2 ** 34;
const SECTION = 32768;
const SECTION_BITS = 15;
const OFFSET_MASK = 32767;

/**
 * The free lists of one zone with holes of any size.
 *
 * ```ts
 * import { SECTION_PAGES } from "./section_table.ts";
 * import { SparseLists } from "./sparse_lists.ts";
 * const zone = new SparseLists(2);
 * zone.addSection(32);
 * zone.addSection(500_000);
 * zone.insertRange(500_000 * SECTION_PAGES, SECTION_PAGES, 1);
 * if (zone.alloc(0, 1) !== 500_000 * SECTION_PAGES) throw new Error("pages keep their numbers");
 * if (zone.pages !== (500_001 - 32) * SECTION_PAGES) throw new Error("the span includes what does not exist");
 * ```
 */
export class SparseLists implements Allocator {
  readonly #lists: Buddy;
  readonly #firstType: number;
  readonly #table: SectionTable;
  readonly #bases: Int32Array;
  readonly #sections: Int32Array;
  #bulk = new Float64Array(0);

  /**
   * An allocator without sections that can hold `sectionsMax` of them; their pageblocks begin as `migratetype`, and take over
   * the type of what merges with them when `retypesMerged` says so, as in a Buddy. Throws RangeError for more than a Buddy
   * holds (65,535 sections, 128 MiB less than 8 TiB).
   */
  constructor(sectionsMax: number, migratetype = MOVABLE, retypesMerged = false) {
    this.#lists = new Buddy(0, sectionsMax * SECTION_PAGES, migratetype, retypesMerged);
    this.#firstType = migratetype;
    this.#table = new SectionTable(sectionsMax);
    this.#bases = this.#table.bases;
    this.#sections = this.#table.sections;
  }

  /** First page that exists, 0 when none does. It moves as sections come and go. */
  get startPfn(): number {
    return this.#table.startPfn;
  }

  /** Pages from the first to the last that exists, holes included (spanned_pages). */
  get pages(): number {
    return this.#table.endPfn - this.#table.startPfn;
  }

  /** Sections that exist. */
  get sections(): number {
    return this.#table.count;
  }

  /** Pages on the free lists. */
  get freePages(): number {
    return this.#lists.freePages;
  }

  /** Pages on the free lists whose block is marked Reported. */
  get reportedPages(): number {
    return this.#lists.reportedPages;
  }

  /** Bytes of list entries that were ever in use. */
  get arenaBytes(): number {
    return this.#lists.arenaBytes;
  }

  /** Whether a page exists in this zone. */
  has(pfn: number): boolean {
    return this.#table.has(pfn);
  }

  /** A section begins to exist as a whole, none of it free yet. Throws Error when it exists, RangeError when there is no room. */
  addSection(section: number): void {
    if (this.#table.numberOf(section) >= 0) throw new Error(`Section ${section} exists already`);
    this.#table.add(section, 0, SECTION_PAGES);
  }

  /** The pages of a range begin to exist, none of them free yet: memory at boot, which need not end with a section. */
  addRange(pfn: number, count: number): void {
    const end = pfn + count;
    for (let section = Math.floor(pfn / SECTION_PAGES); section * SECTION_PAGES < end; section++) {
      const first = section * SECTION_PAGES;
      this.#table.add(section, Math.max(pfn - first, 0), Math.min(end - first, SECTION_PAGES));
    }
  }

  /**
   * A section ceases to exist; when it was at an end, the span shrinks up to the next page that exists (`shrink_zone_span`).
   * Throws Error when it does not exist or has a free page. That nobody uses its pages is up to the caller.
   */
  removeSection(section: number): void {
    const first = this.#table.numberOf(section);
    if (first < 0) throw new Error(`Section ${section} does not exist`);
    for (let page = first; page < first + SECTION_PAGES; page++) {
      if (this.#lists.orderAt(page) >= 0) throw new Error(`Section ${section} has free pages`);
    }
    for (let page = first; page < first + SECTION_PAGES; page += PAGEBLOCK_PAGES) {
      this.#lists.setPageblockType(page, this.#firstType);
    }
    this.#table.remove(section);
  }

  /** Whether the remainders of a Reported block stay Reported; see {@link Allocator.propagatesReported}. */
  get propagatesReported(): boolean {
    return this.#lists.propagatesReported;
  }

  /** Sets whether they do. */
  set propagatesReported(on: boolean) {
    this.#lists.propagatesReported = on;
  }

  /** Free blocks of an order that are marked Reported, all migratetypes. */
  nrReported(order: number): number {
    return this.#lists.nrReported(order);
  }

  /** Free blocks of an order, all migratetypes. */
  nrFree(order: number): number {
    return this.#lists.nrFree(order);
  }

  /** Takes 2^order pages from the lists of one migratetype; the first page, or -1. */
  alloc(order: number, migratetype: number): number {
    return this.#pfnOf(this.#lists.alloc(order, migratetype));
  }

  /** Gives pages back, merging; returns the order of the block they are in now. Throws Error for a page that does not exist. */
  free(pfn: number, order: number, migratetype: number, toTail?: boolean): number {
    return this.#lists.free(this.#pageOf(pfn), order, migratetype, toTail);
  }

  /** Takes blocks of an order into `out`; returns how many. */
  allocBulk(order: number, migratetype: number, out: Float64Array): number {
    const taken = this.#lists.allocBulk(order, migratetype, out);
    for (let i = 0; i < taken; i++) out[i] = this.#pfnOf(out[i]);
    return taken;
  }

  /** Gives back the first `count` blocks, each to the list of its pageblock's type. */
  freeBulk(pfns: Float64Array, count: number, order: number): void {
    if (this.#bulk.length < count) this.#bulk = new Float64Array(count);
    for (let i = 0; i < count; i++) this.#bulk[i] = this.#pageOf(pfns[i]);
    this.#lists.freeBulk(this.#bulk, count, order);
  }

  /** The head of a list, or -1. */
  first(order: number, migratetype: number): number {
    return this.#pfnOf(this.#lists.first(order, migratetype));
  }

  /** The tail of a list, or -1. */
  last(order: number, migratetype: number): number {
    return this.#pfnOf(this.#lists.last(order, migratetype));
  }

  /** The block before `pfn` on its list, or -1 at the head. */
  previous(pfn: number, order: number): number {
    return this.#pfnOf(this.#lists.previous(this.#pageOf(pfn), order));
  }

  /** The block after `pfn` on its list, or -1 at the end. */
  next(pfn: number, order: number): number {
    return this.#pfnOf(this.#lists.next(this.#pageOf(pfn), order));
  }

  /** Copies the blocks of a list after `pfn`, or all from the head on when it is -1, into `out`; returns how many. */
  read(order: number, migratetype: number, pfn: number, out: Float64Array): number {
    const read = this.#lists.read(order, migratetype, pfn < 0 ? -1 : this.#pageOf(pfn), out);
    for (let i = 0; i < read; i++) out[i] = this.#pfnOf(out[i]);
    return read;
  }

  /** The order of the free block whose first page is `pfn`, or -1, also where nothing exists. */
  orderAt(pfn: number): number {
    const page = this.#find(pfn);
    return page < 0 ? -1 : this.#lists.orderAt(page);
  }

  /** Takes a known free block off its list. Throws Error when there is none. */
  remove(pfn: number, order: number): void {
    this.#lists.remove(this.#pageOf(pfn), order);
  }

  /** Puts a block on a list without merging. Throws Error when it is misaligned, does not exist, or shares a free page pair. */
  insert(pfn: number, order: number, migratetype: number, toTail: boolean): void {
    const size = ORDER_PAGES[order];
    if (pfn % size !== 0) throw new Error(`Misaligned block ${pfn} of order ${order}`);
    if (!this.has(pfn + size - 1)) throw new Error(`Outside the zone: block ${pfn} of order ${order}`);
    const page = this.#pageOf(pfn);
    try {
      this.#lists.insert(page, order, migratetype, toTail);
    } catch (cause) {
      // The Buddy would name its own page numbers.
      throw new Error(`A free block overlaps block ${pfn} of order ${order}, or is its unmerged buddy`, { cause });
    }
  }

  /** Puts the largest aligned blocks of a range to the tails, ascending. Throws Error when a part of it does not exist. */
  insertRange(pfn: number, count: number, migratetype: number): void {
    for (let from = pfn; from < pfn + count;) {
      const to = Math.min(pfn + count, (Math.floor(from / SECTION_PAGES) + 1) * SECTION_PAGES);
      if (!this.has(to - 1)) throw missing(to - 1);
      this.#lists.insertRange(this.#pageOf(from), to - from, migratetype);
      from = to;
    }
  }

  /** Moves the free blocks that begin in a range to the tails of another type's lists, ascending; returns their pages. */
  moveFreePages(pfn: number, count: number, migratetype: number): number {
    let moved = 0;
    for (let from = pfn; from < pfn + count;) {
      const section = Math.floor(from / SECTION_PAGES);
      const to = Math.min(pfn + count, (section + 1) * SECTION_PAGES);
      const first = this.#table.numberOf(section);
      const page = first + from - section * SECTION_PAGES;
      if (first >= 0) moved += this.#lists.moveFreePages(page, to - from, migratetype);
      from = to;
    }
    return moved;
  }

  /** Rotates a list so that `pfn` becomes its head. */
  rotate(pfn: number, order: number, migratetype: number): void {
    this.#lists.rotate(this.#pageOf(pfn), order, migratetype);
  }

  /** Whether the free block is marked Reported. */
  isReported(pfn: number, order: number): boolean {
    return this.#lists.isReported(this.#pageOf(pfn), order);
  }

  /** Marks a free block Reported. */
  setReported(pfn: number, order: number): void {
    this.#lists.setReported(this.#pageOf(pfn), order);
  }

  /** The list on which a free block stands. */
  listOf(pfn: number, order: number): number {
    return this.#lists.listOf(this.#pageOf(pfn), order);
  }

  /** The migratetype of the pageblock of a page; where nothing exists, the type with which it would begin. */
  pageblockType(pfn: number): number {
    const page = this.#find(pfn);
    return page < 0 ? this.#firstType : this.#lists.pageblockType(page);
  }

  /** Sets the migratetype of the pageblock of a page. Throws Error when its section does not exist. */
  setPageblockType(pfn: number, migratetype: number): void {
    this.#lists.setPageblockType(this.#pageOf(pfn), migratetype);
  }

  /** Pageblocks of a migratetype in the sections that exist. */
  pageblocks(migratetype: number): number {
    const unused = this.#table.sections.length - this.sections;
    const empty = migratetype === this.#firstType ? unused * (SECTION_PAGES / PAGEBLOCK_PAGES) : 0;
    return this.#lists.pageblocks(migratetype) - empty;
  }

  /** Calls `visit` for every free block, list by list, from order 0 up. */
  forEachFree(visit: (pfn: number, order: number) => void): void {
    forEachOnLists(this, visit);
  }

  /**
   * Checks every invariant of the lists, that what is free exists, and the span. Throws Error naming the first that does not
   * hold; what the Buddy names is in its own page numbers.
   */
  validate(): void {
    this.#lists.validate();
    const pfns = new Float64Array(512);
    for (let list = 0; list < ORDERS * MIGRATETYPE_COUNT; list++) {
      const order = Math.floor(list / MIGRATETYPE_COUNT);
      for (let after = -1, read = pfns.length; read === pfns.length; after = pfns[read - 1]) {
        read = this.read(order, list % MIGRATETYPE_COUNT, after, pfns);
        for (let i = 0; i < read; i++) {
          if (!this.has(pfns[i]) || !this.has(pfns[i] + ORDER_PAGES[order] - 1)) throw missing(pfns[i]);
        }
        if (read === 0) break;
      }
    }
    this.#table.validate();
  }

  /** The Buddy's number of a page, or -1 when its section does not exist. */
  #find(pfn: number): number {
    if (!(pfn >= 0 && pfn < PFN_END)) return -1;
    // The bit operators work on integers below 2^31, never on the page itself; a remainder of a large number would be slow.
    const section = (pfn / SECTION) | 0;
    const base = this.#bases[section];
    return base === 0 ? -1 : (base - SECTION + (pfn - section * SECTION)) | 0;
  }

  #pageOf(pfn: number): number {
    const page = this.#find(pfn);
    if (page < 0) throw missing(pfn);
    return page;
  }

  /** The page frame of one of the Buddy's numbers; -1 stays. */
  #pfnOf(page: number): number {
    return page < 0 ? -1 : this.#sections[page >>> SECTION_BITS] * SECTION + (page & OFFSET_MASK);
  }
}

function missing(pfn: number): Error {
  return new Error(`Page ${pfn} does not exist in the zone`);
}
