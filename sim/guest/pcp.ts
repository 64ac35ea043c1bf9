/**
 * Per-CPU page lists: what one CPU keeps of one zone, so that it seldom needs the zone lock (Linux mm/page_alloc.c,
 * `struct per_cpu_pages`). Pages on them are neither free (the buddy does not see them) nor in use.
 *
 * There are fourteen lists: orders 0 to 3 for each of the three mobile types, and order 9 for movable and other pages. What is
 * freed goes to the head, what is taken comes from the head, what is given back to the buddy comes from the tail. How many
 * pages are refilled and drained differs by kernel: {@link Pcp61}, {@link Pcp612}.
 */
import { ORDER_PAGES } from "../memory/range.ts";
import { PageRing } from "../memory/page_ring.ts";
import { ISOLATE, MOVABLE, PAGEBLOCK_ORDER, RECLAIMABLE } from "./allocator.ts";

/** Lists of one CPU and zone. */
export const PCP_LISTS = 14;

/** The largest of the small orders that are kept (PAGE_ALLOC_COSTLY_ORDER). */
const COSTLY_ORDER = 3;

/** Doublings of the batch (PCP_BATCH_SCALE_MAX). */
export const BATCH_SCALE_MAX = 5;

/** The largest batch, that of a zone of 1 GiB and more. */
export const BATCH_MAX = 63;

/** Most blocks of one refill: the largest batch, doubled as often as it may be. */
const REFILL_MAX = BATCH_MAX * 2 ** BATCH_SCALE_MAX;

/** Whether pages of this order are kept per CPU (`pcp_allowed_order`). */
export function keepsOrder(order: number): boolean {
  return order <= COSTLY_ORDER || order === PAGEBLOCK_ORDER;
}

/** The list for an order that is kept and a type below HIGHATOMIC (`order_to_pindex`). */
export function listIndex(order: number, migratetype: number): number {
  if (order === PAGEBLOCK_ORDER) return migratetype === MOVABLE ? 13 : 12;
  return 3 * order + migratetype;
}

/** The order of a list (`pindex_to_order`). */
export function listOrder(list: number): number {
  return list >= 12 ? PAGEBLOCK_ORDER : Math.floor(list / 3);
}

/** Pages to take in one refill, from what the zone manages (`zone_batchsize`). */
export function batchOf(managedPages: number): number {
  const quarter = Math.max(1, Math.floor(Math.min(Math.floor(managedPages / 1024), 256) / 4));
  let power = 1;
  while (2 * power <= quarter + Math.floor(quarter / 2)) power *= 2;
  return Math.max(1, power - 1);
}

/** How many pages one CPU may keep (`zone_highsize`): its share of the low watermark, at least four batches. */
export function highOf(lowPages: number, cpus: number, batch: number): number {
  return Math.max(Math.floor(lowPages / cpus), 4 * batch);
}

/** What the auto-tuned limit of 6.12 may rise to: its share of an eighth of the zone. */
export function highMaxOf(managedPages: number, cpus: number, batch: number): number {
  return Math.max(Math.floor(Math.floor(managedPages / 8) / cpus), 4 * batch);
}

/** What a zone's flags say of its memory, by which the lists keep fewer pages. */
export interface ZonePressure {
  /** Whether kswapd works on it (ZONE_RECLAIM_ACTIVE). */
  readonly reclaimActive: boolean;
  /** Whether no more than its high mark was free when that was looked at last (ZONE_BELOW_HIGH, 6.12 only). */
  readonly belowHigh: boolean;
}

const NO_PRESSURE: ZonePressure = { reclaimActive: false, belowHigh: false };

/** The zone below the lists. */
export interface PcpZone {
  /** The zone's flags; none is ever set unless told, as in a replay, for recordings do not say them. */
  readonly pressure?: ZonePressure;
  /** Called when a free has drained a list: the zone may be above its high mark again. */
  drained?(): void;
  /** Takes up to `count` blocks under one hold of the lock into `pfns`; returns how many (`rmqueue_bulk`). */
  refill(order: number, migratetype: number, count: number, pfns: Float64Array): number;
  /** Gives one block back (`__free_one_page`). */
  giveBack(pfn: number, order: number, migratetype: number): void;
  /** The type of the pageblock of a page. */
  pageblockType(pfn: number): number;
}

/** A value of a list: the page, and the type it was freed as. */
const TYPE_STEP = 8;

/** The lists of one CPU and zone. */
export abstract class PerCpuPages {
  /** Pages on all lists. */
  count = 0;
  /** Pages of one ordinary refill or drain. */
  readonly batch: number;
  protected readonly zone: PcpZone;
  protected readonly pressure: ZonePressure;
  readonly #lists: readonly PageRing[] = Array.from({ length: PCP_LISTS }, () => new PageRing());
  readonly #refilled = new Float64Array(REFILL_MAX);

  /** Empty lists. */
  constructor(zone: PcpZone, batch: number) {
    this.zone = zone;
    this.pressure = zone.pressure ?? NO_PRESSURE;
    this.batch = batch;
  }

  /** Takes a block of an order that is kept; refills first when the list is empty. The first page, or -1. */
  alloc(order: number, migratetype: number): number {
    this.noteAlloc();
    return this.#take(order, migratetype);
  }

  /** Takes a single page as one of many that are asked for at once (`__alloc_pages_bulk`), which is not noted as an allocation. */
  allocOfMany(migratetype: number): number {
    return this.#take(0, migratetype);
  }

  #take(order: number, migratetype: number): number {
    const list = this.#lists[listIndex(order, migratetype)];
    if (list.length === 0) {
      const taken = this.zone.refill(order, migratetype, this.refillBlocks(order), this.#refilled);
      for (let n = 0; n < taken; n++) list.pushBack(this.#refilled[n] * TYPE_STEP + migratetype);
      this.count += taken * ORDER_PAGES[order];
      if (taken === 0) return -1;
    }
    this.count -= ORDER_PAGES[order];
    return Math.floor(list.popFront() / TYPE_STEP);
  }

  /** Frees a block of an order that is kept, as type `migratetype`; isolated pages go past the lists. */
  free(pfn: number, order: number, migratetype: number): void {
    if (migratetype === ISOLATE) return this.zone.giveBack(pfn, order, migratetype);
    const index = listIndex(order, migratetype > RECLAIMABLE ? MOVABLE : migratetype);
    this.#lists[index].pushFront(pfn * TYPE_STEP + migratetype);
    this.count += ORDER_PAGES[order];
    const pages = this.pagesToDrain(order);
    if (pages === 0) return;
    this.drain(pages, index);
    this.zone.drained?.();
  }

  /** Gives everything back (`drain_pages_zone`). */
  drainAll(): void {
    this.drain(this.count, 0);
  }

  /** The pages of a list, head first. */
  pages(list: number): number[] {
    const ring = this.#lists[list];
    return Array.from({ length: ring.length }, (_, n) => Math.floor(ring.at(n) / TYPE_STEP));
  }

  /** Puts a block at the tail of a list, as a recorded state has it. */
  restore(list: number, pfn: number, migratetype: number): void {
    this.#lists[list].pushBack(pfn * TYPE_STEP + migratetype);
    this.count += ORDER_PAGES[listOrder(list)];
  }

  /**
   * Gives back blocks until `pages` pages have gone (`free_pcppages_bulk`): a list is emptied from its tail before the next one
   * in turn, from `list` on.
   */
  protected drain(pages: number, list: number): void {
    let left = Math.min(pages, this.count);
    for (let index = list; left > 0; index = (index + 1) % PCP_LISTS) {
      const ring = this.#lists[index];
      const order = listOrder(index);
      while (left > 0 && ring.length > 0) {
        const value = ring.popBack();
        const pfn = Math.floor(value / TYPE_STEP);
        left -= ORDER_PAGES[order];
        this.count -= ORDER_PAGES[order];
        this.zone.giveBack(pfn, order, this.drainType(pfn, value - pfn * TYPE_STEP));
      }
    }
  }

  /** An allocation is about to be made. */
  protected abstract noteAlloc(): void;
  /** How many blocks to take for an empty list. */
  protected abstract refillBlocks(order: number): number;
  /** How many pages to give back after a block of `order` was freed, 0 for none. */
  protected abstract pagesToDrain(order: number): number;
  /** The type as which a block goes back to the buddy that was freed as `freedAs`. */
  protected abstract drainType(pfn: number, freedAs: number): number;
}
