import assert from "node:assert/strict";
import fc from "fast-check";
import { Summary } from "../../sim/core/summary.ts";
import { feed, GOOD, GUEST_PAGES, type Row } from "../checkers/rows.ts";

const MIN = 60e9;

/** Two guests of 2048 and 1024 pages for ten minutes; every figure below is computed by hand from these rows. */
const ROWS: readonly Row[] = [
  // Start state: 2048 + 1024 pages present, 512 used, 1024 + 512 resident.
  { event: "present", pfn: 0, pages: 2048 },
  { event: "alloc", pfn: 0, pages: 512 },
  { event: "fault", pfn: 0, pages: 1024 },
  { event: "present", pfn: 0, pages: 1024, guest: 1 },
  { event: "fault", pfn: 0, pages: 512, guest: 1 },
  // Still time 0, but no start state any more: an allocation, and a fault without cost. Resident: 1537 pages.
  { event: "alloc", pfn: 512, pages: 4, order: 2, costNs: 7 },
  { event: "fault", pfn: 512, pages: 1, guest: 1 },
  { event: "write", pfn: 512, pages: 4 },
  // Minute 1: the first free, and a message.
  { event: "free", timeNs: MIN, pfn: 512, pages: 4, order: 2, costNs: 7 },
  { event: "pass", timeNs: MIN, costNs: 10 },
  { event: "isolate", timeNs: MIN, pfn: 512, pages: 512, order: 9, costNs: 20 },
  { event: "send", timeNs: MIN, pages: 512, message: 1, bytes: 8, costNs: 5 },
  { event: "kick", timeNs: MIN, message: 1, costNs: 2 },
  { event: "exit", timeNs: MIN, message: 1, costNs: 3 },
  // Minute 2: 512 pages returned; resident: 1025.
  { event: "discard", timeNs: 2 * MIN, pfn: 512, pages: 512, message: 1, costNs: 50 },
  { event: "drop", timeNs: 2 * MIN, pfn: 512, pages: 512, message: 1 },
  { event: "interrupt", timeNs: 2 * MIN, message: 1, costNs: 1 },
  { event: "ack", timeNs: 2 * MIN, message: 1, costNs: MIN },
  { event: "putBack", timeNs: 2 * MIN, pfn: 512, pages: 512, order: 9, costNs: 20 },
  // Minute 3: 4 of them are faulted in again (508 returned, 1029 resident).
  { event: "fault", timeNs: 3 * MIN, pfn: 512, pages: 4, costNs: 40 },
  { event: "swapOut", timeNs: 3 * MIN, pfn: 0, pages: 1, costNs: 11 },
  { event: "swapIn", timeNs: 3 * MIN, pfn: 0, pages: 1, costNs: 30 },
  { event: "stall", timeNs: 3 * MIN, costNs: 100 },
  // Minute 4: guest 1 loses 10 pages and nearly 6; 1020 returned, 517 resident.
  { event: "send", timeNs: 4 * MIN, pages: 662, message: 1, bytes: 16, costNs: 6, guest: 1 },
  { event: "discard", timeNs: 4 * MIN, pfn: 0, pages: 512, message: 1, costNs: 25, guest: 1 },
  { event: "violation", timeNs: 4 * MIN, pfn: 0, pages: 10, message: 1, guest: 1 },
  { event: "nearMiss", timeNs: 4 * MIN, pfn: 16, pages: 4, message: 1, guest: 1 },
  { event: "nearMiss", timeNs: 4 * MIN, pfn: 24, pages: 2, message: 1, guest: 1 },
  { event: "drop", timeNs: 4 * MIN, pfn: 0, pages: 512, message: 1, guest: 1 },
  { event: "skip", timeNs: 4 * MIN, pfn: 600, pages: 100, message: 1, costNs: 3, guest: 1 },
  { event: "giveBack", timeNs: 4 * MIN, pfn: 600, pages: 50, message: 1, costNs: 4, guest: 1 },
  { event: "ack", timeNs: 4 * MIN, message: 1, costNs: 10, guest: 1 },
  // Minute 5: 256 + 256 pages held, then 256.
  { event: "hold", timeNs: 5 * MIN, pfn: 512, pages: 256, order: 8, costNs: 7, guest: 1 },
  { event: "hold", timeNs: 5 * MIN, pfn: 768, pages: 256, order: 8, costNs: 7, guest: 1 },
  { event: "release", timeNs: 5 * MIN, pfn: 512, pages: 256, order: 8, costNs: 7, guest: 1 },
  { event: "allocFail", timeNs: 5 * MIN, pages: 1024, order: 10, guest: 1 },
  { event: "kswapd", timeNs: 5 * MIN, pages: 32, costNs: 5, guest: 1 },
  { event: "directReclaim", timeNs: 5 * MIN, pages: 7, costNs: 3, guest: 1 },
  { event: "dropCaches", timeNs: 5 * MIN, pages: 9, costNs: 2, guest: 1 },
  { event: "compaction", timeNs: 5 * MIN, pages: 11, order: 9, costNs: 13, guest: 1 },
  { event: "compaction", timeNs: 5 * MIN, pages: 2, order: 9, costNs: 4, guest: 1 },
  { event: "oomKill", timeNs: 5 * MIN, pages: 20, order: 0, guest: 1 },
  { event: "oomKill", timeNs: 5 * MIN, pages: 0, order: 2, guest: 1 },
  { event: "khugepaged", timeNs: 5 * MIN, pages: 512, costNs: 8, guest: 1 },
  { event: "end", timeNs: 10 * MIN },
];

Deno.test("every figure of a trace made by hand", () => {
  const summary = new Summary([2048, 1024]);
  feed([summary], ROWS);
  assert.deepEqual(summary.result(), {
    simTimeNs: 10 * MIN,
    events: 44, // 45 rows, end not counted, the write counted
    allocs: 1, // not the one of the start state
    frees: 1,
    allocFails: 1,
    passes: 1,
    messages: 2,
    kicks: 1,
    exits: 1,
    interrupts: 1,
    payloadBytes: 24, // 8 + 16
    ranges: 4, // 2 discards, 1 skip, 1 give_back
    sentPages: 1174, // 512 + 662
    discardedPages: 1024, // 512 + 512
    skippedPages: 100,
    refaultPages: 4,
    oomKilledPages: 20, // 20 + 0
    kswapdPages: 32,
    directReclaimPages: 7,
    dropCachesPages: 9,
    compactionPages: 13, // 11 + 2
    compactionNs: 17, // 13 + 4
    khugepagedPages: 512,
    violations: 1,
    nearMisses: 2,
    violationPages: 10,
    nearMissPages: 6,
    heldPeakBytes: 512 * 4096,
    isolatedPeakBytes: 512 * 4096,
    residentStartBytes: 1536 * 4096,
    residentEndBytes: 517 * 4096, // 1536 + 1 - 512 + 4 - 512
    freeEndBytes: 2304 * 4096, // 3072 present - 512 used (512 + 4 - 4) - 256 held - 0 isolated
    returnedBytes: 1020 * 4096, // 1024 - 4
    timeTo50Ns: MIN, // 510 pages are needed; minute 2 has 512; the first free was in minute 1
    timeTo90Ns: 3 * MIN, // 918 pages are needed; minute 4 has 1020
    // 1537 pages for 2 min, 1025 for 1, 1029 for 1, 517 for 6: 8230 pages x min, of 262144 pages in 1 GiB
    residentGibMin: 8230 / 262144,
    driverCpuNs: 67, // pass 10, isolate 20, put_back 20, send 5 + 6, kick 2, exit 3, interrupt 1
    hostCpuNs: 163, // discard 50 + 25, skip 3, give_back 4, swap_out 11, swap_in 30, fault 40
    guestStallNs: 170, // fault 40, swap_in 30, stall 100
    stallP99Ns: 100, // 0 0 0 (start) 30 40 100: rank 6 of 6
    stallMaxNs: 100,
    ackP50Ns: 10, // rank 1 of 2
    ackP99Ns: MIN,
  });
});

Deno.test("the figures do not depend on where blocks of rows end", () => {
  const whole = new Summary([2048, 1024]);
  feed([whole], ROWS);
  for (const rowsMax of [1, 2, 3, 5, 7, 11]) {
    const parts = new Summary([2048, 1024]);
    for (let from = 0; from < ROWS.length; from += rowsMax) feed([parts], ROWS.slice(from, from + rowsMax));
    assert.deepEqual(parts.result(), whole.result());
  }
});

Deno.test("a run without rows has no times and no quantiles", () => {
  const figures = new Summary([1024]).result();
  for (const [name, value] of Object.entries(figures)) {
    const none = ["timeTo50Ns", "timeTo90Ns", "stallP99Ns", "stallMaxNs", "ackP50Ns", "ackP99Ns"].includes(name);
    assert.equal(value, none ? undefined : 0, name);
  }
});

/** Both times of a run of one guest that drops and faults, after a free at 100 ns. */
function timesOf(rows: readonly Row[], freed = true): [number | undefined, number | undefined] {
  const free: Row[] = freed ? [{ event: "free", timeNs: 100, pfn: 0, pages: 1, order: 0 }] : [];
  const sorted = [...free, ...rows].sort((a, b) => (a.timeNs ?? 0) - (b.timeNs ?? 0));
  const summary = new Summary([4096]);
  feed([summary], [...sorted, { event: "end", timeNs: 1e6 }]);
  const { timeTo50Ns, timeTo90Ns } = summary.result();
  return [timeTo50Ns, timeTo90Ns];
}

Deno.test("times: none when nothing is returned at the end or nothing was freed", () => {
  const drop: Row = { event: "drop", timeNs: 200, pfn: 0, pages: 10 };
  const refault: Row = { event: "fault", timeNs: 300, pfn: 0, pages: 10 };
  assert.deepEqual(timesOf([]), [undefined, undefined]);
  assert.deepEqual(timesOf([drop, refault]), [undefined, undefined]);
  assert.deepEqual(timesOf([drop], false), [undefined, undefined]);
  assert.deepEqual(timesOf([drop]), [100, 100]);
});

Deno.test("times: never negative, exact at the limit, and the first time counts", () => {
  const drops = (timeNs: number, pfn: number, pages: number): Row => ({ event: "drop", timeNs, pfn, pages });
  assert.deepEqual(timesOf([drops(50, 0, 100), drops(400, 100, 1)]), [0, 0]);
  // 10 pages at the end: 5 are half, 9 are nine tenths.
  assert.deepEqual(
    timesOf([drops(200, 0, 4), drops(300, 4, 1), drops(400, 5, 3), drops(500, 8, 1), drops(600, 9, 1)]),
    [
      200,
      400,
    ],
  );
  // 8 pages, 7 of them refaulted and returned again later: the 8 of the first time count.
  const refault: Row = { event: "fault", timeNs: 300, pfn: 1, pages: 7 };
  assert.deepEqual(timesOf([drops(200, 0, 8), refault, drops(900, 1, 7)]), [100, 100]);
});

Deno.test("property: the times are those of a search through all changes", () => {
  const change = fc.record({ gapNs: fc.nat(3), pfn: fc.nat(40), pages: fc.integer({ min: 1, max: 60 }) });
  fc.assert(fc.property(fc.array(change, { maxLength: 600 }), (changes) => {
    const dropped = new Set<number>();
    const series: [number, number][] = [];
    let timeNs = 90;
    const rows = changes.map(({ gapNs, pfn, pages }): Row => {
      timeNs += gapNs;
      // What is there can be dropped, what was dropped can be faulted in: the first page decides.
      const event = dropped.has(pfn) ? "fault" : "drop";
      let count = 0;
      for (; count < pages && dropped.has(pfn + count) === (event === "fault"); count++) {
        if (event === "drop") dropped.add(pfn + count);
        else dropped.delete(pfn + count);
      }
      series.push([timeNs, dropped.size]);
      return { event, timeNs, pfn, pages: count };
    });
    const reachedNs = (tenths: number) => series.find(([, pages]) => pages * 10 >= dropped.size * tenths)![0];
    const expected = [5, 9].map((tenths) => dropped.size === 0 ? undefined : Math.max(0, reachedNs(tenths) - 100));
    assert.deepEqual(timesOf(rows), expected);
  }));
});

Deno.test("many changes: a page every nanosecond", () => {
  const rows = Array.from({ length: 3000 }, (_, i): Row => ({ event: "drop", timeNs: 101 + i, pfn: i, pages: 1 }));
  assert.deepEqual(timesOf(rows), [1500, 2700]);
});

Deno.test("the trace of the checkers' tests", () => {
  const summary = new Summary(GUEST_PAGES);
  feed([summary], GOOD);
  const { residentStartBytes, residentEndBytes, freeEndBytes, heldPeakBytes, returnedBytes } = summary.result();
  // 1536 resident at the start, 4 faulted, 512 dropped; 512 of 2048 pages used at the end.
  assert.deepEqual(
    [residentStartBytes, residentEndBytes, freeEndBytes, heldPeakBytes, returnedBytes].map((bytes) => bytes / 4096),
    [1536, 1028, 1536, 512, 512],
  );
});
