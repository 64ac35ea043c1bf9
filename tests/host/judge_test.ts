import assert from "node:assert/strict";
import fc from "fast-check";
import { Judge, type Verdict } from "../../sim/host/judge.ts";

type Found = [Verdict, number, number];

function reclaim(judge: Judge, pfn: number, count: number): Found[] {
  const found: Found[] = [];
  judge.reclaim(pfn, count, (verdict, run, length) => void found.push([verdict, run, length]));
  return found;
}

// What a reclaim means for each content of a page, row by row (docs/decisions/what-is-judged.md).

Deno.test("reclaim of a page that is free: safe, whatever was written to it before", () => {
  const judge = new Judge(100);
  assert.deepEqual(reclaim(judge, 0, 100), []);
  judge.own(10, 10);
  judge.write(10, 10);
  judge.release(10, 10);
  assert.deepEqual(reclaim(judge, 0, 100), []);
  judge.own(10, 10); // a new owner, who has not written yet
  assert.deepEqual(reclaim(judge, 0, 100), [["near_miss", 10, 10]]);
});

Deno.test("reclaim of a page that is owned and not written in this ownership: a near miss, each time", () => {
  const judge = new Judge(100);
  judge.own(5, 3);
  assert.deepEqual(reclaim(judge, 0, 100), [["near_miss", 5, 3]]);
  assert.deepEqual(reclaim(judge, 6, 1), [["near_miss", 6, 1]]);
});

Deno.test("reclaim of a page that is owned and was written before: lost, and lost only once", () => {
  const judge = new Judge(100);
  judge.own(5, 3);
  judge.write(6, 1);
  assert.deepEqual(reclaim(judge, 0, 100), [["near_miss", 5, 1], ["violation", 6, 1], ["near_miss", 7, 1]]);
  assert.deepEqual(reclaim(judge, 0, 100), [["near_miss", 5, 3]]);
  judge.write(6, 2); // content again
  assert.deepEqual(reclaim(judge, 5, 2), [["near_miss", 5, 1], ["violation", 6, 1]]);
  assert.deepEqual(reclaim(judge, 5, 3), [["near_miss", 5, 2], ["violation", 7, 1]]);
});

Deno.test("a write after the act is safe: only what was written before it is lost", () => {
  const judge = new Judge(100);
  judge.own(0, 10);
  assert.deepEqual(reclaim(judge, 0, 10), [["near_miss", 0, 10]]);
  judge.write(0, 10);
  judge.release(0, 10);
  assert.deepEqual(reclaim(judge, 0, 10), []);
});

Deno.test("verdicts come as maximal runs inside the reclaimed range, ascending, over chunks of the bitmap", () => {
  const judge = new Judge(100_000);
  judge.own(1000, 90_000);
  judge.write(20_000, 30_000);
  judge.write(50_000, 1);
  judge.release(40_000, 10);
  assert.deepEqual(reclaim(judge, 500, 80_000), [
    ["near_miss", 1000, 19_000],
    ["violation", 20_000, 20_000],
    ["violation", 40_010, 9991],
    ["near_miss", 50_001, 80_500 - 50_001],
  ]);
  assert.equal(judge.ownedPages, 89_990);
});

Deno.test("the judge agrees with one state a page: free, owned or written", () => {
  const PAGES = 60;
  const action = fc.record({
    kind: fc.constantFrom("own" as const, "write" as const, "release" as const, "reclaim" as const),
    pfn: fc.nat(PAGES - 1),
    count: fc.integer({ min: 1, max: 25 }),
  });
  fc.assert(fc.property(fc.array(action, { maxLength: 60, size: "max" }), (actions) => {
    const judge = new Judge(PAGES);
    const pages: ("free" | "owned" | "written")[] = new Array(PAGES).fill("free");
    for (const { kind, pfn, count } of actions) {
      const end = Math.min(PAGES, pfn + count);
      const all = pages.slice(pfn, end);
      // As in a guest: nobody gets what has an owner, and only owners write.
      if (kind === "own" && all.some((state) => state !== "free")) continue;
      if (kind === "write" && all.some((state) => state === "free")) continue;
      if (kind === "reclaim") {
        const wanted: Found[] = [];
        for (let page = pfn; page < end; page++) {
          if (pages[page] === "free") continue;
          const verdict = pages[page] === "written" ? "violation" : "near_miss";
          const last = wanted.at(-1);
          if (last !== undefined && last[0] === verdict && last[1] + last[2] === page) last[2]++;
          else wanted.push([verdict, page, 1]);
          pages[page] = "owned";
        }
        assert.deepEqual(reclaim(judge, pfn, end - pfn), wanted);
        continue;
      }
      judge[kind](pfn, end - pfn);
      pages.fill(kind === "own" ? "owned" : kind === "write" ? "written" : "free", pfn, end);
    }
    assert.equal(judge.ownedPages, pages.filter((state) => state !== "free").length);
  }));
});
