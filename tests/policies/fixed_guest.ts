/** Guests whose free lists a test chooses block by block, as a workload of its own; and three of them for golden tables. */
import { loadScenario } from "../../sim/load.ts";
import { policies } from "../../policies/mod.ts";
import { MIGRATETYPE_COUNT, MOVABLE, ORDER_MAX, RECLAIMABLE, UNMOVABLE } from "../../sim/guest/allocator.ts";
import { carve, layoutMachine } from "../../sim/guest/layout.ts";
import {
  Op,
  type OpColumns,
  type OpStream,
  type RecordedState,
  type RecordedZone,
  type Workload,
} from "../../sim/guest/operations.ts";
import { type WorkloadPlugin, workloadPlugin } from "../../sim/guest/plugin.ts";
import { StartBlocks } from "../../sim/guest/start_blocks.ts";
import type { Zone } from "../../sim/guest/zone.ts";
import { ORDER_PAGES, PAGE_SIZE } from "../../sim/memory/range.ts";
import { type RunResult, simulateLoaded, type SimulateOptions } from "../../sim/simulate.ts";

/** A block of 2^order pages; movable unless told. */
export interface GuestBlock {
  readonly pfn: number;
  readonly order: number;
  readonly migratetype?: number;
}

/** A guest: everything that is not free is in use. */
export interface FixedGuest {
  readonly zones: readonly RecordedZone[];
  /** The free blocks; of one list in its order, head first. */
  readonly free: readonly GuestBlock[];
  /** Blocks in use that are freed at 500 ms, one after the other. */
  readonly freed: readonly GuestBlock[];
  /** How many blocks of the orders of `freed` are taken again at 3 s, in its order. */
  readonly again: number;
}

const FREED_AT_NS = 500e6;
const AGAIN_AT_NS = 3e9;

/** What the guest's only CPU does. */
class Script implements OpStream {
  readonly open = true;
  #ops: readonly (readonly [kind: number, handle: number, order: number, timeNs: number])[];
  #next = 0;

  constructor({ freed, again }: FixedGuest) {
    const frees = freed.map(({ order }, handle) => [Op.free, handle, order, FREED_AT_NS] as const);
    const allocs = freed.slice(0, again).map(({ order }, handle) => [Op.alloc, handle, order, AGAIN_AT_NS] as const);
    this.#ops = [...frees, ...allocs, [Op.wait, 0, 0, AGAIN_AT_NS]];
  }

  fill(columns: OpColumns): number {
    let row = 0;
    for (; row < columns.size && this.#next < this.#ops.length; row++) {
      const [kind, handle, order, timeNs] = this.#ops[this.#next++];
      columns.set(row, kind, handle, order, MOVABLE, timeNs, kind === Op.alloc ? ORDER_PAGES[order] : 0, 0);
    }
    return row;
  }
}

function stateOf({ zones, free, freed }: FixedGuest): RecordedState {
  const lists = zones.map(() => new Map<number, number[]>());
  const types = new Map<number, number>();
  for (const { pfn, order, migratetype = MOVABLE } of free) {
    const zone = zones.findIndex(({ startPfn, spannedPages }) => pfn >= startPfn && pfn < startPfn + spannedPages);
    const list = order * MIGRATETYPE_COUNT + migratetype;
    if (!lists[zone].has(list)) lists[zone].set(list, []);
    lists[zone].get(list)!.push(pfn);
  }
  for (const { pfn, order, migratetype = MOVABLE } of [...free, ...freed]) {
    for (let page = pfn; page < pfn + ORDER_PAGES[order]; page += 512) types.set(Math.floor(page / 512), migratetype);
  }
  const last = zones[zones.length - 1];
  return {
    pages: last.startPfn + last.spannedPages,
    zones,
    free: lists.flatMap((ofZone, zone) =>
      [...ofZone].map(([list, pfns]) => ({
        zone,
        order: Math.floor(list / MIGRATETYPE_COUNT),
        migratetype: list % MIGRATETYPE_COUNT,
        pfns,
      }))
    ),
    reported: [],
    perCpu: [],
    kernel: undefined,
    pageblockType: (block) => types.get(block) ?? -1,
  };
}

/** The workload `lists` of one guest. */
function listsWorkload(guest: FixedGuest): WorkloadPlugin {
  const state = stateOf(guest);
  return workloadPlugin({
    name: "lists",
    summary: "chosen free lists",
    source: "tests",
    options: { fields: {} },
    memoryBytes: () => state.pages * PAGE_SIZE,
    create: (): Workload => {
      const start = new StartBlocks();
      guest.freed.forEach(({ pfn, order }, handle) => start.add(handle, order, MOVABLE, pfn));
      return { streams: [new Script(guest)], start, state, estimatedRows: 0, durationNs: AGAIN_AT_NS };
    },
  });
}

/** Runs a scenario, without its machine's memory and its workload, on a guest. */
export async function runOn(
  guest: FixedGuest,
  scenario: Readonly<Record<string, unknown>>,
  options: SimulateOptions = {},
): Promise<RunResult> {
  const registries = { policies, workloads: [listsWorkload(guest)] };
  const loaded = await loadScenario({ hintsim: 1, workload: { kind: "lists" }, ...scenario }, {}, registries);
  return simulateLoaded(loaded, { samples: false, ...options })[0];
}

/** One zone without watermarks, all of whose pages exist. */
export function plainZone(pages: number): RecordedZone {
  return {
    name: "Normal",
    startPfn: 0,
    spannedPages: pages,
    presentPages: pages,
    managedPages: pages,
    watermarks: [0, 0, 0],
  };
}

/** Pages of the pattern that the fragmented guests repeat: 16 MiB. */
const PATTERN_PAGES = 4096;
/** Single pages of a pattern, every second one. */
const SINGLES = 32;
/** Blocks of 4 MiB, which no CPU keeps, that are freed at 500 ms: enough for page hinting, which waits for 16. */
const FREED_BLOCKS = 16;

const TYPES = [MOVABLE, UNMOVABLE, RECLAIMABLE];

/**
 * The free blocks of 16 MiB: one of each order, none next to another, and 32 single pages between pages in use. The block of
 * order k begins 3 * 2^k pages before the end. All of one type, which changes from pattern to pattern.
 */
function patternBlocks(pattern: number): GuestBlock[] {
  const base = pattern * PATTERN_PAGES;
  const migratetype = TYPES[pattern % TYPES.length];
  const blocks: GuestBlock[] = [];
  for (let order = ORDER_MAX; order >= 0; order--) {
    blocks.push({ pfn: base + PATTERN_PAGES - 3 * ORDER_PAGES[order], order, migratetype });
  }
  for (let n = 0; n < SINGLES; n++) blocks.push({ pfn: base + 3073 + 2 * n, order: 0, migratetype });
  return blocks;
}

/** Free pages of a pattern: 2047 in blocks of each order, and the single ones. */
const PATTERN_FREE_PAGES = 2047 + SINGLES;

function machineZones(memoryBytes: number): readonly Zone[] {
  return layoutMachine(memoryBytes, {
    zones: { layout: "auto" },
    holes: [],
    numa: [],
    reserved: "auto",
    vcpus: 1,
    thp: true,
    kernel: "6.1",
  }).zones;
}

function recordedZone({ name, allocator, presentPages, managedPages, watermarks }: Zone): RecordedZone {
  const { min, low, high } = watermarks;
  return {
    name,
    startPfn: allocator.startPfn,
    spannedPages: allocator.pages,
    presentPages,
    managedPages,
    watermarks: [min, low, high],
  };
}

/** The blocks that are freed: the first 4 MiB of 16 patterns, from 256 MiB on. */
function freedBlocks(): GuestBlock[] {
  return Array.from({ length: FREED_BLOCKS }, (_, n) => {
    const pattern = n + FREED_BLOCKS;
    return { pfn: pattern * PATTERN_PAGES, order: ORDER_MAX, migratetype: TYPES[pattern % TYPES.length] };
  });
}

/** All free but what the kernel keeps, and the 64 MiB that are freed later. */
function emptyGuest(zones: readonly Zone[], freed: readonly GuestBlock[]): GuestBlock[] {
  for (const { pfn, order } of freed) {
    const zone = zones.find((candidate) => candidate.spans(pfn));
    if (zone === undefined || !carve(zone, pfn, order)) throw new RangeError(`Page ${pfn} is not free`);
  }
  const blocks: GuestBlock[] = [];
  for (const { allocator } of zones) {
    for (let order = 0; order <= ORDER_MAX; order++) {
      for (let pfn = allocator.first(order, MOVABLE); pfn >= 0; pfn = allocator.next(pfn, order)) {
        blocks.push({ pfn, order });
      }
    }
  }
  return blocks;
}

/** The patterns that lie in a zone as a whole. */
function patternsOf({ allocator: { startPfn, pages } }: Zone): number[] {
  const first = Math.ceil((startPfn - 1) / PATTERN_PAGES);
  return Array.from({ length: Math.floor((startPfn + pages) / PATTERN_PAGES) - first }, (_, n) => first + n);
}

/** The pattern in all of the memory. */
function fragmentedGuest(zones: readonly Zone[]): GuestBlock[] {
  return zones.flatMap(patternsOf).flatMap(patternBlocks);
}

/** In each zone as many patterns, evenly apart, as lift its free pages above the low watermark. */
function nearlyFullGuest(zones: readonly Zone[]): GuestBlock[] {
  return zones.flatMap((zone) => {
    const patterns = patternsOf(zone);
    const wanted = Math.min(patterns.length, Math.floor(zone.watermarks.low / PATTERN_FREE_PAGES) + 1);
    const step = Math.floor(patterns.length / wanted);
    return patterns.filter((_, n) => n % step === 0 && n < wanted * step).flatMap(patternBlocks);
  });
}

/** The guests of the golden tables, by name. */
export const GUESTS: Readonly<Record<string, (memoryBytes: number) => FixedGuest>> = {
  "empty": (memoryBytes) => guestOf(memoryBytes, emptyGuest),
  "fragmented": (memoryBytes) => guestOf(memoryBytes, fragmentedGuest),
  "nearly-full": (memoryBytes) => guestOf(memoryBytes, nearlyFullGuest),
};

function guestOf(
  memoryBytes: number,
  freeOf: (zones: readonly Zone[], freed: readonly GuestBlock[]) => GuestBlock[],
): FixedGuest {
  const zones = machineZones(memoryBytes);
  const described = zones.map(recordedZone);
  const freed = freedBlocks();
  return { zones: described, free: freeOf(zones, freed), freed, again: FREED_BLOCKS };
}
