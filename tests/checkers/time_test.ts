import assert from "node:assert/strict";
import { TimeChecker } from "../../sim/core/checkers/time.ts";
import { feed, GOOD, type Row } from "./rows.ts";

function problemsOf(rows: readonly Row[]): readonly string[] {
  const checker = new TimeChecker();
  feed([checker], rows);
  return checker.problems;
}

Deno.test("time: a good trace", () => assert.deepEqual(problemsOf(GOOD), []));

Deno.test("time: going back", () => {
  const rows: Row[] = [{ event: "pass", timeNs: 5 }, { event: "pass", timeNs: 4 }, { event: "pass", timeNs: 4 }];
  assert.deepEqual(problemsOf(rows), ["Row 2 at 4 ns: time goes back from 5 ns."]);
});

Deno.test("time: fractions, and more than 2^53", () => {
  const rows: Row[] = [{ event: "pass", timeNs: 0.5 }, { event: "pass", timeNs: 2 ** 53 }];
  assert.equal(problemsOf(rows).length, 2);
});

Deno.test("time: rows after the end", () => {
  const rows: Row[] = [...GOOD, { event: "end", timeNs: 1000 }];
  assert.deepEqual(problemsOf(rows), [`Row ${rows.length} at 1000 ns: a row after the end.`]);
});
