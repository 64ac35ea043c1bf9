/** The per-CPU lists of one guest: one set for each zone and CPU, of the guest's kernel generation. */
import { type AllocFlags, NO_FLAGS } from "./kernel.ts";
import type { PagesetSize } from "./machine_plan.ts";
import { ZoneType } from "./memory_map.ts";
import type { PcpZone, PerCpuPages } from "./pcp.ts";
import { Pcp61 } from "./pcp_6_1.ts";
import { Pcp612 } from "./pcp_6_12.ts";
import { ORDINARY, watermarkOk } from "./watermark_check.ts";
import type { Zone } from "./zone.ts";
import type { ZoneUse } from "./zone_use.ts";

/** What of a guest's zones the lists depend on. */
export type PerCpuUse = Pick<ZoneUse, "pagesets" | "lowmemReserve">;

/** Called with every block that goes back to the free lists of a zone. */
export type BlockReturned = (zone: Zone, pfn: number, mergedOrder: number) => void;

/** The lists of all zones and CPUs. */
export class PerCpuLists {
  /** The flags of the request for which a list may be refilled now. */
  flags: AllocFlags = NO_FLAGS;
  readonly #lists: readonly (readonly PerCpuPages[])[];

  /** Empty lists of the sizes that the zones ask for, as after boot. `returned` is told of what they give back. */
  constructor(zones: readonly Zone[], use: PerCpuUse, cpus: number, returned: BlockReturned) {
    this.#lists = zones.map((zone) => {
      const source = this.#sourceOf(zone, use.lowmemReserve[zone.index][ZoneType.movable], returned);
      return Array.from({ length: cpus }, () => emptyLists(zone, use.pagesets[zone.index], source));
    });
  }

  /** The lists of a zone and CPU; CPUs that the machine does not have use those of the first. */
  of(zone: number, cpu: number): PerCpuPages {
    const lists = this.#lists[zone];
    return lists[cpu >= 0 && cpu < lists.length ? cpu : 0];
  }

  #sourceOf(zone: Zone, reserve: number, returned: BlockReturned): PcpZone {
    const { allocator, kernel } = zone;
    return {
      pressure: zone,
      drained: () => {
        if (!zone.belowHigh) return;
        const mark = zone.watermarks.high + zone.watermarkBoost;
        zone.belowHigh = !watermarkOk(zone, 0, mark, reserve, ORDINARY, kernel.version);
      },
      refill: (order, migratetype, count, pfns) => kernel.allocBulk(zone, order, migratetype, count, this.flags, pfns),
      giveBack: (pfn, order, migratetype) => returned(zone, pfn, allocator.free(pfn, order, migratetype)),
      pageblockType: (pfn) => allocator.pageblockType(pfn),
    };
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

function emptyLists({ kernel }: Zone, { batch, high, highMax }: PagesetSize, source: PcpZone): PerCpuPages {
  if (kernel.version === "6.1") return new Pcp61(source, batch, { high, freeFactor: 0 });
  const limits = { highMin: high, highMax: Math.max(high, highMax) };
  return new Pcp612(source, batch, {
    high,
    ...limits,
    allocFactor: 0,
    freeCount: 0,
    previousHighOrder: false,
    freeHighBatch: true,
  });
}
