/**
 * What tables of slots cost.
 *
 * Lookups are priced in cycles. One that finds nothing in the caches is bound by memory: a scan streams its slots, two lines of
 * 64 bytes a fetch, while each step of a search waits for a fetch of its own. One whose table is in the caches is priced by
 * comparison. The cycles are those of the commit that brought the binary search (9c1a5d3878, Windows guest: greatest and mean
 * cycles of a lookup); what an update takes is from the measurements of the patches that brought the trees (Szmigiero 2021).
 */
import { type Cost, costProfiles } from "../host/costs.ts";
import type { SlotOperations } from "./slot_table.ts";

/** A cost in cycles: as {@link Cost}, in another unit. */
export interface CycleCost extends Omit<Cost, "valueNs" | "range"> {
  /** The value in cycles. */
  readonly cycles: number;
}

/** Bytes of a slot in the kernels that were measured (v3.19, v4.0). */
const MEASURED_SLOT_BYTES = 80;
/** Two lines of 64 bytes: what the prefetcher completes. */
const FETCH_BYTES = 128;

const cycleCost = (cycles: number, role: Cost["role"], source: string): CycleCost => ({ cycles, role, source });

/** The costs of lookups, cycles. */
export const LOOKUP_COSTS = {
  /** One fetch of 128 bytes from memory. */
  fetch: cycleCost(
    1450 / (13 * MEASURED_SLOT_BYTES / FETCH_BYTES),
    "derived",
    "the slowest linear lookup in 13 slots of 80 bytes takes 1450 cycles (9c1a5d3878)",
  ),
  /** A lookup that finds its slot at once: where it looked last, or in the first place of a scan. */
  call: cycleCost(28, "measured", "mean of a lookup in 13 slots (9c1a5d3878), and of a hit in the cached slot"),
  /** Each further slot of a scan, in the caches. */
  scan: cycleCost(
    (460 - 28) / 58,
    "derived",
    "linear, 117 slots at random: 460 cycles for (117 + 1) / 2 slots (9c1a5d3878)",
  ),
  /** One step that depends on the one before, in the caches. */
  probe: cycleCost((180 - 28) / 7, "derived", "binary, 117 slots at random: 180 cycles for 7 halves (9c1a5d3878)"),
} as const;

/** Clock of the machine that times are for, GHz: the Xeon Platinum 8167M of the update costs. */
export const CLOCK_GHZ = 2;

/** The costs of updates, ns; solved from 10 and 509 slots of `Slot setup`, see sim/validation/v17.ts. */
export const UPDATE_COSTS = {
  /** One swap with its wait, the call around it included. */
  swap: {
    valueNs: 14_805,
    range: [8000, 20_000],
    role: "derived",
    source: "set-up of 10 and 509 slots, trees (Szmigiero 2021, Xeon Platinum 8167M)",
  },
  /** One byte of an array copied or moved, its allocation included. */
  byte: {
    valueNs: 0.0865,
    range: [0.05, 0.2],
    role: "derived",
    source: "set-up of 509 slots, array (Szmigiero 2021, Xeon Platinum 8167M)",
  },
} as const satisfies Readonly<Record<string, Cost>>;

/** The fault of a page of the profile from which a refault is priced. */
const { fault4kNs } = costProfiles.find(({ name }) => name === "xeon6252-2024")!.costs;

/**
 * One mapping of EPT that the guest faults in again after its slot was deleted or moved: exit, walk, entry. The page is there,
 * whatever the size of the mapping, so that a fault of 2 MiB, which is mostly zeroing, is no measure; nor is anything measured
 * on the machine of the updates.
 */
export const REFAULT_COST: Cost = {
  valueNs: fault4kNs.valueNs,
  range: [1200, fault4kNs.range[1]],
  role: "assumed",
  source:
    "at most fault4kNs of xeon6252-2024, another machine, which also allocates and zeroes 4 KiB; at least an exit",
};

/** What so many refaults cost the guest, ns. */
export function refaultNs(refaults: number): number {
  return Math.round(refaults * REFAULT_COST.valueNs);
}

/** Cycles of a lookup that finds nothing in the caches: what is scanned is streamed, each step and each store is a fetch. */
export function coldCycles(did: SlotOperations, slotBytes: number): number {
  const fetches = did.scans * slotBytes / FETCH_BYTES + did.cacheLooks + did.probes + did.writes;
  return fetches * LOOKUP_COSTS.fetch.cycles;
}

/** Cycles of lookups whose table is in the caches. */
export function warmCycles(did: SlotOperations, lookups: number): number {
  const { call, scan, probe } = LOOKUP_COSTS;
  return lookups * call.cycles + Math.max(0, did.scans - lookups) * scan.cycles + did.probes * probe.cycles;
}

/** Time of updates, ns: swaps, copies, and the comparisons on the way, with the table in the caches. */
export function updateNs(did: SlotOperations): number {
  const { swap, byte } = UPDATE_COSTS;
  return did.swaps * swap.valueNs + did.copiedBytes * byte.valueNs + warmCycles(did, 0) / CLOCK_GHZ;
}
