/** Per-CPU lists of a kernel generation, empty as after boot or filled as recorded. */
import type { RecordedPerCpu } from "./operations.ts";
import type { PcpZone, PerCpuPages } from "./pcp.ts";
import { Pcp61 } from "./pcp_6_1.ts";
import { Pcp612 } from "./pcp_6_12.ts";

/** Flags of recorded lists of 6.12 (PCPF_PREV_FREE_HIGH_ORDER, PCPF_FREE_HIGH_BATCH). */
const PREVIOUS_HIGH_ORDER = 1;
const FREE_HIGH_BATCH = 2;

/** The lists of one CPU and zone with the pages that a recording has on them. */
export function perCpuOf(recorded: RecordedPerCpu, zone: PcpZone, kernel: string): PerCpuPages {
  const { batch, high, highMin, highMax, freeFactor, allocFactor, freeCount, flags } = recorded;
  const lists = kernel === "6.1" ? new Pcp61(zone, batch, { high, freeFactor }) : new Pcp612(zone, batch, {
    high,
    highMin,
    highMax,
    allocFactor,
    freeCount,
    previousHighOrder: (flags & PREVIOUS_HIGH_ORDER) !== 0,
    freeHighBatch: (flags & FREE_HIGH_BATCH) !== 0,
  });
  recorded.lists.forEach((pfns, list) =>
    pfns.forEach((pfn, n) => lists.restore(list, pfn, recorded.types?.[list][n] ?? zone.pageblockType(pfn)))
  );
  return lists;
}

/** Whether lists hold the recorded pages in the recorded order. */
export function sameLists(lists: PerCpuPages, recorded: RecordedPerCpu): boolean {
  return recorded.lists.every((pfns, list) => {
    const ours = lists.pages(list);
    return ours.length === pfns.length && ours.every((pfn, n) => pfn === pfns[n]);
  });
}
