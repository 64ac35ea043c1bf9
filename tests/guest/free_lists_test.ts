import assert from "node:assert/strict";
import fc from "fast-check";
import { type Random, randomStream } from "../../sim/core/random.ts";
import type { Allocator } from "../../sim/guest/allocator.ts";
import { MOVABLE } from "../../sim/guest/allocator.ts";
import { Buddy } from "../../sim/guest/buddy.ts";
import { NO_FLAGS } from "../../sim/guest/kernel.ts";
import { fallback61 } from "../../sim/guest/kernel_6_1.ts";
import { FreeLists } from "../../sim/guest/free_lists.ts";
import { LAYOUT } from "../../sim/guest/list_layout.ts";
import { layoutZones } from "../../sim/guest/layout.ts";
import { forEachAlignedBlock } from "../../sim/memory/range.ts";
import { LinkedBuddy } from "./linked_buddy.ts";

const SLOW = Deno.env.get("HINTSIM_TIER") === "slow";
/** Bytes of a chunk of list entries. */
const CHUNK_BYTES = 4096;

/** A zone of whose pages in use nothing is known: half of a pageblock must be free to be claimed. */
function zoneOf(allocator: Allocator) {
  return { allocator, mayClaim: (_first: number, freePages: number) => freePages >= 256, boost: () => {} };
}

/** All of a zone that can be seen: every list in order with the marks, the counts, the types of pageblocks. */
function picture(zone: Allocator): unknown {
  const lists: unknown[] = [];
  const out = new Float64Array(37);
  for (let order = 0; order <= 10; order++) {
    for (let type = 0; type < 5; type++) {
      const pfns: number[] = [];
      for (let read = zone.read(order, type, -1, out); read > 0; read = zone.read(order, type, pfns.at(-1)!, out)) {
        pfns.push(...out.subarray(0, read));
      }
      const marked = pfns.filter((pfn) => zone.isReported(pfn, order));
      if (pfns.length > 0) lists.push([order, type, pfns, marked, zone.first(order, type)]);
    }
    lists.push(zone.nrFree(order));
  }
  const types: number[] = [];
  for (let pfn = zone.startPfn; pfn < zone.startPfn + zone.pages; pfn += 512) types.push(zone.pageblockType(pfn));
  return [lists, types, zone.freePages, zone.reportedPages];
}

/** Two allocators that do the same. Blocks in use are known by pfn and order. */
class Pair {
  readonly real: Buddy;
  readonly linked: LinkedBuddy;
  readonly #used: { pfn: number; order: number }[] = [];
  readonly #random: Random;

  constructor(start: number, pages: number, random: Random) {
    this.real = new Buddy(start, pages);
    this.linked = new LinkedBuddy(start, pages);
    this.#random = random;
    this.both((zone) => zone.insertRange(start, pages, MOVABLE));
  }

  /** Calls both and compares what they answer. */
  both<T>(act: (zone: Allocator) => T): T {
    const answer = act(this.real);
    assert.deepEqual(act(this.linked), answer);
    return answer;
  }

  /** A random act; `filling` makes allocations more frequent. */
  step(filling: boolean): void {
    const random = this.#random;
    const kind = random.nextBelow(100);
    const type = random.nextBelow(8) > 0 ? MOVABLE : random.nextBelow(5);
    const order = random.nextBelow(8) > 0 ? 0 : random.nextBelow(11);
    if (kind < (filling ? 60 : 25)) this.#take(this.both((zone) => zone.alloc(order, type)), order);
    else if (kind < 88) this.#free(type, kind % 16 === 0);
    else if (kind < 90) this.#bulk(type);
    else if (kind < 92) this.both((zone) => fallback61(zoneOf(zone), order, type, NO_FLAGS));
    else if (kind < 93) this.#setType(type);
    else this.#onFreeBlock(kind);
  }

  /** A random free block is taken off, put elsewhere, rotated to the head or marked. */
  #onFreeBlock(kind: number): void {
    const { startPfn, pages } = this.real;
    let pfn = startPfn + this.#random.nextBelow(pages);
    while (pfn < startPfn + pages && this.real.orderAt(pfn) < 0) pfn++;
    const order = this.both((zone) => zone.orderAt(pfn));
    if (order < 0) return;
    const type = this.both((zone) => zone.listOf(pfn, order));
    if (kind < 96) return this.both((zone) => zone.rotate(pfn, order, type));
    if (kind < 97) return this.both((zone) => zone.setReported(pfn, order));
    this.both((zone) => zone.remove(pfn, order));
    if (kind < 98) this.#used.push({ pfn, order });
    else this.both((zone) => zone.insert(pfn, order, kind % 2 === 0 ? type : MOVABLE, this.#used.length % 2 === 0));
  }

  #take(pfn: number, order: number): void {
    if (pfn >= 0) this.#used.push({ pfn, order });
  }

  #free(type: number, toTail: boolean): void {
    if (this.#used.length === 0) return;
    const pick = this.#random.nextBelow(this.#used.length);
    const block = this.#used[pick];
    this.#used[pick] = this.#used[this.#used.length - 1];
    this.#used.pop();
    this.both((zone) => zone.free(block.pfn, block.order, type, toTail));
  }

  /** Refills and drains a per-CPU list. */
  #bulk(type: number): void {
    const out = new Float64Array(63);
    const pfns = this.both((zone) => [...out.subarray(0, zone.allocBulk(0, type, out))]);
    const keep = this.#random.nextBelow(pfns.length + 1);
    for (const pfn of pfns.slice(keep)) this.#take(pfn, 0);
    this.both((zone) => zone.freeBulk(Float64Array.from(pfns), keep, 0));
  }

  #setType(type: number): void {
    const pfn = this.real.startPfn + this.#random.nextBelow(this.real.pages);
    this.both((zone) => zone.setPageblockType(pfn, type));
  }

  check(): void {
    this.real.validate();
    assert.deepEqual(picture(this.real), picture(this.linked));
  }
}

const STEPS = SLOW ? 1_000_000 : 10_000;

for (const [start, pages] of [[0, 2 ** 16], [1, 4095], [4097, 20_003], [2 ** 33 + 77, 2 ** 15]]) {
  Deno.test(`${STEPS} random acts on ${pages} pages from ${start} on leave the lists as rings of links would`, () => {
    const pair = new Pair(start, pages, randomStream(3, start % 1000, "lists"));
    for (let i = 0; i < STEPS; i++) {
      pair.step(i % 5000 < 2500);
      if (i % (STEPS / 20) === 0) pair.check();
    }
    pair.check();
  });
}

Deno.test("a list is what an array would be, whatever is pushed, popped, removed and rotated (chunks of a few thousand)", () => {
  const acts = fc.array(fc.tuple(fc.nat(6), fc.nat(1500), fc.nat()), { maxLength: 40, size: "max" });
  fc.assert(
    fc.property(acts, (list) => {
      const lists = new FreeLists(2 ** 16);
      const model: number[] = [];
      const absent = Array.from({ length: 2 ** 14 }, (_, i) => i * 4 + i % 2);
      for (const [kind, count, pick] of list) actOnList(lists, model, absent, kind, count, pick);
      lists.validate();
      assert.deepEqual(pagesOf(lists, 1), model);
    }),
    { numRuns: SLOW ? 2000 : 100 },
  );
});

/** Does the same to list 1 and to an array; `absent` holds the pages that are on neither. */
function actOnList(
  lists: FreeLists,
  model: number[],
  absent: number[],
  kind: number,
  count: number,
  pick: number,
): void {
  if (kind === 6 && model.length > 0) {
    const at = pick % model.length;
    lists.rotate(model[at], 0);
    model.push(...model.splice(0, at));
  }
  const step = pick % 7 + 1;
  for (let i = 0, at = pick; kind < 6 && i < count; i++, at += step) {
    if (kind < 2 && absent.length > 0) {
      const page = absent.pop()!;
      if (kind === 0) {
        lists.pushHead(1, 0, page);
        model.unshift(page);
      } else {
        lists.pushTail(1, 0, page);
        model.push(page);
      }
    } else if (kind >= 2 && model.length > 0) {
      const place = kind === 2 ? 0 : kind === 3 ? model.length - 1 : at % model.length;
      const [page] = model.splice(place, 1);
      if (kind === 2) assert.equal(lists.pop(1, 0), page);
      else lists.remove(page, 0);
      absent.unshift(page);
    }
  }
}

function pagesOf(lists: FreeLists, list: number): number[] {
  const out = new Float64Array(1 << 16);
  return [...out.subarray(0, lists.read(list, -1, 0, out))];
}

/** Which entries an adversary takes out of a list of `length`, by their index. */
const HOLES: Record<string, (index: number) => boolean> = {
  "every second entry": (index) => index % 2 === 0,
  "all but every eighth": (index) => index % 8 !== 0,
  "the first half of each chunk": (index) => index % 1024 < 512,
  "every second chunk but for one entry": (index) => index % 2048 < 1023,
  "three of ten": (index) => index % 10 < 3,
  "one of five, the rest in clusters": (index) => index % 5 === 0 || index % 3000 < 900,
};

for (const [name, hole] of Object.entries(HOLES)) {
  Deno.test(`entries take at most 1.2 times their bytes at the peak, though holes are made: ${name}`, () => {
    const pages = SLOW ? 2 ** 24 : 2 ** 20;
    const lists = new FreeLists(pages);
    let next = 0;
    let peak = 0;
    let free: number[] = [];
    for (let round = 0; round < 6; round++) {
      const entries = pages / 8 + round * pages / 32;
      while (lists.count(1) < entries) lists.pushTail(1, 0, free.pop() ?? 2 * next + (next++ % 3) % 2);
      peak = Math.max(peak, entries);
      assert.ok(lists.arenaBytes <= 1.2 * 4 * peak + 4 * CHUNK_BYTES, `${lists.arenaBytes} bytes for ${peak} entries`);
      const out = new Float64Array(entries);
      assert.equal(lists.read(1, -1, 0, out), entries);
      const holes = out.filter((_, index) => hole(index));
      for (const page of holes) lists.remove(page, 0);
      free = [...holes.reverse(), ...free];
      lists.validate();
    }
  });
}

Deno.test("a list that shrinks to little is walked in little: sparse chunks join", () => {
  const lists = new FreeLists(2 ** 20);
  const ring = (1 << 2) | LAYOUT.RING;
  for (let i = 0; i < 2 ** 18; i++) lists.pushTail(1, 0, 2 * i);
  assert.equal(lists.cells[ring], 257);
  for (let i = 0; i < 2 ** 18; i++) if (i % 64 !== 0) lists.remove(2 * i, 0);
  assert.equal(lists.count(1), 4096);
  assert.ok(lists.cells[ring] <= 20, `${lists.cells[ring]} chunks`);
  lists.validate();
});

Deno.test("rotating one list again and again costs no memory", () => {
  const lists = new FreeLists(2 ** 18);
  const entries = 40_000;
  for (let i = 0; i < entries; i++) lists.pushTail(1, 0, 2 * i);
  const random = randomStream(1, 0, "rotate");
  for (let i = 0; i < 2000; i++) {
    const page = 2 * random.nextBelow(entries);
    lists.rotate(page, 0);
    assert.equal(lists.first(1), page);
    assert.equal(lists.next(page, 0), (page + 2) % (2 * entries));
  }
  lists.validate();
  assert.ok(lists.arenaBytes <= 1.3 * 4 * entries + 8 * CHUNK_BYTES, `${lists.arenaBytes}`);
});

Deno.test("the zones of 1 TiB come up with their largest aligned blocks, ascending", () => {
  const zones = layoutZones(2 ** 40, true);
  assert.deepEqual(zones.map(({ allocator }) => allocator.pages), [4096, 2 ** 20 - 4096, 2 ** 28 - 2 ** 20]);
  const { allocator } = zones[2];
  const out = new Float64Array(2 ** 18);
  assert.equal(allocator.read(10, MOVABLE, -1, out), 2 ** 18 - 2 ** 10);
  assert.ok(out.subarray(0, 2 ** 18 - 2 ** 10).every((pfn, index) => pfn === 2 ** 20 + 1024 * index));
  assert.ok(allocator.arenaBytes <= 2 ** 20 + CHUNK_BYTES);
  assert.equal(allocator.freePages, 2 ** 28 - 2 ** 20);
  allocator.validate();
});

Deno.test("a range goes in as the blocks that a release at boot makes of it", () => {
  fc.assert(
    fc.property(fc.nat(5000), fc.integer({ min: 1, max: 9000 }), (start, pages) => {
      const buddy = new Buddy(start, pages);
      buddy.insertRange(start, pages, MOVABLE);
      const wanted: number[][] = Array.from({ length: 11 }, () => []);
      forEachAlignedBlock(start, pages, 10, (pfn, order) => wanted[order].push(pfn));
      const out = new Float64Array(32);
      const lists = wanted.map((_, order) => [...out.subarray(0, buddy.read(order, MOVABLE, -1, out))]);
      assert.deepEqual(lists, wanted);
      assert.equal(buddy.freePages, pages);
    }),
    { numRuns: 100 },
  );
});

Deno.test({
  name: "more than 2^28 entries are refused in one sentence (every second page of 2 TiB)",
  ignore: !SLOW,
  fn: () => {
    const buddy = new Buddy(0, 2 ** 29);
    assert.throws(() => {
      for (let pfn = 0; pfn < 2 ** 29; pfn += 2) buddy.free(pfn, 0, MOVABLE);
    }, { name: "CapacityError", message: /^the free lists of a zone hold at most \d+ entries$/ });
  },
});
