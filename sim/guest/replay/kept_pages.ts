/** The per-CPU lists with which a replay begins, checked: whatever a file says, a page is in one place. */
import { InputError } from "../../core/options.ts";
import { PageBitmap } from "../../memory/bitmap.ts";
import { ORDER_PAGES } from "../../memory/range.ts";
import type { RecordedPerCpu, RecordedState } from "../operations.ts";
import { BATCH_MAX, BATCH_SCALE_MAX, listOrder } from "../pcp.ts";

/**
 * Pages that are free, or on a per-CPU list, at the start. Throws InputError when a list of the start cannot be: a page is
 * there twice, or free as well, or of another zone.
 */
export function freeAndKept(state: RecordedState): PageBitmap {
  const pages = new PageBitmap(Math.max(...state.zones.map((zone) => zone.startPfn + zone.spannedPages)));
  for (const { order, pfns } of state.free) for (const pfn of pfns) pages.setRange(pfn, ORDER_PAGES[order]);
  const seen = new Set<string>();
  for (const lists of state.perCpu) {
    const name = `the lists of zone ${lists.zone} and CPU ${lists.cpu}`;
    const key = `${lists.zone}/${lists.cpu}`;
    if (seen.has(key)) throw new InputError(["pcp"], `${name} are there twice`);
    seen.add(key);
    checkFigures(lists, name);
    const { startPfn, spannedPages } = state.zones[lists.zone];
    lists.lists.forEach((pfns, list) => {
      const count = ORDER_PAGES[listOrder(list)];
      for (const pfn of pfns) {
        if (pfn % count !== 0) throw new InputError(["pcp"], `${name} hold page ${pfn}, which is not aligned`);
        if (pfn < startPfn || pfn + count > startPfn + spannedPages) {
          throw new InputError(["pcp"], `${name} hold page ${pfn}, which lies outside of the zone`);
        }
        if (pages.setRange(pfn, count) === count) continue;
        throw new InputError(["pcp"], `${name} hold page ${pfn}, which is free, or on a list already`);
      }
    });
  }
  return pages;
}

/** Batch and factors have limits in every kernel; without them a refill would have none. */
function checkFigures({ batch, freeFactor, allocFactor, lists, types }: RecordedPerCpu, name: string): void {
  if (batch > BATCH_MAX) throw new InputError(["pcp"], `${name} have a batch of ${batch}, at most is ${BATCH_MAX}`);
  const factor = Math.max(freeFactor, allocFactor);
  if (factor > BATCH_SCALE_MAX) {
    throw new InputError(["pcp"], `${name} have a factor of ${factor}, at most is ${BATCH_SCALE_MAX}`);
  }
  if (types?.some((of, list) => of.length !== lists[list].length)) {
    throw new InputError(["pcp"], `${name} have types for more or fewer pages than they hold`);
  }
}
