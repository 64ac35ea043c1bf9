/** The row of summary.csv of one run: its columns, in the order of the contract, and their values. */
import { HIGHATOMIC, MOVABLE, PAGEBLOCK_ORDER, RECLAIMABLE, UNMOVABLE } from "./guest/allocator.ts";
import type { LoadedRun } from "./load.ts";
import type { MachineResult } from "./machine.ts";
import { PAGE_SIZE } from "./memory/range.ts";

/** A cell: empty when there is no such figure (undefined, or null where it came through JSON). */
export type Cell = string | number | undefined | null;

/** The row of one run by column name. */
export type SummaryRow = Readonly<Record<string, Cell>>;

/** Columns that name a run, beside its axes. */
const NAMING: ReadonlySet<string> = new Set(["run", "policy", "encoding", "seed", "rep"]);

/** The row of a run: what names it, its axes, its figures. Units are in the names. */
export function summaryRow(run: LoadedRun, result: MachineResult): SummaryRow {
  const { scenario, axes } = run;
  const { figures, counters } = result;
  const { fragmentation } = counters;
  return {
    run: run.name,
    policy: [...new Set(scenario.guests.map(({ policy }) => policy.plugin.name))].join("+"),
    encoding: scenario.encoding.entry.name,
    seed: scenario.seed,
    rep: run.rep,
    // An axis of whole sections has the name of a column of its own, which says more than its number.
    ...Object.fromEntries(axes.filter(({ key }) => !NAMING.has(key)).map(({ key, label }) => [key, label])),
    fingerprint: result.fingerprint,
    sim_time_ns: figures.simTimeNs,
    events: figures.events,
    allocs: figures.allocs,
    frees: figures.frees,
    alloc_fails: figures.allocFails,
    passes: figures.passes,
    messages: figures.messages,
    kicks: figures.kicks,
    exits: figures.exits,
    interrupts: figures.interrupts,
    payload_bytes: figures.payloadBytes,
    ranges: figures.ranges,
    sent_pages: figures.sentPages,
    discarded_pages: figures.discardedPages,
    skipped_pages: figures.skippedPages,
    refault_pages: figures.refaultPages,
    violations: figures.violations,
    near_misses: figures.nearMisses,
    walk_visits: counters.walkVisits,
    metadata_peak_bytes: counters.metadataPeakBytes,
    encode_ns: counters.encodeNs,
    decode_ns: counters.decodeNs,
    zone_lock_ns: counters.zoneLockNs,
    zone_lock_max_ns: counters.zoneLockMaxNs,
    held_peak_bytes: figures.heldPeakBytes,
    resident_start_bytes: figures.residentStartBytes,
    resident_end_bytes: figures.residentEndBytes,
    free_end_bytes: figures.freeEndBytes,
    returned_bytes: figures.returnedBytes,
    time_to_50_ns: figures.timeTo50Ns,
    time_to_90_ns: figures.timeTo90Ns,
    resident_gib_min: figures.residentGibMin,
    driver_cpu_ns: figures.driverCpuNs,
    host_cpu_ns: figures.hostCpuNs,
    guest_stall_ns: figures.guestStallNs,
    stall_p99_ns: figures.stallP99Ns,
    stall_max_ns: figures.stallMaxNs,
    ack_p50_ns: figures.ackP50Ns,
    ack_p99_ns: figures.ackP99Ns,
    isolated_peak_bytes: figures.isolatedPeakBytes,
    violation_pages: figures.violationPages,
    near_miss_pages: figures.nearMissPages,
    overflows: counters.overflows,
    unencodable_blocks: counters.unencodable,
    skipped_frees: counters.skippedFrees,
    dropped_requests: counters.droppedRequests,
    busy_wait_ns: counters.busyWaitNs,
    cache_lines: counters.cacheLines,
    memslot_lookup_ns: counters.memslotLookupNs,
    free_huge_end_bytes: fragmentation.freeHugePages * PAGE_SIZE,
    unusable_free_index_9_end: fragmentation.unusableFreeIndex[PAGEBLOCK_ORDER],
    unmovable_pageblocks_end: fragmentation.pageblocks[UNMOVABLE],
    movable_pageblocks_end: fragmentation.pageblocks[MOVABLE],
    reclaimable_pageblocks_end: fragmentation.pageblocks[RECLAIMABLE],
    highatomic_pageblocks_end: fragmentation.pageblocks[HIGHATOMIC],
    mixed_pageblocks_end: fragmentation.mixedPageblocks,
    compaction_pages: figures.compactionPages,
    compaction_ns: figures.compactionNs,
    khugepaged_pages: figures.khugepagedPages,
    kswapd_pages: figures.kswapdPages,
    direct_reclaim_pages: figures.directReclaimPages,
    drop_caches_pages: figures.dropCachesPages,
    dropped_frees: counters.droppedFrees,
    oom_kills: counters.oomKills,
    oom_killed_pages: figures.oomKilledPages,
    pcp_end_bytes: counters.perCpuPages * PAGE_SIZE,
    ...byOrder("free_order", fragmentation.freeByOrder),
    // That of 2 MiB stands above.
    ...byOrder("unusable_free_index", fragmentation.unusableFreeIndex, PAGEBLOCK_ORDER),
    ...Object.fromEntries(Object.entries(counters.policy).map(([name, value]) => [`policy_${name}`, value])),
  };
}

/** A cell for each order but one. */
function byOrder(name: string, values: readonly number[], without?: number): SummaryRow {
  const cells = values.map((value, order) => [`${name}_${order}_end`, value] as const);
  return Object.fromEntries(cells.filter((_, order) => order !== without));
}
