/**
 * End to end, in one warm process: a recording with policy none, with events off, written and thrown away, and written to a
 * file; then a generated workload: `replay.ts FOLDER REPEATS CHURN_MS`. Parsing and building are not measured; fingerprint,
 * judge and summary always run.
 */
import type { LoadedScenario } from "../../sim/load.ts";
import { argument, build, mix, open, report, runMachine } from "./measure.ts";
import { EventsCsv } from "./subjects.ts";

const path = `${Deno.args[0]}/events.csv`;
const repeats = argument(1);

/** Where the events go. */
type Sink = "off" | "discarded" | "file";

interface Total {
  spentNs: number;
  operations: number;
  rows: number;
}

let checksum = 0;

/** Runs a scenario once and adds to `total`. */
function runOnce(loaded: LoadedScenario, sink: Sink, total: Total): void {
  const file = sink === "file" ? Deno.openSync(path, { write: true, create: true, truncate: true }) : undefined;
  const csv = sink === "off" ? undefined : new EventsCsv((bytes) => file?.writeSync(bytes));
  const machine = build(loaded, { readers: () => csv === undefined ? [] : [csv] });
  const { spentNs, operations, rows, fingerprint } = runMachine(machine);
  csv?.close();
  file?.close();
  total.spentNs += spentNs;
  total.operations += operations;
  total.rows += rows;
  checksum = mix(checksum, parseInt(fingerprint.slice(8), 16));
}

/** Runs a scenario with each sink in turn; the first turn is not counted. */
function measure(loaded: LoadedScenario, turns: number, sinks: readonly Sink[]): Map<Sink, Total> {
  const totals = new Map<Sink, Total>();
  for (let turn = 0; turn <= turns; turn++) {
    for (const sink of sinks) {
      if (turn <= 1) totals.set(sink, { spentNs: 0, operations: 0, rows: 0 });
      runOnce(loaded, sink, totals.get(sink)!);
    }
  }
  return totals;
}

/** Millions of operations in a second of CPU time. */
const speed = ({ operations, spentNs }: Total): number => operations / spentNs * 1000;

const recording = await open({
  workload: {
    kind: "page-trace",
    file: "recordings/b2-mixed.buddy.csv.gz",
    snapshots: "recordings/b2-mixed.snaps.json.gz",
  },
});
const replays = measure(recording, repeats, ["off", "discarded", "file"]);

const churn = await open({
  machine: { memory: "4GiB" },
  workload: { kind: "churn", lifetime: { mean: "1s" }, duration: `${argument(2)}ms` },
});
const churns = measure(churn, 1, ["off", "discarded"]);
report(checksum, {
  replayOff: speed(replays.get("off")!),
  replayCsv: speed(replays.get("discarded")!),
  replayFile: speed(replays.get("file")!),
  replayOperations: replays.get("off")!.operations,
  churnOff: speed(churns.get("off")!),
  churnCsv: speed(churns.get("discarded")!),
  churnOperations: churns.get("off")!.operations,
});
