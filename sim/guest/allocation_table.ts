/** Where the allocations of a workload are: handle to page, order and zone, in typed columns that grow. */

/** A table of allocations by handle. */
export class AllocationTable {
  #pfn = new Float64Array(1024);
  #order = new Uint8Array(1024);
  /** Zone index, or -1 where nothing is allocated. */
  #zone = new Int8Array(1024).fill(-1);

  /** Notes where an allocation is; returns its first page. */
  put(handle: number, pfn: number, order: number, zone: number): number {
    if (handle >= this.#zone.length) this.#grow(handle + 1);
    this.#pfn[handle] = pfn;
    this.#order[handle] = order;
    this.#zone[handle] = zone;
    return pfn;
  }

  /** Nothing is allocated under the handle (any more). */
  fail(handle: number): void {
    if (handle >= this.#zone.length) this.#grow(handle + 1);
    this.#zone[handle] = -1;
  }

  /** Zone of the allocation, or -1 when there is none. */
  zone(handle: number): number {
    return handle < this.#zone.length ? this.#zone[handle] : -1;
  }

  /** First page of the allocation. */
  pfn(handle: number): number {
    return this.#pfn[handle];
  }

  /** Order of the allocation. */
  order(handle: number): number {
    return this.#order[handle];
  }

  #grow(size: number): void {
    const length = Math.max(size, this.#zone.length * 2);
    const pfn = new Float64Array(length);
    pfn.set(this.#pfn);
    this.#pfn = pfn;
    const order = new Uint8Array(length);
    order.set(this.#order);
    this.#order = order;
    const zone = new Int8Array(length).fill(-1);
    zone.set(this.#zone);
    this.#zone = zone;
  }
}
