import assert from "node:assert/strict";
import fc from "fast-check";
import { Lru, LruList } from "../../sim/guest/lru.ts";

const HANDLES = 12;

/** The lists as arrays, newest first, with the rules of mm/swap.c written out. */
class NaiveLru {
  lists: number[][] = [[], [], [], []];
  referenced = new Set<number>();
  dropped = new Set<number>();
  /** Pages dropped and made active when a handle was dropped. */
  shadows = new Map<number, number>();
  age = 0;
  order = new Map<number, number>();

  listOf(handle: number): number {
    return Math.max(0, this.lists.findIndex((list) => list.includes(handle)));
  }
  take(handle: number): number {
    const list = this.listOf(handle);
    this.lists[list] = this.lists[list].filter((one) => one !== handle);
    return list;
  }
  accessed(handle: number): void {
    const list = this.listOf(handle);
    if (list === LruList.none) return;
    if (list === LruList.inactive && this.referenced.delete(handle)) {
      this.take(handle);
      this.lists[LruList.active].unshift(handle);
      this.age += 2 ** this.order.get(handle)!;
    } else this.referenced.add(handle);
  }
  pages(list: number): number {
    return this.lists[list].reduce((sum, handle) => sum + 2 ** this.order.get(handle)!, 0);
  }
}

const step = fc.record({
  what: fc.constantFrom(
    "add",
    "add",
    "accessed",
    "accessed",
    "deactivate",
    "rotate",
    "clear",
    "remove",
    "drop",
    "drop",
    "reuse",
    "forgetAges",
    "forget",
  ),
  handle: fc.nat(HANDLES - 1),
  order: fc.nat(3),
  list: fc.constantFrom(LruList.inactive, LruList.inactive, LruList.slab),
});

Deno.test("LRU: handles, their order on the lists and the pages are those of naive arrays", () => {
  fc.assert(fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
    const lru = new Lru();
    const naive = new NaiveLru();
    for (const { what, handle, order, list } of steps) {
      const on = naive.listOf(handle);
      assert.equal(lru.listOf(handle), on);
      if (what === "accessed") {
        lru.accessed(handle);
        naive.accessed(handle);
      } else if (what === "forget") {
        if (on !== LruList.none) continue;
        const dropped = naive.dropped.delete(handle);
        assert.equal(lru.forget(handle), dropped);
        if (dropped) naive.shadows.delete(handle);
      } else if (what === "forgetAges") {
        lru.forgetAges();
        naive.shadows.clear();
      } else if (what === "reuse") {
        if (on !== LruList.none) continue;
        lru.reuse(handle);
        naive.dropped.delete(handle);
      } else if (what === "add") {
        if (on !== LruList.none) continue;
        lru.add(handle, order, list);
        naive.dropped.delete(handle);
        naive.referenced.delete(handle);
        naive.order.set(handle, order);
        const droppedAt = list === LruList.inactive ? naive.shadows.get(handle) ?? -Infinity : -Infinity;
        const active = naive.age - droppedAt <= naive.pages(LruList.active);
        naive.lists[active ? LruList.active : list].unshift(handle);
        naive.shadows.delete(handle);
        if (active) naive.age += 2 ** order;
      } else if (on !== LruList.none) {
        if (what === "deactivate" && on === LruList.active) {
          lru.deactivate(handle);
          naive.take(handle);
          naive.lists[LruList.inactive].unshift(handle);
        } else if (what === "rotate") {
          lru.rotate(handle);
          naive.lists[naive.take(handle)].push(handle);
          naive.lists[on].unshift(naive.lists[on].pop()!);
        } else if (what === "clear") assert.equal(lru.clearReferenced(handle), naive.referenced.delete(handle));
        else if (what === "remove" || what === "drop") {
          const reclaimed = list === LruList.inactive;
          if (what === "drop") lru.drop(handle, reclaimed);
          else lru.remove(handle);
          naive.take(handle);
          naive.referenced.delete(handle);
          if (what === "remove") continue;
          naive.dropped.add(handle);
          if (!reclaimed || on === LruList.slab) continue;
          naive.shadows.set(handle, naive.age);
          naive.age += 2 ** order;
        }
      }
      for (const each of [LruList.inactive, LruList.active, LruList.slab]) {
        assert.equal(lru.pages(each), naive.pages(each));
        assert.equal(lru.tail(each), naive.lists[each].at(-1) ?? -1);
      }
    }
  }));
});

Deno.test("LRU: active pages may be as many as inactive ones below 1 GiB, and 3 times as many from 1 GiB on", () => {
  const lru = new Lru();
  // 2^17 pages each: 1 GiB together, int_sqrt(10 * 1) = 3.
  let handle = 0;
  const fill = (count: number, active: boolean) => {
    for (let n = 0; n < count; n++, handle++) {
      lru.add(handle, 10, LruList.inactive);
      if (!active) continue;
      lru.accessed(handle);
      lru.accessed(handle);
    }
  };
  fill(10, false);
  fill(10, true);
  assert.equal(lru.inactiveIsLow, false);
  fill(1, true);
  assert.equal(lru.inactiveIsLow, true, "10 blocks below 11");
  fill(54, false);
  fill(181, true);
  // 64 inactive and 192 active blocks of 1024 pages: 256 * 1024 pages are 1 GiB; 64 * 3 = 192.
  assert.deepEqual([lru.pages(LruList.inactive), lru.pages(LruList.active)], [64 * 1024, 192 * 1024]);
  assert.equal(lru.inactiveIsLow, false);
  fill(1, true);
  assert.equal(lru.inactiveIsLow, true);
});

Deno.test("LRU: pages that come back are active at once when no more were dropped or made active since than are active", () => {
  const lru = new Lru();
  for (let handle = 0; handle < 14; handle++) lru.add(handle, 0, LruList.inactive);
  // Four pages become active, which counts as four; then ten are dropped one after the other, at ages 4 to 13.
  for (let handle = 10; handle < 14; handle++) {
    lru.accessed(handle);
    lru.accessed(handle);
  }
  for (let handle = 0; handle < 10; handle++) lru.drop(handle, handle !== 8);
  const back = (handle: number) => {
    lru.reuse(handle);
    lru.add(handle, 0, LruList.inactive);
    return lru.listOf(handle);
  };
  // Nine of them count, for drop_caches dropped page 8: the age is 13. Page 9 went at 12, page 8 at none.
  assert.equal(back(9), LruList.active);
  assert.equal(back(8), LruList.inactive);
  // The age is 14, and five are active. Page 5 went at 9, page 4 at 8.
  assert.equal(back(4), LruList.inactive);
  assert.equal(back(5), LruList.active);
  // What its owner freed meanwhile is another page: page 7 went at 11.
  assert.ok(lru.forget(7));
  assert.equal(back(7), LruList.inactive);
  assert.equal(back(6), LruList.active);
});
