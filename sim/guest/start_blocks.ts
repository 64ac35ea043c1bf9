/** What is allocated when a run starts, in typed columns: a terabyte of small blocks is millions of them. */
import { grown } from "../memory/grown.ts";

/** Blocks in the order in which they are allocated. */
export class StartBlocks {
  #count = 0;
  #handle = new Int32Array(0);
  #order = new Uint8Array(0);
  #migratetype = new Uint8Array(0);
  #pfn = new Float64Array(0);

  /** Number of blocks. */
  get count(): number {
    return this.#count;
  }

  /** Appends a block. `pfn` says where it is, for recordings; else the allocator chooses. */
  add(handle: number, order: number, migratetype: number, pfn = -1): void {
    if (this.#count === this.#handle.length) this.#grow();
    const at = this.#count++;
    this.#handle[at] = handle;
    this.#order[at] = order;
    this.#migratetype[at] = migratetype;
    this.#pfn[at] = pfn;
  }

  /** Handle of the n-th block. */
  handle(n: number): number {
    return this.#handle[n];
  }

  /** Order of the n-th block. */
  order(n: number): number {
    return this.#order[n];
  }

  /** Migratetype of the n-th block. */
  migratetype(n: number): number {
    return this.#migratetype[n];
  }

  /** First page of the n-th block, -1 where the allocator chooses. */
  pfn(n: number): number {
    return this.#pfn[n];
  }

  #grow(): void {
    const length = Math.max(256, 2 * this.#count);
    this.#handle = grown(this.#handle, length);
    this.#order = grown(this.#order, length);
    this.#migratetype = grown(this.#migratetype, length);
    this.#pfn = grown(this.#pfn, length);
  }
}
