/**
 * What a zone remembers between compactions: where the scanners stopped, which pageblocks are not worth a look, and for how
 * long it is not tried again after failures (mm/compaction.c, include/linux/mmzone.h `struct zone`).
 */
import { ORDER_MAX, PAGEBLOCK_PAGES } from "./allocator.ts";

/** Failures double the number of attempts that are left out, up to 2^6 (COMPACT_MAX_DEFER_SHIFT). */
export const DEFER_SHIFT_MAX = 6;

/** The span of a zone; memory that is plugged makes it larger. */
export interface CompactionSpan {
  /** Its free lists. */
  readonly allocator: {
    /** First page. */
    readonly startPfn: number;
  };
  /** Page after the last. */
  readonly endPfn: number;
}

/** The first page of the pageblock of a page (`pageblock_start_pfn`). */
export function pageblockStart(pfn: number): number {
  return pfn - pfn % PAGEBLOCK_PAGES;
}

/** The memory of one zone. */
export class CompactionState {
  /** Where the next migration scanner starts: asynchronous ones, and all others (`compact_cached_migrate_pfn`). */
  readonly cachedMigratePfn: [asynchronous: number, synchronous: number];
  /** Where the next free scanner starts (`compact_cached_free_pfn`). */
  cachedFreePfn: number;
  /** Whether direct compactors saw their scanners meet, so that kswapd clears the bits when it sleeps. */
  blockskipFlush = false;
  readonly #span: CompactionSpan;
  #skip = new Uint8Array(0);
  #considered = 0;
  #deferShift = 0;
  #orderFailed = 0;

  /** A zone that was never compacted. */
  constructor(span: CompactionSpan) {
    this.#span = span;
    const { startPfn } = span.allocator;
    this.cachedMigratePfn = [startPfn, startPfn];
    this.cachedFreePfn = pageblockStart(Math.max(startPfn, span.endPfn - 1));
  }

  /** Both scanners start at their ends again (`reset_cached_positions`). */
  resetPositions(): void {
    const { allocator: { startPfn }, endPfn } = this.#span;
    this.cachedMigratePfn.fill(startPfn);
    this.cachedFreePfn = pageblockStart(Math.max(startPfn, endPfn - 1));
  }

  /** All pageblocks are worth a look again (`__reset_isolation_suitable`). */
  resetSkip(): void {
    this.blockskipFlush = false;
    this.resetPositions();
    this.#skip.fill(0);
  }

  /** Whether a pageblock is left out (`get_pageblock_skip`). */
  skips(pfn: number): boolean {
    return this.#skip[this.#block(pfn)] === 1;
  }

  /** A pageblock is left out from now on (`set_pageblock_skip`). */
  setSkip(pfn: number): void {
    const block = this.#block(pfn);
    if (block >= this.#skip.length) {
      const { allocator: { startPfn }, endPfn } = this.#span;
      const larger = new Uint8Array(
        Math.max(block, Math.ceil((endPfn - pageblockStart(startPfn)) / PAGEBLOCK_PAGES)) + 1,
      );
      larger.set(this.#skip);
      this.#skip = larger;
    }
    this.#skip[block] = 1;
  }

  /** Free pages were left in a pageblock after all. */
  clearSkip(pfn: number): void {
    const block = this.#block(pfn);
    if (block < this.#skip.length) this.#skip[block] = 0;
  }

  /** The migration scanner has done what lies before `pfn` (`update_cached_migrate`). */
  migratedTo(pfn: number, asynchronous: boolean): void {
    const end = pageblockStart(pfn + PAGEBLOCK_PAGES - 1);
    const cached = this.cachedMigratePfn;
    if (end > cached[0]) cached[0] = end;
    if (!asynchronous && end > cached[1]) cached[1] = end;
  }

  /** Compaction for an order failed: the next attempts are left out, twice as many each time (`defer_compaction`). */
  defer(order: number): void {
    this.#considered = 0;
    this.#deferShift = Math.min(DEFER_SHIFT_MAX, this.#deferShift + 1);
    this.#orderFailed = Math.min(this.#orderFailed, order);
  }

  /** Whether this attempt is left out; asking counts (`compaction_deferred`). */
  deferred(order: number): boolean {
    if (order < this.#orderFailed) return false;
    const limit = 2 ** this.#deferShift;
    if (++this.#considered < limit) return true;
    this.#considered = limit;
    return false;
  }

  /** Compaction for an order succeeded; with `allocated` the pages were also got (`compaction_defer_reset`). */
  succeeded(order: number, allocated: boolean): void {
    if (allocated) {
      this.#considered = 0;
      this.#deferShift = 0;
    }
    this.#orderFailed = Math.max(this.#orderFailed, Math.min(order, ORDER_MAX) + 1);
  }

  /** Whether this is the first attempt after the longest time without (`compaction_restarting`). */
  restarts(order: number): boolean {
    if (order < this.#orderFailed) return false;
    return this.#deferShift === DEFER_SHIFT_MAX && this.#considered >= 2 ** this.#deferShift;
  }

  #block(pfn: number): number {
    return (pageblockStart(pfn) - pageblockStart(this.#span.allocator.startPfn)) / PAGEBLOCK_PAGES;
  }
}
