/** Handles of allocations: small integers, used again after a free, so that tables stay as small as what is live. */

/** Hands out the numbers `first`, `first + step`, … and takes them back. */
export class Handles {
  #next: number;
  #step: number;
  #free: number[] = [];

  /** Handles of one of `step` streams. */
  constructor(first: number, step: number) {
    this.#next = first;
    this.#step = step;
  }

  /** A handle that is not in use. */
  take(): number {
    const reused = this.#free.pop();
    if (reused !== undefined) return reused;
    const handle = this.#next;
    this.#next += this.#step;
    return handle;
  }

  /** The handle is not in use any more. */
  give(handle: number): void {
    this.#free.push(handle);
  }
}
