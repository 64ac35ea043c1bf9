/**
 * Free page reporting with boundary pointers: Alexander Duyck's sets before v15 (linux-mm, August to November 2019,
 * mm/page_reporting.c, there called unused page reporting, earlier page hinting).
 *
 * A zone asks for a pass when an order has 32 blocks more than the host was told of; the worker starts HZ / 10 later. It takes
 * blocks from order 10 down, each from just before the boundary of its list, and when that one was told before, from the head.
 * Blocks that were told stand behind the boundary; what is freed to the tail meanwhile goes before it. No list is walked: a
 * list that has told blocks at both ends counts as done, whatever stands between them.
 *
 * Differences to what was posted: isolation here keeps to the minimum watermark, which those sets did not ask for; and a block
 * that changes lists by a fallback keeps its mark. It is the boundary of the list that is kept here, as the blocks told in this
 * pass, newest first: when the first of them is taken, the next one is the boundary (page_reporting_del_from_boundary).
 */
import { choice, duration, integer, type Options } from "../sim/core/options.ts";
import type { Task } from "../sim/core/sim.ts";
import { ISOLATE, MIGRATETYPE_COUNT, ORDER_MAX, PAGEBLOCK_PAGES } from "../sim/guest/allocator.ts";
import { type PolicyContext, type PolicyPlugin, policyPlugin } from "../sim/guest/plugin.ts";
import type { HintingPolicy } from "../sim/guest/policy.ts";
import { ToldPages } from "../sim/guest/told_pages.ts";
import type { Zone } from "../sim/guest/zone.ts";
import type { HostAction } from "../sim/host/host.ts";
import { ORDER_PAGES } from "../sim/memory/range.ts";

/** Options of reporting with boundaries. */
export interface BoundaryOptions {
  /** Smallest order told. */
  readonly order: number;
  /** From a request to its pass, ns. */
  readonly delay: number;
  /** Blocks in one message. */
  readonly capacity: number;
  /** Blocks of one order that the host was not told of and that start a pass. */
  readonly highWater: number;
  /** What the host may do. */
  readonly action: HostAction;
  /** Time of the hook at each free of a large block, ns. */
  readonly hookNs: number;
}

const options: Options<BoundaryOptions> = {
  fields: {
    order: integer(9, 0, ORDER_MAX, { summary: "smallest order told", source: "PAGE_REPORTING_MIN_ORDER" }),
    delay: duration("100ms", { summary: "from a request to its pass", source: "HZ / 10" }, 1000),
    capacity: integer(32, 1, 1024, {
      summary: "blocks in one message, as the device offers",
      unit: "blocks",
      source: "phdev->capacity, the size of the reporting queue",
    }),
    highWater: integer(32, 1, 2 ** 31, {
      summary: "blocks of one order, not told of, that start a pass",
      unit: "blocks",
      source: "PAGE_REPORTING_HWM",
    }),
    action: choice<HostAction>("reclaim", ["reclaim", "skip"], {
      summary: "what the host may do with a page",
      source: "QEMU patch of the set: MADV_DONTNEED",
    }),
    hookNs: integer(3, 0, 10_000, {
      summary: "time that the hook adds to the free of a large block",
      unit: "ns",
      source: "assumed: a static branch, a flag of the zone and two counters in cache",
    }),
  },
};

/** A block that has left its list. */
interface Held {
  readonly zone: Zone;
  readonly pfn: number;
  readonly order: number;
}

class PageHintingBoundary implements HintingPolicy {
  readonly freeOrderMin: number;
  readonly #context: PolicyContext;
  readonly #options: BoundaryOptions;
  readonly #told: ToldPages;
  readonly #wakeKind: number;
  /** ZONE_PAGE_REPORTING_REQUESTED of each zone. */
  readonly #requested: boolean[];
  /** Zones that are requested (refcnt). */
  #requests = 0;
  #scheduled = false;
  /** The zone whose boundaries are present (ZONE_PAGE_REPORTING_ACTIVE). */
  #active: Zone | undefined;
  /** The blocks behind the boundary of each list of the active zone, in the order in which they were told. */
  readonly #behind: number[][];
  #hooks = 0;
  #visited = 0;
  #skipped = 0;

  constructor(context: PolicyContext, settings: BoundaryOptions) {
    const { sim, worker, zones, driver } = context;
    this.#context = context;
    this.#options = settings;
    this.freeOrderMin = settings.order;
    this.#told = new ToldPages(context.maxPfn);
    this.#requested = zones.map(() => false);
    this.#behind = Array.from({ length: (ORDER_MAX + 1) * MIGRATETYPE_COUNT }, () => []);
    this.#wakeKind = sim.register("page_hinting_boundary", () => {
      this.#scheduled = false;
      worker.post(() => this.#process());
    });
    // One pointer for each list, and in each zone one counter for each order.
    const orders = ORDER_MAX + 1 - settings.order;
    driver.metadata(8 * orders * (MIGRATETYPE_COUNT + zones.length));
  }

  /** page_reporting_startup: every zone that has memory asks for a first pass. */
  start(): void {
    for (const zone of this.#context.zones) if (zone.presentPages > 0) this.#request(zone);
  }

  /** page_reporting_notify_free; and what was freed to the tail of a list that has a boundary goes before it. */
  onFree(zone: Zone, pfn: number, order: number): number {
    const { allocator } = zone;
    this.#hooks++;
    if (zone === this.#active && allocator.orderAt(pfn) === order) {
      const type = allocator.listOf(pfn, order);
      if (allocator.last(order, type) === pfn) this.#placeBefore(zone, pfn, order, type);
    }
    const untold = allocator.nrFree(order) - allocator.nrReported(order);
    if (!this.#requested[zone.index] && untold >= this.#options.highWater) this.#request(zone);
    return this.#options.hookNs;
  }

  needsUse(_zone: Zone, pfn: number, order: number): boolean {
    this.#told.use(pfn, order);
    return false;
  }

  idle(): boolean {
    return !this.#scheduled && this.#context.worker.idle;
  }

  counters(): Readonly<Record<string, number>> {
    const hinted: Record<string, number> = {};
    for (let order = this.#options.order; order <= ORDER_MAX; order++) {
      hinted[`hinted_order_${order}`] = this.#context.zones.reduce((sum, { allocator }) => {
        return sum + allocator.nrReported(order);
      }, 0);
    }
    return {
      hooks: this.#hooks,
      hook_ns: this.#hooks * this.#options.hookNs,
      nodes_visited: this.#visited,
      nodes_skipped: this.#skipped,
      duplicate_reports: this.#told.duplicateReports,
      duplicate_pages: this.#told.duplicatePages,
      ...hinted,
    };
  }

  /** __page_reporting_request. */
  #request(zone: Zone): void {
    this.#requested[zone.index] = true;
    if (this.#requests++ > 0 || this.#scheduled) return;
    this.#scheduled = true;
    this.#context.sim.after(this.#options.delay, this.#wakeKind);
  }

  /** page_reporting_process: goes round the zones as long as one of them asks. */
  *#process(): Task {
    const { driver, zones } = this.#context;
    // A request during the pass before was served by it, and left its work item behind.
    if (this.#requests === 0) return;
    driver.pass();
    yield driver.commit();
    while (this.#requests > 0) {
      for (const zone of zones) {
        if (this.#requested[zone.index] && !(yield* this.#cycle(zone))) return;
      }
    }
    yield driver.commit();
  }

  /** page_reporting_cycle: fill, report, drain, while the zone asks. False when the run ends. */
  *#cycle(zone: Zone): Task<boolean> {
    const { driver } = this.#context;
    for (const list of this.#behind) list.length = 0;
    this.#active = zone;
    let told = true;
    do {
      const batch = this.#fill(zone);
      driver.unlock(zone);
      if (batch.length === 0) break;
      yield driver.commit();
      const ranges = batch.map(({ pfn, order }) => ({ pfn, count: ORDER_PAGES[order] }));
      told = yield* driver.send(this.#options.action, ranges);
      batch.forEach((block, index) => this.#drain(block, told && driver.accepts(ranges[index])));
      yield driver.commit();
    } while (told && this.#requested[zone.index]);
    this.#active = undefined;
    return told;
  }

  /** page_reporting_fill: takes blocks until a message is full; when there are no more, the zone's request is served. */
  #fill(zone: Zone): Held[] {
    const { order: smallest, capacity } = this.#options;
    const batch: Held[] = [];
    for (let order = ORDER_MAX; order >= smallest; order--) {
      for (let type = MIGRATETYPE_COUNT - 1; type >= 0; type--) {
        if (type === ISOLATE) continue;
        for (let pfn = this.#untold(zone, order, type); pfn >= 0; pfn = this.#untold(zone, order, type)) {
          if (!this.#take(zone, pfn, order)) break;
          batch.push({ zone, pfn, order });
          if (batch.length === capacity) return batch;
        }
      }
    }
    this.#requested[zone.index] = false;
    this.#requests--;
    return batch;
  }

  /** get_unreported_page: the block before the boundary, or the head of the list, or -1 when both were told. */
  #untold(zone: Zone, order: number, type: number): number {
    const { allocator } = zone;
    const boundary = this.#boundary(zone, order, type);
    const pfn = boundary < 0 ? allocator.last(order, type) : allocator.previous(boundary, order);
    if (pfn < 0) return -1;
    this.#visit(zone);
    if (!allocator.isReported(pfn, order)) return pfn;
    this.#skipped++;
    const head = allocator.first(order, type);
    this.#visit(zone);
    if (!allocator.isReported(head, order)) return head;
    // The list reads as empty until something is freed to its head.
    this.#skipped++;
    this.#behind[order * MIGRATETYPE_COUNT + type].push(head);
    return -1;
  }

  #visit(zone: Zone): void {
    this.#visited++;
    this.#context.driver.visit(zone, 1);
  }

  /** Isolates a block and leaves the types of its pageblocks as they are, as those sets did. */
  #take(zone: Zone, pfn: number, order: number): boolean {
    const { allocator } = zone;
    const types: number[] = [];
    for (let page = pfn; page < pfn + ORDER_PAGES[order]; page += PAGEBLOCK_PAGES) {
      types.push(allocator.pageblockType(page));
    }
    if (!this.#context.driver.isolate(zone, pfn, order)) return false;
    types.forEach((type, index) => allocator.setPageblockType(pfn + index * PAGEBLOCK_PAGES, type));
    return true;
  }

  /** free_reported_page: to the tail before the boundary, and, when it did not merge, it is the boundary from now on. */
  #drain({ zone, pfn, order }: Held, reported: boolean): void {
    const { allocator } = zone;
    this.#context.driver.putBack(zone, pfn, order, reported);
    if (reported) this.#told.tell(pfn, order);
    let now = order;
    let head = pfn;
    while (allocator.orderAt(head) !== now) {
      now++;
      head = Math.floor(pfn / ORDER_PAGES[now]) * ORDER_PAGES[now];
    }
    const type = allocator.listOf(head, now);
    this.#placeBefore(zone, head, now, type);
    if (now === order && reported) this.#behind[order * MIGRATETYPE_COUNT + type].push(pfn);
  }

  /** Moves a block from the tail of its list to just before the boundary; turning the list does it without a walk. */
  #placeBefore({ allocator }: Zone, pfn: number, order: number, type: number): void {
    const boundary = this.#boundary(this.#active!, order, type);
    if (boundary < 0 || boundary === pfn) return;
    const reported = allocator.isReported(pfn, order);
    const first = allocator.first(order, type);
    allocator.remove(pfn, order);
    allocator.rotate(boundary, order, type);
    allocator.insert(pfn, order, type, true);
    allocator.rotate(first === boundary ? pfn : first, order, type);
    if (reported) allocator.setReported(pfn, order);
  }

  /** The first block behind the boundary of a list, or -1 when the boundary is its end. */
  #boundary({ allocator }: Zone, order: number, type: number): number {
    const behind = this.#behind[order * MIGRATETYPE_COUNT + type];
    for (; behind.length > 0; behind.length--) {
      const pfn = behind[behind.length - 1];
      if (allocator.orderAt(pfn) !== order || !allocator.isReported(pfn, order)) continue;
      if (allocator.listOf(pfn, order) === type) return pfn;
    }
    return -1;
  }
}

/** The plug-in. */
export const pageHintingBoundary: PolicyPlugin = policyPlugin({
  name: "page-hinting-boundary",
  summary: "large free blocks are told 100 ms after a free, and kept behind a boundary at the tail of their list",
  source: "Alexander Duyck, unused page reporting with boundary pointers, linux-mm, 2019",
  options,
  needs: ["lists"],
  queue: "reporting",
  create: (context, settings) => new PageHintingBoundary(context, settings),
});
