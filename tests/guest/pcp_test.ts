/** Per-CPU lists of both generations against twins that one can check by reading, and their limits against those of kernels. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { ISOLATE, MOVABLE, RECLAIMABLE, UNMOVABLE } from "../../sim/guest/allocator.ts";
import {
  batchOf,
  highMaxOf,
  highOf,
  keepsOrder,
  listIndex,
  listOrder,
  PCP_LISTS,
  type PcpZone,
  type PerCpuPages,
} from "../../sim/guest/pcp.ts";
import { Pcp61, type Pcp61State } from "../../sim/guest/pcp_6_1.ts";
import { Pcp612, type Pcp612State } from "../../sim/guest/pcp_6_12.ts";

const SLOW = Deno.env.get("HINTSIM_TIER") === "slow";
/** Operations of a run, and runs: 10^4 operations in all, or 10^6. */
const OPERATIONS = 100;
const RUNS = SLOW ? 10_000 : 100;

/** A block somewhere. */
interface Block {
  readonly pfn: number;
  readonly order: number;
  /** The type that it was freed as, or taken for. */
  readonly type: number;
}

/**
 * A zone that only counts: block n of an order begins at a page of its own, some refills get fewer blocks than they ask for,
 * pageblocks have types, and what is given back is noted.
 */
class StubZone implements PcpZone {
  readonly givenBack: Block[] = [];
  /** Its flags, which nobody sets but the test. */
  readonly pressure = { reclaimActive: false, belowHigh: false };
  /** Drains that it was told of. */
  drains = 0;
  #next = 0;
  #types = new Map<number, number>();
  /** Blocks that are left; refills get no more. */
  left = Infinity;

  refill(order: number, _migratetype: number, count: number, pfns: Float64Array): number {
    const taken = Math.min(count, this.left);
    for (let n = 0; n < taken; n++) pfns[n] = 512 * this.#next++ + (order === 9 ? 0 : 8 * order);
    this.left -= taken;
    return taken;
  }

  drained(): void {
    this.drains++;
  }

  giveBack(pfn: number, order: number, type: number): void {
    this.givenBack.push({ pfn, order, type });
  }

  pageblockType(pfn: number): number {
    return this.#types.get(pfn) ?? MOVABLE;
  }

  setType(pfn: number, type: number): void {
    this.#types.set(pfn, type);
  }
}

/** Lists as arrays, heads first; the rules of domain.md 1.8 and of the README of the recordings, 2.2, one statement each. */
abstract class NaivePcp {
  readonly lists: Block[][] = Array.from({ length: PCP_LISTS }, () => []);
  protected readonly zone: StubZone;
  protected readonly batch: number;

  constructor(zone: StubZone, batch: number) {
    this.zone = zone;
    this.batch = batch;
  }

  get count(): number {
    return this.lists.flat().reduce((sum, { order }) => sum + 2 ** order, 0);
  }

  alloc(order: number, type: number, counted: boolean): number {
    if (counted) this.allocated();
    const list = this.lists[naiveIndex(order, type)];
    if (list.length === 0) {
      const pfns = new Float64Array(10_000);
      const taken = this.zone.refill(order, type, this.refill(order), pfns);
      // Appended in the order taken.
      for (let n = 0; n < taken; n++) list.push({ pfn: pfns[n], order, type });
    }
    return list.shift()?.pfn ?? -1;
  }

  free(pfn: number, order: number, type: number): void {
    if (type === ISOLATE) return this.zone.giveBack(pfn, order, type);
    const index = naiveIndex(order, type > 2 ? MOVABLE : type);
    this.lists[index].unshift({ pfn, order, type });
    this.drain(this.excess(order), index);
  }

  drainAll(): void {
    this.drain(this.count, 0);
  }

  /** Round robin over the lists from one on, each from its tail until it is empty, until so many pages have gone. */
  protected drain(pages: number, from: number): void {
    for (let list = from; pages > 0 && this.count > 0; list = (list + 1) % PCP_LISTS) {
      while (pages > 0 && this.lists[list].length > 0) {
        const block = this.lists[list].pop()!;
        pages -= 2 ** block.order;
        this.zone.giveBack(block.pfn, block.order, this.typeNow(block));
      }
    }
  }

  abstract readonly high: number;
  protected abstract allocated(): void;
  protected abstract refill(order: number): number;
  protected abstract excess(order: number): number;
  protected abstract typeNow(block: Block): number;
}

function naiveIndex(order: number, type: number): number {
  return order === 9 ? (type === MOVABLE ? 13 : 12) : [0, 3, 6, 9][order] + type;
}

function clamp(value: number, low: number, high: number): number {
  return value < low ? Math.min(low, high) : value > high ? high : value;
}

/** The rules of 6.1. */
class NaivePcp61 extends NaivePcp {
  readonly high: number;
  factor: number;

  constructor(zone: StubZone, batch: number, { high, freeFactor }: Pcp61State) {
    super(zone, batch);
    this.high = high;
    this.factor = freeFactor;
  }

  protected override allocated(): void {
    this.factor = Math.floor(this.factor / 2);
  }

  protected override refill(order: number): number {
    if (this.batch === 1) return 1;
    return Math.max(Math.floor(this.batch / 2 ** order), 2);
  }

  protected override excess(order: number): number {
    const freeHigh = this.factor > 0 && [1, 2, 3].includes(order);
    if (freeHigh) return this.count;
    const high = this.zone.pressure.reclaimActive ? Math.min(4 * this.batch, this.high) : this.high;
    if (this.count < high) return 0;
    if (high < this.batch) return 1;
    const wanted = this.batch * 2 ** this.factor;
    if (wanted < high - this.batch && this.factor < 5) this.factor++;
    return clamp(wanted, this.batch, high - this.batch);
  }

  protected override typeNow({ type }: Block): number {
    return type;
  }
}

/** The rules of 6.12. */
class NaivePcp612 extends NaivePcp {
  high: number;
  readonly #state: Pcp612State;
  #allocFactor: number;
  #freeCount: number;
  #previous: boolean;

  constructor(zone: StubZone, batch: number, state: Pcp612State) {
    super(zone, batch);
    this.#state = state;
    this.high = state.high;
    this.#allocFactor = state.allocFactor;
    this.#freeCount = state.freeCount;
    this.#previous = state.previousHighOrder;
  }

  decay(): void {
    const { highMin } = this.#state;
    if (this.high > highMin) {
      this.high = Math.max(this.count - 32 * this.batch, this.high - Math.floor(this.high / 8), highMin);
    }
    for (let rest = this.count - this.high; rest > 0; rest -= this.batch) this.drain(Math.min(this.batch, rest), 0);
  }

  protected override allocated(): void {
    this.#freeCount = Math.floor(this.#freeCount / 2);
  }

  protected override refill(order: number): number {
    const { highMin, highMax } = this.#state;
    this.high = clamp(this.high, highMin, highMax);
    if (this.high < this.batch) return 1;
    let blocks = order === 0 ? this.batch * 2 ** this.#allocFactor : this.batch;
    if (highMin < highMax && !this.zone.pressure.belowHigh) this.high = Math.min(this.high + blocks, highMax);
    if (order === 0) {
      const bound = Math.max(this.high - this.count - this.batch, this.batch);
      if (blocks <= bound) this.#allocFactor = Math.min(5, this.#allocFactor + 1);
      blocks = Math.min(blocks, bound);
    }
    return blocks === 1 ? 1 : Math.max(2, Math.floor(blocks / 2 ** order));
  }

  protected override excess(order: number): number {
    const { highMin, highMax, freeHighBatch } = this.#state;
    this.#allocFactor = Math.floor(this.#allocFactor / 2);
    const small = [1, 2, 3].includes(order);
    const freeHigh = small && this.#previous && this.#freeCount >= this.batch &&
      (!freeHighBatch || this.count >= this.batch);
    this.#previous = small;
    if (this.#freeCount < 32 * this.batch) this.#freeCount += 2 ** order;
    this.high = clamp(this.high, highMin, highMax);
    if (freeHigh) {
      this.high = Math.max(this.high - 32 * this.batch, highMin);
      return Math.min(this.count, 32 * this.batch);
    }
    const high = this.high === 0 ? 0 : this.limit();
    if (this.count < high) return 0;
    return high < this.batch ? 1 : clamp(this.#freeCount, this.batch, high - this.batch);
  }

  /** The limit of this free, with what it does to the one that is kept: the four cases of `nr_pcp_high`, in its order. */
  private limit(): number {
    const { highMin, highMax } = this.#state;
    const { reclaimActive, belowHigh } = this.zone.pressure;
    const lower = Math.max(this.high - Math.max(this.#freeCount, this.batch), highMin);
    if (reclaimActive) {
      this.high = lower;
      return Math.min(4 * this.batch, lower);
    }
    if (highMin === highMax) return this.high;
    if (belowHigh) {
      this.high = lower;
      return Math.max(this.count, highMin);
    }
    const before = this.high;
    if (this.count >= before && before < this.#freeCount + this.batch) {
      this.high = clamp(this.#freeCount + this.batch, highMin, highMax);
    }
    return before;
  }

  protected override typeNow({ pfn }: Block): number {
    return this.zone.pageblockType(pfn);
  }
}

/** One operation; what it does not need is left unused. */
const operation = fc.record({
  kind: fc.constantFrom(
    ...[
      "alloc",
      "alloc",
      "alloc",
      "free",
      "free",
      "free",
      "free",
      "bulk",
      "frees",
      "frees",
      "drain",
      "special",
      "type",
    ],
    "few",
  ),
  order: fc.constantFrom(0, 0, 0, 0, 1, 2, 3, 9),
  type: fc.constantFrom(UNMOVABLE, MOVABLE, MOVABLE, RECLAIMABLE),
  freedAs: fc.constantFrom(UNMOVABLE, MOVABLE, RECLAIMABLE, 3, ISOLATE),
  pick: fc.nat({ max: 10_000 }),
});
type Operation = typeof operation extends fc.Arbitrary<infer T> ? T : never;

const batches = fc.constantFrom(1, 2, 3, 7, 31, 63);

/** What both sides of a run do. */
interface Pair<Ours extends PerCpuPages, Twin extends NaivePcp> {
  readonly ours: Ours;
  readonly twin: Twin;
  readonly zones: readonly [StubZone, StubZone];
  special(operation: Operation): void;
}

function compare({ ours, twin, zones: [a, b] }: Pair<PerCpuPages & { readonly high: number }, NaivePcp>): void {
  assert.equal(ours.count, twin.count);
  assert.equal(ours.high, twin.high);
  assert.deepEqual(a.givenBack, b.givenBack);
  a.givenBack.length = 0;
  b.givenBack.length = 0;
}

function compareLists(ours: PerCpuPages, twin: NaivePcp): void {
  for (let list = 0; list < PCP_LISTS; list++) {
    assert.deepEqual(ours.pages(list), twin.lists[list].map(({ pfn }) => pfn));
  }
}

/** Does the operations on both sides and compares after each; in the end all is drained. */
function run(pair: Pair<PerCpuPages & { readonly high: number }, NaivePcp>, operations: readonly Operation[]): void {
  const { ours, twin, zones } = pair;
  const used: Block[] = [];
  const alloc = (order: number, type: number, counted: boolean) => {
    const pfn = counted ? ours.alloc(order, type) : ours.allocOfMany(type);
    assert.equal(pfn, twin.alloc(order, type, counted));
    if (pfn >= 0) used.push({ pfn, order, type });
  };
  const free = (pick: number, as?: number) => {
    const [block] = used.splice(pick % Math.max(1, used.length), 1);
    if (block === undefined) return;
    ours.free(block.pfn, block.order, as ?? block.type);
    twin.free(block.pfn, block.order, as ?? block.type);
  };
  for (const one of operations) {
    const { kind, order, type, freedAs, pick } = one;
    if (kind === "alloc") { for (let n = pick % 40; n >= 0; n--) alloc(order, type, true); }
    else if (kind === "bulk") { for (let n = pick % 5; n >= 0; n--) alloc(0, type, false); }
    else if (kind === "free") free(pick, pick % 4 === 0 ? freedAs : undefined);
    else if (kind === "frees") { for (let n = pick % 60; n >= 0; n--) free(pick); }
    else if (kind === "special") pair.special(one);
    else if (kind === "few") { for (const zone of zones) zone.left = pick % 3 === 0 ? pick % 20 : Infinity; }
    else if (kind === "type" && used.length > 0) {
      for (const zone of zones) zone.setType(used[pick % used.length].pfn, freedAs);
    } else if (kind === "drain" && pick % 4 === 0) {
      ours.drainAll();
      twin.drainAll();
    }
    compare(pair);
  }
  compareLists(ours, twin);
  ours.drainAll();
  twin.drainAll();
  compare(pair);
  assert.equal(ours.count, 0);
}

const operations = fc.array(operation, { minLength: OPERATIONS, maxLength: OPERATIONS, size: "max" });

Deno.test(`lists of 6.1 do what their twin does, in ${OPERATIONS * RUNS} operations`, () => {
  const state = fc.record({ high: fc.nat({ max: 400 }), freeFactor: fc.nat({ max: 5 }) });
  fc.assert(
    fc.property(batches, state, operations, (batch, given, list) => {
      const zones = [new StubZone(), new StubZone()] as const;
      const ours = new Pcp61(zones[0], batch, given);
      const twin = new NaivePcp61(zones[1], batch, given);
      const special = () => {
        for (const { pressure } of zones) pressure.reclaimActive = !pressure.reclaimActive;
      };
      run({ ours, twin, zones, special }, list);
    }),
    { numRuns: RUNS },
  );
});

Deno.test(`lists of 6.12 do what their twin does, in ${OPERATIONS * RUNS} operations`, () => {
  const state = fc.record({
    high: fc.nat({ max: 500 }),
    highMin: fc.nat({ max: 200 }),
    above: fc.constantFrom(0, 50, 400, 3000),
    allocFactor: fc.nat({ max: 5 }),
    freeCount: fc.nat({ max: 2016 }),
    previousHighOrder: fc.boolean(),
    freeHighBatch: fc.boolean(),
  });
  fc.assert(
    fc.property(batches, state, operations, (batch, { above, ...rest }, list) => {
      const given = { ...rest, highMax: rest.highMin + above };
      const zones = [new StubZone(), new StubZone()] as const;
      const ours = new Pcp612(zones[0], batch, given);
      const twin = new NaivePcp612(zones[1], batch, given);
      const special = ({ pick }: Operation) => {
        for (const { pressure } of zones) {
          if (pick % 3 === 1) pressure.reclaimActive = !pressure.reclaimActive;
          if (pick % 3 === 2) pressure.belowHigh = !pressure.belowHigh;
        }
        if (pick % 3 !== 0) return;
        ours.decay();
        twin.decay();
      };
      run({ ours, twin, zones, special }, list);
    }),
    { numRuns: RUNS },
  );
});

Deno.test("orders 0 to 3 and 9 are kept, on fourteen lists", () => {
  const kept = Array.from({ length: 11 }, (_, order) => order).filter(keepsOrder);
  assert.deepEqual(kept, [0, 1, 2, 3, 9]);
  const lists = kept.flatMap((order) => [0, 1, 2].map((type) => listIndex(order, type)));
  assert.deepEqual(lists, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 12]);
  assert.deepEqual(lists.map(listOrder), kept.flatMap((order) => [order, order, order]));
});

Deno.test("batches: 1 for DMA, 15 and 31 below 1 GiB, 63 from there on, and those of the recorded guests", () => {
  // The guest of 256 MiB has a batch of 7: it is set when 43,000 of its 48,343 pages are managed, before init memory is freed.
  const pages = [0, 1, 3840, 3998, 43_000, 65_536, 112_759, 131_072, 241_591, 262_144, 499_255, 2 ** 28];
  assert.deepEqual(pages.map(batchOf), [1, 1, 1, 1, 7, 15, 31, 31, 63, 63, 63, 63]);
});

Deno.test("limits: the low watermark or an eighth of the zone, shared by the CPUs, at least four batches", () => {
  // What /proc/zoneinfo and the memory images of the recorded guests say: 1 GiB, 2 GiB, 4 GiB with 2 CPUs, 8 GiB with 4.
  const recorded: [low: number, cpus: number, high: number][] = [
    [13_856, 1, 13_856],
    [13_857, 1, 13_857],
    [13_971, 1, 13_971],
    [10_346, 2, 5173],
    [10_691, 2, 5345],
    [5091, 4, 1272],
    [15_987, 4, 3996],
  ];
  for (const [low, cpus, high] of recorded) assert.equal(highOf(low, cpus, 63), high);
  assert.deepEqual([highOf(0, 1, 1), highOf(7, 8, 63), highOf(508, 1, 7)], [4, 252, 508]);
  // DMA, and 8 GiB with 4 CPUs (domain.md).
  assert.deepEqual([highMaxOf(3840, 1, 1), highMaxOf(3840, 2, 1), highMaxOf(1_310_720, 4, 63)], [480, 240, 40_960]);
  assert.equal(highMaxOf(100, 4, 63), 252);
});

Deno.test("6.1: what is freed comes back first, what was freed long ago is drained, a high order drains all", () => {
  const zone = new StubZone();
  const lists = new Pcp61(zone, 3, { high: 12, freeFactor: 0 });
  for (let page = 0; page < 11; page++) lists.free(page, 0, MOVABLE);
  assert.deepEqual([lists.count, zone.givenBack.length], [11, 0]);
  lists.free(11, 0, MOVABLE);
  // A batch, the oldest first; the next drain is twice as large.
  assert.deepEqual(zone.givenBack.map(({ pfn }) => pfn), [0, 1, 2]);
  for (let page = 12; page < 15; page++) lists.free(page, 0, MOVABLE);
  assert.deepEqual(zone.givenBack.map(({ pfn }) => pfn), [0, 1, 2, 3, 4, 5, 6, 7, 8]);
  lists.free(16, 2, UNMOVABLE);
  assert.equal(lists.count, 0);
  // After allocations the factor is gone, and a high order stays.
  for (let n = 0; n < 3; n++) lists.alloc(0, MOVABLE);
  lists.free(32, 2, UNMOVABLE);
  assert.deepEqual(lists.pages(6), [32]);
});

Deno.test("6.1: reclaim in the zone lowers the limit to four batches", () => {
  const zone = new StubZone();
  const lists = new Pcp61(zone, 3, { high: 1000, freeFactor: 0 });
  zone.pressure.reclaimActive = true;
  for (let page = 0; page < 12; page++) lists.free(page, 0, MOVABLE);
  assert.deepEqual([lists.count, zone.givenBack.length], [9, 3]);
  // The list keeps its limit: when reclaim is over 1000 pages may be there again.
  zone.pressure.reclaimActive = false;
  for (let page = 12; page < 100; page++) lists.free(page, 0, MOVABLE);
  assert.deepEqual([lists.count, zone.givenBack.length, zone.drains], [97, 3, 1]);
});

/** Lists of 6.12 with a batch of 3 that may keep 50 pages, 20 at least and 1000 at most. */
function lists612(zone: StubZone): Pcp612 {
  const state = { allocFactor: 0, freeCount: 0, previousHighOrder: false, freeHighBatch: true };
  return new Pcp612(zone, 3, { ...state, high: 50, highMin: 20, highMax: 1000 });
}

Deno.test("6.12: reclaim in the zone lowers the limit to four batches, and the one that is kept with every free", () => {
  const zone = new StubZone();
  const lists = lists612(zone);
  zone.pressure.reclaimActive = true;
  // Each free takes what was freed in a row off the limit, at least a batch: 3, 3, 3, 4, 5, 6, 7. That is 19 then, less than the least.
  const limits: number[] = [];
  for (let page = 0; page < 12; page++) {
    lists.free(page, 0, MOVABLE);
    limits.push(lists.high);
  }
  assert.deepEqual(limits, [47, 44, 41, 37, 32, 26, 20, 20, 20, 20, 20, 20]);
  // With the twelfth page there are four batches: as many go as were freed in a row, but a batch stays.
  assert.deepEqual([lists.count, zone.givenBack.length, zone.drains], [3, 9, 1]);
});

Deno.test("6.12: a zone below its high mark keeps the least in lists that frees find longer, and refills raise no limit", () => {
  const zone = new StubZone();
  const lists = lists612(zone);
  zone.pressure.belowHigh = true;
  lists.alloc(0, MOVABLE);
  assert.deepEqual([lists.count, lists.high], [2, 50]);
  // Up to 19 pages stay; the twentieth drains what was freed in a row: 18 pages, but a batch of the 20 stays, so 17.
  for (let page = 0; page < 17; page++) lists.free(10_000 + page, 0, MOVABLE);
  assert.deepEqual([lists.count, lists.high, zone.drains], [19, 20, 0]);
  lists.free(20_000, 0, MOVABLE);
  assert.deepEqual([lists.count, zone.givenBack.length, zone.drains], [3, 17, 1]);
  zone.pressure.belowHigh = false;
  for (let n = 0; n < 4; n++) lists.alloc(0, MOVABLE);
  // After so many frees the fourth refills one batch, by which the limit of 20 rises.
  assert.deepEqual([lists.count, lists.high], [2, 23]);
});

Deno.test("6.12: refills double while nothing is freed, and idle lists shrink towards their least", () => {
  const zone = new StubZone();
  const state = {
    high: 100,
    highMin: 100,
    highMax: 4000,
    allocFactor: 0,
    freeCount: 0,
    previousHighOrder: false,
    freeHighBatch: false,
  };
  const lists = new Pcp612(zone, 63, state);
  const sizes: number[] = [];
  for (let n = 0; n < 4; n++) {
    lists.alloc(0, MOVABLE);
    sizes.push(lists.count + 1);
    while (lists.count > 0) lists.alloc(0, MOVABLE);
  }
  assert.deepEqual(sizes, [63, 126, 252, 504]);
  assert.equal(lists.high, 100 + 63 + 126 + 252 + 504);
  for (let n = 0; n < 5; n++) lists.decay();
  assert.ok(lists.high < 600 && lists.high >= 100, `${lists.high}`);
  for (let n = 0; n < 100; n++) lists.decay();
  // One eighth, rounded down, of less than eight is nothing.
  assert.equal(lists.high, 100);
});
