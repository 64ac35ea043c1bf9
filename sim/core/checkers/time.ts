/** Does time only go forward, and is `end` the end? */
import { Event, type TraceRows } from "../trace.ts";
import { RowChecker } from "./checker.ts";

/** Time is a whole number of ns and never goes back; no row follows `end`. */
export class TimeChecker extends RowChecker {
  /** Its name, for reports. */
  readonly name = "time";
  /** What it holds. */
  readonly summary = "time is a whole number of ns, never goes back, and nothing happens after the end";
  #timeNs = 0;
  #ended = false;

  /** Checks one row. */
  protected override check(rows: TraceRows, i: number): void {
    const timeNs = rows.timeNs[i];
    if (!Number.isSafeInteger(timeNs)) this.report(rows, i, "the time is not a whole number of ns below 2^53");
    if (timeNs < this.#timeNs) this.report(rows, i, `time goes back from ${this.#timeNs} ns`);
    if (this.#ended) this.report(rows, i, "a row after the end");
    this.#timeNs = timeNs;
    this.#ended ||= rows.event[i] === Event.end;
  }
}
