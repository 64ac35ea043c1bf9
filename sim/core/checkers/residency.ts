/** Does the host populate only what is not there, and unmap only what is? */
import { PageBitmap } from "../../memory/bitmap.ts";
import { Event, type TraceRows } from "../trace.ts";
import { PageChecker, pagesText } from "./checker.ts";

/** A fault populates pages that are not resident, a drop removes pages that are. */
export class ResidencyChecker extends PageChecker {
  /** Its name, for reports. */
  readonly name = "residency";
  /** What it holds. */
  readonly summary = "a fault populates only pages that are not resident, a drop removes only pages that are";
  #resident: PageBitmap[];

  /** A checker for guests with so many physical pages each; nothing is resident before the first row. */
  constructor(guestPages: readonly number[]) {
    super(guestPages);
    this.#resident = guestPages.map((pages) => new PageBitmap(pages));
  }

  /** Checks one row. */
  protected override check(rows: TraceRows, i: number): void {
    const fault = rows.event[i] === Event.fault;
    if (!fault && rows.event[i] !== Event.drop) return;
    if (!this.hasPages(rows, i)) return;
    const pfn = rows.pfn[i];
    const pages = rows.pages[i];
    const guest = rows.guest[i];
    const resident = this.#resident[guest];
    if (resident.countRange(pfn, pages) !== (fault ? 0 : pages)) {
      resident.forEachRun(pfn, pages, fault, (run, count) => {
        const what = fault ? "fault that populates" : "drop of";
        const state = fault ? "already resident" : "not resident";
        this.report(rows, i, `${what} ${pagesText(run, count)} of guest ${guest}, ${state}`);
      });
    }
    if (fault) resident.setRange(pfn, pages);
    else resident.clearRange(pfn, pages);
  }
}
