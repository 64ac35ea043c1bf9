import assert from "node:assert/strict";
import fc from "fast-check";
import { type Random, randomStream } from "../../sim/core/random.ts";
import { HIGHATOMIC, ISOLATE, MOVABLE, RECLAIMABLE, UNMOVABLE } from "../../sim/guest/allocator.ts";
import { Buddy } from "../../sim/guest/buddy.ts";
import { Zone } from "../../sim/guest/zone.ts";
import { forEachAlignedBlock } from "../../sim/memory/range.ts";
import { NaiveBuddy } from "./naive_buddy.ts";

const SLOW = Deno.env.get("HINTSIM_TIER") === "slow";

/** Where a zone starts and how many pages it has: aligned, at 1 as ZONE_DMA, and crooked at both ends. */
const SHAPES: readonly (readonly [start: number, pages: number])[] = [
  [0, 4096],
  [1, 4095],
  [1, 1000],
  [300, 2777],
  [1535, 1026],
  [2 ** 33 + 77, 2500],
];

interface Piece {
  readonly pfn: number;
  readonly order: number;
}

/** The allocator beside its twin: every call goes to both, and what they answer is compared. */
class Twin {
  readonly real: Buddy;
  readonly naive: NaiveBuddy;
  /** Blocks in use, in order of allocation. */
  readonly used: Piece[] = [];
  /** Blocks off their lists. */
  readonly isolated: Piece[] = [];

  constructor(start: number, pages: number) {
    this.real = new Buddy(start, pages);
    this.naive = new NaiveBuddy(start, pages);
    forEachAlignedBlock(start, pages, 10, (pfn, order) => this.used.push({ pfn, order }));
    for (let block = this.used.shift(); block !== undefined; block = this.used.shift()) {
      this.#free(block, MOVABLE, true);
    }
  }

  alloc(order: number, migratetype: number): void {
    const pfn = this.naive.alloc(order, migratetype);
    assert.equal(this.real.alloc(order, migratetype), pfn);
    if (pfn >= 0) this.used.push({ pfn, order });
  }

  /** Frees the whole or, when it has halves, only the lower half: pages may come back in other sizes than they went. */
  free(pick: number, migratetype: number, toTail: boolean, half = false): void {
    const [block] = this.used.splice(pick % this.used.length, 1);
    if (!half || block.order === 0) return this.#free(block, migratetype, toTail);
    const order = block.order - 1;
    this.used.push({ pfn: block.pfn + 2 ** order, order });
    this.#free({ pfn: block.pfn, order }, migratetype, toTail);
  }

  remove(pick: number): void {
    const { pfn, order } = this.#pickFree(pick);
    this.naive.remove(pfn, order);
    this.real.remove(pfn, order);
    this.isolated.push({ pfn, order });
  }

  putBack(pick: number): void {
    const [block] = this.isolated.splice(pick % this.isolated.length, 1);
    this.#free(block, this.naive.type(block.pfn), true);
  }

  rotate(pick: number): void {
    const { pfn, order, migratetype } = this.#pickFree(pick);
    this.naive.rotate(pfn, order, migratetype);
    this.real.rotate(pfn, order, migratetype);
  }

  setReported(pick: number): void {
    const { pfn, order } = this.#pickFree(pick);
    this.naive.setReported(pfn, order);
    this.real.setReported(pfn, order);
  }

  setType(pick: number, migratetype: number): void {
    const pfn = this.real.startPfn + pick % this.real.pages;
    this.naive.setType(pfn, migratetype);
    this.real.setPageblockType(pfn, migratetype);
  }

  /** Everything that can be seen from outside is the same. */
  check(): void {
    const { real, naive } = this;
    real.validate();
    for (let order = 0; order <= 10; order++) {
      assert.equal(real.nrFree(order), naive.nrFree(order));
      for (let type = 0; type < 5; type++) {
        const list: { pfn: number; reported: boolean }[] = [];
        for (let pfn = real.first(order, type); pfn >= 0; pfn = real.next(pfn, order)) {
          list.push({ pfn, reported: real.isReported(pfn, order) });
          assert.equal(real.listOf(pfn, order), type);
          assert.equal(real.orderAt(pfn), order);
        }
        assert.deepEqual(list, naive.lists[order][type]);
      }
    }
    assert.equal(real.freePages, naive.freePages);
    assert.equal(real.reportedPages, naive.reportedPages);
    for (const { pfn } of [...this.used, ...this.isolated]) assert.equal(real.orderAt(pfn), -1);
    const away = [...this.used, ...this.isolated].reduce((sum, { order }) => sum + 2 ** order, 0);
    assert.equal(real.freePages + away, real.pages);
    for (let pfn = real.startPfn; pfn < real.startPfn + real.pages; pfn += 512) {
      assert.equal(real.pageblockType(pfn), naive.type(pfn));
    }
  }

  /** Gives everything back and expects the zone in as few blocks as its ends allow. */
  finish(): void {
    while (this.isolated.length > 0) this.putBack(0);
    while (this.used.length > 0) this.free(this.used.length * 7, MOVABLE, false);
    this.check();
    const wanted: Piece[] = [];
    forEachAlignedBlock(this.real.startPfn, this.real.pages, 10, (pfn, order) => wanted.push({ pfn, order }));
    const free = this.naive.blocks().map(({ pfn, order }) => ({ pfn, order })).sort((a, b) => a.pfn - b.pfn);
    assert.deepEqual(free, wanted);
  }

  #free(block: Piece, migratetype: number, toTail: boolean): void {
    const order = this.naive.free(block.pfn, block.order, migratetype, toTail);
    assert.equal(this.real.free(block.pfn, block.order, migratetype, toTail), order);
  }

  #pickFree(pick: number): { pfn: number; order: number; migratetype: number } {
    const blocks = this.naive.blocks();
    return blocks[pick % blocks.length];
  }
}

/** What a command needs to make sense; the twin inside the real system is the model, this only says what exists. */
type Need = "nothing" | "used" | "free" | "isolated";

class Step implements fc.Command<object, Twin> {
  readonly #name: string;
  readonly #need: Need;
  readonly #act: (twin: Twin) => void;
  readonly #twin: () => Twin;

  constructor(name: string, need: Need, twin: () => Twin, act: (twin: Twin) => void) {
    this.#name = name;
    this.#need = need;
    this.#act = act;
    this.#twin = twin;
  }

  check(): boolean {
    const twin = this.#twin();
    if (this.#need === "used") return twin.used.length > 0;
    if (this.#need === "isolated") return twin.isolated.length > 0;
    return this.#need === "nothing" || twin.naive.freePages > 0;
  }

  run(_model: object, twin: Twin): void {
    this.#act(twin);
    twin.check();
  }

  toString(): string {
    return this.#name;
  }
}

Deno.test("the buddy allocator does what its naive twin does, after every command", () => {
  for (const [start, pages] of SHAPES) {
    let twin: Twin;
    const step = (name: string, need: Need, act: (twin: Twin) => void) => new Step(name, need, () => twin, act);
    const order = fc.oneof({ weight: 3, arbitrary: fc.nat(3) }, { weight: 2, arbitrary: fc.nat(10) });
    const type = fc.oneof({ weight: 9, arbitrary: fc.nat(2) }, { weight: 1, arbitrary: fc.nat(4) });
    const pick = fc.nat();
    const commands = fc.commands([
      fc.tuple(order, type).map(([k, t]) => step(`alloc ${k} of ${t}`, "nothing", (twin) => twin.alloc(k, t))),
      order.map((k) => step(`alloc ${k} of movable`, "nothing", (twin) => twin.alloc(k, MOVABLE))),
      fc.tuple(pick, type, fc.boolean(), fc.boolean()).map(([p, t, tail, half]) =>
        step(`free ${p} to ${t}${tail ? " at the tail" : ""}${half ? ", half of it" : ""}`, "used", (twin) => {
          twin.free(p, t, tail, half);
        })
      ),
      pick.map((p) => step(`free ${p}`, "used", (twin) => twin.free(p, MOVABLE, false))),
      pick.map((p) => step(`remove ${p}`, "free", (twin) => twin.remove(p))),
      pick.map((p) => step(`put back ${p}`, "isolated", (twin) => twin.putBack(p))),
      pick.map((p) => step(`rotate ${p}`, "free", (twin) => twin.rotate(p))),
      pick.map((p) => step(`report ${p}`, "free", (twin) => twin.setReported(p))),
      fc.tuple(pick, type).map(([p, t]) => step(`pageblock of ${p} to ${t}`, "nothing", (twin) => twin.setType(p, t))),
    ], { maxCommands: 150, size: "max" });
    fc.assert(
      fc.property(commands, (list) => {
        fc.modelRun(() => ({ model: {}, real: twin = new Twin(start, pages) }), list);
      }),
      { numRuns: SLOW ? 600 : 40 },
    );
  }
});

/** One step of the long run; allocations and frees take turns in being more frequent. */
function randomStep(twin: Twin, random: Random, filling: boolean): void {
  const kind = random.nextBelow(100);
  const pick = random.nextBelow(2 ** 30);
  if (kind < (filling ? 55 : 30)) {
    twin.alloc(random.nextBelow(4) > 0 ? random.nextBelow(3) : random.nextBelow(11), random.nextBelow(3));
  } else if (kind < 85) {
    if (twin.used.length > 0) twin.free(pick, random.nextBelow(3), kind % 8 === 0, kind % 3 === 0);
  } else if (kind < 89 && twin.real.freePages > 0) twin.remove(pick);
  else if (kind < 93 && twin.isolated.length > 0) twin.putBack(pick);
  else if (kind < 96 && twin.real.freePages > 0) twin.rotate(pick);
  else if (kind < 99 && twin.real.freePages > 0) twin.setReported(pick);
  else twin.setType(pick, random.nextBelow(3));
}

const OPERATIONS = SLOW ? 1_000_000 : 10_000;

for (const [start, pages] of [[1, 4095], [300, 2777]]) {
  Deno.test(`${OPERATIONS} random operations on ${pages} pages from ${start} on, then all comes back in maximal blocks`, () => {
    const random = randomStream(7, start, "buddy");
    const twin = new Twin(start, pages);
    for (let i = 0; i < OPERATIONS; i++) {
      randomStep(twin, random, i % 2000 < 1000);
      if (i % 499 === 0) twin.check();
    }
    twin.finish();
  });
}

/** A zone with all its pages in one block of order 10 on the movable list. */
function oneBlock(): Buddy {
  const buddy = new Buddy(0, 1024);
  buddy.free(0, 10, MOVABLE);
  return buddy;
}

function list(buddy: Buddy, order: number, migratetype: number): number[] {
  const pfns: number[] = [];
  for (let pfn = buddy.first(order, migratetype); pfn >= 0; pfn = buddy.next(pfn, order)) pfns.push(pfn);
  return pfns;
}

function zoneOf(buddy: Buddy, min: number): Zone {
  return new Zone({
    index: 0,
    name: "Normal",
    allocator: buddy,
    present: [{ pfn: buddy.startPfn, count: buddy.pages }],
    managedPages: buddy.pages,
    watermarks: { min, low: min, high: min },
  });
}

Deno.test("a split keeps the lowest pages and puts each upper half at the head of its list", () => {
  const buddy = oneBlock();
  assert.equal(buddy.alloc(7, MOVABLE), 0);
  assert.deepEqual([7, 8, 9, 10].map((order) => list(buddy, order, MOVABLE)), [[128], [256], [512], []]);
  assert.equal(buddy.alloc(7, MOVABLE), 128);
  assert.equal(buddy.alloc(7, MOVABLE), 256);
  assert.deepEqual([7, 8, 9].map((order) => list(buddy, order, MOVABLE)), [[384], [], [512]]);
  assert.equal(buddy.freePages, 640);
  assert.equal(buddy.alloc(0, UNMOVABLE), -1);
  assert.equal(buddy.alloc(10, MOVABLE), -1);
});

Deno.test("small pages come in ascending order out of one block, and the last one first when they come back", () => {
  const buddy = oneBlock();
  assert.deepEqual([1, 2, 3, 4, 5].map(() => buddy.alloc(0, MOVABLE)), [0, 1, 2, 3, 4]);
  for (const pfn of [1, 3]) buddy.free(pfn, 0, MOVABLE);
  // Page 5 was on the list; 1 and 3 came to the head, since nothing above them is free.
  assert.deepEqual(list(buddy, 0, MOVABLE), [3, 1, 5]);
  assert.equal(buddy.alloc(0, MOVABLE), 3);
});

Deno.test("a freed page merges step by step with its free buddies, whatever lists they are on", () => {
  const buddy = oneBlock();
  for (let i = 0; i < 8; i++) buddy.alloc(0, MOVABLE);
  buddy.free(0, 0, UNMOVABLE);
  buddy.free(2, 1, MOVABLE);
  assert.equal(buddy.free(4, 2, MOVABLE), 2);
  // 1 merges with 0 (unmovable list), 2-3 and 4-7, then with the halves that the split left: all of it again.
  assert.equal(buddy.free(1, 0, RECLAIMABLE), 10);
  assert.deepEqual(list(buddy, 10, RECLAIMABLE), [0]);
  assert.equal(buddy.freePages, 1024);
  for (let order = 0; order < 10; order++) assert.equal(buddy.nrFree(order), 0);
});

Deno.test("a freed block goes to the tail when the block above it has a free buddy, else to the head", () => {
  const buddy = oneBlock();
  for (let i = 0; i < 16; i++) buddy.alloc(0, MOVABLE);
  buddy.free(8, 0, MOVABLE);
  buddy.free(12, 0, MOVABLE);
  assert.deepEqual(list(buddy, 0, MOVABLE), [12, 8]);
  buddy.free(2, 1, MOVABLE); // a free block of order 1 above pages 0 and 1
  buddy.free(0, 0, MOVABLE); // when page 1 follows, 0-1 merges with 2-3: so 0 is kept for last
  assert.deepEqual(list(buddy, 0, MOVABLE), [12, 8, 0]);
  buddy.free(14, 0, MOVABLE, true);
  assert.deepEqual(list(buddy, 0, MOVABLE), [12, 8, 0, 14]);
});

Deno.test("the tail is for orders below 9 only: a pageblock goes to the head though a merge is likely", () => {
  const buddy = new Buddy(0, 4096);
  buddy.free(1024, 10, MOVABLE);
  buddy.free(2560, 9, MOVABLE);
  buddy.free(0, 9, MOVABLE); // its buddy 512 is in use, 1024 of order 10 is free
  assert.deepEqual(list(buddy, 9, MOVABLE), [0, 2560]);
  const small = new Buddy(0, 4096);
  small.free(512, 9, MOVABLE);
  small.free(1024, 8, MOVABLE);
  small.free(0, 8, MOVABLE); // order 8 does look: 512 of order 9 is free
  assert.deepEqual(list(small, 8, MOVABLE), [1024, 0]);
});

Deno.test("blocks of order 9 merge unless the pageblock types differ and one of them is HIGHATOMIC or ISOLATE", () => {
  const cases: [number, number, boolean][] = [
    [UNMOVABLE, MOVABLE, true],
    [RECLAIMABLE, UNMOVABLE, true],
    [MOVABLE, HIGHATOMIC, false],
    [HIGHATOMIC, MOVABLE, false],
    [UNMOVABLE, ISOLATE, false],
    [HIGHATOMIC, ISOLATE, false],
    [ISOLATE, ISOLATE, true],
    [HIGHATOMIC, HIGHATOMIC, true],
  ];
  for (const [low, high, merges] of cases) {
    const buddy = new Buddy(0, 1024);
    buddy.setPageblockType(0, low);
    buddy.setPageblockType(512, high);
    assert.equal(buddy.free(0, 9, low), 9);
    assert.equal(buddy.free(512, 9, high), merges ? 10 : 9, `types ${low} and ${high}`);
    assert.deepEqual(
      [list(buddy, 9, low).length, list(buddy, 10, high).length],
      merges ? [0, 1] : [low === high ? 2 : 1, 0],
    );
    // Below order 9 the types play no role.
    assert.equal(buddy.pageblockType(511), low);
    buddy.validate();
  }
});

Deno.test("Reported dies when a block merges, is allocated, split or taken off, and only there", () => {
  const buddy = new Buddy(0, 4096);
  for (const pfn of [0, 1024, 2048]) buddy.free(pfn, 10, MOVABLE, true);
  for (const pfn of [0, 1024, 2048]) buddy.setReported(pfn, 10);
  buddy.setReported(0, 10);
  assert.equal(buddy.reportedPages, 3072);
  buddy.rotate(2048, 10, MOVABLE);
  assert.equal(buddy.reportedPages, 3072);
  assert.equal(buddy.alloc(0, MOVABLE), 2048); // a split: the rest comes back unreported
  assert.equal(buddy.reportedPages, 2048);
  assert.equal(buddy.isReported(2560, 9), false);
  buddy.setReported(2560, 9);
  assert.equal(buddy.reportedPages, 2560);
  assert.equal(buddy.free(2048, 0, MOVABLE), 10); // merges with the reported 2560 and eight more
  assert.deepEqual([buddy.reportedPages, buddy.isReported(2048, 10)], [2048, false]);
  buddy.remove(0, 10);
  assert.equal(buddy.reportedPages, 1024);
  buddy.insert(0, 10, MOVABLE, false);
  assert.equal(buddy.isReported(0, 10), false);
});

Deno.test("rotating makes a block the head and keeps the cyclic order", () => {
  const buddy = new Buddy(0, 4096);
  for (const pfn of [0, 1024, 2048, 3072]) buddy.free(pfn, 10, MOVABLE, true);
  buddy.rotate(2048, 10, MOVABLE);
  assert.deepEqual(list(buddy, 10, MOVABLE), [2048, 3072, 0, 1024]);
  buddy.rotate(2048, 10, MOVABLE);
  assert.deepEqual(list(buddy, 10, MOVABLE), [2048, 3072, 0, 1024]);
  buddy.rotate(1024, 10, MOVABLE);
  assert.deepEqual(list(buddy, 10, MOVABLE), [1024, 2048, 3072, 0]);
});

Deno.test("isolating at order 8 and above makes the pageblocks movable; their other free blocks stay on their lists (6.1)", () => {
  const buddy = new Buddy(0, 4096);
  for (const pfn of [0, 512, 1024, 1536]) buddy.setPageblockType(pfn, UNMOVABLE);
  buddy.free(0, 8, UNMOVABLE);
  buddy.free(256, 3, UNMOVABLE);
  buddy.free(264 + 8, 3, UNMOVABLE);
  buddy.free(600, 3, UNMOVABLE); // in another pageblock
  buddy.free(2048, 3, MOVABLE);
  const zone = zoneOf(buddy, 0);
  assert.ok(zone.isolate(0, 8));
  assert.deepEqual([0, 512].map((pfn) => buddy.pageblockType(pfn)), [MOVABLE, UNMOVABLE]);
  assert.deepEqual(list(buddy, 3, MOVABLE), [2048]);
  assert.deepEqual(list(buddy, 3, UNMOVABLE), [600, 272, 256]);
  assert.equal(buddy.freePages, 32);
  buddy.free(1024, 10, UNMOVABLE);
  assert.ok(zone.isolate(1024, 10));
  assert.deepEqual([1024, 1536].map((pfn) => buddy.pageblockType(pfn)), [MOVABLE, MOVABLE]);
});

Deno.test("isolating below order 8, or in a HIGHATOMIC pageblock, changes no type", () => {
  const buddy = new Buddy(0, 2048);
  buddy.setPageblockType(0, RECLAIMABLE);
  buddy.setPageblockType(512, HIGHATOMIC);
  buddy.free(0, 7, RECLAIMABLE);
  buddy.free(512, 9, HIGHATOMIC);
  const zone = zoneOf(buddy, 0);
  buddy.free(1024, 10, MOVABLE);
  assert.ok(zone.isolate(0, 7));
  assert.ok(zone.isolate(512, 9));
  assert.deepEqual([0, 512].map((pfn) => buddy.pageblockType(pfn)), [RECLAIMABLE, HIGHATOMIC]);
});

Deno.test("isolating is refused when it would leave no more than the minimum, except in an ISOLATE pageblock", () => {
  const buddy = new Buddy(0, 4096);
  buddy.free(0, 10, MOVABLE);
  buddy.free(1024, 9, MOVABLE);
  // 1536 pages are free: 1024 of them may go when more than min + 1024 are there.
  assert.equal(zoneOf(buddy, 512).isolate(0, 10), false);
  assert.deepEqual([buddy.freePages, list(buddy, 10, MOVABLE)], [1536, [0]]);
  buddy.setPageblockType(0, ISOLATE);
  assert.ok(zoneOf(buddy, 512).isolate(0, 10));
  assert.equal(buddy.pageblockType(0), ISOLATE);
  assert.equal(zoneOf(buddy, 0).isolate(1024, 9), false);
  const other = new Buddy(0, 4096);
  other.free(0, 10, MOVABLE);
  other.free(1024, 9, MOVABLE);
  assert.ok(zoneOf(other, 511).isolate(0, 10));
  assert.equal(other.freePages, 512);
});

Deno.test("an isolated block goes back to the tail of its pageblock's list, Reported only when it did not merge", () => {
  const buddy = new Buddy(0, 4096);
  for (const pfn of [0, 1536, 2560]) buddy.free(pfn, 9, MOVABLE, true);
  const zone = zoneOf(buddy, 0);
  assert.ok(zone.isolate(0, 9));
  buddy.setPageblockType(0, RECLAIMABLE);
  buddy.free(3584, 9, RECLAIMABLE);
  assert.equal(zone.putBack(0, 9, true), 9);
  assert.deepEqual(list(buddy, 9, RECLAIMABLE), [3584, 0]);
  assert.deepEqual([buddy.isReported(0, 9), buddy.reportedPages], [true, 512]);
  assert.ok(zone.isolate(2560, 9));
  buddy.free(2048, 9, MOVABLE); // its buddy comes back meanwhile
  assert.equal(zone.putBack(2560, 9, true), 10);
  assert.deepEqual([list(buddy, 10, MOVABLE), buddy.isReported(2048, 10)], [[2048], false]);
  assert.ok(zone.isolate(1536, 9));
  assert.equal(zone.putBack(1536, 9, false), 9);
  assert.deepEqual([list(buddy, 9, MOVABLE), buddy.reportedPages], [[1536], 512]);
});

Deno.test("validate names what is wrong: unmerged buddies, and blocks that overlap", () => {
  const wrong: [RegExp, (buddy: Buddy) => void][] = [
    [/Unmerged buddy of block \d+ of order 3/, (buddy) => [8, 0].forEach((pfn) => buddy.insert(pfn, 3, MOVABLE, true))],
    [/Block 8 of order 3 overlaps block 10 of order 0/, (buddy) => {
      buddy.insert(8, 3, MOVABLE, true);
      buddy.insert(10, 0, UNMOVABLE, true);
    }],
    [/Block 0 of order 9 overlaps block 256 of order 8/, (buddy) => {
      buddy.insert(256, 8, MOVABLE, true);
      buddy.insert(0, 9, UNMOVABLE, true);
    }],
  ];
  for (const [message, spoil] of wrong) {
    const buddy = new Buddy(0, 1000);
    spoil(buddy);
    assert.throws(() => buddy.validate(), { message });
  }
});

Deno.test("blocks that no list can hold are refused: misaligned, outside the zone, on a pair that is taken, not free", () => {
  const buddy = new Buddy(1, 999);
  buddy.insert(8, 3, MOVABLE, true);
  buddy.insert(20, 0, MOVABLE, true);
  const wrong: [string, number, number][] = [
    ["Misaligned block 4 of order 3", 4, 3],
    ["Misaligned block 256 of order 9", 256, 9],
    ["Outside the zone: block 992 of order 5", 992, 5],
    ["Outside the zone: block 0 of order 2", 0, 2],
    ["Unmerged buddy of block 21 of order 0", 21, 0],
    ["A free block overlaps block 20 of order 0", 20, 0],
    ["A free block overlaps block 9 of order 0", 9, 0],
    ["A free block overlaps block 8 of order 2", 8, 2],
  ];
  for (const [message, pfn, order] of wrong) {
    assert.throws(() => buddy.insert(pfn, order, MOVABLE, true), { message });
  }
  assert.throws(() => buddy.remove(8, 2), { message: "No free block of order 2 begins there" });
  assert.throws(() => buddy.remove(21, 0), { message: "No free block of order 0 begins there" });
  assert.equal(buddy.freePages, 9);
  buddy.validate();
});

Deno.test("a zone of more than 2^31 pages is refused", () => {
  assert.throws(() => new Buddy(0, 2 ** 31), {
    name: "RangeError",
    message: /A zone of 2147483648 pages is larger than/,
  });
});

Deno.test("the largest zone that is not refused works at its end", () => {
  const pages = 2 ** 31 - 1024;
  const start = 2 ** 35;
  const buddy = new Buddy(start, pages);
  const last = start + pages - 1024;
  buddy.free(last, 10, MOVABLE);
  assert.deepEqual([0, 1, 2].map(() => buddy.alloc(0, MOVABLE)), [last, last + 1, last + 2]);
  buddy.free(last + 1, 0, MOVABLE);
  assert.deepEqual(list(buddy, 0, MOVABLE), [last + 1, last + 3]);
  assert.equal(buddy.orderAt(last + 512), 9);
  buddy.validate();
});
