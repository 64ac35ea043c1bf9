/**
 * The two scanners of one compaction (mm/compaction.c): the migration scanner goes up from the start of the zone and collects
 * pages that can be moved, the free scanner comes down from its end and takes free blocks off the lists for them.
 *
 * Left out: the fast searches of the free lists (`fast_find_migrateblock`, `fast_isolate_freepages`), contention and rescans.
 * Since the fast search finds most free pages of an asynchronous compactor, its scanner looks at every 32nd page only; here it
 * looks at each.
 */
import { ORDER_PAGES } from "../memory/range.ts";
import { MOVABLE, ORDER_MAX, ORDERS, PAGEBLOCK_ORDER, PAGEBLOCK_PAGES } from "./allocator.ts";
import { type CompactionState, pageblockStart } from "./compaction_state.ts";
import type { Guest } from "./guest.ts";
import type { CompactMode } from "./housekeeping_hooks.ts";
import type { PageOwner } from "./page_owner.ts";
import type { Zone } from "./zone.ts";

/** Pages that are collected before they are moved (COMPACT_CLUSTER_MAX). */
const CLUSTER_PAGES = 32;

/** What one compaction of a zone is for (`struct compact_control`). */
export interface CompactControl {
  /** Order of the block that is wanted; -1 for as many as there may be. */
  readonly order: number;
  /** Migratetype of the request. */
  readonly migratetype: number;
  /** How hard it is tried. */
  readonly mode: CompactMode;
  /** Whether the task that wants the block does it itself. */
  readonly direct: boolean;
  /** Whether it is done ahead of all need, down to a score. */
  readonly proactive: boolean;
}

/** The compaction that the zones of a guest with an owner of pages share. */
export interface CompactScanParts {
  /** The guest. */
  readonly guest: Guest;
  /** Handles of its pages. */
  readonly owner: PageOwner;
  /** The zone. */
  readonly zone: Zone;
  /** What the zone remembers. */
  readonly state: CompactionState;
  /** What is wanted. */
  readonly control: CompactControl;
}

/** The scanners of one compaction of one zone. */
export class CompactScan {
  /** Where the migration scanner is. */
  migratePfn: number;
  /** Where the free scanner is: in which pageblock, unless all above it was looked at. */
  freePfn: number;
  /** Pages and free blocks looked at. */
  scanned = 0;
  /** Pages moved. */
  migratedPages = 0;
  /** Faults of pages that the kernel zeroed because it handles them as allocated and freed, and nobody was charged for yet, ns. */
  #touchedNs = 0;
  /** Whether all of the zone is scanned, and none of its ends met halfway by an earlier compaction. */
  readonly wholeZone: boolean;
  readonly #parts: CompactScanParts;
  readonly #ignoreSkip: boolean;
  readonly #async: boolean;
  /** Handles that are about to move. */
  readonly #handles = new Int32Array(CLUSTER_PAGES);
  #count = 0;
  #pages = 0;
  /** Free blocks off the lists by order, first ones first. */
  readonly #pool: number[][] = Array.from({ length: ORDERS }, () => []);
  #poolPages = 0;

  /** Scanners where the last ones stopped, or at the ends of the zone. */
  constructor(parts: CompactScanParts) {
    this.#parts = parts;
    const { zone, state, control } = parts;
    const { startPfn } = zone.allocator;
    const whole = control.proactive || control.mode === "sync-full";
    this.#async = control.mode === "async";
    this.#ignoreSkip = whole;
    const cached = state.cachedMigratePfn[this.#async ? 0 : 1];
    const inside = (pfn: number) => pfn >= startPfn && pfn < zone.endPfn;
    this.migratePfn = !whole && inside(cached) ? cached : startPfn;
    this.freePfn = !whole && inside(state.cachedFreePfn) ? state.cachedFreePfn : pageblockStart(zone.endPfn - 1);
    this.wholeZone = whole || this.migratePfn <= startPfn;
  }

  /** Whether nothing is left between them (`compact_scanners_met`). */
  get met(): boolean {
    return pageblockStart(this.freePfn) <= pageblockStart(this.migratePfn);
  }

  /**
   * Moves on to the next pageblock with pages to move and moves up to 32 of them. Returns the time of faults and frees, ns; how
   * much was looked at and moved stands in the fields. `cpu` is the one that does it.
   */
  step(cpu: number): number {
    this.#isolateMigratePages();
    let ns = 0;
    const { guest, zone } = this.#parts;
    const { allocations } = guest;
    for (let i = 0; i < this.#count; i++) {
      const handle = this.#handles[i];
      allocations.find(handle);
      const { order } = allocations;
      const target = this.#takeFree(order, cpu);
      // Without a free page nothing more moves, without a free block only this one does not.
      if (target < 0 && order === 0) break;
      this.#pages -= ORDER_PAGES[order];
      if (target < 0) continue;
      ns += guest.migrateTo(handle, target, zone.index, cpu);
      this.migratedPages += ORDER_PAGES[order];
    }
    this.#count = 0;
    this.#pages = 0;
    return ns;
  }

  /** The faults of what was zeroed in the pool since this was asked last, ns. */
  takeTouchedNs(): number {
    const ns = this.#touchedNs;
    this.#touchedNs = 0;
    return ns;
  }

  /**
   * Puts unused free blocks back, and the free scanner where it finds them again; where that is, or -1 (`release_freepages`). They
   * are freed as any allocated page is; later kernels than 6.1 make them look allocated only for that (`release_free_list`).
   */
  release(cpu: number): number {
    if (this.#poolPages === 0) return -1;
    const { guest, zone } = this.#parts;
    const { writes } = guest;
    let highest = -1;
    for (let order = 0; order <= ORDER_MAX; order++) {
      for (const pfn of this.#pool[order]) {
        if (zone.kernel.version !== "6.1") this.#touchedNs += writes.zero(pfn, ORDER_PAGES[order], cpu);
        this.#touchedNs += writes.scrub(pfn, ORDER_PAGES[order], cpu);
        guest.putBack(zone, pfn, order);
        this.#parts.state.clearSkip(pfn);
        highest = Math.max(highest, pfn);
      }
      this.#pool[order] = [];
    }
    this.#poolPages = 0;
    this.freePfn = Math.max(pageblockStart(this.freePfn), pageblockStart(highest));
    return pageblockStart(highest);
  }

  /** `isolate_migratepages`: looks for the next pageblock with pages that can move. */
  #isolateMigratePages(): void {
    const { zone, state } = this.#parts;
    let low = this.migratePfn;
    for (;;) {
      const end = Math.min(pageblockStart(low) + PAGEBLOCK_PAGES, zone.endPfn);
      if (end > this.freePfn) {
        this.migratePfn = low;
        return;
      }
      if (low % PAGEBLOCK_PAGES === 0 && !this.#ignoreSkip && state.skips(low)) this.migratePfn = end;
      else if (!this.#isSource(low)) {
        state.migratedTo(end, this.#async);
        this.migratePfn = end;
      } else {
        this.migratePfn = this.#isolateBlock(low, end);
        return;
      }
      low = end;
    }
  }

  /**
   * `suitable_migration_source`: not the second half of a block of 4 MiB; for asynchronous direct compaction only pageblocks of
   * the request's type.
   */
  #isSource(pfn: number): boolean {
    const { zone, owner, guest, control } = this.#parts;
    const { allocator, index } = zone;
    this.scanned++;
    const head = pfn - pfn % ORDER_PAGES[ORDER_MAX];
    if (head < pageblockStart(pfn)) {
      if (allocator.orderAt(head) === ORDER_MAX) return false;
      const handle = owner.handleAt(index, head);
      if (handle >= 0 && guest.allocations.find(handle) && guest.allocations.order === ORDER_MAX) return false;
    }
    return !control.direct || !this.#async || allocator.pageblockType(pfn) === control.migratetype;
  }

  /** `isolate_migratepages_block`: collects pages from `from` on; returns where it stopped. */
  #isolateBlock(from: number, end: number): number {
    const { zone, state, control } = this.#parts;
    const { allocator } = zone;
    // An asynchronous direct compactor gives up an aligned block of the wanted order at the first page that stays.
    const blockPages = control.direct && this.#async ? ORDER_PAGES[control.order] : Infinity;
    let nextSkip = from - from % blockPages + blockPages;
    let page = this.#afterFree(from);
    while (page < end && this.#pages < CLUSTER_PAGES) {
      if (page >= nextSkip) {
        if (this.#count > 0) break;
        nextSkip = page - page % blockPages + blockPages;
      }
      this.scanned++;
      const free = allocator.orderAt(page);
      if (free >= 0) {
        page += ORDER_PAGES[free];
        continue;
      }
      const pages = this.#pagesAt(page);
      page += Math.abs(pages);
      if (pages > 0 || blockPages === Infinity) continue;
      this.#count = 0;
      this.#pages = 0;
      page = Math.max(page, nextSkip);
      nextSkip = page + blockPages;
    }
    page = Math.min(page, end);
    if (this.#count > 0) {
      if (!this.#ignoreSkip) state.setSkip(from);
    } else if (page === end) {
      state.setSkip(from);
      state.migratedTo(end, this.#async);
    }
    return page;
  }

  /** The page after the free block around a page: what was moved from before it may have merged beyond it. */
  #afterFree(pfn: number): number {
    const { allocator } = this.#parts.zone;
    for (let order = 0; order < PAGEBLOCK_ORDER && pfn % PAGEBLOCK_PAGES > 0; order++) {
      const head = pfn - pfn % ORDER_PAGES[order];
      if (allocator.orderAt(head) >= order) return head + ORDER_PAGES[allocator.orderAt(head)];
    }
    return pfn;
  }

  /**
   * Collects the allocation that begins with a page; its pages, or as a negative number the pages of what stays. 6.1 moves
   * single pages only; later kernels also folios smaller than what is wanted (`skip_isolation_on_order`).
   */
  #pagesAt(pfn: number): number {
    const { zone, owner, guest, control } = this.#parts;
    const handle = owner.handleAt(zone.index, pfn);
    if (handle < 0 || !guest.allocations.find(handle)) return -1;
    const { order } = guest.allocations;
    const pages = ORDER_PAGES[order];
    if (zone.unmovable.has(pfn)) return -pages;
    const orderEnd = zone.kernel.version === "6.1" ? 1 : control.order >= 0 ? control.order : PAGEBLOCK_ORDER;
    if (order >= Math.min(orderEnd, PAGEBLOCK_ORDER) && order > 0) return -pages;
    this.#handles[this.#count++] = handle;
    this.#pages += pages;
    return pages;
  }

  /** `compaction_alloc`: takes a target from the blocks off the lists, or lets the free scanner find some; or -1. */
  #takeFree(order: number, cpu: number): number {
    const ready = this.#split(order);
    if (ready >= 0) return ready;
    this.#isolateFreePages(cpu);
    return this.#split(order);
  }

  #split(order: number): number {
    let current = order;
    while (current <= ORDER_MAX && this.#pool[current].length === 0) current++;
    if (current > ORDER_MAX) return -1;
    const pfn = this.#pool[current].shift()!;
    while (current > order) this.#pool[--current].unshift(pfn + ORDER_PAGES[current]);
    this.#poolPages -= ORDER_PAGES[order];
    return pfn;
  }

  /** `isolate_freepages`: downwards over suitable pageblocks until there are as many free pages as pages to move. */
  #isolateFreePages(cpu: number): void {
    const { zone, state } = this.#parts;
    const low = pageblockStart(this.migratePfn) + PAGEBLOCK_PAGES;
    let start = this.freePfn;
    let block = pageblockStart(start);
    for (; block >= low; block -= PAGEBLOCK_PAGES, start = block) {
      const end = Math.min(block + PAGEBLOCK_PAGES, zone.endPfn);
      if (!this.#isTarget(block) || (!this.#ignoreSkip && state.skips(block))) continue;
      start = this.#isolateFreeBlock(start, end, cpu);
      if (start >= end) {
        state.setSkip(block);
        state.cachedFreePfn = Math.min(state.cachedFreePfn, block - PAGEBLOCK_PAGES);
      }
      if (this.#poolPages >= this.#pages) {
        if (start >= end) start = block - PAGEBLOCK_PAGES;
        break;
      }
      if (start < end) break;
    }
    this.freePfn = start;
  }

  /** `suitable_migration_target`: movable, and no block that is large enough already. */
  #isTarget(pfn: number): boolean {
    const { zone, control } = this.#parts;
    const { allocator } = zone;
    this.scanned++;
    // What 6.1 compares with is a pageblock, whatever is wanted.
    const large = control.order > 0 && zone.kernel.version !== "6.1" ? control.order : PAGEBLOCK_ORDER;
    if (pfn < allocator.startPfn || allocator.orderAt(pfn) >= large) return false;
    if (allocator.orderAt(pfn - pfn % ORDER_PAGES[ORDER_MAX]) === ORDER_MAX) return false;
    return control.mode === "sync-full" || allocator.pageblockType(pfn) === MOVABLE;
  }

  /**
   * `isolate_freepages_block`: ascending over one pageblock until there is enough; returns where it stopped. 6.1 makes allocated
   * pages of whole blocks at once, which zeroes them (`split_map_pages`), later kernels of the page that is used.
   */
  #isolateFreeBlock(from: number, end: number, cpu: number): number {
    const { zone, guest } = this.#parts;
    const { allocator } = zone;
    const { policy } = guest;
    let page = from;
    while (page < end && this.#poolPages < this.#pages) {
      this.scanned++;
      const order = allocator.orderAt(page);
      if (order < 0) {
        page++;
        continue;
      }
      // A block that the policy must act on before it is used cannot be filled within one step.
      if (policy.needsUse === undefined || !policy.needsUse(zone, page, order)) {
        if (!zone.isolate(page, order)) return page;
        if (zone.kernel.version === "6.1") this.#touchedNs += guest.writes.zero(page, ORDER_PAGES[order], cpu);
        this.#pool[order].push(page);
        this.#poolPages += ORDER_PAGES[order];
      }
      page += ORDER_PAGES[order];
    }
    return Math.min(page, end);
  }
}
