/** Is every message answered once, and does everything that names a message name one that was sent? */
import { PageBitmap } from "../../memory/bitmap.ts";
import { Event, EVENTS, NONE, type TraceRows } from "../trace.ts";
import { pagesText, RowChecker } from "./checker.ts";

/** Message ids are below this; they count up from 1 in each guest. */
const IDS_MAX = 2 ** 31;

/**
 * Rows of which each names a message. An exit may also be an access to the configuration space; a host that discards without
 * a message knows the guest's free pages by itself (an oracle), and then the guest sends none.
 */
const NAMES_MESSAGE: ReadonlySet<number> = new Set([Event.kick, Event.interrupt, Event.skip, Event.giveBack]);
const MAY_NAME_MESSAGE: ReadonlySet<number> = new Set([
  Event.exit,
  Event.discard,
  Event.drop,
  Event.nearMiss,
  Event.violation,
]);

/** The messages of one guest: sets of ids, as compact as sets of pages. */
interface Messages {
  readonly sent: PageBitmap;
  readonly acked: PageBitmap;
  /** Whether the host discarded something without a message. */
  unasked: boolean;
}

/** A discard that no message asked for. */
interface Nameless {
  readonly guest: number;
  readonly pfn: number;
  readonly pages: number;
  readonly timeNs: number;
}

/**
 * Every send has exactly one ack, and the host works on a message between the two. Without one only memory is discarded that
 * goes offline in the same instant, by the device that had it, and what an oracle discards: its guest sends nothing at all.
 */
export class MessageChecker extends RowChecker {
  /** Its name, for reports. */
  readonly name = "messages";
  /** What it holds. */
  readonly summary = "every message has exactly one ack, and what names a message names one that was sent";
  #guests: Messages[];
  #nameless: Nameless[] = [];

  /** A checker for so many guests. */
  constructor(guests: number) {
    super();
    this.#guests = Array.from(
      { length: guests },
      () => ({ sent: new PageBitmap(IDS_MAX), acked: new PageBitmap(IDS_MAX), unasked: false }),
    );
  }

  /** Checks one row. */
  protected override check(rows: TraceRows, i: number): void {
    const event = rows.event[i];
    if (this.#nameless.length > 0) this.#checkNameless(rows, i);
    if (event === Event.end) return this.#checkEnd(rows, i);
    if (event === Event.discard && rows.message[i] === NONE) {
      this.#nameless.push({ guest: rows.guest[i], pfn: rows.pfn[i], pages: rows.pages[i], timeNs: rows.timeNs[i] });
      return;
    }
    if (event === Event.send) return this.#send(rows, i);
    if (event === Event.ack) return this.#ack(rows, i);
    if (NAMES_MESSAGE.has(event) || (MAY_NAME_MESSAGE.has(event) && rows.message[i] !== NONE)) this.#use(rows, i);
  }

  /** The memory of a discard without a message goes offline before anything else happens. */
  #checkNameless(rows: TraceRows, i: number): void {
    const { event, guest, pfn, pages, timeNs } = rows;
    if (event[i] === Event.offlinePages) {
      const gone = this.#nameless.findIndex((one) => {
        return one.guest === guest[i] && one.pfn === pfn[i] && one.pages === pages[i];
      });
      if (gone >= 0) this.#nameless.splice(gone, 1);
    } else if (event[i] === Event.end || timeNs[i] > this.#nameless[0].timeNs) {
      for (const one of this.#nameless) this.#discardUnasked(rows, i, one);
      this.#nameless = [];
    }
  }

  #send(rows: TraceRows, i: number): void {
    const id = rows.message[i];
    const guest = this.#guestOf(rows, i);
    if (guest?.sent.setRange(id, 1) === 0) this.report(rows, i, `message ${id} is sent a second time`);
    if (guest?.unasked) this.#mixed(rows, i);
  }

  /** What stays in the guest is discarded without a message only by a host that needs none. */
  #discardUnasked(rows: TraceRows, i: number, { guest, pfn, pages }: Nameless): void {
    const messages = this.#guests[guest];
    if (messages === undefined) return;
    messages.unasked = true;
    if (messages.sent.count === 0) return;
    this.report(rows, i, `discard of ${pagesText(pfn, pages)} of guest ${guest} before, for no message`);
  }

  /** Only an oracle needs no messages. */
  #mixed(rows: TraceRows, i: number): void {
    this.report(rows, i, `guest ${rows.guest[i]} sends messages, and pages of it are discarded without one`);
  }

  #ack(rows: TraceRows, i: number): void {
    const id = rows.message[i];
    const guest = this.#guestOf(rows, i);
    if (guest === undefined) return;
    if (!guest.sent.has(id)) this.report(rows, i, `ack of message ${id}, which was not sent`);
    else if (guest.acked.setRange(id, 1) === 0) this.report(rows, i, `message ${id} is acked a second time`);
  }

  #use(rows: TraceRows, i: number): void {
    const id = rows.message[i];
    const what = EVENTS[rows.event[i]];
    const guest = this.#guestOf(rows, i);
    if (guest === undefined) return;
    if (!guest.sent.has(id)) this.report(rows, i, `${what} for message ${id}, which was not sent`);
    else if (guest.acked.has(id)) this.report(rows, i, `${what} for message ${id} after its ack`);
  }

  #checkEnd(rows: TraceRows, i: number): void {
    this.#guests.forEach(({ sent, acked }, guest) => {
      if (sent.count === acked.count) return;
      sent.forEachRun(0, IDS_MAX, true, (first, count) => {
        acked.forEachRun(first, count, false, (open, openCount) => {
          const ids = openCount === 1 ? `message ${open}` : `messages ${open} to ${open + openCount - 1}`;
          this.report(rows, i, `${ids} of guest ${guest} never acked`);
        });
      });
    });
  }

  /** The messages of the row's guest, when there is such a guest and the id can be one. */
  #guestOf(rows: TraceRows, i: number): Messages | undefined {
    const id = rows.message[i];
    const guest = this.#guests[rows.guest[i]];
    if (guest !== undefined && Number.isInteger(id) && id > 0 && id < IDS_MAX) return guest;
    this.report(rows, i, `${EVENTS[rows.event[i]]} names message ${id} of guest ${rows.guest[i]}, which cannot be`);
    return undefined;
  }
}
