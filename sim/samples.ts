/** Samples: the state of a guest at regular times, read from the models and never written by them. */
import { MIGRATETYPES, ORDER_MAX, ORDERS, PAGEBLOCK_ORDER } from "./guest/allocator.ts";
import {
  fragmentationIndex,
  freeByOrder,
  hugePages,
  pageblocksByType,
  unusableFreeIndex,
} from "./guest/fragmentation.ts";
import type { Guest } from "./guest/guest.ts";
import type { Host } from "./host/host.ts";
import { ORDER_PAGES, PAGE_SIZE } from "./memory/range.ts";

/** The orders of which the fragmentation index is sampled: the largest that are kept per CPU, huge pages, the largest. */
const INDEX_ORDERS: readonly number[] = [3, PAGEBLOCK_ORDER, ORDER_MAX];

/** The columns of samples.csv. Bytes, blocks by order, indices in thousandths, pageblocks. */
export const SAMPLE_COLUMNS: readonly string[] = [
  "time_ns",
  "guest",
  "resident_bytes",
  "free_bytes",
  "free_huge_bytes",
  "pcp_bytes",
  "isolated_bytes",
  "used_bytes",
  "cache_bytes",
  "held_bytes",
  "reported_bytes",
  "resident_free_bytes",
  ...Array.from({ length: ORDERS }, (_, order) => `free_order_${order}`),
  ...Array.from({ length: ORDERS }, (_, order) => `unusable_free_index_order_${order}`),
  ...INDEX_ORDERS.map((order) => `fragmentation_index_order_${order}`),
  ...MIGRATETYPES.map((type) => `${type}_pageblocks`),
];

/** One sample, in the order of {@link SAMPLE_COLUMNS}. */
export type Sample = readonly number[];

/** Looks at a guest. `presentPages` is what its zones hold without holes. */
export function sampleGuest(timeNs: number, guest: Guest, host: Host, presentPages: number): Sample {
  const orders = freeByOrder(guest.zones);
  let reportedPages = 0;
  let residentFree = 0;
  for (const { pages } of guest.zones) reportedPages += pages.reportedPages;
  if (host.residentBytes > 0) residentFree = residentFreePages(guest, host);
  const freePages = guest.freePages;
  const { perCpuPages } = guest;
  const usedPages = presentPages - freePages - perCpuPages - guest.isolatedPages - guest.heldPages;
  return [
    timeNs,
    guest.index,
    host.residentBytes,
    freePages * PAGE_SIZE,
    hugePages(orders) * PAGE_SIZE,
    perCpuPages * PAGE_SIZE,
    guest.isolatedPages * PAGE_SIZE,
    usedPages * PAGE_SIZE,
    guest.cachePages * PAGE_SIZE,
    guest.heldPages * PAGE_SIZE,
    reportedPages * PAGE_SIZE,
    residentFree * PAGE_SIZE,
    ...orders,
    ...orders.map((_, order) => unusableFreeIndex(orders, order)),
    ...INDEX_ORDERS.map((order) => fragmentationIndex(orders, order)),
    ...pageblocksByType(guest.zones),
  ];
}

/** What is neither owned nor kept by the driver or a CPU is free: counting bits is much cheaper than walking the lists. */
function residentFreePages(guest: Guest, host: Host): number {
  if (guest.isolatedPages + guest.heldPages + guest.perCpuPages === 0) {
    return host.residentBytes / PAGE_SIZE - host.residentOwnedPages();
  }
  let pages = 0;
  for (const zone of guest.zones) {
    zone.forEachFree((pfn, order) => {
      pages += host.residentIn(pfn, ORDER_PAGES[order]);
    });
  }
  return pages;
}
