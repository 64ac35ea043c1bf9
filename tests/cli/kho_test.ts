import assert from "node:assert/strict";
import { parse } from "csv-parse/sync";
import { formatDuration, formatSize } from "../../sim/memory/units.ts";
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
  assert.equal(lines[0], "1.0GiB of memory, scratch 288.0MiB");
  assert.match(lines[1], /^workload +tracker +restore +preserved +kept +serialised/);
  assert.equal(lines.filter((line) => /^checkpoint size=1MiB {2}(xarray|maple)/.test(line)).length, 4);
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

Deno.test("kho: the table has all workloads, and says of each run what its row of summary.csv says", async () => {
  using folder = new CliFolder();
  const workload = "workload: [{ kind: checkpoint, size: [1MiB, 2MiB] }, { kind: one-range, size: 64MiB }]";
  const { out } = await folder.run(["kho", folder.write("s.yaml", SCENARIO.replace(/workload: .*/, workload))]);
  const lines = out.split("\n").filter((line) => /^(workload|checkpoint|one-range) /.test(line))
    .map((line) => line.split(/ {2,}/));
  const rows = parseCsv(folder.read("out/small/summary.csv"));
  assert.equal(lines.length, 1 + 3 * 2 * 2);
  assert.deepEqual([...new Set(rows.map((row) => row.workload))], [
    ...["checkpoint size=1MiB", "checkpoint size=2MiB", "one-range size=64MiB"],
  ]);
  const [titles, ...table] = lines;
  const column = (title: string) => table.map((line) => line[titles.indexOf(title)]);
  const figures = (name: string, show: (value: number) => string) => rows.map((row) => show(Number(row[name])));
  const shown: readonly (readonly [title: string, column: string, show: (value: number) => string])[] = [
    ["preserved", "preserved_pages", (value) => formatSize(value * 4096)],
    ["kept", "kept_bytes", formatSize],
    ["serialised", "serialized_bytes", formatSize],
    ["steps before", "calls_steps", String],
    ["time before", "calls_ns", formatDuration],
    ["steps", "serialize_steps", String],
    ["serialising", "serialize_ns", formatDuration],
    ["walk", "walk_visits", String],
    ["reserve", "reserve_visits", String],
    ["memmap", "memmap_visits", String],
    ["buddy", "buddy_visits", String],
    ["restoring", "restore_ns", formatDuration],
    ["blackout", "blackout_ns", formatDuration],
    ["time after", "claim_ns", formatDuration],
    ["largest order", "largest_free_order", String],
    ["longest run", "largest_free_run_pages", (value) => formatSize(value * 4096)],
  ];
  assert.deepEqual(titles, ["workload", "tracker", "restore", ...shown.map(([title]) => title)]);
  for (const text of ["workload", "tracker", "restore"]) assert.deepEqual(column(text), rows.map((row) => row[text]));
  for (const [title, name, show] of shown) assert.deepEqual(column(title), figures(name, show), title);
});

Deno.test("kho: a workload that does not fit is found before anything runs, also by --dry-run", async () => {
  using folder = new CliFolder();
  const cases: readonly (readonly [workload: string, place: string, message: RegExp])[] = [
    ["{ kind: checkpoint, size: 1GiB }", "8:39", /workload\.size: .* are more than half of the 738197504 bytes/],
    ["[{ kind: fragmented-host, memory: 128MiB }, one-range]", "8:57", /workload\.1\.size: .* do not fit into the/],
    ["{ kind: fragmented-host, peak: 0.3 }", "8:44", /workload\.peak: 0\.3 is less than the occupancy, 0\.5/],
    ["{ kind: fragmented-host, memory: 4GiB }", "8:46", /2147483648 bytes of it are in use; 738197504 bytes can/],
    ["{ kind: checkpoint, size: 1MiB }\n  scratch: 5000", "9:12", /kho\.scratch: 5000 bytes are not whole pages/],
    ["[{ kind: checkpoint, size: [] }]", "8:40", /workload\.0\.size: the list is empty/],
    ["[{ kind: checkpoint, size: [1MiB, 1MiB] }]", "8:14", /workload\.0: checkpoint size=1MiB stands there twice/],
  ];
  for (const [workload, place, message] of cases) {
    const path = folder.write("s.yaml", SCENARIO.replace(/workload: .*/, `workload: ${workload}`));
    for (const options of [[], ["--dry-run"]]) {
      const { status, out, err } = await folder.run(["kho", path, ...options]);
      assert.deepEqual([status, out], [2, ""], err);
      assert.match(err, message);
      assert.ok(err.startsWith(`${path}:${place}: kho.`), err);
      assert.equal(err.trimEnd().split("\n").length, 1, err);
      assert.deepEqual(folder.list("out"), []);
    }
  }
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
  const { runs, figures } = JSON.parse(out);
  assert.equal(runs.length, 4);
  // Each design by itself, in bytes; tests/kho/vectors_test.ts derives them. What ranges take for pages anywhere depends on
  // the draw.
  type Terms = { count: number; bytesEach: number }[];
  const bytes = (terms: Terms) => terms.reduce((sum, { count, bytesEach }) => sum + count * bytesEach, 0);
  const sums = (name: string) =>
    figures.filter(({ tracker }: { tracker: string }) => tracker === name)
      .map((one: Record<string, Terms>) => [bytes(one.trackerTerms), bytes(one.serializedTerms)]);
  assert.deepEqual(sums("xarray-bitmaps-512"), [[1680, 4096], [33_936, 4096], [2_134_608, 69_632], [31_888, 4096]]);
  const ranges = sums("maple-ranges");
  assert.deepEqual([ranges[0], ranges[1], ranges[3]], [[256, 4096], [256, 4096], [256, 4096]]);
  for (const { tracker_bytes, tracker_terms, findings } of runs) {
    const sum = (tracker_terms as { count: number; bytesEach: number }[])
      .reduce((all, { count, bytesEach }) => all + count * bytesEach, 0);
    assert.equal(sum, tracker_bytes);
    assert.deepEqual(findings, []);
  }
  const { out: text } = await folder.run(["kho", path, "--explain"]);
  assert.match(text, /xarray-bitmaps-512: \d+ bytes in memory = 1 x 16 \(orders .*x 512 \(bitmaps of 4096 folios\)/);
  assert.match(text, /maple-ranges: 8192 bytes serialised = 2 x 4096 \(pages of 170 ranges\)/);
  assert.match(
    text,
    /^480 GiB of folios of order 9, xarray-bitmaps-512: 31888 bytes in memory = .* 60 x 512 \(bitmaps/m,
  );
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
    ["{ call: preserve, size: 4KiB }", "9:9", /calls\.0\.at: is missing/],
    ["{ call: finalize, at: 512MiB }", "9:9", /leave at, size and order out/],
    [
      "{ call: preserve, at: 512MiB, order: 0 }\n{ call: finalize }\n{ call: unpreserve, at: 512MiB, order: 0 }",
      "11:9",
      /calls\.2: xarray-bitmaps-512: EBUSY: cannot unpreserve page 131072: KHO is finalized, what is preserved is serialised/,
    ],
    ["{ call: preserve, at: 2GiB, size: 4KiB }", "9:9", /EINVAL: .*memory ends with page 262143/],
    ["{ call: keep, at: 2GiB, size: 4KiB }", "9:17", /"keep" is not one of preserve, unpreserve, finalize/],
  ];
  for (const [list, place, message, tracker] of cases) {
    const path = folder.write("c.yaml", calls(list, tracker));
    const { status, out, err } = await folder.run(["kho", path]);
    assert.equal(status, 2, `${list}: ${out}${err}`);
    assert.equal(out, "");
    assert.match(err, message);
    assert.ok(err.startsWith(`${path}:${place}: kho.workload.calls.`), err);
    assert.equal(err.trimEnd().split("\n").length, 1, err);
    assert.deepEqual([...Deno.readDirSync(folder.path)].map(({ name }) => name), ["c.yaml"], "nothing is written");
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

Deno.test("kho --set, --seed: several values are an axis, with columns, names and tables of its own", async () => {
  using folder = new CliFolder();
  const path = folder.write("s.yaml", SCENARIO);
  const set = ["--set", "kho.workload.size=1MiB,2MiB", "--set", "kho.trackers=radix", "--seed", "7,8"];
  const { status, out, err } = await folder.run(["kho", path, ...set]);
  assert.deepEqual([status, err], [0, ""]);
  assert.match(out, /^kho\.workload\.size=1MiB, seed=7, 1\.0GiB of memory, scratch 288\.0MiB\nworkload /);
  assert.equal(out.match(/^workload .*$/gm)!.length, 4, "a table for each combination");
  assert.match(out, /\nseed 7, 8; results in out\/small\n$/);
  const rows = parseCsv(folder.read("out/small/summary.csv"));
  assert.deepEqual(Object.keys(rows[0]).slice(0, 7), [
    ...["run", "workload", "tracker", "restore", "seed", "kho.workload.size", "fingerprint"],
  ]);
  assert.equal(rows.length, 8);
  assert.equal(rows[7].run, "kho.workload.size=2MiB,seed=8,kho.restore=buddy-direct");
  assert.deepEqual([rows[7].seed, rows[7]["kho.workload.size"], rows[7].preserved_pages], ["8", "2MiB", "512"]);
  const manifest = JSON.parse(folder.read("out/small/manifest.json"));
  assert.deepEqual(manifest.runs[7].axes, { "kho.workload.size": "2MiB", seed: "8" });
  assert.equal(manifest.runs[7].scenario.kho.workload[0].size, "2MiB");
  // The same as the file would say it.
  const alone = SCENARIO.replace("[xarray-bitmaps-512, maple-ranges]", "radix").replace("1MiB", "2MiB");
  await folder.run(["kho", folder.write("t.yaml", alone.replace("seed: 7", "seed: 8"))]);
  assert.equal(parseCsv(folder.read("out/small/summary.csv"))[1].fingerprint, rows[7].fingerprint);
});

Deno.test("kho --dry-run and --print-defaults run and write nothing; what is printed is a scenario", async () => {
  using folder = new CliFolder();
  const path = folder.write("s.yaml", SCENARIO);
  const dry = await folder.run(["kho", path, "--dry-run", "--set", "kho.memory=1GiB,2GiB"]);
  assert.equal(dry.status, 0, dry.err);
  const lines = dry.out.trimEnd().split("\n");
  assert.match(lines[0], /^run +memory +seed$/);
  assert.equal(lines.length, 1 + 2 * 4);
  assert.match(lines[8], /^kho\.memory=2GiB,kho\.trackers=maple-ranges,kho\.restore=buddy-direct +2\.0GiB +7$/);
  const filled = await folder.run(["kho", path, "--print-defaults", "--set", "kho.costs.scanNs=1.5"]);
  assert.match(filled.out, /\n {4}profile: kho-2025\n {4}scanNs: 1\.5\n$/);
  assert.deepEqual(folder.list("out"), []);
  const again = await folder.run(["kho", folder.write("d.yaml", filled.out), "--print-defaults"]);
  assert.equal(again.out, filled.out);
});

Deno.test("kho --set: what does not fit is one sentence with a suggestion", async () => {
  using folder = new CliFolder();
  const path = folder.write("s.yaml", SCENARIO);
  const cases: readonly (readonly [setting: string, message: string])[] = [
    ["kho.memry=1GiB", '--set kho.memry: unknown key "memry"; did you mean memory?'],
    ["memory=1GiB", '--set memory: unknown key "memory"; did you mean kho.memory?'],
    ["sed=1", '--set sed: unknown key "sed"; did you mean seed?'],
    ["kho.workload.sise=1", '--set kho.workload.sise: unknown key "sise"; did you mean size?'],
    [
      "kho.workload=checkpont",
      '--set kho.workload (kho.workload.kind): unknown workload "checkpont"; did you mean checkpoint?',
    ],
    ["kho.costs.scaNs=1", '--set kho.costs.scaNs: unknown cost "scaNs"; did you mean scanNs?'],
    [
      "kho.trackers.first=radix",
      "--set kho.trackers.first: kho.trackers is a list; name the entry by its number, such as kho.trackers.0.first",
    ],
    ["kho.trackers.2.x=radix", "--set kho.trackers.2.x (kho.trackers.2): kho.trackers has the entries 0 to 1"],
    ["kho.memory=1GiB,1GiB", "--set kho.memory: the axis has the value 1GiB twice"],
    ["kho.trackers=radix,radix", "--set kho.trackers: a name stands there twice"],
    ["kho.memory", "--set kho.memory: wanted is key=value[,value...]"],
  ];
  for (const [setting, message] of cases) {
    const { status, out, err } = await folder.run(["kho", path, "--set", setting]);
    assert.deepEqual([status, out, err], [2, "", `${message}\n`]);
  }
  const seed = await folder.run(["kho", path, "--seed", "x"]);
  assert.deepEqual([seed.status, seed.err], [2, '--seed: "x" is not a number\n']);
  assert.deepEqual(folder.list("out"), []);
});

Deno.test("kho: scenarios of other commands, and files that are none", async () => {
  using folder = new CliFolder();
  const handover = folder.write("kho.yaml", SCENARIO);
  const slots = "workloads/memslots/devices.yaml";
  const simulation = folder.write("run.yaml", "hintsim: 1\nuntil: 1s\nmachine: { memory: 64MiB }\n");
  const cases: readonly (readonly [words: string[], place: string, command: string])[] = [
    [["kho", slots], `${slots}:8:3: memslots`, "memslots"],
    [["kho", simulation], `${simulation}:3:10: machine`, "run"],
    [["memslots", handover], `${handover}:5:3: kho`, "kho"],
    [["memslots", simulation], `${simulation}:3:10: machine`, "run"],
    [["run", handover], `${handover}:5:3: kho`, "kho"],
    [["check", slots], `${slots}:8:3: memslots`, "memslots"],
  ];
  for (const [words, place, command] of cases) {
    const { status, err } = await folder.run(words);
    const sentence = `${place}: this is a scenario of another command; run it with sim ${command}\n`;
    assert.deepEqual([status, err], [2, sentence], words.join(" "));
  }
  const missing = await folder.run(["kho", "no.yaml"]);
  assert.deepEqual([missing.status, missing.err], [2, "no.yaml: there is no such file\n"]);
  const wrong = await folder.run(["kho", folder.write("s.yaml", SCENARIO), "--events", "parquet"]);
  assert.equal(wrong.status, 2);
});
