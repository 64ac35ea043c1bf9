/** What a walk over page frame numbers in windows runs over, and the windows. */
import { mergeRanges, ORDER_PAGES, type Range } from "../memory/range.ts";
import { ORDER_MAX } from "./allocator.ts";
import { SparseZone } from "./hotplug_zone.ts";
import { SECTION_PAGES } from "./section_table.ts";
import type { Zone } from "./zone.ts";

/** What windows run over: all page frames up to the last, each zone's span, or the sections that exist. */
export type WindowRange = "max-pfn" | "zone-span" | "present-sections";

/** A run of page frames that is cut into windows. */
export interface WindowRun extends Range {
  /** The zone whose blocks are looked for in it; all zones where it is missing. */
  readonly zone?: Zone;
}

/** A window. */
export interface Window extends WindowRun {
  /** Whether it is the last one of all. */
  readonly last: boolean;
}

/**
 * The runs of page frames, ascending. `maxPfn` is the page frame after the last (`get_max_pfn`). Runs of zones begin at a
 * boundary of the largest block, so that no block lies in two windows; spans may overlap, so a run has blocks of its zone only.
 */
export function windowRuns(range: WindowRange, zones: readonly Zone[], maxPfn: number): WindowRun[] {
  if (range === "max-pfn") return [{ pfn: 0, count: maxPfn }];
  if (range === "present-sections") return mergeRanges(zones.flatMap(sectionsOf));
  const unit = ORDER_PAGES[ORDER_MAX];
  return zones.filter(({ presentPages }) => presentPages > 0).map((zone) => {
    const pfn = zone.allocator.startPfn - zone.allocator.startPfn % unit;
    return { zone, pfn, count: zone.endPfn - pfn };
  });
}

/** The runs cut into windows of at most so many pages. */
export function* windowsOf(runs: readonly WindowRun[], windowPages: number): Generator<Window> {
  for (const [index, run] of runs.entries()) {
    const end = run.pfn + run.count;
    for (let pfn = run.pfn; pfn < end; pfn += windowPages) {
      const count = Math.min(windowPages, end - pfn);
      yield { ...run, pfn, count, last: index === runs.length - 1 && pfn + count === end };
    }
  }
}

/** The sections of a zone that exist, at least in part. */
function sectionsOf(zone: Zone): Range[] {
  const sections: Range[] = [];
  if (!(zone instanceof SparseZone)) {
    for (const { pfn, count } of zone.present) {
      const first = pfn - pfn % SECTION_PAGES;
      sections.push({ pfn: first, count: Math.ceil((pfn + count - first) / SECTION_PAGES) * SECTION_PAGES });
    }
    return sections;
  }
  const { startPfn } = zone.allocator;
  for (let pfn = startPfn - startPfn % SECTION_PAGES; pfn < zone.endPfn; pfn += SECTION_PAGES) {
    // At boot a section may exist in part, from its begin or to its end.
    if (zone.spans(pfn) || zone.spans(pfn + SECTION_PAGES - 1)) sections.push({ pfn, count: SECTION_PAGES });
  }
  return sections;
}
