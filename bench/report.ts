/** What the bench prints and writes: one table, a JSON with all rounds, and RESULTS.md. */
import { firstLine } from "./baselines.ts";
import type { CaseResult, Figure, Goal, Measured } from "./harness.ts";

/** The results of one file of comparisons. */
export interface ComparisonResult {
  /** Its title. */
  readonly title: string;
  /** Its cases. */
  readonly cases: readonly CaseResult[];
}

/** All that a run of the bench found. */
export interface BenchResult {
  /** The command. */
  readonly command: string;
  /** When, if the user said it. */
  readonly date: string | undefined;
  /** Processor, memory and system. */
  readonly machine: Readonly<Record<string, string>>;
  /** Versions of what ran. */
  readonly versions: Readonly<Record<string, string>>;
  /** Rounds asked for. */
  readonly rounds: number;
  /** Results by comparison. */
  readonly comparisons: readonly ComparisonResult[];
  /** Baselines left out, and cases that failed. */
  readonly notes: readonly string[];
}

/** The machine, as its system describes it. */
export function describeMachine(): Record<string, string> {
  const line = (file: string, key: string) => firstLine("grep", "-m1", key, file)?.split(":")[1]?.trim() ?? "unknown";
  return {
    processor: line("/proc/cpuinfo", "model name"),
    cores: String(navigator.hardwareConcurrency),
    memory: line("/proc/meminfo", "MemTotal"),
    system: firstLine("uname", "-sr") ?? "unknown",
    "transparent huge pages": firstLine("cat", "/sys/kernel/mm/transparent_hugepage/enabled") ?? "unknown",
  };
}

/** Versions of Deno, of the compilers and of the packages compared with; what is missing is left out. */
export function describeVersions(v8Flags: string): Record<string, string> {
  const packageVersion = (name: string) => firstLine("dpkg-query", "-W", "-f", "${Version}", name);
  const versions: Record<string, string | undefined> = {
    Deno: Deno.version.deno,
    V8: Deno.version.v8,
    "V8 flags": v8Flags === "" ? "none" : v8Flags,
    gcc: firstLine("gcc", "--version"),
    Python: firstLine("/usr/bin/python3", "--version"),
    "ns-3": packageVersion("libns3-dev"),
    SimPy: packageVersion("python3-simpy3"),
  };
  return Object.fromEntries(Object.entries(versions).filter((entry): entry is [string, string] => !!entry[1]));
}

/** Three digits that count. */
function short(value: number): string {
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2;
  return value.toFixed(digits);
}

function goalText(goal: Goal | undefined): string {
  if (goal === undefined) return "";
  const bound = goal.atLeast === undefined ? `≤ ${goal.atMost}` : `≥ ${goal.atLeast}`;
  return goal.stretch === undefined ? bound : `${bound} (${goal.stretch})`;
}

const SIGNS: Readonly<Record<Figure["kind"], string>> = { faster: "×", scaling: "×", share: "", over: "", value: "" };

function cellsOf({ figure, ours, other, spread, met }: Measured): string[] {
  const sign = SIGNS[figure.kind];
  const unit = figure.kind === "over" || figure.kind === "value" ? ` ${figure.unit}` : sign;
  return [
    figure.name,
    `${short(ours)} ${figure.unit}`,
    other === undefined ? "" : `${short(other)} ${figure.unit}`,
    `${short(spread.median)}${unit}`,
    spread.low === spread.high ? "" : `${short(spread.low)} – ${short(spread.high)}`,
    goalText(figure.goal),
    met === undefined ? "" : met ? "met" : "**missed**",
  ];
}

/** The table in Markdown, with columns of equal width. */
export function tableOf(comparisons: readonly ComparisonResult[]): string {
  const rows = comparisons.flatMap(({ title, cases }) =>
    cases.flatMap(({ name, measured }) => measured.map((one) => [title, name, ...cellsOf(one)]))
  );
  const header = ["", "case", "figure", "ours", "other", "median", "least – largest", "goal", ""];
  const all = [header, ...rows];
  const widths = header.map((_, column) => Math.max(3, ...all.map((row) => row[column].length)));
  const line = (cells: readonly string[]) => `| ${cells.map((cell, i) => cell.padEnd(widths[i])).join(" | ")} |\n`;
  return line(header) + line(widths.map((width) => "-".repeat(width))) + rows.map(line).join("");
}

/** RESULTS.md. */
export function resultsText(result: BenchResult): string {
  const lines = (entries: Readonly<Record<string, string>>) =>
    Object.entries(entries).map(([name, text]) => `- ${name}: ${text}\n`).join("");
  const misses = result.comparisons.flatMap(({ title, cases }) =>
    cases.flatMap(({ name, measured }) =>
      measured.filter(({ met }) => met === false).map(({ figure, spread }) =>
        `- ${title}, ${name}, ${figure.name}: ${short(spread.median)}, goal ${goalText(figure.goal)}\n`
      )
    )
  );
  return [
    "# What was measured\n\n",
    "Written by the bench; [README.md](README.md) says how to read it. Times are CPU times; a ratio is the median of the ratios\n",
    `of ${result.rounds} rounds (fewer where a round takes minutes), its spread beside it.\n\n`,
    `    ${result.command}\n\n`,
    result.date === undefined ? "" : `- date: ${result.date}\n`,
    lines(result.machine),
    lines(result.versions),
    "\n",
    tableOf(result.comparisons),
    "\n## Missed\n\n",
    misses.length === 0 ? "Nothing.\n" : `${misses.join("")}\nWhy, and what was tried: [README.md](README.md).\n`,
    result.notes.length === 0 ? "" : `\n## Not measured\n\n${result.notes.map((note) => `- ${note}\n`).join("")}`,
  ].join("");
}
