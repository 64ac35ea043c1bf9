import assert from "node:assert/strict";
import { gunzipSync } from "node:zlib";
import { load, type RunResult, simulate } from "../../mod.ts";
import { MOVABLE, PAGEBLOCK_PAGES } from "../../sim/guest/allocator.ts";
import { zonesOfState } from "../../sim/guest/layout.ts";
import { Op } from "../../sim/guest/operations.ts";
import { recordedOperations } from "../../sim/guest/recorded_ops.ts";
import { readRecording } from "../../sim/guest/recording.ts";
import { readSnapshots } from "../../sim/guest/snapshot.ts";

const SLOW = Deno.env.get("HINTSIM_TIER") === "slow";
const SHIPPED = new URL("../../workloads/recordings/", import.meta.url);
const FIXTURES = new URL("../recordings/", import.meta.url);

function bytesOf(name: string, folder: URL): Uint8Array {
  return gunzipSync(Deno.readFileSync(new URL(name, folder)));
}

async function run(name: string, folder: URL): Promise<RunResult> {
  const workload = { kind: "page-trace", file: `${name}.buddy.csv.gz`, snapshots: `${name}.snaps.json.gz` };
  const loaded = await load({ hintsim: 1, workload }, { read: (file) => Deno.readFileSync(new URL(file, folder)) });
  return simulate(loaded, { events: true, samples: false })[0];
}

/** Pages that the kernel's zones gave out, in order. */
function recordedPages(name: string, folder: URL): number[] {
  const start = readSnapshots(bytesOf(`${name}.snaps.json.gz`, folder)).get("s0");
  const { columns, count } = recordedOperations(readRecording(bytesOf(`${name}.buddy.csv.gz`, folder)), start, "s0");
  return [...columns.pfn.subarray(0, count)].filter((_, at) => columns.kind[at] === Op.alloc);
}

const EXACT: [name: string, folder: URL][] = [
  ["b2-mixed", SHIPPED],
  ["b3-fallback", SHIPPED],
  ["b4-2vcpu", FIXTURES],
  ["b2-612-mixed", FIXTURES],
];

for (const [name, folder] of EXACT) {
  Deno.test(`${name}: run as a workload without a policy, each allocation gets the kernel's page`, async () => {
    const { events, summary } = await run(name, folder);
    assert.equal(summary.alloc_fails, 0);
    const { count, eventNames, event, order, pfn } = events!;
    const wanted = recordedPages(name, folder);
    let at = 0;
    let other = 0;
    for (let i = 0; i < count; i++) {
      if (eventNames[event[i]] !== "alloc" || order[i] < 0) continue;
      if (pfn[i] !== wanted[at++]) other++;
    }
    assert.deepEqual([other, at], [0, wanted.length]);
  });
}

/** Compaction chose its pages by address, which a workload does not; see docs/recording.md. */
const COMPACTED = [{ name: "g2-pressure", failsMax: 2 }, { name: "g4-612-fallback", failsMax: 50 }];

for (const { name, failsMax } of COMPACTED) {
  Deno.test({ name: `${name}: fewer than one of 10,000 allocations fails`, ignore: !SLOW }, async () => {
    const { summary } = await run(name, FIXTURES);
    assert.ok(Number(summary.alloc_fails) <= failsMax, String(summary.alloc_fails));
  });
}

Deno.test("pages in use at the start can be migrated where their pageblock is movable, and only there", () => {
  const state = readSnapshots(bytesOf("b3-fallback.snaps.json.gz", SHIPPED)).get("s0")!;
  for (const zone of zonesOfState(state)) {
    const { allocator, unmovable } = zone;
    let pages = 0;
    let used = 0;
    for (let block = allocator.startPfn; block < zone.endPfn; block = nextPageblock(block)) {
      const count = Math.min(nextPageblock(block), zone.endPfn) - block;
      if (allocator.pageblockType(block) === MOVABLE) assert.equal(unmovable.countRange(block, count), 0);
      else pages += count;
    }
    zone.forEachFree((pfn, order) => {
      assert.equal(unmovable.countRange(pfn, 2 ** order), 0);
      if (allocator.pageblockType(pfn) !== MOVABLE) used += 2 ** order;
    });
    assert.equal(unmovable.count, pages - used);
  }
});

function nextPageblock(pfn: number): number {
  return (Math.floor(pfn / PAGEBLOCK_PAGES) + 1) * PAGEBLOCK_PAGES;
}
