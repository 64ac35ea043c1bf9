import assert from "node:assert/strict";
import { gunzipSync } from "node:zlib";
import fc from "fast-check";
import { load, simulate } from "../../mod.ts";
import { InputError } from "../../sim/core/options.ts";
import { zonesOfState } from "../../sim/guest/layout.ts";
import { Op, type RecordedState } from "../../sim/guest/operations.ts";
import { listOrder } from "../../sim/guest/pcp.ts";
import { type RecordedOperations, recordedOperations } from "../../sim/guest/recorded_ops.ts";
import { readRecording } from "../../sim/guest/recording.ts";
import { readSnapshots } from "../../sim/guest/snapshot.ts";
import { withoutKept } from "../../sim/guest/start_kept.ts";
import { ORDER_PAGES } from "../../sim/memory/range.ts";

const HEADER = "dt_us,ev,pfn,order,mt,x";

/** Pages kept of the lists of a CPU: page 600 (unmovable, order 0) and the block of 8 pages at 608 (movable). */
const LISTS = [[600], [], [], [], [], [], [], [], [], [], [608], [], [], []];

/** A zone of 1024 pages; free are 512 to 575 and page 601, the buddy of the page that a CPU keeps. */
const SNAPSHOT = {
  npages: 1024,
  zones: [{ name: "DMA", wm: [1, 2, 3], start: 0, managed: 1000, spanned: 1024, present: 1024 }],
  free: [[0, 6, 1, [512]], [0, 0, 1, [601]]],
  reported: [512],
  pageblock_mt: "11",
  pcp: [[0, 0, { high: 100, batch: 10, lists: LISTS }]],
};

function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

function stateOf(snapshot: unknown = SNAPSHOT): RecordedState {
  return readSnapshots(bytes(JSON.stringify({ s0: snapshot }))).get("s0")!;
}

function operations(lines: readonly string[], perCpu = true): RecordedOperations {
  return recordedOperations(
    readRecording(bytes([HEADER, "1,S,,,,s0", ...lines, ""].join("\n"))),
    stateOf(),
    "s0",
    perCpu,
  );
}

/** The state without what its CPUs kept, and without rows. */
function drained(state: RecordedState): RecordedState {
  return withoutKept(state, readRecording(bytes(`${HEADER}\n`)), 0);
}

function table({ columns, count }: RecordedOperations): string[] {
  return Array.from({ length: count }, (_, at) => {
    const { kind, handle, order, pfn, timeNs, migratetype } = columns;
    const what = kind[at] === Op.alloc ? `alloc of type ${migratetype[at]}` : "free";
    return `${timeNs[at] / 1000} us: ${what} ${handle[at]}: ${pfn[at]}/${order[at]}`;
  });
}

function refusal(lines: readonly string[]): string {
  try {
    operations(lines);
  } catch (error) {
    assert.ok(error instanceof InputError, `${error}`);
    return `${error.path.join(" ")}: ${error.message}`;
  }
  return "accepted";
}

/** A refill and a request, a free and its drain. */
const BOTH = ["2,Z,512,0,1,1", "0,A,512,0,1,1", "3,F,512,0,,", "4,D,512,0,1,"];

Deno.test("with per-CPU lists the requests of tasks are the operations, without them what reached the zones", () => {
  const requests = operations(BOTH);
  assert.deepEqual(table(requests), ["2 us: alloc of type 1 0: 512/0", "5 us: free 0: 512/0"]);
  assert.equal(requests.requests, true);
  const zone = operations(BOTH, false);
  assert.deepEqual(table(zone), ["2 us: alloc of type 1 0: 512/0", "9 us: free 0: 512/0"]);
  assert.equal(zone.requests, false);
});

Deno.test("a recording without requests replays what reached the zones, one without that the requests", () => {
  assert.equal(operations(["2,Z,512,0,1,1", "4,D,512,0,1,"]).requests, false);
  assert.equal(operations(["2,A,512,0,1,1", "3,F,512,0,,"], false).requests, true);
});

Deno.test("a page that is freed with others goes back at its B row", () => {
  const rows = [
    "2,A,512,0,1,1",
    "1,F,512,0,,",
    "1,F,700,0,,",
    "5,B,512,,,",
    "1,B,700,,,",
    "1,A,512,0,0,1",
    "1,B,701,,,",
  ];
  assert.deepEqual(table(operations(rows)), [
    "2 us: alloc of type 1 0: 512/0",
    "9 us: free 0: 512/0",
    "10 us: free 1: 700/0",
    "11 us: alloc of type 0 1: 512/0",
    // Its F lies before the first row.
    "12 us: free 2: 701/0",
  ]);
});

Deno.test("a bulk allocation names no page: what is freed and was never asked for is one of its pages", () => {
  const rows = ["2,K,,,,2", "3,F,513,0,,", "1,A,514,1,2,1", "1,F,514,0,,", "1,F,515,0,,", "1,F,600,0,,"];
  assert.deepEqual(table(operations(rows)), [
    "2 us: alloc of type 0 0: -1/0",
    "2 us: alloc of type 0 1: -1/0",
    "5 us: free 0: 513/0",
    "6 us: alloc of type 2 0: 514/0",
    "6 us: alloc of type 2 2: 515/0",
    "7 us: free 0: 514/0",
    "8 us: free 2: 515/0",
    "9 us: free 1: 600/0",
  ]);
});

Deno.test("what compaction takes is an operation too, a captured block only where it is asked for", () => {
  const rows = ["2,C,0,9,1,7", "1,I,512,2,,", "1,F,513,0,,", "1,D,513,0,1,captured", "1,A,520,3,1,1", "1,c,,,,7/8"];
  assert.deepEqual(table(operations(rows)), [
    "3 us: alloc of type 1 0: 512/0",
    "3 us: alloc of type 1 1: 513/0",
    "3 us: alloc of type 1 2: 514/1",
    "4 us: free 1: 513/0",
    "6 us: alloc of type 1 1: 520/3",
  ]);
});

Deno.test("requests that cannot have been are refused with their row; one that failed takes nothing", () => {
  assert.equal(refusal(["1,A,,0,1,1", "1,F,700,0,,"]), "accepted");
  assert.equal(refusal(["1,A,700,0,1,1", "1,F,700,0,,"]), "row 3: allocates page 700, which is in use");
  assert.equal(refusal(["1,A,512,0,1,1", "1,F,513,0,,"]), "row 4: frees page 513, which is not allocated");
  assert.equal(refusal(["1,K,,,,1", "1,A,512,0,1,1", "1,F,514,1,,"]), "row 5: frees page 514, which is not allocated");
  assert.equal(
    refusal(["1,K,,,,x", "1,A,512,0,1,1", "1,F,512,0,,"]),
    "row 3: a bulk allocation needs its number of pages",
  );
  assert.equal(refusal(["1,A,512,0,1,1", "1,F,512,,,"]), "row 4: a free needs its page and its order");
  assert.equal(refusal(["1,A,512,,1,1", "1,F,700,0,,"]), "row 3: column order is empty");
  assert.equal(refusal(["1,A,4096,0,1,1", "1,F,700,0,,"]), "row 3: page 4096 lies outside of every zone");
});

Deno.test("what CPUs kept at the start is free there, merged with its buddies; pages are in use or free, never lost", () => {
  const state = drained(stateOf());
  assert.deepEqual(state.perCpu, []);
  assert.deepEqual(state.free.map(({ order, migratetype, pfns }) => [order, migratetype, pfns]), [
    [1, 1, [600]],
    [3, 1, [608]],
    [6, 1, [512]],
  ]);
  assert.deepEqual([state.reported, state.pageblockType(1)], [[512], 1]);
  assert.equal(refusal(["1,A,600,0,0,1", "1,A,608,3,1,1", "1,F,608,3,,", "1,F,600,0,,"]), "accepted");
  // Where the zones are driven the same pages are in use until a row drains them.
  assert.throws(() => operations(["1,Z,600,0,0,1"], false), /allocates page 600, which is in use/);
  const twice = { ...SNAPSHOT, free: [[0, 6, 1, [512]], [0, 0, 1, [600]]] };
  assert.throws(() => drained(stateOf(twice)), /hold page 600, which is free, or on a list already/);
});

Deno.test("where the snapshot does not say what CPUs kept, the rows do: it is asked for or drained before it is freed", () => {
  const { pcp: _, ...unknown } = SNAPSHOT;
  const lines = ["1,A,700,0,1,1", "1,D,704,2,1,", "1,F,708,0,,", "1,A,708,0,1,1", "1,Z,512,3,1,", "1,A,520,0,1,1"];
  const recording = readRecording(bytes([HEADER, "1,S,,,,s0", ...lines, ""].join("\n")));
  const state = withoutKept(stateOf(unknown), recording, 0);
  assert.deepEqual(state.free.map(({ order, pfns }) => [order, pfns]), [[0, [700, 601]], [2, [704]], [6, [512]]]);
  const { columns, count, start } = recordedOperations(recording, stateOf(unknown), "s0", true);
  assert.equal(count, 4);
  assert.deepEqual([start.count, start.pfn(0)], [1, 708]);
  assert.deepEqual([...columns.pfn.subarray(0, 4)], [700, 708, 708, 520]);
  // Nobody can be asked for what is in use already.
  assert.throws(() => {
    const twice = readRecording(
      bytes([HEADER, "1,S,,,,s0", "1,A,700,0,1,1", "1,A,700,0,1,1", "1,F,700,0,,", ""].join("\n")),
    );
    recordedOperations(twice, stateOf(unknown), "s0", true);
  }, /allocates page 700, which is in use/);
});

Deno.test("whatever blocks CPUs keep, draining them keeps every page and leaves lists that fit", () => {
  const block = fc.record({ list: fc.nat(11), at: fc.nat(63) });
  fc.assert(
    fc.property(
      fc.uniqueArray(block, { selector: ({ at }) => at }),
      fc.constantFrom("6.1", "6.12"),
      (blocks, kernel) => {
        const lists = Array.from({ length: 14 }, () => [] as number[]);
        let kept = 0;
        for (const { list, at } of blocks) {
          lists[list].push(512 + 8 * at);
          kept += ORDER_PAGES[listOrder(list)];
        }
        const state = stateOf({
          ...SNAPSHOT,
          kernel,
          free: [],
          reported: [],
          pcp: [[0, 0, { high: 100, batch: 10, lists }]],
        });
        const [zone] = zonesOfState(drained(state));
        assert.equal(zone.allocator.freePages, kept);
      },
    ),
  );
});

const RECORDINGS = new URL("../recordings/", import.meta.url);
const SHIPPED = new URL("../../workloads/recordings/", import.meta.url);

/** What the kernel had free at its last snapshot, and what its CPUs kept. */
function lastOf(snapshots: URL): { freePages: number; keptPages: number } {
  const state = [...readSnapshots(gunzipSync(Deno.readFileSync(snapshots))).values()].at(-1)!;
  const pagesOf = (blocks: readonly number[], order: number) => blocks.length * ORDER_PAGES[order];
  const free = state.free.map(({ order, pfns }) => pagesOf(pfns, order));
  const kept = state.perCpu.flatMap(({ lists }) => lists.map((pfns, list) => pagesOf(pfns, listOrder(list))));
  const sum = (pages: readonly number[]) => pages.reduce((all, more) => all + more, 0);
  return { freePages: sum(free), keptPages: sum(kept) };
}

/** `inFlight`: the recording ends within a bulk allocation, whose pages are nowhere at the snapshot. */
const ENDS = [
  { name: "b2-mixed", folder: SHIPPED, vcpus: 1, kernel: "6.1", inFlight: 0, apartPages: 0 },
  { name: "b4-2vcpu", folder: RECORDINGS, vcpus: 2, kernel: "6.1", inFlight: 4, apartPages: 1024 },
  { name: "b2-612-mixed", folder: RECORDINGS, vcpus: 1, kernel: "6.12", inFlight: 0, apartPages: 1024 },
];

for (const { name, folder, vcpus, kernel, inFlight, apartPages } of ENDS) {
  Deno.test(`${name}: requests through the per-CPU lists of the guest end with what the kernel had free and kept`, async () => {
    const snapshots = new URL(`${name}.snaps.json.gz`, folder);
    const files = new Map([["events.csv.gz", new URL(`${name}.events.csv.gz`, RECORDINGS)], [
      "snaps.json.gz",
      snapshots,
    ]]);
    const scenario = {
      hintsim: 1,
      machine: { perCpu: true, vcpus, kernel },
      workload: { kind: "page-trace", file: "events.csv.gz", snapshots: "snaps.json.gz" },
    };
    const loaded = await load(scenario, { read: (file) => Deno.readFileSync(files.get(file)!) });
    const [run] = simulate(loaded, { check: true });
    assert.deepEqual(run.problems, []);
    assert.equal(run.summary.alloc_fails, 0);
    const { freePages, keptPages } = lastOf(snapshots);
    const free = run.samples.free_bytes.at(-1)! / 4096;
    const kept = run.samples.pcp_bytes.at(-1)! / 4096;
    assert.equal(free + kept, freePages + keptPages + inFlight);
    assert.ok(Math.abs(free - freePages) <= apartPages, `${free} pages are free, in the kernel ${freePages}`);
  });
}
