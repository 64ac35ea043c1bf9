/**
 * The slow path of an allocation in a guest that does its own housekeeping, and what else makes it reclaim (mm/page_alloc.c
 * `__alloc_pages_slowpath`).
 *
 * Whether a task goes on without progress depends on the page cache of the whole guest, not of each zone
 * (`should_reclaim_retry`), and tasks are never throttled (`throttle_direct_reclaim`). While reclaim frees something orders 1 to 3
 * go on, too: neither the priority of their compaction rises nor do they end after 16 tries (`should_compact_retry`).
 */
import type { Task } from "../core/sim.ts";
import { MOVABLE } from "./allocator.ts";
import { FAILED, type Guest } from "./guest.ts";
import { COMPACT_SKIPPED, type CompactMode } from "./housekeeping_hooks.ts";
import { ZONE_NAMES } from "./memory_map.ts";
import { COSTLY_ORDER, MAX_RECLAIM_RETRIES } from "./reclaim.ts";
import { highestFor } from "./zone_use.ts";

/** A request for pages. */
export interface PageRequest {
  /** The handle under which they come. */
  readonly handle: number;
  /** Their order. */
  readonly order: number;
  /** Their migratetype. */
  readonly migratetype: number;
  /** The zone alone that may give them, or -1. */
  readonly zone: number;
  /** The CPU. */
  readonly cpu: number;
  /** The process that asks, or 0. */
  readonly owner: number;
}

/**
 * Gets what the fast path did not find: compacts, reclaims, drains, as long as that helps, and then lets `memoryMayReturn` say
 * whether the driver gives memory back. Returns the time of the allocation itself, ns, or {@link FAILED}.
 */
export function* allocSlowly(
  guest: Guest,
  request: PageRequest,
  memoryMayReturn: (order: number) => Task<boolean>,
): Task<number> {
  const { order, migratetype, cpu } = request;
  const costly = order > COSTLY_ORDER;
  // can_direct_compact: for these a first, cheap compaction comes before any reclaim.
  if (order > 0 && (costly || migratetype !== MOVABLE)) {
    const ns = yield* compactFor(guest, request, "async");
    if (ns !== FAILED) return ns;
  }
  let retries = 0;
  for (;;) {
    const pages = guest.reclaim.direct(order, highestOf(guest, request), cpu);
    yield guest.reclaim.roundNs;
    let ns = take(guest, request);
    if (ns === FAILED) ns = take(guest, request, "last");
    if (ns === FAILED && order > 0) ns = yield* compactFor(guest, request, "sync-light");
    if (ns !== FAILED) return ns;
    if (guest.oom.isDead(request.owner)) return FAILED;
    retries = pages > 0 ? 0 : retries + 1;
    // Large orders are tried for once, since no request says __GFP_RETRY_MAYFAIL. Without reclaimable pages there is nothing to
    // try again for.
    const hopeless = retries > MAX_RECLAIM_RETRIES || (pages === 0 && guest.reclaim.lru.cachePages === 0);
    if (!costly && !hopeless) continue;
    if (!(yield* memoryMayReturn(order))) return FAILED;
    retries = 0;
  }
}

/**
 * As {@link allocSlowly}, and when that does not help lets the OOM killer make room (`__alloc_pages_may_oom`): not for large
 * orders, nor once the guest has `stopped`. FAILED, too, when the process that asks was killed.
 */
export function* allocOrKill(
  guest: Guest,
  request: PageRequest,
  memoryMayReturn: (order: number) => Task<boolean>,
  stopped: () => boolean,
): Task<number> {
  const { order, cpu, owner } = request;
  const { oom } = guest;
  for (;;) {
    const { kills } = oom;
    const ns = yield* allocSlowly(guest, request, memoryMayReturn);
    if (ns !== FAILED || order > COSTLY_ORDER || stopped() || oom.isDead(owner)) return ns;
    // Where somebody was killed meanwhile there may be room again (`oom_lock`).
    if (oom.kills !== kills) continue;
    if (oom.outOfMemory(order, cpu) === 0) return FAILED;
    yield oom.reapNs;
    if (oom.isDead(owner)) return FAILED;
  }
}

/** `__alloc_pages_direct_compact`: at first cheaply (INIT_COMPACT_PRIORITY), later not (DEF_COMPACT_PRIORITY). */
function* compactFor(guest: Guest, request: PageRequest, mode: CompactMode): Task<number> {
  const { order, migratetype, cpu } = request;
  const zones = guest.zonesFor(cpu, highestOf(guest, request));
  const compactNs = guest.hooks.compact?.(order, migratetype, cpu, mode, zones) ?? COMPACT_SKIPPED;
  if (compactNs === COMPACT_SKIPPED) return FAILED;
  yield compactNs;
  return take(guest, request);
}

/** The highest type of zone that a request may use (`gfp_zone`). */
function highestOf({ zones }: Guest, { migratetype, zone }: PageRequest): number {
  return zone >= 0 ? ZONE_NAMES.indexOf(zones[zone].name) : highestFor(migratetype);
}

function take(guest: Guest, { handle, order, migratetype, zone, cpu, owner }: PageRequest, way?: "last"): number {
  // A task that was killed while it waited goes without.
  if (guest.oom.isDead(owner)) return FAILED;
  return guest.alloc(handle, order, migratetype, zone, cpu, false, way);
}

/** Drops caches (`drop_caches_sysctl_handler`), a round at a time. */
export function* dropCaches(guest: Guest, what: number, cpu: number): Task {
  while (guest.reclaim.dropRound(what, cpu)) yield guest.reclaim.roundNs;
}

/** Reclaims so many pages for somebody (mm/memcontrol.c `memory_reclaim`), a batch at a time. */
export function* reclaimPages(guest: Guest, pages: number, cpu: number): Task {
  let left = pages;
  for (let retries = 0; left > 0 && retries <= MAX_RECLAIM_RETRIES;) {
    const reclaimed = guest.reclaim.proactive(left, cpu);
    left -= reclaimed;
    if (reclaimed === 0) retries++;
    yield guest.reclaim.roundNs;
  }
}
