/**
 * A host that drops free pages without being told: what the upper bounds (`oracle`) share. No message travels and the guest
 * spends nothing; the host's work is in the rows.
 */
import { NONE } from "../core/trace.ts";
import { HUGE_PAGES, ORDER_PAGES } from "../memory/range.ts";
import { ORDERS, type PageAllocator } from "./allocator.ts";
import type { PolicyContext } from "./plugin.ts";
import type { Zone } from "./zone.ts";

/** Pages to drop. */
interface Piece {
  readonly zone: Zone;
  readonly pfn: number;
  readonly count: number;
}

/** Drops free pages at the instant at which they become free, after the rows of what freed them. */
export class UnaskedDrops {
  #context: PolicyContext;
  #pieces: Piece[] = [];
  #kind: number;
  /** The run of backed pages that is being found. */
  #from = 0;
  #to = 0;
  /** The host has whole 2 MiB pages only: smaller pieces are not worth a call. */
  #wholeHuge = false;

  /** Nothing to drop. */
  constructor(context: PolicyContext) {
    this.#context = context;
    this.#kind = context.sim.register("unasked_drop", () => this.#dropAll());
  }

  /** Has pages dropped that are free now. */
  add(zone: Zone, pfn: number, count: number): void {
    // What freed the pages writes its row after it told the policy, and the same call may take some of them again.
    if (this.#pieces.push({ zone, pfn, count }) === 1) this.#context.sim.after(0, this.#kind);
  }

  #dropAll(): void {
    const pieces = this.#pieces;
    this.#pieces = [];
    for (const { zone, pfn, count } of pieces) {
      forEachFreePart(zone.pages, pfn, count, (part, pages) => this.#drop(part, pages));
    }
  }

  /** Drops what the host backs of free pages, with one call for each run. */
  #drop(pfn: number, count: number): void {
    this.#from = this.#to = pfn;
    this.#find(pfn, count);
    this.#apply();
  }

  /** Finds the runs of backed pages by halves, which are cut where large blocks meet. */
  #find(pfn: number, count: number): void {
    const backed = this.#context.host.residentIn(pfn, count);
    if (backed === 0) return;
    if (backed < count) {
      const middle = middleOf(pfn, count);
      this.#find(pfn, middle - pfn);
      this.#find(middle, pfn + count - middle);
      return;
    }
    if (pfn !== this.#to) {
      this.#apply();
      this.#from = pfn;
    }
    this.#to = pfn + count;
  }

  #apply(): void {
    const pfn = this.#from;
    const count = this.#to - pfn;
    const { host } = this.#context;
    if (count === 0 || (this.#wholeHuge && Math.ceil(pfn / HUGE_PAGES) * HUGE_PAGES + HUGE_PAGES > this.#to)) return;
    host.apply("reclaim", pfn, count, NONE, 0);
    if (host.residentIn(pfn, count) === count) this.#wholeHuge = true;
  }
}

/** Where a range of at least two pages is cut: at its page with the largest alignment, the first one excepted. */
function middleOf(pfn: number, count: number): number {
  const last = pfn + count - 1;
  let middle = last;
  for (let pages = 2; Math.floor(last / pages) * pages > pfn; pages *= 2) middle = Math.floor(last / pages) * pages;
  return middle;
}

/** Calls `visit` for the parts of a range that are free. */
function forEachFreePart(
  allocator: PageAllocator,
  pfn: number,
  count: number,
  visit: (pfn: number, count: number) => void,
): void {
  const end = pfn + count;
  while (pfn < end) {
    const stop = Math.min(end, freeUntil(allocator, pfn));
    if (stop > pfn) visit(pfn, stop - pfn);
    pfn = Math.max(stop, pfn + 1);
  }
}

/** The end of the free block that a page lies in; the page itself when it is not free. */
function freeUntil(allocator: PageAllocator, pfn: number): number {
  for (let order = 0; order < ORDERS; order++) {
    const head = Math.floor(pfn / ORDER_PAGES[order]) * ORDER_PAGES[order];
    if (head < allocator.startPfn) break;
    const found = allocator.orderAt(head);
    if (found >= order) return head + ORDER_PAGES[found];
  }
  return pfn;
}
