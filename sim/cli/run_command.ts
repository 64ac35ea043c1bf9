/** The command `run`: simulates every run of a scenario, one after the other, and writes the result folder. */
import type { LoadedRun, LoadedScenario } from "../load.ts";
import type { Registries } from "../scenario.ts";
import { buildMachine } from "../simulate.ts";
import type { ShownRow } from "../summary_columns.ts";
import { Batch, refusing, type RunOptions } from "./batch.ts";
import { estimatedRows } from "./event_choice.ts";
import { DONE, FOUND, INTERRUPTED, type Io, quoteArgs } from "./io.ts";
import { type FinishedRun, inputHashes, manifestOf } from "./manifest.ts";
import { openScenario } from "./open_scenario.ts";
import { ResultFolder, resultPlace } from "./result_folder.ts";
import { summaryCsv } from "./summary_csv.ts";
import { absentColumns, comparisonTable } from "./table.ts";

/** Simulates a scenario. Returns the exit status; throws {@link UsageError}. */
export async function runCommand(io: Io, path: string, options: RunOptions, registries: Registries): Promise<number> {
  const loaded = await openScenario(io, path, options, registries);
  const say = (line: string) => options.quiet || options.json ? undefined : io.err(`${line}\n`);
  loaded.notices.forEach(say);
  const { target, shown } = resultPlace(io, loaded.name, options.out);
  const batch = new Batch(io, loaded, options);
  const notice = batch.prepare(target);
  if (notice !== undefined) say(notice);
  const folder = new ResultFolder(target, shown, options.command);
  folder.open(options.goOn);
  const inputs = await inputHashes(loaded);
  let finished: readonly FinishedRun[] | undefined;
  try {
    finished = await batch.run(folder, inputs);
  } catch (error) {
    folder.discard(batch.finished.length > 0 && loaded.runs.length > 1);
    throw error;
  }
  if (finished === undefined) return interrupted(io, folder, batch.finished.length, loaded.runs.length, options);
  folder.write("summary.csv", summaryCsv(finished.map(({ row }) => row)));
  folder.write("manifest.json", manifestOf(loaded, inputs, finished, options.command));
  folder.commit();
  report(io, shown, finished, options, loaded.runs[0].scenario.output.show);
  return exitStatus(finished, options.check);
}

/** Rows of a run, roughly; building the machine also finds what does not fit. Throws {@link UsageError}. */
export function estimateRows(loaded: LoadedScenario, run: LoadedRun): number {
  return estimatedRows(refusing(() => buildMachine(loaded, run, {})), run.scenario.untilNs);
}

function report(
  io: Io,
  shown: string,
  finished: readonly FinishedRun[],
  options: RunOptions,
  show: readonly ShownRow[],
): void {
  const rows = finished.map(({ row }) => row);
  if (options.json) {
    const runs = finished.map(({ row, findings }) => ({ ...row, findings }));
    io.out(JSON.stringify({ out: shown, runs }, null, 2) + "\n");
    return;
  }
  io.out(comparisonTable(rows, show));
  for (const column of absentColumns(rows, show)) io.err(`output.show: no run has the column ${column}\n`);
  for (const { row, findings } of finished) for (const finding of findings) io.err(`${row.run}: ${finding}\n`);
  if (!options.quiet) io.out(`\nseed ${rows[0].seed}; results in ${shown}\n`);
}

function exitStatus(finished: readonly FinishedRun[], check: boolean): number {
  const found = finished.some(({ row, findings }) => findings.length > 0 || (check && Number(row.violations) > 0));
  return found ? FOUND : DONE;
}

function interrupted(io: Io, folder: ResultFolder, done: number, runs: number, options: RunOptions): number {
  const keep = done > 0 && runs > 1;
  folder.discard(keep);
  if (keep) {
    const args = [...options.command.filter((word) => word !== "--continue"), "--continue"];
    io.err(
      `interrupted: ${done} of ${runs} runs are finished and kept; go on with: deno task sim ${quoteArgs(args)}\n`,
    );
  } else io.err("interrupted: nothing was kept\n");
  return INTERRUPTED;
}
