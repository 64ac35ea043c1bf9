import assert from "node:assert/strict";
import { chooseEvents, type EventWish, freeBytesAt } from "../../sim/cli/event_choice.ts";
import { UsageError } from "../../sim/cli/io.ts";
import { eventFormats } from "../../sim/scenario_options.ts";
import { REPOSITORY } from "./run_cli.ts";

const WISH: EventWish = { asked: undefined, rows: 1e6, eventsMax: 1e9, runs: 1, freeBytes: undefined };

Deno.test("without a wish the size of the run decides", () => {
  assert.deepEqual(chooseEvents(WISH), {
    formats: ["csv"],
    notice: "events: csv, about 1000000 rows; --events none leaves them out",
  });
  assert.deepEqual(chooseEvents({ ...WISH, rows: 6e6 }), {
    formats: [],
    notice: "events: none for about 6000000 rows; --events csv writes them",
  });
  assert.deepEqual(chooseEvents({ ...WISH, runs: 3 }), {
    formats: [],
    notice: "events: none for a grid of 3 runs; --events csv writes them",
  });
});

Deno.test("an explicit choice is obeyed as long as the disk holds it", () => {
  const free = 60e6 * 3;
  assert.deepEqual(chooseEvents({ ...WISH, asked: ["csv"], runs: 3, freeBytes: free }), { formats: ["csv"] });
  assert.deepEqual(chooseEvents({ ...WISH, asked: [], rows: 1e12, freeBytes: 0 }), { formats: [] });
  assert.throws(
    () => chooseEvents({ ...WISH, asked: ["csv"], runs: 4, freeBytes: free }),
    new UsageError(
      "--events csv: the events would take about 228.9MiB, and the disk has 171.7MiB left; use --events none",
    ),
  );
  // Compressed they take a third; both together more than csv alone.
  assert.deepEqual(chooseEvents({ ...WISH, asked: ["csv.zst"], runs: 9, freeBytes: free }), { formats: ["csv.zst"] });
  assert.throws(
    () => chooseEvents({ ...WISH, asked: ["csv", "csv.zst"], runs: 3, freeBytes: free }),
    /^UsageError: --events csv,csv\.zst: the events would take about 228\.9MiB, and /,
  );
});

Deno.test("where nobody may ask, the bound is what no disk holds; --events-max bounds a run", () => {
  const grid = { ...WISH, asked: ["csv"] as const, rows: 1e12, runs: 1000 };
  assert.throws(() => chooseEvents(grid), /would take about [\d.]+TiB, more than a disk holds; use --events none$/);
  assert.deepEqual(chooseEvents({ ...grid, eventsMax: 1e6 }), { formats: ["csv"] });
});

Deno.test("free bytes: unknown without the permission, those of the nearest folder with it", async () => {
  assert.equal(freeBytesAt("/tmp"), undefined);
  const module = JSON.stringify(`${REPOSITORY}/sim/cli/event_choice.ts`);
  const code = `import { freeBytesAt } from ${module};
    console.log(freeBytesAt("/"), freeBytesAt("/not/yet/there"), freeBytesAt("not/yet/there"));`;
  const script = Deno.makeTempFileSync({ suffix: ".ts" });
  try {
    Deno.writeTextFileSync(script, code);
    const args = ["run", "--quiet", "--no-prompt", "--allow-read", "--allow-sys=statfs", "--config"];
    const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: [...args, `${REPOSITORY}/deno.json`, script],
      env: { NO_COLOR: "1" },
    }).output();
    assert.match(new TextDecoder().decode(stdout), /^\d{6,} \d{6,} \d{6,}\n$/, new TextDecoder().decode(stderr));
  } finally {
    Deno.removeSync(script);
  }
});

Deno.test("formats are a list of known names, each once; none stands alone", () => {
  assert.deepEqual(eventFormats("none"), []);
  assert.deepEqual(eventFormats("csv"), ["csv"]);
  assert.deepEqual(eventFormats("csv.zst, csv"), ["csv.zst", "csv"]);
  const use = "; use none, csv or csv.zst, several with a comma";
  for (
    const [text, problem] of [
      ["", '"" is not a format'],
      ["tsv", '"tsv" is not a format'],
      ["csv,", '"" is not a format'],
      ["csv,none", "none stands alone"],
      ["csv,csv", "csv stands there twice"],
      ["csv,perfetto", "the format perfetto is not written yet"],
    ]
  ) assert.throws(() => eventFormats(text), { message: problem + use });
});
