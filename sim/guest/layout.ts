/** How the zones of a guest are laid out, and how they get their first pages. */
import { InputError } from "../core/options.ts";
import { ORDER_PAGES, PAGE_SIZE } from "../memory/range.ts";
import { MOVABLE, ORDER_MAX, PAGEBLOCK_PAGES } from "./allocator.ts";
import { Buddy } from "./buddy.ts";
import type { Kernel } from "./kernel.ts";
import { kernel61 } from "./kernel_6_1.ts";
import { kernels } from "./kernels.ts";
import type { RecordedState } from "./operations.ts";
import { watermarksOf } from "./watermarks.ts";
import { Zone } from "./zone.ts";

/** First pages of DMA32 and of Normal on x86-64: 16 MiB and 4 GiB (arch/x86/include/asm/dma.h). */
const DMA32_START = 4096;
const NORMAL_START = 2 ** 20;

/**
 * Transparent huge pages are off by default below 512 MiB of managed pages (mm/huge_memory.c `hugepage_init`). Reserved are
 * the memmap, 1/64 of memory, and about 15,000 pages of kernel and initramfs (six recorded boots: 14,200 to 16,200).
 */
const THP_PAGES_MIN = 512 * 256;
const RESERVED_PAGES = 15_000;

/** The zones of a guest of `memoryBytes` without holes: DMA, DMA32 and Normal, all pages free and movable. */
export function layoutZones(memoryBytes: number, thp: boolean, kernel: Kernel = kernel61): Zone[] {
  const pages = Math.floor(memoryBytes / PAGE_SIZE);
  const cuts = [0, DMA32_START, NORMAL_START, Infinity];
  const names = ["DMA", "DMA32", "Normal"];
  const spans = names.flatMap((name, index) => {
    const count = Math.min(pages, cuts[index + 1]) - cuts[index];
    return count > 0 ? [{ name, pfn: cuts[index], count }] : [];
  });
  const sizes = spans.map(({ count }) => ({ managedPages: count, movable: false }));
  const marks = watermarksOf(sizes, thp && pages - pages / 64 - RESERVED_PAGES >= THP_PAGES_MIN);
  return spans.map(({ name, pfn, count }, index) => {
    const allocator = new Buddy(pfn, count, MOVABLE, kernel.retypesMerged);
    // Boot release goes to the tail in ascending order (mm/memblock.c __free_pages_memory, __free_pages_core).
    allocator.insertRange(pfn, count, MOVABLE);
    return new Zone({
      index,
      name,
      allocator,
      present: [{ pfn, count }],
      managedPages: count,
      watermarks: marks[index],
      kernel,
    });
  });
}

/**
 * The zones of a recorded state, with its free lists in order. A difference of spanned and present pages is taken for the
 * hole below 1 MiB. `machine` is the kernel generation where the state does not say it. Throws {@link InputError} when free blocks overlap or do not add up.
 */
export function zonesOfState(state: RecordedState, machine: Kernel = kernel61): Zone[] {
  const kernel = kernels.find(({ version }) => version === state.kernel) ?? machine;
  const zones = state.zones.map((zone, index) => {
    const { name, startPfn, spannedPages, presentPages, managedPages, watermarks: [min, low, high] } = zone;
    const allocator = new Buddy(startPfn, spannedPages, MOVABLE, kernel.retypesMerged);
    const first = Math.floor(startPfn / PAGEBLOCK_PAGES);
    for (let block = first; block * PAGEBLOCK_PAGES < startPfn + spannedPages; block++) {
      const type = state.pageblockType(block);
      if (type >= 0) allocator.setPageblockType(block * PAGEBLOCK_PAGES, type);
    }
    const present = presentRanges(startPfn, spannedPages, presentPages);
    return new Zone({ index, name, allocator, present, managedPages, watermarks: { min, low, high }, kernel });
  });
  for (const { zone, order, migratetype, pfns } of state.free) {
    const { name, allocator } = zones[zone];
    fitting(name, () => {
      for (const pfn of pfns) allocator.insert(pfn, order, migratetype, true);
    });
  }
  for (const pfn of state.reported) {
    const zone = zones.find((candidate) => candidate.spans(pfn));
    const order = zone?.allocator.orderAt(pfn) ?? -1;
    if (order < 0) throw new InputError(["reported"], `reported block ${pfn} is not free`);
    zone!.allocator.setReported(pfn, order);
  }
  for (const { name, allocator } of zones) fitting(name, () => allocator.validate());
  return zones;
}

/** What the allocator refuses about the lists of a recorded zone is a fault of the input. */
function fitting(name: string, act: () => void): void {
  try {
    act();
  } catch (error) {
    throw new InputError(["free"], `the free lists of zone ${name} do not fit: ${(error as Error).message}`);
  }
}

/** The legacy hole of a PC ends at 1 MiB. */
const LEGACY_HOLE_END = 256;

function presentRanges(pfn: number, spanned: number, present: number): { pfn: number; count: number }[] {
  const hole = spanned - present;
  const holeStart = LEGACY_HOLE_END - hole;
  if (hole === 0 || holeStart <= pfn || pfn + spanned <= LEGACY_HOLE_END) return [{ pfn, count: spanned }];
  return [{ pfn, count: holeStart - pfn }, { pfn: LEGACY_HOLE_END, count: pfn + spanned - LEGACY_HOLE_END }];
}

/** Takes a free block that contains these pages off its list and puts back what is left of it; false when it is not free. */
export function carve(zone: Zone, pfn: number, order: number): boolean {
  const { allocator } = zone;
  for (let outer = order; outer <= ORDER_MAX; outer++) {
    const head = Math.floor(pfn / ORDER_PAGES[outer]) * ORDER_PAGES[outer];
    if (allocator.orderAt(head) !== outer) continue;
    const list = allocator.listOf(head, outer);
    allocator.remove(head, outer);
    let start = head;
    for (let current = outer - 1; current >= order; current--) {
      const upper = start + ORDER_PAGES[current];
      const inUpper = pfn >= upper;
      allocator.insert(inUpper ? start : upper, current, list, false);
      if (inUpper) start = upper;
    }
    return true;
  }
  return false;
}
