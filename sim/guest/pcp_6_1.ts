/** Per-CPU lists of Linux 6.1: a fixed limit, drains that double while nothing is allocated, no decay. */
import { BATCH_SCALE_MAX, type PcpZone, PerCpuPages } from "./pcp.ts";

const COSTLY_ORDER = 3;

/** What a recorded state says of the lists beside their pages. */
export interface Pcp61State {
  /** Pages that may be kept. */
  readonly high: number;
  /** How often the drain was doubled. */
  readonly freeFactor: number;
}

/** The lists of one CPU and zone. */
export class Pcp61 extends PerCpuPages {
  /** Pages that may be kept. */
  readonly high: number;
  #freeFactor: number;

  /** Empty lists. */
  constructor(zone: PcpZone, batch: number, state: Pcp61State) {
    super(zone, batch);
    this.high = state.high;
    this.#freeFactor = state.freeFactor;
  }

  protected override noteAlloc(): void {
    this.#freeFactor >>= 1;
  }

  protected override refillBlocks(order: number): number {
    return this.batch > 1 ? Math.max(this.batch >> order, 2) : this.batch;
  }

  /**
   * `free_unref_page_commit`, `nr_pcp_high`, `nr_pcp_free`: small high-order blocks drain all while frees follow frees, and while
   * kswapd works on the zone four batches may be kept.
   */
  protected override pagesToDrain(order: number): number {
    const all = this.#freeFactor > 0 && order > 0 && order <= COSTLY_ORDER;
    if (all) return this.count;
    const high = this.pressure.reclaimActive ? Math.min(4 * this.batch, this.high) : this.high;
    if (this.count < high) return 0;
    if (high < this.batch) return 1;
    const most = high - this.batch;
    const pages = this.batch * 2 ** this.#freeFactor;
    if (pages < most && this.#freeFactor < BATCH_SCALE_MAX) this.#freeFactor++;
    return Math.min(Math.max(pages, this.batch), most);
  }

  /** The type is kept with the page. */
  protected override drainType(_pfn: number, freedAs: number): number {
    return freedAs;
  }
}
