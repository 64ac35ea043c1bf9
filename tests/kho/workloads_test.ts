import assert from "node:assert/strict";
import { InputError } from "../../sim/core/options.ts";
import { khoLayout, scratchDefault } from "../../sim/kho/scratch.ts";
import { KhoCall, KhoCalls, type KhoWorkload, RANGE } from "../../sim/kho/workloads/workload.ts";
import { PageBitmap } from "../../sim/memory/bitmap.ts";
import { ORDER_PAGES } from "../../sim/memory/range.ts";
import { LAYOUT, workloadOf } from "./machine.ts";

interface Done {
  readonly preserved: PageBitmap;
  readonly calls: number;
  readonly unpreserves: number;
  readonly orders: ReadonlyMap<number, number>;
}

/** Does the calls, and checks that each is possible. */
function run(workload: KhoWorkload, layout = LAYOUT): Done {
  const preserved = new PageBitmap(layout.pages);
  const batch = new KhoCalls(100);
  const orders = new Map<number, number>();
  let calls = 0;
  let unpreserves = 0;
  const end = layout.area.pfn + layout.area.count;
  for (let rows = workload.fill(batch); rows > 0; rows = workload.fill(batch)) {
    for (let row = 0; row < rows; row++) {
      const [pfn, count, order] = [batch.pfn[row], batch.count[row], batch.order[row]];
      assert.ok(pfn >= layout.area.pfn && pfn + count <= end, `page ${pfn} is outside`);
      if (order !== RANGE) assert.equal(pfn % ORDER_PAGES[order] + count % ORDER_PAGES[order], 0, `page ${pfn}`);
      calls++;
      if (batch.kind[row] === KhoCall.preserve) {
        assert.equal(preserved.setRange(pfn, count), count, `page ${pfn} is preserved twice`);
        orders.set(order, (orders.get(order) ?? 0) + (order === RANGE ? 1 : count / ORDER_PAGES[order]));
      } else {
        assert.equal(preserved.clearRange(pfn, count), count, `page ${pfn} is not preserved`);
        unpreserves++;
      }
    }
  }
  assert.equal(calls, workload.calls, "so many calls were promised");
  return { preserved, calls, unpreserves, orders };
}

Deno.test("one-range: a range, or folios of an order", () => {
  const range = run(workloadOf("one-range", { size: "1GiB" }));
  assert.deepEqual([range.calls, range.preserved.count, [...range.orders]], [1, 2 ** 18, [[RANGE, 1]]]);
  const folios = run(workloadOf("one-range", { size: "1GiB", order: 9 }));
  assert.deepEqual([folios.preserved.count, [...folios.orders]], [2 ** 18, [[9, 512]]]);
});

Deno.test("hypervisor-live-update: long ranges and single pages of state", () => {
  const { preserved, orders } = run(
    workloadOf("hypervisor-live-update", { guests: 4, guestMemory: "256MiB", statePages: 50 }),
  );
  assert.equal(preserved.count, 4 * 65_536 + 200);
  assert.deepEqual([...orders], [[RANGE, 4], [0, 200]]);
});

Deno.test("checkpoint: single pages, scattered or behind each other", () => {
  const scattered = run(workloadOf("checkpoint", { size: "16MiB" })).preserved;
  const clustered = run(workloadOf("checkpoint", { size: "16MiB", clustered: 0.9 })).preserved;
  const runs = (pages: PageBitmap) => {
    let count = 0;
    pages.forEachRun(0, LAYOUT.pages, true, () => count++);
    return count;
  };
  assert.equal(scattered.count, 4096);
  assert.equal(clustered.count, 4096);
  // The area holds about 380,000 pages: of 4096 random ones hardly any are neighbours; with 0.9 runs have ten pages.
  assert.ok(runs(scattered) > 4000, `${runs(scattered)} runs`);
  assert.ok(Math.abs(runs(clustered) - 410) < 80, `${runs(clustered)} runs`);
});

Deno.test("mixed-folios: large ones lie at multiples of their size, wherever what can be preserved begins", () => {
  // Of 2 GiB it begins at a multiple of 4 MiB that is none of 128 MiB.
  const layout = khoLayout(2 ** 19, scratchDefault(2 ** 19));
  assert.ok(layout.area.pfn % ORDER_PAGES[15] > 0);
  const { orders } = run(workloadOf("mixed-folios", { folios: 1, orderMax: 15 }, layout), layout);
  assert.deepEqual([...orders.values()], Array.from({ length: 16 }, () => 1));
});

Deno.test("mixed-folios: as many of each order; hugetlb-1g: order 18", () => {
  const mixed = run(workloadOf("mixed-folios", { folios: 30 }));
  assert.deepEqual([...mixed.orders].sort(([a], [b]) => a - b), Array.from({ length: 11 }, (_, order) => [order, 30]));
  assert.equal(mixed.preserved.count, 30 * 2047);
  const layout = khoLayout(2 ** 22, scratchDefault(2 ** 22));
  const huge = run(workloadOf("hugetlb-1g", { folios: 12 }, layout), layout);
  assert.deepEqual([...huge.orders], [[18, 12]]);
});

Deno.test("split-merge: holes come and go; refilled they leave one range", () => {
  const whole = run(workloadOf("split-merge", { size: "64MiB", holes: 0.1, rounds: 3 }));
  assert.equal(whole.preserved.count, 16_384);
  assert.equal(whole.unpreserves, 3 * 1638);
  const half = run(workloadOf("split-merge", { size: "64MiB", order: 2, holes: 0.1, refill: 0.5, rounds: 1 }));
  assert.equal(half.preserved.count, 16_384 - 4 * (409 - 205));
});

Deno.test("what does not fit is refused with its option", () => {
  const refused = (kind: string, options: Record<string, unknown>): InputError => {
    try {
      workloadOf(kind, options);
    } catch (error) {
      assert.ok(error instanceof InputError);
      return error;
    }
    throw new assert.AssertionError({ message: "nothing was refused" });
  };
  assert.deepEqual(refused("one-range", { size: "2GiB" }).path, ["size"]);
  assert.match(refused("one-range", { size: "2GiB" }).message, /^2147483648 bytes do not fit into the \d+ bytes/);
  assert.deepEqual(refused("hugetlb-1g", { folios: 2 }).path, ["folios"]);
  assert.deepEqual(refused("checkpoint", { size: "1GiB" }).path, ["size"]);
  assert.match(
    refused("checkpoint", { size: "1GiB" }).message,
    /^1073741824 bytes at random places are more than half/,
  );
  assert.deepEqual(refused("mixed-folios", { folios: 1e6 }).path, ["folios"]);
  assert.deepEqual(refused("hypervisor-live-update", { guests: 9 }).path, ["guestMemory"]);
  assert.deepEqual(refused("split-merge", { size: "4GiB" }).path, ["size"]);
  // What is not made of whole folios would be cut without a word.
  assert.equal(refused("one-range", { size: 5000 }).message, "5000 bytes are not whole pages of 4 KiB");
  assert.equal(
    refused("one-range", { size: "1MiB", order: 9 }).message,
    "1048576 bytes are not whole folios of order 9",
  );
  assert.deepEqual(refused("split-merge", { size: "5MiB", order: 10 }).path, ["size"]);
  assert.deepEqual(refused("checkpoint", { size: 4097 }).path, ["size"]);
  assert.deepEqual(refused("hypervisor-live-update", { guestMemory: 2 ** 21 + 1 }).path, ["guestMemory"]);
  assert.deepEqual(refused("calls", { calls: [{ call: "preserve", at: 0 }] }).path, ["calls", 0]);
});
