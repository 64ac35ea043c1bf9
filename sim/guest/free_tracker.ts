/**
 * Where a design of 2019 remembers which free blocks the host was not told of: bits over the span of a zone, arrays of each
 * CPU, or flags inside the allocator. The driver and the wire above are the same: this is the seam that the threads of 2019
 * asked for (Nitesh Lal's v10 to v12 against Alexander Duyck's sets, linux-mm, June to September 2019).
 */
import type { Driver } from "./driver.ts";
import type { Zone } from "./zone.ts";

/** Where a tracker charges its walks and its memory. */
export type TrackerCosts = Pick<Driver, "spend" | "visit" | "unlock" | "metadata">;

/** What a tracker says of its free blocks. It charges what its walks visit to the driver by itself. */
export interface FreeTracker {
  /** Parts that are walked each by itself: zones, bitmaps, CPUs. */
  readonly parts: number;
  /** Whether a block that the host was told of is marked Reported, and goes to the tail, when it is put back. */
  readonly marks: boolean;
  /** Work of the tracker at each free beside the hook itself, ns. */
  readonly hookNs: number;
  /** Whether a walk met something on which the posted code never ends. */
  readonly hung: boolean;
  /** The block that {@link next} found. */
  readonly zone: Zone;
  /** Its first page. */
  readonly pfn: number;
  /** Its order. */
  readonly order: number;
  /** A block of at least the smallest order was freed and merged. True when there is enough for a pass. */
  freed(zone: Zone, pfn: number, order: number, cpu: number): boolean;
  /** Whether a part has enough to be walked. */
  enough(part: number): boolean;
  /** A walk over a part begins. */
  begin(part: number): void;
  /** Finds the next block of the walk that is free now; false at the end. */
  next(): boolean;
  /** The walk is about to wait for the host: the lists may change before it goes on. */
  suspend(): void;
  /** Its counters, with units in their names. */
  counters(): Readonly<Record<string, number>>;
}
