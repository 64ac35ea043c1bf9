/** What a kernel sets up anew when a zone has grown or shrunk (mm/page_alloc.c `init_per_zone_wmark_min`). */
import { pagesetOf } from "./machine_plan.ts";
import { typeOf, zonelistsOf } from "./hotplug_zone.ts";
import { ZoneType } from "./memory_map.ts";
import { lowmemReserves, minFreeKbytes, watermarksOf } from "./watermarks.ts";
import type { Zone } from "./zone.ts";
import type { ZoneUse } from "./zone_use.ts";

/** What the figures depend on beside the sizes of the zones. */
export interface MarkRules {
  /** Kernel generation. */
  readonly kernel: string;
  /** Virtual CPUs, all of one node. */
  readonly vcpus: number;
  /** Whether huge pages raise the watermarks; decided at boot. */
  readonly hugePages: boolean;
  /** min_free_kbytes as somebody set it: the least, since the kernel calculates it again. */
  readonly minFreeKbytes: number | undefined;
}

/** Gives every zone of a guest the watermarks for its present size. */
export function setMarks(zones: readonly Zone[], { kernel, hugePages, minFreeKbytes: least }: MarkRules): void {
  const movableShares = kernel === "6.1";
  const sizes = zones.map((zone) => ({ managedPages: zone.managedPages, movable: typeOf(zone) === ZoneType.movable }));
  const kbytes = Math.max(least ?? 0, minFreeKbytes(sizes, hugePages, movableShares));
  const marks = watermarksOf(sizes, hugePages, { minFreeKbytes: kbytes, movableShares });
  zones.forEach((zone, index) => zone.watermarks = marks[index]);
}

/** How the zones of a guest with one node are used at their present sizes and marks; one without memory is not asked. */
export function useOfSizes(zones: readonly Zone[], { vcpus }: MarkRules): ZoneUse {
  const managed = Object.values(ZoneType).map((type) => {
    return zones.find((zone) => typeOf(zone) === type)?.managedPages ?? 0;
  });
  const reserves = lowmemReserves(managed);
  return {
    zonelists: [zonelistsOf(zones)],
    cpuNodes: new Array<number>(vcpus).fill(0),
    zoneNodes: zones.map(() => 0),
    lowmemReserve: zones.map((zone) => reserves[typeOf(zone)]),
    pagesets: zones.map(({ managedPages, watermarks }) => pagesetOf(managedPages, watermarks.low, vcpus)),
    noFragment: managed[ZoneType.normal] > 0 && managed[ZoneType.dma32] > 0,
  };
}
