import assert from "node:assert/strict";
import { ReclaimChecker } from "../../sim/core/checkers/reclaim.ts";
import { changed, feed, GOOD, GUEST_PAGES, type Row } from "./rows.ts";

function problemsOf(rows: readonly Row[], hugetlb = false): readonly string[] {
  const checker = new ReclaimChecker(GUEST_PAGES, hugetlb);
  feed([checker], rows);
  return checker.problems;
}

/** 64 pages: 0 to 7 used and written at the start, 8 to 15 allocated later of which 10 and 11 are written. */
const BEFORE: readonly Row[] = [
  { event: "present", pfn: 0, pages: 64 },
  { event: "alloc", pfn: 0, pages: 8 },
  { event: "fault", pfn: 0, pages: 64 },
  { event: "alloc", timeNs: 10, pfn: 8, pages: 8, order: 3 },
  { event: "write", timeNs: 10, pfn: 10, pages: 2 },
];
const DISCARD: Row = { event: "discard", timeNs: 20, pfn: 4, pages: 28, message: 1 };
/** What the host has to say of pages 4 to 31. */
const VERDICTS: readonly Row[] = [
  { event: "violation", timeNs: 20, pfn: 4, pages: 4, message: 1 },
  { event: "nearMiss", timeNs: 20, pfn: 8, pages: 2, message: 1 },
  { event: "violation", timeNs: 20, pfn: 10, pages: 2, message: 1 },
  { event: "nearMiss", timeNs: 20, pfn: 12, pages: 4, message: 1 },
];
const DROP: Row = { event: "drop", timeNs: 20, pfn: 4, pages: 28, message: 1 };
const END: Row = { event: "end", timeNs: 30 };

Deno.test("reclaim: a good trace, and losses that are flagged", () => {
  assert.deepEqual(problemsOf(GOOD), []);
  assert.deepEqual(problemsOf([...BEFORE, DISCARD, ...VERDICTS, DROP, END]), []);
});

Deno.test("reclaim: a host that discards used, written pages and says nothing is caught", () => {
  const what = "Row 8 at 30 ns: the discard of message 1 of guest 0 before this row";
  assert.deepEqual(problemsOf([...BEFORE, DISCARD, DROP, END]), [
    `${what} lacks a violation of pages 4 to 7.`,
    `${what} lacks a violation of pages 10 to 11.`,
    `${what} lacks a near_miss of pages 8 to 9.`,
    `${what} lacks a near_miss of pages 12 to 15.`,
  ]);
});

Deno.test("reclaim: each verdict that is missing, too much, or of the wrong kind or pages is caught", () => {
  VERDICTS.forEach((verdict, i) => {
    const others = VERDICTS.filter((_, k) => k !== i);
    const event = verdict.event === "violation" ? "nearMiss" : "violation";
    assert.equal(problemsOf([...BEFORE, DISCARD, ...others, DROP, END]).length, 1);
    assert.equal(problemsOf([...BEFORE, DISCARD, verdict, ...VERDICTS, DROP, END]).length, 1);
    assert.equal(problemsOf([...BEFORE, DISCARD, { ...verdict, event }, ...others, DROP, END]).length, 2);
    const shorter = { ...verdict, pages: verdict.pages! - 1 };
    assert.equal(problemsOf([...BEFORE, DISCARD, shorter, ...others, DROP, END]).length, 2);
  });
});

Deno.test("reclaim: verdicts have to come at once, for their message and guest", () => {
  const pass: Row = { event: "pass", timeNs: 20 };
  // Each of the four is missing at the pass, and without a discard afterwards.
  assert.equal(problemsOf([...BEFORE, DISCARD, pass, ...VERDICTS, END]).length, 8);
  const other = VERDICTS.map((row) => ({ ...row, message: 2 }));
  assert.equal(problemsOf([...BEFORE, DISCARD, ...other, END]).length, 8);
  assert.deepEqual(problemsOf([{ ...VERDICTS[0], pages: 1 }]), [
    "Row 1 at 20 ns: violation of page 4 of guest 0 without a discard.",
  ]);
});

Deno.test("reclaim: free, isolated and held pages are safe, freed ones lose their history", () => {
  const free: Row = { event: "free", timeNs: 15, pfn: 8, pages: 8, order: 3 };
  const discard: Row = { event: "discard", timeNs: 20, pfn: 8, pages: 8, message: 1 };
  for (const event of ["isolate", "hold"] as const) {
    assert.deepEqual(problemsOf([...BEFORE, free, { ...free, event }, discard, END]), []);
  }
  // Allocated again and not written: a near miss of all of it.
  const alloc: Row = { ...free, event: "alloc" };
  const nearMiss: Row = { ...discard, event: "nearMiss" };
  assert.deepEqual(problemsOf([...BEFORE, free, alloc, discard, nearMiss, END]), []);
  assert.equal(problemsOf([...BEFORE, free, discard, nearMiss, END]).length, 1);
});

Deno.test("reclaim: a lost page counts once, until it is written again", () => {
  const again: Row = { event: "discard", timeNs: 21, pfn: 4, pages: 4, message: 2 };
  const first = [...BEFORE, DISCARD, ...VERDICTS, DROP];
  assert.deepEqual(problemsOf([...first, again, { ...again, event: "nearMiss" }, END]), []);
  assert.equal(problemsOf([...first, again, { ...again, event: "violation" }, END]).length, 2);
  const write: Row = { event: "write", timeNs: 21, pfn: 4, pages: 4 };
  assert.deepEqual(problemsOf([...first, write, again, { ...again, event: "violation" }, END]), []);
});

Deno.test("reclaim: a skip or a give_back loses nothing", () => {
  for (const event of ["skip", "giveBack"] as const) {
    assert.deepEqual(problemsOf([...BEFORE, { ...DISCARD, event }, END]), []);
    assert.equal(problemsOf([...BEFORE, { ...DISCARD, event }, VERDICTS[0], END]).length, 1);
  }
});

Deno.test("reclaim: a drop outside of its discard, or without one, is caught", () => {
  const outside = changed("drop", (row) => ({ ...row, pages: 513 }));
  assert.deepEqual(problemsOf(outside), [
    "Row 15 at 400 ns: drop of pages 1024 to 1536 of guest 0 outside of the discard.",
  ]);
  const alone = changed("discard", () => undefined);
  assert.deepEqual(problemsOf(alone), ["Row 14 at 400 ns: drop of pages 1024 to 1535 of guest 0 without a discard."]);
});

Deno.test("reclaim: a write to pages that nobody owns is caught", () => {
  assert.deepEqual(problemsOf([...BEFORE, { event: "write", timeNs: 11, pfn: 14, pages: 4 }]), [
    "Row 6 at 11 ns: write to pages 16 to 17 of guest 0, not used.",
  ]);
});

Deno.test("reclaim: hugetlb judges whole 2 MiB only", () => {
  const before: Row[] = [{ event: "present", pfn: 0, pages: 2048 }, { event: "alloc", pfn: 0, pages: 2048 }];
  const discard: Row = { event: "discard", timeNs: 20, pfn: 100, pages: 1000, message: 1 };
  const lost: Row = { ...discard, event: "violation", pfn: 512, pages: 512 };
  assert.deepEqual(problemsOf([...before, discard, lost, { ...lost, event: "drop" }, END], true), []);
  assert.deepEqual(problemsOf([...before, { ...discard, pages: 800 }, END], true), []);
  assert.equal(problemsOf([...before, discard, { ...discard, event: "violation" }, END], true).length, 2);
  assert.equal(problemsOf([...before, discard, lost, { ...discard, event: "drop" }, END], true).length, 1);
});
