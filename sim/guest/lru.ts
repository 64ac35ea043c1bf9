/**
 * What a guest may drop: clean pages of the page cache on an active and an inactive list, and shrinkable slab on a list of its
 * own (mm/swap.c, mm/vmscan.c). The lists hold the handles of allocations, linked through typed arrays.
 *
 * One set of lists for the whole guest, where the kernel has one for each node. Pages that reclaim dropped leave their age behind,
 * so that they are active at once when they come back soon (mm/workingset.c); the shrinker of these ages is left out.
 */
import { grown } from "../memory/grown.ts";
import { ORDER_PAGES } from "../memory/range.ts";

/** The lists. */
export const LruList = {
  /** On no list. */
  none: 0,
  /** Page cache, seen once lately: the first to go. */
  inactive: 1,
  /** Page cache, seen more than once. */
  active: 2,
  /** Slab with nothing in use on it. */
  slab: 3,
} as const;

const LIST_MASK = 3;
/** PG_referenced: used since it came to its list, or since it was made inactive. */
const REFERENCED = 4;
/** The guest has dropped it, and its owner does not know. */
const DROPPED = 8;
/** Its age when it was dropped is known (a shadow entry). */
const SHADOW = 16;

/** 10 for a ratio of int_sqrt(10 * GiB), as in `inactive_is_low`. */
const RATIO_FACTOR = 10;
const GIB_PAGES = 2 ** 18;

/**
 * The lists of one guest.
 *
 * ```ts
 * import { Lru, LruList } from "./lru.ts";
 * const lru = new Lru();
 * for (const handle of [7, 8, 9]) lru.add(handle, 0, LruList.inactive);
 * lru.accessed(7);
 * if (lru.tail(LruList.inactive) !== 7) throw new Error("seen once more: still the oldest, but referenced");
 * lru.accessed(7);
 * if (lru.tail(LruList.inactive) !== 8 || lru.pages(LruList.active) !== 1) throw new Error("seen again: active");
 * ```
 */
export class Lru {
  #next = new Int32Array(1024);
  #previous = new Int32Array(1024);
  #state = new Uint8Array(1024);
  #order = new Uint8Array(1024);
  /** The age of the lists when pages were dropped, modulo 2^32. */
  #droppedAt = new Uint32Array(1024);
  /** Pages dropped and made active so far, modulo 2^32 (`nonresident_age`). */
  #age = 0;
  readonly #heads = new Int32Array(4).fill(-1);
  readonly #tails = new Int32Array(4).fill(-1);
  readonly #pages = new Float64Array(4);

  /** Pages on a list. */
  pages(list: number): number {
    return this.#pages[list];
  }

  /** Pages of the page cache. */
  get cachePages(): number {
    return this.#pages[LruList.inactive] + this.#pages[LruList.active];
  }

  /** The list that a handle is on. */
  listOf(handle: number): number {
    return handle < this.#state.length ? this.#state[handle] & LIST_MASK : LruList.none;
  }

  /** Pages under a handle that is on a list. */
  pagesOf(handle: number): number {
    return ORDER_PAGES[this.#order[handle]];
  }

  /** The handle that has been on a list longest, or -1. */
  tail(list: number): number {
    return this.#tails[list];
  }

  /**
   * New pages under a handle that is on no list come to the head of a list (`folio_add_lru`). Page cache that was dropped before
   * becomes active when no more pages were dropped or made active since than are active now (`workingset_refault`).
   */
  add(handle: number, order: number, list: number): void {
    if (handle >= this.#state.length) this.#grow(handle + 1);
    const shadow = list === LruList.inactive && (this.#state[handle] & SHADOW) !== 0;
    this.#order[handle] = order;
    this.#state[handle] = 0;
    const distance = (this.#age - this.#droppedAt[handle]) >>> 0;
    if (shadow && distance <= this.#pages[LruList.active]) this.#activate(handle);
    else this.#link(handle, list);
  }

  /**
   * Pages were used again (mm/swap.c `folio_mark_accessed`): the first time they are referenced, the second time inactive ones
   * become active. Slab is only referenced.
   */
  accessed(handle: number): void {
    const list = this.listOf(handle);
    if (list === LruList.none) return;
    if (list !== LruList.inactive || (this.#state[handle] & REFERENCED) === 0) {
      this.#state[handle] |= REFERENCED;
      return;
    }
    this.#unlink(handle);
    this.#state[handle] = 0;
    this.#activate(handle);
  }

  /** Whether pages were used since they came to their list; not any more afterwards (`folio_test_clear_referenced`). */
  clearReferenced(handle: number): boolean {
    const referenced = (this.#state[handle] & REFERENCED) !== 0;
    this.#state[handle] &= ~REFERENCED;
    return referenced;
  }

  /** Active pages become inactive, referenced or not: only use through page tables would keep them (`shrink_active_list`). */
  deactivate(handle: number): void {
    this.#unlink(handle);
    this.#link(handle, LruList.inactive);
  }

  /** Moves a handle to the head of its list. */
  rotate(handle: number): void {
    const list = this.listOf(handle);
    this.#unlink(handle);
    this.#link(handle, list);
  }

  /** The owner of pages frees them. */
  remove(handle: number): void {
    if (handle >= this.#state.length) return;
    if (this.listOf(handle) !== LruList.none) this.#unlink(handle);
    this.#state[handle] = 0;
  }

  /**
   * The guest drops pages; {@link forget} tells their owner, should it free them. Reclaim notes the age of page cache
   * (`workingset_eviction`), `drop_caches` does not (`invalidate_mapping_pages`).
   */
  drop(handle: number, reclaimed: boolean): void {
    const shadow = reclaimed && this.listOf(handle) !== LruList.slab;
    this.#unlink(handle);
    this.#state[handle] = shadow ? DROPPED | SHADOW : DROPPED;
    if (!shadow) return;
    this.#droppedAt[handle] = this.#age;
    this.#grewOlder(handle);
  }

  /** Pages come anew under a handle: it names none that were dropped, but their age is still known. */
  reuse(handle: number): void {
    if (handle < this.#state.length) this.#state[handle] &= ~DROPPED;
  }

  /** No age is known any more: `drop_caches` clears those of all files (mm/truncate.c `clear_shadow_entry`). */
  forgetAges(): void {
    for (let handle = 0; handle < this.#state.length; handle++) this.#state[handle] &= ~SHADOW;
  }

  /** Whether the guest dropped what was under a handle; nothing is known of it afterwards. */
  forget(handle: number): boolean {
    if (handle >= this.#state.length || (this.#state[handle] & DROPPED) === 0) return false;
    this.#state[handle] = 0;
    return true;
  }

  /** Whether active pages should become inactive: there are more than the square root of ten times the GiB allows (`inactive_is_low`). */
  get inactiveIsLow(): boolean {
    const inactive = this.#pages[LruList.inactive];
    const active = this.#pages[LruList.active];
    const gib = Math.floor((inactive + active) / GIB_PAGES);
    return inactive * (gib > 0 ? Math.floor(Math.sqrt(RATIO_FACTOR * gib)) : 1) < active;
  }

  /** `workingset_activation`. */
  #activate(handle: number): void {
    this.#link(handle, LruList.active);
    this.#grewOlder(handle);
  }

  /** `workingset_age_nonresident`. */
  #grewOlder(handle: number): void {
    this.#age = (this.#age + ORDER_PAGES[this.#order[handle]]) >>> 0;
  }

  #link(handle: number, list: number): void {
    const head = this.#heads[list];
    this.#next[handle] = head;
    this.#previous[handle] = -1;
    if (head >= 0) this.#previous[head] = handle;
    else this.#tails[list] = handle;
    this.#heads[list] = handle;
    this.#state[handle] |= list;
    this.#pages[list] += ORDER_PAGES[this.#order[handle]];
  }

  #unlink(handle: number): void {
    const list = this.#state[handle] & LIST_MASK;
    const next = this.#next[handle];
    const previous = this.#previous[handle];
    if (previous >= 0) this.#next[previous] = next;
    else this.#heads[list] = next;
    if (next >= 0) this.#previous[next] = previous;
    else this.#tails[list] = previous;
    this.#state[handle] &= ~LIST_MASK;
    this.#pages[list] -= ORDER_PAGES[this.#order[handle]];
  }

  #grow(handles: number): void {
    const size = Math.max(handles, 2 * this.#state.length);
    this.#next = grown(this.#next, size);
    this.#previous = grown(this.#previous, size);
    this.#state = grown(this.#state, size);
    this.#order = grown(this.#order, size);
    this.#droppedAt = grown(this.#droppedAt, size);
  }
}
