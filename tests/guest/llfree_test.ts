import assert from "node:assert/strict";
import { load, simulate } from "../../mod.ts";
import { randomStream } from "../../sim/core/random.ts";
import { MOVABLE, UNMOVABLE } from "../../sim/guest/allocator.ts";
import { type AllocatorKind, layoutMachine } from "../../sim/guest/layout.ts";
import { Llfree } from "../../sim/guest/llfree.ts";
import { PageSource } from "../../sim/guest/page_source.ts";
import { useOfLayout } from "../../sim/guest/zone_use.ts";

const TREE = 4096;

/** An allocator of so many trees, all free. */
function trees(count: number, cpus: number): Llfree {
  const llfree = new Llfree(0, count * TREE, cpus);
  llfree.insertRange(0, count * TREE, MOVABLE);
  return llfree;
}

const treeOf = (pfn: number) => Math.floor(pfn / TREE);

Deno.test("LLFree takes 66.25 bytes for each 2 MiB: 64 of bits, 2 of the entry, an eighth of the 2 bytes of a tree", () => {
  // A tree's entry is 13 + 1 + 2 bits: 2 bytes for 8 children are a quarter of a byte for each.
  assert.equal(trees(64, 4).arenaBytes / (64 * 8), 66.25);
});

Deno.test("1 TiB takes 33.125 MiB of bits, entries and counters", () => {
  const llfree = new Llfree(0, 2 ** 28, 64);
  llfree.insertRange(0, 2 ** 28, MOVABLE);
  assert.equal(llfree.arenaBytes, 33.125 * 2 ** 20);
  assert.equal(llfree.nrFree(10), 2 ** 18);
  // The 64th CPU begins its search where its share of the trees begins, at the start of the cache line before it.
  assert.equal(treeOf(llfree.alloc(0, MOVABLE, 63)), Math.floor((1024 * 63) / 32) * 32);
  assert.equal(llfree.freePages, 2 ** 28 - 1);
});

Deno.test("each CPU and kind of request has a tree of its own", () => {
  const llfree = trees(64, 2);
  const requests = [[0, MOVABLE], [0, UNMOVABLE], [9, MOVABLE]].flatMap(([order, type]) =>
    [0, 1].map((cpu) => treeOf(llfree.alloc(order, type, cpu)))
  );
  assert.equal(new Set(requests).size, 6);
  // The next request of each kind stays there.
  assert.deepEqual(
    [[0, MOVABLE], [0, UNMOVABLE], [9, MOVABLE]].flatMap(([order, type]) =>
      [0, 1].map((cpu) => treeOf(llfree.alloc(order, type, cpu)))
    ),
    requests,
  );
  assert.equal(llfree.pageblockType(llfree.alloc(0, UNMOVABLE, 0)), UNMOVABLE);
  llfree.validate();
});

Deno.test("entries of 32 trees share a cache line, and the search for another tree begins with the line of the last one", () => {
  // 512 trees and 4 CPUs: the share of CPU 1 begins at tree 128, a line of its own. The search goes to the left and right of the
  // first tree of the line: 128, then 127. That lies in the line of 96, where the next search begins; and so on, around the end.
  const llfree = trees(512, 4);
  const order: number[] = [];
  for (let n = 0; n < 10 * TREE; n++) {
    const tree = treeOf(llfree.alloc(0, MOVABLE, 1));
    if (tree !== order.at(-1)) order.push(tree);
  }
  assert.deepEqual(order, [128, 127, 96, 95, 64, 63, 32, 31, 0, 511]);
  llfree.validate();
});

Deno.test("a tree that is half full is reserved before a free one", () => {
  const llfree = trees(16, 1);
  const filled = Array.from({ length: 3 * TREE }, () => llfree.alloc(0, MOVABLE, 0));
  const full = [...new Set(filled.map(treeOf))];
  assert.equal(full.length, 3);
  // A third of the pages of the second: over half full, with more than a sixteenth free, and near.
  const second = filled.filter((pfn) => treeOf(pfn) === full[1]);
  for (const pfn of second.slice(0, TREE / 3)) llfree.free(pfn, 0, MOVABLE);
  assert.equal(treeOf(llfree.alloc(0, MOVABLE, 0)), full[1]);
});

Deno.test("when every other tree is taken, a CPU takes from what another has reserved", () => {
  const llfree = trees(16, 2);
  // CPU 0 reserves a tree for movable pages; huge pages then take all whole 2 MiB that are left.
  const own = treeOf(llfree.alloc(0, MOVABLE, 0));
  while (llfree.alloc(9, MOVABLE, 1) >= 0);
  assert.equal(llfree.freePages, 511);
  assert.equal(treeOf(llfree.alloc(0, MOVABLE, 1)), own, "movable pages come from the movable tree of CPU 0");
  assert.equal(treeOf(llfree.alloc(0, UNMOVABLE, 1)), own, "kernel memory takes it over");
  assert.equal(llfree.pageblockType(own * TREE), UNMOVABLE);
  llfree.validate();
});

Deno.test("a page of a huge page can be freed by itself, and no page twice", () => {
  const llfree = trees(16, 1);
  const huge = llfree.alloc(9, MOVABLE, 0);
  assert.equal(llfree.free(huge + 8, 3, MOVABLE), 3);
  assert.throws(() => llfree.free(huge + 9, 0, MOVABLE), /free already/);
  assert.equal(llfree.freePages, 16 * TREE - 504);
  llfree.validate();
});

Deno.test("reclaimed memory stays allocatable until it is installed", () => {
  const llfree = trees(16, 1);
  const used = llfree.alloc(0, MOVABLE, 0);
  const pfns = new Float64Array(16 * 8);
  // The tree that a CPU has reserved is left alone: 15 of 16 trees of eight.
  assert.equal(llfree.softReclaim(pfns.length, pfns), 15 * 8);
  assert.equal(llfree.softReclaim(8, pfns), 0, "not twice");
  assert.equal(llfree.freePages, 16 * TREE - 1);
  assert.equal(llfree.reclaimedIn(used, 0), -1);
  const huge = llfree.alloc(9, MOVABLE, 0);
  assert.equal(llfree.reclaimedIn(huge, 9), huge);
  llfree.install(huge);
  assert.equal(llfree.reclaimedIn(huge + 5, 0), -1);
  llfree.validate();
});

/**
 * Fills a guest with short-lived movable pages and long-lived kernel memory, one request in ten, lets it churn, frees nine
 * tenths of the pages by their lifetimes, and tells how many are free in whole 2 MiB.
 */
function hugeLeft(allocator: AllocatorKind, seed: number): number {
  const layout = layoutMachine(2 ** 29, {
    zones: { layout: "q35" },
    holes: [],
    numa: [],
    reserved: "none",
    vcpus: 2,
    thp: true,
    kernel: "6.1",
    allocator,
  });
  const perCpu = allocator === "buddy" ? 2 : 0;
  const source = new PageSource(layout.zones, useOfLayout(layout), { perCpu, keepMarks: false }, () => {});
  const random = randomStream(seed, 0, "fragments");
  let live: { zone: number; pfn: number; order: number; cpu: number; end: number }[] = [];
  let used = 0;
  const free = ({ zone, pfn, order, cpu }: typeof live[number]) => {
    source.free(layout.zones[zone], pfn, order, cpu);
    used -= 2 ** order;
  };
  for (let now = 0; now < 400; now += 20) {
    for (const block of live) if (block.end < now) free(block);
    live = live.filter(({ end }) => end >= now);
    while (used < 0.9 * 2 ** 17) {
      const cpu = random.nextBelow(2);
      const order = Math.max(0, random.nextBelow(20) - 16);
      const kernel = random.nextBelow(10) === 0;
      const pfn = source.take(order, kernel ? UNMOVABLE : MOVABLE, -1, cpu);
      if (pfn < 0) break;
      const end = now + (kernel ? 10_000 : 200) * (random.nextFloat() + 0.1);
      live.push({ zone: source.zone, pfn, order, cpu, end });
      used += 2 ** order;
    }
  }
  live.sort((a, b) => a.end - b.end);
  for (let n = 0, goal = used / 10; used > goal; n++) free(live[n]);
  source.drainAll();
  let huge = 0;
  for (const { pages } of layout.zones) {
    pages.validate();
    huge += pages.nrFree(9) * 512 + pages.nrFree(10) * 1024;
  }
  return huge;
}

Deno.test("LLFree leaves clearly more free in whole 2 MiB than the buddy after nine tenths were freed by lifetimes", () => {
  for (const seed of [1, 2, 3]) {
    const buddy = hugeLeft("buddy", seed);
    const llfree = hugeLeft("llfree", seed);
    assert(llfree > 1.25 * buddy, `seed ${seed}: ${llfree} pages against ${buddy}`);
  }
});

/** A guest that churns under LLFree; what the checkers found is asserted to be nothing. */
async function churn(memory: string, policy: unknown, atomic: number) {
  const loaded = await load({
    hintsim: 1,
    machine: { memory, vcpus: 3, allocator: "llfree" },
    workload: {
      kind: "churn",
      orders: { 0: 6, 1: 1, 3: 1, 9: 1, 10: 1 },
      migratetypes: { movable: 8, unmovable: 1, reclaimable: 1 },
      atomic,
      occupancy: 0.8,
      lifetime: { mean: "20ms" },
      duration: "100ms",
    },
    policy,
  });
  const [result] = simulate(loaded, { check: true });
  assert.deepEqual(result.problems, []);
  assert.equal(result.finding, undefined);
  return result;
}

Deno.test("conservation holds at every row of churn with LLFree, whatever the policy", async () => {
  const policies = [{ kind: "none" }, { kind: "oracle" }, { kind: "page-hinting" }, { kind: "balloon" }];
  for (const policy of policies) {
    const { samples } = await churn("256MiB", policy, 0.1);
    assert(samples.free_order_10.length > 0);
    assert(samples.pcp_bytes.every((bytes) => bytes === 0), "no per-CPU lists");
  }
});

Deno.test("what needs free lists is refused with LLFree in one sentence", async () => {
  const run = async (policy: object, machine: object = {}) => {
    const workload = { kind: "idle", duration: "1ms" };
    simulate(
      await load({ hintsim: 1, machine: { memory: "64MiB", allocator: "llfree", ...machine }, workload, policy }),
    );
  };
  await assert.rejects(run({ kind: "free-page-reporting" }), /walks free lists, and llfree has none/);
  await assert.rejects(run({ kind: "none" }, { perCpu: true }), /llfree has no per-CPU lists/);
  await assert.rejects(run({ kind: "page-hinting", tracker: "flags" }), /flags stand on free lists/);
});
