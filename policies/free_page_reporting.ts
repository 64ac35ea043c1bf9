/**
 * Free page reporting as merged in Linux 5.7 and shipped in 6.1 (mm/page_reporting.c, drivers/virtio/virtio_balloon.c).
 *
 * A free of a large block asks for a pass, which runs two seconds later. The pass walks the lists from the reporting order up,
 * isolates at most 32 unreported blocks at a time, reports them, and puts them back to the tail, marked Reported. A budget per
 * list, one sixteenth of its blocks, ends a pass early; the list is rotated so that the next pass goes on where it stopped.
 *
 * From 5.7 to 6.12 only the source of the order changes: pageblock_order in 5.7; a variable since 5.14, which the driver may set;
 * in 6.1 a module parameter that registration overwrites; in 6.12 the parameter wins, then the driver. virtio-balloon on x86-64
 * sets none, so all of them report from order 9 up and `order` stands for the rest: no option names a generation. What else
 * differs between kernels lies below the policy (`machine.kernel`).
 */
import { choice, duration, flag, integer, type Options } from "../sim/core/options.ts";
import type { Sim, Task } from "../sim/core/sim.ts";
import { ISOLATE, MIGRATETYPE_COUNT, ORDER_MAX } from "../sim/guest/allocator.ts";
import type { Driver } from "../sim/guest/driver.ts";
import { type PolicyContext, type PolicyPlugin, policyPlugin } from "../sim/guest/plugin.ts";
import type { HintingPolicy } from "../sim/guest/policy.ts";
import { ToldPages } from "../sim/guest/told_pages.ts";
import { watermarkOk } from "../sim/guest/watermark_check.ts";
import type { Zone } from "../sim/guest/zone.ts";
import type { HostAction } from "../sim/host/host.ts";
import { ORDER_PAGES, type Range } from "../sim/memory/range.ts";

/** Options of free page reporting. */
export interface FreePageReportingOptions {
  /** Smallest order reported. */
  readonly order: number;
  /** From a request to its pass, ns. */
  readonly delay: number;
  /** Blocks in one report. */
  readonly capacity: number;
  /** What the host may do. */
  readonly action: HostAction;
  /** Whether what is left of a Reported block that is split stays Reported. */
  readonly propagateReported: boolean;
  /** Time of the hook at each free of a large block, ns. */
  readonly hookNs: number;
}

const options: Options<FreePageReportingOptions> = {
  fields: {
    order: integer(9, 0, ORDER_MAX, {
      summary: "smallest order reported",
      source: "page_reporting_order, default pageblock_order",
    }),
    delay: duration("2s", { summary: "from the first free to its pass", source: "PAGE_REPORTING_DELAY, 2 * HZ" }, 1000),
    capacity: integer(32, 1, 1024, {
      summary: "blocks in one report",
      unit: "blocks",
      source: "PAGE_REPORTING_CAPACITY",
    }),
    action: choice("reclaim", ["reclaim", "skip"], {
      summary: "what the host may do with a reported page",
      source: "virtio_balloon_handle_report",
    }),
    propagateReported: flag(false, {
      summary: "whether what is left of a Reported block that is split stays Reported",
      source: "Michael S. Tsirkin, v9 03/37, 29 May 2026, not merged: true",
    }),
    hookNs: integer(0, 0, 10_000, {
      summary: "time that the hook adds to the free of a large block",
      unit: "ns",
      source: "assumed: a static branch and one atomic read, part of the cost of a free",
    }),
  },
};

/** A pass may make one report per this many full reports' worth of blocks on a list (budget of page_reporting_cycle). */
const BUDGET_SHARE = 16;

type State = "idle" | "requested" | "active";

/** How a walk over one list ended: at its end, or stopped by budget, watermark or the host. */
type CycleEnd = "list done" | "report failed";

class FreePageReporting implements HintingPolicy {
  readonly freeOrderMin: number;
  #sim: Sim;
  #driver: Driver;
  #options: FreePageReportingOptions;
  #context: PolicyContext;
  #state: State = "idle";
  #wakeKind: number;
  /** Isolated blocks waiting to be reported, with their zone and order. */
  #batch: { zone: Zone; pfn: number; order: number }[] = [];
  #told: ToldPages;
  #hooks = 0;
  #skipped = 0;

  constructor(context: PolicyContext, settings: FreePageReportingOptions) {
    this.#context = context;
    this.#sim = context.sim;
    this.#driver = context.driver;
    this.#options = settings;
    this.freeOrderMin = settings.order;
    this.#told = new ToldPages(context.maxPfn);
    if (settings.propagateReported) { for (const { allocator } of context.zones) allocator.propagatesReported = true; }
    this.#wakeKind = context.sim.register("page_reporting", () => context.worker.post(() => this.#process()));
  }

  /** Registration asks for a first pass (page_reporting_register). */
  start(): void {
    this.#request();
  }

  onFree(): number {
    this.#hooks++;
    this.#request();
    return this.#options.hookNs;
  }

  needsUse(_zone: Zone, pfn: number, order: number): boolean {
    this.#told.use(pfn, order);
    return false;
  }

  counters(): Readonly<Record<string, number>> {
    return {
      hooks: this.#hooks,
      hook_ns: this.#hooks * this.#options.hookNs,
      nodes_skipped: this.#skipped,
      duplicate_reports: this.#told.duplicateReports,
      duplicate_pages: this.#told.duplicatePages,
    };
  }

  idle(): boolean {
    return this.#state === "idle";
  }

  /** __page_reporting_request: only the change from idle schedules a pass; during a pass the mark alone stays. */
  #request(): void {
    if (this.#state === "requested") return;
    const old = this.#state;
    this.#state = "requested";
    if (old === "idle") this.#sim.after(this.#options.delay, this.#wakeKind);
  }

  /** page_reporting_process. */
  *#process(): Task {
    this.#state = "active";
    this.#driver.pass();
    for (const zone of this.#context.zones) if ((yield* this.#processZone(zone)) === "report failed") break;
    yield this.#driver.commit();
    // A free during the pass, or a budget that ran out, left the mark: the worker schedules itself again.
    if (this.#isRequested()) this.#sim.after(this.#options.delay, this.#wakeKind);
    else this.#state = "idle";
  }

  #isRequested(): boolean {
    return this.#state === "requested";
  }

  /** page_reporting_process_zone. */
  *#processZone(zone: Zone): Task<CycleEnd> {
    const { order, capacity } = this.#options;
    const mark = zone.watermarks.low + zone.watermarkBoost + capacity * ORDER_PAGES[order];
    if (!watermarkOk(zone, 0, mark, 0)) return "list done";
    for (let current = order; current <= ORDER_MAX; current++) {
      for (let migratetype = 0; migratetype < MIGRATETYPE_COUNT; migratetype++) {
        if (migratetype === ISOLATE) continue;
        if ((yield* this.#cycle(zone, current, migratetype)) === "report failed") return "report failed";
      }
    }
    // What is left is less than a full report.
    if (this.#batch.length > 0) return yield* this.#report();
    return "list done";
  }

  /** page_reporting_cycle: one list. */
  *#cycle(zone: Zone, order: number, migratetype: number): Task<CycleEnd> {
    const { allocator } = zone;
    const { capacity } = this.#options;
    let block = allocator.first(order, migratetype);
    if (block < 0) return "list done";
    let budget = Math.ceil(allocator.nrFree(order) / (capacity * BUDGET_SHARE));
    // Where the next pass goes on; -1 when this pass saw the whole list.
    let resume = -1;
    while (block >= 0) {
      this.#driver.visit(zone, 1);
      const following = allocator.next(block, order);
      if (allocator.isReported(block, order)) {
        this.#skipped++;
        block = following;
        continue;
      }
      if (budget < 0) {
        this.#state = "requested";
        resume = block;
        break;
      }
      if (this.#batch.length < capacity) {
        if (!this.#driver.isolate(zone, block, order)) {
          resume = block;
          break;
        }
        this.#batch.push({ zone, pfn: block, order });
        block = following;
        continue;
      }
      allocator.rotate(block, order, migratetype);
      budget--;
      if ((yield* this.#report()) === "report failed") return "report failed";
      block = allocator.first(order, migratetype);
    }
    if (resume >= 0 && allocator.first(order, migratetype) !== resume) allocator.rotate(resume, order, migratetype);
    this.#driver.unlock(zone);
    return "list done";
  }

  /** Reports the batch and puts its blocks back (page_reporting_drain): Reported only if the host was told and they stayed. */
  *#report(): Task<CycleEnd> {
    yield this.#driver.commit();
    // The scatterlist is filled from its end, so the block isolated last comes first.
    const batch = this.#batch.reverse();
    this.#batch = [];
    const ranges: Range[] = batch.map(({ pfn, order }) => ({ pfn, count: ORDER_PAGES[order] }));
    const told = yield* this.#driver.send(this.#options.action, ranges);
    for (const [index, { zone, pfn, order }] of batch.entries()) {
      // What the encoding cannot say was not told.
      const reported = told && this.#driver.accepts(ranges[index]);
      if (reported) this.#told.tell(pfn, order);
      this.#driver.putBack(zone, pfn, order, reported);
    }
    return told ? "list done" : "report failed";
  }
}

/** The plug-in. */
export const freePageReporting: PolicyPlugin = policyPlugin({
  name: "free-page-reporting",
  summary: "the guest reports large free blocks two seconds after a free, 32 at a time",
  source: "Linux 6.1 mm/page_reporting.c (Alexander Duyck, merged in 5.7)",
  options,
  needs: ["lists"],
  queue: "reporting",
  create: (context, settings) => new FreePageReporting(context, settings),
});
