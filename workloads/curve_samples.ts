/** Reads a recorded curve of free blocks by order: one sample a second and zone, as written beside the sweep of reporting orders. */
import { InputError, show } from "../sim/core/options.ts";
import { ORDERS } from "../sim/guest/allocator.ts";

/** Seconds in one tick of the CPU columns (USER_HZ). */
const TICK_S = 0.01;

const NS_PER_S = 1e9;

/** Free blocks of all zones at one moment. */
export interface CurveSample {
  /** Time since the first sample, ns. */
  readonly timeNs: number;
  /** Free blocks by order, for each zone in the order of {@link Curve.zones}. */
  readonly blocks: readonly (readonly number[])[];
  /** Time since the sample before in which the CPUs were not idle, ns; undefined without the column of idle ticks. */
  readonly busyNs: number | undefined;
}

/** One recorded curve. */
export interface Curve {
  /** Names of the zones. */
  readonly zones: readonly string[];
  /** Samples, ascending in time; at least one. */
  readonly samples: readonly CurveSample[];
}

/** A sample while its rows are read. */
interface OpenSample {
  readonly timeS: number;
  readonly idleTicks: number | undefined;
  readonly blocks: Map<string, readonly number[]>;
}

/**
 * The curve of one run in a file of samples. Columns are found by name: `t_s`, `zone`, `o0` to `o10` are wanted, `order` names the
 * run where the file holds several, `cpu_idle_ticks` is used where it stands; all others are left alone.
 * `run` is a value of the column `order`; the first run of the file without it. Throws {@link InputError} with path `["row", n]`.
 */
export function readCurve(bytes: Uint8Array, run?: string): Curve {
  const lines = new TextDecoder().decode(bytes).split("\n");
  if (lines.at(-1) === "") lines.pop();
  const names = (lines[0] ?? "").split(",");
  const column = (name: string) => names.indexOf(name);
  const orders = Array.from({ length: ORDERS }, (_, order) => column(`o${order}`));
  const [timeAt, zoneAt, runAt, idleAt] = ["t_s", "zone", "order", "cpu_idle_ticks"].map(column);
  if (timeAt < 0 || zoneAt < 0 || orders.includes(-1)) {
    throw new InputError(
      ["row", 1],
      `${show(lines[0] ?? "")} is not the header of a curve; wanted are t_s, zone, o0 to o10`,
    );
  }
  const runs = new Set<string>();
  const samples: OpenSample[] = [];
  for (const [index, line] of lines.entries()) {
    if (index === 0) continue;
    const cells = line.split(",");
    const number = (at: number) => numberOf(cells[at], names[at], index + 1);
    const name = runAt < 0 ? "" : cells[runAt];
    runs.add(name);
    if (name !== (run ?? [...runs][0])) continue;
    const timeS = number(timeAt);
    let sample = samples.at(-1);
    if (sample === undefined || timeS > sample.timeS) {
      sample = { timeS, idleTicks: idleAt < 0 ? undefined : number(idleAt), blocks: new Map() };
      samples.push(sample);
    } else if (timeS < sample.timeS) {
      throw new InputError(["row", index + 1], "its time is before that of the row before");
    }
    sample.blocks.set(cells[zoneAt], orders.map(number));
  }
  if (samples.length > 0) return curveOf(samples);
  throw new InputError(
    ["row", 2],
    runs.size === 0 ? "no sample" : `no run ${show(run)}; the file has ${[...runs].join(", ")}`,
  );
}

function curveOf(samples: readonly OpenSample[]): Curve {
  const zones = [...samples[0].blocks.keys()];
  const start = samples[0].timeS;
  return {
    zones,
    samples: samples.map(({ timeS, idleTicks, blocks }, index) => ({
      timeNs: Math.round((timeS - start) * NS_PER_S),
      blocks: zones.map((zone) =>
        blocks.get(zone) ?? samples[index - 1]?.blocks.get(zone) ?? new Array(ORDERS).fill(0)
      ),
      busyNs: index === 0 ? 0 : busyNsOf(timeS - samples[index - 1].timeS, idleTicks, samples[index - 1].idleTicks),
    })),
  };
}

function busyNsOf(lengthS: number, ticks: number | undefined, ticksBefore: number | undefined): number | undefined {
  if (ticks === undefined || ticksBefore === undefined) return undefined;
  return Math.round(Math.max(0, lengthS - (ticks - ticksBefore) * TICK_S) * NS_PER_S);
}

function numberOf(cell: string | undefined, name: string, row: number): number {
  const value = Number(cell);
  if (cell !== undefined && cell !== "" && Number.isFinite(value) && value >= 0) return value;
  throw new InputError(["row", row], `${show(cell ?? "")} is not a number of 0 or more for ${name}`);
}
