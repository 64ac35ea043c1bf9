import assert from "node:assert/strict";
import fc from "fast-check";
import { load, simulate } from "../../mod.ts";
import { freePageReporting } from "../../policies/free_page_reporting.ts";
import { MOVABLE, UNMOVABLE } from "../../sim/guest/allocator.ts";
import { Buddy } from "../../sim/guest/buddy.ts";
import { kernels } from "../../sim/guest/kernels.ts";
import { Zone } from "../../sim/guest/zone.ts";
import { PageBitmap } from "../../sim/memory/bitmap.ts";
import { ORDER_PAGES } from "../../sim/memory/range.ts";
import { LinkedBuddy } from "../guest/linked_buddy.ts";
import { blocksOf, Harness } from "./harness.ts";

/** Sixty-four blocks of 4 MiB, all told of, of which one page is then allocated. */
function split(propagateReported: boolean): Harness {
  const harness = new Harness({
    blocks: blocksOf(64, 10),
    pages: 64 * 1024,
    policy: freePageReporting,
    options: { propagateReported },
  });
  harness.policy.start!();
  harness.run();
  harness.guest.alloc(0, 0, MOVABLE, -1, 0);
  harness.guest.needsUse(0);
  return harness;
}

Deno.test("what is left of a Reported block that is split stays Reported when asked, down to a page", () => {
  for (const propagate of [false, true]) {
    const { allocator } = split(propagate).zone;
    assert.equal(allocator.reportedPages, 63 * 1024 + (propagate ? 1023 : 0));
    for (let order = 0; order < 10; order++) assert.equal(allocator.nrReported(order), propagate ? 1 : 0);
    allocator.validate();
  }
});

Deno.test("a page that is freed again is not Reported, and what it merges with is not either", () => {
  const harness = split(true);
  harness.guest.alloc(1, 0, MOVABLE, -1, 0);
  harness.guest.free(0, 0);
  // Page 0 is free again, page 1 in use: nothing merges.
  const { allocator } = harness.zone;
  assert.equal(allocator.isReported(0, 0), false);
  assert.equal(allocator.reportedPages, 63 * 1024 + 1022);
  harness.guest.free(1, 0);
  assert.equal(allocator.orderAt(0), 10);
  assert.equal(allocator.reportedPages, 63 * 1024);
});

Deno.test("a remainder that was told with its block is told again without the option, and never with it", () => {
  for (const propagate of [false, true]) {
    const harness = split(propagate);
    // The 2 MiB remainder waits on its list; the free of another block asks for a pass.
    harness.guest.alloc(1, 10, MOVABLE, -1, 0);
    harness.guest.needsUse(1);
    harness.guest.free(1, 0);
    const before = harness.of("discard").length;
    harness.run();
    const again = harness.of("discard").slice(before).map(({ pages }) => pages).toSorted((a, b) => a - b);
    assert.deepEqual(again, propagate ? [1024] : [512, 1024]);
    const { duplicate_reports, duplicate_pages } = harness.policy.counters!();
    assert.deepEqual([duplicate_reports, duplicate_pages], propagate ? [0, 0] : [1, 512]);
  }
});

Deno.test("6.12 takes pageblocks and pages of another type: what is left stays Reported as well", () => {
  const kernel = kernels.find(({ version }) => version === "6.12")!;
  const zoneWith = (order: number): Zone => {
    const allocator = new Buddy(0, 4096, MOVABLE, true);
    allocator.insert(1024, order, MOVABLE, true);
    allocator.setReported(1024, order);
    allocator.propagatesReported = true;
    const watermarks = { min: 0, low: 0, high: 0 };
    const present = [{ pfn: 0, count: 4096 }];
    return new Zone({ index: 0, name: "Normal", allocator, present, managedPages: 4096, watermarks, kernel });
  };
  for (const order of [10, 3]) {
    // Order 10 is claimed whole; of order 3 a page is stolen, since too little of its pageblock is free or alike.
    const zone = zoneWith(order);
    assert.equal(zone.alloc(0, UNMOVABLE), 1024);
    assert.equal(zone.allocator.reportedPages, ORDER_PAGES[order] - 1);
    assert.equal(zone.allocator.listOf(1025, 0), order === 10 ? UNMOVABLE : MOVABLE);
    zone.allocator.validate();
  }
});

/** Pages of discards, and those of them that had been dropped before and not been backed since. */
async function discards(propagateReported: boolean, seed: number): Promise<{ pages: number; again: number }> {
  const [{ events, summary, problems }] = simulate(
    await load({
      hintsim: 1,
      seed,
      until: "8s",
      machine: { memory: "512MiB", vcpus: 2, thp: false, resident: "all", perCpu: false, keepMarks: false },
      workload: { kind: "churn", occupancy: 0.4, orders: { 0: 20, 9: 1 }, lifetime: { mean: "2s" }, duration: "6s" },
      policy: { kind: "free-page-reporting", delay: "100ms", propagateReported },
    }),
    { events: true, check: true },
  );
  assert.deepEqual([problems, summary.violations], [[], 0]);
  const { count, eventNames, event, pfn, pages } = events!;
  const dropped = new PageBitmap(2 ** 18);
  let sum = 0;
  let again = 0;
  for (let row = 0; row < count; row++) {
    const name = eventNames[event[row]];
    if (name === "discard") {
      sum += pages[row];
      again += dropped.countRange(pfn[row], pages[row]);
    } else if (name === "drop") dropped.setRange(pfn[row], pages[row]);
    else if (name === "fault") dropped.clearRange(pfn[row], pages[row]);
  }
  return { pages: sum, again };
}

Deno.test("under churn fewer pages are discarded twice", async () => {
  const without = await discards(false, 1);
  const with_ = await discards(true, 1);
  assert.ok(without.again > 0 && with_.again < without.again, `${without.again} without, ${with_.again} with`);
});

Deno.test("the list can be read from its tail as from its head, and the marks are counted by order", () => {
  const steps = fc.array(fc.record({ kind: fc.nat(3), order: fc.nat(10), which: fc.nat(1000) }), { maxLength: 300 });
  fc.assert(
    fc.property(steps, (operations) => {
      const twins = [new Buddy(0, 8192), new LinkedBuddy(0, 8192)] as const;
      for (const lists of twins) for (let pfn = 0; pfn < 8192; pfn += 1024) lists.free(pfn, 10, MOVABLE);
      const held: { pfn: number; order: number }[] = [];
      for (const { kind, order, which } of operations) {
        const [first] = twins;
        if (kind === 0 && held.length > 0) {
          const [block] = held.splice(which % held.length, 1);
          for (const lists of twins) lists.free(block.pfn, block.order, MOVABLE, which % 3 === 0);
        } else if (kind === 1 && first.first(order, MOVABLE) >= 0) {
          const head = first.first(order, MOVABLE);
          for (const lists of twins) lists.setReported(head, order);
        } else {
          const [pfn, twin] = twins.map((lists) => lists.alloc(order, MOVABLE));
          assert.equal(pfn, twin);
          if (pfn >= 0) held.push({ pfn, order });
        }
      }
      const [lists, twin] = twins;
      for (let order = 0; order <= 10; order++) {
        assert.equal(lists.nrReported(order), twin.nrReported(order));
        const forward: number[] = [];
        for (let pfn = lists.first(order, MOVABLE); pfn >= 0; pfn = lists.next(pfn, order)) forward.push(pfn);
        const back: number[] = [];
        for (let pfn = lists.last(order, MOVABLE); pfn >= 0; pfn = lists.previous(pfn, order)) back.push(pfn);
        assert.deepEqual(back, forward.toReversed());
        assert.equal(lists.last(order, MOVABLE), twin.last(order, MOVABLE));
      }
    }),
    { numRuns: 60 },
  );
});

Deno.test("lists of many chunks are read back to front, across their gaps", () => {
  const lists = new Buddy(0, 2 ** 16);
  for (let pfn = 0; pfn < 2 ** 16; pfn += 4) lists.insert(pfn, 1, MOVABLE, true);
  for (let pfn = 0; pfn < 2 ** 16; pfn += 12) lists.remove(pfn, 1);
  let pfn = lists.last(1, MOVABLE);
  for (let expected = 2 ** 16 - 4; expected >= 0; expected -= 4) {
    if (expected % 12 === 0) continue;
    assert.equal(pfn, expected);
    pfn = lists.previous(pfn, 1);
  }
  assert.equal(pfn, -1);
});
