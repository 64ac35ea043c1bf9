/**
 * The threads as scenarios: each prints the table that docs/threads.md shows, and the figures of the mails are computed anew.
 * HINTSIM_UPDATE=1 writes tables and figures anew.
 */
import assert from "node:assert/strict";
import { load, simulate } from "../mod.ts";
import { bitmap } from "../sim/abi/bitmap.ts";
import type { Encoding } from "../sim/abi/encoding.ts";
import { pfnLen } from "../sim/abi/pfn_len.ts";
import { pfnOrder } from "../sim/abi/pfn_order.ts";
import { v3Bitmap } from "../sim/abi/v3_bitmap.ts";
import { v4Heads } from "../sim/abi/v4_heads.ts";
import { shownRow, SUMMARY_COLUMNS } from "../sim/summary_columns.ts";
import { formatSize } from "../sim/memory/units.ts";
import { PAGE_SIZE, type Range } from "../sim/memory/range.ts";
import { absentColumns, comparisonTable } from "../sim/cli/table.ts";
import { CliFolder, REPOSITORY } from "./cli/run_cli.ts";
import { bitmapReach, handoverFigures, slotFigures } from "./threads_figures.ts";

const PAGE = `${REPOSITORY}/docs/threads.md`;
const SCENARIOS = `${REPOSITORY}/workloads/threads`;
const UPDATE = Deno.env.get("HINTSIM_UPDATE") === "1";
const GIB = 2 ** 30;
const TIB = 2 ** 40;

const names = [...Deno.readDirSync(SCENARIOS)].map(({ name }) => name)
  .filter((name) => name.endsWith(".yaml")).map((name) => name.replace(/\.yaml$/, "")).sort();

const page = () => Deno.readTextFileSync(PAGE);

/** The laboratories have commands of their own, which a key of the scenario tells. */
function commandOf(name: string): "kho" | "memslots" | undefined {
  const [, key] = /^(kho|memslots):$/m.exec(Deno.readTextFileSync(`${SCENARIOS}/${name}.yaml`)) ?? [];
  return key as "kho" | "memslots" | undefined;
}

/** What the command prints: its tables, without the line that says where the result is. */
async function printed(folder: CliFolder, name: string): Promise<string> {
  const command = commandOf(name);
  const path = `workloads/threads/${name}.yaml`;
  const { status, out, err } = await folder.run(command === undefined ? [path, "--quiet"] : [command, path]);
  assert.deepEqual([status, err], [0, ""]);
  return command === undefined ? out : `${out.replace(/^seed \d+; .*results in .*\n$/m, "").trimEnd()}\n`;
}

/** Holds a part of the page against what it should be, or writes it anew. */
function holdOrUpdate(part: RegExp, wanted: string): void {
  const text = page();
  const found = part.exec(text);
  assert.ok(found, `docs/threads.md has no part ${part}`);
  const [whole, open, , close] = found;
  const changed = text.replace(whole, () => open + wanted + close);
  if (UPDATE) Deno.writeTextFileSync(PAGE, changed);
  else assert.equal(text, changed, "run the test with HINTSIM_UPDATE=1 to write the page anew");
}

/** Writes the rows into a part of the page, or holds them against it. */
function holdFigures(part: string, rows: readonly (readonly string[])[]): void {
  const lines = [
    "| mail | says | is | |",
    "| --- | --- | --- | --- |",
    ...rows.map((cells) => `| ${cells.join(" | ")} |`),
  ];
  const pattern = new RegExp(`(<!-- generated: ${part} -->)([\\s\\S]*?)(<!-- end of ${part} -->)`);
  holdOrUpdate(pattern, `\n${lines.join("\n")}\n`);
}

/** These take five to ten seconds each. */
const LONG = [
  "2012-memslots",
  "2016-abi",
  "2016-inflate",
  "2016-windows-1tib",
  "2025-kho",
  "hyperalloc-order-delay-capacity",
];
const slow = UPDATE || Deno.env.get("HINTSIM_TIER") === "slow";

for (const name of names) {
  const ignore = !slow && LONG.includes(name);
  Deno.test(`thread ${name}: it prints one table, that of docs/threads.md`, { ignore }, async () => {
    using folder = new CliFolder();
    const out = await printed(folder, name);
    holdOrUpdate(new RegExp(`^(\`\`\`text table=${name}\\n)([\\s\\S]*?)^(\`\`\`)$`, "m"), out);
  });
}

Deno.test("threads: each scenario is named after its file, begins with its argument, and stands on the page", () => {
  const text = page();
  for (const name of names) {
    const scenario = Deno.readTextFileSync(`${SCENARIOS}/${name}.yaml`);
    assert.match(scenario, new RegExp(`^(# .*\\n){2,}hintsim: 1\\nname: ${name}\\n`));
    const command = [commandOf(name) ?? [], `workloads/threads/${name}.yaml`].flat().join(" ");
    assert.ok(text.includes(`deno task sim ${command}`), `no command for ${name}`);
  }
  const shown = [...text.matchAll(/^```text table=(\S+)$/gm)].map(([, name]) => name).sort();
  assert.deepEqual(shown, names);
});

Deno.test("threads: figures in bold stand in the tables of their section", () => {
  const sections = page().split(/^## /m).slice(1);
  let bold = 0;
  for (const section of sections) {
    const tables = [...section.matchAll(/^```text table=\S+\n([\s\S]*?)^```$/gm)].map(([, table]) => table).join("\n");
    const cells = new Set(tables.split(/\s{2,}|\n/));
    const prose = section.replace(/^```[\s\S]*?^```$/gm, "");
    for (const [, figure] of prose.matchAll(/\*\*([^*]+)\*\*/g)) {
      const [title] = section.split("\n");
      assert.ok(cells.has(figure.replace(/\n/g, " ")), `"${title}": ${figure} stands in no table of the section`);
      bold++;
    }
  }
  assert.ok(bold > 50, `only ${bold} figures`);
});

/** One free run from page 0 on. */
const span = (bytes: number): Range[] => [{ pfn: 0, count: bytes / PAGE_SIZE }];

/** Blocks of a size, one after the other but not merged. */
const blocks = (count: number, bytes: number): Range[] =>
  Array.from({ length: count }, (_, index) => ({ pfn: index * bytes / PAGE_SIZE, count: bytes / PAGE_SIZE }));

/** How much memory one message of this encoding says at most, when all of it is free: found by halving. */
function reach({ messageMax, sizeOf }: Encoding): number {
  let [fits, fails] = [0, 2 ** 34];
  while (fails - fits > 1) {
    const middle = Math.floor((fits + fails) / 2);
    if (sizeOf([{ pfn: 0, count: middle }]) <= messageMax) fits = middle;
    else fails = middle;
  }
  return fits * PAGE_SIZE;
}

/** Windows that an idle guest's bitmaps take. */
async function windows(memory: string, maxBitmaps: number, zones = "auto"): Promise<number> {
  const [{ summary }] = simulate(
    await load({
      hintsim: 1,
      machine: { memory, vcpus: 1, zones: { layout: zones } },
      workload: { kind: "idle", duration: "2s" },
      policy: { kind: "bitmap-windows", maxBitmaps, requests: { at: ["1s"] } },
      encoding: "hybrid",
      host: { memory: "2TiB" },
    }),
  );
  return Number(summary.policy_windows);
}

/** Bytes of a data page of records that say blocks of 2 MiB one by one. */
function recordReach({ sizeOf }: Encoding): number {
  let count = 1;
  while (sizeOf(blocks(count + 1, 2 * 2 ** 20)) <= PAGE_SIZE) count++;
  return count * 2 * 2 ** 20;
}

/** Memory that one data page of bits of 2 MiB says: its window without the head. */
function bitReach(): number {
  const { sizeOf } = bitmap({ granule: "2MiB" });
  const window = sizeOf(span(2 * 2 ** 20));
  let bytes = GIB;
  while (sizeOf(span(2 * bytes)) === window) bytes *= 2;
  return bytes;
}

/** Metadata of v12 in a guest whose movable zone spans so much. */
async function hintBytes(spanBytes: number): Promise<number> {
  const hotplug = [{ at: "1s", add: "1GiB", zone: "movable", address: 8 * GIB }, {
    at: "1s",
    add: "1GiB",
    zone: "movable",
    address: 7 * GIB + spanBytes,
  }];
  const run = async (events: typeof hotplug) => {
    const machine = { memory: "2GiB", vcpus: 1, hotplug: events };
    const workload = { kind: "idle", duration: "2s" };
    const [{ summary }] = simulate(await load({ hintsim: 1, machine, workload, policy: "page-hinting" }));
    return Number(summary.metadata_peak_bytes);
  };
  return await run(hotplug) - await run(hotplug.slice(0, 1)) + 64;
}

/** Who said what, when, and what it comes to. */
async function figures(): Promise<string[][]> {
  const size = (bytes: number) => formatSize(bytes).replace(".0", "");
  const every = (count: number): Range[] => Array.from({ length: count }, (_, n) => ({ pfn: 2 * n, count: 1 }));
  const word = v4Heads.sizeOf(every(32)) - v4Heads.sizeOf([]);
  const [bits, words, pairs] = [bitReach(), recordReach(pfnOrder), recordReach(pfnLen)];
  // Every second granule of a window free: the most runs that merging leaves, 16,384 records against 4096 bytes of bits.
  const chequered = blocks(16_384, 2 * 2 ** 20).map(({ pfn, count }) => ({ pfn: 2 * pfn, count }));
  const mergedGain = pfnOrder.sizeOf(chequered) / (bitmap({ granule: "2MiB" }).sizeOf(chequered) - 8);
  return [
    ["Hansen, 4 Nov 2016", "a bitmap of 32 KiB holds 4 GB", size(reach(v3Bitmap({ bitmaps: 1 }))), "a quarter"],
    [
      "Hansen, 4 Nov 2016",
      "1 TiB takes 256 passes",
      `${await windows("1TiB", 1)} with one bitmap, ${await windows("1TiB", 32)} with the 32 as posted, ` +
      `${await windows("1TiB", 32, "q35")} above a hole; 256 at ${size(await windows("256GiB", 1) * GIB)}`,
      "corrected",
    ],
    ["Li, 6 Nov 2016", "32 bitmaps cover 128 GB", size(reach(v3Bitmap({ bitmaps: 32 }))), "a quarter"],
    ["Hansen, 7 Dec 2016", "a page of bits of 2 MiB says 64 GiB", size(bits), "confirmed"],
    ["Hansen, 7 Dec 2016", "a page of records says 1 GiB", `${size(words)}; ${size(pairs)} of 16 bytes`, "confirmed"],
    [
      "Hansen, 7 Dec 2016",
      "bits are 64 times denser",
      `${bits / words} for blocks that are told one by one; ${mergedGain} at most once neighbours are merged`,
      "only unmerged",
    ],
    ["Hansen, 7 Dec 2016", "6 bits of length are not even a large page", size(64 * PAGE_SIZE), "confirmed"],
    [
      "Hansen, on v5",
      "an eighth or more is metadata",
      `${8 / 64 * 100} % of 56 bytes of bits, ${(word - 8) / word * 100} % of the 8 as implemented`,
      "confirmed",
    ],
    ["Li, v3", "4126 to 590 ms is about 85 %", `${((1 - 590 / 4126) * 100).toFixed(1)} %`, "confirmed"],
    [
      "Hildenbrand, 2019",
      "64 KiB of bits for a TiB of span",
      `${size(await hintBytes(TIB))}; ${size(await hintBytes(GIB * 2) / 2)} a GiB`,
      "confirmed",
    ],
  ];
}

Deno.test("threads: the figures of the mails, computed", async () => {
  holdFigures("figures", await figures());
});

Deno.test("threads: the figures of the mails on handovers, computed", () => {
  holdFigures("figures of handovers", handoverFigures());
});

Deno.test("threads: the figures of the mails on memory slots, computed", async () => {
  holdFigures("figures of memory slots", await slotFigures());
});

Deno.test("threads: the figures of the mails on handovers, by hand", () => {
  // 512 x 8 bits of 4 KiB, and of 1 GiB; 4096 x 8 bits of 1 GiB.
  assert.equal(bitmapReach("xarray-bitmaps-512", 512, 0), 16 * 2 ** 20);
  assert.equal(bitmapReach("xarray-bitmaps-512", 512, 18), 4 * TIB);
  assert.equal(bitmapReach("xarray-bitmaps-page", 4096, 18), 32 * TIB);
});

Deno.test("threads: the figures of the mails, by hand", async () => {
  // 32 KiB x 8 bits x 4 KiB = 1 GiB; 1024 and 1024 / 32 windows; 2 GiB below the hole push the end to 1026 GiB: 33.
  assert.equal(reach(v3Bitmap({ bitmaps: 1 })), GIB);
  assert.equal(reach(v3Bitmap({ bitmaps: 32 })), 32 * GIB);
  assert.deepEqual([await windows("1TiB", 1), await windows("1TiB", 32), await windows("1TiB", 32, "q35")], [
    1024,
    32,
    33,
  ]);
  // 4096 x 8 bits x 2 MiB; 4096 / 8 and 4096 / 16 records of 2 MiB.
  assert.deepEqual([bitReach(), recordReach(pfnOrder), recordReach(pfnLen)], [64 * GIB, GIB, GIB / 2]);
  assert.equal(bitReach() / recordReach(pfnOrder), 64);
});

Deno.test("output.show: a column, a ratio, a gain, and nothing else", () => {
  assert.deepEqual(shownRow("frees"), { column: "frees", divisor: undefined, gain: false });
  assert.deepEqual(shownRow("gain host_cpu_ns / ranges"), { column: "host_cpu_ns", divisor: "ranges", gain: true });
  assert.throws(() => shownRow("host_cpu_n"), /"host_cpu_n" is not a column.*did you mean host_cpu_ns\?$/);
  for (const text of ["a", "frees / ", "frees / allocs / ranges", "gain", "gain gain frees", "policy_"]) {
    assert.throws(() => shownRow(text), /is not a column of summary\.csv/, text);
  }
});

Deno.test("output.show: the known columns are those of a run, in their order", async () => {
  const [{ summary }] = simulate(
    await load({ hintsim: 1, machine: { memory: "64MiB" }, workload: { kind: "idle", duration: "1s" } }),
  );
  assert.deepEqual(Object.keys(summary), SUMMARY_COLUMNS);
});

Deno.test("output.show: formats follow the unit, ratios of one unit are plain, gains are against the first run", () => {
  const rows = [
    { run: "policy.kind=a,policy.delay=1s", host_cpu_ns: 2000, ranges: 4, sent_pages: 256, discarded_pages: 64 },
    { run: "policy.kind=b,policy.delay=1s", host_cpu_ns: 500, ranges: 0, sent_pages: 0, discarded_pages: 0 },
  ];
  const show = [
    "host_cpu_ns",
    "host_cpu_ns / ranges",
    "discarded_pages / sent_pages",
    "sent_pages",
    "gain host_cpu_ns",
  ];
  const wanted = `                   a,delay=1s  b,delay=1s
host cpu                  2us       500ns
host cpu / ranges       500ns           -
dropped / sent           0.25           -
sent                   1.0MiB          0B
gain, host cpu          0.0 %      75.0 %
`;
  assert.equal(comparisonTable(rows, show.map(shownRow)), wanted);
  assert.deepEqual(absentColumns(rows, [shownRow("policy_x / ranges"), shownRow("policy_x")]), ["policy_x"]);
});

Deno.test("output.show: a scenario that asks for what no run has says so and shows the rest", async () => {
  using folder = new CliFolder();
  const file = folder.write(
    "show.yaml",
    "hintsim: 1\nname: show\nmachine: { memory: 64MiB }\nworkload: { kind: idle, duration: 1s }\n" +
      "output: { show: [frees, policy_x] }\n",
  );
  const { status, out, err } = await folder.run([file, "--events", "none", "--quiet"]);
  assert.deepEqual([status, err], [0, "output.show: no run has the column policy_x\n"]);
  assert.equal(out, "       run\nfrees    0\nx        -\n");
  const wrong = await folder.run([file, "--set", "output.show=[freed]"]);
  assert.deepEqual([wrong.status, wrong.out], [2, ""]);
  assert.match(wrong.err, /"freed" is not a column of summary\.csv.*did you mean frees\?/);
});
