/** The columns of summary.csv that every run has, and which of them a comparison of runs shows. */

import { suggestion } from "./core/options.ts";
import { ORDERS, PAGEBLOCK_ORDER } from "./guest/allocator.ts";

/** Names of the columns in their order, without the axes of a grid and the counters of a policy's own. */
export const SUMMARY_COLUMNS: readonly string[] = [
  ...["run", "policy", "encoding", "seed", "rep", "fingerprint", "sim_time_ns", "events", "allocs", "frees"],
  ...["alloc_fails", "passes", "messages", "kicks", "exits", "interrupts", "payload_bytes", "ranges", "sent_pages"],
  ...["discarded_pages", "skipped_pages", "refault_pages", "violations", "near_misses", "walk_visits"],
  ...["metadata_peak_bytes", "encode_ns", "decode_ns", "zone_lock_ns", "zone_lock_max_ns", "held_peak_bytes"],
  ...["resident_start_bytes", "resident_end_bytes", "free_end_bytes", "returned_bytes", "time_to_50_ns"],
  ...["time_to_90_ns", "resident_gib_min", "driver_cpu_ns", "host_cpu_ns", "guest_stall_ns", "stall_p99_ns"],
  ...["stall_max_ns", "ack_p50_ns", "ack_p99_ns", "isolated_peak_bytes", "violation_pages", "near_miss_pages"],
  ...["overflows", "unencodable_blocks", "skipped_frees", "dropped_requests", "busy_wait_ns", "cache_lines"],
  "memslot_lookup_ns",
  ...["free_huge_end_bytes", "unusable_free_index_9_end", "unmovable_pageblocks_end", "movable_pageblocks_end"],
  ...["reclaimable_pageblocks_end", "highatomic_pageblocks_end", "mixed_pageblocks_end"],
  ...["compaction_pages", "compaction_ns", "khugepaged_pages", "kswapd_pages", "direct_reclaim_pages"],
  ...["drop_caches_pages", "dropped_frees", "oom_kills", "oom_killed_pages", "pcp_end_bytes"],
  ...Array.from({ length: ORDERS }, (_, order) => `free_order_${order}_end`),
  ...Array.from({ length: ORDERS }, (_, order) => order).filter((order) => order !== PAGEBLOCK_ORDER)
    .map((order) => `unusable_free_index_${order}_end`),
];

/** What a comparison shows unless a scenario says otherwise. */
export const SHOWN_COLUMNS: readonly string[] = [
  ...["resident_start_bytes", "resident_end_bytes", "discarded_pages", "refault_pages", "returned_bytes"],
  ...["time_to_50_ns", "time_to_90_ns", "free_end_bytes", "passes", "messages", "kicks", "exits", "interrupts"],
  ...["payload_bytes", "ranges", "driver_cpu_ns", "host_cpu_ns", "guest_stall_ns", "alloc_fails", "violations"],
  "near_misses",
];

/** What it shows beside them when a guest ran out of memory. */
export const OOM_COLUMNS: readonly string[] = ["oom_kills", "oom_killed_pages"];

/** One row of a comparison: a column, a ratio, or a gain. */
export interface ShownRow {
  /** The column. */
  readonly column: string;
  /** The column that it is divided by. */
  readonly divisor: string | undefined;
  /** Whether the share is shown by which it is below that of the first run. */
  readonly gain: boolean;
}

/**
 * Reads one entry of `output.show`: `column`, `column / column`, or either after `gain `. Throws RangeError with a sentence when
 * it is none of these.
 */
export function shownRow(text: string): ShownRow {
  const gain = text.startsWith("gain ");
  const [column, divisor, more] = text.slice(gain ? 5 : 0).split("/").map((part) => part.trim());
  const wrong = [column, divisor ?? column].find((name) => !isColumn(name));
  if (wrong === undefined && more === undefined) return { column, divisor, gain };
  const near = wrong === undefined ? undefined : suggestion(wrong, SUMMARY_COLUMNS);
  throw new RangeError(
    `${JSON.stringify(text)} is not a column of summary.csv, "column / column" or "gain column"` +
      (near === undefined ? "" : `; did you mean ${near}?`),
  );
}

/** Counters of policies are known only when the runs are. */
function isColumn(name: string): boolean {
  return SUMMARY_COLUMNS.includes(name) || /^policy_[a-z0-9_]+$/.test(name);
}
