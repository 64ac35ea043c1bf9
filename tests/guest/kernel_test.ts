/** How both generations take from, and give back to, the lists of a zone, against twins on lists held as arrays. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { HIGHATOMIC, ISOLATE, MOVABLE, RECLAIMABLE, UNMOVABLE } from "../../sim/guest/allocator.ts";
import { Buddy } from "../../sim/guest/buddy.ts";
import { type AllocFlags, type Kernel, type KernelZone, NO_FLAGS } from "../../sim/guest/kernel.ts";
import { kernel61 } from "../../sim/guest/kernel_6_1.ts";
import { kernel612 } from "../../sim/guest/kernel_6_12.ts";
import { kernels } from "../../sim/guest/kernels.ts";
import { NaiveBuddy } from "./naive_buddy.ts";

const SLOW = Deno.env.get("HINTSIM_TIER") === "slow";
const OPERATIONS = 80;
const RUNS = SLOW ? 12_500 : 125;

const NO_FRAGMENT: AllocFlags = { noFragment: true, stealing: false };
const STEALING: AllocFlags = { noFragment: false, stealing: true };

/** What a zone is asked beside its lists; equal questions must be asked on both sides. */
interface Questions {
  /** Pages of a pageblock, by its first page, that are of the kind that asks. */
  alike(first: number): number;
  readonly asked: unknown[][];
}

function mayClaim({ alike, asked }: Questions, first: number, free: number, ...rest: number[]): boolean {
  asked.push([first, free, ...rest]);
  return free + alike(first) >= 256;
}

/** From which types a type takes: domain.md 1.5. */
const ROWS = [[2, 1], [2, 0], [0, 1]];

/** A zone of arrays and the parts of the fallback that both generations have. */
abstract class NaiveKernel extends NaiveBuddy {
  protected readonly questions: Questions;
  protected readonly start: number;
  protected readonly end: number;

  constructor(start: number, pages: number, questions: Questions) {
    super(start, pages);
    this.start = start;
    this.end = start + pages;
    this.questions = questions;
  }

  insert(pfn: number, order: number, type: number): void {
    this.lists[order][type].push({ pfn, reported: false });
  }

  /** The order of the free block that begins at a page, or -1. */
  orderOf(pfn: number): number {
    return this.lists.findIndex((types) => types.some((list) => list.some((block) => block.pfn === pfn)));
  }

  /** The first type of the row that has a block of this order. */
  protected source(order: number, wanted: number): number {
    return ROWS[wanted]?.find((type) => this.lists[order][type].length > 0) ?? -1;
  }

  protected canTakePageblock(order: number, wanted: number): boolean {
    return order >= 4 || wanted !== MOVABLE;
  }

  protected toTail(pfn: number, type: number): number {
    const order = this.orderOf(pfn);
    this.remove(pfn, order);
    this.insert(pfn, order, type);
    return 2 ** order;
  }

  /** Moves the free blocks of some pages; returns their pages. */
  protected moveFree(from: number, to: number, type: number): number {
    let moved = 0;
    for (let pfn = from; pfn < to; pfn++) if (this.orderOf(pfn) >= 0) moved += this.toTail(pfn, type);
    return moved;
  }

  protected retype(pfn: number, order: number, type: number): void {
    for (let block = pfn; block < pfn + 2 ** order; block += 512) this.setType(block, type);
  }

  abstract take(order: number, wanted: number, flags: AllocFlags): number;
  abstract takeMany(order: number, wanted: number, count: number, flags: AllocFlags): number[];
  abstract give(pfn: number, order: number, type: number): void;
  abstract move(pfn: number, type: number): void;
  abstract isolated(pfn: number, order: number): void;
}

/** 6.1: one fallback, then the own lists again. */
class Naive61 extends NaiveKernel {
  override take(order: number, wanted: number, flags: AllocFlags): number {
    const own = this.alloc(order, wanted);
    if (own >= 0) return own;
    return this.#fallback(order, wanted, flags.noFragment) ? this.alloc(order, wanted) : -1;
  }

  override takeMany(order: number, wanted: number, count: number, flags: AllocFlags): number[] {
    const taken: number[] = [];
    for (let pfn = 0; taken.length < count && pfn >= 0;) {
      pfn = this.take(order, wanted, flags);
      if (pfn >= 0) taken.push(pfn);
    }
    return taken;
  }

  override give(pfn: number, order: number, type: number): void {
    this.free(pfn, order, type, false);
  }

  override move(pfn: number, type: number): void {
    this.#movePageblock(pfn, type);
    this.setType(pfn, type);
  }

  override isolated(pfn: number, order: number): void {
    for (let block = pfn; block < pfn + 2 ** order; block += 512) {
      if (this.type(block) <= 2) this.setType(block, MOVABLE);
    }
  }

  #fallback(order: number, wanted: number, noFragment: boolean): boolean {
    const least = noFragment && order < 9 ? 9 : order;
    const largest = [10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0].find((one) => one >= least && this.source(one, wanted) >= 0);
    if (largest === undefined) return false;
    const smallest = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10].find((one) => one >= order && this.source(one, wanted) >= 0)!;
    this.#steal(this.canTakePageblock(largest, wanted) ? largest : smallest, wanted);
    return true;
  }

  #steal(order: number, wanted: number): void {
    const { pfn } = this.lists[order][this.source(order, wanted)][0];
    const present = this.type(pfn);
    if (present === HIGHATOMIC) return void this.toTail(pfn, wanted);
    if (order >= 9) {
      this.retype(pfn, order, wanted);
      return void this.toTail(pfn, wanted);
    }
    this.questions.asked.push(["boost"]);
    if (!this.canTakePageblock(order, wanted)) return void this.toTail(pfn, wanted);
    const moved = this.#movePageblock(pfn, wanted);
    if (moved === 0) return void this.toTail(pfn, wanted);
    const first = pfn - pfn % 512;
    if (mayClaim(this.questions, first, moved, wanted, present, order)) this.setType(pfn, wanted);
  }

  /** From the page itself where the zone begins inside of the pageblock; nothing where it ends inside. */
  #movePageblock(pfn: number, type: number): number {
    const first = pfn - pfn % 512;
    if (first + 512 > this.end) return 0;
    return this.moveFree(first < this.start ? pfn : first, first + 512, type);
  }
}

/** 6.12: claim, then steal; a bulk goes on stealing once it has begun. */
class Naive612 extends NaiveKernel {
  override take(order: number, wanted: number, flags: AllocFlags): number {
    return this.#take(order, wanted, flags, { stealing: flags.stealing });
  }

  override takeMany(order: number, wanted: number, count: number, flags: AllocFlags): number[] {
    const mode = { stealing: false };
    const taken: number[] = [];
    for (let n = 0; n < count; n++) {
      const pfn = this.#take(order, wanted, flags, mode);
      if (pfn < 0) break;
      taken.push(pfn);
    }
    return taken;
  }

  override give(pfn: number, order: number, type: number): void {
    if (order < 10) return void this.free(pfn, order, type, false);
    this.free(pfn, 9, this.type(pfn), false);
    this.free(pfn + 512, 9, this.type(pfn + 512), false);
  }

  override move(pfn: number, type: number): void {
    const first = pfn - pfn % 512;
    if (first < this.start || first + 512 > this.end) return;
    this.moveFree(first, first + 512, type);
    this.setType(first, type);
  }

  override isolated(pfn: number, order: number): void {
    for (let block = pfn; block < pfn + 2 ** order; block += 512) if (this.type(block) <= 2) this.move(block, MOVABLE);
  }

  #take(order: number, wanted: number, { noFragment }: AllocFlags, mode: { stealing: boolean }): number {
    if (!mode.stealing) {
      const own = this.alloc(order, wanted);
      if (own >= 0) return own;
      const claimed = this.#claim(order, wanted, noFragment);
      if (claimed >= 0) return claimed;
    }
    const stolen = noFragment ? -1 : this.#steal(order, wanted);
    if (stolen >= 0) mode.stealing = true;
    return stolen;
  }

  #claim(order: number, wanted: number, noFragment: boolean): number {
    for (let current = 10; current >= (noFragment ? Math.max(9, order) : order); current--) {
      const type = this.source(current, wanted);
      if (type < 0) continue;
      if (!this.canTakePageblock(current, wanted)) return -1;
      const { pfn } = this.lists[current][type][0];
      if (current >= 9) {
        this.remove(pfn, current);
        this.retype(pfn, current, wanted);
        return this.#split(pfn, current, order, wanted);
      }
      this.questions.asked.push(["boost"]);
      const first = pfn - pfn % 512;
      if (first < this.start || first + 512 > this.end) continue;
      let free = 0;
      for (let page = first; page < first + 512; page++) {
        const inside = this.orderOf(page);
        if (inside >= 0) free += 2 ** inside;
      }
      if (!mayClaim(this.questions, first, free, wanted, type, current)) continue;
      this.move(first, wanted);
      return this.alloc(order, wanted);
    }
    return -1;
  }

  #steal(order: number, wanted: number): number {
    for (let current = order; current <= 10; current++) {
      const type = this.source(current, wanted);
      if (type < 0) continue;
      const { pfn } = this.lists[current][type][0];
      this.remove(pfn, current);
      return this.#split(pfn, current, order, type);
    }
    return -1;
  }

  /** Keeps the lowest pages; upper halves go to the heads. */
  #split(pfn: number, from: number, to: number, type: number): number {
    for (let order = from - 1; order >= to; order--) {
      this.lists[order][type].unshift({ pfn: pfn + 2 ** order, reported: false });
    }
    return pfn;
  }
}

/** One operation; what it does not need is left unused. */
const operation = fc.record({
  kind: fc.constantFrom("alloc", "alloc", "alloc", "many", "many", "free", "free", "frees", "move", "isolate", "type"),
  order: fc.constantFrom(0, 0, 0, 0, 1, 2, 3, 4, 6, 8, 9, 10),
  type: fc.constantFrom(UNMOVABLE, MOVABLE, RECLAIMABLE),
  odd: fc.constantFrom(UNMOVABLE, MOVABLE, RECLAIMABLE, HIGHATOMIC, ISOLATE),
  flags: fc.constantFrom(NO_FLAGS, NO_FLAGS, NO_FLAGS, NO_FRAGMENT, STEALING),
  pick: fc.nat({ max: 10_000 }),
});
type Operation = typeof operation extends fc.Arbitrary<infer T> ? T : never;

/** A zone, and its twin, with the same first blocks. */
class Pair {
  readonly zone: KernelZone;
  readonly twin: NaiveKernel;
  readonly #kernel: Kernel;
  readonly #asked: [unknown[][], unknown[][]] = [[], []];
  readonly #used: { readonly pfn: number; readonly order: number; readonly type: number }[] = [];

  constructor(kernel: Kernel, start: number, pages: number, alike: (first: number) => number) {
    const [ours, theirs] = this.#asked.map((asked): Questions => ({ alike, asked }));
    this.#kernel = kernel;
    this.twin = kernel === kernel61 ? new Naive61(start, pages, theirs) : new Naive612(start, pages, theirs);
    this.zone = {
      allocator: new Buddy(start, pages),
      mayClaim: (first, free, wanted, present, order) => mayClaim(ours, first, free, wanted, present, order),
      boost: () => void ours.asked.push(["boost"]),
    };
  }

  /** A free block, not merged. */
  insert(pfn: number, order: number, type: number): void {
    this.zone.allocator.insert(pfn, order, type, true);
    this.twin.insert(pfn, order, type);
  }

  setType(pfn: number, type: number): void {
    this.zone.allocator.setPageblockType(pfn, type);
    this.twin.setType(pfn, type);
  }

  run({ kind, order, type, odd, flags, pick }: Operation): void {
    if (kind === "alloc") this.#alloc(order, pick % 50 === 0 ? odd : type, flags);
    else if (kind === "many") this.#allocMany(order, type, 1 + pick % 40, flags);
    else if (kind === "free") this.#free(pick, pick % 3 === 0 ? type : undefined);
    else if (kind === "frees") { for (let n = pick % 30; n >= 0; n--) this.#free(pick * 7 + n); }
    else if (kind === "type") this.setType(this.#pageOf(pick), pick % 5 === 0 ? odd : type);
    else if (kind === "isolate") this.#isolate(pick);
    else this.#move(pick, type);
    this.compare();
  }

  #pageOf(pick: number): number {
    const { startPfn, pages } = this.zone.allocator;
    return startPfn + pick * 97 % pages;
  }

  #alloc(order: number, type: number, flags: AllocFlags): void {
    const pfn = this.#kernel.alloc(this.zone, order, type, flags);
    assert.equal(pfn, this.twin.take(order, type, flags));
    if (pfn >= 0) this.#used.push({ pfn, order, type });
  }

  #allocMany(order: number, type: number, count: number, flags: AllocFlags): void {
    const pfns = new Float64Array(64);
    const taken = this.#kernel.allocBulk(this.zone, order, type, count, flags, pfns);
    assert.deepEqual([...pfns.subarray(0, taken)], this.twin.takeMany(order, type, count, flags));
    for (const pfn of pfns.subarray(0, taken)) this.#used.push({ pfn, order, type });
  }

  #free(pick: number, as?: number): void {
    const [block] = this.#used.splice(pick % Math.max(1, this.#used.length), 1);
    if (block === undefined) return;
    const type = this.#kernel.typeOfFreed(this.zone, block.pfn, as ?? block.type);
    const wanted = this.#kernel === kernel61 ? as ?? block.type : this.twin.type(block.pfn);
    assert.equal(type, wanted);
    this.#kernel.free(this.zone, block.pfn, block.order, type, false);
    this.twin.give(block.pfn, block.order, type);
  }

  #move(pick: number, type: number): void {
    const pfn = this.#pageOf(pick);
    // Blocks of order 10 reach over a pageblock: the kernel moves pageblocks that are in smaller parts.
    if (
      this.twin.blocks().some((block) => block.order === 10 && Math.floor(block.pfn / 1024) === Math.floor(pfn / 1024))
    ) {
      return;
    }
    this.#kernel.movePageblock(this.zone, pfn, type);
    this.twin.move(pfn, type);
  }

  #isolate(pick: number): void {
    const large = this.twin.blocks().filter(({ order }) => order >= 8);
    if (large.length === 0) return;
    const { pfn, order } = large[pick % large.length];
    this.zone.allocator.remove(pfn, order);
    this.twin.remove(pfn, order);
    this.#kernel.retypeIsolated(this.zone, pfn, order);
    this.twin.isolated(pfn, order);
    this.#used.push({ pfn, order, type: MOVABLE });
  }

  compare(): void {
    const { allocator } = this.zone;
    for (let order = 0; order <= 10; order++) {
      for (let type = 0; type < 5; type++) {
        const pfns: number[] = [];
        for (let pfn = allocator.first(order, type); pfn >= 0; pfn = allocator.next(pfn, order)) pfns.push(pfn);
        assert.deepEqual(pfns, this.twin.lists[order][type].map(({ pfn }) => pfn), `order ${order}, type ${type}`);
      }
    }
    const { startPfn, pages } = allocator;
    for (let pfn = startPfn; pfn < startPfn + pages; pfn += 512 - pfn % 512) {
      assert.equal(allocator.pageblockType(pfn), this.twin.type(pfn), `type at ${pfn}`);
    }
    assert.deepEqual(this.#asked[0], this.#asked[1]);
    for (const asked of this.#asked) asked.length = 0;
  }
}

/** Zones that begin and end inside of pageblocks, and one that does not. */
const ZONES: readonly (readonly [start: number, pages: number])[] = [[1, 2047], [0, 3072], [1024, 1324], [4096, 2048]];

for (const kernel of kernels) {
  Deno.test(`kernel ${kernel.version} does what its twin does, in ${OPERATIONS * RUNS} operations`, () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...ZONES),
        fc.array(fc.constantFrom(UNMOVABLE, MOVABLE, MOVABLE, RECLAIMABLE, HIGHATOMIC), { minLength: 7, maxLength: 7 }),
        fc.array(fc.nat({ max: 300 }), { minLength: 7, maxLength: 7 }),
        fc.array(operation, { minLength: OPERATIONS, maxLength: OPERATIONS, size: "max" }),
        ([start, pages], types, alike, operations) => {
          const pair = new Pair(kernel, start, pages, (first) => alike[Math.floor(first / 512) % 7]);
          for (let n = 0; n < 7; n++) {
            const pfn = Math.max(start, start - start % 512 + 512 * n);
            if (pfn < start + pages) pair.setType(pfn, types[n]);
          }
          for (let pfn = start; pfn < start + pages;) {
            let order = 10;
            while (pfn % 2 ** order !== 0 || pfn + 2 ** order > start + pages) order--;
            pair.insert(pfn, order, types[Math.floor(pfn / 512) - Math.floor(start / 512)]);
            pfn += 2 ** order;
          }
          for (const one of operations) pair.run(one);
          pair.zone.allocator.validate();
        },
      ),
      { numRuns: RUNS },
    );
  });
}

/** A zone with these types of pageblocks and free blocks [pfn, order, list]; every claim needs `alike` pages and more. */
function zoneOf(
  types: readonly number[],
  blocks: readonly (readonly [number, number, number])[],
  { start = 0, pages = 2048, alike = 0 } = {},
): KernelZone & { boosts: number } {
  const allocator = new Buddy(start, pages);
  types.forEach((type, block) => allocator.setPageblockType(Math.max(start, block * 512), type));
  for (const [pfn, order, type] of blocks) allocator.insert(pfn, order, type, true);
  return {
    allocator,
    boosts: 0,
    mayClaim: (_first, free) => free + alike >= 256,
    boost() {
      this.boosts++;
    },
  };
}

/** Lists that are not empty, as "order/type": pages from the head on. */
function listsOf({ allocator }: KernelZone): Record<string, number[]> {
  const result: Record<string, number[]> = {};
  for (let order = 0; order <= 10; order++) {
    for (let type = 0; type < 5; type++) {
      const pfns: number[] = [];
      for (let pfn = allocator.first(order, type); pfn >= 0; pfn = allocator.next(pfn, order)) pfns.push(pfn);
      if (pfns.length > 0) result[`${order}/${type}`] = pfns;
    }
  }
  return result;
}

Deno.test("a small unmovable request from a movable pageblock: 6.1 moves its free pages anyway, 6.12 only when it claims", () => {
  const blocks = [[8, 3, MOVABLE], [64, 5, MOVABLE], [100, 0, MOVABLE]] as const;
  const old = zoneOf([MOVABLE], blocks);
  assert.equal(kernel61.alloc(old, 0, UNMOVABLE, NO_FLAGS), 100);
  assert.deepEqual(listsOf(old), { "3/0": [8], "5/0": [64] });
  assert.deepEqual([old.allocator.pageblockType(0), old.boosts], [MOVABLE, 1]);
  // Three candidates are looked at and none may be claimed; then the smallest block is stolen.
  const now = zoneOf([MOVABLE], blocks);
  assert.equal(kernel612.alloc(now, 0, UNMOVABLE, NO_FLAGS), 100);
  assert.deepEqual(listsOf(now), { "3/1": [8], "5/1": [64] });
  assert.deepEqual([now.allocator.pageblockType(0), now.boosts], [MOVABLE, 3]);
  const claimed = zoneOf([MOVABLE], blocks, { alike: 256 - 41 });
  assert.equal(kernel612.alloc(claimed, 0, UNMOVABLE, NO_FLAGS), 100);
  assert.deepEqual(listsOf(claimed), { "3/0": [8], "5/0": [64] });
  assert.equal(claimed.allocator.pageblockType(0), UNMOVABLE);
});

Deno.test("6.12: what is left of a stolen block stays with the other type, and a bulk goes on stealing", () => {
  const blocks = [[16, 3, UNMOVABLE], [40, 2, UNMOVABLE]] as const;
  const zone = zoneOf([UNMOVABLE], blocks);
  const pfns = new Float64Array(8);
  assert.equal(kernel612.allocBulk(zone, 0, MOVABLE, 6, NO_FLAGS, pfns), 6);
  assert.deepEqual([...pfns.subarray(0, 6)], [40, 41, 42, 43, 16, 17]);
  assert.deepEqual(listsOf(zone), { "1/0": [18], "2/0": [20] });
  // While stealing, own pages are not looked at: the next bulk does again.
  zone.allocator.insert(600, 0, MOVABLE, true);
  assert.equal(kernel612.alloc(zone, 0, MOVABLE, STEALING), 18);
  assert.equal(kernel612.alloc(zone, 0, MOVABLE, NO_FLAGS), 600);
});

Deno.test("a whole pageblock: 6.1 moves it to the tail, 6.12 splits it where it is; both retype it", () => {
  for (const kernel of kernels) {
    const zone = zoneOf([MOVABLE, MOVABLE, MOVABLE, MOVABLE], [[0, 10, MOVABLE], [1024, 9, MOVABLE]]);
    assert.equal(kernel.alloc(zone, 8, UNMOVABLE, NO_FLAGS), 0);
    assert.deepEqual(listsOf(zone), { "8/0": [256], "9/0": [512], "9/1": [1024] });
    assert.deepEqual([0, 512, 1024].map((pfn) => zone.allocator.pageblockType(pfn)), [UNMOVABLE, UNMOVABLE, MOVABLE]);
    assert.equal(zone.boosts, 0);
  }
});

Deno.test("without fragmentation only whole pageblocks are taken", () => {
  for (const kernel of kernels) {
    const small = zoneOf([MOVABLE], [[0, 8, MOVABLE]], { alike: 512 });
    assert.equal(kernel.alloc(small, 0, UNMOVABLE, NO_FRAGMENT), -1);
    assert.deepEqual(listsOf(small), { "8/1": [0] });
    const whole = zoneOf([MOVABLE], [[0, 9, MOVABLE]]);
    assert.equal(kernel.alloc(whole, 3, UNMOVABLE, NO_FRAGMENT), 0);
    assert.equal(kernel.allocBulk(small, 0, UNMOVABLE, 4, NO_FRAGMENT, new Float64Array(4)), 0);
  }
});

Deno.test("nothing is taken from HIGHATOMIC and ISOLATE lists, nor for them", () => {
  for (const kernel of kernels) {
    const zone = zoneOf([HIGHATOMIC, ISOLATE], [[0, 9, HIGHATOMIC], [512, 9, ISOLATE]]);
    for (const type of [UNMOVABLE, MOVABLE, RECLAIMABLE]) assert.equal(kernel.alloc(zone, 0, type, NO_FLAGS), -1);
    assert.equal(kernel.alloc(zone, 0, HIGHATOMIC, NO_FLAGS), 0);
    const other = zoneOf([MOVABLE], [[0, 9, MOVABLE]]);
    assert.equal(kernel.alloc(other, 0, HIGHATOMIC, NO_FLAGS), -1);
  }
});

Deno.test("6.1: of a HIGHATOMIC pageblock only the block itself is taken", () => {
  const zone = zoneOf([HIGHATOMIC], [[0, 8, MOVABLE], [300, 0, MOVABLE]]);
  assert.equal(kernel61.alloc(zone, 8, UNMOVABLE, NO_FLAGS), 0);
  assert.deepEqual([listsOf(zone), zone.allocator.pageblockType(0), zone.boosts], [{ "0/1": [300] }, HIGHATOMIC, 0]);
});

Deno.test("pageblock 0 of a zone that begins at page 1: 6.1 moves a part, 6.12 cannot claim it", () => {
  const blocks = [[8, 0, MOVABLE], [64, 5, MOVABLE], [100, 0, MOVABLE]] as const;
  const edge = { start: 1, pages: 4095, alike: 512 };
  const old = zoneOf([MOVABLE], blocks, edge);
  assert.equal(kernel61.alloc(old, 0, UNMOVABLE, NO_FLAGS), 100);
  assert.deepEqual(listsOf(old), { "0/1": [8], "5/0": [64] });
  assert.equal(old.allocator.pageblockType(1), UNMOVABLE);
  const now = zoneOf([MOVABLE], blocks, edge);
  assert.equal(kernel612.alloc(now, 0, UNMOVABLE, NO_FLAGS), 8);
  assert.deepEqual([listsOf(now), now.allocator.pageblockType(1)], [{ "0/1": [100], "5/1": [64] }, MOVABLE]);
});

Deno.test("a pageblock that ends after its zone: 6.1 takes the block alone, 6.12 steals", () => {
  const end = { pages: 1000, alike: 512 };
  const blocks = [[520, 0, MOVABLE], [768, 7, MOVABLE]] as const;
  for (const kernel of kernels) {
    const zone = zoneOf([MOVABLE, MOVABLE], blocks, end);
    assert.equal(kernel.alloc(zone, 7, UNMOVABLE, NO_FLAGS), 768);
    assert.deepEqual([listsOf(zone), zone.allocator.pageblockType(768)], [{ "0/1": [520] }, MOVABLE]);
  }
});

Deno.test("6.12 frees a block of order 10 in two parts, each to the list of its pageblock; they merge if types allow", () => {
  const apart = zoneOf([MOVABLE, HIGHATOMIC], []);
  kernel612.free(apart, 0, 10, UNMOVABLE, false);
  assert.deepEqual(listsOf(apart), { "9/1": [0], "9/3": [512] });
  const together = zoneOf([MOVABLE, RECLAIMABLE], []);
  assert.equal(kernel612.free(together, 0, 10, UNMOVABLE, false), 10);
  assert.deepEqual(listsOf(together), { "10/2": [0] });
  const old = zoneOf([MOVABLE, HIGHATOMIC], []);
  assert.equal(kernel61.free(old, 0, 10, UNMOVABLE, false), 10);
  assert.deepEqual(listsOf(old), { "10/0": [0] });
});

Deno.test("an isolated block: 6.1 retypes its pageblock, 6.12 moves the other free blocks along", () => {
  const blocks = [[300, 0, UNMOVABLE], [320, 3, UNMOVABLE]] as const;
  const old = zoneOf([UNMOVABLE], blocks);
  kernel61.retypeIsolated(old, 0, 8);
  assert.deepEqual([listsOf(old), old.allocator.pageblockType(0)], [{ "0/0": [300], "3/0": [320] }, MOVABLE]);
  const now = zoneOf([UNMOVABLE], blocks);
  kernel612.retypeIsolated(now, 0, 8);
  assert.deepEqual([listsOf(now), now.allocator.pageblockType(0)], [{ "0/1": [300], "3/1": [320] }, MOVABLE]);
  for (const kernel of kernels) {
    const reserve = zoneOf([HIGHATOMIC], [[300, 0, HIGHATOMIC]]);
    kernel.retypeIsolated(reserve, 0, 8);
    assert.deepEqual([listsOf(reserve), reserve.allocator.pageblockType(0)], [{ "0/3": [300] }, HIGHATOMIC]);
  }
});

Deno.test("freed pages go back as what they were freed as in 6.1, and to the type of their pageblock in 6.12", () => {
  const zone = zoneOf([RECLAIMABLE], []);
  assert.equal(kernel61.typeOfFreed(zone, 5, UNMOVABLE), UNMOVABLE);
  assert.equal(kernel612.typeOfFreed(zone, 5, UNMOVABLE), RECLAIMABLE);
});
