/**
 * The rungs of the ladder queue: rows of buckets of equal width, each row within one bucket of the row above.
 *
 * A bucket is known by its number in one array that all rungs share; it holds a slot, the first one of a chain.
 */

/**
 * A rung reaches to so many times the mean of the events that it is made for, all counted from the earliest, and has
 * half as many buckets for each event. A far reach spares the way over the top. A large rung is slow by cache misses, so
 * it has a short one.
 */
const REACH = 8;
const REACH_LARGE = 2;
/** More events than this make a rung a large one. */
const LARGE = 2 ** 16;

// A rung, in an array of doubles: bucket `base + i` has the times from `start + i / density` on; the first `current`
// buckets are already in lower rungs or in the bottom.
const START = 0;
const DENSITY = 1;
const CURRENT = 2;
const COUNT = 3;
const BASE = 4;
const RUNG = 5;
/** The most rungs; a bucket of the last one is not divided. */
const RUNGS_MAX = 8;

/** No slot: an empty bucket, or the end of a chain. */
const NO_SLOT = -1;
/** Instead of a bucket: the time lies above all rungs. */
const ABOVE = -1;
/** Instead of a bucket: the time lies below all rungs. */
const BELOW = -2;

/** The rungs, the widest first. There is always one; one without buckets tells the times above it from those below. */
export class LadderRungs {
  /** The first slot of each bucket. */
  buckets: Int32Array = new Int32Array(64).fill(NO_SLOT);
  private readonly rungs = new Float64Array(RUNGS_MAX * RUNG);
  /** Place of the last rung in the array. */
  private last = 0;

  /** One rung above all times. */
  constructor() {
    this.setBoundary(Infinity);
  }

  /** True when there is no room for a rung below the last one. */
  get full(): boolean {
    return this.last === (RUNGS_MAX - 1) * RUNG;
  }

  /** Number of buckets, those already drained too. */
  get size(): number {
    return this.rungs[this.last + BASE] + this.rungs[this.last + COUNT];
  }

  /** The bucket of a time, {@link ABOVE} or {@link BELOW}. Positions never fall when times grow, however they are rounded. */
  find(timeNs: number): number {
    const { rungs } = this;
    const position = (timeNs - rungs[START]) * rungs[DENSITY];
    if (position >= rungs[COUNT]) return ABOVE;
    if (position >= rungs[CURRENT]) return position | 0;
    return this.last === 0 ? BELOW : this.findBelow(timeNs);
  }

  /** The bucket of a time in the last rung, which it belongs to. */
  findInLast(timeNs: number): number {
    const { rungs, last } = this;
    return rungs[last + BASE] + (this.position(timeNs, last) | 0);
  }

  /** Leaves the rungs without events. Gives the first bucket that has some, or NO_SLOT if none has. */
  firstBucket(): number {
    const { rungs, buckets } = this;
    for (;; this.last -= RUNG) {
      const { last } = this;
      const base = rungs[last + BASE];
      const end = base + rungs[last + COUNT];
      let bucket = base + rungs[last + CURRENT];
      while (bucket < end && buckets[bucket] === NO_SLOT) bucket++;
      rungs[last + CURRENT] = bucket - base;
      if (bucket < end) return bucket;
      if (last === 0) return NO_SLOT;
    }
  }

  /** What lies in the last rung before bucket `end` belongs below from now on. */
  lower(end: number): void {
    this.rungs[this.last + CURRENT] = end - this.rungs[this.last + BASE];
  }

  /** Makes a first rung without buckets: times from `startNs` on lie above, the others below. */
  setBoundary(startNs: number): void {
    this.set(0, startNs, 1, 0);
  }

  /** A first rung for the earlier ones of some events, at least half of them. False, and none, if all have one time. */
  openFirst(times: Float64Array, size: number): boolean {
    return this.open(0, times, 0, size);
  }

  /** A new last rung for all of some events. False, and none, if all have one time. There must be room. */
  openLast(times: Float64Array, from: number, to: number): boolean {
    return this.open(this.last + RUNG, times, from, to);
  }

  /** The bucket of a time below the first rung, or BELOW. */
  private findBelow(timeNs: number): number {
    const { rungs } = this;
    for (let rung = RUNG; rung <= this.last; rung += RUNG) {
      const position = this.position(timeNs, rung);
      if (position >= rungs[rung + CURRENT]) return rungs[rung + BASE] + (position | 0);
    }
    return BELOW;
  }

  /** Where a time lies in a lower rung. Its last bucket has no end: what is too late for it lies in a higher rung. */
  private position(timeNs: number, rung: number): number {
    const { rungs } = this;
    return Math.min((timeNs - rungs[rung + START]) * rungs[rung + DENSITY], rungs[rung + COUNT] - 1);
  }

  /** Finds the width of a rung for some events and makes it. False if all have one time. */
  private open(rung: number, times: Float64Array, from: number, to: number): boolean {
    const first = times[from];
    let min = first;
    let max = first;
    let sum = 0;
    for (let i = from; i < to; i++) {
      const timeNs = times[i];
      if (timeNs < min) min = timeNs;
      if (timeNs > max) max = timeNs;
      sum += timeNs - first;
    }
    if (min === max) return false;
    const events = to - from;
    const reach = events > LARGE ? REACH_LARGE : REACH;
    // At least half of the events lie below twice the mean. The far ones that pull the range apart hardly widen buckets.
    const span = Math.max(1, Math.min(max - min, reach * (sum / events + (first - min))));
    const count = Math.min(events * reach / 2, Math.floor(span) + 1);
    this.set(rung, min, Math.min(1, count / (span + 1)), count);
    return true;
  }

  /** Makes a rung the last one, below those before it. */
  private set(rung: number, startNs: number, density: number, count: number): void {
    const { rungs } = this;
    const base = rung === 0 ? 0 : rungs[rung - RUNG + BASE] + rungs[rung - RUNG + COUNT];
    rungs[rung + START] = startNs;
    rungs[rung + DENSITY] = density;
    rungs[rung + CURRENT] = 0;
    rungs[rung + COUNT] = count;
    rungs[rung + BASE] = base;
    this.last = rung;
    if (base + count > this.buckets.length) {
      const larger = new Int32Array(Math.max(base + count, this.buckets.length * 2)).fill(NO_SLOT);
      larger.set(this.buckets);
      this.buckets = larger;
    }
  }
}
