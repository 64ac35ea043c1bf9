/** A double-ended queue of numbers (pages, with what is kept beside them) in one typed ring that grows. */

/** Numbers in order, cheap to add and take at both ends. */
export class PageRing {
  #values = new Float64Array(16);
  /** Position of the first value; the ring's size is a power of two. */
  #head = 0;
  #count = 0;

  /** How many values it holds. */
  get length(): number {
    return this.#count;
  }

  /** The n-th value from the front, which must exist. */
  at(n: number): number {
    return this.#values[(this.#head + n) & (this.#values.length - 1)];
  }

  /** Adds a value at the front. */
  pushFront(value: number): void {
    if (this.#count === this.#values.length) this.#grow();
    this.#head = (this.#head - 1) & (this.#values.length - 1);
    this.#values[this.#head] = value;
    this.#count++;
  }

  /** Adds a value at the back. */
  pushBack(value: number): void {
    if (this.#count === this.#values.length) this.#grow();
    this.#values[(this.#head + this.#count++) & (this.#values.length - 1)] = value;
  }

  /** Takes the first value; there must be one. */
  popFront(): number {
    const value = this.#values[this.#head];
    this.#head = (this.#head + 1) & (this.#values.length - 1);
    this.#count--;
    return value;
  }

  /** Takes the last value; there must be one. */
  popBack(): number {
    return this.#values[(this.#head + --this.#count) & (this.#values.length - 1)];
  }

  #grow(): void {
    const longer = new Float64Array(2 * this.#values.length);
    for (let n = 0; n < this.#count; n++) longer[n] = this.at(n);
    this.#values = longer;
    this.#head = 0;
  }
}
