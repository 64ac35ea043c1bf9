/**
 * Requests that lead the free lists from one point of a curve to the next.
 *
 * They are found on lists of their own, which no policy touches, and name allocations by number: so every policy sees the same
 * requests. The rule, for each zone and from the kernel's own (mm/page_alloc.c):
 *
 * 1. What is missing of an order is taken as blocks of that order: an allocation takes the head of the smallest list that has one.
 * 2. A block that appears while no more pages are free in blocks of its order and above is the rest of a larger one that was split
 *    (`expand`), which nobody is told about. It is made by an allocation that splits, where the list of that order is empty; where it
 *    is not the kernel would not have split either, and the block is left out until pages come back.
 * 3. Only when more pages are free in blocks of an order and above than before has something been freed. Then blocks come back, the
 *    largest first, those taken last before others: what was taken as one block, or all parts of a larger one that merge to it.
 */
import { type Allocator, MOVABLE, ORDER_MAX, ORDERS } from "../sim/guest/allocator.ts";
import { Op } from "../sim/guest/operations.ts";
import { ORDER_PAGES } from "../sim/memory/range.ts";
import type { Handles } from "./handles.ts";

/** One request. */
export interface CurveRequest {
  /** Kind, see {@link Op}. */
  readonly kind: number;
  /** Handle of the allocation. */
  readonly handle: number;
  /** Order. */
  readonly order: number;
}

/** Leads one zone along a curve. */
export class CurveFollower {
  #lists: Allocator;
  #handles: Handles;
  /** Blocks in use that may come back, their handles by first page, for each order; those taken last stand last. */
  #held: readonly Map<number, number>[] = Array.from({ length: ORDERS }, () => new Map<number, number>());
  #requests: CurveRequest[] = [];

  /** A follower on lists of its own; handles are shared between the zones of a guest. */
  constructor(lists: Allocator, handles: Handles) {
    this.#lists = lists;
    this.#handles = handles;
  }

  /** A block in use at the start; returns its handle. */
  hold(pfn: number, order: number): number {
    const handle = this.#handles.take();
    this.#held[order].set(pfn, handle);
    return handle;
  }

  /** Free blocks of an order on the lists of the follower. */
  nrFree(order: number): number {
    return this.#lists.nrFree(order);
  }

  /** The requests that take pages, then those that give back, from the counts `before` of the curve to `after`. */
  step(before: readonly number[], after: readonly number[]): { takes: CurveRequest[]; gives: CurveRequest[] } {
    const freed = freedOrders(before, after);
    for (let order = 0; order < ORDER_MAX; order++) {
      if (after[order] > 0 && this.#lists.nrFree(order) === 0 && !freed[order] && this.#splits(order, after)) {
        this.#take(order);
      }
    }
    for (let order = 0; order <= ORDER_MAX; order++) {
      while (this.#lists.nrFree(order) > after[order]) this.#take(order);
    }
    const takes = this.#requests;
    this.#requests = [];
    for (let order = ORDER_MAX; order >= 0; order--) {
      while (freed[order] && this.#lists.nrFree(order) < after[order] && this.#give(order));
    }
    const gives = this.#requests;
    this.#requests = [];
    return { takes, gives };
  }

  /** Whether the block that an allocation of this order would split is one that the curve has too many of. */
  #splits(order: number, after: readonly number[]): boolean {
    let larger = order + 1;
    while (larger <= ORDER_MAX && this.#lists.nrFree(larger) === 0) larger++;
    return larger <= ORDER_MAX && this.#lists.nrFree(larger) > after[larger];
  }

  #take(order: number): void {
    const pfn = this.#lists.alloc(order, MOVABLE);
    if (pfn < 0) return;
    this.#requests.push({ kind: Op.alloc, handle: this.hold(pfn, order), order });
  }

  /** Gives back what makes one more block of this order; false when nothing in use does. */
  #give(order: number): boolean {
    for (let part = order; part >= 0; part--) {
      for (const pfn of [...this.#held[part].keys()].reverse()) {
        const block = pfn - pfn % ORDER_PAGES[order];
        if (order < ORDER_MAX && this.#lists.orderAt(buddyOf(block, order)) === order) continue;
        const parts: { pfn: number; order: number }[] = [];
        if (!this.#collect(block, order, parts)) continue;
        for (const one of parts) this.#free(one.pfn, one.order);
        return true;
      }
    }
    return false;
  }

  /** Whether these pages are free or held; the held blocks go to `parts`. */
  #collect(pfn: number, order: number, parts: { pfn: number; order: number }[]): boolean {
    if (this.#held[order].has(pfn)) return parts.push({ pfn, order }) > 0;
    if (this.#lists.orderAt(pfn) === order) return true;
    if (order === 0) return false;
    return this.#collect(pfn, order - 1, parts) && this.#collect(pfn + ORDER_PAGES[order - 1], order - 1, parts);
  }

  #free(pfn: number, order: number): void {
    const handle = this.#held[order].get(pfn)!;
    this.#held[order].delete(pfn);
    this.#lists.free(pfn, order, MOVABLE);
    this.#handles.give(handle);
    this.#requests.push({ kind: Op.free, handle, order });
  }
}

function buddyOf(pfn: number, order: number): number {
  const pages = ORDER_PAGES[order];
  return Math.floor(pfn / pages) % 2 === 0 ? pfn + pages : pfn - pages;
}

/** For each order whether more pages are free in blocks of that order and above than before. */
function freedOrders(before: readonly number[], after: readonly number[]): boolean[] {
  const freed = new Array<boolean>(ORDERS).fill(false);
  let pages = 0;
  for (let order = ORDER_MAX; order >= 0; order--) {
    pages += (after[order] - before[order]) * ORDER_PAGES[order];
    freed[order] = pages > 0;
  }
  return freed;
}
