import assert from "node:assert/strict";
import { allCheckers } from "../../sim/core/checkers.ts";
import { feed, GOOD, GUEST_PAGES, type Row } from "./rows.ts";

Deno.test("no checker finds anything in a good trace", () => {
  for (const hugetlb of [false, true]) {
    const checkers = allCheckers(GUEST_PAGES, { hugetlb });
    feed(checkers, GOOD);
    assert.deepEqual(checkers.flatMap(({ problems }) => problems), []);
  }
});

Deno.test("checkers have different names and say what they hold", () => {
  const checkers = allCheckers([1024, 1024], { hugetlb: false });
  assert.equal(new Set(checkers.map(({ name }) => name)).size, checkers.length);
  assert.ok(checkers.every(({ name, summary }) => name !== "" && summary !== ""));
});

Deno.test("guests do not disturb each other", () => {
  const both = GOOD.flatMap((row) => row.event === "end" ? [row] : [row, { ...row, guest: 1 }]);
  const checkers = allCheckers([2048, 2048], { hugetlb: false });
  // A discard and its rows stay together.
  const rank = ({ event }: Row) => event === "discard" ? 0 : 1;
  const sorted = both.map((row, i) => ({ row, i })).sort((a, b) => {
    const time = (a.row.timeNs ?? 0) - (b.row.timeNs ?? 0);
    if (time !== 0 || a.row.timeNs !== 400) return time || a.i - b.i;
    return (a.row.guest ?? 0) - (b.row.guest ?? 0) || rank(a.row) - rank(b.row);
  });
  feed(checkers, sorted.map(({ row }) => row));
  assert.deepEqual(checkers.flatMap(({ problems }) => problems), []);
});

Deno.test("twenty problems are kept and the rest counted, with row numbers across blocks", () => {
  const checkers = allCheckers([64], { hugetlb: false });
  const filler = Array.from({ length: 2100 }, (): Row => ({ event: "pass" }));
  const faults = Array.from({ length: 25 }, (): Row => ({ event: "drop", timeNs: 7, pfn: 3, pages: 1 }));
  feed(checkers, [...filler, ...faults]);
  const { problems } = checkers.find(({ name }) => name === "residency")!;
  assert.equal(problems.length, 21);
  assert.equal(problems[0], "Row 2101 at 7 ns: drop of page 3 of guest 0, not resident.");
  assert.equal(problems[20], "5 more problems of this kind.");
});

Deno.test("pages and guests that do not exist are problems, not crashes", () => {
  const bad: Row[] = [
    { event: "alloc", pfn: 60, pages: 8, order: 3 },
    { event: "fault", pfn: -1, pages: 1 },
    { event: "drop", pfn: 0.5, pages: 1 },
    { event: "discard", pfn: 2 ** 40, pages: 1, message: 2 ** 40 },
    { event: "free", pfn: 0, pages: 1, order: 0, guest: 9 },
    { event: "write", pfn: 0, pages: 0 },
  ];
  const checkers = allCheckers([64], { hugetlb: false });
  feed(checkers, bad);
  const problems = checkers.flatMap((checker) => checker.problems);
  for (let row = 1; row <= bad.length; row++) {
    assert.ok(problems.some((problem) => problem.startsWith(`Row ${row} at 0 ns: `)), `row ${row}`);
  }
  assert.ok(problems.includes("Row 1 at 0 ns: alloc of 8 pages from 60 on, which guest 0 does not have."));
});
