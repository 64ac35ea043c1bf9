/**
 * Quantiles of all the values of a run, exactly: nearest rank, no interpolation and no sketch.
 *
 * Only distinct values are kept, each with how often it was added, in a hash table. Costs of events take few distinct
 * values, so a value costs one look-up and a run of a billion rows needs little memory; they are sorted when somebody asks.
 */

/** Places of a table at the start; a power of two, as ever. */
const PLACES_MIN = 64;

/** A number and its two halves, for the hash. */
const NUMBER = new Float64Array(1);
const HALVES = new Int32Array(NUMBER.buffer);

/** A collector of numbers that answers with their quantiles. */
export class Quantiles {
  /** Distinct values where {@link #counts} is not 0, in the first free place from that of their hash on. */
  #values = new Float64Array(PLACES_MIN);
  #counts = new Float64Array(PLACES_MIN);
  /** 32 less the bits of a place. */
  #shift = 26;
  #distinct = 0;
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
    this.#count++;
    if (value > this.#max) this.#max = value;
    const place = this.#placeOf(value);
    if (this.#counts[place]++ > 0) return;
    this.#values[place] = value;
    // At most half full, so that a search ends soon.
    if (++this.#distinct * 2 > this.#values.length) this.#grow();
  }

  /**
   * The nearest-rank quantile: the smallest value such that at least the share `q` (0 to 1) of all values is not larger.
   * Undefined when there is none.
   */
  rank(q: number): number | undefined {
    if (this.#count === 0) return undefined;
    const rank = rankOf(q, this.#count);
    let seen = 0;
    for (const value of this.#values.filter((_, place) => this.#counts[place] > 0).sort()) {
      seen += this.#counts[this.#placeOf(value)];
      if (seen >= rank) return value;
    }
    return this.#max;
  }

  /** The place of a value, or the free one where it belongs. */
  #placeOf(value: number): number {
    const values = this.#values;
    const counts = this.#counts;
    const mask = values.length - 1;
    NUMBER[0] = value + 0; // -0 is 0
    // The upper bits of a product depend on all bits of its factors; whole numbers differ in the upper ones of their halves.
    let place = Math.imul(HALVES[0] ^ Math.imul(HALVES[1], 0x85ebca6b), 0x9e3779b9) >>> this.#shift;
    while (counts[place] > 0 && values[place] !== value) place = (place + 1) & mask;
    return place;
  }

  #grow(): void {
    const values = this.#values;
    const counts = this.#counts;
    this.#values = new Float64Array(2 * values.length);
    this.#counts = new Float64Array(2 * counts.length);
    this.#shift--;
    for (let i = 0; i < values.length; i++) {
      if (counts[i] === 0) continue;
      const place = this.#placeOf(values[i]);
      this.#values[place] = values[i];
      this.#counts[place] = counts[i];
    }
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
