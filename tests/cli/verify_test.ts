/** The command `trace verify`: what it prints, its exit status, and one sentence for whatever is not a recording. */
import assert from "node:assert/strict";
import { gunzipSync, gzipSync } from "node:zlib";
import { CliFolder, type CliResult, REPOSITORY } from "./run_cli.ts";

const B2 = `${REPOSITORY}/workloads/recordings/b2-mixed.buddy.csv.gz`;
const B2_SNAPSHOTS = `${REPOSITORY}/workloads/recordings/b2-mixed.snaps.json.gz`;
const B2_612 = `${REPOSITORY}/tests/recordings/b2-612-mixed.buddy.csv.gz`;
const EVENTS = `${REPOSITORY}/tests/recordings/b2-mixed.events.csv.gz`;
const B3 = `${REPOSITORY}/workloads/recordings/b3-fallback.buddy.csv.gz`;
const G4_612 = `${REPOSITORY}/tests/recordings/g4-612-fallback.buddy.csv.gz`;
const C2 = `${REPOSITORY}/tests/recordings/c2-reporting.buddy.csv.gz`;

const HEADER = "dt_us,ev,pfn,order,mt,x";

/** Per-CPU lists with one movable page, 300. */
const PER_CPU = {
  high: 100,
  batch: 1,
  free_factor: 0,
  lists: Array.from({ length: 14 }, (_, list) => list === 1 ? [300] : []),
};

/** A guest of 1024 pages, of which 512 on are free and 300 is on a per-CPU list. */
const SNAPSHOT = {
  npages: 1024,
  zones: [{ name: "DMA", wm: [1, 2, 3], start: 0, managed: 1000, spanned: 1024, present: 1024 }],
  free: [[0, 9, 1, [512]]],
  reported: [],
  pageblock_mt: "11",
  pcp: [[0, 0, PER_CPU]],
};

/** Snapshots in which other figures stand. */
function snapshots(change: object = {}): string {
  return JSON.stringify({ s0: { ...SNAPSHOT, ...change } });
}

function perCpu(change: object): string {
  return snapshots({ pcp: [[0, 0, { ...PER_CPU, ...change }]] });
}

/** Per-CPU lists, of which one holds these pages. */
function holding(list: number, pfns: number[]): string {
  return perCpu({ lists: Array.from({ length: 14 }, (_, n) => n === list ? pfns : []) });
}

/** Runs `trace verify` on a recording of these rows, beside these snapshots. */
async function verify(rows: readonly string[], state: string, ...options: string[]): Promise<CliResult> {
  using folder = new CliFolder();
  folder.write("x.csv", [HEADER, "1,S,,,,s0", ...rows, ""].join("\n"));
  folder.write("x.snaps.json", state);
  return await folder.run(["trace", "verify", "x.csv", ...options], folder.path);
}

/** One sentence on standard error, nothing else, and status 2. */
function assertRefused({ status, out, err }: CliResult, sentence: RegExp | string): void {
  assert.deepEqual([status, out], [2, ""], err);
  assert.match(err, /^[^\n]+\n$/);
  assert.doesNotMatch(err, /\bat .*\.ts:|Error:/);
  if (typeof sentence === "string") assert.equal(err.trimEnd(), sentence);
  else assert.match(err.trimEnd(), sentence);
}

/** Identical, different or refused. */
async function statusOf(...args: string[]): Promise<number> {
  using folder = new CliFolder();
  const { status, err } = await folder.run(["trace", "verify", ...args]);
  assert.equal(err === "", status !== 2, err);
  return status;
}

Deno.test("the three levels are identical, with status 0, and say so", async () => {
  using folder = new CliFolder();
  const buddy = await folder.run(["trace", "verify", B2]);
  assert.deepEqual([buddy.status, buddy.err], [0, ""]);
  assert.match(buddy.out, /^s6 +96999 +110\/110 +0 +0 +identical$/m);
  assert.match(buddy.out, /^0 of 50254 allocations got another page \(46745 frees\)$/m);
  const pcp = await folder.run(["trace", "verify", EVENTS, "--snapshots", B2_SNAPSHOTS, "--level", "pcp"]);
  assert.deepEqual([pcp.status, pcp.err], [0, ""]);
  assert.match(pcp.out, /^snapshot .* per-CPU off/m);
  assert.match(pcp.out, /^0 of 264674 allocations/m);
  const reporting = await folder.run(["trace", "verify", C2, "--level", "reporting", "--json"]);
  assert.equal(reporting.status, 0, reporting.err);
  const result = JSON.parse(reporting.out);
  assert.deepEqual([result.level, result.kernel, result.identical], ["reporting", "6.1", true]);
  assert.deepEqual(result.reporting, { isolates: 317, reports: 12, putBacks: 317 });
});

Deno.test("the kernel is what the snapshots say, or as told", async () => {
  assert.equal(await statusOf(B2_612), 0);
  assert.equal(await statusOf(B2_612, "--kernel", "6.12"), 0);
  assert.equal(await statusOf(B2, "--kernel", "6.1"), 0);
});

Deno.test("the other kernel does something else, which is found and no crash", async () => {
  assert.equal(await statusOf(B3, "--kernel", "6.12"), 1);
  assert.equal(await statusOf(G4_612, "--kernel", "6.1"), 1);
  assert.equal(await statusOf(EVENTS, "--snapshots", B2_SNAPSHOTS, "--level", "pcp", "--kernel", "6.12"), 1);
});

Deno.test("a recording of every row is replayed at level buddy as well", async () => {
  assert.equal(await statusOf(EVENTS, "--snapshots", B2_SNAPSHOTS), 0);
});

Deno.test("a recording without the rows of a level is refused, not found different", async () => {
  using folder = new CliFolder();
  assertRefused(
    await folder.run(["trace", "verify", B2, "--level", "pcp"]),
    `${B2}: there are no rows A and F; level pcp needs a recording of kind events`,
  );
  assertRefused(
    await folder.run(["trace", "verify", B2, "--level", "reporting"]),
    `${B2}: there are no rows W; level reporting needs a recording of free page reporting`,
  );
});

Deno.test("a file of several gzip members is read as one", async () => {
  using folder = new CliFolder();
  const bytes = gunzipSync(Deno.readFileSync(B2));
  const parts = [0, 100_000, 1_000_000].map((from, n, all) => gzipSync(bytes.subarray(from, all[n + 1])));
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const members = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    members.set(part, at);
    at += part.length;
  }
  folder.write("b2.csv.gz", members);
  const whole = await folder.run(["trace", "verify", "b2.csv.gz", "--snapshots", B2_SNAPSHOTS], folder.path);
  assert.equal(whole.status, 0, whole.err);
  assert.match(whole.out, /^0 of 50254 allocations/m);
  // A member that is cut, and bytes that are none.
  for (const [name, end] of [["cut", members.length - 5], ["cut-head", length - parts[2].length + 5]] as const) {
    folder.write(`${name}.csv.gz`, members.subarray(0, end));
    const cut = await folder.run(["trace", "verify", `${name}.csv.gz`, "--snapshots", B2_SNAPSHOTS], folder.path);
    assertRefused(cut, new RegExp(`^${name}\\.csv\\.gz: the gzip stream is damaged or cut after \\d+ bytes of data$`));
  }
  const junk = new Uint8Array(length + 4).fill(65);
  junk.set(members);
  folder.write("junk.csv.gz", junk);
  const after = await folder.run(["trace", "verify", "junk.csv.gz", "--snapshots", B2_SNAPSHOTS], folder.path);
  assertRefused(after, /^junk\.csv\.gz: the gzip stream is damaged or cut after/);
});

Deno.test("files that are none are refused by their names", async () => {
  using folder = new CliFolder();
  folder.write("good.csv", `${HEADER}\n1,S,,,,s0\n`);
  folder.write("good.snaps.json", snapshots());
  folder.write("alone.csv", `${HEADER}\n1,S,,,,s0\n`);
  folder.write("crlf.csv", `${HEADER}\r\n1,S,,,,s0\r\n`);
  folder.write("cut.csv", `${HEADER}\n1,S,,,,s0\n2,Z,512`);
  folder.write("empty.csv", "");
  folder.write("broken.snaps.json", "{");
  folder.write("short.csv.gz", gzipSync(`${HEADER}\n1,S,,,,s0\n`).subarray(0, 25));
  const own = ["--snapshots", "good.snaps.json"];
  const cases: [args: string[], sentence: RegExp | string][] = [
    [["none.csv", ...own], "none.csv: there is no such file"],
    [["alone.csv"], "alone.csv: no snapshots lie beside it; name them with --snapshots FILE"],
    [["crlf.csv", ...own], /^crlf\.csv:1: ".*\\r" is not the header of a recording; wanted is dt_us,ev,/],
    [["cut.csv", ...own], "cut.csv:3: the file ends in the middle of a row"],
    [["empty.csv", ...own], /^empty\.csv:1: "" is not the header of a recording/],
    [["short.csv.gz", ...own], /^short\.csv\.gz: the gzip stream is damaged or cut after \d+ bytes of data$/],
    [["good.csv", "--snapshots", "none.json"], "none.json: there is no such file"],
    [["good.csv", "--snapshots", "broken.snaps.json"], /^broken\.snaps\.json: not JSON: /],
    [["good.csv", "--snapshots", "good.csv"], /^good\.csv: not JSON: /],
    [["good.csv", "--level", "zone"], /^--level zone: is not a level; wanted is buddy, pcp, reporting$/],
    [["good.csv", "--kernel", "5.4"], /^--kernel 5\.4: is not modelled; wanted is 6\.1, 6\.12$/],
  ];
  for (const [args, sentence] of cases) {
    assertRefused(await folder.run(["trace", "verify", ...args], folder.path), sentence);
  }
});

/** Rows after the snapshot, which is row 2: options, rows, and the sentence after the name of the file. */
const ROWS: readonly (readonly [what: string, options: string[], rows: string[], sentence: string])[] = [
  ["a free of a free page", [], ["1,D,600,0,1,"], "3: frees page 600, which is not allocated"],
  ["a second free", [], ["1,D,8,0,1,", "1,D,8,0,1,"], "4: frees page 8, which is not allocated"],
  ["a free over a free page", [], ["1,D,8,0,1,", "1,D,8,1,1,"], "4: frees page 8, which is not allocated"],
  ["a second allocation", [], ["1,Z,512,0,1,1", "1,Z,512,0,1,1"], "4: allocates page 512, which is in use"],
  ["overlapping allocations", [], ["1,Z,512,3,1,1", "1,Z,516,2,1,1"], "4: allocates page 516, which is in use"],
  ["a page beyond the zones", [], ["1,Z,1024,0,1,1"], "3: page 1024 lies outside of every zone"],
  ["a far page", [], ["1,D,68719476736,0,1,"], "3: page 68719476736 lies outside of every zone"],
  ["a misaligned block", [], ["1,D,9,3,1,"], "3: page 9 is not aligned to order 3"],
  [
    "an unknown event",
    [],
    ["1,Q,1,0,1,"],
    '3: "Q" is not an event of a recording; known are AFBZDOPXKIUiRWwSMTHCcGVYzp',
  ],
  [
    "a fallback without text",
    [],
    ["1,X,512,0,0,"],
    "3: a fallback needs order, type and change of ownership, like 9/1/1",
  ],
  [
    "a fallback of order 11",
    [],
    ["1,X,512,0,0,11/1/1"],
    "3: a fallback needs order, type and change of ownership, like 9/1/1",
  ],
  ["a fallback without page", [], ["1,X,,0,0,9/1/1"], "3: column pfn is empty"],
  ["a fallback without type", [], ["1,X,512,0,,9/1/1"], "3: column mt is empty"],
  ["an isolate without page", [], ["1,I,,9,,"], "3: column pfn is empty"],
  ["an isolate without order", [], ["1,I,512,,,"], "3: column order is empty"],
  ["a put back of a free block", [], ["1,U,512,9,1,"], "3: frees page 512, which is not allocated"],
  ["a put back without type", [], ["1,I,512,9,,", "1,U,512,9,,"], "4: column mt is empty"],
  ["a turn without direction", [], ["1,T,512,9,1,"], "3: a turned list needs the word head or tail"],
  ["a turn of no page", [], ["1,T,,9,1,head"], "3: column pfn is empty"],
  ["a retyped pageblock of no type", [], ["1,H,512,,,"], "3: column mt is empty"],
  ["a retyped pageblock outside", [], ["1,H,2048,,1,"], "3: page 2048 lies outside of every zone"],
  ["a capture by none", [], ["1,D,8,0,1,captured"], "3: a block is captured, but no compaction of its order runs"],
  ["a K row without number", ["pcp"], ["1,K,,,,"], "3: a bulk allocation needs its number of pages"],
  ["a K row of many", ["pcp"], ["1,K,,,,99999999"], "3: a bulk allocation needs its number of pages"],
  ["an A row without order", ["pcp"], ["1,A,512,,1,"], "3: column order is empty"],
  ["an A row without type", ["pcp"], ["1,A,512,0,,"], "3: column mt is empty"],
  ["an A row of a used page", ["pcp"], ["1,A,8,0,1,"], "3: allocates page 8, which is in use"],
  ["overlapping A rows", ["pcp"], ["1,A,300,0,1,", "1,A,300,0,1,"], "4: allocates page 300, which is in use"],
  ["an A row over the end", ["pcp"], ["1,A,1024,3,1,"], "3: page 1024 lies outside of every zone"],
  ["an F row of a free page", ["pcp"], ["1,F,600,0,,"], "3: frees page 600, which is not allocated"],
  ["an F row of a kept page", ["pcp"], ["1,F,300,0,,"], "3: frees page 300, which is not allocated"],
  ["a second F row", ["pcp"], ["1,F,8,0,,", "1,F,8,0,,"], "4: frees page 8, which is not allocated"],
  ["a misaligned F row", ["pcp"], ["1,F,9,1,,"], "3: page 9 is not aligned to order 1"],
  ["a B row without its F", ["pcp"], ["1,B,8,,,"], "3: frees page 8, which is not allocated"],
  ["a CPU without lists", ["pcp"], ["1,A,300,0,1,,7"], "3: the row has too many columns"],
  ["a Z row of a used page", ["pcp"], ["1,Z,8,0,1,1"], "3: allocates page 8, which is in use"],
  ["a report without length", ["reporting"], ["1,R,,,,"], "4: a report needs its number of blocks"],
  ["a pass within a pass", ["reporting"], ["1,W,,,,"], "4: a pass begins, but the one before has not ended"],
  ["a report after its pass", ["reporting"], ["1,w,,,,", "1,R,,,,5"], "5: a report belongs to no pass"],
  ["a pass that ends twice", ["reporting"], ["1,w,,,,", "1,w,,,,"], "5: a pass ends that has not begun"],
];

for (const [what, [level], rows, sentence] of ROWS) {
  Deno.test(`${what} is refused with file and row`, async () => {
    const options = level === undefined ? [] : ["--level", level];
    // Behind the row in question stand the rows that the level needs.
    const needed = level === "pcp" ? ["1,A,513,0,1,", "1,F,513,0,1,"] : [];
    const before = level === "reporting" ? ["1,W,,,,"] : [];
    assertRefused(await verify([...before, ...rows, ...needed], snapshots(), ...options), `x.csv:${sentence}`);
  });
}

Deno.test("snapshots that cannot be are refused with the file and the place", async () => {
  const zone = SNAPSHOT.zones[0];
  const two = (second: object) => JSON.stringify({ s0: SNAPSHOT, s1: { ...SNAPSHOT, ...second } });
  const cases: [state: string, sentence: RegExp | string][] = [
    [two({ npages: 2048 }), "x.snaps.json: s1: the guest has 2048 pages, at snapshot s0 1024"],
    [
      two({ zones: [{ ...zone, spanned: 1023, present: 1000 }], free: [] }),
      /^x\.snaps\.json: s1: the zones are 0\+1023, at/,
    ],
    [JSON.stringify({ s7: SNAPSHOT }), "x.csv: none of the snapshots s7 has a row in the recording"],
    [
      snapshots({ free: [[0, 9, 1, [512]], [0, 3, 1, [520]]] }),
      /^x\.snaps\.json: free: the free lists of zone DMA do not/,
    ],
    [snapshots({ free: [[0, 9, 1, [512, 512]]] }), "x.snaps.json: s0.free.0: block 512 is listed twice"],
    [snapshots({ reported: [300] }), "x.snaps.json: reported: reported block 300 is not free"],
  ];
  for (const [state, sentence] of cases) assertRefused(await verify([], state), sentence);
});

Deno.test("per-CPU lists that cannot be are refused: a page twice, free, elsewhere, or figures of no kernel", async () => {
  const name = "x.snaps.json: pcp: the lists of zone 0 and CPU 0";
  const cases: [state: string, sentence: RegExp | string][] = [
    [snapshots({ pcp: [] }), "x.snaps.json: pcp: the snapshot has no per-CPU lists"],
    [holding(1, [300, 300]), `${name} hold page 300, which is free, or on a list already`],
    [holding(1, [600]), `${name} hold page 600, which is free, or on a list already`],
    [holding(1, [1024]), `${name} hold page 1024, which lies outside of the zone`],
    [holding(4, [301]), `${name} hold page 301, which is not aligned`],
    [
      snapshots({ pcp: [[0, 0, PER_CPU], [0, 0, { ...PER_CPU, lists: PER_CPU.lists.map(() => []) }]] }),
      `${name} are there twice`,
    ],
    [perCpu({ batch: 64 }), `${name} have a batch of 64, at most is 63`],
    [perCpu({ alloc_factor: 6 }), `${name} have a factor of 6, at most is 5`],
    [perCpu({ mts: PER_CPU.lists.map(() => []) }), `${name} have types for more or fewer pages than they hold`],
    [perCpu({ lists: [[]] }), /^x\.snaps\.json: s0\.pcp\.0\.2\.lists: /],
  ];
  const rows = ["1,A,512,0,1,", "1,F,512,0,,"];
  for (const [state, sentence] of cases) assertRefused(await verify(rows, state, "--level", "pcp"), sentence);
});

Deno.test("another page is status 1, with the row and both pages; lists that differ are told by the snapshot", async () => {
  const wrong = await verify(["1,Z,513,0,1,1"], snapshots());
  assert.deepEqual([wrong.status, wrong.err], [1, ""]);
  assert.match(wrong.out, /^first at row 3: the kernel picked page 513, the allocator 512$/m);
  const two = JSON.stringify({ s0: SNAPSHOT, s1: { ...SNAPSHOT, free: [], reported: [] } });
  const lists = await verify(["1,S,,,,s1"], two);
  assert.equal(lists.status, 1);
  assert.match(lists.out, /^s1 .* 54\/55 +1 +0 +DIFFERENT$/m);
  const rows = await verify(
    ["1,A,300,0,1,", "1,F,300,0,,", "1,Z,512,0,1,1", "1,S,,,,s1"],
    JSON.stringify({ s0: SNAPSHOT, s1: SNAPSHOT }),
    "--level",
    "pcp",
  );
  assert.equal(rows.status, 1);
  assert.match(rows.out, /^first at row 6: the lists are not those of the kernel$/m);
  const missing = await verify([], two);
  assert.equal(missing.status, 1);
  assert.match(missing.out, /^not compared: snapshots s1$/m);
});

/** Recordings and the frees of their zone lists. */
const RECORDINGS: readonly (readonly [file: string, frees: number])[] = [
  [B2, 46_745],
  [B3, 118_024],
  [B2_612, 37_190],
  // Blocks that were put back are frees of the workload, too.
  [C2, 96_511 + 317],
  [`${REPOSITORY}/tests/recordings/b4-2vcpu.buddy.csv.gz`, 43_165],
  [`${REPOSITORY}/tests/recordings/g2-pressure.buddy.csv.gz`, 266_565],
  [G4_612, 473_622],
];

for (const [file, frees] of RECORDINGS) {
  Deno.test(`${file.replace(/.*\//, "")} runs to its end as a workload, and no checker finds anything`, async () => {
    using folder = new CliFolder();
    const { status, out, err } = await folder.run([file, "--policy", "none", "--check", "--events", "none", "--json"]);
    assert.equal(status, 0, err);
    const [run] = JSON.parse(out).runs;
    assert.deepEqual([run.violations, run.findings], [0, []]);
    // What got no page has none to give back.
    assert.equal(run.frees + run.skipped_frees, frees);
    assert.ok(run.alloc_fails < run.allocs / 10_000, `${run.alloc_fails} of ${run.allocs} failed`);
  });
}
