/** What `--dry-run` and `--print-defaults` show: nothing is run and nothing is written. */
import { stringify } from "yaml";
import type { LoadedScenario } from "../load.ts";
import { formatDuration, formatSize } from "../memory/units.ts";
import { DONE, type Io } from "./io.ts";
import { EVENT_ROW_BYTES } from "./event_choice.ts";
import { estimateRows } from "./run_command.ts";
import { formatTable } from "./table.ts";

/** Prints the runs with their estimated size. */
export function dryRun(io: Io, loaded: LoadedScenario): number {
  const rows = loaded.runs.map((run) => {
    const events = Math.round(estimateRows(loaded, run));
    const { untilNs } = run.scenario;
    const until = untilNs === Infinity ? "workload" : formatDuration(untilNs);
    return [run.name, until, `~${events}`, `~${formatSize(events * EVENT_ROW_BYTES)}`];
  });
  io.out(formatTable([["run", "until", "rows", "events.csv"], ...rows]));
  return DONE;
}

/** Prints the scenario of the first run with every default filled in. */
export function printDefaults(io: Io, loaded: LoadedScenario): number {
  io.out(stringify(loaded.runs[0].scenario.filled));
  return DONE;
}
