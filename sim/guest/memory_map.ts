/**
 * Where a guest has memory, and how its zones lie over it (mm/mm_init.c `free_area_init`, arch/x86 `zone_sizes_init`).
 *
 * Everything is plain data in page frames; nothing is allocated here.
 */
import type { Range } from "../memory/range.ts";
import { movableStarts } from "./movable_zone.ts";
import { endOf, intersect, subtract } from "./range_sets.ts";

/** Types of zones, in the order of their addresses. */
export const ZoneType = { dma: 0, dma32: 1, normal: 2, movable: 3 } as const;

/** Names of the types, as in /proc/zoneinfo. */
export const ZONE_NAMES: readonly string[] = ["DMA", "DMA32", "Normal", "Movable"];

/** First pages of DMA32 and of Normal on x86-64: 16 MiB and 4 GiB (arch/x86/include/asm/dma.h). */
const ZONE_STARTS: readonly number[] = [0, 4096, 2 ** 20, Infinity];

/** What lies where: memory from 0 on in one piece, or as QEMU's machines have it. */
export type MemoryLayout = "auto" | "q35" | "i440fx";

/**
 * Where QEMU cuts memory that does not fit below the devices: from `from` pages on only `low` pages stay below 4 GiB,
 * the rest begins there (hw/i386/pc_q35.c, pc_piix.c).
 */
const SPLITS: Readonly<Record<MemoryLayout, { readonly from: number; readonly low: number } | undefined>> = {
  auto: undefined,
  q35: { from: 0xb0000, low: 0x80000 },
  i440fx: { from: 0xe0000, low: 0xc0000 },
};

/** First page at and above 4 GiB. */
export const ABOVE_4G: number = 2 ** 20;

/**
 * What the firmware of a PC keeps for itself: page 0, 0x9f to 1 MiB, and the ACPI tables, 128 KiB at the top below 4
 * GiB.
 */
const FIRMWARE: readonly Range[] = [{ pfn: 0, count: 1 }, { pfn: 0x9f, count: 0x61 }];
const ACPI_PAGES = 32;

/** What a map is made of. */
export interface MapOptions {
  /** Pages of memory. */
  readonly pages: number;
  /** What lies where. */
  readonly layout: MemoryLayout;
  /** Addresses without memory, ascending, beside those of the layout; what would be there moves up. */
  readonly holes: readonly Range[];
  /** Pages of each NUMA node, which own the memory in turn; they add up to `pages`. */
  readonly nodes: readonly number[];
  /** Pages that ZONE_MOVABLE leaves at least, shared by the nodes (kernelcore=). */
  readonly kernelcorePages?: number | undefined;
  /** Pages that ZONE_MOVABLE has (movablecore=). */
  readonly movablecorePages?: number | undefined;
}

/** A zone that has memory. */
export interface ZoneMap {
  /** NUMA node. */
  readonly node: number;
  /** See {@link ZoneType}. */
  readonly type: number;
  /** DMA, DMA32, Normal or Movable. */
  readonly name: string;
  /** First page frame. */
  readonly startPfn: number;
  /** Pages from the first to the last, holes included. */
  readonly spannedPages: number;
  /** Ranges of pages that exist, ascending. */
  readonly present: readonly Range[];
}

/**
 * The zones of a machine by node and, in a node, by address.
 *
 * ```ts
 * import { memoryMap } from "./memory_map.ts";
 * const pages = 2 ** 20;
 * const [, dma32, normal] = memoryMap({ pages, layout: "q35", holes: [], nodes: [pages] });
 * if (dma32.spannedPages !== 1_044_480 || dma32.present[0].count !== 520_160) throw new Error("a hole up to 4 GiB");
 * if (normal.startPfn !== 2 ** 20) throw new Error("the rest begins at 4 GiB");
 * ```
 */
export function memoryMap(options: MapOptions): ZoneMap[] {
  const nodes = nodeRanges(options);
  const last = Math.max(...nodes.map(endOf));
  // ZONE_MOVABLE is cut from the highest zone that has pages (`find_usable_zone_for_movable`).
  const highest = ZONE_STARTS.findLast((start) => start < last) ?? 0;
  const movable = movableStarts(nodes, highest, options);
  return nodes.flatMap((present, node) => zonesOfNode(present, node, movable[node]));
}

/** The pages of each node that a kernel can use. */
function nodeRanges({ pages, layout, holes, nodes }: MapOptions): Range[][] {
  const split = SPLITS[layout];
  const gaps = [...holes];
  if (split !== undefined && pages >= split.from) gaps.push({ pfn: split.low, count: ABOVE_4G - split.low });
  const ram = subtract([{ pfn: 0, count: 2 ** 52 }], gaps);
  const parts: Range[][] = [];
  let index = 0;
  let taken = 0;
  for (const count of nodes) {
    const part: Range[] = [];
    for (let left = count; left > 0;) {
      const here = Math.min(left, ram[index].count - taken);
      part.push({ pfn: ram[index].pfn + taken, count: here });
      left -= here;
      taken += here;
      if (taken === ram[index].count) [index, taken] = [index + 1, 0];
    }
    parts.push(part);
  }
  if (layout === "auto") return parts;
  const low = endOf(intersect(parts.flat(), 0, ABOVE_4G));
  const firmware = [...FIRMWARE, { pfn: Math.max(0, low - ACPI_PAGES), count: ACPI_PAGES }];
  return parts.map((part) => subtract(part, firmware));
}

/**
 * The zones of one node (`zone_spanned_pages_in_node`): each spans what lies in its bounds, from the node's first page
 * to its last.
 */
function zonesOfNode(present: readonly Range[], node: number, movableStart: number): ZoneMap[] {
  if (present.length === 0) return [];
  const first = present[0].pfn;
  const end = endOf(present);
  return ZONE_NAMES.flatMap((name, type) => {
    const movable = type === ZoneType.movable;
    const from = Math.max(first, movable ? movableStart : ZONE_STARTS[type]);
    const to = Math.min(end, movable ? end : Math.min(ZONE_STARTS[type + 1], movableStart));
    const own = intersect(present, from, to);
    return own.length === 0 ? [] : [{ node, type, name, startPfn: from, spannedPages: to - from, present: own }];
  });
}
