/**
 * khugepaged: huge pages that fell back to single pages are put together later (mm/khugepaged.c `khugepaged_scan_mm_slot`,
 * `collapse_huge_page`). A group is 512 handles in a row of one huge fault (OpFlag.fallback); when it is collapsed its first
 * handle names a block of order 9 and the others nothing.
 */
import type { Sim, Task } from "../core/sim.ts";
import { Event, NONE } from "../core/trace.ts";
import type { Costs } from "../host/costs.ts";
import { PAGEBLOCK_ORDER, PAGEBLOCK_PAGES } from "./allocator.ts";
import type { Guest } from "./guest.ts";

/** After a failed allocation it sleeps so long, ns (alloc_sleep_millisecs). */
const ALLOC_SLEEP_NS = 60e9;

/** How it runs. */
export interface KhugepagedOptions {
  /** Pages looked at in each round (pages_to_scan). */
  readonly scan: number;
  /** Time between two rounds, ns (scan_sleep_millisecs). */
  readonly sleep: number;
}

/** What it is made of. */
export interface KhugepagedParts extends KhugepagedOptions {
  /** Clock and trace. */
  readonly sim: Sim;
  /** The guest. */
  readonly guest: Guest;
  /** What things cost, ns. */
  readonly costs: Pick<Costs, "compactionPageNs" | "scanPageNs">;
  /** Compacts these zones for a block of order 9, as its defrag setting has it; returns the time it takes, ns. */
  readonly compact?: (order: number, among: readonly number[]) => number;
}

/** The task of one guest. */
export class Khugepaged {
  /** Pages put together. */
  collapsedPages = 0;
  /** Set when nothing may start any more. */
  closing = false;
  readonly #parts: KhugepagedParts;
  readonly #roundKind: number;
  /** First handles of groups, in the order of their faults. */
  readonly #groups = new Set<number>();

  /** A khugepaged that sleeps. */
  constructor(parts: KhugepagedParts) {
    this.#parts = parts;
    this.#roundKind = parts.sim.register("khugepaged", () => {
      if (!this.closing) parts.sim.spawn(this.#round());
    });
  }

  /** From now on it looks at groups. */
  start(): void {
    this.#sleep(this.#parts.sleep);
  }

  /** A huge page fault fell back to single pages under this handle and the 511 after it (`khugepaged_enter_vma`). */
  add(handle: number): void {
    this.#groups.add(handle);
  }

  /** Groups that it has not looked at since they fell back, or that found no huge page. */
  get groups(): number {
    return this.#groups.size;
  }

  /** Looks at as many groups as one round allows; those that are gone or were put together are forgotten. */
  *#round(): Task {
    const { sim, guest, scan, costs, compact } = this.#parts;
    const scanNs = Math.round(PAGEBLOCK_PAGES * costs.scanPageNs);
    const copyNs = Math.round(PAGEBLOCK_PAGES * costs.compactionPageNs);
    let sleepNs = this.#parts.sleep;
    let collapsed = 0;
    let rowNs = 0;
    for (let left = scan; left >= PAGEBLOCK_PAGES && this.#groups.size > 0 && !this.closing; left -= PAGEBLOCK_PAGES) {
      const [handle] = this.#groups;
      rowNs += scanNs;
      if (!this.#isWhole(handle)) {
        this.#groups.delete(handle);
        continue;
      }
      // khugepaged's own defrag setting lets it compact before it gives up.
      let collapseNs = guest.collapse(handle);
      let waitNs = 0;
      if (collapseNs < 0 && compact !== undefined) {
        waitNs = compact(PAGEBLOCK_ORDER, guest.zonesToCollapse(handle));
        collapseNs = guest.collapse(handle);
      }
      if (collapseNs < 0) {
        sleepNs = Math.max(sleepNs, ALLOC_SLEEP_NS);
        yield waitNs;
        break;
      }
      this.#groups.delete(handle);
      collapsed += PAGEBLOCK_PAGES;
      rowNs += copyNs;
      yield waitNs + collapseNs + scanNs + copyNs;
    }
    this.collapsedPages += collapsed;
    if (rowNs > 0) {
      sim.trace.write(Event.khugepaged, NONE, collapsed, PAGEBLOCK_ORDER, NONE, NONE, NONE, rowNs, guest.index, NONE);
    }
    this.#sleep(sleepNs);
  }

  /** Whether the group still is 512 single pages. */
  #isWhole(first: number): boolean {
    const { allocations } = this.#parts.guest;
    for (let handle = first; handle < first + PAGEBLOCK_PAGES; handle++) {
      if (!allocations.find(handle) || allocations.order !== 0) return false;
    }
    return true;
  }

  #sleep(ns: number): void {
    if (!this.closing) this.#parts.sim.after(ns, this.#roundKind);
  }
}
