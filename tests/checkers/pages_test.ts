import assert from "node:assert/strict";
import { ConservationChecker, PlaceChecker } from "../../sim/core/checkers/pages.ts";
import { changed, feed, GOOD, GUEST_PAGES, type Row } from "./rows.ts";

function problemsOf(rows: readonly Row[]): { places: readonly string[]; conservation: readonly string[] } {
  const places = new PlaceChecker(GUEST_PAGES);
  const conservation = new ConservationChecker(GUEST_PAGES);
  feed([places, conservation], rows);
  return { places: places.problems, conservation: conservation.problems };
}

/** A guest of 16 free pages, then these rows. */
function withFree(...rows: Row[]): Row[] {
  return [{ event: "present", pfn: 0, pages: 16 }, ...rows];
}

Deno.test("places and conservation: a good trace", () => {
  assert.deepEqual(problemsOf(GOOD), { places: [], conservation: [] });
});

Deno.test("places: a page is allocated twice, also in part", () => {
  const alloc: Row = { event: "alloc", pfn: 4, pages: 4, order: 2 };
  assert.deepEqual(problemsOf(withFree(alloc, { ...alloc, pfn: 0, pages: 8, order: 3 })).places, [
    "Row 3 at 0 ns: alloc of pages 4 to 7 of guest 0, used and not free.",
  ]);
});

Deno.test("places: a block is freed twice, or never allocated", () => {
  const rows = changed("free", (row) => [row, row]);
  assert.deepEqual(problemsOf(rows).places, [
    "Row 9 at 200 ns: free of pages 512 to 515 of guest 0, free and not used.",
  ]);
});

Deno.test("places: every wrong way is found", () => {
  const block = { pfn: 8, pages: 8, order: 3 };
  const wrong: [Row["event"], Row["event"], string][] = [
    ["isolate", "alloc", "isolated and not free"],
    ["isolate", "free", "isolated and not used"],
    ["isolate", "release", "isolated and not held"],
    ["hold", "alloc", "held and not free"],
    ["hold", "isolate", "held and not free"],
    ["hold", "putBack", "held and not isolated"],
    ["alloc", "hold", "used and not free"],
    ["alloc", "present", "used and not absent"],
    ["isolate", "isolate", "isolated and not free"],
  ];
  for (const [first, second, state] of wrong) {
    const { places } = problemsOf(withFree({ event: first, ...block }, { event: second, ...block }));
    assert.equal(places.length, 1, `${first}, ${second}`);
    assert.ok(places[0].endsWith(` of pages 8 to 15 of guest 0, ${state}.`), places[0]);
  }
});

Deno.test("places: pages that are not present", () => {
  const { places, conservation } = problemsOf(withFree({ event: "alloc", pfn: 16, pages: 16, order: 4 }));
  assert.deepEqual(places, ["Row 2 at 0 ns: alloc of pages 16 to 31 of guest 0, absent and not free."]);
  assert.deepEqual(conservation, []); // 16 pages are free, elsewhere: only the addresses tell
});

Deno.test("places: a row with an order is one aligned block", () => {
  const wrong: Row[] = [
    { event: "alloc", pfn: 0, pages: 3, order: 2 },
    { event: "isolate", pfn: 6, pages: 4, order: 2 },
  ];
  assert.deepEqual(problemsOf(withFree(...wrong)).places, [
    "Row 2 at 0 ns: alloc of pages 0 to 2, which are no aligned block of order 2.",
    "Row 3 at 0 ns: isolate of pages 6 to 9, which are no aligned block of order 2.",
  ]);
});

Deno.test("places: after a problem the checker believes the row", () => {
  const block = { pfn: 8, pages: 8, order: 3 };
  const rows = withFree({ event: "hold", ...block }, { event: "alloc", ...block }, { event: "free", ...block });
  assert.equal(problemsOf(rows).places.length, 1);
});

Deno.test("conservation: more leave a place than are there", () => {
  const rows = withFree(
    { event: "alloc", pfn: 0, pages: 8, order: 3 },
    { event: "isolate", pfn: 0, pages: 16, order: 4 },
    { event: "free", pfn: 0, pages: 16, order: 4 },
    { event: "release", timeNs: 5, pfn: 0, pages: 1, order: 0 },
    { event: "present", timeNs: 6, pfn: 0, pages: 2048 },
  );
  assert.deepEqual(problemsOf(rows).conservation, [
    "Row 3 at 0 ns: isolate of 16 pages of guest 0, when 8 are free.",
    "Row 4 at 0 ns: free of 16 pages of guest 0, when 8 are used.",
    "Row 5 at 5 ns: release of 1 pages of guest 0, when 0 are held.",
    "Row 6 at 6 ns: present of 2048 pages of guest 0, when 2032 are absent.",
  ]);
});
