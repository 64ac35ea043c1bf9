/** Is every page in exactly one place, and is none lost? */
import { PageBitmap } from "../../memory/bitmap.ts";
import { ORDER_PAGES } from "../../memory/range.ts";
import { Event, EVENTS, NONE, type TraceRows } from "../trace.ts";
import { PageChecker, pagesText, RowChecker } from "./checker.ts";

/** The places of a page. */
const PLACES = ["absent", "free", "used", "isolated", "held"] as const;
const [ABSENT, FREE, USED, ISOLATED, HELD] = PLACES.keys();

/** From where to where an event moves its pages, by event code. */
const MOVES: ReadonlyMap<number, readonly [from: number, to: number]> = new Map([
  [Event.present, [ABSENT, FREE]],
  [Event.alloc, [FREE, USED]],
  [Event.free, [USED, FREE]],
  [Event.isolate, [FREE, ISOLATED]],
  [Event.putBack, [ISOLATED, FREE]],
  [Event.hold, [FREE, HELD]],
  [Event.release, [HELD, FREE]],
  [Event.onlinePages, [ABSENT, FREE]],
  [Event.offlinePages, [FREE, ABSENT]],
]);

/** Every page is in one place, and leaves it only by an event that moves pages from there. */
export class PlaceChecker extends PageChecker {
  /** Its name, for reports. */
  readonly name = "places";
  /** What it holds. */
  readonly summary = "every page is in one place (absent, free, used, isolated, held) and moves only from where it is";
  /** Per guest and place the pages that are there. */
  #places: PageBitmap[][];

  /** A checker for guests with so many physical pages each; all are absent before the first row. */
  constructor(guestPages: readonly number[]) {
    super(guestPages);
    this.#places = guestPages.map((pages) => {
      const places = PLACES.map(() => new PageBitmap(pages));
      places[ABSENT].setRange(0, pages);
      return places;
    });
  }

  /** Checks one row. */
  protected override check(rows: TraceRows, i: number): void {
    const move = MOVES.get(rows.event[i]);
    if (move === undefined || !this.hasPages(rows, i)) return;
    this.#checkBlock(rows, i);
    const pfn = rows.pfn[i];
    const pages = rows.pages[i];
    const places = this.#places[rows.guest[i]];
    const [from, to] = move;
    if (places[from].clearRange(pfn, pages) !== pages) this.#checkMove(rows, i, from);
    places[to].setRange(pfn, pages);
  }

  /** A row with an order is about one naturally aligned block. */
  #checkBlock(rows: TraceRows, i: number): void {
    const order = rows.order[i];
    const pages = rows.pages[i];
    if (order === NONE || (pages === ORDER_PAGES[order] && rows.pfn[i] % pages === 0)) return;
    const what = EVENTS[rows.event[i]];
    this.report(rows, i, `${what} of ${pagesText(rows.pfn[i], pages)}, which are no aligned block of order ${order}`);
  }

  /** Reports the pages that are not where the row takes them from, and takes them from where they are. */
  #checkMove(rows: TraceRows, i: number, from: number): void {
    const pfn = rows.pfn[i];
    const pages = rows.pages[i];
    const guest = rows.guest[i];
    PLACES.forEach((name, place) => {
      if (place === from) return;
      this.#places[guest][place].forEachRun(pfn, pages, true, (run, count) => {
        const what = EVENTS[rows.event[i]];
        this.report(rows, i, `${what} of ${pagesText(run, count)} of guest ${guest}, ${name} and not ${PLACES[from]}`);
      });
      this.#places[guest][place].clearRange(pfn, pages);
    });
  }
}

/** How many pages of a guest are where, from the rows' counts alone. */
type Ledger = number[];

/**
 * used + free + isolated + held = present at every row. Each row takes its pages from one count and adds them to another, so
 * the sum holds until a count would fall below zero: then pages were moved that are not there.
 */
export class ConservationChecker extends RowChecker {
  /** Its name, for reports. */
  readonly name = "conservation";
  /** What it holds. */
  readonly summary = "used + free + isolated + held = present at every row, counted without looking at addresses";
  #ledgers: Ledger[];

  /** A checker for guests with so many physical pages each. */
  constructor(guestPages: readonly number[]) {
    super();
    this.#ledgers = guestPages.map((pages) => PLACES.map((_, place) => place === ABSENT ? pages : 0));
  }

  /** Checks one row. */
  protected override check(rows: TraceRows, i: number): void {
    const move = MOVES.get(rows.event[i]);
    const ledger = this.#ledgers[rows.guest[i]];
    if (move === undefined || ledger === undefined) return;
    const [from, to] = move;
    const pages = rows.pages[i];
    if (pages > ledger[from]) {
      const what = `${EVENTS[rows.event[i]]} of ${pages} pages of guest ${rows.guest[i]}`;
      this.report(rows, i, `${what}, when ${ledger[from]} are ${PLACES[from]}`);
    }
    const moved = Math.min(pages, ledger[from]);
    ledger[from] -= moved;
    ledger[to] += moved;
  }
}
