/**
 * Migratetypes of pageblocks from what /proc tells: how many pageblocks and free blocks there are of each type, but not which.
 *
 * Pageblocks with kernel pages are taken for unmovable or reclaimable, as many as pagetypeinfo counts; then pairs change places
 * as long as the free blocks by order and migratetype come nearer to its counts. A row of a recording that names a pageblock
 * decides before all else.
 */
import { ORDER_PAGES } from "../memory/range.ts";
import { MIGRATETYPE_COUNT, MOVABLE, ORDERS, PAGEBLOCK_PAGES } from "./allocator.ts";
import type { ProcPageTypes, ProcZone } from "./proc_files.ts";

/** Bits of /proc/kpageflags (include/uapi/linux/kernel-page-flags.h). */
const KPF_SLAB = 7;
const KPF_BUDDY = 10;
const KPF_PGTABLE = 26;
const KPF_RESERVED = 32;
/** Pages that can be migrated: on the LRU lists, mapped, of files or anonymous, huge. */
const MOVABLE_FLAGS = [5, 11, 12, 22];

const FLAGS_BYTES = 8;

/** The most pairs of pageblocks that are tried; a limit for guests of hundreds of GiB. */
const PAIRS_MAX = 2e6;

/** A free block. */
export interface FreeBlock {
  /** First page. */
  readonly pfn: number;
  /** Order. */
  readonly order: number;
}

/** Whether a page has a flag of /proc/kpageflags. */
export function hasFlag(kpageflags: Uint8Array, pfn: number, bit: number): boolean {
  return (kpageflags[pfn * FLAGS_BYTES + (bit >>> 3)] >>> (bit & 7) & 1) === 1;
}

/** The pageblock of a page. */
export function pageblock(pfn: number): number {
  return Math.floor(pfn / PAGEBLOCK_PAGES);
}

/** A function from pageblock to migratetype. */
export function guessPageblockTypes(
  kpageflags: Uint8Array,
  zones: readonly ProcZone[],
  free: readonly FreeBlock[][],
  counts: readonly ProcPageTypes[] | undefined,
  known: ReadonlyMap<number, number>,
): (block: number) => number {
  const types = new Map(known);
  for (const [index, zone] of zones.entries()) {
    const wanted = counts?.find(({ node, name }) => node === zone.node && name === zone.name);
    if (wanted !== undefined) new ZoneGuess(kpageflags, zone, free[index], wanted, known).write(types);
  }
  return (block) => types.get(block) ?? MOVABLE;
}

/** A pageblock whose type is sought. */
interface Candidate {
  readonly block: number;
  type: number;
  /** Its free blocks by order; undefined when it has none. */
  readonly free: number[] | undefined;
  readonly kernelPages: number;
  readonly slabPages: number;
  readonly movablePages: number;
}

class ZoneGuess {
  #candidates: Candidate[] = [];
  /** Free blocks by migratetype and order: those of the guess less those wanted. */
  #off: number[][];

  constructor(
    kpageflags: Uint8Array,
    { startPfn, spannedPages }: ProcZone,
    free: readonly FreeBlock[],
    wanted: ProcPageTypes,
    known: ReadonlyMap<number, number>,
  ) {
    this.#off = wanted.free.map((orders) => orders.map((count) => -count));
    const byBlock = new Map<number, number[]>();
    for (const { pfn, order } of free) {
      const block = pageblock(pfn);
      if (!byBlock.has(block)) byBlock.set(block, new Array<number>(ORDERS).fill(0));
      byBlock.get(block)![order]++;
    }
    const left = [...wanted.blocks];
    const pages = kpageflags.length / FLAGS_BYTES;
    const end = Math.min(startPfn + spannedPages, pages);
    for (let block = pageblock(startPfn); block * PAGEBLOCK_PAGES < end; block++) {
      const type = known.get(block);
      const candidate = look(kpageflags, block, Math.min(end, pages), byBlock.get(block));
      if (type === undefined) this.#candidates.push(candidate);
      else {
        left[type]--;
        this.#count(candidate.free, type, 1);
      }
    }
    this.#assign(left);
    this.#improve();
  }

  write(types: Map<number, number>): void {
    for (const { block, type } of this.#candidates) types.set(block, type);
  }

  /** Gives out the wanted numbers of types: reclaimable by slab pages, then unmovable by all pages of the kernel. */
  #assign(left: readonly number[]): void {
    const byScore = (score: (one: Candidate) => number) =>
      [...this.#candidates].sort((a, b) => score(b) - score(a) || a.block - b.block);
    const give = (type: number, score: (one: Candidate) => number) => {
      let count = left[type];
      for (const candidate of byScore(score)) {
        if (count <= 0) break;
        if (candidate.type !== MOVABLE) continue;
        candidate.type = type;
        count--;
      }
    };
    give(2, (one) => one.movablePages > 0 ? -one.movablePages : one.slabPages);
    give(0, (one) => one.movablePages > 0 ? -one.movablePages : one.kernelPages);
    for (const type of [3, 4]) give(type, (one) => one.free === undefined ? 0 : 1);
    for (const { free, type } of this.#candidates) this.#count(free, type, 1);
  }

  /** Lets pairs of different types change places while that brings the counts nearer. */
  #improve(): void {
    let pairs = 0;
    for (let changed = true; changed && pairs < PAIRS_MAX;) {
      changed = false;
      const rare = this.#candidates.filter(({ type }) => type !== MOVABLE);
      const others = this.#candidates.filter(({ free }) => free !== undefined);
      for (const a of rare) {
        for (const b of [...others, ...rare]) {
          if (a.type === b.type || a.free === undefined && b.free === undefined) continue;
          if (++pairs >= PAIRS_MAX) return;
          if (this.#swapIfBetter(a, b)) changed = true;
        }
      }
    }
  }

  #swapIfBetter(a: Candidate, b: Candidate): boolean {
    const before = this.#distance(a.type) + this.#distance(b.type);
    this.#swap(a, b);
    if (this.#distance(a.type) + this.#distance(b.type) < before) return true;
    this.#swap(a, b);
    return false;
  }

  #swap(a: Candidate, b: Candidate): void {
    this.#count(a.free, a.type, -1);
    this.#count(b.free, b.type, -1);
    [a.type, b.type] = [b.type, a.type];
    this.#count(a.free, a.type, 1);
    this.#count(b.free, b.type, 1);
  }

  #distance(type: number): number {
    let sum = 0;
    for (const off of this.#off[type]) sum += Math.abs(off);
    return sum;
  }

  #count(free: readonly number[] | undefined, type: number, sign: number): void {
    if (free === undefined || type >= MIGRATETYPE_COUNT) return;
    for (let order = 0; order < ORDERS; order++) this.#off[type][order] += sign * free[order];
  }
}

function look(kpageflags: Uint8Array, block: number, end: number, free: number[] | undefined): Candidate {
  let [kernelPages, slabPages, movablePages] = [0, 0, 0];
  const first = block * PAGEBLOCK_PAGES;
  for (let pfn = first; pfn < Math.min(end, first + ORDER_PAGES[9]); pfn++) {
    const has = (bit: number) => hasFlag(kpageflags, pfn, bit);
    if (has(KPF_BUDDY) || has(KPF_RESERVED)) continue;
    if (MOVABLE_FLAGS.some(has)) movablePages++;
    else {
      kernelPages++;
      if (has(KPF_SLAB)) slabPages++;
      if (has(KPF_PGTABLE)) kernelPages++;
    }
  }
  return { block, type: MOVABLE, free, kernelPages, slabPages, movablePages };
}
