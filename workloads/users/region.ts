/** A mapping of a process: pages that are faulted in one after the other, with their page tables, and go all at once. */
import type { Distribution } from "../../sim/core/distributions.ts";
import { type Field, integer } from "../../sim/core/options.ts";
import type { Random } from "../../sim/core/random.ts";
import { PAGEBLOCK_ORDER, UNMOVABLE } from "../../sim/guest/allocator.ts";
import { ORDER_PAGES } from "../../sim/memory/range.ts";
import type { OpSink } from "./user.ts";

/** Entries of a page table, and pages of a huge page. */
export const TABLE_PAGES = 512;

/** How regions are backed. */
export interface Backing {
  /** Orders of the folios of a fault (0: single pages; larger ones: mTHP, or several faults taken as one). */
  readonly orders: Distribution;
  /** Share of regions' memory that is faulted in by huge pages (THP). */
  readonly huge: number;
  /** So many faults of single pages at most are run as one operation; with 1 each is one. */
  readonly burst: number;
  /** Random numbers. */
  readonly random: Random;
}

/** Option: with more than one fault an operation a run is faster, and nothing else happens on the CPU between them. */
export const burstField: Field<number> = integer(1, 1, TABLE_PAGES, {
  summary: "with single pages only: how many faults are run as one operation, at most",
});

/** A region that grows from its start and is unmapped as a whole. */
export class Region {
  /** Pages faulted in. */
  pages = 0;
  #backing: Backing;
  #handles: number[] = [];
  #tables = 0;

  /** An empty region. */
  constructor(backing: Backing) {
    this.#backing = backing;
  }

  /** Faults pages in until there are at least `pages`; page tables come with each 2 MiB (`__pte_alloc`, `pgtable_trans_huge_deposit`). */
  grow(sink: OpSink, pages: number): void {
    const { orders, huge, burst, random } = this.#backing;
    while (this.pages < pages) {
      if (this.pages >= this.#tables * TABLE_PAGES) {
        this.#tables++;
        this.#handles.push(sink.alloc(0, UNMOVABLE, 1));
        if (huge > 0 && pages - this.pages >= TABLE_PAGES && random.nextFloat() < huge) {
          this.#handles.push(sink.fault(PAGEBLOCK_ORDER, TABLE_PAGES));
          this.pages += TABLE_PAGES;
          continue;
        }
      }
      if (burst > 1) {
        const left = Math.min(pages, this.#tables * TABLE_PAGES) - this.pages;
        const order = 31 - Math.clz32(Math.min(burst, left));
        this.#handles.push(sink.faultSingles(order));
        this.pages += ORDER_PAGES[order];
        continue;
      }
      const order = orders.draw(random);
      this.#handles.push(sink.fault(order, ORDER_PAGES[order]));
      this.pages += ORDER_PAGES[order];
    }
  }

  /** Unmaps all of it: pages in the order of their addresses (`unmap_vmas`, `free_pgtables`). */
  unmap(sink: OpSink): void {
    for (const handle of this.#handles) sink.free(handle);
    this.#handles = [];
    this.pages = 0;
    this.#tables = 0;
  }
}
