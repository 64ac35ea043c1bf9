/** The command `trace stat`: what a recording holds. */
import { MIGRATETYPES } from "../guest/allocator.ts";
import { readRecording } from "../guest/recording.ts";
import { type LevelStat, type Place, type TraceStat, traceStat } from "../guest/trace_stat.ts";
import { PAGE_SIZE } from "../memory/range.ts";
import { formatDuration, formatSize } from "../memory/units.ts";
import { readUserFile } from "./files.ts";
import { DONE, type Io } from "./io.ts";
import { formatTable } from "./table.ts";
import { ofFile } from "./trace_input.ts";

/** What the user asked for. */
export interface StatOptions {
  /** Whether the result is printed as JSON. */
  readonly json: boolean;
}

/** Prints what a recording holds. Returns the exit status; throws {@link UsageError}. */
export async function statCommand(io: Io, path: string, options: StatOptions): Promise<number> {
  const stat = await ofFile(path, async () => traceStat(readRecording(await readUserFile(io, path))));
  io.out(options.json ? `${JSON.stringify(stat, null, 2)}\n` : textOf(stat));
  return DONE;
}

function textOf(stat: TraceStat): string {
  const perSecond = stat.durationUs > 0 ? ` (${Math.round(stat.rows / (stat.durationUs / 1e6))} a second)` : "";
  const head = formatTable([
    ["rows", `${stat.rows}${perSecond}`],
    ["duration", time(stat.durationUs)],
    ["cpus", counts(stat.cpus)],
    ["events", counts(stat.events)],
    ["snapshots", placesOf(stat.snapshots)],
  ], true);
  const marks = stat.marks.length === 0
    ? ""
    : `\nmarks\n${formatTable(stat.marks.map(({ text, row, timeUs }) => [String(row), time(timeUs), text]), true)}`;
  return head + stat.levels.map(levelText).join("") + marks;
}

function levelText(level: LevelStat): string {
  const { allocations, frees, operationsPerSecond, freedInParts } = level;
  const title = level.level === "requests" ? "requests (A, F)" : "free lists (Z, D, O, P)";
  const parts = freedInParts > 0 ? `, ${freedInParts} blocks freed in other parts than allocated` : "";
  const orders = level.orders.map((one, index) => {
    const life = level.lifetimes[index];
    const lives = [life.p50Us, life.p90Us, life.p99Us, life.maxUs].map((us) => life.count === 0 ? "-" : time(us));
    const numbers = [one.order, one.allocations, one.frees, life.aliveAtStart, life.aliveAtEnd, life.count];
    return [...numbers.map(String), ...lives];
  });
  const types = level.migratetypes.map(({ migratetype, allocations: count, pages }) =>
    `${MIGRATETYPES[migratetype] ?? "unknown"} ${count} (${formatSize(pages * PAGE_SIZE)})`
  );
  const header = ["order", "allocs", "frees", "in use before", "in use after", "lives", "p50", "p90", "p99", "max"];
  const live = level.live.map(({ timeUs, pages }) => [time(timeUs), String(pages), formatSize(pages * PAGE_SIZE)]);
  return `\n${title}: ${allocations} allocations, ${frees} frees, ${
    Math.round(operationsPerSecond)
  } a second${parts}\n` +
    `${formatTable([header, ...orders])}allocations by type: ${types.join(", ") || "none"}\n` +
    `\nknown to be in use (at most ${level.livePagesMax} pages)\n${formatTable([["time", "pages", ""], ...live])}`;
}

function time(us: number): string {
  return formatDuration(us * 1000);
}

function counts(numbers: Readonly<Record<string, number>>): string {
  return Object.entries(numbers).map(([name, count]) => `${name} ${count}`).join(", ") || "none";
}

function placesOf(places: readonly Place[]): string {
  return places.map(({ text, row, timeUs }) => `${text} (row ${row}, ${time(timeUs)})`).join(", ") || "none";
}
