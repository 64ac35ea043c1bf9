import assert from "node:assert/strict";
import { HIGHATOMIC, ISOLATE, MOVABLE, RECLAIMABLE, UNMOVABLE } from "../../sim/guest/allocator.ts";
import { Buddy } from "../../sim/guest/buddy.ts";
import { NO_FLAGS } from "../../sim/guest/kernel.ts";
import { fallback61 } from "../../sim/guest/kernel_6_1.ts";

/** A fallback in a zone of whose pages in use nothing is known: half of a pageblock must be free. */
function fallback(allocator: Buddy, order: number, migratetype: number): boolean {
  const zone = { allocator, mayClaim: (_first: number, freePages: number) => freePages >= 256, boost: () => {} };
  return fallback61(zone, order, migratetype, NO_FLAGS);
}

/** Lists that are not empty, as "order/type": pages from the head on. */
function lists(buddy: Buddy): Record<string, number[]> {
  const result: Record<string, number[]> = {};
  for (let order = 0; order <= 10; order++) {
    for (let type = 0; type < 5; type++) {
      const pfns: number[] = [];
      for (let pfn = buddy.first(order, type); pfn >= 0; pfn = buddy.next(pfn, order)) pfns.push(pfn);
      if (pfns.length > 0) result[`${order}/${type}`] = pfns;
    }
  }
  return result;
}

/** A zone of 8 MiB whose pageblocks have these types, with these free blocks [pfn, order, list], each to the tail. */
function zone(types: readonly number[], blocks: readonly (readonly [number, number, number])[]): Buddy {
  const buddy = new Buddy(0, 2048 * 2);
  types.forEach((type, block) => buddy.setPageblockType(block * 512, type));
  for (const [pfn, order, type] of blocks) buddy.insert(pfn, order, type, true);
  return buddy;
}

function types(buddy: Buddy, blocks: number): number[] {
  return Array.from({ length: blocks }, (_, block) => buddy.pageblockType(block * 512));
}

Deno.test("the largest block of another type is taken first, and its whole pageblocks change type", () => {
  const buddy = zone([MOVABLE, MOVABLE, MOVABLE, MOVABLE], [
    [8, 3, MOVABLE],
    [512, 9, MOVABLE],
    [1024, 10, MOVABLE],
  ]);
  assert.ok(fallback(buddy, 0, UNMOVABLE));
  assert.deepEqual(lists(buddy), { "3/1": [8], "9/1": [512], "10/0": [1024] });
  assert.deepEqual(types(buddy, 4), [MOVABLE, MOVABLE, UNMOVABLE, UNMOVABLE]);
  assert.equal(buddy.alloc(0, UNMOVABLE), 1024);
});

Deno.test("at each order the types are asked in their order of preference, but a larger block of any of them goes first", () => {
  const blocks = [[0, 5, UNMOVABLE], [512, 5, MOVABLE], [1024, 5, RECLAIMABLE]] as const;
  const preferred = [[UNMOVABLE, 1024], [MOVABLE, 1024], [RECLAIMABLE, 0]];
  for (const [type, pfn] of preferred) {
    const buddy = zone([UNMOVABLE, MOVABLE, RECLAIMABLE], blocks.filter(([, , own]) => own !== type));
    assert.ok(fallback(buddy, 5, type));
    assert.equal(buddy.first(5, type), pfn);
  }
  const second: [number, number, number][] = [[UNMOVABLE, RECLAIMABLE, 512], [MOVABLE, RECLAIMABLE, 0], [
    RECLAIMABLE,
    UNMOVABLE,
    512,
  ]];
  for (const [type, absent, pfn] of second) {
    const buddy = zone([UNMOVABLE, MOVABLE, RECLAIMABLE], blocks.filter(([, , own]) => own !== type && own !== absent));
    assert.ok(fallback(buddy, 5, type));
    assert.equal(buddy.first(5, type), pfn);
  }
  const larger = zone([UNMOVABLE, MOVABLE, RECLAIMABLE], [[1024, 5, RECLAIMABLE], [512, 6, MOVABLE]]);
  assert.ok(fallback(larger, 5, UNMOVABLE));
  assert.equal(larger.first(6, UNMOVABLE), 512);
});

Deno.test("a movable request takes the smallest block that fits when there is none of order 4 or more", () => {
  const blocks = [[0, 3, UNMOVABLE], [16, 2, RECLAIMABLE], [33, 0, UNMOVABLE]] as const;
  const smallest = zone([UNMOVABLE], blocks);
  assert.ok(fallback(smallest, 0, MOVABLE));
  // Only that block moves: the pageblock and its other free pages stay.
  assert.deepEqual(lists(smallest), { "0/1": [33], "2/2": [16], "3/0": [0] });
  assert.equal(smallest.pageblockType(0), UNMOVABLE);
  const fitting = zone([UNMOVABLE], blocks);
  assert.ok(fallback(fitting, 1, MOVABLE));
  assert.deepEqual(lists(fitting), { "0/0": [33], "2/1": [16], "3/0": [0] });
  const exact = zone([UNMOVABLE], blocks);
  assert.ok(fallback(exact, 3, MOVABLE));
  assert.deepEqual(lists(exact), { "0/0": [33], "2/2": [16], "3/1": [0] });
  // From order 4 on the largest goes first again, and takes its free neighbours along.
  const larger = zone([UNMOVABLE], [...blocks, [64, 4, UNMOVABLE]]);
  assert.ok(fallback(larger, 0, MOVABLE));
  assert.deepEqual(lists(larger), { "0/1": [33], "2/1": [16], "3/1": [0], "4/1": [64] });
});

Deno.test("unmovable and reclaimable requests take the largest at every order, and the free pages of its pageblock", () => {
  for (const type of [UNMOVABLE, RECLAIMABLE]) {
    const buddy = zone([MOVABLE, MOVABLE], [[700, 0, MOVABLE], [8, 2, MOVABLE], [40, 1, MOVABLE], [99, 0, MOVABLE]]);
    assert.ok(fallback(buddy, 0, type));
    assert.deepEqual(lists(buddy), {
      "0/1": [700],
      [`0/${type}`]: [99],
      [`1/${type}`]: [40],
      [`2/${type}`]: [8],
    });
    assert.deepEqual(types(buddy, 2), [MOVABLE, MOVABLE]);
  }
});

Deno.test("a pageblock is claimed when half of its 512 pages are free, not when 255 are", () => {
  const half = [[512, 7, MOVABLE], [640, 6, MOVABLE], [768, 5, MOVABLE], [832, 4, MOVABLE], [864, 3, MOVABLE]] as const;
  const rest = [[880, 2, MOVABLE], [888, 1, MOVABLE], [900, 0, MOVABLE]] as const;
  const less = zone([MOVABLE, MOVABLE], [...half, ...rest]);
  assert.equal(less.freePages, 255);
  assert.ok(fallback(less, 6, UNMOVABLE));
  assert.equal(less.pageblockType(512), MOVABLE);
  assert.equal(less.first(0, UNMOVABLE), 900);
  const enough = zone([MOVABLE, MOVABLE], [...half, ...rest, [902, 0, MOVABLE]]);
  assert.ok(fallback(enough, 6, UNMOVABLE));
  assert.deepEqual(types(enough, 2), [MOVABLE, UNMOVABLE]);
  assert.equal(enough.freePages, 256);
  // A movable request claims from half on, too.
  const movable = zone([UNMOVABLE], [[0, 8, UNMOVABLE]]);
  assert.ok(fallback(movable, 0, MOVABLE));
  assert.equal(movable.pageblockType(0), MOVABLE);
});

Deno.test("what moves along goes to the tails, in the order of addresses", () => {
  const buddy = zone([MOVABLE, UNMOVABLE], [
    [600, 0, UNMOVABLE],
    [9, 0, MOVABLE],
    [3, 0, MOVABLE],
    [7, 0, MOVABLE],
    [64, 5, MOVABLE],
  ]);
  assert.ok(fallback(buddy, 1, UNMOVABLE));
  assert.deepEqual(lists(buddy), { "0/0": [600, 3, 7, 9], "5/0": [64] });
});

Deno.test("from a HIGHATOMIC pageblock only the block itself is taken", () => {
  const buddy = zone([HIGHATOMIC, HIGHATOMIC], [[0, 10, MOVABLE]]);
  assert.ok(fallback(buddy, 0, UNMOVABLE));
  assert.deepEqual([lists(buddy), types(buddy, 2)], [{ "10/0": [0] }, [HIGHATOMIC, HIGHATOMIC]]);
  const small = zone([HIGHATOMIC], [[0, 8, MOVABLE], [300, 0, MOVABLE]]);
  assert.ok(fallback(small, 0, UNMOVABLE));
  assert.deepEqual([lists(small), types(small, 1)], [{ "0/1": [300], "8/0": [0] }, [HIGHATOMIC]]);
});

Deno.test("nothing is taken from HIGHATOMIC and ISOLATE lists, nor for them, nor from blocks that are too small", () => {
  const buddy = zone([], [[0, 10, HIGHATOMIC], [1024, 10, ISOLATE], [2048, 3, MOVABLE]]);
  for (const type of [UNMOVABLE, RECLAIMABLE]) assert.equal(fallback(buddy, 4, type), false);
  for (const type of [HIGHATOMIC, ISOLATE]) assert.equal(fallback(buddy, 0, type), false);
  assert.deepEqual(lists(buddy), { "3/1": [2048], "10/3": [0], "10/4": [1024] });
});

Deno.test("a pageblock that begins before its zone moves from the taken block on, not from its own start (ZONE_DMA)", () => {
  const buddy = new Buddy(1, 4095);
  for (const [pfn, order] of [[8, 0], [64, 5], [100, 0]]) buddy.insert(pfn, order, MOVABLE, true);
  assert.ok(fallback(buddy, 0, UNMOVABLE));
  assert.deepEqual(lists(buddy), { "0/0": [100], "0/1": [8], "5/0": [64] });
});

Deno.test("of a pageblock that ends after its zone only the taken block moves", () => {
  const buddy = new Buddy(0, 1000);
  for (const [pfn, order] of [[520, 0], [768, 7], [990, 0]]) buddy.insert(pfn, order, MOVABLE, true);
  assert.ok(fallback(buddy, 0, UNMOVABLE));
  assert.deepEqual(lists(buddy), { "0/1": [520, 990], "7/0": [768] });
  assert.equal(buddy.pageblockType(768), MOVABLE);
});
