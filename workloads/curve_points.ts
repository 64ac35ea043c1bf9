/**
 * From samples to points that memory is led through: when what is missing was taken and when it came back, and how deep memory
 * fell between two samples.
 *
 * A sample a second sees neither what is taken and given back within a second nor how far a longer rise of demand went. The first
 * leaves no mark on the free lists as long as per-CPU lists serve it, and is left out. The second is read from the idle time of
 * the CPUs: while a task takes more memory than it does in an ordinary second the CPUs are never idle, and the ordinary work
 * that had to wait is done afterwards. So the length of such a burst is the time without idling less the ordinary work in it, and
 * memory is taken at one rate from its beginning to the point where the task exits and gives everything back.
 */
import { ORDER_MAX } from "../sim/guest/allocator.ts";
import { ORDER_PAGES } from "../sim/memory/range.ts";
import type { Curve, CurveSample } from "./curve_samples.ts";

/** Free blocks that the lists have to reach, and when. */
export interface CurvePoint {
  /** When they are reached, ns. */
  readonly timeNs: number;
  /** Free blocks by order, by zone. */
  readonly blocks: readonly (readonly number[])[];
  /** From when on pages are taken, ns; up to {@link CurvePoint.giveNs}. */
  readonly takeNs: number;
  /** From when on pages come back, ns. */
  readonly giveNs: number;
  /** When the last page came back, ns. */
  readonly givenNs: number;
}

/** From this share of busy time on a CPU never idled: a tick of 1 % may be lost. */
const SATURATED = 0.98;

/** Below this share of busy time no ordinary work runs. */
const WORKING = 0.1;

/** A time of more demand than in an ordinary second. */
interface Burst {
  /** The sample that first saw less free memory. */
  readonly first: number;
  /** The last sample before memory came back. */
  readonly fallen: number;
  /** When its task began to take, ns. */
  readonly startNs: number;
  /** When its task was gone, ns. */
  readonly endNs: number;
}

/**
 * The points of a curve, the first at time 0. `giveShare` is the part of a burst's time in which its task exits and gives its
 * memory back.
 */
export function curvePoints({ samples }: Curve, giveShare: number): CurvePoint[] {
  const points = samples.map((sample, index) => ordinary(samples[index - 1], sample));
  const isTimed = samples.some(({ busyNs }) => (busyNs ?? 0) > 0);
  const bursts = isTimed ? burstsByTime(samples) : burstsByShape(samples);
  // From the last to the first, so that points can be inserted.
  for (const burst of bursts.reverse()) refine(points, samples, burst, giveShare);
  return points;
}

/** Memory is taken while the task of this second runs, and comes back when it ends; half-way where that is not known. */
function ordinary(before: CurveSample | undefined, { timeNs, blocks, busyNs }: CurveSample): CurvePoint {
  const takeNs = before?.timeNs ?? 0;
  const lengthNs = timeNs - takeNs;
  const giveNs = takeNs + Math.min(lengthNs, busyNs ?? Math.floor(lengthNs / 2));
  return { timeNs, blocks, takeNs, giveNs, givenNs: giveNs };
}

function shareOf(samples: readonly CurveSample[], index: number): number {
  const sample = samples[index];
  if (index === 0 || sample?.busyNs === undefined) return 0;
  return sample.busyNs / (sample.timeNs - samples[index - 1].timeNs);
}

/** How much of a second the ordinary work takes: the median of the seconds that neither idle through nor never idle. */
function medianShare(samples: readonly CurveSample[]): number {
  const shares = samples.map((_, index) => shareOf(samples, index))
    .filter((share) => share > WORKING && share < SATURATED).sort((a, b) => a - b);
  return shares[Math.floor(shares.length / 2)] ?? 0;
}

function freePages(samples: readonly CurveSample[], index: number): number {
  return samples[index].blocks.reduce((sum, counts) => sum + pagesOf(counts), 0);
}

/** Bursts as the idle time shows them. */
function burstsByTime(samples: readonly CurveSample[]): Burst[] {
  const share = medianShare(samples);
  const bursts: Burst[] = [];
  for (let first = 1; first < samples.length; first++) {
    if (shareOf(samples, first) < SATURATED) continue;
    let last = first;
    while (last + 1 < samples.length && shareOf(samples, last + 1) >= SATURATED) last++;
    let fallen = first;
    while (fallen < last && freePages(samples, fallen + 1) < freePages(samples, fallen)) fallen++;
    if (freePages(samples, first) < freePages(samples, first - 1) && fallen + 1 < samples.length) {
      const ordinaryNs = share * (samples[first].timeNs - samples[first - 1].timeNs);
      const quietNs = samples[last].timeNs + (samples[last + 1]?.busyNs ?? 0);
      // Each second that the burst ran into has ordinary work of its own, unless the work has ended with the burst.
      const waiting = shareOf(samples, last + 2) > WORKING ? last - first + 1 : 0;
      const endNs = Math.min(samples[fallen + 1].timeNs, quietNs - waiting * ordinaryNs);
      bursts.push({ first, fallen, startNs: samples[first - 1].timeNs + ordinaryNs, endNs });
    }
    first = last;
  }
  return bursts;
}

/**
 * Without idle times every fall that is followed by a rise is a burst, from the middle of its first second to the middle of the
 * one that sees the rise. The second before belongs to it when it fell by a quarter as much: half would be usual, as a burst
 * begins anywhere in a second.
 */
function burstsByShape(samples: readonly CurveSample[]): Burst[] {
  const fall = (index: number) => index < 1 ? 0 : freePages(samples, index - 1) - freePages(samples, index);
  const middleNs = (index: number) => (samples[index - 1].timeNs + samples[index].timeNs) / 2;
  const bursts: Burst[] = [];
  for (let fallen = 1; fallen + 1 < samples.length; fallen++) {
    if (fall(fallen) <= 0 || fall(fallen + 1) >= 0) continue;
    let first = fallen;
    while (4 * fall(first - 1) >= fall(first)) first--;
    bursts.push({ first, fallen, startNs: middleNs(first), endNs: middleNs(fallen + 1) });
  }
  return bursts;
}

/** Replaces the points of a burst: one more at its deepest, and the times at which it takes and gives back. */
function refine(
  points: CurvePoint[],
  samples: readonly CurveSample[],
  { first, fallen, startNs, endNs }: Burst,
  giveShare: number,
): void {
  const deepestNs = Math.round(endNs - giveShare * (endNs - startNs));
  const [beganNs, fallenNs] = [samples[first].timeNs, samples[fallen].timeNs];
  points[first] = { ...points[first], takeNs: Math.round(startNs), giveNs: beganNs, givenNs: beganNs };
  const takeNs = Math.max(fallenNs, deepestNs);
  const times = { takeNs, giveNs: takeNs, givenNs: Math.max(takeNs, Math.round(endNs)) };
  points[fallen + 1] = { ...points[fallen + 1], ...times };
  if (deepestNs <= fallenNs) return;
  const sinceNs = fallen === first ? startNs : samples[fallen - 1].timeNs;
  const steps = (deepestNs - fallenNs) / (fallenNs - sinceNs);
  const blocks = samples[fallen].blocks.map((counts, zone) => deeper(counts, samples[fallen - 1].blocks[zone], steps));
  points.splice(fallen + 1, 0, { timeNs: deepestNs, blocks, takeNs: fallenNs, giveNs: deepestNs, givenNs: deepestNs });
}

/** Counts after the fall from one sample to the next has gone on for `steps` as long: what is missing is missing from order 10. */
function deeper(counts: readonly number[], before: readonly number[], steps: number): number[] {
  const fallPages = Math.max(0, pagesOf(before) - pagesOf(counts)) * steps;
  const deepest = [...counts];
  deepest[ORDER_MAX] = Math.max(0, counts[ORDER_MAX] - Math.round(fallPages / ORDER_PAGES[ORDER_MAX]));
  return deepest;
}

function pagesOf(counts: readonly number[]): number {
  return counts.reduce((sum, count, order) => sum + count * ORDER_PAGES[order], 0);
}
