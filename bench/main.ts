/**
 * The bench: `deno task bench`. Ratios of one run, each against a baseline that runs beside it; README.md says how to read them.
 */
import { parseArgs } from "node:util";
import { alloc } from "./alloc.ts";
import { Baselines } from "./baselines.ts";
import { csv } from "./csv.ts";
import { engine } from "./engine.ts";
import { type CaseResult, type Comparison, measure, type Setup, type Size } from "./harness.ts";
import { memory } from "./memory.ts";
import { parallel } from "./parallel.ts";
import { queue } from "./queue.ts";
import { replay } from "./replay.ts";
import {
  type BenchResult,
  type ComparisonResult,
  describeMachine,
  describeVersions,
  resultsText,
  tableOf,
} from "./report.ts";
import { sizes } from "./sizes.ts";

/** All comparisons, in the order in which they are measured. */
export const COMPARISONS: readonly Comparison[] = [queue, engine, alloc, csv, replay, sizes, memory, parallel];

const ROOT = new URL("..", import.meta.url).pathname;

/** What the comparisons may ask for, with everything that programs write in `folder`. */
export function setupOf(size: Size, folder: string, v8Flags: string): { setup: Setup; baselines: Baselines } {
  Deno.mkdirSync(folder, { recursive: true });
  const baselines = new Baselines(folder);
  const deno = [Deno.execPath(), "run", "--quiet", "--no-prompt", "--allow-all", `--config=${ROOT}deno.json`];
  if (v8Flags !== "") deno.push(`--v8-flags=${v8Flags}`);
  const words = (args: readonly (string | number)[]) => args.map(String);
  const setup: Setup = {
    size,
    folder,
    ours: (program, ...args) => [...deno, `${ROOT}bench/programs/${program}`, ...words(args)],
    native(source, ...args) {
      const path = baselines.native(source);
      return path === undefined ? undefined : [path, ...words(args)];
    },
    python(source, module, ...args) {
      const path = baselines.python(source, module);
      return path === undefined ? undefined : [path, baselines.sourcePath(source), ...words(args)];
    },
  };
  return { setup, baselines };
}

/** The flags with which the task `sim` runs. */
function flagsOfTask(): string {
  return Deno.readTextFileSync(`${ROOT}deno.json`).match(/"command": "deno run[^"]*--v8-flags=(\S+)[^"]* main\.ts"/)
    ?.[1] ?? "";
}

/** Measures one comparison; a case that fails becomes a line in `failures`. */
async function measureAll(
  comparison: Comparison,
  setup: Setup,
  rounds: number,
  failures: string[],
): Promise<ComparisonResult> {
  const cases: CaseResult[] = [];
  for (const one of comparison.cases(setup)) {
    const say = (program: string) => console.error(`${comparison.key}: ${one.name}: ${program}`);
    try {
      cases.push(await measure(one, rounds, say));
    } catch (error) {
      const { message } = error as Error;
      failures.push(`${comparison.title}: ${message.replaceAll(/\s+/g, " ").trim()}`);
      console.error(message);
    }
  }
  return { title: comparison.title, cases };
}

const OPTIONS = {
  only: { type: "string" },
  rounds: { type: "string", default: "5" },
  quick: { type: "boolean", default: false },
  json: { type: "string", default: "out/bench/results.json" },
  write: { type: "boolean", default: false },
  date: { type: "string" },
  "v8-flags": { type: "string" },
} as const;

/** The comparisons that the user chose. */
function chosen(only: string | undefined): readonly Comparison[] {
  if (only === undefined) return COMPARISONS;
  return only.split(",").map((key) => {
    const comparison = COMPARISONS.find((candidate) => candidate.key === key);
    if (comparison !== undefined) return comparison;
    throw new RangeError(`--only ${key}: wanted are ${COMPARISONS.map((one) => one.key).join(", ")}`);
  });
}

/** Writes a text as the formatter of the project wants it. */
function writeFormatted(path: string, text: string): void {
  Deno.writeTextFileSync(path, text);
  new Deno.Command(Deno.execPath(), { args: ["fmt", "--quiet", path] }).outputSync();
}

/** Measures, prints and writes; returns the exit status. */
async function main(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({ args: [...args], options: OPTIONS });
  const rounds = Number(values.rounds);
  if (!Number.isInteger(rounds) || rounds < 1) {
    throw new RangeError(`--rounds ${values.rounds}: wanted is a whole number from 1 up`);
  }
  const comparisons = chosen(values.only);
  const v8Flags = values["v8-flags"] ?? flagsOfTask();
  const { setup, baselines } = setupOf(values.quick ? "quick" : "full", `${ROOT}out/bench`, v8Flags);
  const failures: string[] = [];
  const results: ComparisonResult[] = [];
  for (const comparison of comparisons) results.push(await measureAll(comparison, setup, rounds, failures));
  const result: BenchResult = {
    command: ["deno task bench", ...args].join(" "),
    date: values.date,
    machine: describeMachine(),
    versions: describeVersions(v8Flags),
    rounds,
    comparisons: results,
    notes: [...baselines.skipped, ...failures],
  };
  console.log(tableOf(results) + result.notes.map((note) => `${note}\n`).join(""));
  Deno.writeTextFileSync(values.json, JSON.stringify(result, null, 1) + "\n");
  if (values.write) writeFormatted(`${ROOT}bench/RESULTS.md`, resultsText(result));
  return failures.length === 0 ? 0 : 1;
}

if (import.meta.main) {
  try {
    Deno.exit(await main(Deno.args));
  } catch (error) {
    console.error((error as Error).message);
    Deno.exit(2);
  }
}
