import assert from "node:assert/strict";
import { parse } from "csv-parse/sync";
import { CliFolder } from "./run_cli.ts";

const parseCsv = (text: string): Record<string, string>[] => parse(text, { columns: true });

const SCENARIO = `hintsim: 1
name: small
seed: 7
kho:
  memory: 1GiB
  trackers: [xarray-bitmaps-512, maple-ranges]
  restore: [memblock, buddy-direct]
  workload: { kind: checkpoint, size: 1MiB }
`;

const calls = (list: string, tracker = "xarray-bitmaps-512") =>
  `hintsim: 1
name: calls
kho:
  memory: 1GiB
  trackers: ${tracker}
  workload:
    kind: calls
    calls:
${list.split("\n").map((line) => `      - ${line}\n`).join("")}`;

Deno.test("kho: one table, and a folder with manifest and summary", async () => {
  using folder = new CliFolder();
  const { status, out, err } = await folder.run(["kho", folder.write("s.yaml", SCENARIO)]);
  assert.equal(status, 0, err);
  assert.equal(err, "");
  const lines = out.trimEnd().split("\n");
  assert.match(lines[0], /^checkpoint size=1MiB: 1\.0MiB preserved of 1\.0GiB, scratch 288\.0MiB/);
  assert.match(lines[1], /^tracker +restore +kept +serialised/);
  assert.equal(lines.filter((line) => /^(xarray|maple)/.test(line)).length, 4);
  assert.equal(lines.at(-1), "seed 7; results in out/small");
  assert.deepEqual(folder.list("out"), ["small", "small/manifest.json", "small/summary.csv"]);
  const rows = parseCsv(folder.read("out/small/summary.csv"));
  assert.equal(rows.length, 4);
  const manifest = JSON.parse(folder.read("out/small/manifest.json"));
  assert.deepEqual(manifest.runs.map(({ run }: { run: string }) => run).length, 4);
  assert.equal(manifest.runs[0].fingerprint, rows[0].fingerprint);
  assert.equal(manifest.costs.name, "kho-2025");
  assert.equal(manifest.scenario.kho.scratch, "auto");
});

Deno.test("kho: again with the same input the same files, and the old result is replaced", async () => {
  using folder = new CliFolder();
  const path = folder.write("s.yaml", SCENARIO);
  await folder.run(["kho", path]);
  const first = folder.read("out/small/summary.csv");
  await folder.run(["kho", path]);
  assert.equal(folder.read("out/small/summary.csv"), first);
});

Deno.test("kho --json: the result and nothing else; --explain adds the sums", async () => {
  using folder = new CliFolder();
  const path = folder.write("s.yaml", SCENARIO);
  const { out, status } = await folder.run(["kho", path, "--json", "--explain"]);
  assert.equal(status, 0);
  const { runs } = JSON.parse(out);
  assert.equal(runs.length, 4);
  for (const { tracker_bytes, tracker_terms, findings } of runs) {
    const sum = (tracker_terms as { count: number; bytesEach: number }[])
      .reduce((all, { count, bytesEach }) => all + count * bytesEach, 0);
    assert.equal(sum, tracker_bytes);
    assert.deepEqual(findings, []);
  }
  const { out: text } = await folder.run(["kho", path, "--explain"]);
  assert.match(text, /xarray-bitmaps-512: \d+ bytes in memory = 1 x 16 \(orders .*x 512 \(bitmaps of 4096 folios\)/);
  assert.match(text, /maple-ranges: 8192 bytes serialised = 2 x 4096 \(pages of 170 ranges\)/);
});

Deno.test("kho --events csv: the rows of each run", async () => {
  using folder = new CliFolder();
  const { status } = await folder.run(["kho", folder.write("s.yaml", SCENARIO), "--events", "csv", "--quiet"]);
  assert.equal(status, 0);
  const runs = parseCsv(folder.read("out/small/summary.csv"));
  for (const tracker of ["xarray-bitmaps-512", "maple-ranges"]) {
    const run = `kho.trackers=${tracker},kho.restore=buddy-direct`;
    const rows = parseCsv(folder.read(`out/small/${run}/events.csv`));
    assert.equal(rows.filter(({ event }) => event === "preserve").length, 256);
    assert.equal(rows.at(-1)!.event, "end");
    const row = runs.find(({ tracker: name, restore }) => name === tracker && restore === "buddy-direct")!;
    assert.equal(String(rows.length - 1), row.events);
    const blackout = rows.filter(({ event }) => /^(serialize|kexec|kho_walk|init_memmap|free_all)$/.test(event))
      .reduce((sum, { cost_ns: ns }) => sum + Number(ns), 0);
    assert.equal(String(blackout), row.blackout_ns);
  }
});

Deno.test("kho: what the kernel refuses is one sentence with the place of the call", async () => {
  using folder = new CliFolder();
  const cases: readonly (readonly [list: string, place: string, message: RegExp, tracker?: string])[] = [
    ["{ call: preserve, at: 4KiB, size: 8KiB }", "9:9", /EINVAL: cannot preserve pages 1 to 2: they overlap scratch/],
    ["{ call: preserve, at: 512MiB, size: 5000 }", "9:9", /EINVAL: .*the range is not aligned to pages/],
    ["{ call: preserve, at: 536875008, order: 2 }", "9:9", /EINVAL: page 131073 starts no folio of order 2/],
    [
      "{ call: preserve, at: 512MiB, size: 4KiB }\n{ call: unpreserve, at: 516MiB, size: 4KiB }",
      "10:9",
      /cannot unpreserve page 132096: not preserved as a folio of order 0/,
    ],
    [
      "{ call: preserve, at: 512MiB, order: 3 }\n{ call: preserve, at: 512MiB, order: 0 }",
      "10:9",
      /EEXIST/,
      "maple-ranges",
    ],
    ["{ call: preserve, at: 512MiB }", "9:9", /neither size nor order/],
    ["{ call: preserve, at: 2GiB, size: 4KiB }", "9:9", /EINVAL: .*memory ends with page 262143/],
    ["{ call: keep, at: 2GiB, size: 4KiB }", "9:17", /"keep" is not one of preserve, unpreserve/],
  ];
  for (const [list, place, message, tracker] of cases) {
    const path = folder.write("c.yaml", calls(list, tracker));
    const { status, out, err } = await folder.run(["kho", path]);
    assert.equal(status, 2, `${list}: ${out}${err}`);
    assert.equal(out, "");
    assert.match(err, message);
    assert.ok(err.startsWith(`${path}:${place}: kho.workload.calls.`), err);
    assert.equal(err.trimEnd().split("\n").length, 1, err);
    assert.deepEqual(folder.list("out"), [], "nothing is written");
  }
});

Deno.test("kho: a successor whose memblock has no room is a finding: exit status 1", async () => {
  using folder = new CliFolder();
  const scenario = SCENARIO.replace("memory: 1GiB", "memory: 1GiB\n  scratch: 151126016");
  const { status, err } = await folder.run(["kho", folder.write("s.yaml", scenario)]);
  assert.equal(status, 1, err);
  assert.match(err, /restore=memblock: .*ENOMEM: memblock: failed to double the reserved array/);
  const rows = parseCsv(folder.read("out/small/summary.csv"));
  assert.equal(rows.filter(({ blackout_ns: ns }) => ns !== "").length, 2, "going to the buddy allocator needs no room");
});

Deno.test("kho: scenarios of other kinds, and files that are none", async () => {
  using folder = new CliFolder();
  const { status, err } = await folder.run(["kho", "workloads/quickstart.yaml"]);
  assert.equal(status, 2);
  assert.equal(err.trimEnd().split("\n").length, 1);
  const missing = await folder.run(["kho", "no.yaml"]);
  assert.deepEqual([missing.status, missing.err], [2, "no.yaml: there is no such file\n"]);
  const wrong = await folder.run(["kho", folder.write("s.yaml", SCENARIO), "--events", "parquet"]);
  assert.equal(wrong.status, 2);
});
