/** A zone whose memory comes and goes: Normal or Movable of a guest with hotplug. */
import type { HotplugZone } from "./hotplug_parts.ts";
import { ZONE_NAMES, ZoneType } from "./memory_map.ts";
import type { SparseLists } from "./sparse_lists.ts";
import { Zone, type ZoneParts } from "./zone.ts";
import { zonelistOf } from "./zonelist.ts";

/** What such a zone is made of. */
export interface SparseZoneParts extends ZoneParts {
  /** The free lists. */
  readonly allocator: SparseLists;
  /** First page frame that it will never have. */
  readonly reachPfn: number;
}

/** A zone that spans more than it has, and whose span may overlap with that of another. */
export class SparseZone extends Zone implements HotplugZone {
  /** The free lists. */
  override get allocator(): SparseLists {
    return this.pages as SparseLists;
  }

  /** A zone with its boot memory, which may be none. */
  constructor(parts: SparseZoneParts) {
    super(parts);
  }

  /** Whether the zone has the page. */
  override spans(pfn: number): boolean {
    return this.allocator.has(pfn);
  }

  /** Pages were added and are free. */
  grow(_pfn: number, count: number): void {
    this.presentPages += count;
    this.managedPages += count;
  }

  /** Pages are gone; all of them were managed, since what the kernel keeps can never go. */
  shrink(_pfn: number, count: number): void {
    this.presentPages -= count;
    this.managedPages -= count;
  }
}

/** The type of a zone (see {@link ZoneType}), which its name says. */
export function typeOf({ name }: { readonly name: string }): number {
  return ZONE_NAMES.indexOf(name);
}

/** For each highest type the zones of one node that have memory, in the order in which they are asked (`build_zonelists`). */
export function zonelistsOf(zones: readonly Pick<Zone, "name" | "managedPages">[]): number[][] {
  const listed = zones.map((zone) => ({ node: 0, type: typeOf(zone) }));
  return Object.values(ZoneType).map((highest) => {
    return zonelistOf(listed, [0], highest).filter((index) => zones[index].managedPages > 0);
  });
}
