/** What all checkers have in common: they read rows, and write down what cannot be. */
import { EVENTS, type TraceReader, type TraceRows } from "../trace.ts";

/** Problems of one checker that are kept; further ones are only counted. */
export const PROBLEMS_MAX = 20;

/** A reader of the trace that holds one invariant of the simulator against every row. */
export interface Checker extends TraceReader {
  /** Its name, for reports. */
  readonly name: string;
  /** What it holds, in one sentence. */
  readonly summary: string;
  /**
   * What was wrong so far: sentences with the number of the row, from 1 after the header of `events.csv`, and its time. At
   * most {@link PROBLEMS_MAX}, then one that counts the rest.
   */
  readonly problems: readonly string[];
}

/** A checker that looks at one row at a time. */
export abstract class RowChecker implements Checker {
  /** Its name, for reports. */
  abstract readonly name: string;
  /** What it holds, in one sentence. */
  abstract readonly summary: string;
  #problems: string[] = [];
  #found = 0;
  #rowsBefore = 0;

  /** What was wrong so far; see {@link Checker.problems}. */
  get problems(): readonly string[] {
    const more = this.#found - this.#problems.length;
    return more === 0 ? this.#problems : [...this.#problems, `${more} more problems of this kind.`];
  }

  /** Checks a block of rows. */
  read(rows: TraceRows): void {
    for (let i = 0; i < rows.count; i++) this.check(rows, i);
    this.#rowsBefore += rows.count;
  }

  /** Checks the row with index `i` of a block. */
  protected abstract check(rows: TraceRows, i: number): void;

  /** Writes down a problem of the row with index `i` of the block: a clause without full stop. */
  protected report(rows: TraceRows, i: number, problem: string): void {
    this.#found++;
    if (this.#problems.length === PROBLEMS_MAX) return;
    this.#problems.push(`Row ${this.#rowsBefore + i + 1} at ${rows.timeNs[i]} ns: ${problem}.`);
  }
}

/** A checker that follows the pages of each guest. */
export abstract class PageChecker extends RowChecker {
  /** Physical pages of each guest, holes included. */
  protected readonly guestPages: readonly number[];

  /** A checker for guests with so many physical pages each. */
  constructor(guestPages: readonly number[]) {
    super();
    this.guestPages = guestPages;
  }

  /** Whether the row is about pages that a guest has; it is a problem when not. */
  protected hasPages(rows: TraceRows, i: number): boolean {
    const pfn = rows.pfn[i];
    const pages = rows.pages[i];
    const limit = this.guestPages[rows.guest[i]];
    const whole = Number.isInteger(pfn) && Number.isInteger(pages);
    if (limit !== undefined && whole && pfn >= 0 && pages > 0 && pfn + pages <= limit) return true;
    const what = EVENTS[rows.event[i]];
    this.report(rows, i, `${what} of ${pages} pages from ${pfn} on, which guest ${rows.guest[i]} does not have`);
    return false;
  }
}

/** A run of pages in words. */
export function pagesText(pfn: number, pages: number): string {
  return pages === 1 ? `page ${pfn}` : `pages ${pfn} to ${pfn + pages - 1}`;
}
