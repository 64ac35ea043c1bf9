import assert from "node:assert/strict";
import { ResidencyChecker } from "../../sim/core/checkers/residency.ts";
import { changed, feed, GOOD, GUEST_PAGES, type Row } from "./rows.ts";

function problemsOf(rows: readonly Row[]): readonly string[] {
  const checker = new ResidencyChecker(GUEST_PAGES);
  feed([checker], rows);
  return checker.problems;
}

Deno.test("residency: a good trace", () => assert.deepEqual(problemsOf(GOOD), []));

Deno.test("residency: a page is populated twice", () => {
  const rows = changed("fault", (row) => row.pfn === 512 ? { ...row, pfn: 510 } : row);
  assert.deepEqual(problemsOf(rows), [
    "Row 6 at 100 ns: fault that populates pages 510 to 511 of guest 0, already resident.",
  ]);
});

Deno.test("residency: a page is dropped that is not there, or dropped twice", () => {
  const rows = changed("drop", (row) => ({ ...row, pfn: 1020, pages: 516 }));
  assert.deepEqual(problemsOf(rows), ["Row 15 at 400 ns: drop of pages 1020 to 1023 of guest 0, not resident."]);
  assert.equal(problemsOf(changed("drop", (row) => [row, row])).length, 1);
});

Deno.test("residency: a fault after a drop is right", () => {
  const rows = changed("end", (row) => [{ event: "fault", timeNs: 900, pfn: 1024, pages: 512 }, row]);
  assert.deepEqual(problemsOf(rows), []);
});
