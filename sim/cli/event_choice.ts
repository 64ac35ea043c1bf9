/** Which formats the events of a run are written in, and whether the disk holds them. */
import { statfsSync } from "node:fs";
import type { Machine } from "../machine.ts";
import { formatSize } from "../memory/units.ts";
import type { EventFormat } from "../scenario_options.ts";
import { exists, folderOf } from "./files.ts";
import { UsageError } from "./io.ts";

/** Rows of a run up to which its events are written unless told otherwise. */
const EVENTS_DEFAULT_ROWS = 5e6;

/** Bytes of one row of events.csv, on the mean. */
export const EVENT_ROW_BYTES = 60;

/** Bytes of one row by format. Compressed, rows took a third to a tenth in what was measured. */
const ROW_BYTES: Readonly<Record<EventFormat, number>> = { "csv": EVENT_ROW_BYTES, "csv.zst": EVENT_ROW_BYTES / 3 };

/** Where nobody may ask how much disk is free, what no disk of today holds is refused. */
const EVENTS_BYTES_MAX = 2 ** 42;

/** What decides about the events. */
export interface EventWish {
  /** What the user asked for; undefined leaves it to the size of the run. */
  readonly asked: readonly EventFormat[] | undefined;
  /** Rows of one run, roughly. */
  readonly rows: number;
  /** The most events of a run. */
  readonly eventsMax: number;
  /** How many runs there are. */
  readonly runs: number;
  /** Free bytes of the disk; undefined when nobody may ask. */
  readonly freeBytes: number | undefined;
}

/** The formats, with a line for the user where the size of the run decides. Throws {@link UsageError}. */
export function chooseEvents(wish: EventWish): { readonly formats: readonly EventFormat[]; readonly notice?: string } {
  const { asked, rows, runs } = wish;
  if (asked !== undefined) {
    refuseTooLarge(asked, wish);
    return { formats: asked };
  }
  if (runs > 1) {
    return { formats: [], notice: `events: none for a grid of ${runs} runs; --events csv writes them` };
  }
  if (rows > EVENTS_DEFAULT_ROWS) {
    return { formats: [], notice: `events: none for about ${rows} rows; --events csv writes them` };
  }
  return { formats: ["csv"], notice: `events: csv, about ${rows} rows; --events none leaves them out` };
}

function refuseTooLarge(formats: readonly EventFormat[], { rows, eventsMax, runs, freeBytes }: EventWish): void {
  const rowBytes = formats.reduce((sum, format) => sum + ROW_BYTES[format], 0);
  const bytes = Math.min(rows, eventsMax) * runs * rowBytes;
  if (bytes <= (freeBytes ?? EVENTS_BYTES_MAX)) return;
  const room = freeBytes === undefined ? "more than a disk holds" : `and the disk has ${formatSize(freeBytes)} left`;
  throw new UsageError(
    `--events ${formats.join(",")}: the events would take about ${formatSize(bytes)}, ${room}; use --events none`,
  );
}

/** Rows that a machine will write until `untilNs`, roughly. */
export function estimatedRows(machine: Machine, untilNs: number): number {
  const longestNs = Math.max(1, ...machine.guests.map(({ workload }) => workload.durationNs));
  return machine.estimatedRows * Math.min(1, untilNs / longestNs);
}

/** Free bytes of the disk that holds `path` or will hold it; undefined without the permission to ask. */
export function freeBytesAt(path: string): number | undefined {
  if (Deno.permissions.querySync({ name: "sys", kind: "statfs" }).state !== "granted") return undefined;
  let folder = path;
  while (!exists(folder) && folder !== folderOf(folder)) folder = folderOf(folder);
  const { bavail, bsize } = statfsSync(folder);
  return bavail * bsize;
}
