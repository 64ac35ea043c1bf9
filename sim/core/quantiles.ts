/**
 * Quantiles of all the values of a run, exactly: nearest rank, no interpolation and no sketch.
 *
 * Values gather in a buffer; when it is full they are sorted into a list of distinct values with their counts. Costs of
 * events take few distinct values, so a run of a billion rows needs little memory.
 */

/** Values that gather before they are sorted for the first time. */
const PENDING_MIN = 4096;

/** A collector of numbers that answers with their quantiles. */
export class Quantiles {
  #pending = new Float64Array(PENDING_MIN);
  #pendingCount = 0;
  /** Distinct values, ascending, and how often each was added. */
  #values = new Float64Array(0);
  #counts = new Float64Array(0);
  #count = 0;
  #max = -Infinity;

  /** Values added so far. */
  get count(): number {
    return this.#count;
  }

  /** The largest value, undefined when there is none. */
  get max(): number | undefined {
    return this.#count === 0 ? undefined : this.#max;
  }

  /** Adds a value; it must not be NaN. */
  add(value: number): void {
    if (this.#pendingCount === this.#pending.length) this.#sortIn();
    this.#pending[this.#pendingCount++] = value;
    this.#count++;
    if (value > this.#max) this.#max = value;
  }

  /**
   * The nearest-rank quantile: the smallest value such that at least the share `q` (0 to 1) of all values is not larger.
   * Undefined when there is none.
   */
  rank(q: number): number | undefined {
    if (this.#count === 0) return undefined;
    this.#sortIn();
    const rank = rankOf(q, this.#count);
    let seen = 0;
    for (let i = 0; i < this.#values.length; i++) {
      seen += this.#counts[i];
      if (seen >= rank) return this.#values[i];
    }
    return this.#max;
  }

  /** Merges the buffer into the distinct values. */
  #sortIn(): void {
    const pending = this.#pending.subarray(0, this.#pendingCount).sort();
    const values = new Float64Array(this.#values.length + pending.length);
    const counts = new Float64Array(values.length);
    let distinct = 0;
    const put = (value: number, count: number) => {
      if (distinct === 0 || values[distinct - 1] !== value) values[distinct++] = value;
      counts[distinct - 1] += count;
    };
    let next = 0;
    for (let i = 0; i < this.#values.length; i++) {
      while (next < pending.length && pending[next] < this.#values[i]) put(pending[next++], 1);
      put(this.#values[i], this.#counts[i]);
    }
    while (next < pending.length) put(pending[next++], 1);
    this.#values = values.slice(0, distinct);
    this.#counts = counts.slice(0, distinct);
    this.#pendingCount = 0;
    // As many values gather as are there already, so that merging costs a constant number of steps per value.
    if (distinct > this.#pending.length) this.#pending = new Float64Array(2 * this.#pending.length);
  }
}

/** The rank, from 1, of the quantile `q` among `count` values. */
function rankOf(q: number, count: number): number {
  const exact = q * count;
  const near = Math.round(exact);
  // 0.07 * 100 is a little more than 7: what differs from a whole number only by the rounding of q is that number.
  const rank = Math.abs(exact - near) <= near * 1e-15 ? near : Math.ceil(exact);
  return Math.min(count, Math.max(1, rank));
}
