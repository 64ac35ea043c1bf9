/** A recorded curve of what a guest used, from a CSV file. */
import { InputError } from "../../sim/core/options.ts";
import { PAGE_SIZE } from "../../sim/memory/range.ts";
import type { UserCurve } from "./user.ts";

const COLUMNS = ["t_s", "used_gib", "cached_gib"] as const;
const GIB_PAGES = 2 ** 30 / PAGE_SIZE;
/** The latest time of a point, and its largest amounts: those of the largest guest. */
const SECONDS_MAX = 1e7;
const GIB_MAX = 2 ** 13;

/** Reads columns t_s, used_gib (the page cache included) and cached_gib. Throws {@link InputError}. */
export function readUserCurve(bytes: Uint8Array): UserCurve {
  const [header, ...lines] = new TextDecoder().decode(bytes).trim().split(/\r?\n/);
  const names = header.split(",");
  const [t, used, cached] = COLUMNS.map((name) => {
    const at = names.indexOf(name);
    if (at < 0) throw new InputError(["row 1"], `a curve needs the column ${name}`);
    return at;
  });
  const times: number[] = [];
  const working: number[] = [];
  const cache: number[] = [];
  lines.forEach((line, index) => {
    const cells = line.split(",").map((cell) => cell.trim() === "" ? NaN : Number(cell));
    const [seconds, usedGib, cachedGib] = [cells[t], cells[used], cells[cached]];
    const isPoint = seconds >= 0 && seconds <= SECONDS_MAX && usedGib >= 0 && usedGib <= GIB_MAX &&
      cachedGib >= 0 && cachedGib <= GIB_MAX;
    if (!isPoint || seconds * 1e9 <= (times.at(-1) ?? -1)) {
      throw new InputError(
        [`row ${index + 2}`],
        `${
          JSON.stringify(line)
        } is not a later point with numbers from 0 on, up to ${SECONDS_MAX} s and ${GIB_MAX} GiB`,
      );
    }
    times.push(seconds * 1e9);
    working.push((usedGib - cachedGib) * GIB_PAGES);
    cache.push(cachedGib * GIB_PAGES);
  });
  if (times.length === 0) throw new InputError([], "a curve needs at least one point");
  return {
    workingPages: (timeNs) => between(times, working, timeNs),
    cachedPages: (timeNs) => between(times, cache, timeNs),
  };
}

/** The value at a time, straight between two points, the nearest one outside of them. */
function between(times: readonly number[], values: readonly number[], timeNs: number): number {
  let low = 0;
  let high = times.length - 1;
  if (timeNs <= times[low]) return values[low];
  if (timeNs >= times[high]) return values[high];
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (times[middle] <= timeNs) low = middle;
    else high = middle;
  }
  return values[low] + (values[high] - values[low]) * (timeNs - times[low]) / (times[high] - times[low]);
}
