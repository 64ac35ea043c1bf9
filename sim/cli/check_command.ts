/** The command `check`: validates a scenario or a recording and runs nothing. */
import type { Registries } from "../scenario.ts";
import { DONE, type Io } from "./io.ts";
import { openScenario } from "./open_scenario.ts";
import { estimateRows } from "./run_command.ts";

/** Checks a file: its form, its files, and whether its parts fit together. Throws UsageError. */
export async function checkCommand(io: Io, path: string, registries: Registries): Promise<number> {
  const loaded = await openScenario(io, path, { settings: [], reps: 1 }, registries);
  loaded.notices.forEach((notice) => io.err(`${notice}\n`));
  for (const run of loaded.runs) estimateRows(loaded, run);
  io.out(`${path}: fine, ${loaded.runs.length} ${loaded.runs.length === 1 ? "run" : "runs"}\n`);
  return DONE;
}
