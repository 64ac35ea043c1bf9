/** Blocks of one size that a driver holds, in typed columns: a balloon of a terabyte is 2^28 pages. */
import { grown } from "../memory/grown.ts";

/** A stack of blocks, each with its zone. */
export class HeldBlocks {
  /** The most blocks that were on it. */
  peak = 0;
  #count = 0;
  #pfn = new Float64Array(0);
  #zone = new Uint8Array(0);

  /** Blocks on it. */
  get count(): number {
    return this.#count;
  }

  /** Puts a block on top; `zone` is the index of its zone. */
  push(pfn: number, zone: number): void {
    if (this.#count === this.#pfn.length) this.#grow();
    this.#pfn[this.#count] = pfn;
    this.#zone[this.#count] = zone;
    if (++this.#count > this.peak) this.peak = this.#count;
  }

  /** First page of the n-th block from the bottom. */
  pfn(n: number): number {
    return this.#pfn[n];
  }

  /** Index of the zone of the n-th block from the bottom. */
  zone(n: number): number {
    return this.#zone[n];
  }

  /** Takes the topmost `count` blocks off. */
  drop(count: number): void {
    this.#count -= count;
  }

  #grow(): void {
    const length = Math.max(256, 2 * this.#count);
    this.#pfn = grown(this.#pfn, length);
    this.#zone = grown(this.#zone, length);
  }
}
