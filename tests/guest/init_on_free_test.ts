/** What a kernel writes when it frees pages: the host has to back them, and nothing is lost when it takes them. */
import assert from "node:assert/strict";
import { load, type RunResult, simulate } from "../../mod.ts";
import { Event } from "../../sim/core/trace.ts";

const MIB = 2 ** 20;

/** A machine that writes nothing by itself, with parts of it changed. */
async function run(machine: Record<string, unknown>, parts: Record<string, unknown> = {}): Promise<RunResult> {
  const quiet = { memory: "64MiB", vcpus: 1, thp: false, reserved: "none", perCpu: false, keepMarks: false };
  const [result] = simulate(
    await load({
      hintsim: 1,
      machine: { ...quiet, initOnAlloc: false, resident: "none", ...machine },
      workload: {
        kind: "churn",
        occupancy: 0.5,
        orders: { 0: 1 },
        touch: "none",
        lifetime: { mean: "1s" },
        duration: "3s",
      },
      host: { backing: "4k" },
      until: "8s",
      ...parts,
    }),
    { events: true, check: true },
  );
  assert.deepEqual(result.problems, []);
  assert.equal(result.finding, undefined);
  return result;
}

/** The pages that rows of an event name, each page once. */
function pagesOf({ events }: RunResult, event: number): Set<number> {
  const pages = new Set<number>();
  for (let row = 0; row < events!.event.length; row++) {
    if (events!.event[row] !== event) continue;
    for (let page = 0; page < events!.pages[row]; page++) pages.add(events!.pfn[row] + page);
  }
  return pages;
}

Deno.test("init_on_free: the host backs what was freed, and nothing else when nothing is written", async () => {
  const still = await run({});
  assert.equal(pagesOf(still, Event.fault).size, 0);
  const zeroing = await run({ initOnFree: true });
  const freed = pagesOf(zeroing, Event.free);
  assert.ok(freed.size > 1000);
  assert.deepEqual(pagesOf(zeroing, Event.fault), freed);
  assert.deepEqual(pagesOf(zeroing, Event.zero), freed);
  // The same requests; only the time of the faults is new.
  assert.ok(Number(zeroing.summary.guest_stall_ns) > Number(still.summary.guest_stall_ns));
});

Deno.test("init_on_free: zeroes are no content, reporting drops such pages and loses nothing", async () => {
  const policy = { kind: "free-page-reporting", order: 0, delay: "100ms" };
  const { summary } = await run({ initOnFree: true }, { policy });
  // Without zeroing there was nothing to drop.
  assert.ok(Number(summary.discarded_pages) > 500);
  assert.equal(summary.violations, 0);
  assert.equal(summary.near_misses, 0);
});

Deno.test("init_on_free: a balloon that deflates gets its memory backed again before it is free", async () => {
  const policy = { kind: "balloon", target: [{ at: "1s", size: 8 * MIB }, { at: "4s", size: 0 }] };
  const workload = { kind: "idle", duration: "6s" };
  const without = await run({}, { policy, workload });
  assert.equal(without.summary.resident_end_bytes, 0);
  const { summary } = await run({ initOnFree: true }, { policy, workload });
  assert.equal(summary.resident_end_bytes, 8 * MIB);
});

Deno.test("page_poison: pages are read when allocated, written when freed, and kept by a host that hears of them", async () => {
  const policy = { kind: "free-page-reporting", order: 0, delay: "100ms" };
  const poisoned = await run({ pagePoison: true }, { policy });
  const touched = pagesOf(poisoned, Event.fault);
  for (const page of pagesOf(poisoned, Event.free)) assert.ok(touched.has(page));
  assert.ok(Number(poisoned.summary.sent_pages) > 1000);
  assert.equal(poisoned.summary.discarded_pages, 0);
  // Under another design nothing tells the host of the poison: a balloon's pages are the driver's, and go.
  const balloon = { kind: "balloon", target: [{ at: "1s", size: 8 * MIB }] };
  const inflated = await run({ pagePoison: true }, { policy: balloon, workload: { kind: "idle", duration: "6s" } });
  assert.equal(inflated.summary.discarded_pages, 2048);
});
