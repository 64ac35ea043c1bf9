/** Ratios of the core beside a plain baseline, in one run: `deno task bench`. */
import { EventHeap } from "../sim/core/event_heap.ts";
import { randomStream } from "../sim/core/random.ts";
import { Buddy } from "../sim/guest/buddy.ts";

const PENDING = 10_000;
const HOLDS = 100_000;

Deno.bench({ name: "hold, typed heap, 10k pending", group: "event list" }, () => {
  const random = randomStream(1, 0, "hold");
  const heap = new EventHeap();
  for (let i = 0; i < PENDING; i++) heap.push(random.nextBelow(1e6), 0, 0, i, 0);
  for (let i = 0; i < HOLDS; i++) {
    heap.pop();
    heap.push(heap.timeNs + random.nextBelow(1e6), 0, 0, heap.target, 0);
  }
});

Deno.bench({ name: "hold, heap of objects, 10k pending", group: "event list", baseline: true }, () => {
  const random = randomStream(1, 0, "hold");
  const heap = new ObjectHeap();
  for (let i = 0; i < PENDING; i++) heap.push({ timeNs: random.nextBelow(1e6), sequence: i });
  for (let i = 0; i < HOLDS; i++) {
    const { timeNs } = heap.pop();
    heap.push({ timeNs: timeNs + random.nextBelow(1e6), sequence: PENDING + i });
  }
});

interface Item {
  timeNs: number;
  sequence: number;
}

/** The plain way: a binary heap of objects. */
class ObjectHeap {
  #items: Item[] = [];

  push(item: Item): void {
    const items = this.#items;
    let at = items.push(item) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!before(item, items[parent])) break;
      items[at] = items[parent];
      at = parent;
    }
    items[at] = item;
  }

  pop(): Item {
    const items = this.#items;
    const top = items[0];
    const last = items.pop()!;
    if (items.length > 0) this.#sink(last);
    return top;
  }

  #sink(item: Item): void {
    const items = this.#items;
    let at = 0;
    for (let child = 1; child < items.length; child = 2 * at + 1) {
      if (child + 1 < items.length && before(items[child + 1], items[child])) child++;
      if (!before(items[child], item)) break;
      items[at] = items[child];
      at = child;
    }
    items[at] = item;
  }
}

function before(a: Item, b: Item): boolean {
  return a.timeNs < b.timeNs || (a.timeNs === b.timeNs && a.sequence < b.sequence);
}

const ZONE_PAGES = 1 << 18;

Deno.bench({ name: "churn, order 0, 1 GiB, 80 % used", group: "allocator" }, () => {
  const random = randomStream(1, 0, "churn");
  const zone = new Buddy(0, ZONE_PAGES);
  for (let pfn = 0; pfn < ZONE_PAGES; pfn += 1024) zone.insert(pfn, 10, 1, true);
  const used = Array.from({ length: ZONE_PAGES * 0.8 }, () => zone.alloc(0, 1));
  for (let i = 0; i < 200_000; i++) {
    const at = random.nextBelow(used.length);
    zone.free(used[at], 0, 1);
    used[at] = zone.alloc(0, 1);
  }
});
