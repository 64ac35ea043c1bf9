import assert from "node:assert/strict";
import { gunzipSync, gzipSync } from "node:zlib";
import fc from "fast-check";
import { CliFolder, REPOSITORY, SMALL } from "./run_cli.ts";

/** 500 mutated files in all; a few thousand in the slow tier. */
const RUNS = Deno.env.get("HINTSIM_TIER") === "slow" ? 2000 : 125;

type Mutation =
  | { kind: "cut"; at: number; length: number }
  | { kind: "replace"; at: number; text: string }
  | { kind: "swap"; line: number; other: number }
  | { kind: "repeat"; line: number }
  | { kind: "number"; which: number; value: string };

const place = fc.nat({ max: 1_000_000 });
const mutation: fc.Arbitrary<Mutation> = fc.oneof(
  fc.record({ kind: fc.constant("cut" as const), at: place, length: fc.integer({ min: 1, max: 40 }) }),
  fc.record({
    kind: fc.constant("replace" as const),
    at: place,
    text: fc.oneof(
      fc.string({ maxLength: 5 }),
      fc.constantFrom(":", "{", "}", "[", "]", ",", "-", "&a", "*a", "\t", "\0", "'", '"', "#", "!!", "%", "null", "~"),
    ),
  }),
  fc.record({ kind: fc.constant("swap" as const), line: place, other: place }),
  fc.record({ kind: fc.constant("repeat" as const), line: place }),
  fc.record({
    kind: fc.constant("number" as const),
    which: place,
    value: fc.constantFrom(
      "0",
      "-1",
      "1e99",
      ".nan",
      "0.5",
      "9007199254740993",
      "16TiB",
      "1us",
      "[1, 2]",
      "{axis: [1, 2]}",
      "abc",
    ),
  }),
);

function mutate(text: string, mutations: readonly Mutation[]): string {
  for (const one of mutations) {
    const lines = text.split("\n");
    if (one.kind === "cut") {
      const at = one.at % (text.length + 1);
      text = text.slice(0, at) + text.slice(at + one.length);
    } else if (one.kind === "replace") {
      const at = one.at % (text.length + 1);
      text = text.slice(0, at) + one.text + text.slice(at + one.text.length);
    } else if (one.kind === "swap") {
      const [a, b] = [one.line % lines.length, one.other % lines.length];
      [lines[a], lines[b]] = [lines[b], lines[a]];
      text = lines.join("\n");
    } else if (one.kind === "repeat") {
      lines.splice(one.line % lines.length, 0, lines[one.line % lines.length]);
      text = lines.join("\n");
    } else {
      const numbers = [...text.matchAll(/\d+(\.\d+)?[A-Za-z]*/g)];
      if (numbers.length === 0) continue;
      const found = numbers[one.which % numbers.length];
      text = text.slice(0, found.index) + one.value + text.slice(found.index + found[0].length);
    }
  }
  return text;
}

/** Runs a file that may be broken: it ends in one sentence and status 2, or it runs; never a stack, never a half result. */
async function holds(folder: CliFolder, file: string, place: RegExp): Promise<void> {
  const args = [file, "--events-max", "20000", "--events", "csv", "--quiet"];
  const { status, out, err } = await folder.run(args, folder.path);
  const context = `status ${status}\n${err}\n${out}`;
  assert.ok([0, 1, 2].includes(status), context);
  assert.ok(!/^\s+at |Error:|\bundefined\b|\[object/m.test(err), context);
  assert.deepEqual(folder.list("out").filter((name) => name.startsWith(".partial")), [], context);
  if (status !== 2) return;
  assert.match(err, /^[^\n]+\n$/, context);
  assert.match(err, place, context);
  assert.equal(out, "", context);
}

const mutations = fc.array(mutation, { minLength: 1, maxLength: 4 });

for (
  const [name, text] of [["a scenario of a generator", SMALL], [
    "the quickstart",
    Deno.readTextFileSync(`${REPOSITORY}/workloads/quickstart.yaml`),
  ]]
) {
  Deno.test(`${RUNS} mutations of ${name} end in one sentence with its place, or run`, async () => {
    using folder = new CliFolder();
    Deno.symlinkSync(`${REPOSITORY}/workloads/recordings`, `${folder.path}/recordings`);
    await fc.assert(
      fc.asyncProperty(mutations, async (list) => {
        const file = folder.write("mutated.yaml", mutate(text, list));
        await holds(folder, file, /mutated\.yaml|recordings\/|\.csv|\.json/);
      }),
      { numRuns: RUNS },
    );
  });
}

/** The first rows of the recording, so that each mutation runs in milliseconds. */
function shortRecording(): { rows: string; snapshots: string } {
  const read = (name: string) =>
    new TextDecoder().decode(gunzipSync(Deno.readFileSync(`${REPOSITORY}/workloads/recordings/${name}`)));
  const rows = read("b2-mixed.buddy.csv.gz").split("\n").slice(0, 400).join("\n") + "\n";
  const { s0 } = JSON.parse(read("b2-mixed.snaps.json.gz"));
  return { rows, snapshots: JSON.stringify({ s0 }) };
}

Deno.test(`${RUNS} mutations of a recording end in one sentence with its row, or run`, async () => {
  using folder = new CliFolder();
  const { rows, snapshots } = shortRecording();
  folder.write("short.snaps.json", snapshots);
  await fc.assert(
    fc.asyncProperty(mutations, async (list) => {
      await holds(folder, folder.write("short.csv", mutate(rows, list)), /short\.(csv|snaps\.json)/);
      const verified = await folder.run(["trace", "verify", `${folder.path}/short.csv`]);
      assert.ok([0, 1, 2].includes(verified.status) && !/^\s+at /m.test(verified.err), verified.err);
    }),
    { numRuns: RUNS },
  );
});

Deno.test(`${RUNS} mutations of snapshots and damaged gzip end in one sentence, or run`, async () => {
  using folder = new CliFolder();
  const { rows, snapshots } = shortRecording();
  folder.write("short.csv.gz", gzipSync(rows));
  await fc.assert(
    fc.asyncProperty(mutations, place, fc.boolean(), async (list, at, damage) => {
      const packed = gzipSync(mutate(snapshots, list));
      if (damage) packed[at % packed.length] ^= 0x55;
      folder.write("short.snaps.json.gz", packed);
      await holds(folder, `${folder.path}/short.csv.gz`, /short\.(csv|snaps)/);
    }),
    { numRuns: RUNS },
  );
});
