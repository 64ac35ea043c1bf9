/**
 * What every page allocator must do, whatever it remembers its free pages in: one suite for the buddy allocator's lists and for
 * LLFree's bits, against a naive set of pages.
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import { randomStream } from "../../sim/core/random.ts";
import { MOVABLE, ORDERS, type PageAllocator } from "../../sim/guest/allocator.ts";
import { Buddy } from "../../sim/guest/buddy.ts";
import { Llfree } from "../../sim/guest/llfree.ts";
import { SparseLists } from "../../sim/guest/sparse_lists.ts";

const SLOW = Deno.env.get("HINTSIM_TIER") === "slow";
const CPUS = 3;

const ALLOCATORS: readonly (readonly [string, (start: number, pages: number) => PageAllocator])[] = [
  ["buddy", (start, pages) => new Buddy(start, pages)],
  ["llfree", (start, pages) => new Llfree(start, pages, CPUS)],
];

/** Zones by start and pages: whole trees, ZONE_DMA's start, crooked at both ends, above 32 bits, one with many trees. */
const SHAPES: readonly (readonly [start: number, pages: number])[] = [
  [0, 8192],
  [1, 4095],
  [300, 2777],
  [2 ** 33 + 77, 9500],
  [4096, 16 * 4096],
];

/** The free pages of a zone as a set. */
class NaivePages {
  readonly free = new Set<number>();

  isFree(pfn: number, order: number): boolean {
    for (let page = pfn; page < pfn + 2 ** order; page++) if (!this.free.has(page)) return false;
    return true;
  }

  /** The largest aligned free block around a free page: its first page and order. */
  around(page: number): readonly [pfn: number, order: number] {
    for (let order = 10; order > 0; order--) {
      const pfn = page - page % 2 ** order;
      if (this.isFree(pfn, order)) return [pfn, order];
    }
    return [page, 0];
  }

  /** Free blocks by order: from each free page on the largest aligned one. */
  counts(start: number, pages: number): number[] {
    const counts = new Array<number>(ORDERS).fill(0);
    for (let page = start; page < start + pages;) {
      if (!this.free.has(page)) {
        page++;
        continue;
      }
      const [, order] = this.around(page);
      counts[order]++;
      page += 2 ** order;
    }
    return counts;
  }

  take(pfn: number, order: number): void {
    for (let page = pfn; page < pfn + 2 ** order; page++) assert(this.free.delete(page), `page ${page} was not free`);
  }

  put(pfn: number, order: number): void {
    for (let page = pfn; page < pfn + 2 ** order; page++) this.free.add(page);
  }
}

/** An allocator beside the set: each call goes to both. */
class Pair {
  readonly used: { pfn: number; order: number }[] = [];
  readonly naive = new NaivePages();
  readonly real: PageAllocator;

  constructor(make: (start: number, pages: number) => PageAllocator, start: number, pages: number) {
    this.real = make(start, pages);
    this.real.insertRange(start, pages, MOVABLE);
    for (let page = start; page < start + pages; page++) this.naive.free.add(page);
  }

  alloc(order: number, cpu: number): void {
    const pfn = this.real.alloc(order, MOVABLE, cpu);
    if (pfn < 0) {
      const counts = this.naive.counts(this.real.startPfn, this.real.pages);
      assert(counts.slice(order).every((count) => count === 0), `order ${order} failed while a block was free`);
      return;
    }
    assert.equal(pfn % 2 ** order, 0, "blocks are aligned");
    this.naive.take(pfn, order);
    this.used.push({ pfn, order });
  }

  /** Frees a block, or only its lower half. */
  free(pick: number, half: boolean): void {
    if (this.used.length === 0) return;
    const at = pick % this.used.length;
    let { pfn, order } = this.used[at];
    this.used[at] = this.used[this.used.length - 1];
    this.used.pop();
    if (half && order > 0) {
      order--;
      this.used.push({ pfn: pfn + 2 ** order, order });
    }
    const merged = this.real.free(pfn, order, MOVABLE);
    this.naive.put(pfn, order);
    assert.deepEqual(this.naive.around(pfn), [pfn - pfn % 2 ** merged, merged]);
  }

  /** Takes a free block out where it lies, and keeps it. */
  remove(pick: number): void {
    const { free } = this.naive;
    if (free.size === 0) return;
    const { startPfn, pages } = this.real;
    for (let n = 0; n < pages; n++) {
      const page = startPfn + (pick + n) % pages;
      if (!free.has(page)) continue;
      const [pfn, order] = this.naive.around(page);
      assert.equal(this.real.orderAt(pfn), order);
      this.real.remove(pfn, order);
      this.naive.take(pfn, order);
      this.used.push({ pfn, order });
      return;
    }
  }

  check(): void {
    this.real.validate();
    assert.equal(this.real.freePages, this.naive.free.size);
    const counts = Array.from({ length: ORDERS }, (_, order) => this.real.nrFree(order));
    assert.deepEqual(counts, this.naive.counts(this.real.startPfn, this.real.pages));
    let pages = 0;
    this.real.forEachFree((pfn, order) => {
      assert(this.naive.isFree(pfn, order));
      pages += 2 ** order;
    });
    assert.equal(pages, this.real.freePages, "each free page is visited once");
  }
}

const commands = fc.array(
  fc.tuple(fc.constantFrom("alloc", "alloc", "free", "half", "remove"), fc.nat(10), fc.nat(2 ** 20)),
  { maxLength: 60 },
);

for (const [name, make] of ALLOCATORS) {
  Deno.test(`${name}: random commands against a set of pages`, () => {
    fc.assert(
      fc.property(fc.constantFrom(...SHAPES.slice(0, 4)), commands, ([start, pages], list) => {
        const pair = new Pair(make, start, pages);
        for (const [command, order, pick] of list) {
          if (command === "alloc") pair.alloc(order, pick % CPUS);
          else if (command === "remove") pair.remove(pick);
          else pair.free(pick, command === "half");
        }
        pair.check();
      }),
      { numRuns: SLOW ? 1000 : 25, seed: 7 },
    );
  });

  Deno.test(`${name}: ${SLOW ? "a million" : "ten thousand"} operations, fuller and emptier in turns`, () => {
    for (const [start, pages] of SHAPES) {
      const pair = new Pair(make, start, pages);
      const random = randomStream(11, 0, `${name}/${start}`);
      const operations = (SLOW ? 1e6 : 1e4) / SHAPES.length;
      for (let n = 0; n < operations; n++) {
        // Waves of a thousand operations that allocate more than they free, and of as many that free more.
        const allocates = random.nextBelow(10) < (Math.floor(n / 1000) % 2 === 0 ? 7 : 3);
        const order = random.nextBelow(4) > 0 ? random.nextBelow(3) : random.nextBelow(ORDERS);
        if (allocates) pair.alloc(order, random.nextBelow(CPUS));
        else pair.free(random.nextBelow(2 ** 20), random.nextBelow(8) === 0);
        if (n % (operations / 4) === 0) pair.check();
      }
      while (pair.used.length > 0) pair.free(0, false);
      pair.check();
    }
  });

  Deno.test(`${name}: all of a zone can be taken by single pages and comes back whole`, () => {
    const allocator = make(4096, 8192);
    allocator.insertRange(4096, 8192, MOVABLE);
    const taken = new Set<number>();
    for (let pfn = allocator.alloc(0, MOVABLE); pfn >= 0; pfn = allocator.alloc(0, MOVABLE, pfn % CPUS)) taken.add(pfn);
    assert.equal(taken.size, 8192);
    assert.equal(allocator.freePages, 0);
    for (const pfn of taken) allocator.free(pfn, 0, MOVABLE);
    // 8192 pages are eight blocks of order 10.
    assert.equal(allocator.nrFree(10), 8);
    allocator.validate();
  });

  Deno.test(`${name}: what is not free cannot be taken out`, () => {
    const allocator = make(0, 4096);
    allocator.insertRange(0, 4096, MOVABLE);
    allocator.remove(1024, 10);
    assert.throws(() => allocator.remove(1024, 10));
    assert.equal(allocator.orderAt(1024), -1);
    assert.equal(allocator.freePages, 3072);
    allocator.free(1024, 10, MOVABLE);
    assert.equal(allocator.nrFree(10), 4);
  });
}

Deno.test("the lists of a zone with hotplug walk their blocks as the interface has it", () => {
  const lists = new SparseLists(4);
  lists.addRange(0, 32768);
  lists.insertRange(0, 32768, MOVABLE);
  let pages = 0;
  lists.forEachFree((_pfn, order) => pages += 2 ** order);
  assert.equal(pages, 32768);
});
