/**
 * The figures of a run that its rows carry (docs/format.md), all guests together.
 *
 * Counts and sums are kept per event code; only what depends on the order of rows (peaks, refaults, what is resident) looks
 * at rows one by one.
 */
import { PageBitmap } from "../memory/bitmap.ts";
import { PAGE_SIZE } from "../memory/range.ts";
import { Quantiles } from "./quantiles.ts";
import type { SummaryFigures } from "./summary_figures.ts";
import { Event, EVENTS, NONE, type TraceReader, type TraceRows } from "./trace.ts";

export type { SummaryFigures };

/** Pages in 1 GiB. */
const GIB_PAGES = 2 ** 30 / PAGE_SIZE;
const MINUTE_NS = 60e9;

/** Events whose rows are looked at one by one. */
const SPECIAL = new Uint8Array(EVENTS.length);
for (
  const event of [
    Event.send,
    Event.hold,
    Event.release,
    Event.isolate,
    Event.putBack,
    Event.fault,
    Event.drop,
    Event.stall,
    Event.swapIn,
    Event.ack,
  ]
) SPECIAL[event] = 1;

/** A reader that computes the figures of a run. */
export class Summary implements TraceReader {
  /** Per event code: rows, and the sums of their pages, costs (ns) and payloads (bytes). */
  #rows = new Float64Array(EVENTS.length);
  #pages = new Float64Array(EVENTS.length);
  #costNs = new Float64Array(EVENTS.length);
  #payloadBytes = 0;
  #timeNs = 0;
  #starting = true;
  /** How many rows of the block that is read belong to the start state. */
  #startRows = 0;
  #startAllocs = 0;
  #startResidentPages = 0;
  #firstFreeNs: number | undefined;
  #heldPages = 0;
  #heldPeakPages = 0;
  #isolatedPages = 0;
  #isolatedPeakPages = 0;
  /** Per guest the pages that were dropped and not populated again. */
  #dropped: PageBitmap[];
  #refaultPages = 0;
  #returned = new NewMaxima();
  #residentPages = 0;
  #residentPageNs = 0;
  #residentSinceNs = 0;
  #stallNs = new Quantiles();
  #ackNs = new Quantiles();

  /** A summary of guests with so many physical pages each, holes included. */
  constructor(guestPages: readonly number[]) {
    this.#dropped = guestPages.map((pages) => new PageBitmap(pages));
  }

  /** Takes a block of rows. */
  read(rows: TraceRows): void {
    const { count, event, pages, costNs, order } = rows;
    if (count === 0) return;
    const rowsOf = this.#rows;
    const pagesOf = this.#pages;
    const costNsOf = this.#costNs;
    if (this.#starting) this.#findStart(rows);
    if (this.#firstFreeNs === undefined) this.#findFree(rows);
    for (let i = 0; i < count; i++) {
      const code = event[i];
      rowsOf[code]++;
      if (pages[i] > 0) pagesOf[code] += pages[i];
      if (costNs[i] > 0) costNsOf[code] += costNs[i];
      if (SPECIAL[code] === 1) this.#special(rows, i, code);
      else if (code === Event.alloc && order[i] === NONE) this.#startAllocs++;
    }
    this.#startRows = 0;
    this.#timeNs = rows.timeNs[count - 1];
  }

  /** Finds how many of the rows belong to the start state. */
  #findStart(rows: TraceRows): void {
    while (this.#startRows < rows.count && isStart(rows, this.#startRows)) this.#startRows++;
    this.#starting = this.#startRows === rows.count;
  }

  /** Finds the first free. */
  #findFree(rows: TraceRows): void {
    const first = rows.event.subarray(0, rows.count).indexOf(Event.free);
    if (first >= 0) this.#firstFreeNs = rows.timeNs[first];
  }

  /** The figures of the rows so far. */
  result(): SummaryFigures {
    return { ...this.#counts(), ...this.#memory(), ...this.#times() };
  }

  #special(rows: TraceRows, i: number, event: number): void {
    const pages = rows.pages[i];
    switch (event) {
      case Event.send:
        if (rows.bytes[i] > 0) this.#payloadBytes += rows.bytes[i];
        break;
      case Event.hold:
        this.#heldPages += pages;
        this.#heldPeakPages = Math.max(this.#heldPeakPages, this.#heldPages);
        break;
      case Event.release:
        this.#heldPages -= pages;
        break;
      case Event.isolate:
        this.#isolatedPages += pages;
        this.#isolatedPeakPages = Math.max(this.#isolatedPeakPages, this.#isolatedPages);
        break;
      case Event.putBack:
        this.#isolatedPages -= pages;
        break;
      case Event.drop:
        this.#drop(rows, i);
        break;
      case Event.ack:
        this.#ackNs.add(rows.costNs[i]);
        break;
      default: // fault, swap_in, stall
        this.#stallNs.add(rows.costNs[i]);
        if (event === Event.fault) this.#fault(rows, i);
    }
  }

  #drop(rows: TraceRows, i: number): void {
    const pages = rows.pages[i];
    this.#resident(rows.timeNs[i], -pages);
    this.#dropped[rows.guest[i]].setRange(rows.pfn[i], pages);
    this.#returned.add(rows.timeNs[i], this.#pages[Event.drop] - this.#refaultPages);
  }

  #fault(rows: TraceRows, i: number): void {
    const pages = rows.pages[i];
    this.#resident(rows.timeNs[i], pages);
    if (i < this.#startRows) this.#startResidentPages += pages;
    const dropped = this.#dropped[rows.guest[i]];
    if (dropped.count > 0) this.#refaultPages += dropped.clearRange(rows.pfn[i], pages);
  }

  /** So many pages more are resident from now on. */
  #resident(timeNs: number, pages: number): void {
    this.#residentPageNs += this.#residentPages * (timeNs - this.#residentSinceNs);
    this.#residentSinceNs = timeNs;
    this.#residentPages += pages;
  }

  #counts() {
    const rows = this.#rows;
    const pages = this.#pages;
    return {
      events: rows.reduce((sum, count) => sum + count, 0) - rows[Event.end],
      allocs: rows[Event.alloc] - this.#startAllocs,
      frees: rows[Event.free],
      allocFails: rows[Event.allocFail],
      passes: rows[Event.pass],
      messages: rows[Event.send],
      kicks: rows[Event.kick],
      exits: rows[Event.exit],
      interrupts: rows[Event.interrupt],
      payloadBytes: this.#payloadBytes,
      ranges: rows[Event.discard] + rows[Event.skip] + rows[Event.giveBack],
      sentPages: pages[Event.send],
      discardedPages: pages[Event.drop],
      skippedPages: pages[Event.skip],
      refaultPages: this.#refaultPages,
      violations: rows[Event.violation],
      nearMisses: rows[Event.nearMiss],
      violationPages: pages[Event.violation],
      nearMissPages: pages[Event.nearMiss],
      kswapdPages: pages[Event.kswapd],
      oomKilledPages: pages[Event.oomKill],
      directReclaimPages: pages[Event.directReclaim],
      dropCachesPages: pages[Event.dropCaches],
      compactionPages: pages[Event.compaction],
      khugepagedPages: pages[Event.khugepaged],
    };
  }

  #memory() {
    const pages = this.#pages;
    const usedPages = pages[Event.alloc] - pages[Event.free];
    const presentPages = pages[Event.present] + pages[Event.onlinePages] - pages[Event.offlinePages];
    const freePages = presentPages - usedPages - this.#heldPages - this.#isolatedPages;
    const residentPageNs = this.#residentPageNs + this.#residentPages * (this.#timeNs - this.#residentSinceNs);
    return {
      heldPeakBytes: this.#heldPeakPages * PAGE_SIZE,
      isolatedPeakBytes: this.#isolatedPeakPages * PAGE_SIZE,
      residentStartBytes: this.#startResidentPages * PAGE_SIZE,
      residentEndBytes: this.#residentPages * PAGE_SIZE,
      freeEndBytes: freePages * PAGE_SIZE,
      returnedBytes: (pages[Event.drop] - this.#refaultPages) * PAGE_SIZE,
      residentGibMin: residentPageNs / GIB_PAGES / MINUTE_NS,
    };
  }

  #times() {
    const cost = (...events: number[]) => events.reduce((sum, event) => sum + this.#costNs[event], 0);
    const { pass, isolate, putBack, send, kick, exit, interrupt } = Event;
    const { discard, skip, giveBack, swapOut, swapIn, fault, stall } = Event;
    return {
      simTimeNs: this.#timeNs,
      timeTo50Ns: this.#timeToNs(5),
      timeTo90Ns: this.#timeToNs(9),
      driverCpuNs: cost(pass, isolate, putBack, send, kick, exit, interrupt),
      hostCpuNs: cost(discard, skip, giveBack, swapOut, swapIn, fault),
      guestStallNs: cost(fault, swapIn, stall),
      compactionNs: cost(Event.compaction),
      stallP99Ns: this.#stallNs.rank(0.99),
      stallMaxNs: this.#stallNs.max,
      ackP50Ns: this.#ackNs.rank(0.5),
      ackP99Ns: this.#ackNs.rank(0.99),
    };
  }

  /** From the first free until so many tenths of what is returned at the end were returned, ns. */
  #timeToNs(tenths: number): number | undefined {
    const returnedPages = this.#pages[Event.drop] - this.#refaultPages;
    if (returnedPages === 0 || this.#firstFreeNs === undefined) return undefined;
    // Pages are whole, so the first whole number of them that is enough is looked for.
    const reachedNs = this.#returned.firstTimeNs(Math.ceil(returnedPages * tenths / 10));
    return Math.max(0, reachedNs - this.#firstFreeNs);
  }
}

/** Whether the row can belong to the start state with which a run opens. */
function isStart(rows: TraceRows, i: number): boolean {
  if (rows.timeNs[i] !== 0 || rows.costNs[i] > 0) return false;
  const event = rows.event[i];
  return event === Event.present || event === Event.fault || (event === Event.alloc && rows.order[i] === NONE);
}

/**
 * When a number of pages that goes up and down first reached each height. Only new maxima are kept: at most one for each page
 * of the guests, however long the run.
 */
class NewMaxima {
  #timeNs = new Float64Array(256);
  #pages = new Float64Array(256);
  #count = 0;

  /** The number is `pages` now. */
  add(timeNs: number, pages: number): void {
    const last = this.#count - 1;
    if (last >= 0 && pages <= this.#pages[last]) return;
    if (last >= 0 && timeNs === this.#timeNs[last]) {
      this.#pages[last] = pages;
      return;
    }
    if (this.#count === this.#timeNs.length) {
      this.#timeNs = doubled(this.#timeNs);
      this.#pages = doubled(this.#pages);
    }
    this.#timeNs[this.#count] = timeNs;
    this.#pages[this.#count++] = pages;
  }

  /** The first time at which the number was at least `pages`, ns; Infinity when it never was. */
  firstTimeNs(pages: number): number {
    for (let i = 0; i < this.#count; i++) if (this.#pages[i] >= pages) return this.#timeNs[i];
    return Infinity;
  }
}

function doubled(values: Float64Array): Float64Array<ArrayBuffer> {
  const larger = new Float64Array(2 * values.length);
  larger.set(values);
  return larger;
}
