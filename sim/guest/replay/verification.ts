/**
 * Replaying a recording to compare with what the kernel did: each page it picked, and its ordered free lists, per-CPU lists and
 * reported blocks at every snapshot.
 */
import { InputError } from "../../core/options.ts";
import { MIGRATETYPE_COUNT, ORDERS, PAGEBLOCK_PAGES } from "../allocator.ts";
import type { Kernel } from "../kernel.ts";
import { zonesOfState } from "../layout.ts";
import type { RecordedPerCpu, RecordedState } from "../operations.ts";
import type { PerCpuPages } from "../pcp.ts";
import { sameLists } from "../pcp_state.ts";
import type { Recording } from "../recording.ts";
import type { Snapshots } from "../snapshot.ts";
import type { Zone } from "../zone.ts";
import { BuddyLevel } from "./buddy_level.ts";
import { PcpLevel } from "./pcp_level.ts";
import type { Divergence, ReplayLists } from "./replay_lists.ts";
import { ReportingLevel } from "./reporting_level.ts";
import type { MakePolicy } from "./stepped_worker.ts";

/** What drives a replay; see docs/recording.md. */
export type ReplayLevel = "buddy" | "pcp" | "reporting";

/** All levels. */
export const REPLAY_LEVELS: readonly ReplayLevel[] = ["buddy", "pcp", "reporting"];

/** How a recording is replayed. */
export interface VerifyParts {
  /** What drives. */
  readonly level: ReplayLevel;
  /** The kernel generation that was recorded. */
  readonly kernel: Kernel;
  /** The reporting worker, for level `reporting`, and its delay, ns. */
  readonly worker?: { readonly makePolicy: MakePolicy; readonly delayNs: number };
}

/** How the lists compare with one snapshot. */
export interface SnapshotComparison {
  /** Tag of the snapshot. */
  readonly tag: string;
  /** Operations before it. */
  readonly operations: number;
  /** Lists (zone, order, migratetype) that hold the same blocks in the same order. */
  readonly identicalLists: number;
  /** All lists. */
  readonly lists: number;
  /** Sum over zones and orders of the difference of free blocks. */
  readonly nrFreeDifference: number;
  /** Pageblocks whose migratetype differs. */
  readonly pageblockDifference: number;
  /** Level pcp: per-CPU lists (zone and CPU) whose pages differ. */
  readonly perCpuDifference: number;
  /** Level reporting: blocks that are marked Reported on one side only. */
  readonly reportedDifference: number;
}

/** The result of a replay. */
export interface Verification {
  /** What drove it. */
  readonly level: ReplayLevel;
  /** The kernel generation. */
  readonly kernel: string;
  /** Allocations replayed. */
  readonly allocations: number;
  /** Frees replayed. */
  readonly frees: number;
  /** Level reporting: blocks isolated, messages, blocks put back. */
  readonly reporting?: { readonly isolates: number; readonly reports: number; readonly putBacks: number };
  /** Rows at which another page was picked than the kernel's, or at which the lists were not as the kernel had them. */
  readonly wrongPfns: number;
  /** The first of them. */
  readonly first?: Divergence;
  /** One comparison per snapshot, in order. */
  readonly snapshots: readonly SnapshotComparison[];
  /** Snapshots that could not be compared: without a row in the recording, or without lists in the file. */
  readonly uncompared: readonly string[];
  /** Whether everything is the same. */
  readonly identical: boolean;
}

const SNAPSHOT = 83;

/** Replays a recording from the first snapshot that it names. Throws {@link InputError} naming the row. */
export function verifyRecording(recording: Recording, snapshots: Snapshots, parts: VerifyParts): Verification {
  const [firstRow, tag] = firstSnapshot(recording, snapshots);
  const start = snapshots.get(tag)!;
  for (const [other, state] of snapshots) checkSameGuest(other, state, tag, start);
  checkRows(recording, firstRow, parts);
  // The kernel that replays, not the one that the file names.
  const zones = zonesOfState({ ...start, kernel: parts.kernel.version });
  const replay = makeReplay(recording, start, zones, parts);
  const comparisons: SnapshotComparison[] = [];
  const marks: string[] = [];
  for (let row = firstRow; row < recording.count; row++) {
    replay.apply(row);
    if (recording.event[row] !== SNAPSHOT) continue;
    const mark = recording.text.get(row)!;
    const state = snapshots.get(mark);
    marks.push(mark);
    if (state === undefined) continue;
    replay.compareRows(row, state);
    comparisons.push(compare(mark, zones, state, replay, parts));
  }
  return result(parts, replay, comparisons, uncompared(snapshots, tag, marks, comparisons));
}

function makeReplay(
  recording: Recording,
  start: RecordedState,
  zones: readonly Zone[],
  { level, kernel, worker }: VerifyParts,
): BuddyLevel | PcpLevel {
  if (level === "pcp") return new PcpLevel(recording, start, zones, kernel);
  if (level === "buddy") return new BuddyLevel(recording, start, zones, kernel);
  if (worker === undefined) throw new TypeError("Level reporting needs a worker");
  return new ReportingLevel(recording, start, zones, kernel, worker.makePolicy, worker.delayNs);
}

function firstSnapshot({ count, event, text }: Recording, snapshots: Snapshots): [row: number, tag: string] {
  for (let row = 0; row < count; row++) {
    const tag = event[row] === SNAPSHOT ? text.get(row) : undefined;
    if (tag !== undefined && snapshots.has(tag)) return [row, tag];
  }
  throw new InputError([], `none of the snapshots ${[...snapshots.keys()].join(", ")} has a row in the recording`);
}

/** Without the rows that drive it, a replay would find that nothing happened, or that everything differs. */
function checkRows({ count, event }: Recording, firstRow: number, { level }: VerifyParts): void {
  const needed = { buddy: "", pcp: "AF", reporting: "W" }[level];
  const missing = [...needed].filter((name) => !event.subarray(firstRow, count).includes(name.charCodeAt(0)));
  if (missing.length === 0) return;
  const wanted = level === "pcp" ? "a recording of kind events" : "a recording of free page reporting";
  throw new InputError([], `there are no rows ${missing.join(" and ")}; level ${level} needs ${wanted}`);
}

/** A snapshot of another guest would differ everywhere, without saying why. */
function checkSameGuest(tag: string, state: RecordedState, first: string, start: RecordedState): void {
  if (state.pages !== start.pages) {
    throw new InputError(["file:", tag], `the guest has ${state.pages} pages, at snapshot ${first} ${start.pages}`);
  }
  const spans = (one: RecordedState) => one.zones.map((zone) => `${zone.startPfn}+${zone.spannedPages}`).join(", ");
  if (spans(state) !== spans(start)) {
    throw new InputError(["file:", tag], `the zones are ${spans(state)}, at snapshot ${first} ${spans(start)}`);
  }
}

function result(
  { level, kernel }: VerifyParts,
  replay: BuddyLevel | PcpLevel,
  comparisons: readonly SnapshotComparison[],
  missing: readonly string[],
): Verification {
  const { allocations, frees, wrongPfns, first } = replay;
  const identical = wrongPfns === 0 && comparisons.length > 0 && missing.length === 0 && comparisons.every(isIdentical);
  const steps = replay instanceof ReportingLevel
    ? { reporting: { isolates: replay.isolates, reports: replay.reports, putBacks: replay.putBacks } }
    : {};
  return {
    level,
    kernel: kernel.version,
    allocations,
    frees,
    ...steps,
    wrongPfns,
    ...(first === undefined ? {} : { first }),
    snapshots: comparisons,
    uncompared: missing,
    identical,
  };
}

/** What the file holds before the start was not asked for. */
function uncompared(
  snapshots: Snapshots,
  start: string,
  marks: readonly string[],
  comparisons: readonly SnapshotComparison[],
): string[] {
  const tags = [...snapshots.keys()];
  const compared = new Set(comparisons.map(({ tag }) => tag));
  return [...new Set([...tags.slice(tags.indexOf(start)), ...marks])].filter((tag) => !compared.has(tag));
}

/** Whether lists, counts, pageblock types, per-CPU lists and reported blocks are all the same. */
export function isIdentical(comparison: SnapshotComparison): boolean {
  const { identicalLists, lists, nrFreeDifference, pageblockDifference, perCpuDifference, reportedDifference } =
    comparison;
  return identicalLists === lists &&
    nrFreeDifference + pageblockDifference + perCpuDifference + reportedDifference === 0;
}

function compare(
  tag: string,
  zones: readonly Zone[],
  state: RecordedState,
  replay: ReplayLists & { readonly allocations: number; readonly frees: number },
  { level }: VerifyParts,
): SnapshotComparison {
  const expected = new Map<number, readonly number[]>();
  const nrFree = zones.map(() => new Array<number>(ORDERS).fill(0));
  for (const { zone, order, migratetype, pfns } of state.free) {
    expected.set(listKey(zone, order, migratetype), pfns);
    nrFree[zone][order] += pfns.length;
  }
  let identicalLists = 0;
  let nrFreeDifference = 0;
  let pageblockDifference = 0;
  for (const zone of zones) {
    for (let order = 0; order < ORDERS; order++) {
      nrFreeDifference += Math.abs(zone.allocator.nrFree(order) - nrFree[zone.index][order]);
      for (let type = 0; type < MIGRATETYPE_COUNT; type++) {
        if (sameList(zone, order, type, expected.get(listKey(zone.index, order, type)) ?? [])) identicalLists++;
      }
    }
    pageblockDifference += pageblocksThatDiffer(zone, state);
  }
  return {
    tag,
    operations: replay.allocations + replay.frees,
    identicalLists,
    lists: zones.length * ORDERS * MIGRATETYPE_COUNT,
    nrFreeDifference,
    pageblockDifference,
    perCpuDifference: replay instanceof PcpLevel ? perCpuThatDiffer(state.perCpu, replay) : 0,
    reportedDifference: level === "reporting" ? reportedThatDiffer(zones, state.reported) : 0,
  };
}

function listKey(zone: number, order: number, migratetype: number): number {
  return (zone * ORDERS + order) * MIGRATETYPE_COUNT + migratetype;
}

function sameList(zone: Zone, order: number, migratetype: number, expected: readonly number[]): boolean {
  let pfn = zone.allocator.first(order, migratetype);
  for (const want of expected) {
    if (pfn !== want) return false;
    pfn = zone.allocator.next(pfn, order);
  }
  return pfn < 0;
}

function pageblocksThatDiffer(zone: Zone, state: RecordedState): number {
  const { allocator } = zone;
  let different = 0;
  const first = Math.floor(allocator.startPfn / PAGEBLOCK_PAGES);
  for (let block = first; block * PAGEBLOCK_PAGES < zone.endPfn; block++) {
    const type = state.pageblockType(block);
    if (type >= 0 && allocator.pageblockType(Math.max(allocator.startPfn, block * PAGEBLOCK_PAGES)) !== type) {
      different++;
    }
  }
  return different;
}

function perCpuThatDiffer(
  recorded: readonly RecordedPerCpu[],
  replay: { lists(zone: number, cpu: number): PerCpuPages | undefined },
): number {
  return recorded.filter((one) => {
    const lists = replay.lists(one.zone, one.cpu);
    return lists === undefined || !sameLists(lists, one);
  }).length;
}

function reportedThatDiffer(zones: readonly Zone[], recorded: readonly number[]): number {
  const missing = new Set(recorded);
  let surplus = 0;
  for (const zone of zones) {
    zone.forEachFree((pfn, order) => {
      if (zone.allocator.isReported(pfn, order) && !missing.delete(pfn)) surplus++;
    });
  }
  return surplus + missing.size;
}
