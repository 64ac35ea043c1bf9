/** The per-CPU lists of one guest: one set for each zone and CPU, of the guest's kernel generation. */
import { NO_FLAGS } from "./kernel.ts";
import { batchOf, highMaxOf, highOf, type PcpZone, type PerCpuPages } from "./pcp.ts";
import { Pcp61 } from "./pcp_6_1.ts";
import { Pcp612 } from "./pcp_6_12.ts";
import type { Zone } from "./zone.ts";

/** Called with every block that goes back to the free lists of a zone. */
export type BlockReturned = (zone: Zone, pfn: number, mergedOrder: number) => void;

/** The lists of all zones and CPUs. */
export class PerCpuLists {
  readonly #lists: readonly (readonly PerCpuPages[])[];

  /** Empty lists, as after boot. `returned` is told of what they give back. */
  constructor(zones: readonly Zone[], cpus: number, returned: BlockReturned) {
    this.#lists = zones.map((zone) => {
      const source = sourceOf(zone, returned);
      return Array.from({ length: cpus }, () => emptyLists(zone, cpus, source));
    });
  }

  /** The lists of a zone and CPU; CPUs that the machine does not have use those of the first. */
  of(zone: number, cpu: number): PerCpuPages {
    const lists = this.#lists[zone];
    return lists[cpu >= 0 && cpu < lists.length ? cpu : 0];
  }

  /** Pages on all lists. */
  get pages(): number {
    let pages = 0;
    for (const zone of this.#lists) for (const lists of zone) pages += lists.count;
    return pages;
  }

  /** Gives everything back (`drain_all_pages`). */
  drainAll(): void {
    for (const zone of this.#lists) for (const lists of zone) lists.drainAll();
  }

  /** 6.12: idle pages go back a little at a time (`decay_pcp_high`). */
  decay(): void {
    for (const zone of this.#lists) for (const lists of zone) if (lists instanceof Pcp612) lists.decay();
  }
}

function emptyLists({ managedPages, watermarks, kernel }: Zone, cpus: number, source: PcpZone): PerCpuPages {
  const batch = batchOf(managedPages);
  const high = highOf(watermarks.low, cpus, batch);
  if (kernel.version === "6.1") return new Pcp61(source, batch, { high, freeFactor: 0 });
  const limits = { highMin: high, highMax: Math.max(high, highMaxOf(managedPages, cpus, batch)) };
  return new Pcp612(source, batch, {
    high,
    ...limits,
    allocFactor: 0,
    freeCount: 0,
    previousHighOrder: false,
    freeHighBatch: true,
  });
}

function sourceOf(zone: Zone, returned: BlockReturned): PcpZone {
  const { allocator, kernel } = zone;
  return {
    refill: (order, migratetype, count, pfns) => kernel.allocBulk(zone, order, migratetype, count, NO_FLAGS, pfns),
    giveBack: (pfn, order, migratetype) => returned(zone, pfn, allocator.free(pfn, order, migratetype)),
    pageblockType: (pfn) => allocator.pageblockType(pfn),
  };
}
