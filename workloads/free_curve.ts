/**
 * A guest whose free lists follow a recorded curve of free blocks by order: what a live guest did, without knowing its requests.
 *
 * The curve holds what /proc/buddyinfo showed once a second, per-CPU lists not included; so run it with `machine.perCpu: false`,
 * else the requests would fill those lists a second time. Where samples do not tell what happened between them the rules of
 * `curve_points.ts` (times, bursts) and `curve_follower.ts` (which blocks) apply; none of them looks at what was reported.
 */
import { fraction, InputError, optional, type Options, text } from "../sim/core/options.ts";
import { zonesOfState } from "../sim/guest/layout.ts";
import type { OpColumns, OpStream, Workload, WorkloadContext } from "../sim/guest/operations.ts";
import { type WorkloadPlugin, workloadPlugin } from "../sim/guest/plugin.ts";
import { StartBlocks } from "../sim/guest/start_blocks.ts";
import { ORDER_PAGES } from "../sim/memory/range.ts";
import { CurveFollower, type CurveRequest } from "./curve_follower.ts";
import { type CurveLayout, layoutCurve } from "./curve_layout.ts";
import { type CurvePoint, curvePoints } from "./curve_points.ts";
import { readCurve } from "./curve_samples.ts";
import { Handles } from "./handles.ts";

/** Options of free-curve. */
export interface FreeCurveOptions {
  /** The samples. */
  readonly file: string;
  /** Which run of the file. */
  readonly run?: string | undefined;
  /** Part of a burst's time in which memory comes back. */
  readonly giveShare: number;
}

const options: Options<FreeCurveOptions> = {
  fields: {
    file: text(undefined, {
      summary: "samples, .csv or .csv.gz: t_s, zone, o0 to o10, and cpu_idle_ticks where known",
    }),
    run: optional(
      text(undefined, { summary: "the value of the column `order` that names the run; the first one without" }),
    ),
    giveShare: fraction(0.106, 0, 1, {
      summary: "part of a burst's time in which its memory comes back",
      source:
        "recording b2-612-mixed, memhog of small pages: 18.98 us to take a page, 2.24 us to give it back at the exit",
    }),
  },
};

/** A request with its time and zone. */
interface TimedRequest extends CurveRequest {
  readonly timeNs: number;
  readonly zone: number;
}

class CurveStream implements OpStream {
  readonly open = true;
  #requests: readonly TimedRequest[];
  #next = 0;

  constructor(requests: readonly TimedRequest[]) {
    this.#requests = requests;
  }

  fill(columns: OpColumns): number {
    let row = 0;
    for (; row < columns.size && this.#next < this.#requests.length; row++) {
      const { kind, handle, order, timeNs, zone } = this.#requests[this.#next++];
      // MOVABLE is 1: user memory, which is what a task's bursts are made of.
      columns.set(row, kind, handle, order, 1, timeNs, ORDER_PAGES[order], 0, zone);
    }
    return row;
  }
}

/** `requests` evenly from one time to another, in their order. */
function spread(requests: readonly CurveRequest[], zone: number, fromNs: number, toNs: number): TimedRequest[] {
  const stepNs = (toNs - fromNs) / Math.max(1, requests.length);
  return requests.map((request, index) => ({ ...request, zone, timeNs: Math.round(fromNs + index * stepNs) }));
}

/** The requests of a whole curve, ascending in time, and the blocks that are in use when it starts. */
function requestsOf(points: readonly CurvePoint[], { state, held, zoneIndexes }: CurveLayout) {
  const handles = new Handles(0, 1);
  const zones = zonesOfState(state);
  const followers = zones.map(({ allocator }) => new CurveFollower(allocator, handles));
  const start = new StartBlocks();
  for (const { zone, pfn, order } of held) start.add(followers[zone].hold(pfn, order), order, 1, pfn);
  const requests: TimedRequest[] = [];
  for (let index = 1; index < points.length; index++) {
    const { blocks, takeNs, giveNs, givenNs } = points[index];
    const ofStep = zoneIndexes.flatMap((zone, at) => {
      const { takes, gives } = followers[zone].step(points[index - 1].blocks[at], blocks[at]);
      return [...spread(takes, zone, takeNs, giveNs), ...spread(gives, zone, giveNs, givenNs)];
    });
    requests.push(...ofStep.sort((a, b) => a.timeNs - b.timeNs));
  }
  return { start, requests };
}

function create(context: WorkloadContext, settings: FreeCurveOptions): Workload {
  let curve;
  try {
    curve = readCurve(context.file(settings.file), settings.run);
  } catch (error) {
    if (error instanceof InputError) throw new InputError(["file:", settings.file, ...error.path], error.message);
    throw error;
  }
  const points = curvePoints(curve, settings.giveShare);
  const layout = layoutCurve(curve.zones, points, context);
  const { start, requests } = requestsOf(points, layout);
  return {
    streams: [new CurveStream(requests)],
    start,
    zoneRequests: true,
    state: layout.state,
    estimatedRows: 2 * requests.length,
    durationNs: points[points.length - 1].timeNs,
  };
}

/** The plug-in. */
export const freeCurve: WorkloadPlugin = workloadPlugin<FreeCurveOptions>({
  name: "free-curve",
  summary: "the free lists follow a recorded curve of free blocks by order",
  source: "/proc/buddyinfo of a live guest, once a second",
  options,
  files: ({ file }) => [file],
  create,
});
