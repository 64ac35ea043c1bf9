/**
 * The memory of a guest of which only the free blocks by order are known, laid out so that the lists can be led anywhere the
 * curve goes.
 *
 * For each order below the largest there are as many places of a block as the curve ever has free ones; those that are not free
 * at the start are in use. The block beside such a place is never free as a whole, so a block that comes back merges with
 * nothing. The largest blocks lie at the end of the zone, the places below them, and what is left is the kernel's for good.
 */
import { InputError } from "../sim/core/options.ts";
import { MOVABLE, ORDER_MAX } from "../sim/guest/allocator.ts";
import { planMachine } from "../sim/guest/machine_plan.ts";
import type { RecordedState } from "../sim/guest/operations.ts";
import { ORDER_PAGES, PAGE_SIZE } from "../sim/memory/range.ts";
import type { CurvePoint } from "./curve_points.ts";

/** A block in use at the start that may come back. */
export interface HeldBlock {
  /** Index of its zone. */
  readonly zone: number;
  /** First page. */
  readonly pfn: number;
  /** Order. */
  readonly order: number;
}

/** The start of a run along a curve. */
export interface CurveLayout {
  /** Zones and free lists. */
  readonly state: RecordedState;
  /** Blocks in use that may come back. */
  readonly held: readonly HeldBlock[];
  /** For each zone of the curve its index in the state. */
  readonly zoneIndexes: readonly number[];
}

/** Lays out a guest of `memoryPages` with the zones of a PC. Throws {@link InputError} when the curve does not fit into it. */
export function layoutCurve(
  zoneNames: readonly string[],
  points: readonly CurvePoint[],
  { memoryPages, vcpus }: { readonly memoryPages: number; readonly vcpus: number },
): CurveLayout {
  const { zones } = planMachine(memoryPages * PAGE_SIZE, {
    zones: { layout: "q35" },
    holes: [],
    numa: [],
    reserved: "auto",
    vcpus,
    thp: true,
    kernel: "6.12",
  });
  const free: { zone: number; order: number; migratetype: number; pfns: number[] }[] = [];
  const held: HeldBlock[] = [];
  const zoneIndexes = zoneNames.map((name, at) => {
    const index = zones.findIndex((zone) => zone.name === name);
    if (index < 0) {
      throw new InputError(
        [],
        `the curve has a zone ${name}, the machine has ${zones.map((z) => z.name).join(", ")}`,
      );
    }
    const places = placesOf(points.map(({ blocks }) => blocks[at]), zones[index]);
    for (const [order, pfns] of places.entries()) {
      const count = points[0].blocks[at][order];
      if (count > 0) free.push({ zone: index, order, migratetype: MOVABLE, pfns: pfns.slice(0, count) });
      for (const pfn of pfns.slice(count)) held.push({ zone: index, pfn, order });
    }
    return index;
  });
  const state: RecordedState = {
    pages: Math.max(...zones.map(({ startPfn, spannedPages }) => startPfn + spannedPages)),
    zones: zones.map(({ name, startPfn, spannedPages, present, managedPages, watermarks: { min, low, high } }) => ({
      name,
      startPfn,
      spannedPages,
      presentPages: present.reduce((sum, { count }) => sum + count, 0),
      managedPages,
      watermarks: [min, low, high],
    })),
    free,
    reported: [],
    perCpu: [],
    kernel: undefined,
    pageblockType: () => MOVABLE,
  };
  return { state, held, zoneIndexes };
}

/** The places of blocks by order, ascending in address for the largest, which is how a boot leaves them. */
function placesOf(
  counts: readonly (readonly number[])[],
  { name, startPfn, spannedPages }: { readonly name: string; readonly startPfn: number; readonly spannedPages: number },
): number[][] {
  const most = ORDER_PAGES.map((_, order) => counts.reduce((max, blocks) => Math.max(max, blocks[order]), 0));
  const places: number[][] = most.map(() => []);
  const largest = ORDER_PAGES[ORDER_MAX];
  let end = Math.floor((startPfn + spannedPages) / largest) * largest;
  for (let n = 0; n < most[ORDER_MAX]; n++) places[ORDER_MAX].unshift(end -= largest);
  for (let frame = 0; frame < Math.max(...most.slice(0, ORDER_MAX)); frame++) {
    const orders = most.slice(0, ORDER_MAX).flatMap((count, order) => count > frame ? [order] : []);
    end -= ORDER_PAGES[orders.at(-1)! + 1];
    fillFrame(places, end, orders);
  }
  if (places.every((pfns) => pfns.every((pfn) => pfn >= startPfn))) return places;
  throw new InputError([], `the curve has more free blocks of zone ${name} than fit into its ${spannedPages} pages`);
}

/** Halves a frame from its largest order down: the upper half is a place where one is wanted, else only it is halved further. */
function fillFrame(places: number[][], frame: number, orders: readonly number[]): void {
  let pfn = frame;
  for (let order = orders.at(-1)!; order >= 0; order--) {
    if (orders.includes(order)) places[order].push(pfn + ORDER_PAGES[order]);
    else pfn += ORDER_PAGES[order];
  }
}
