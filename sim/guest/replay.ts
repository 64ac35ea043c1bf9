/**
 * Replaying a recording against the allocator, to compare with what the kernel did: each page it picked, and its ordered free
 * lists at every snapshot.
 */
import { MIGRATETYPE_COUNT, ORDERS, PAGEBLOCK_PAGES } from "./allocator.ts";
import { zonesOfState } from "./layout.ts";
import { Op, type RecordedState } from "./operations.ts";
import type { RecordedOperations } from "./recorded_ops.ts";
import type { Snapshots } from "./snapshot.ts";
import type { Zone } from "./zone.ts";

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
}

/** The first page that differs. */
export interface Divergence {
  /** Row of the recording, the header being 1. */
  readonly row: number;
  /** The page the kernel picked. */
  readonly expectedPfn: number;
  /** The page the allocator picked, -1 for none. */
  readonly actualPfn: number;
}

/** The result of a replay. */
export interface Verification {
  /** Allocations replayed. */
  readonly allocations: number;
  /** Frees replayed. */
  readonly frees: number;
  /** Allocations that got another page than the kernel's. */
  readonly wrongPfns: number;
  /** The first of them. */
  readonly first?: Divergence;
  /** One comparison per snapshot, in order. */
  readonly snapshots: readonly SnapshotComparison[];
  /** Rows that moved free blocks and were not replayed, by event. */
  readonly ignored: Readonly<Record<string, number>>;
  /** Snapshots that could not be compared: without a row in the recording, or without lists in the file. */
  readonly uncompared: readonly string[];
  /** Whether everything is the same. */
  readonly identical: boolean;
}

/** Replays at level `buddy`: the rows at which pages leave and join the free lists drive, each page is compared. */
export function verifyBuddy(recorded: RecordedOperations, start: RecordedState, snapshots: Snapshots): Verification {
  const zones = zonesOfState(start);
  const pfns = new Float64Array(recorded.count + recorded.start.count + 1).fill(-1);
  for (let n = 0; n < recorded.start.count; n++) pfns[recorded.start.handle(n)] = recorded.start.pfn(n);
  const comparisons: SnapshotComparison[] = [];
  const { columns } = recorded;
  let mark = 0;
  let allocations = 0;
  let wrongPfns = 0;
  let first: Divergence | undefined;
  const compareUpTo = (operations: number) => {
    for (; mark < recorded.marks.length && recorded.marks[mark].before <= operations; mark++) {
      const { tag } = recorded.marks[mark];
      const state = snapshots.get(tag);
      if (state !== undefined) comparisons.push(compare(tag, operations, zones, state));
    }
  };
  for (let at = 0; at < recorded.count; at++) {
    compareUpTo(at);
    const zone = zones[columns.zone[at]];
    const handle = columns.handle[at];
    const order = columns.order[at];
    if (columns.kind[at] === Op.alloc) {
      allocations++;
      const pfn = zone.alloc(order, columns.migratetype[at]);
      pfns[handle] = pfn;
      if (pfn === columns.pfn[at]) continue;
      wrongPfns++;
      first ??= { row: recorded.rows[at], expectedPfn: columns.pfn[at], actualPfn: pfn };
    } else if (pfns[handle] >= 0) {
      zones.find((one) => one.spans(pfns[handle]))!.allocator.free(pfns[handle], order, columns.migratetype[at]);
    }
  }
  compareUpTo(recorded.count);
  const frees = recorded.count - allocations;
  const ignored = Object.fromEntries(recorded.ignored);
  const compared = new Set(comparisons.map(({ tag }) => tag));
  // What the file holds before the start was not asked for.
  const wanted = [...snapshots.keys()].slice([...snapshots.values()].indexOf(start));
  const tags = new Set([...wanted, ...recorded.marks.map(({ tag }) => tag)]);
  const uncompared = [...tags].filter((tag) => !compared.has(tag));
  const identical = wrongPfns === 0 && comparisons.length > 0 && uncompared.length === 0 &&
    comparisons.every(isIdentical);
  return {
    allocations,
    frees,
    wrongPfns,
    ...(first === undefined ? {} : { first }),
    snapshots: comparisons,
    ignored,
    uncompared,
    identical,
  };
}

/** Whether lists, counts and pageblock types are all the same. */
export function isIdentical(comparison: SnapshotComparison): boolean {
  return comparison.identicalLists === comparison.lists && comparison.nrFreeDifference === 0 &&
    comparison.pageblockDifference === 0;
}

function compare(tag: string, operations: number, zones: readonly Zone[], state: RecordedState): SnapshotComparison {
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
  const lists = zones.length * ORDERS * MIGRATETYPE_COUNT;
  return { tag, operations, identicalLists, lists, nrFreeDifference, pageblockDifference };
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
