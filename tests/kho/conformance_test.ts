import assert from "node:assert/strict";
import fc from "fast-check";
import { trackersAndPosted } from "../../sim/kho/mod.ts";
import { bytesOf, type Handover, KhoError, type Tracker, type TrackerPlugin } from "../../sim/kho/tracker.ts";
import { Operations } from "../../sim/memory/page_set.ts";
import { allocator, blocksOf, type Model, modelOf, type Piece, runsOf } from "./naive_set.ts";

const SLOW = Deno.env.get("HINTSIM_TIER") === "slow";
/** 10^4 operations for each tracker, 10^6 in the slow tier; long sequences, so that trees get several levels. */
const OPERATIONS = 2500;
const RUNS = SLOW ? 400 : 4;

/** Nothing in it can be preserved. */
const SCRATCH = { pfn: 1500, count: 64 };

interface Step {
  readonly kind: "folio" | "range" | "take back" | "take";
  /** Which window of pages, and where in it. */
  readonly window: number;
  readonly offset: number;
  readonly count: number;
  readonly order: number;
  /** Which of the earlier steps is taken back. */
  readonly earlier: number;
}

/** Windows of 4096 pages: at 0, where bitmaps of both sizes begin, beyond 2^32 pages, and the last ones there are. */
const WINDOWS = [0, 30_000, 2 ** 20 - 2048, 2 ** 33, 2 ** 40 - 4096];
const WINDOW_PAGES = 4096;

const step: fc.Arbitrary<Step> = fc.record({
  kind: fc.constantFrom("folio", "folio", "folio", "range", "take back", "take"),
  window: fc.nat(WINDOWS.length - 1),
  offset: fc.nat(WINDOW_PAGES - 1),
  count: fc.oneof({ weight: 4, arbitrary: fc.integer({ min: 1, max: 4 }) }, fc.integer({ min: 1, max: 900 })),
  order: fc.oneof({ weight: 6, arbitrary: fc.constant(0) }, fc.nat(10)),
  earlier: fc.nat(),
});

/** Whether a change is accepted; a refusal says which error of the kernel it is. */
function accepted(change: () => void): boolean {
  try {
    change();
    return true;
  } catch (error) {
    assert.ok(error instanceof KhoError, String(error));
    assert.match(error.code, /^(E[A-Z]+|WARN|silent|loop)$/);
    return false;
  }
}

/** The pieces of a walk, sorted as the model sorts them. */
function piecesOf(plugin: TrackerPlugin, handover: Handover): Piece[] {
  const pieces: Piece[] = [];
  plugin.walk(handover, (pfn, count, order) => void pieces.push([pfn, count, order]), new Operations());
  return pieces.sort((a, b) => a[0] - b[0] || a[2] - b[2]);
}

function checkAll(plugin: TrackerPlugin, tracker: Tracker, model: Model): void {
  assert.equal(tracker.count, model.count);
  assert.equal(tracker.bytes, bytesOf(tracker.explain()));
  assert.ok(tracker.explain().every(({ count, bytesEach }) => count >= 0 && bytesEach > 0));
  assert.deepEqual([...tracker.ranges()], runsOf(model.pages()));
  const handover = tracker.serialize(allocator(2 ** 37));
  assert.equal(handover.serializedBytes, bytesOf(handover.terms));
  assert.ok(handover.keptBytes >= handover.serializedBytes);
  assert.deepEqual(piecesOf(plugin, handover), model.pieces());
  for (const { pfn, bytes } of handover.pages) {
    assert.ok(bytes.length > 0 && bytes.length <= 4096);
    assert.ok(!model.contains(pfn), "the handover lies on a preserved page");
  }
}

/** One step on both; returns what it preserved. */
function apply(tracker: Tracker, model: Model, step: Step, done: readonly [pfn: number, count: number][]) {
  const base = WINDOWS[step.window];
  let pfn = base + step.offset;
  let count = Math.min(step.count, WINDOW_PAGES - step.offset);
  const isInScratch = () => pfn < SCRATCH.pfn + SCRATCH.count && SCRATCH.pfn < pfn + count;
  if (step.kind === "folio") {
    pfn -= pfn % 2 ** step.order;
    count = 2 ** step.order;
    const wanted = !isInScratch() && model.preserveFolio(pfn, step.order);
    assert.equal(accepted(() => tracker.preserveFolio(pfn, step.order)), wanted);
  } else if (step.kind === "range") {
    const wanted = !isInScratch() && model.preserve(pfn, count);
    assert.equal(accepted(() => tracker.preserve(pfn, count)), wanted);
  } else {
    if (step.kind === "take back" && done.length > 0) [pfn, count] = done[step.earlier % done.length];
    const wanted = model.unpreserve(pfn, count);
    assert.equal(accepted(() => tracker.unpreserve(pfn, count)), wanted);
  }
  for (const page of [pfn, pfn + count - 1, base + step.earlier % WINDOW_PAGES]) {
    assert.equal(tracker.contains(page), model.contains(page));
  }
  return [pfn, count] as [number, number];
}

// A radix tree as posted loses folios in its walk; trackers_test.ts has what it loses.
const SUBJECTS = trackersAndPosted.filter(({ name }) => name !== "radix-as-posted");

for (const plugin of SUBJECTS) {
  for (const allocRange of plugin.name === "maple-ranges" ? [false, true] : [false]) {
    const options = { scratch: [SCRATCH], allocRange };
    const name = plugin.name + (allocRange ? " with gaps tracked" : "");
    Deno.test(`${name}: behaves like a naive set, and what is serialised is what comes back`, () => {
      fc.assert(
        fc.property(fc.array(step, { minLength: OPERATIONS, maxLength: OPERATIONS, size: "max" }), (steps) => {
          const [tracker, model] = [
            plugin.create(allocator(), options),
            modelOf(plugin.remembers),
          ];
          const done: [number, number][] = [];
          for (const [index, one] of steps.entries()) {
            const { visits, writes, movedBytes } = tracker.operations;
            const range = apply(tracker, model, one, done);
            if (one.kind !== "take" && one.kind !== "take back") done.push(range);
            const { operations } = tracker;
            assert.ok(
              operations.visits >= visits && operations.writes >= writes && operations.movedBytes >= movedBytes,
            );
            assert.equal(tracker.count, model.count);
            if (index % 500 === 499) checkAll(plugin, tracker, model);
          }
          emptyAndRefill(plugin, tracker, model, plugin.create(allocator(), options));
        }),
        { seed: 6, numRuns: RUNS, endOnFailure: true },
      );
    });
  }
}

/** Takes everything back piece by piece, puts it in again, also into the next kernel's tracker, and compares the memory. */
function emptyAndRefill(plugin: TrackerPlugin, tracker: Tracker, model: Model, restored: Tracker): void {
  const pieces = model.pieces();
  const { bytes } = tracker;
  for (const [pfn, count] of pieces) tracker.unpreserve(pfn, count);
  assert.equal(tracker.count, 0);
  assert.deepEqual([...tracker.ranges()], []);
  assert.deepEqual(piecesOf(plugin, tracker.serialize(allocator(2 ** 37))), []);
  // Maple nodes and pages of extents are freed; bitmaps, tables and memblock's array are not.
  const isFreed = plugin.remembers === "orders";
  assert.equal(tracker.bytes, isFreed ? 0 : bytes);
  for (const one of [tracker, restored]) {
    for (const piece of pieces) preservePiece(one, piece);
    assert.deepEqual(piecesOf(plugin, one.serialize(allocator(2 ** 37))), pieces);
  }
  if (!isFreed) assert.equal(tracker.bytes, bytes);
  // Stored in the same order, the same pieces take the same memory.
  if (isFreed) assert.equal(tracker.bytes, restored.bytes);
}

/** What the next kernel does to hand a piece on to the one after it. */
function preservePiece(tracker: Tracker, [pfn, count, order]: Piece): void {
  if (order < 0) return tracker.preserve(pfn, count);
  for (let folio = pfn; folio < pfn + count; folio += 2 ** order) tracker.preserveFolio(folio, order);
}

for (const plugin of trackersAndPosted) {
  Deno.test(`${plugin.name}: refuses what the kernel refuses, and is as before`, () => {
    const tracker = plugin.create(allocator(), { scratch: [SCRATCH, { pfn: 8192, count: 4096 }] });
    tracker.preserve(512, 512);
    tracker.preserveFolio(64, 3);
    const refusals: [change: () => void, code: string, words: RegExp][] = [
      [() => tracker.preserveFolio(65, 1), "EINVAL", /page 65 starts no folio of order 1: it is not a multiple of 2/],
      [() => tracker.preserveFolio(0, 41), "EINVAL", /no order 41/],
      [() => tracker.preserveFolio(0, 0.5), "EINVAL", /no order 0.5/],
      [() => tracker.preserve(0.5, 1), "EINVAL", /not aligned to pages/],
      [() => tracker.preserve(7, 1.25), "EINVAL", /not aligned to pages/],
      [() => tracker.preserve(7, 0), "EINVAL", /at least 1/],
      [() => tracker.preserve(-1, 1), "EINVAL", /pages are 0 to/],
      [() => tracker.preserve(2 ** 40 - 1, 2), "EINVAL", /pages are 0 to/],
      [() => tracker.preserve(1490, 11), "EINVAL", /pages 1490 to 1500: they overlap scratch \(pages 1500 to 1563\)/],
      [() => tracker.preserveFolio(8704, 9), "EINVAL", /they overlap scratch \(pages 8192 to 12287\)/],
      [() => tracker.unpreserve(1024, 1), "", /cannot unpreserve page 1024: .*not preserved/],
      [() => tracker.unpreserve(2 ** 30, 4), "", /cannot unpreserve pages 1073741824 to 1073741827: .*not preserved/],
      [() => tracker.unpreserve(0.5, 1), "EINVAL", /not aligned to pages/],
    ];
    for (const [change, code, words] of refusals) {
      assert.throws(change, (error) => error instanceof KhoError && (code === "" || error.code === code));
      assert.throws(change, words);
    }
    assert.deepEqual([...tracker.ranges()], [{ pfn: 64, count: 8 }, { pfn: 512, count: 512 }]);
    assert.equal(tracker.count, 520);
    tracker.preserve(1489, 11); // up to the page before scratch
    tracker.preserve(1564, 4); // from the page after it
  });

  Deno.test(`${plugin.name}: what is preserved twice is preserved once`, () => {
    const tracker = plugin.create(allocator());
    tracker.preserveFolio(512, 9);
    const { bytes } = tracker;
    tracker.preserveFolio(512, 9);
    assert.equal(tracker.count, 512);
    assert.equal(tracker.bytes, bytes);
    tracker.unpreserve(512, 512);
    assert.equal(tracker.count, 0);
    assert.ok(!tracker.contains(512));
  });

  Deno.test(`${plugin.name}: nothing preserved is nothing to restore`, () => {
    const handover = plugin.create(allocator()).serialize(allocator(2 ** 37));
    assert.deepEqual(piecesOf(plugin, handover), []);
  });
}

Deno.test("a range is preserved as its aligned blocks", () => {
  // From page 3 on, 18 pages: 3 | 4..7 | 8..15 | 16..19 | 20.
  assert.deepEqual(blocksOf(3, 18), [[3, 0], [4, 2], [8, 3], [16, 2], [20, 0]]);
  for (const plugin of SUBJECTS.filter(({ remembers }) => remembers === "folios")) {
    const tracker = plugin.create(allocator());
    tracker.preserve(3, 18);
    const pieces = piecesOf(plugin, tracker.serialize(allocator(2 ** 37)));
    assert.deepEqual(pieces, [[3, 1, 0], [4, 4, 2], [8, 8, 3], [16, 4, 2], [20, 1, 0]]);
  }
});
