import assert from "node:assert/strict";
import { MessageChecker } from "../../sim/core/checkers/messages.ts";
import { changed, feed, GOOD, type Row } from "./rows.ts";

function problemsOf(rows: readonly Row[]): readonly string[] {
  const checker = new MessageChecker(2);
  feed([checker], rows);
  return checker.problems;
}

/** The row number of the first row of a kind in the good trace. */
const rowOf = (event: Row["event"]): number => GOOD.findIndex((row) => row.event === event) + 1;

Deno.test("messages: a good trace", () => assert.deepEqual(problemsOf(GOOD), []));

Deno.test("messages: no ack", () => {
  assert.deepEqual(problemsOf(changed("ack", () => undefined)), [
    `Row ${GOOD.length - 1} at 1000 ns: message 1 of guest 0 never acked.`,
  ]);
  const sends = [1, 2, 3, 4].map((message): Row => ({ event: "send", pages: 1, message, guest: 1 }));
  const rows: Row[] = [...sends, { event: "ack", message: 3, guest: 1 }, { event: "end", timeNs: 9 }];
  assert.deepEqual(problemsOf(rows), [
    "Row 6 at 9 ns: messages 1 to 2 of guest 1 never acked.",
    "Row 6 at 9 ns: message 4 of guest 1 never acked.",
  ]);
});

Deno.test("messages: two acks, two sends", () => {
  assert.deepEqual(problemsOf(changed("ack", (row) => [row, row])), [
    `Row ${rowOf("ack") + 1} at 460 ns: message 1 is acked a second time.`,
  ]);
  assert.deepEqual(problemsOf(changed("send", (row) => [row, row])), [
    `Row ${rowOf("send") + 1} at 330 ns: message 1 is sent a second time.`,
  ]);
});

Deno.test("messages: an ack of a message of another guest", () => {
  const problems = problemsOf(changed("ack", (row) => ({ ...row, guest: 1 })));
  assert.deepEqual(problems, [
    `Row ${rowOf("ack")} at 460 ns: ack of message 1, which was not sent.`,
    `Row ${GOOD.length} at 1000 ns: message 1 of guest 0 never acked.`,
  ]);
});

Deno.test("messages: rows that name a message that was not sent, or none", () => {
  for (const event of ["kick", "exit", "interrupt", "discard", "drop"] as const) {
    const problems = problemsOf(changed(event, (row) => ({ ...row, message: 2 })));
    assert.equal(problems.length, 1);
    assert.match(problems[0], new RegExp(`^Row ${rowOf(event)} at .*: ${event} for message 2, which was not sent\\.$`));
    const { message: _, ...nameless } = GOOD[rowOf(event) - 1];
    // An exit for the configuration space belongs to no message; only a host that is told nothing discards without one.
    const allowed = event === "drop" || event === "exit";
    assert.equal(problemsOf(changed(event, () => nameless)).length, allowed ? 0 : 1, event);
  }
});

Deno.test("messages: the host works on a message after its ack", () => {
  const late = changed("putBack", (row) => [row, { ...GOOD[rowOf("discard") - 1], timeNs: 460 }]);
  assert.deepEqual(problemsOf(late), [
    `Row ${rowOf("putBack") + 1} at 460 ns: discard for message 1 after its ack.`,
  ]);
});

Deno.test("messages: an oracle discards without messages, and then its guest sends none", () => {
  const unasked: Row = { event: "discard", pfn: 0, pages: 1 };
  const sent: Row[] = [{ event: "send", pages: 1, message: 1 }, { event: "ack", message: 1 }];
  const later = (rows: readonly Row[], timeNs: number) => rows.map((row): Row => ({ ...row, timeNs }));
  assert.deepEqual(problemsOf([unasked, { ...unasked, pfn: 1 }, ...later([unasked], 5)]), []);
  // Whether memory goes offline is known when the instant is over.
  assert.deepEqual(problemsOf([...sent, unasked, ...later([{ event: "alloc", pfn: 9, pages: 1 }], 5)]), [
    "Row 4 at 5 ns: discard of page 0 of guest 0 before, for no message.",
  ]);
  assert.deepEqual(problemsOf([unasked, ...later(sent, 5)]), [
    "Row 2 at 5 ns: guest 0 sends messages, and pages of it are discarded without one.",
  ]);
  // Another guest may be told of.
  assert.deepEqual(problemsOf([unasked, ...later(sent, 5).map((row): Row => ({ ...row, guest: 1 }))]), []);
});
