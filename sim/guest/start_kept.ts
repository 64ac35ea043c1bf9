/**
 * The state of a recording with nothing on its per-CPU lists: what they kept is drained to the free lists. Per-CPU lists of a
 * run are empty at its start, so pages that stayed on the recorded ones would belong to no one for ever.
 */
import { PageBitmap } from "../memory/bitmap.ts";
import { ORDER_PAGES } from "../memory/range.ts";
import { MIGRATETYPE_COUNT, ORDER_MAX, PAGEBLOCK_PAGES } from "./allocator.ts";
import { zonesOfState } from "./layout.ts";
import type { RecordedState } from "./operations.ts";
import { perCpuOf } from "./pcp_state.ts";
import type { Recording } from "./recording.ts";
import { freeAndKept } from "./replay/kept_pages.ts";
import type { Zone } from "./zone.ts";

/** Rows that say where the pages of a block are. */
const BLOCK_EVENTS = "AFBZDOPIU";

/** A block that a CPU kept. */
interface Kept {
  readonly pfn: number;
  readonly order: number;
}

/**
 * The state after all per-CPU lists were drained (`drain_all_pages`). Where it does not say what they kept, the rows from
 * `first` on do. Throws InputError when the lists of the state cannot be.
 */
export function withoutKept(state: RecordedState, recording: Recording, first: number): RecordedState {
  const free = freeAndKept(state);
  const zones = zonesOfState(state);
  if (state.perCpu.length > 0) drainLists(state, zones);
  else {
    const kept = keptByRows(free, recording, first);
    if (kept.length === 0) return state;
    // What is asked for first was at the head of its list, and is freed last.
    for (const { pfn, order } of kept.reverse()) zones.find((zone) => zone.spans(pfn))?.free(pfn, order);
  }
  const reported = state.reported.filter((pfn) => {
    const { allocator } = zones.find((zone) => zone.spans(pfn))!;
    const order = allocator.orderAt(pfn);
    return order >= 0 && allocator.isReported(pfn, order);
  });
  const types = new Map(zones.flatMap(pageblockTypes));
  const pageblockType = (block: number) => state.pageblockType(block) < 0 ? -1 : types.get(block) ?? -1;
  return { ...state, free: zones.flatMap(freeLists), reported, perCpu: [], pageblockType };
}

/** In the order of the recorded lists. */
function drainLists(state: RecordedState, zones: readonly Zone[]): void {
  for (const lists of state.perCpu) {
    const { allocator, kernel } = zones[lists.zone];
    const source = {
      refill: () => 0,
      giveBack: (pfn: number, order: number, migratetype: number) => void allocator.free(pfn, order, migratetype),
      pageblockType: (pfn: number) => allocator.pageblockType(pfn),
    };
    perCpuOf(lists, source, kernel.version).drainAll();
  }
}

/** A page that is not free at the start, and is asked for or drained before anybody frees it, lay on a per-CPU list. */
function keptByRows(free: PageBitmap, { count, event, pfn, order }: Recording, first: number): Kept[] {
  const kept: Kept[] = [];
  const seen = new PageBitmap(free.pages);
  for (let row = first; row < count; row++) {
    const name = String.fromCharCode(event[row]);
    if (!BLOCK_EVENTS.includes(name) || pfn[row] < 0) continue;
    const blockOrder = Math.max(0, order[row]);
    const pages = ORDER_PAGES[blockOrder];
    // A row that cannot be is refused where it is read.
    if (pfn[row] + pages > free.pages || pfn[row] % pages !== 0) continue;
    const isNew = seen.countRange(pfn[row], pages) === 0 && free.countRange(pfn[row], pages) === 0;
    if (isNew && (name === "A" || name === "D")) kept.push({ pfn: pfn[row], order: blockOrder });
    seen.setRange(pfn[row], pages);
  }
  return kept;
}

/** Every list of a zone that is not empty, heads first. */
function freeLists({ index, allocator }: Zone): RecordedState["free"][number][] {
  const lists: RecordedState["free"][number][] = [];
  for (let order = 0; order <= ORDER_MAX; order++) {
    for (let migratetype = 0; migratetype < MIGRATETYPE_COUNT; migratetype++) {
      const pfns: number[] = [];
      let pfn = allocator.first(order, migratetype);
      for (; pfn >= 0; pfn = allocator.next(pfn, order)) pfns.push(pfn);
      if (pfns.length > 0) lists.push({ zone: index, order, migratetype, pfns });
    }
  }
  return lists;
}

function pageblockTypes({ allocator, endPfn }: Zone): [block: number, migratetype: number][] {
  const types: [number, number][] = [];
  for (let block = Math.floor(allocator.startPfn / PAGEBLOCK_PAGES); block * PAGEBLOCK_PAGES < endPfn; block++) {
    types.push([block, allocator.pageblockType(Math.max(allocator.startPfn, block * PAGEBLOCK_PAGES))]);
  }
  return types;
}
