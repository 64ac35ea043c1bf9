/** Does the host say of every page it drops whether something was lost? An independent judge, made of rows alone. */
import { PageBitmap } from "../../memory/bitmap.ts";
import { HUGE_PAGES } from "../../memory/range.ts";
import { Event, EVENTS, NONE, type TraceRows } from "../trace.ts";
import { PageChecker, pagesText } from "./checker.ts";

/** Who owns which pages of a guest, and which of those were written since. */
interface Owned {
  readonly used: PageBitmap;
  readonly written: PageBitmap;
}

/** A row that has to come: one run of pages that are lost, or nearly. */
interface Expected {
  readonly event: number;
  readonly pfn: number;
  readonly pages: number;
}

/** The discard whose rows are being read. */
interface Discard {
  readonly guest: number;
  readonly message: number;
  /** The pages that the host may really drop. */
  readonly from: number;
  readonly to: number;
  readonly expected: Expected[];
}

/**
 * A discard of pages that are used and were written is followed by `violation` rows for exactly those, of pages that are used
 * and were not by `near_miss` rows, one for each maximal run; and pages are dropped only where a discard allows it.
 * It reads `write` rows, so it needs a trace that is checked.
 */
export class ReclaimChecker extends PageChecker {
  /** Its name, for reports. */
  readonly name = "reclaim";
  /** What it holds. */
  readonly summary =
    "every discard of used pages says so (violation if written, else near_miss), and only discards drop";
  #owned: Owned[];
  #hugetlb: boolean;
  #discard: Discard | undefined;

  /**
   * A checker for guests with so many physical pages each. With `hugetlb` the host drops whole aligned 2 MiB or nothing, so
   * only those inside a discard are judged.
   */
  constructor(guestPages: readonly number[], hugetlb: boolean) {
    super(guestPages);
    this.#owned = guestPages.map((pages) => ({ used: new PageBitmap(pages), written: new PageBitmap(pages) }));
    this.#hugetlb = hugetlb;
  }

  /** Checks one row. */
  protected override check(rows: TraceRows, i: number): void {
    const event = rows.event[i];
    if (event === Event.violation || event === Event.nearMiss || event === Event.drop) {
      return this.#checkConsequence(rows, i);
    }
    this.#close(rows, i);
    if (event === Event.discard) this.#open(rows, i);
    else if (event === Event.alloc || event === Event.free || event === Event.write) this.#own(rows, i);
    else if (event === Event.onlinePages || event === Event.offlinePages) this.#plug(rows, i);
  }

  /** Memory that has gone is not the guest's to give: a hint of it that comes late is one of used pages without content. */
  #plug(rows: TraceRows, i: number): void {
    if (!this.hasPages(rows, i)) return;
    const { used, written } = this.#owned[rows.guest[i]];
    if (rows.event[i] === Event.onlinePages) used.clearRange(rows.pfn[i], rows.pages[i]);
    else used.setRange(rows.pfn[i], rows.pages[i]);
    written.clearRange(rows.pfn[i], rows.pages[i]);
  }

  #own(rows: TraceRows, i: number): void {
    if (!this.hasPages(rows, i)) return;
    const pfn = rows.pfn[i];
    const pages = rows.pages[i];
    const { used, written } = this.#owned[rows.guest[i]];
    if (rows.event[i] === Event.write) {
      used.forEachRun(pfn, pages, false, (run, count) => {
        this.report(rows, i, `write to ${pagesText(run, count)} of guest ${rows.guest[i]}, not used`);
      });
      written.setRange(pfn, pages);
      return;
    }
    written.clearRange(pfn, pages);
    if (rows.event[i] === Event.free) used.clearRange(pfn, pages);
    else used.setRange(pfn, pages);
    // What is used at the start has content: its rows are the allocations without an order.
    if (rows.event[i] === Event.alloc && rows.order[i] === NONE) written.setRange(pfn, pages);
  }

  /** A discard: notes which rows have to follow it. */
  #open(rows: TraceRows, i: number): void {
    if (!this.hasPages(rows, i)) return;
    const guest = rows.guest[i];
    const { used, written } = this.#owned[guest];
    let from = rows.pfn[i];
    let to = from + rows.pages[i];
    if (this.#hugetlb) {
      from = Math.ceil(from / HUGE_PAGES) * HUGE_PAGES;
      to = Math.max(from, Math.floor(to / HUGE_PAGES) * HUGE_PAGES);
    }
    const expected: Expected[] = [];
    used.forEachRun(from, to - from, true, (run, count) => {
      written.forEachRun(run, count, true, (pfn, pages) => expected.push({ event: Event.violation, pfn, pages }));
      written.forEachRun(run, count, false, (pfn, pages) => expected.push({ event: Event.nearMiss, pfn, pages }));
    });
    written.clearRange(from, to - from); // what is lost counts once
    this.#discard = { guest, message: rows.message[i], from, to, expected };
  }

  /** A row that only a discard can bring about. */
  #checkConsequence(rows: TraceRows, i: number): void {
    const event = rows.event[i];
    const pfn = rows.pfn[i];
    const pages = rows.pages[i];
    const what = `${EVENTS[event]} of ${pagesText(pfn, pages)} of guest ${rows.guest[i]}`;
    const discard = this.#discard;
    if (discard === undefined || discard.guest !== rows.guest[i] || discard.message !== rows.message[i]) {
      this.#close(rows, i);
      return this.report(rows, i, `${what} without a discard`);
    }
    if (event === Event.drop) {
      if (pfn < discard.from || pfn + pages > discard.to) this.report(rows, i, `${what} outside of the discard`);
      return;
    }
    const { expected } = discard;
    const found = expected.findIndex((row) => row.event === event && row.pfn === pfn && row.pages === pages);
    if (found < 0) this.report(rows, i, `${what}, which the pages' history does not justify`);
    else expected.splice(found, 1);
  }

  /** The rows of a discard are over: what had to come and did not is a problem. */
  #close(rows: TraceRows, i: number): void {
    if (this.#discard === undefined) return;
    const { guest, message, expected } = this.#discard;
    this.#discard = undefined;
    for (const { event, pfn, pages } of expected) {
      const what = `the discard of message ${message} of guest ${guest} before this row`;
      this.report(rows, i, `${what} lacks a ${EVENTS[event]} of ${pagesText(pfn, pages)}`);
    }
  }
}
