import assert from "node:assert/strict";
import fc from "fast-check";
import { type Random, randomStream } from "../../sim/core/random.ts";
import { type Allocator, ISOLATE, MOVABLE, UNMOVABLE } from "../../sim/guest/allocator.ts";
import { Buddy } from "../../sim/guest/buddy.ts";
import { SECTION_PAGES, SECTIONS_MAX } from "../../sim/guest/section_table.ts";
import { SparseLists } from "../../sim/guest/sparse_lists.ts";
import { TwinLists } from "./twin_lists.ts";

const SLOW = Deno.env.get("HINTSIM_TIER") === "slow";
const OPERATIONS = SLOW ? 1_000_000 : 10_000;

/** All lists in order, with marks and types. */
function picture(zone: Allocator): unknown {
  const lists: unknown[] = [];
  const out = new Float64Array(100);
  for (let order = 0; order <= 10; order++) {
    for (let type = 0; type < 5; type++) {
      const pfns: number[] = [];
      for (let read = out.length; read === out.length;) {
        read = zone.read(order, type, pfns.at(-1) ?? -1, out);
        pfns.push(...out.subarray(0, read));
      }
      lists.push([order, type, pfns, pfns.filter((pfn) => zone.isReported(pfn, order))]);
    }
  }
  const types: number[] = [];
  for (let pfn = zone.startPfn; pfn < zone.startPfn + zone.pages; pfn += 512) types.push(zone.pageblockType(pfn));
  return [lists, types, zone.freePages, zone.reportedPages, zone.startPfn, zone.pages];
}

/** SparseLists whose sections follow each other, in slots that do not, beside a plain Buddy. */
class Pair {
  readonly real: SparseLists;
  readonly plain: Buddy;
  readonly #used: { pfn: number; order: number }[] = [];
  readonly #random: Random;

  constructor(start: number, pages: number, random: Random) {
    const first = Math.floor(start / SECTION_PAGES);
    const sections = Math.ceil((start + pages) / SECTION_PAGES) - first;
    this.real = new SparseLists(sections + 1);
    this.plain = new Buddy(start, pages);
    this.#random = random;
    // Other sections take the first slots for a while, so that numbers inside are no shifted numbers outside.
    for (let n = 0; n < sections; n++) this.real.addSection(first + sections + n);
    for (let n = 0; n < sections; n++) this.real.removeSection(first + sections + (n * 2 + 1) % (sections | 1));
    this.real.addRange(start, pages);
    this.both((zone) => zone.insertRange(start, pages, MOVABLE));
  }

  both<T>(act: (zone: Allocator) => T): T {
    const answer = act(this.real);
    assert.deepEqual(answer, act(this.plain));
    return answer;
  }

  step(filling: boolean): void {
    const random = this.#random;
    const kind = random.nextBelow(100);
    const order = random.nextBelow(3) > 0 ? random.nextBelow(4) : random.nextBelow(11);
    const type = random.nextBelow(4) > 0 ? MOVABLE : random.nextBelow(3);
    if (kind < (filling ? 55 : 25)) return this.#alloc(order, type, 1 + random.nextBelow(9));
    if (kind < 80) return this.#free(type);
    const { startPfn, pages } = this.plain;
    const pfn = startPfn + random.nextBelow(pages);
    if (kind < 82) this.both((zone) => zone.setPageblockType(pfn, type));
    else if (kind < 84) this.both((zone) => zone.moveFreePages(pfn, Math.min(512, startPfn + pages - pfn), type));
    else if (kind < 86) this.both((zone) => zone.orderAt(pfn));
    else this.#onFreeBlock(kind, order, type);
  }

  #alloc(order: number, type: number, count: number): void {
    const pfns = this.both((zone) => {
      const out = new Float64Array(count);
      return [...out.subarray(0, zone.allocBulk(order, type, out))];
    });
    for (const pfn of pfns) this.#used.push({ pfn, order });
  }

  #free(type: number): void {
    const [block] = this.#used.splice(this.#random.nextBelow(this.#used.length + 1), 1);
    if (block === undefined) return;
    const { pfn, order } = block;
    if (this.#random.nextBelow(2) > 0) this.both((zone) => zone.free(pfn, order, type, type === 0));
    else this.both((zone) => zone.freeBulk(Float64Array.of(pfn), 1, order));
  }

  #onFreeBlock(kind: number, order: number, type: number): void {
    const head = this.both((zone) => zone.first(order, type));
    if (head < 0) return;
    const pfn = this.both((zone) => zone.next(head, order));
    if (pfn < 0) return;
    if (kind < 90) this.both((zone) => zone.rotate(pfn, order, type));
    else if (kind < 95) this.both((zone) => zone.setReported(pfn, order));
    else {
      this.both((zone) => zone.remove(pfn, order));
      this.both((zone) => zone.insert(pfn, order, this.plain.pageblockType(pfn), kind % 2 === 0));
    }
    this.both((zone) => [zone.isReported(pfn, order), zone.listOf(pfn, order)]);
  }

  check(): void {
    this.both(picture);
    this.both((zone) => zone.validate());
  }
}

for (const [start, pages] of [[32 * SECTION_PAGES, 3 * SECTION_PAGES], [4096, 70_000], [2 ** 33 + 77, 50_000]]) {
  Deno.test(`${OPERATIONS} operations on ${pages} pages from ${start} on do what they do in a plain Buddy`, () => {
    const pair = new Pair(start, pages, randomStream(3, start % 1000, "sparse"));
    pair.check();
    for (let i = 0; i < OPERATIONS; i++) {
      pair.step(i % 3000 < 1800);
      if (i % (SLOW ? 20_000 : 1000) === 0) pair.check();
    }
    pair.check();
  });
}

/** Random acts on sections anywhere in 64 TiB. */
function sparseStep(twin: TwinLists, used: { pfn: number; order: number }[], random: Random): void {
  const kind = random.nextBelow(100);
  const order = random.nextBelow(5) > 0 ? 4 + random.nextBelow(7) : random.nextBelow(11);
  if (kind < 45) {
    const pfn = twin.alloc(order, kind < 40 ? MOVABLE : UNMOVABLE);
    if (pfn >= 0) used.push({ pfn, order });
  } else if (kind < 88) {
    const [block] = used.splice(random.nextBelow(used.length + 1), 1);
    if (block !== undefined) twin.free(block.pfn, block.order, random.nextBelow(9) > 0 ? MOVABLE : UNMOVABLE);
  } else if (kind < 92) {
    const sections = [...twin.present];
    const section = sections[random.nextBelow(Math.max(1, sections.length))] ?? 0;
    const pageblock = section * SECTION_PAGES + 512 * random.nextBelow(64);
    twin.moveFreePages(pageblock, 1024, MOVABLE);
    if (sections.length > 0) twin.setPageblockType(pageblock, random.nextBelow(3));
  } else if (kind < 96 && twin.sections < 6) {
    const section = random.nextBelow(SECTIONS_MAX);
    if (twin.present.has(section)) return;
    twin.addSection(section);
    twin.insertRange(section * SECTION_PAGES, SECTION_PAGES, MOVABLE);
  } else if (kind >= 96 && twin.sections > 0) {
    removeIfFree(twin, [...twin.present][random.nextBelow(twin.sections)], used);
  }
}

/** Takes a section out, with all that is free or in use in it. */
function removeIfFree(twin: TwinLists, section: number, used: { pfn: number; order: number }[]): void {
  const first = section * SECTION_PAGES;
  const inside = ({ pfn }: { pfn: number }) => pfn >= first && pfn < first + SECTION_PAGES;
  const free = twin.naive.blocks().filter(inside);
  if (free.length > 0) assert.throws(() => twin.removeSection(section), { message: /has free pages/ });
  for (const { pfn, order } of free) twin.remove(pfn, order);
  used.splice(0, used.length, ...used.filter((block) => !inside(block)));
  twin.removeSection(section);
}

Deno.test(`${OPERATIONS} operations on sections that come and go in 64 TiB do what a naive twin does`, () => {
  const random = randomStream(4, 0, "sparse");
  const twin = new TwinLists(6);
  const used: { pfn: number; order: number }[] = [];
  for (let i = 0; i < OPERATIONS; i++) {
    sparseStep(twin, used, random);
    if (i % (SLOW ? 5000 : 250) === 0) twin.check();
  }
  for (const { pfn, order } of used) twin.free(pfn, order, MOVABLE);
  twin.check();
  assert.equal(twin.freePages, twin.sections * SECTION_PAGES);
  assert.equal(twin.nrFree(10), twin.sections * 32);
});

Deno.test("the span reaches from the first to the last page that exists, whatever comes and goes", () => {
  fc.assert(fc.property(fc.array(fc.tuple(fc.nat(SECTIONS_MAX - 1), fc.boolean()), { maxLength: 60 }), (acts) => {
    const lists = new TwinLists(60);
    for (const [section, add] of acts) {
      const [some] = lists.present;
      if (add && !lists.present.has(section)) lists.addSection(section);
      else if (!add && some !== undefined) lists.removeSection(some);
    }
    lists.check();
    for (const section of [...lists.present]) lists.removeSection(section);
    lists.check();
  }));
});

Deno.test("a zone of which two sections exist spans 64 TiB, and its pages merge and split as anywhere", () => {
  const lists = new SparseLists(2);
  const last = SECTIONS_MAX - 1;
  for (const section of [last, 0]) {
    lists.addSection(section);
    lists.insertRange(section * SECTION_PAGES, SECTION_PAGES, MOVABLE);
  }
  assert.deepEqual([lists.startPfn, lists.pages, lists.freePages], [0, 2 ** 34, 2 * SECTION_PAGES]);
  const pages = Array.from({ length: 1024 }, () => lists.alloc(0, MOVABLE));
  assert.deepEqual([pages[0], pages[1023]], [last * SECTION_PAGES, last * SECTION_PAGES + 1023]);
  assert.equal(lists.first(10, MOVABLE), last * SECTION_PAGES + 1024);
  lists.freeBulk(Float64Array.from(pages), 1024, 0);
  assert.equal(lists.orderAt(last * SECTION_PAGES), 10);
  assert.equal(lists.nrFree(10), 64);
  assert.equal(lists.moveFreePages(0, 2 ** 34, ISOLATE), 2 * SECTION_PAGES);
  assert.equal(lists.first(10, ISOLATE), 0);
  lists.validate();
});

Deno.test("memory of the boot may begin and end inside a section", () => {
  const lists = new SparseLists(3);
  lists.addRange(4096, 60_416);
  assert.deepEqual([lists.startPfn, lists.pages, lists.sections], [4096, 60_416, 2]);
  assert.deepEqual([4095, 4096, 64_511, 64_512].map((pfn) => lists.has(pfn)), [false, true, true, false]);
  assert.throws(() => lists.insertRange(64_500, 200, MOVABLE), { message: "Page 64699 does not exist in the zone" });
  lists.insertRange(4096, 60_416, MOVABLE);
  lists.addRange(64_512, 1024);
  lists.insertRange(64_512, 1024, MOVABLE);
  assert.deepEqual([lists.pages, lists.sections], [61_440, 2]);
  lists.validate();
});

Deno.test("what does not exist is not free, has the first type, and is refused elsewhere", () => {
  const lists = new SparseLists(1, UNMOVABLE);
  lists.addSection(40);
  const start = 40 * SECTION_PAGES;
  assert.equal(lists.pageblockType(start), UNMOVABLE);
  assert.deepEqual([lists.orderAt(7), lists.pageblockType(7), lists.alloc(0, MOVABLE)], [-1, UNMOVABLE, -1]);
  assert.deepEqual([lists.orderAt(2 ** 40), lists.has(-1), lists.moveFreePages(0, 4096, MOVABLE)], [-1, false, 0]);
  const missing = { message: "Page 7 does not exist in the zone" };
  for (
    const act of [
      () => lists.free(7, 0, MOVABLE),
      () => lists.next(7, 0),
      () => lists.remove(7, 0),
      () => lists.setPageblockType(7, MOVABLE),
      () => lists.setReported(7, 0),
    ]
  ) assert.throws(act, missing);
  lists.insert(start, 10, MOVABLE, true);
  const wrong: [() => void, string][] = [
    [() => lists.insert(start + 4, 3, MOVABLE, true), `Misaligned block ${start + 4} of order 3`],
    [() => lists.insert(0, 3, MOVABLE, true), "Outside the zone: block 0 of order 3"],
    [
      () => lists.insert(start, 10, MOVABLE, true),
      `A free block overlaps block ${start} of order 10, or is its unmerged buddy`,
    ],
    [() => lists.addSection(40), "Section 40 exists already"],
    [() => lists.addSection(41), "The zone was made for 1 sections, and all exist"],
    [() => lists.removeSection(41), "Section 41 does not exist"],
    [() => lists.removeSection(40), "Section 40 has free pages"],
  ];
  for (const [act, message] of wrong) assert.throws(act, { message });
  assert.throws(() => new SparseLists(2).addSection(SECTIONS_MAX), { name: "RangeError" });
  assert.throws(() => new SparseLists(65_536), { name: "RangeError" });
  lists.validate();
});

Deno.test("a section that comes back has the first type again", () => {
  const lists = new SparseLists(2);
  lists.addSection(3);
  lists.setPageblockType(3 * SECTION_PAGES + 512, UNMOVABLE);
  lists.removeSection(3);
  lists.addSection(9);
  assert.equal(lists.pageblockType(9 * SECTION_PAGES + 512), MOVABLE);
});
