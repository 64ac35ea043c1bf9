/** The rows of a burst of the driver before they are written, in typed columns: a pass may take a million blocks. */
import { grown } from "../memory/grown.ts";

/** Rows in the order in which they will be written. */
export class BurstRows {
  /** Number of rows. */
  count = 0;
  /** Event code of each row. */
  event: Uint8Array = new Uint8Array(64);
  /** First page, or NONE. */
  pfn: Float64Array = new Float64Array(64);
  /** Order, or NONE. */
  order: Int8Array = new Int8Array(64);
  /** Zone index, or NONE. */
  zone: Int8Array = new Int8Array(64);
  /** Time it takes, ns, before rounding. */
  costNs: Float64Array = new Float64Array(64);

  /** Appends a row. */
  push(event: number, pfn: number, order: number, zone: number, costNs: number): void {
    if (this.count === this.event.length) this.#grow();
    const row = this.count++;
    this.event[row] = event;
    this.pfn[row] = pfn;
    this.order[row] = order;
    this.zone[row] = zone;
    this.costNs[row] = costNs;
  }

  #grow(): void {
    const length = 2 * this.count;
    this.event = grown(this.event, length);
    this.pfn = grown(this.pfn, length);
    this.order = grown(this.order, length);
    this.zone = grown(this.zone, length);
    this.costNs = grown(this.costNs, length);
  }
}
