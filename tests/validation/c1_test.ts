/** The reporting worker of a live 6.1 guest of 1 GiB, at orders 9, 7 and 5, given the lists that each of its starts found. */
import assert from "node:assert/strict";
import { freePageReporting } from "../../policies/free_page_reporting.ts";
import { ORDER_PAGES } from "../../sim/memory/range.ts";
import { Harness } from "../policies/harness.ts";
import { recordedRows } from "./recorded.ts";

const NS_PER_S = 1e9;
const DMA_END = 4096;
const MEMORY_PAGES = 262_144;

/** Watermarks in pages of the recorded guest (README of the recordings, a-boot a1024). */
const DMA_MARKS = { min: 178, low: 222, high: 266 };
const DMA32_MARKS = { min: 11_085, low: 13_856, high: 16_627 };

interface Block {
  pfn: number;
  order: number;
}

interface Pass {
  startS: number;
  reports: number[];
  /** Blocks taken off their lists, and blocks put back, in order. */
  isolated: Block[];
  putBack: Block[];
}

/** The passes of the recording. */
async function recordedPasses(): Promise<Pass[]> {
  const passes: Pass[] = [];
  for (const { t_s, source, what, a, b } of await recordedRows("c1-timeline.csv.gz")) {
    if (source !== "guest") continue;
    const block = { pfn: Number(a), order: Number(b) };
    if (what === "worker_begin") passes.push({ startS: Number(t_s), reports: [], isolated: [], putBack: [] });
    if (what === "report") passes.at(-1)!.reports.push(Number(a));
    if (what === "isolate") passes.at(-1)!.isolated.push(block);
    if (what === "putback") passes.at(-1)!.putBack.push(block);
  }
  return passes;
}

const overlap = (one: Block, other: Block) =>
  one.pfn < other.pfn + ORDER_PAGES[other.order] && other.pfn < one.pfn + ORDER_PAGES[one.order];

/** Runs the worker from a request on, over the unreported blocks in the order of their lists and the reported ones. */
function simulated(order: number, unreported: readonly Block[], reported: readonly Block[]): Pass[] {
  const harness = new Harness({
    blocks: [...unreported, ...reported],
    pages: MEMORY_PAGES,
    zoneEnds: [DMA_END],
    policy: freePageReporting,
    options: { order },
    watermarks: DMA32_MARKS,
  });
  harness.zones[0].watermarks = DMA_MARKS;
  for (const block of reported) harness.zones[1].allocator.setReported(block.pfn, block.order);
  harness.policy.start!();
  harness.run();
  const passes: Pass[] = [];
  let waiting = 0;
  for (const { timeNs, event, pfn, order: blockOrder } of harness.rows) {
    const pass = passes.at(-1)!;
    if (event === "pass") passes.push({ startS: timeNs / NS_PER_S, reports: [], isolated: [], putBack: [] });
    if (event === "isolate") {
      pass.isolated.push({ pfn, order: blockOrder });
      waiting++;
    }
    if (event === "put_back") pass.putBack.push({ pfn, order: blockOrder });
    if (event === "send") {
      pass.reports.push(waiting);
      waiting = 0;
    }
  }
  return passes;
}

/** What earlier passes reported and the blocks at hand do not touch: free and Reported still, as far as is known. */
function reportedBefore(passes: readonly Pass[], unreported: readonly Block[]): Block[] {
  const known: Block[] = [];
  for (const block of passes.flatMap(({ putBack }) => putBack).reverse()) {
    if (![...known, ...unreported].some((other) => overlap(block, other))) known.push(block);
  }
  return known.filter(({ pfn }) => pfn >= DMA_END);
}

/** The groups of passes that one start found, with the order in force. */
const GROUPS = [
  // 215 blocks after registration: budget of 2 reports a list and pass, ceil(nr_free / 512) + 1.
  { order: 9, from: 0, to: 4, reports: [[32, 32], [32, 32], [32, 32], [23]] },
  // A file of 400 MiB was removed.
  { order: 9, from: 4, to: 6, reports: [[32, 32], [32, 2]] },
  { order: 7, from: 6, to: 7, reports: [[32, 5]] },
  // Zone DMA first, with a report of its own.
  { order: 5, from: 7, to: 8, reports: [[6, 32, 32, 17]] },
];

for (const { order, from, to, reports } of GROUPS) {
  const name = reports.map((pass) => pass.join("+")).join(", then ");
  Deno.test(`c1: order ${order}, from pass ${from + 1} on, reports ${name}, block by block as recorded`, async () => {
    const passes = await recordedPasses();
    const group = passes.slice(from, to);
    assert.deepEqual(group.map((pass) => pass.reports), reports, "the recording");
    const unreported = group.flatMap(({ isolated }) => isolated);
    const ours = simulated(order, unreported, reportedBefore(passes.slice(0, from), unreported));
    assert.deepEqual(ours.map((pass) => pass.reports), reports);
    for (const [index, pass] of ours.entries()) {
      assert.deepEqual(pass.putBack, group[index].putBack);
      // What was taken off a list is put back; a block taken and not put back is one whose isolation failed.
      const taken = group[index].isolated.filter(({ pfn }) => group[index].putBack.some((block) => block.pfn === pfn));
      assert.deepEqual(pass.isolated, taken);
    }
  });
}

Deno.test("c1: the last block of zone DMA fails on the minimum watermark", async () => {
  const last = (await recordedPasses())[7];
  const failed = last.isolated.filter(({ pfn }) => !last.putBack.some((block) => block.pfn === pfn));
  // 32 + 64 + 128 + 512 + 2 * 1024 pages of 3808 are taken off; the seventh block would leave less than 178 pages.
  assert.deepEqual(failed, [{ pfn: 3072, order: 10 }]);
  assert.equal(3808 - (32 + 64 + 128 + 512 + 2 * 1024), 1024);
  assert(1024 <= DMA_MARKS.min + 1024);
  // At order 7 the zone is left out: it would have to have 32 blocks above its low watermark.
  assert(3808 <= DMA_MARKS.low + 32 * 128);
  assert(3808 > DMA_MARKS.low + 32 * 32);
});

Deno.test("c1: a pass follows the one before after 2 s; the kernel's timer adds 16 ms", async () => {
  const recorded = await recordedPasses();
  const blocks = recorded.slice(0, 4).flatMap(({ isolated }) => isolated);
  const ours = simulated(9, blocks, []);
  const gaps = (passes: readonly Pass[]) => passes.slice(1).map(({ startS }, index) => startS - passes[index].startS);
  // 500 ticks of 4 ms, rounded up to a multiple of 8 ticks from a start on such a multiple: 504 ticks, 2.016 s.
  for (const gap of gaps(recorded.slice(0, 4))) assert(gap >= 2.015 && gap < 2.017, `${gap}`);
  // From a request at any time the wheel rounds up by 0 to 32 ms: registration, and the first notify of each step.
  for (const [request, pass] of [[27.488713, 4], [48.773925, 6], [68.119421, 7]]) {
    const delay = recorded[pass].startS - request;
    assert(delay >= 2 && delay < 2.033, `${delay}`);
  }
  // The model has no ticks: 2 s after the worker ended.
  for (const gap of gaps(ours)) assert(gap >= 2 && gap < 2.001, `${gap}`);
});
