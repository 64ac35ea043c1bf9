/** Per-CPU lists of Linux 6.12: the limit moves between two bounds, refills double, idle pages decay back to the buddy. */
import { BATCH_SCALE_MAX, type PcpZone, PerCpuPages } from "./pcp.ts";

const COSTLY_ORDER = 3;

/** What a recorded state says of the lists beside their pages. */
export interface Pcp612State {
  /** Pages that may be kept now, 0 when nothing was done yet. */
  readonly high: number;
  /** The least that {@link Pcp612State.high} goes down to. */
  readonly highMin: number;
  /** The most that it rises to. */
  readonly highMax: number;
  /** How often the refill was doubled. */
  readonly allocFactor: number;
  /** Pages freed one after the other. */
  readonly freeCount: number;
  /** Whether the block freed last was of order 1 to 3 (PCPF_PREV_FREE_HIGH_ORDER). */
  readonly previousHighOrder: boolean;
  /** Whether at least a batch must be there before all of it is drained (PCPF_FREE_HIGH_BATCH). */
  readonly freeHighBatch: boolean;
}

/** The lists of one CPU and zone. */
export class Pcp612 extends PerCpuPages {
  readonly #highMin: number;
  readonly #highMax: number;
  readonly #freeHighBatch: boolean;
  #high: number;
  #allocFactor: number;
  #freeCount: number;
  #previousHighOrder: boolean;

  /** Empty lists. */
  constructor(zone: PcpZone, batch: number, state: Pcp612State) {
    super(zone, batch);
    this.#highMin = state.highMin;
    this.#highMax = state.highMax;
    this.#high = state.high;
    this.#allocFactor = state.allocFactor;
    this.#freeCount = state.freeCount;
    this.#previousHighOrder = state.previousHighOrder;
    this.#freeHighBatch = state.freeHighBatch;
  }

  /** Pages that may be kept now. */
  get high(): number {
    return this.#high;
  }

  /** Lowers the limit and gives back what is above it, a batch at a time (`decay_pcp_high`, about once a second). */
  decay(): void {
    if (this.#high > this.#highMin) {
      const eighthLess = this.#high - Math.floor(this.#high / 8);
      this.#high = Math.max(this.count - this.batch * 2 ** BATCH_SCALE_MAX, eighthLess, this.#highMin);
    }
    for (let left = this.count - this.#high; left > 0; left -= this.batch) this.drain(Math.min(left, this.batch), 0);
  }

  protected override noteAlloc(): void {
    this.#freeCount >>= 1;
  }

  /** `nr_pcp_alloc`: the limit rises unless the zone is below its high mark. */
  protected override refillBlocks(order: number): number {
    this.#clampHigh();
    const { batch } = this;
    if (this.#high < batch) return 1;
    let pages = order > 0 ? batch : batch * 2 ** this.#allocFactor;
    if (this.#highMin !== this.#highMax && !this.pressure.belowHigh) {
      this.#high = Math.min(this.#high + pages, this.#highMax);
    }
    if (order === 0) {
      const most = Math.max(this.#high - this.count - batch, batch);
      if (pages <= most && this.#allocFactor < BATCH_SCALE_MAX) this.#allocFactor++;
      pages = Math.min(pages, most);
    }
    return pages > 1 ? Math.max(pages >> order, 2) : pages;
  }

  /** `free_unref_page_commit`. */
  protected override pagesToDrain(order: number): number {
    const { batch } = this;
    this.#allocFactor >>= 1;
    const highOrder = order > 0 && order <= COSTLY_ORDER;
    const all = highOrder && this.#freeCount >= batch && this.#previousHighOrder &&
      (!this.#freeHighBatch || this.count >= batch);
    this.#previousHighOrder = highOrder;
    if (this.#freeCount < batch * 2 ** BATCH_SCALE_MAX) this.#freeCount += 2 ** order;
    this.#clampHigh();
    if (all) {
      this.#high = Math.max(this.#high - batch * 2 ** BATCH_SCALE_MAX, this.#highMin);
      return Math.min(this.count, batch * 2 ** BATCH_SCALE_MAX);
    }
    if (this.#high === 0) return 1;
    const high = this.#highNow();
    if (this.count < high) return 0;
    if (high < batch) return 1;
    return Math.min(Math.max(this.#freeCount, batch), high - batch);
  }

  /**
   * `nr_pcp_high`: how many pages make this free drain. While kswapd works on the zone four batches; below the high mark of the
   * zone as many as there are, but not the least that may be kept. Both lower the limit by what was freed in a row.
   */
  #highNow(): number {
    const { batch, pressure: { reclaimActive, belowHigh } } = this;
    const high = this.#high;
    if (!reclaimActive && this.#highMin === this.#highMax) return high;
    if (reclaimActive || belowHigh) {
      this.#high = Math.max(high - Math.max(this.#freeCount, batch), this.#highMin);
      return reclaimActive ? Math.min(4 * batch, this.#high) : Math.max(this.count, this.#highMin);
    }
    const needed = this.#freeCount + batch;
    if (this.count >= high && high < needed) this.#high = Math.min(Math.max(needed, this.#highMin), this.#highMax);
    return high;
  }

  /** The type of the pageblock at that moment counts. */
  protected override drainType(pfn: number, _freedAs: number): number {
    return this.zone.pageblockType(pfn);
  }

  #clampHigh(): void {
    this.#high = Math.min(Math.max(this.#high, this.#highMin), this.#highMax);
  }
}
