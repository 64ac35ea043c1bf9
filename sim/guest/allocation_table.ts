/**
 * Where the allocations of a workload are: handle to page, order and zone.
 *
 * One number per handle holds all three, because handles are looked up at random: one miss of the cache instead of three.
 */
import { grown } from "../memory/grown.ts";
import type { PageOwner } from "./page_owner.ts";

/** A place is (pfn * ZONES + zone) * ORDERS + order + 1, exact up to page 2^41; 0 is no place. */
const ORDER_STEPS = 16;
const ZONE_STEPS = 256;
const PAGE_STEP = ORDER_STEPS * ZONE_STEPS;

/** A table of allocations by handle. */
export class AllocationTable {
  /** First page of the allocation found last. */
  pfn = 0;
  /** Its order. */
  order = 0;
  /** Its zone. */
  zone = 0;
  /** Knows the way back from page to handle, in guests that compact their memory. */
  owner: PageOwner | undefined = undefined;
  #places = new Float64Array(1024);

  /** Notes where an allocation is. Its order is at most 14, its zone at most 255. */
  put(handle: number, pfn: number, order: number, zone: number): void {
    if (handle >= this.#places.length) {
      this.#places = grown(this.#places, Math.max(handle + 1, 2 * this.#places.length));
    }
    if (this.owner !== undefined) {
      this.#disown(handle);
      this.owner.put(zone, pfn, handle);
    }
    this.#places[handle] = pfn * PAGE_STEP + zone * ORDER_STEPS + order + 1;
  }

  /** Nothing is allocated under the handle (any more). */
  remove(handle: number): void {
    if (handle >= this.#places.length) return;
    if (this.owner !== undefined) this.#disown(handle);
    this.#places[handle] = 0;
  }

  /** Takes an allocation out, and leaves what the handle named in the fields; false, with the fields as they were, if nothing. */
  take(handle: number): boolean {
    if (!this.find(handle)) return false;
    this.owner?.remove(this.zone, this.pfn);
    this.#places[handle] = 0;
    return true;
  }

  /** The pages that a handle named are nobody's; what {@link find} left in the fields stays. */
  #disown(handle: number): void {
    const { pfn, order, zone } = this;
    if (this.find(handle)) this.owner!.remove(this.zone, this.pfn);
    this.pfn = pfn;
    this.order = order;
    this.zone = zone;
  }

  /** Looks a handle up and leaves what it names in the fields; false, with the fields as they were, when it names nothing. */
  find(handle: number): boolean {
    const place = handle < this.#places.length ? this.#places[handle] : 0;
    if (place === 0) return false;
    const pfn = Math.floor(place / PAGE_STEP);
    const rest = place - pfn * PAGE_STEP - 1;
    this.pfn = pfn;
    this.order = rest & (ORDER_STEPS - 1);
    this.zone = rest >> 4;
    return true;
  }
}
