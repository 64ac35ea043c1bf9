/**
 * Flags inside the allocator, as free page reporting has them since Linux 5.7: a block that the host was told of is marked
 * Reported and stands at the tail of its list, and a walk over the lists skips it. There is no memory beside the lists.
 */
import { ISOLATE, MIGRATETYPE_COUNT, ORDER_MAX } from "./allocator.ts";
import type { FreeTracker, TrackerCosts } from "./free_tracker.ts";
import type { Zone } from "./zone.ts";

/** The lists themselves remember. */
export class ReportedFlags implements FreeTracker {
  readonly marks = true;
  readonly hookNs = 0;
  readonly hung = false;
  zone: Zone;
  pfn = 0;
  order = 0;
  readonly #zones: readonly Zone[];
  readonly #driver: TrackerCosts;
  readonly #smallest: number;
  readonly #threshold: number;
  /** Blocks freed in each zone since its last walk began. */
  readonly #freed: Float64Array;
  /** The list of the walk. */
  #listOrder = 0;
  #listType = 0;
  /** Where the walk goes on, -1 at the end of the list. */
  #block = -1;
  /** Blocks of this list that the walk may still take: what is freed meanwhile waits for the next one. */
  #left = 0;
  #suspended = false;
  #skipped = 0;

  /** Walks take unmarked blocks from order `smallest` up; `threshold` frees in a zone are enough for one. */
  constructor(zones: readonly Zone[], driver: TrackerCosts, smallest: number, threshold: number) {
    this.#zones = zones;
    this.#driver = driver;
    this.#smallest = smallest;
    this.#threshold = threshold;
    this.#freed = new Float64Array(zones.length);
    this.zone = zones[0];
  }

  /** Zones. */
  get parts(): number {
    return this.#zones.length;
  }

  /** Counts a free. */
  freed(zone: Zone): boolean {
    return ++this.#freed[zone.index] >= this.#threshold;
  }

  /** Whether enough blocks of a zone were freed. */
  enough(part: number): boolean {
    return this.#freed[part] >= this.#threshold;
  }

  /** A walk over the lists of a zone begins, smallest order first. */
  begin(part: number): void {
    this.zone = this.#zones[part];
    this.#freed[part] = 0;
    this.#suspended = false;
    this.#enter(this.#smallest, 0);
  }

  /** The next block of the lists that is not marked. */
  next(): boolean {
    const { allocator } = this.zone;
    if (this.#suspended) this.#block = allocator.first(this.#listOrder, this.#listType);
    this.#suspended = false;
    while (this.#listOrder <= ORDER_MAX) {
      const pfn = this.#left > 0 ? this.#block : -1;
      if (pfn < 0) {
        const last = this.#listType === MIGRATETYPE_COUNT - 1;
        this.#enter(this.#listOrder + (last ? 1 : 0), last ? 0 : this.#listType + 1);
        continue;
      }
      this.#block = allocator.next(pfn, this.#listOrder);
      this.#driver.visit(this.zone, 1);
      if (allocator.isReported(pfn, this.#listOrder)) {
        this.#skipped++;
        continue;
      }
      this.#left--;
      this.pfn = pfn;
      this.order = this.#listOrder;
      return true;
    }
    return false;
  }

  /** Turns the list so that it begins where the walk goes on (page_reporting_cycle does so before each report). */
  suspend(): void {
    if (this.#listOrder > ORDER_MAX) return;
    if (this.#block >= 0) this.zone.allocator.rotate(this.#block, this.#listOrder, this.#listType);
    // At the end of a list there is nothing to go back to.
    else this.#left = 0;
    this.#suspended = true;
  }

  /** See {@link FreeTracker.counters}. */
  counters(): Readonly<Record<string, number>> {
    return { nodes_skipped: this.#skipped };
  }

  #enter(order: number, type: number): void {
    this.#listOrder = order;
    this.#listType = type;
    if (order > ORDER_MAX) return;
    this.#left = type === ISOLATE ? 0 : this.zone.allocator.nrFree(order);
    this.#block = this.zone.allocator.first(order, type);
  }
}
