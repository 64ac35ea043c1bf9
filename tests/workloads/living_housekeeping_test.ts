/** A living guest in which tasks compact for huge pages, fall back when memory is full, and khugepaged repairs that later. */
import assert from "node:assert/strict";
import { load, type RunResult, simulate } from "../../mod.ts";
import { Event } from "../../sim/core/trace.ts";

const SLOW = Deno.env.get("HINTSIM_TIER") === "slow";

const constant = (mean: string) => ({ distribution: "constant", mean });
const huge = { kind: "anonymous", region: constant("8MiB"), huge: 1 };

/**
 * 512 MiB for 6 s. Files in memory fill 85 % and go at random, so that what is free lies between them. From 0.9 s on a quarter
 * is wanted in huge pages: more than there are whole blocks, so tasks compact. At 1.2 s the page cache takes what is left, so that
 * the huge pages wanted at 1.5 s become single ones. The cache goes at 2 s, and khugepaged looks at 3 s.
 */
const GUEST = {
  hintsim: 1,
  machine: { memory: "512MiB", vcpus: 2, thpDefrag: "always", khugepaged: { scan: 65_536, sleep: "3s" } },
  workload: {
    kind: "living",
    phases: [{
      for: "5s",
      users: [
        { kind: "tmpfs", start: "85%", lifetime: { distribution: "exponential", mean: "3s" } },
        { kind: "kernel-pages", start: "2%", rate: "1MiB", lifetime: { mean: "1s" } },
        { kind: "page-cache", files: "1GiB", rate: "300MiB", from: "1200ms", until: "2s" },
        { ...huge, from: "900ms", live: "24%", lifetime: constant("3s") },
        { ...huge, from: "1500ms", live: "8%", lifetime: constant("3500ms") },
      ],
    }, { for: "1s" }],
  },
  policy: "free-page-reporting",
  host: { memory: "4GiB" },
};

/** Blocks of order 9 by page: taken by khugepaged, which runs on no CPU of a task, and freed by tasks or anybody. */
function collapsed({ events }: RunResult): { taken: number[]; freed: number[] } {
  const { count, event, pfn, order, cpu } = events!;
  const [taken, freed]: [number[], number[]] = [[], []];
  const open = new Set<number>();
  for (let row = 0; row < count; row++) {
    if (event[row] === Event.alloc && order[row] === 9 && cpu[row] < 0) {
      taken.push(pfn[row]);
      open.add(pfn[row]);
    } else if (event[row] === Event.free && open.delete(pfn[row])) {
      // Had the handles of the group stayed single, single pages would be freed here.
      assert.equal(order[row], 9);
      assert.ok(cpu[row] >= 0, "its owner frees it");
      freed.push(pfn[row]);
    }
  }
  return { taken, freed };
}

for (const kernel of SLOW ? ["6.1", "6.12"] : ["6.1"]) {
  Deno.test(`${kernel}: in one run tasks compact and khugepaged collapses; all of it is freed right`, async () => {
    for (const seed of SLOW ? [1, 2, 3] : [1]) {
      const scenario = { ...GUEST, seed, machine: { ...GUEST.machine, kernel } };
      const [result] = simulate(await load(scenario), { events: true, check: true });
      assert.deepEqual([result.problems, result.finding], [[], undefined]);
      const { event, pages, cpu } = result.events!;
      let direct = 0;
      let used = 0;
      for (let row = 0; row < event.length; row++) {
        if (event[row] === Event.compaction && cpu[row] >= 0) direct += pages[row];
        if (event[row] === Event.alloc) used += pages[row];
        if (event[row] === Event.free) used -= pages[row];
      }
      assert.ok(direct > 0, "no task has compacted");
      const { taken, freed } = collapsed(result);
      assert.ok(taken.length > 0, "khugepaged has collapsed nothing");
      assert.equal(taken.length * 512, result.summary.khugepaged_pages);
      assert.deepEqual(freed.sort((a, b) => a - b), taken.sort((a, b) => a - b));
      // Nobody keeps anything.
      assert.deepEqual([used, result.samples.used_bytes.at(-1), result.summary.alloc_fails], [0, 0, 0]);
    }
  });
}
