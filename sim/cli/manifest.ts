/** The manifest of a result: what made it, so that anyone can make it again. No wall time, no host name. */
import { costProfiles } from "../host/costs.ts";
import type { LoadedRun, LoadedScenario } from "../load.ts";
import type { EventFormat } from "../scenario_options.ts";
import type { SummaryRow } from "../summary_row.ts";
import { VERSION } from "../version.ts";

/** A finished run, as it is kept for the summary and for going on. */
export interface FinishedRun {
  /** Equal for equal input; a finished run is used again only with the same. */
  readonly key: string;
  /** The row of summary.csv. */
  readonly row: SummaryRow;
  /** What was found: why the run ended early, and problems of the checkers. */
  readonly findings: readonly string[];
}

/** Hashes of the input files by name. */
export type InputHashes = Readonly<Record<string, string>>;

async function sha256(bytes: Uint8Array): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>);
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** SHA-256 of every file that the scenario names, as it was read. */
export async function inputHashes(loaded: LoadedScenario): Promise<InputHashes> {
  const hashes: Record<string, string> = {};
  for (const [path, bytes] of loaded.files) hashes[path] = await sha256(bytes);
  return hashes;
}

/** A key that is equal when a run would write the same files. */
export async function runKey(
  inputs: InputHashes,
  run: LoadedRun,
  events: readonly EventFormat[],
  options: { readonly check: boolean; readonly eventsMax: number },
): Promise<string> {
  const { check, eventsMax } = options;
  const parts = [VERSION, run.name, run.rep, run.scenario.filled, inputs, events, check, eventsMax];
  return await sha256(new TextEncoder().encode(JSON.stringify(parts)));
}

/** The text of manifest.json. */
export function manifestOf(
  loaded: LoadedScenario,
  inputs: InputHashes,
  finished: readonly FinishedRun[],
  command: readonly string[],
): string {
  const { scenario } = loaded.runs[0];
  const manifest = {
    hintsim: VERSION,
    format: 1,
    name: loaded.name,
    command: withoutJobs(command),
    seed: scenario.seed,
    scenario: scenario.filled,
    costs: costProfiles.find(({ name }) => name === scenario.costs.name),
    inputs,
    runs: loaded.runs.map((run, index) => ({
      run: run.name,
      axes: Object.fromEntries(run.axes.map(({ key, label }) => [key, label])),
      fingerprint: finished[index].row.fingerprint,
      events: finished[index].row.events,
      findings: finished[index].findings,
      scenario: run.scenario.filled,
    })),
  };
  return JSON.stringify(manifest, null, 2) + "\n";
}

/** The number of workers does not change a result and is left out. */
function withoutJobs(command: readonly string[]): string[] {
  return command.filter((word, index) =>
    word !== "--jobs" && command[index - 1] !== "--jobs" && !word.startsWith("--jobs=")
  );
}
