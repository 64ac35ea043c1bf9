/**
 * What differs between kernel generations where pages are taken from, and given back to, the lists of a zone: the fallback
 * between types, the types of pageblocks, large blocks. One file a generation: {@link kernel61}, {@link kernel612}.
 */
import { type Allocator, MOVABLE, ORDER_MAX, RECLAIMABLE, UNMOVABLE } from "./allocator.ts";

/** The part of a zone that these rules work on. */
export interface KernelZone {
  /** The free lists. */
  readonly allocator: Allocator;
  /**
   * Whether so much of a pageblock is free, or of the kind that asks, that all of it may become `wanted`. `first` is its first
   * page, `present` its type now, `blockOrder` the order of the block by which it was found.
   */
  mayClaim(first: number, freePages: number, wanted: number, present: number, blockOrder: number): boolean;
  /** Pages of another type were taken below the order of a pageblock (`boost_watermark`). */
  boost(): void;
}

/** How one request may be served. */
export interface AllocFlags {
  /** Only whole pageblocks may be taken from another type (ALLOC_NOFRAGMENT). */
  readonly noFragment: boolean;
  /** The bulk that it belongs to has stolen already: 6.12 then steals without looking at the own lists. */
  readonly stealing: boolean;
}

/** The flags of an ordinary request. */
export const NO_FLAGS: AllocFlags = { noFragment: false, stealing: false };
/** The flags of the first walk over the zones, when another zone could be used before types are mixed. */
export const NO_FRAGMENT: AllocFlags = { noFragment: true, stealing: false };

/** A kernel generation. */
export interface Kernel {
  /** Its name in scenarios and on the command line. */
  readonly version: string;
  /** Whether a pageblock that merges with a freed one takes over its type. */
  readonly retypesMerged: boolean;
  /** Takes 2^order pages of a type for a CPU, from another type if its lists are empty (`__rmqueue`); the first page, or -1. */
  alloc(zone: KernelZone, order: number, migratetype: number, flags: AllocFlags, cpu?: number): number;
  /** Takes up to `count` blocks under one hold of the lock into `pfns`; returns how many (`rmqueue_bulk`). */
  allocBulk(
    zone: KernelZone,
    order: number,
    migratetype: number,
    count: number,
    flags: AllocFlags,
    pfns: Float64Array,
  ): number;
  /**
   * Gives pages back to the lists of `migratetype` (`__free_one_page`, `free_one_page`), large blocks in the parts that the
   * generation makes of them; returns the order of the block in which `pfn` is now.
   */
  free(zone: KernelZone, pfn: number, order: number, migratetype: number, toTail: boolean): number;
  /** Moves the free blocks of a pageblock to the lists of a type, and retypes it (`move_freepages_block`). */
  movePageblock(zone: KernelZone, pfn: number, migratetype: number): void;
  /** A block of at least half a pageblock was taken off its list by the driver or by compaction: its pageblocks change. */
  retypeIsolated(zone: KernelZone, pfn: number, order: number): void;
  /** The type as which a block goes back to the lists that was freed, or drained, as `freedAs`. */
  typeOfFreed(zone: KernelZone, pfn: number, freedAs: number): number;
}

/** From which types a type may take, in order of preference (`fallbacks`). */
const FALLBACKS: readonly (readonly number[])[] = [
  [RECLAIMABLE, MOVABLE],
  [RECLAIMABLE, UNMOVABLE],
  [UNMOVABLE, MOVABLE],
];

/** The first type of the row with a free block of this order, or -1 (`find_suitable_fallback`). */
export function suitableType(lists: Allocator, order: number, migratetype: number): number {
  if (order > ORDER_MAX || lists.nrFree(order) === 0) return -1;
  const types = FALLBACKS[migratetype];
  if (types === undefined) return -1;
  if (lists.first(order, types[0]) >= 0) return types[0];
  return lists.first(order, types[1]) >= 0 ? types[1] : -1;
}

/** Whether a whole pageblock may be taken for a request (`can_steal_fallback`, `should_try_claim_block`). */
export function wantsPageblock(order: number, migratetype: number): boolean {
  return order >= 4 || migratetype === RECLAIMABLE || migratetype === UNMOVABLE;
}
