/**
 * How the successor takes over what was preserved: three ways, the thread's real question.
 *
 * `memblock`: every folio that the walk finds is reserved and marked by itself (Linux 6.16). `memblock-coalesced`: neighbours
 * in the walk are reserved as one (Jason Gunthorpe's remark of April 2025). `buddy-direct`: nothing is reserved; whoever
 * initialises page descriptors, and whoever releases free memory, asks the tracker's data for each pageblock.
 */
import { PageBitmap } from "../memory/bitmap.ts";
import { Operations } from "../memory/page_set.ts";
import { HUGE_PAGES } from "../memory/range.ts";
import { type FreeBlocks, releaseGaps } from "./buddy_release.ts";
import { initShare, type KhoCosts, operationsNs } from "./costs.ts";
import { Memblock, REGION_BYTES, STATIC_REGIONS } from "./memblock.ts";
import { type KhoLayout, Scratch } from "./scratch.ts";
import type { Handover, TrackerPlugin } from "./tracker.ts";

/** The ways to restore, by name. */
export const RESTORES = ["memblock", "memblock-coalesced", "buddy-direct"] as const;

/** A way to restore. */
export type RestoreMode = typeof RESTORES[number];

/** One part of the restore. */
export interface RestorePart {
  /** Nodes, entries, regions or pageblocks that were looked at. */
  readonly visits: number;
  /** Time, ns; not rounded. */
  readonly ns: number;
}

/** A restored kernel. */
export interface Restored {
  /** Reading the handover. */
  readonly walk: RestorePart;
  /** Reserving what was found. */
  readonly reserve: RestorePart & { readonly movedBytes: number };
  /** Initialising page descriptors. */
  readonly memmap: RestorePart & { readonly descriptors: number };
  /** Giving free memory to the buddy allocator. */
  readonly buddy: RestorePart;
  /** Claiming the folios once the successor runs (`kho_restore_folio`): their descriptors are initialised now, ns. */
  readonly claimNs: number;
  /** What was preserved, as the successor sees it. */
  readonly kept: PageBitmap;
  /** Times that something was found: folios, or ranges of a design that knows none. */
  readonly found: number;
  /** Regions in memblock's array at the end. */
  readonly regions: number;
  /** Bytes of that array. */
  readonly memblockBytes: number;
  /** The most scratch in use while it booted, pages. */
  readonly scratchPeakPages: number;
}

/** What a restore needs to know. */
export interface RestoreParts {
  /** The design that wrote the handover. */
  readonly plugin: TrackerPlugin;
  /** What it wrote. */
  readonly handover: Handover;
  /** The machine. */
  readonly layout: KhoLayout;
  /** The memory that is free when all that was preserved is kept, see {@link freeBeside}. */
  readonly free: FreeBlocks;
  /** How. */
  readonly mode: RestoreMode;
  /** Regions that the successor has reserved for itself before. */
  readonly bootRegions: number;
  /** Threads that initialise page descriptors; 0 without deferred initialisation. */
  readonly threads: number;
  /** What things take. */
  readonly costs: KhoCosts;
}

/** What the walk found. */
interface Found {
  readonly kept: PageBitmap;
  /** How often it found something; each time its first descriptor is written to (`page->private`). */
  count: number;
  /** Orders that were found. */
  readonly orders: Set<number>;
}

/** Restores a handover. Throws KhoError: the data is corrupt, or scratch is too small for the successor. */
export function restoreHandover(parts: RestoreParts): Restored {
  const { layout, costs, mode, free } = parts;
  const scratch = new Scratch(layout, parts.bootRegions);
  const memblock = new Memblock((bytes) => scratch.find(bytes), (pfn) => scratch.give(pfn));
  for (const { pfn, count } of scratch.boot) memblock.reserve(pfn, count);
  memblock.visits = 0;
  memblock.movedBytes = 0;
  const operations = new Operations();
  const found = walk(parts, memblock, operations);
  const { kept } = found;
  const isDirect = mode === "buddy-direct";
  const keptPages = kept.count;
  const looks = isDirect ? consultVisits(layout.pages, found) : memblock.count;
  const lookNs = looks * (isDirect ? costs.stepNs : costs.scanNs);
  const touchNs = found.count * costs.touchDescriptorNs;
  const descriptors = layout.pages - keptPages;
  const initNs = costs.initDescriptorNs;
  const reserveNs = memblock.visits * costs.scanNs + memblock.movedBytes * costs.moveByteNs;
  return {
    walk: { visits: operations.visits, ns: operationsNs(operations, costs) },
    reserve: {
      visits: memblock.visits,
      movedBytes: memblock.movedBytes,
      ns: isDirect ? 0 : reserveNs + touchNs,
    },
    memmap: {
      visits: looks,
      descriptors,
      ns: lookNs + descriptors * initNs * initShare(parts.threads) + (isDirect ? touchNs : 0),
    },
    buddy: { visits: looks, ns: lookNs + free.count * costs.releaseBlockNs },
    claimNs: keptPages * initNs,
    kept,
    found: found.count,
    regions: memblock.count,
    memblockBytes: Math.max(STATIC_REGIONS * REGION_BYTES, memblock.bytes),
    scratchPeakPages: scratch.peakPages,
  };
}

/** The memory that is free beside what is kept and beside what the successor takes for itself. */
export function freeBeside(kept: PageBitmap, layout: KhoLayout, bootRegions: number): FreeBlocks {
  const { boot } = new Scratch(layout, bootRegions);
  for (const { pfn, count } of boot) kept.setRange(pfn, count);
  const outside = layout.scratch.pfn + layout.scratch.count;
  const free = releaseGaps({ pfn: 0, count: layout.pages }, kept, outside);
  for (const { pfn, count } of boot) kept.clearRange(pfn, count);
  return free;
}

/** Walks the handover, and reserves what it finds as the mode says. */
function walk({ plugin, handover, layout, mode }: RestoreParts, memblock: Memblock, operations: Operations): Found {
  const found: Found = { kept: new PageBitmap(layout.pages), count: 0, orders: new Set() };
  const keep = (from: number, to: number) => {
    if (to < 0) return;
    found.kept.setRange(from, to - from);
    if (mode === "memblock-coalesced") memblock.reserveNoinit(from, to - from);
  };
  let lastOrder = NaN;
  let start = 0;
  let end = -1;
  plugin.walk(handover, (pfn, count, order) => {
    found.count++;
    if (order !== lastOrder) found.orders.add(lastOrder = order);
    if (mode === "memblock") memblock.reserveNoinit(pfn, count);
    if (pfn !== end) {
      keep(start, end);
      start = pfn;
    }
    end = pfn + count;
  }, operations);
  keep(start, end);
  return found;
}

/**
 * What is looked at without reservations, once for descriptors and once for free memory: for each pageblock one cursor a
 * populated order (the pageblocks ascend, and so does each order's data), and everything that is there.
 */
function consultVisits(pages: number, { orders, count }: Found): number {
  return Math.ceil(pages / HUGE_PAGES) * Math.max(1, orders.size) + count;
}
