/**
 * Which allocation a page belongs to: compaction finds pages by address and moves them by handle.
 *
 * A guest has one only when it compacts: 4 bytes for each page of its zones, 1/1024 of its memory (1 GiB for 1 TiB of
 * memory), of which only what lies around pages that were ever allocated becomes resident.
 */
import { grown } from "../memory/grown.ts";

/** What it must know of a zone. */
export interface OwnedZone {
  /** Its free lists, which know its span. */
  readonly allocator: { readonly startPfn: number; readonly pages: number };
}

/**
 * First pages of allocations to handles. It follows an {@link AllocationTable} whose `owner` it is.
 *
 * ```ts
 * import { PageOwner } from "./page_owner.ts";
 * const owner = new PageOwner([{ allocator: { startPfn: 4096, pages: 1024 } }]);
 * owner.put(0, 4100, 7);
 * if (owner.handleAt(0, 4100) !== 7 || owner.handleAt(0, 4101) !== -1) throw new Error("the first page names the handle");
 * ```
 */
export class PageOwner {
  readonly #starts: readonly number[];
  /** Per zone and page the handle and one; 0 for a page with which no allocation begins. */
  readonly #handles: Int32Array[];

  /** An owner for these zones, in which nothing is allocated. */
  constructor(zones: readonly OwnedZone[]) {
    this.#starts = zones.map(({ allocator }) => allocator.startPfn);
    this.#handles = zones.map(({ allocator }) => new Int32Array(allocator.pages));
  }

  /** An allocation begins with this page of a zone. Hotplug may have made the zone larger. */
  put(zone: number, pfn: number, handle: number): void {
    const at = pfn - this.#starts[zone];
    if (at >= this.#handles[zone].length) {
      this.#handles[zone] = grown(this.#handles[zone], Math.max(at + 1, 2 * this.#handles[zone].length));
    }
    this.#handles[zone][at] = handle + 1;
  }

  /** The allocation that began with this page is gone. */
  remove(zone: number, pfn: number): void {
    this.#handles[zone][pfn - this.#starts[zone]] = 0;
  }

  /** The handle of the allocation that begins with a page, or -1. */
  handleAt(zone: number, pfn: number): number {
    const handles = this.#handles[zone];
    const at = pfn - this.#starts[zone];
    return at >= 0 && at < handles.length ? handles[at] - 1 : -1;
  }
}
