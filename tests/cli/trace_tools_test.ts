import { Command } from "@commander-js/extra-typings";
import assert from "node:assert/strict";
import { type Io, UsageError } from "../../sim/cli/io.ts";
import { addTraceTools } from "../../sim/cli/trace_tools.ts";
import { unpack } from "../../sim/unpack.ts";
import { CliFolder, type CliResult, REPOSITORY } from "./run_cli.ts";

const RECORDING = `${REPOSITORY}/workloads/recordings/b2-mixed.buddy.csv.gz`;
const DATA = `${REPOSITORY}/tests/guest/data`;

/** Runs `trace …` with the tools alone. */
async function trace(folder: CliFolder, ...args: string[]): Promise<CliResult> {
  const result = { status: 0, out: "", err: "" };
  const io: Io = {
    out: (text) => void (result.out += text),
    err: (text) => void (result.err += text),
    isTerminal: false,
    userFolder: folder.path,
    projectFolder: folder.path,
    onInterrupt: () => () => {},
  };
  const program = new Command("sim");
  const command = program.command("trace");
  addTraceTools(command, ["trace", ...args], io, result);
  for (const one of command.commands) one.exitOverride().configureOutput({ writeErr: io.err });
  try {
    await program.parseAsync(["trace", ...args], { from: "user" });
  } catch (error) {
    result.status = 2;
    if (error instanceof UsageError) result.err += `${error.message}\n`;
    else assert.ok(/^commander\./.test((error as { code?: string }).code ?? ""), `${error}`);
  }
  return result;
}

async function text(path: string): Promise<string> {
  return new TextDecoder().decode(await unpack(path, Deno.readFileSync(path)));
}

/** A folder with the texts of the recorder's own recording of a Linux 6.1 guest. */
async function withRecord(folder: CliFolder): Promise<string[]> {
  const proc: Record<string, string> = JSON.parse(await text(`${DATA}/record-6.1.proc.json.gz`));
  for (const [name, content] of Object.entries(proc)) folder.write(name, content);
  return [
    "--kpageflags",
    `${DATA}/record-6.1.kpageflags.gz`,
    "--zoneinfo",
    "zoneinfo",
    "--pagetypeinfo",
    "pagetypeinfo",
  ];
}

Deno.test("stat prints tables, and JSON for programs", async () => {
  using folder = new CliFolder();
  const { status, out, err } = await trace(folder, "stat", RECORDING);
  assert.equal(status, 0, err);
  assert.match(out, /^rows +97018 \(\d+ a second\)\n/);
  assert.match(out, /\nfree lists \(Z, D, O, P\): 50254 allocations, 46745 frees/);
  assert.match(out, /\nmarks\n3 +98.015ms +begin sleep 1\n/);
  const json = await trace(folder, "stat", RECORDING, "--json");
  const { rows, levels, snapshots } = JSON.parse(json.out);
  assert.deepEqual([rows, levels.length, snapshots.length], [97_018, 1, 7]);
});

Deno.test("cut writes a recording that is verified from its own snapshot on", async () => {
  using folder = new CliFolder();
  const cut = await trace(folder, "cut", RECORDING, "--from", "s2", "--to", "s4", "--out", "out/part.buddy.csv.gz");
  assert.equal(cut.status, 0, cut.err);
  assert.match(cut.out, /^out\/part\.buddy\.csv\.gz: rows \d+ to \d+ of .*\nout\/part\.snaps\.json\.gz: s2, s3, s4\n$/);
  assert.match(cut.err, /^it starts at s2: deno task sim \S+ --set workload\.start=s2\n$/);
  assert.deepEqual(folder.list("out"), ["part.buddy.csv.gz", "part.snaps.json.gz"]);
  const verified = await folder.run(["trace", "verify", `${folder.path}/out/part.buddy.csv.gz`]);
  assert.equal(verified.status, 0, verified.out + verified.err);
});

Deno.test("cut says when nothing is known of the memory in use where the part begins", async () => {
  using folder = new CliFolder();
  const { status, out, err } = await trace(folder, "cut", RECORDING, "--from", "5000", "--to", "s2", "--out", "x.csv");
  assert.equal(status, 0, err);
  assert.match(
    err,
    /^x\.csv: begins at no snapshot that is at hand, so .* not known; from s2 on it is: --set workload\.start=s2\n$/,
  );
  assert.match(out, /x\.snaps\.json\.gz: s2\n/);
});

Deno.test("convert: from a recording to tracefs and back, the same bytes and the same fingerprint of a run", async () => {
  using folder = new CliFolder();
  const there = await trace(folder, "convert", RECORDING, "--to", "tracefs", "--out", "b2.txt.gz");
  assert.equal(there.status, 0, there.err);
  const back = await trace(folder, "convert", "b2.txt.gz", "--out", "b2.buddy.csv.gz");
  assert.deepEqual([back.status, back.err], [0, ""]);
  assert.equal(await text(`${folder.path}/b2.buddy.csv.gz`), await text(RECORDING));
  Deno.copyFileSync(RECORDING.replace(".buddy.csv.gz", ".snaps.json.gz"), `${folder.path}/b2.snaps.json.gz`);
  const prints = [];
  for (const file of [RECORDING, `${folder.path}/b2.buddy.csv.gz`]) {
    const run = await folder.run([file, "--events", "none", "--json", "--until", "3s"]);
    assert.equal(run.status, 0, run.err);
    prints.push(/"fingerprint": ?"[0-9a-f]+"/.exec(run.out)?.[0]);
  }
  assert.ok(prints[0] !== undefined && prints[0] === prints[1], prints.join(" "));
});

Deno.test("convert: what the recorder wrote on a 6.1 guest replays page by page from the state of /proc", async () => {
  using folder = new CliFolder();
  const start = await withRecord(folder);
  const { status, out, err } = await trace(
    folder,
    "convert",
    `${DATA}/record-6.1.trace.txt.gz`,
    ...start,
    "--out",
    "mine.csv",
  );
  assert.equal(status, 0, err);
  assert.equal(out, "mine.snaps.json.gz: s0\nmine.csv: 5987 rows, csv\n");
  assert.match(err, /s0: 2697 pages on per-CPU lists count as in use/);
  assert.match(err, /s0: \d+ pages changed hands while the files were read/);
  const verified = await folder.run(["trace", "verify", `${folder.path}/mine.csv`]);
  assert.equal(verified.status, 0, verified.out + verified.err);
  const run = await folder.run([`${folder.path}/mine.csv`, "--quiet"]);
  assert.equal(run.status, 0, run.err);
});

Deno.test("convert: what the recorder wrote on a 6.12 guest, and free memory alone as the start", async () => {
  using folder = new CliFolder();
  const file = `${DATA}/record-6.12.trace.txt.gz`;
  const { status, err } = await trace(
    folder,
    "convert",
    file,
    "--memory",
    "1GiB",
    "--free",
    "700MiB",
    "--out",
    "mine.csv",
  );
  assert.equal(status, 0, err);
  const csv = await text(`${folder.path}/mine.csv`);
  assert.match(csv, /^\d+,Y,,,[01],,\d$/m);
  assert.match(csv, /^\d+,K,,,,16,\d$/m);
  assert.match(await text(`${folder.path}/mine.snaps.json.gz`), /^\{"s0":\{"kernel":"6\.12","npages":262144,/);
});

/** Input that is refused: what, the words, and the sentence. */
const REFUSALS: readonly (readonly [what: string, args: string[], sentence: RegExp])[] = [
  ["a missing file", ["stat", "none.csv"], /^none\.csv: there is no such file$/],
  ["a damaged recording", ["stat", "bad.csv"], /^bad\.csv:3: "Q" is not an event of a recording/],
  ["a cut gzip", ["stat", "cut.csv.gz"], /^cut\.csv\.gz: the gzip stream is damaged or cut after \d+ bytes of data$/],
  ["a text as a recording", ["stat", "trace.txt"], /^trace\.txt:1: .* is not the header of a recording/],
  [
    "a place that is none",
    ["cut", "good.csv", "--from", "s9", "--out", "x.csv"],
    /^good\.csv: --from s9: is no row, snapshot or mark/,
  ],
  [
    "another name of a part",
    ["cut", "good.csv", "--out", "x.txt"],
    /^x\.txt: a recording is named \.csv or \.csv\.gz$/,
  ],
  [
    "writing over the input",
    ["cut", "good.csv", "--out", "good.csv"],
    /^good\.csv: is an input; name another file with --out$/,
  ],
  ["writing over a folder", ["cut", "good.csv", "--out", "dir.csv"], /^dir\.csv: is not a file$/],
  ["writing below a file", ["cut", "good.csv", "--out", "good.csv/x.csv"], /^good\.csv\/x\.csv: cannot be written: /],
  ["a damaged text", ["convert", "trace.txt", "--out", "x.csv"], /^trace\.txt:2: mm_page_free has order=99$/],
  [
    "counts of a clock",
    ["convert", "tsc.txt", "--out", "x.csv"],
    /^tsc\.txt:1: the times are counts of a clock .* --tsc-mhz$/,
  ],
  [
    "another kind of text",
    ["convert", "other.txt", "--out", "x.csv"],
    /^other\.txt:1: "hello" is not a line of a kernel trace$/,
  ],
  [
    "csv by another name",
    ["convert", "good.csv", "--to", "csv", "--out", "x.txt"],
    /^x\.txt: a recording is named \.csv or/,
  ],
  [
    "half a start state",
    ["convert", "good.csv", "--zoneinfo", "z", "--out", "x.csv"],
    /^a start state from \/proc wants --kpageflags and --zoneinfo/,
  ],
  [
    "half an amount",
    ["convert", "good.csv", "--free", "1GiB", "--out", "x.csv"],
    /^a start state from free memory alone wants --memory and --free$/,
  ],
  ["two start states", [
    "convert",
    "good.csv",
    "--kpageflags",
    "k",
    "--zoneinfo",
    "z",
    "--free",
    "1",
    "--memory",
    "2",
    "--out",
    "x.csv",
  ], /, not from both$/],
  [
    "a start state of a text",
    ["convert", "good.csv", "--memory", "1GiB", "--free", "1MiB", "--out", "x.txt"],
    /^x\.txt: a start state stands beside a recording/,
  ],
  [
    "more free than there is",
    ["convert", "good.csv", "--memory", "1MiB", "--free", "1GiB", "--out", "x.csv"],
    /^--memory: more is free than there is memory$/,
  ],
  ["another file as zoneinfo", [
    "convert",
    "good.csv",
    "--kpageflags",
    "flags",
    "--zoneinfo",
    "good.csv",
    "--out",
    "x.csv",
  ], /^good\.csv:1: is not \/proc\/zoneinfo/],
  [
    "a rate that is none",
    ["convert", "good.csv", "--tsc-mhz", "fast", "--out", "x.csv"],
    /Wanted is a rate from 1 to 100000 MHz/,
  ],
  [
    "an unknown format",
    ["convert", "good.csv", "--to", "ctf", "--out", "x"],
    /Allowed choices are csv, tracefs, trace-cmd, perf/,
  ],
];

for (const [what, args, sentence] of REFUSALS) {
  Deno.test(`${what} is refused in one sentence, with status 2 and nothing written`, async () => {
    using folder = new CliFolder();
    const header = "dt_us,ev,pfn,order,mt,x\n";
    folder.write("good.csv", `${header}0,S,,,,s0\n1,Z,512,0,1,1\n`);
    folder.write("bad.csv", `${header}0,S,,,,s0\n1,Q,512,0,1,1\n`);
    folder.write("cut.csv.gz", Deno.readFileSync(RECORDING).subarray(0, 5000));
    folder.write("trace.txt", "# tracer: nop\n bash-1 [000] 1.0: mm_page_free: page=1 pfn=1 order=99\n");
    folder.write("tsc.txt", " bash-1 [000] 12345: mm_page_free: page=1 pfn=1 order=9\n");
    folder.write("other.txt", "hello\n");
    folder.write("flags", new Uint8Array(512 * 8));
    Deno.mkdirSync(`${folder.path}/dir.csv`);
    const before = folder.list(".");
    const { status, out, err } = await trace(folder, ...args);
    assert.equal(status, 2, out);
    assert.equal(out, "");
    assert.match(err.trimEnd().replace(/^error: /, ""), sentence);
    assert.deepEqual(folder.list("."), before);
  });
}

Deno.test("outside of out/ the task's permissions say no, with the command that works", async () => {
  using folder = new CliFolder();
  const code = `import { cutCommand } from "${new URL("../../sim/cli/cut_command.ts", import.meta.url).href}";
import { processIo, UsageError } from "${new URL("../../sim/cli/io.ts", import.meta.url).href}";
try { await cutCommand(processIo("${folder.path}"), "${RECORDING}", { from: undefined, to: undefined, snapshots: undefined,
  out: "${folder.path}/x.csv", command: ["trace", "cut", "a b.csv", "--out", "x.csv"] }); } catch (error) {
  console.log(error instanceof UsageError ? error.message : String(error)); }`;
  const main = folder.write("main.ts", code);
  const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--quiet",
      "--no-prompt",
      "--allow-read",
      "--allow-env=INIT_CWD",
      "--config",
      `${REPOSITORY}/deno.json`,
      main,
    ],
  }).output();
  assert.equal(
    new TextDecoder().decode(stdout),
    `${folder.path}/x.csv: the task sim writes only below out/; this works: deno task sim:any trace cut 'a b.csv' --out x.csv\n`,
    new TextDecoder().decode(stderr),
  );
});
