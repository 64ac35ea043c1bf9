import assert from "node:assert/strict";
import { CliFolder, parseCsv, SMALL } from "./run_cli.ts";

const SCENARIO = `hintsim: 1
name: lab
seed: 3
memslots:
  tables: [fixed, { kind: tree, deleteZap: [all, slot] }]
  guests: [{ kind: slots, count: [8, 40] }]
  lookups: 100
`;

async function run(folder: CliFolder, text: string, ...options: string[]) {
  return await folder.run(["memslots", folder.write("lab.yaml", text), ...options]);
}

Deno.test("memslots: one line for each table and guest, and the result folder of a run", async () => {
  using folder = new CliFolder();
  const { status, out, err } = await run(folder, SCENARIO);
  assert.deepEqual([status, err], [0, ""]);
  const lines = out.split("\n");
  assert.match(
    lines[0],
    /^table +guest +slots +same +boot +in turn +random +worst +discard +create +flags +delete +refaults of it/,
  );
  assert.equal(lines.findIndex((line) => line === ""), 1 + 6);
  assert.match(lines[4], /^fixed +slots count=40 +32 of 40 /);
  assert.match(lines[6], /^tree deleteZap=slot +slots count=40 +40 /);
  assert.match(out, /\nseed 3; cycles of lookups, times at 2 GHz; results in out\/lab\n$/);
  assert.deepEqual(folder.list("out"), ["lab", "lab/manifest.json", "lab/summary.csv"]);
  const manifest = JSON.parse(folder.read("out/lab/manifest.json"));
  assert.deepEqual(manifest.scenario.memslots.guests, [
    { kind: "slots", count: 8, size: "2MiB" },
    { kind: "slots", count: 40, size: "2MiB" },
  ]);
  assert.deepEqual(manifest.scenario.memslots.tables[2], { kind: "tree", deleteZap: "slot", guestMemfd: "off" });
  assert.equal(manifest.runs[3].refused, "EINVAL: slot 32 is over the limit: this table has the slots 0 to 31");
  const rows = parseCsv(folder.read("out/lab/summary.csv").replaceAll(/"[^"]*"/g, "quoted"));
  assert.equal(rows.length, 6);
  // All roots are invalidated: the 39 others come back; or the range alone, which nobody wants again.
  assert.deepEqual(rows.map((row) => row.delete_refaults), ["7", "7", "0", "31", "39", "0"]);
  assert.deepEqual(rows.map((row) => row.guest_of_8_bytes), ["2312", "6400", "6400", "2312", "6400", "6400"]);
});

Deno.test("memslots: the same twice, and JSON says what the folder says", async () => {
  using folder = new CliFolder();
  await run(folder, SCENARIO);
  const first = folder.read("out/lab/summary.csv");
  const { out } = await run(folder, SCENARIO, "--json", "--explain");
  assert.equal(folder.read("out/lab/summary.csv"), first);
  const result = JSON.parse(out);
  assert.equal(result.out, "out/lab");
  assert.equal(result.runs.length, 6);
  for (const { bytes, terms } of result.runs) {
    assert.equal(terms.reduce((sum: number, term: { bytes: number }) => sum + term.bytes, 0), bytes);
  }
  assert.deepEqual(result.figures.map(({ bytes }: { bytes: number }) => bytes).slice(0, 4), [2456, 9000, 7680, 7440]);
});

Deno.test("memslots --explain: every sum, and those that the threads quote", async () => {
  using folder = new CliFolder();
  const { out } = await run(folder, SCENARIO, "--explain");
  assert.match(out, /^tree deleteZap=all, slots count=8: .*4288; 8 slots x 264 = 2112; together 6400 bytes$/m);
  assert.match(out, /^ {2}refused EINVAL: slot 32 is over the limit/m);
  assert.match(
    out,
    /: 132 \(128 \+ 4 private\) x \(64 slot \+ 4 index\) = 8976; .* = 24; together 9000 bytes \(9000 in /,
  );
  assert.match(out, /dirty bitmaps: 2 bits x 268435456 pages = 67108864; together 67108864 bytes/);
});

Deno.test("memslots: the faults and discards of a simulation are looked up", async () => {
  using folder = new CliFolder();
  const small = SMALL.replace("every: 100ms }", "every: 100ms }, action: reclaim, isolate: true");
  folder.write("small.yaml", small);
  const guest = "[{ kind: simulation, scenario: small.yaml, slots: [1, 16] }]";
  const { status, out, err } = await run(
    folder,
    SCENARIO.replace(/guests: .*/, `guests: ${guest}`).replace("fixed", "sorted-by-size"),
    "--json",
  );
  assert.deepEqual([status, err], [0, ""]);
  const { runs } = JSON.parse(out);
  for (const one of runs) {
    assert.ok(one.faults > 10 && one.discards > 10, JSON.stringify(one));
    assert.ok(one.fault_cycles >= 28 && one.own_discard_cycles > 28);
  }
  // One slot: a scan looks at one; 16 slots: the trees look at less than the scan does.
  assert.deepEqual([runs[0].fault_compares, runs[0].slots], [1, 1]);
  assert.ok(runs[3].own_discard_cycles > runs[4].own_discard_cycles);
});

Deno.test("memslots --set, --seed: lists of tables are compared, other values are an axis", async () => {
  using folder = new CliFolder();
  const set = ["--set", "memslots.tables=fixed,tree", "--set", "memslots.mapping=4KiB,2MiB", "--seed", "9"];
  const { status, out, err } = await run(folder, SCENARIO, ...set);
  assert.deepEqual([status, err], [0, ""]);
  assert.match(out, /^memslots\.mapping=4KiB:\ntable +guest[^]*\nmemslots\.mapping=2MiB:\ntable[^]*\nseed 9; /);
  const rows = parseCsv(
    folder.read("out/lab/summary.csv").replaceAll(/"([^"]*)"/g, (_, text) => text.replaceAll(",", ";")),
  );
  assert.equal(rows.length, 8);
  assert.equal(rows[7].run, "memslots.mapping=2MiB;memslots.tables=tree;memslots.guests=slots%20count%3D40");
  assert.deepEqual(rows.map((row) => row.seed), Array(8).fill("9"));
  assert.deepEqual(rows.map((row) => row["memslots.mapping"]), [...Array(4).fill("4KiB"), ...Array(4).fill("2MiB")]);
  // A slot is 2 MiB: 512 mappings of 4 KiB, or one.
  assert.deepEqual([rows[1].delete_refaults, rows[5].delete_refaults], ["3584", "7"]);
  const manifest = JSON.parse(folder.read("out/lab/manifest.json"));
  assert.deepEqual(manifest.runs[7].axes, { "memslots.mapping": "2MiB" });
  const inside = await run(folder, SCENARIO, "--set", "memslots.tables.1.deleteZap=slot", "--dry-run");
  assert.match(inside.out, /^run +lookups +seed\nmemslots\.tables=fixed,memslots\.guests=slots%20count%3D8 +100 +3\n/);
  assert.equal(inside.out.trimEnd().split("\n").length, 1 + 2 * 2);
});

Deno.test("memslots --dry-run and --print-defaults run and write nothing; what is printed is a scenario", async () => {
  using folder = new CliFolder();
  const { out, status } = await run(folder, SCENARIO, "--print-defaults", "--set", "memslots.lookups=7");
  assert.equal(status, 0);
  assert.match(out, /\n {2}lookups: 7\n/);
  assert.equal((await run(folder, out, "--print-defaults")).out, out);
  const guest = SCENARIO.replace(/guests: .*/, "guests: [{ kind: simulation, scenario: none.yaml }]");
  assert.equal((await run(folder, guest, "--dry-run")).status, 2, "what is named is looked for");
  assert.deepEqual(folder.list("out"), []);
});

Deno.test("memslots --set: what does not fit is one sentence with a suggestion", async () => {
  using folder = new CliFolder();
  for (
    const [setting, message] of [
      ["memslots.lookup=3", '--set memslots.lookup: unknown key "lookup"; did you mean lookups?'],
      ["lookups=3", '--set lookups: unknown key "lookups"; did you mean memslots.lookups?'],
      ["memslots.tables=tre", '--set memslots.tables (memslots.tables.kind): unknown table "tre"; did you mean tree?'],
      [
        "memslots.tables.2.user=3",
        "--set memslots.tables.2.user (memslots.tables.2): memslots.tables has the entries 0 to 1",
      ],
      [
        "memslots.mapping=4KiB,x",
        '--set memslots.mapping: "x" is not a size: write a number and B, KiB, MiB, GiB or TiB, like 4GiB',
      ],
    ]
  ) {
    const { status, out, err } = await run(folder, SCENARIO, "--set", setting);
    assert.deepEqual([status, out, err], [2, "", `${message}\n`]);
  }
  assert.deepEqual(folder.list("out"), []);
});

Deno.test("memslots: what a delete unmaps costs the guest its refaults, 3544 ns each", async () => {
  using folder = new CliFolder();
  const { out } = await run(folder, SCENARIO, "--json");
  const { runs } = JSON.parse(out);
  // 8 slots of one mapping: a delete unmaps all (7 are wanted again) or its own, which nobody wants; a move brings its own back.
  const zap = (name: string) =>
    runs.find((row: { table: string; slots: number }) => row.table === name && row.slots === 8);
  const [all, slot] = [zap("tree deleteZap=all"), zap("tree deleteZap=slot")];
  assert.deepEqual([all.delete_refaults, all.delete_refault_ns], [7, 7 * 3544]);
  assert.deepEqual([slot.delete_refaults, slot.delete_refault_ns], [0, 0]);
  assert.deepEqual([all.move_refault_ns, slot.move_refault_ns], [8 * 3544, 3544]);
  assert.deepEqual([all.flags_refault_ns, all.create_refault_ns, all.setup_refault_ns], [0, 0, 0]);
  const { costs } = JSON.parse(folder.read("out/lab/manifest.json"));
  assert.deepEqual([costs.refault.valueNs, costs.refault.role], [3544, "assumed"]);
  const { out: table } = await run(folder, SCENARIO);
  // Delete and move of a table of today, with what each makes the guest fault in again: 7 x 3544 and 8 x 3544 ns.
  assert.match(table, /^tree deleteZap=all +slots count=8 .* 7 +24\.808us +\S+us +8 +28\.352us /m);
  assert.match(table, /^tree deleteZap=slot +slots count=8 .* 0 +0ns +\S+us +1 +3\.544us /m);
});

Deno.test("memslots: calls as a VMM makes them", async () => {
  using folder = new CliFolder();
  const calls = `[{ kind: calls, calls: [
    { slot: 0, gpa: 0, size: 1MiB, hva: 1GiB },
    { slot: 1, gpa: 1MiB, size: 1MiB, hva: 2GiB },
    { slot: 0, gpa: 0, size: 0, hva: 0 },
    { slot: 0, gpa: 0, size: 2MiB, hva: 1GiB, flags: 1 } ] }]`;
  const { status, err } = await run(folder, SCENARIO.replace(/\[\{ kind: slots.*/, calls));
  assert.equal(status, 2);
  assert.match(
    err,
    /lab\.yaml:10:5: memslots\.guests\.0\.calls\.3: fixed: EEXIST: slot 0 \(0x0 to 0x1fffff\) overlaps slot 1 \(0x100000 to 0x1fffff\)\n$/,
  );
  const fine = await run(folder, SCENARIO.replace(/\[\{ kind: slots.*/, calls.replace("size: 2MiB", "size: 1MiB")));
  assert.deepEqual([fine.status, fine.err], [0, ""]);
});

const REFUSALS: readonly (readonly [what: string, from: RegExp | string, to: string, sentence: RegExp])[] = [
  [
    "an unknown table",
    "fixed",
    "fixd",
    /:5:\d+: memslots\.tables\.0\.kind: unknown table "fixd"; did you mean fixed\?$/,
  ],
  ["an unknown option", "deleteZap", "zap", /:5:\d+: memslots\.tables\.1\.zap: unknown key "zap"; known are deleteZap/],
  [
    "an unknown guest",
    "kind: slots",
    "kind: slot",
    /:6:\d+: memslots\.guests\.0\.kind: unknown guest "slot"; did you mean slots\?$/,
  ],
  [
    "a guest that stands there twice",
    "[8, 40]",
    "[8, 8]",
    /:6:\d+: memslots\.guests\.0: slots count=8 stands there twice$/,
  ],
  ["an option without a value", "[8, 40]", "[]", /:6:\d+: memslots\.guests\.0\.count: the list is empty$/],
  ["a count that is none", "[8, 40]", "0", /:6:\d+: memslots\.guests\.0\.count: 0 is not at least 1$/],
  ["an unknown key", "lookups", "lookup", /:7:\d+: memslots\.lookup: unknown key "lookup"; did you mean lookups\?$/],
  ["no tables", /tables: .*/, "tables: []", /:5:\d+: memslots\.tables: the list is empty$/],
  ["a table without a kind", "fixed", "{ user: 3 }", /:5:\d+: memslots\.tables\.0: .* has no kind$/],
  [
    "another scenario",
    /memslots:[^]*/,
    "",
    /lab\.yaml:\d+:\d+: no memslots are given; this is not a scenario of memory slots$/,
  ],
  [
    "no room for the table",
    "lookups: 100",
    "memory: 4KiB",
    /memslots\.memory: tree deleteZap=all: ENOMEM: 4\.2KiB for the slots are wanted and 4\.0KiB are left$/,
  ],
  [
    "a call that is not aligned",
    /guests: .*/,
    "guests: [{ kind: calls, calls: [{ slot: 0, gpa: 1, size: 4096, hva: 0 }] }]",
    /:6:\d+: memslots\.guests\.0\.calls\.0: fixed: EINVAL: the guest address 0x1 is not aligned to 4 KiB$/,
  ],
  [
    "a call without an address",
    /guests: .*/,
    "guests: [{ kind: calls, calls: [{ slot: 0, size: 4096, hva: 0 }] }]",
    /:6:\d+: memslots\.guests\.0\.calls\.0\.gpa: is missing$/,
  ],
  [
    "a call over the limit",
    /guests: .*/,
    "guests: [{ kind: calls, calls: [{ slot: 32, gpa: 0, size: 4096, hva: 0 }] }]",
    /calls\.0: fixed: EINVAL: slot 32 is over the limit: this table has the slots 0 to 31$/,
  ],
  [
    "a call that deletes nothing",
    /guests: .*/,
    "guests: [{ kind: calls, calls: [{ slot: 3, gpa: 0, size: 0, hva: 0 }] }]",
    /calls\.0: fixed: EINVAL: slot 3 is to be deleted and is not there$/,
  ],
  [
    "a simulation that is not there",
    /guests: .*/,
    "guests: [{ kind: simulation, scenario: none.yaml }]",
    /:6:\d+: memslots\.guests\.0\.scenario: none\.yaml: there is no such file$/,
  ],
];

for (const [what, from, to, sentence] of REFUSALS) {
  Deno.test(`memslots: ${what} is refused in one sentence, with status 2 and nothing written`, async () => {
    using folder = new CliFolder();
    const { status, out, err } = await run(folder, SCENARIO.replace(from, to));
    assert.deepEqual([status, out], [2, ""], err);
    assert.match(err, /^[^\n]+\n$/);
    assert.match(err.trimEnd(), sentence);
    assert.deepEqual(folder.list("out"), []);
  });
}
