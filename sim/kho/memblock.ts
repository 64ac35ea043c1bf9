/**
 * memblock.reserved: how a kernel that boots remembers memory that is taken, before it has an allocator (mm/memblock.c, v6.12).
 *
 * A sorted array of regions of 24 bytes. Every change scans it from index 0, twice where it may have to grow first; what is
 * put in moves the rest; neighbours with equal flags are merged. Each region that the kernel's code looks at is one visit,
 * counted exactly and without scanning: what a scan passes before its first overlap is an index, see memblock_regions.ts.
 */
import { PAGE_SIZE } from "../memory/range.ts";
import { MemblockRegions } from "./memblock_regions.ts";
import { KhoError } from "./tracker.ts";

/** Bytes of `struct memblock_region`: base, size, flags, node. */
export const REGION_BYTES = 24;
/** Regions of the static array (`INIT_MEMBLOCK_RESERVED_REGIONS`). */
export const STATIC_REGIONS = 128;

/** Reserved by the kernel itself, or by whoever said no more. */
const NO_FLAGS = 0;
/** `MEMBLOCK_RSRV_NOINIT`: the page descriptors are not initialised. */
export const NOINIT = 0x10;

/** Finds room for an array of so many bytes; its first page frame, or -1 when there is none. */
export type FindRoom = (bytes: number) => number;

/** Gives the room of an array back. */
export type GiveRoom = (pfn: number, bytes: number) => void;

/** A region that grows at its end, and what one more piece costs as long as nothing else changes. */
interface Run {
  readonly index: number;
  readonly pfn: number;
  end: number;
  /** First page frame of the next region. */
  readonly limit: number;
  readonly visits: number;
  readonly movedBytes: number;
}

/** The reserved regions of a kernel that boots. Ranges are page frames. */
export class Memblock {
  /** Regions that the kernel's code looked at. */
  visits = 0;
  /** Bytes that were moved or copied. */
  movedBytes = 0;
  /** How often the array was doubled. */
  doublings = 0;
  #regions = new MemblockRegions();
  #max = STATIC_REGIONS;
  #arrayPfn = -1;
  /** The region that pages are being appended to, by {@link Memblock.reserveNoinit}. */
  #run: Run | undefined;
  #findRoom: FindRoom;
  #giveRoom: GiveRoom;
  readonly #slab: boolean;

  /**
   * No regions. Larger arrays are placed by `findRoom`; the memory of those they replace goes to `giveRoom`. Where there is an
   * allocator already (`slab`), an array comes from it and is not reserved itself.
   */
  constructor(findRoom: FindRoom, giveRoom: GiveRoom = () => {}, slab = false) {
    this.#findRoom = findRoom;
    this.#giveRoom = giveRoom;
    this.#slab = slab;
  }

  /** Regions in the array (`cnt`). */
  get count(): number {
    return this.#regions.length;
  }

  /** Bytes of the array. */
  get bytes(): number {
    return this.#max * REGION_BYTES;
  }

  /** How many of the pages are reserved; not counted as a visit. */
  covered(pfn: number, count: number): number {
    const regions = this.#regions;
    let pages = 0;
    for (let i = regions.firstEndingBeyond(pfn); i < regions.length && regions.pfn(i) < pfn + count; i++) {
      pages += Math.min(regions.end(i), pfn + count) - Math.max(regions.pfn(i), pfn);
    }
    return pages;
  }

  /** Calls `visit` for every region, ascending. */
  forEach(visit: (pfn: number, count: number, flags: number) => void): void {
    this.#endRun();
    const regions = this.#regions;
    for (let i = 0; i < regions.length; i++) visit(regions.pfn(i), regions.end(i) - regions.pfn(i), regions.flags(i));
  }

  /**
   * Reserves pages and marks them: what the restore does for each folio (`kho_mem_deserialize`). Pages behind each other cost
   * the same each time, so that only the first of a run is worked through; the counts are those of all.
   */
  reserveNoinit(pfn: number, count: number): void {
    const run = this.#run;
    if (run !== undefined && pfn === run.end && pfn + count < run.limit) {
      run.end += count;
      this.visits += run.visits;
      this.movedBytes += run.movedBytes;
      return;
    }
    this.#endRun();
    const { visits, movedBytes, doublings } = this;
    const index = this.#appendedTo(pfn, pfn + count);
    this.reserve(pfn, count);
    this.markNoinit(pfn, count);
    if (index < 0 || this.doublings !== doublings) return;
    const regions = this.#regions;
    this.#run = {
      index,
      pfn: regions.pfn(index),
      end: pfn + count,
      limit: index + 1 < regions.length ? regions.pfn(index + 1) : Infinity,
      visits: this.visits - visits,
      movedBytes: this.movedBytes - movedBytes,
    };
  }

  /** The marked region that pages follow directly, when they touch nothing else; -1 when there is none. */
  #appendedTo(pfn: number, end: number): number {
    const regions = this.#regions;
    const index = regions.firstEndingBeyond(pfn - 1);
    if (index === regions.length || regions.end(index) !== pfn || regions.flags(index) !== NOINIT) return -1;
    return index + 1 === regions.length || regions.pfn(index + 1) > end ? index : -1;
  }

  #endRun(): void {
    if (this.#run === undefined) return;
    const { index, pfn, end } = this.#run;
    this.#regions.setRange(index, pfn, end - pfn);
    this.#run = undefined;
  }

  /** Reserves pages (`memblock_reserve`). Throws KhoError ENOMEM when the array has no room to grow. */
  reserve(pfn: number, count: number): void {
    this.#endRun();
    const regions = this.#regions;
    if (regions.length === 0) return regions.insert(0, pfn, count, NO_FLAGS);
    let insert = regions.length * 2 + 1 <= this.#max;
    for (;;) {
      const { fresh, first, last } = this.#addPass(pfn, pfn + count, insert);
      if (fresh === 0) return;
      if (insert) return this.#merge(first, last);
      while (regions.length + fresh > this.#max) this.#double();
      insert = true;
    }
  }

  /** Marks reserved pages so that their descriptors are left alone (`memblock_reserved_mark_noinit`). */
  markNoinit(pfn: number, count: number): void {
    this.#endRun();
    const [first, last] = this.#isolate(pfn, pfn + count);
    for (let i = first; i < last; i++) this.#regions.setFlags(i, this.#regions.flags(i) | NOINIT);
    this.#merge(first, last);
  }

  /** Takes pages out (`memblock_remove_range`). */
  remove(pfn: number, count: number): void {
    this.#endRun();
    const [first, last] = this.#isolate(pfn, pfn + count);
    for (let i = last - 1; i >= first; i--) {
      this.movedBytes += (this.#regions.length - i - 1) * REGION_BYTES;
      this.#regions.remove(i);
    }
  }

  /** One round of `memblock_add_range`: counts what of the range is new, and puts it in when it is the second. */
  #addPass(pfn: number, end: number, insert: boolean): { fresh: number; first: number; last: number } {
    const regions = this.#regions;
    let fresh = 0;
    let first = -1;
    let last = 0;
    const add = (index: number, from: number, to: number) => {
      fresh++;
      if (!insert) return false;
      if (first === -1) first = index;
      last = index + 1;
      this.#insert(index, from, to - from, NO_FLAGS);
      return true;
    };
    let base = pfn;
    let index = regions.firstEndingBeyond(base);
    this.visits += index;
    for (; index < regions.length; index++) {
      this.visits++;
      const start = regions.pfn(index);
      if (start >= end) break;
      if (start > base && add(index, base, start)) index++;
      base = Math.min(regions.end(index), end);
    }
    if (base < end) add(index, base, end);
    return { fresh, first, last };
  }

  /** `memblock_isolate_range`: cuts regions at both ends of a range; the indices of those inside it. */
  #isolate(pfn: number, end: number): [first: number, last: number] {
    const regions = this.#regions;
    while (regions.length + 2 > this.#max) this.#double();
    let first = 0;
    let last = 0;
    let index = regions.firstEndingBeyond(pfn);
    this.visits += index;
    for (; index < regions.length; index++) {
      this.visits++;
      const start = regions.pfn(index);
      const stop = regions.end(index);
      if (start >= end) break;
      if (stop <= pfn) continue;
      const flags = regions.flags(index);
      if (start < pfn) {
        regions.setRange(index, pfn, stop - pfn);
        this.#insert(index, start, pfn - start, flags);
      } else if (stop > end) {
        regions.setRange(index, end, stop - end);
        this.#insert(index, start, end - start, flags);
        index--; // the new lower half is looked at once more
      } else {
        if (last === 0) first = index;
        last = index + 1;
      }
    }
    return [first, last];
  }

  /** `memblock_merge_regions`: neighbours from one before `first` up to `last`. */
  #merge(first: number, last: number): void {
    const regions = this.#regions;
    let index = first > 0 ? first - 1 : 0;
    let end = Math.min(last, regions.length - 1);
    while (index < end) {
      this.visits++;
      const touches = regions.end(index) === regions.pfn(index + 1);
      if (!touches || regions.flags(index) !== regions.flags(index + 1)) {
        index++;
        continue;
      }
      const start = regions.pfn(index);
      const stop = regions.end(index + 1);
      this.movedBytes += (regions.length - index - 2) * REGION_BYTES;
      regions.remove(index + 1);
      regions.setRange(index, start, stop - start);
      end--;
    }
  }

  #insert(index: number, pfn: number, count: number, flags: number): void {
    this.movedBytes += (this.#regions.length - index) * REGION_BYTES;
    this.#regions.insert(index, pfn, count, flags);
  }

  /** `memblock_double_array`: a new array twice as long, which itself is reserved; the old one is given back. */
  #double(): void {
    const oldBytes = this.bytes;
    const bytes = Math.ceil(2 * oldBytes / PAGE_SIZE) * PAGE_SIZE;
    const pfn = this.#findRoom(bytes);
    if (pfn < 0) {
      throw new KhoError(
        "ENOMEM",
        `memblock: failed to double the reserved array from ${this.#max} to ${2 * this.#max} entries: ` +
          `scratch has no ${bytes} bytes in a row`,
      );
    }
    this.movedBytes += oldBytes;
    this.doublings++;
    const oldPfn = this.#arrayPfn;
    this.#max *= 2;
    this.#arrayPfn = pfn;
    if (oldPfn >= 0) {
      const pages = Math.ceil(oldBytes / PAGE_SIZE);
      if (!this.#slab) this.remove(oldPfn, pages);
      this.#giveRoom(oldPfn, pages * PAGE_SIZE);
    }
    if (!this.#slab) this.reserve(pfn, bytes / PAGE_SIZE);
  }
}
