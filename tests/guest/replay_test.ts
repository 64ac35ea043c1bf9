import assert from "node:assert/strict";
import { gunzipSync } from "node:zlib";
import { InputError } from "../../sim/core/options.ts";
import type { RecordedState } from "../../sim/guest/operations.ts";
import { kernel61 } from "../../sim/guest/kernel_6_1.ts";
import { readRecording } from "../../sim/guest/recording.ts";
import { isIdentical, type Verification, verifyRecording } from "../../sim/guest/replay/verification.ts";
import { readSnapshots, type Snapshots } from "../../sim/guest/snapshot.ts";

const FOLDER = new URL("../../workloads/recordings/", import.meta.url);
const bytes = gunzipSync(Deno.readFileSync(new URL("b2-mixed.buddy.csv.gz", FOLDER)));
const snapshots = readSnapshots(gunzipSync(Deno.readFileSync(new URL("b2-mixed.snaps.json.gz", FOLDER))));
/** Lines of the recording: the header is line 0, so that row n of a message is line n - 1. */
const lines = new TextDecoder().decode(bytes).split("\n");

function verify(recording: Uint8Array, all: Snapshots = snapshots): Verification {
  return verifyRecording(readRecording(recording), all, { level: "buddy", kernel: kernel61 });
}

/** The snapshots with another start. */
function startingWith(start: RecordedState): Snapshots {
  return new Map([...snapshots, ["s0", start]]);
}

/** Replays the recording with some lines changed; "refused" when it is no recording any more. */
function falsified(change: (lines: string[]) => void): Verification | "refused" {
  const changed = [...lines];
  change(changed);
  try {
    return verify(new TextEncoder().encode(changed.join("\n")));
  } catch (error) {
    assert.ok(error instanceof InputError, `${error}`);
    return "refused";
  }
}

/** Lines of an event. */
function rowsOf(event: string): number[] {
  return lines.flatMap((line, at) => line.split(",")[1] === event ? [at] : []);
}

function withCell(line: string, cell: number, value: number): string {
  const cells = line.split(",");
  cells[cell] = `${value}`;
  return cells.join(",");
}

function pfnAt(at: number): number {
  return Number(lines[at].split(",")[2]);
}

Deno.test("b2-mixed: every page the kernel picked and all its free lists, in order, at s0 to s6", () => {
  const result = verify(bytes);
  assert.equal(result.allocations, 50_254);
  assert.equal(result.frees, 46_745);
  assert.equal(result.wrongPfns, 0);
  assert.equal(result.first, undefined);
  assert.equal(result.identical, true);
  assert.deepEqual(result.snapshots.map(({ tag, operations }) => [tag, operations]), [
    ["s0", 0],
    ["s1", 63],
    ["s2", 61_174],
    ["s3", 61_332],
    ["s4", 62_151],
    ["s5", 73_806],
    ["s6", 96_999],
  ]);
  for (const comparison of result.snapshots) {
    const { identicalLists, lists, nrFreeDifference, pageblockDifference } = comparison;
    assert.deepEqual([identicalLists, lists, nrFreeDifference, pageblockDifference], [110, 110, 0, 0]);
    assert.ok(isIdentical(comparison));
  }
});

Deno.test("a recording with one page changed is refused or not identical, and the first difference is that row", () => {
  const allocations = rowsOf("Z");
  for (let i = 0; i < 12; i++) {
    const at = allocations[i * 4000 + 17];
    const result = falsified((changed) => changed[at] = withCell(changed[at], 2, pfnAt(at) ^ (1 << (i % 4 + 4))));
    if (result === "refused") continue;
    assert.equal(result.identical, false);
    assert.ok(result.wrongPfns > 0 && result.first !== undefined);
    assert.ok(result.first.row <= at + 1, `row ${result.first.row} instead of ${at + 1}`);
  }
});

Deno.test("another page in one of the last allocations is found, with both pages and the row", () => {
  const named = new Map(lines.map((line, at) => [line.split(",")[2], at]));
  // The last single page that is not freed any more, and one that is free in the end and in no row.
  const at = rowsOf("Z").findLast((each) => lines[each].split(",")[3] === "0" && named.get(`${pfnAt(each)}`) === each)!;
  const singles = snapshots.get("s6")!.free.filter(({ order }) => order === 0).flatMap(({ pfns }) => pfns);
  const other = singles.find((page) => !named.has(`${page}`))!;
  const result = falsified((changed) => changed[at] = withCell(changed[at], 2, other));
  assert.ok(result !== "refused");
  assert.deepEqual([result.wrongPfns, result.first], [1, { row: at + 1, expectedPfn: other, actualPfn: pfnAt(at) }]);
  assert.equal(result.identical, false);
});

Deno.test("a recording with a row left out or repeated is refused or not identical", () => {
  for (const event of ["Z", "D"]) {
    const rows = rowsOf(event);
    for (let i = 0; i < 5; i++) {
      const at = rows[i * 9000 + 33];
      const without = falsified((changed) => void changed.splice(at, 1));
      assert.ok(without === "refused" || !without.identical, `without line ${at}`);
      const twice = falsified((changed) => void changed.splice(at, 0, changed[at]));
      assert.ok(twice === "refused" || !twice.identical, `line ${at} twice`);
    }
  }
});

/**
 * Neighbouring rows that free two single pages which the kernel later handed out in the reverse order, one right after the
 * other. Where frees come in bulk the pages merge and their order leaves no trace; here it does.
 */
function reversedPairs(): number[] {
  const single = (at: number, event: string) => {
    const [, kind, pfn, order, type] = (lines[at] ?? "").split(",");
    return kind === event && order === "0" && type === "1" ? pfn : "";
  };
  const next = new Map<string, number>();
  const pairs: number[] = [];
  for (let at = lines.length - 2; at > 0; at--) {
    const [first, second] = [single(at, "D"), single(at + 1, "D")];
    const again = next.get(second) ?? 0;
    const reversed = single(again, "Z") === second && single(again + 1, "Z") === first;
    // Far apart, so that they cannot have merged with one another.
    if (first !== "" && second !== "" && reversed && Math.abs(Number(first) - Number(second)) > 1024) pairs.push(at);
    next.set(lines[at + 1].split(",")[2], at + 1);
  }
  return pairs;
}

Deno.test("a recording with two frees of the same list swapped is not identical", () => {
  const pairs = reversedPairs();
  assert.ok(pairs.length >= 8, `${pairs.length} pairs`);
  let seen = 0;
  for (let i = 0; i < 8; i++) {
    const at = pairs[Math.floor(i * pairs.length / 8)];
    const result = falsified((changed) => [changed[at], changed[at + 1]] = [changed[at + 1], changed[at]]);
    assert.ok(result !== "refused");
    if (!result.identical) seen++;
    assert.equal(result.identical, result.wrongPfns === 0);
  }
  // Not all: where one of the pages went to the tail the other way round is the same list.
  assert.ok(seen >= 5, `${seen} of 8 swaps were seen`);
});

Deno.test("a free to the list of another type is not identical", () => {
  const [at] = reversedPairs();
  const result = falsified((changed) => changed[at] = withCell(changed[at], 4, 0));
  assert.ok(result !== "refused" && !result.identical && result.wrongPfns > 0);
});

Deno.test("a start with two blocks of a list swapped, or one pageblock of another type, is not identical", () => {
  const start = snapshots.get("s0")!;
  const list = start.free.findIndex(({ pfns }) => pfns.length > 20);
  const swapped = start.free.map((one, index) => {
    if (index !== list) return one;
    const [first, second, ...rest] = one.pfns;
    return { ...one, pfns: [second, first, ...rest] };
  });
  const lists = verify(bytes, startingWith({ ...start, free: swapped }));
  assert.equal(lists.identical, false);
  assert.ok(lists.wrongPfns > 0 || lists.snapshots.some(({ identicalLists }) => identicalLists < 110));
  // Both snapshots say so, and the start is compared with itself.
  const types = verify(
    bytes,
    startingWith({ ...start, pageblockType: (block) => block === 100 ? 4 : start.pageblockType(block) }),
  );
  assert.equal(types.identical, false);
  assert.equal(types.snapshots[1].pageblockDifference, 1);
  assert.equal(types.snapshots[1].identicalLists, 110);
});

Deno.test("a snapshot that lacks the last block of a list is not identical in that list and in the count", () => {
  const start = snapshots.get("s0")!;
  const end = snapshots.get("s6")!;
  const free = end.free.map((one, index) => index === 0 ? { ...one, pfns: one.pfns.slice(0, -1) } : one);
  const result = verify(bytes, new Map([["s0", start], ["s6", { ...end, free }]]));
  const [, { identicalLists, nrFreeDifference }] = result.snapshots;
  assert.deepEqual([identicalLists, nrFreeDifference, result.wrongPfns, result.identical], [109, 1, 0, false]);
});

Deno.test("a replay that meets no snapshot, or one of another guest, is refused", () => {
  assert.throws(() => verify(bytes, new Map([["s9", snapshots.get("s1")!]])), { name: "InputError" });
  const other = { ...snapshots.get("s1")!, pages: 1000 };
  assert.throws(() => verify(bytes, new Map([["s0", snapshots.get("s0")!], ["s1", other]])), /has 1000 pages/);
});

Deno.test("a replay from a later snapshot is exact as well", () => {
  const later = new Map([...snapshots].filter(([tag]) => tag >= "s4"));
  const result = verify(bytes, later);
  assert.deepEqual(result.snapshots.map(({ tag }) => tag), ["s4", "s5", "s6"]);
  assert.deepEqual([result.wrongPfns, result.identical], [0, true]);
});
