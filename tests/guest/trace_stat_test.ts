import assert from "node:assert/strict";
import fc from "fast-check";
import { InputError } from "../../sim/core/options.ts";
import { readRecording } from "../../sim/guest/recording.ts";
import { cutTrace } from "../../sim/guest/trace_cut.ts";
import { traceStat } from "../../sim/guest/trace_stat.ts";
import { unpack } from "../../sim/unpack.ts";

const HEADER = "dt_us,ev,pfn,order,mt,x\n";

function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

function stat(...rows: string[]) {
  return traceStat(readRecording(bytes(`${HEADER}${rows.join("\n")}\n`)));
}

function refusal(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    assert.ok(error instanceof InputError, `${error}`);
    return error.message;
  }
  return "accepted";
}

Deno.test("stat: each level on its own, lives of one order, what was in use before and after", () => {
  const { rows, durationUs, events, cpus, levels, snapshots, marks } = stat(
    "100,S,,,,s0",
    "10,A,5,0,1,dc0",
    "10,A,8,1,0,dc0",
    "5,Z,64,3,2,1",
    "5,F,5,0,,",
    "0,B,5,,,",
    "30,F,7,0,,",
    "20,D,7,0,1,",
    "20,M,,,,done",
  );
  assert.deepEqual([rows, durationUs, cpus], [9, 100, { 0: 9 }]);
  assert.deepEqual(events, { A: 2, F: 2, B: 1, D: 1, M: 1, S: 1, Z: 1 });
  assert.deepEqual([snapshots, marks], [[{ text: "s0", row: 2, timeUs: 0 }], [{ text: "done", row: 10, timeUs: 100 }]]);
  const [requests, lists] = levels;
  assert.deepEqual([requests.level, requests.allocations, requests.frees, requests.operationsPerSecond], [
    "requests",
    2,
    2,
    40_000,
  ]);
  assert.deepEqual(requests.orders, [{ order: 0, allocations: 1, frees: 2 }, { order: 1, allocations: 1, frees: 0 }]);
  assert.deepEqual(requests.migratetypes, [{ migratetype: 0, allocations: 1, pages: 2 }, {
    migratetype: 1,
    allocations: 1,
    pages: 1,
  }]);
  assert.deepEqual(requests.lifetimes, [
    { order: 0, count: 1, p50Us: 20, p90Us: 20, p99Us: 20, maxUs: 20, aliveAtStart: 1, aliveAtEnd: 0 },
    { order: 1, count: 0, p50Us: 0, p90Us: 0, p99Us: 0, maxUs: 0, aliveAtStart: 0, aliveAtEnd: 1 },
  ]);
  assert.deepEqual([lists.level, lists.allocations, lists.frees], ["free lists", 1, 1]);
  // Known to be in use: one page from before, which row 8 frees.
  assert.deepEqual(requests.live.map(({ pages }) => pages), [
    1,
    1,
    2,
    2,
    4,
    4,
    3,
    3,
    3,
    3,
    3,
    3,
    2,
    2,
    2,
    2,
    2,
    2,
    2,
    2,
    2,
  ]);
  assert.equal(requests.livePagesMax, 4);
});

Deno.test("stat: ranks of lifetimes, and blocks freed in other parts", () => {
  const rows = Array.from({ length: 200 }, (_, n) => [`1,Z,${n},0,1,1`]).flat();
  const frees = Array.from({ length: 200 }, (_, n) => `1,D,${199 - n},0,1,`);
  const [level] = stat(...rows, ...frees, "1,Z,512,2,1,", "1,D,512,0,1,").levels;
  // Lives are 1, 3, 5 … 399 us.
  assert.deepEqual(
    level.lifetimes.map(({ order, count, p50Us, p90Us, p99Us, maxUs }) => [order, count, p50Us, p90Us, p99Us, maxUs]),
    [
      [0, 200, 199, 359, 395, 399],
      [2, 1, 1, 1, 1, 1],
    ],
  );
  assert.equal(level.freedInParts, 1);
});

Deno.test("stat: a fallback of 6.12 is an allocation, one of 6.1 precedes it", () => {
  const old = stat("1,X,512,0,1,9/0/1", "1,Z,512,0,1,1", "1,D,512,0,1,");
  const now = stat("1,X,512,0,1,1/2/0", "1,X,513,0,1,0/2/0", "1,D,512,0,1,");
  assert.deepEqual([old, now].map(({ levels: [{ allocations, frees }] }) => [allocations, frees]), [[1, 1], [2, 1]]);
});

Deno.test("stat: an empty recording, and pages far away", () => {
  assert.deepEqual(stat("1,M,,,,a").levels, []);
  const empty = traceStat(readRecording(bytes(HEADER)));
  assert.deepEqual([empty.rows, empty.durationUs, empty.levels], [0, 0, []]);
  const [level] = stat("1,Z,68719476736,0,1,1", "9,D,68719476736,0,1,").levels;
  assert.equal(level.lifetimes[0].maxUs, 9);
});

Deno.test("stat: what b2-mixed holds", async () => {
  const file = new URL("../../workloads/recordings/b2-mixed.buddy.csv.gz", import.meta.url);
  const result = traceStat(readRecording(await unpack("b2", Deno.readFileSync(file))));
  assert.deepEqual(result.events, { Z: 50_254, D: 46_745, M: 12, S: 7 });
  assert.deepEqual(result.snapshots.map(({ text }) => text), ["s0", "s1", "s2", "s3", "s4", "s5", "s6"]);
  const [{ orders, lifetimes }] = result.levels;
  for (const [index, { order, allocations, frees }] of orders.entries()) {
    const { count, aliveAtStart, aliveAtEnd } = lifetimes[index];
    assert.deepEqual([allocations, frees], [count + aliveAtEnd, count + aliveAtStart], `order ${order}`);
  }
});

const ROWS = ["5,S,,,,s0", "7,M,,,,one, two", "9,Z,8,0,1,1", "2,M,,,,one, two", "3,S,,,,s1", "4,D,8,0,1,"];
const TRACE = bytes(`${HEADER}${ROWS.join("\n")}\n`);

function cut(from?: string, to?: string) {
  const part = cutTrace(TRACE, from, to);
  const text = part.pieces.map((piece) => new TextDecoder().decode(piece)).join("");
  assert.ok(text.startsWith(HEADER));
  readRecording(bytes(text));
  return { ...part, rows: text.slice(HEADER.length).trimEnd().split("\n") };
}

Deno.test("cut: by rows, snapshots and marks, both included, the first row at time 0", () => {
  const cases: [from: string | undefined, to: string | undefined, first: number, last: number, tags: string[]][] = [
    [undefined, undefined, 2, 7, ["s0", "s1"]],
    ["3", "5", 3, 5, []],
    ["s0", "s1", 2, 6, ["s0", "s1"]],
    ["one, two", "one, two", 3, 3, []],
    ["4", "one, two", 4, 5, []],
    ["s1", undefined, 6, 7, ["s1"]],
  ];
  for (const [from, to, first, last, tags] of cases) {
    const part = cut(from, to);
    assert.deepEqual([part.firstRow, part.lastRow, part.tags], [first, last, tags]);
    const wanted = ROWS.slice(first - 2, last - 1);
    assert.deepEqual(part.rows, [wanted[0].replace(/^\d+/, "0"), ...wanted.slice(1)]);
    assert.equal(part.startsAtSnapshot, wanted[0].includes(",S,"));
  }
});

Deno.test("cut: places that are none are refused", () => {
  assert.equal(refusal(() => cut("9")), "--from 9: the rows are 2 to 7");
  assert.equal(refusal(() => cut("1")), "--from 1: the rows are 2 to 7");
  assert.equal(refusal(() => cut("s2")), "--from s2: is no row, snapshot or mark; snapshots are s0, s1");
  assert.equal(refusal(() => cut("6", "3")), "--to 3: row 3 lies before row 6, where the part begins");
  assert.equal(refusal(() => cut("6", "one, two")), "--to one, two: is no row, snapshot or mark; snapshots are s0, s1");
  assert.equal(refusal(() => cutTrace(bytes(HEADER), undefined, undefined)), "has no rows");
});

Deno.test("cut: parts put together are the whole", () => {
  fc.assert(fc.property(fc.integer({ min: 2, max: 6 }), (at) => {
    const [head, tail] = [cut(undefined, String(at)), cut(String(at + 1))];
    const joined = [...head.rows, ...tail.rows];
    assert.deepEqual(joined.map((row) => row.replace(/^\d+/, "")), ROWS.map((row) => row.replace(/^\d+/, "")));
  }));
});
