/** What memory hotplug needs of zones and guest, and who hears of it. */
import type { Costs } from "../host/costs.ts";
import type { SparseLists } from "./sparse_lists.ts";

/**
 * Where added memory goes. `normal` and `movable` are online_kernel and online_movable; `auto` is the auto-movable policy, which
 * decides once for all that is added together; `alternating` gives every other memory block to the same zone, by address.
 */
export type OnlinePolicy = "normal" | "movable" | "auto" | "alternating";

/** A zone that can grow and shrink. */
export interface HotplugZone {
  /** Its index in the guest. */
  readonly index: number;
  /** Its free lists. */
  readonly allocator: SparseLists;
  /** Pages that exist. */
  readonly presentPages: number;
  /** Pages were added and are free: present and managed pages grow. */
  grow(pfn: number, count: number): void;
  /** Pages are gone: present and managed pages shrink. */
  shrink(pfn: number, count: number): void;
}

/** What the guest does for hotplug. */
export interface HotplugGuest {
  /** Gives all pages on per-CPU lists of a zone back to its free lists (`zone_pcp_disable`). */
  drain(zone: number): void;
  /**
   * Calls `visit` for every block in use that begins in a range, in any order, with whether it can be migrated. Pages that are
   * neither visited nor free are never given up.
   */
  forEachUsed(pfn: number, count: number, visit: (pfn: number, order: number, movable: boolean) => void): void;
  /**
   * Moves a block in use to other pages and frees its old ones past the per-CPU lists, to the list of their pageblock's type,
   * which is ISOLATE now. Returns the time it takes, ns, or a negative number when there is no place for it.
   */
  migrate(pfn: number, order: number): number;
  /** Zones have another size: watermarks, reserves and per-CPU limits are set up anew (`init_per_zone_wmark_min`). */
  resized(): void;
}

/** Hears of each step, after the zone has changed and before the guest is told to set up its watermarks. */
export interface HotplugObserver {
  /** A memory block came into use: `online_pages`. All of it is free, in blocks of order 10. */
  onlined(zone: number, pfn: number, pages: number, costNs: number): void;
  /** A memory block is gone: `offline_pages`. All of it was free. */
  offlined(zone: number, pfn: number, pages: number, costNs: number): void;
  /** A memory block stays in use because of the page `busyPfn`; what could be migrated was. */
  offlineFailed(zone: number, pfn: number, pages: number, busyPfn: number, costNs: number): void;
}

/** What the model is made of. */
export interface HotplugParts {
  /** Normal. */
  readonly normal: HotplugZone;
  /** Movable. */
  readonly movable: HotplugZone;
  /** Pages that existed at boot in all zones but Movable (present_early_pages). */
  readonly earlyPages: number;
  /** Page after the memory of the boot. */
  readonly bootEndPfn: number;
  /** Whether isolation splits free blocks of order 10, as 6.12 does and 6.1 does not. */
  readonly splitsLargeBlocks: boolean;
  /** What things cost, ns. */
  readonly costs: Pick<Costs, "visitNs" | "freeNs" | "isolateNs">;
  /** The guest. */
  readonly guest: HotplugGuest;
  /** Who hears of it. */
  readonly observer: HotplugObserver;
}

/** What came of a request. */
export interface HotplugResult {
  /** Pages that were added, or removed. */
  readonly pages: number;
  /** The time it takes, ns. */
  readonly costNs: number;
}
