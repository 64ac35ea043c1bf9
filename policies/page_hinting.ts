/**
 * Page hinting of Nitesh Narayan Lal, linux-mm 2019: v9 (6 March), v10 (3 June), v11 (10 July), v12 (12 August).
 *
 * A hook after merging notes large free blocks: v9 in an array of each CPU, the others in bitmaps (`version`). When there are
 * enough, a work item runs at once: it isolates what is still free, tells the host of up to 16 blocks, waits, puts them back
 * without a mark, and goes on. Memory that was free before the driver came, and a block of a bitmap that is refused by the
 * watermark, are never told until they are freed again; a block that is freed again is told again.
 *
 * As posted, and so here: v12 gives the first pageblock of a block its migratetype back, where isolation made it movable; blocks
 * go back to the head of their list, as any free of 5.3; work that v10 asks for during a pass follows it, v11 and v12 wait for
 * another free. `asPosted` adds the faults that change behaviour:
 *
 * - v10 ALIGN(spanned, 9): the bitmap lacks the bit of a block that the zone's end cuts; none can be free there, so that only
 *   its size shows it (domain.md §5.7);
 * - v10 finds bitmaps by the kind of the zone: memory of other nodes is not covered (Alexander Duyck's review, June 2019);
 * - v10 and v11 loop for ever on a bit whose memory has gone. A run must end, so the scan stops there: no pass runs any more,
 *   and `endless_scans` counts it. The blocks that it held, lost in the kernel, are told and put back. domain.md names v10 only;
 *   the loop of v11 as posted is the same;
 * - v12 leaves such a bit, and its count, so that each free starts a pass;
 * - v10 to v12 begin a bitmap at the zone's first page: in a zone that begins inside a block, ZONE_DMA at page 1, no bit leads
 *   back to a block; and bitmaps do not follow hotplug.
 *
 * Left out knowingly: v12's RCU read lock without its end while disabled (no run is disabled), hotplug in v11 (the patch as
 * posted has none; the shrink logic that domain.md mentions is of a later tree), and v9's scan inside the free itself, by a CPU
 * that may not sleep: here the worker does it, and waits for the host.
 */
import { choice, type Field, flag, InputError, integer, optional, type Options } from "../sim/core/options.ts";
import type { Task } from "../sim/core/sim.ts";
import { ORDER_MAX } from "../sim/guest/allocator.ts";
import type { FreeTracker } from "../sim/guest/free_tracker.ts";
import { ARRAY_ENTRIES, HintArrays } from "../sim/guest/hint_arrays.ts";
import { type BitmapVersion, HintBitmap } from "../sim/guest/hint_bitmap.ts";
import { type PolicyContext, type PolicyPlugin, policyPlugin } from "../sim/guest/plugin.ts";
import type { HintingPolicy } from "../sim/guest/policy.ts";
import { ReportedFlags } from "../sim/guest/reported_flags.ts";
import { ToldPages } from "../sim/guest/told_pages.ts";
import type { Zone } from "../sim/guest/zone.ts";
import type { HostAction } from "../sim/host/host.ts";
import { ORDER_PAGES } from "../sim/memory/range.ts";

type Version = "v9" | BitmapVersion;

/** Options of page hinting. */
export interface PageHintingOptions {
  /** Which set. */
  readonly version: Version;
  /** Where the driver remembers free blocks: as the set does, or by flags inside the allocator. */
  readonly tracker: "bitmap" | "flags";
  /** Smallest order, that of the set when left out. */
  readonly order: number | undefined;
  /** Blocks in one message, and blocks that start a pass. */
  readonly capacity: number;
  /** What the host may do. */
  readonly action: HostAction;
  /** Time of the hook at each free of a large block, ns. */
  readonly hookNs: number;
  /** Time to read one 64-bit word of a bitmap or an array, ns. */
  readonly wordNs: number;
  /** Whether faults of the posted code are kept. */
  readonly asPosted: boolean;
}

const ASSUMED = "assumed";

const fields: { readonly [name in keyof PageHintingOptions]-?: Field<PageHintingOptions[name]> } = {
  version: choice<Version>("v12", ["v9", "v10", "v11", "v12"], {
    summary: "which set: arrays of each CPU, or bitmaps by zone, by kind of zone over all nodes, in struct zone",
    source: "Nitesh Narayan Lal, linux-mm, March to August 2019",
  }),
  tracker: choice<"bitmap" | "flags">("bitmap", ["bitmap", "flags"], {
    summary: "where free blocks are remembered: as the set does, or by Reported flags on the free lists",
    source: "the swappable core that the threads of 2019 asked for",
  }),
  order: optional(integer(undefined, 0, ORDER_MAX, {
    summary: "smallest order told; 10 for v9, 9 for the others when left out",
    source: "MAX_ORDER - 1 (v9), MAX_ORDER - 2 (v10 to v12)",
  })),
  capacity: integer(16, 1, 1024, {
    summary: "blocks in one message, and blocks noted that start a pass; v9 starts with 128 and sends what it finds",
    unit: "blocks",
    source: "PAGE_REPORTING_MAX_PAGES",
  }),
  action: choice<HostAction>("reclaim", ["reclaim", "skip"], {
    summary: "what the host may do with a page",
    source: "v12 2/2: MADV_DONTNEED or MADV_FREE in QEMU",
  }),
  hookNs: integer(12, 0, 10_000, {
    summary: "time that the hook adds to the free of a large block",
    unit: "ns",
    source: `${ASSUMED}: test_and_set_bit and atomic_inc, two locked instructions of about 20 cycles`,
  }),
  wordNs: integer(1, 0, 1000, {
    summary: "time to read one word of 64 bits of a bitmap or an array",
    unit: "ns",
    source: `${ASSUMED}: one load of a stream that is prefetched`,
  }),
  asPosted: flag(false, {
    summary: "whether faults of the posted code that change behaviour are kept",
    source:
      "Nitesh Narayan Lal v10 (3 Jun 2019) to v12 (12 Aug 2019), as the head of policies/page_hinting.ts lists them",
  }),
};

const options: Options<PageHintingOptions> = { fields };

/** A block that has left its list. */
interface Held {
  readonly zone: Zone;
  readonly pfn: number;
  readonly order: number;
}

class PageHinting implements HintingPolicy {
  readonly freeOrderMin: number;
  readonly #context: PolicyContext;
  readonly #options: PageHintingOptions;
  readonly #tracker: FreeTracker;
  readonly #capacity: number;
  readonly #hookNs: number;
  readonly #told: ToldPages;
  /** Work waits or runs (refcnt, page_hinting_active). */
  #pending = false;
  #running = false;
  /** v10: work was asked for while it ran. */
  #again = false;
  #hooks = 0;
  #refused = 0;

  constructor(context: PolicyContext, settings: PageHintingOptions) {
    const { version, tracker } = settings;
    if (tracker === "flags" && context.zones.some((zone) => !zone.hasLists)) {
      throw new InputError(["policy", "tracker"], "flags stand on free lists, and the guest's page allocator has none");
    }
    this.#context = context;
    this.#options = settings;
    this.freeOrderMin = settings.order ?? (version === "v9" ? ORDER_MAX : ORDER_MAX - 1);
    this.#tracker = trackerOf(context, settings, this.freeOrderMin);
    this.#capacity = version === "v9" && tracker === "bitmap" ? ARRAY_ENTRIES : settings.capacity;
    this.#hookNs = settings.hookNs + this.#tracker.hookNs;
    this.#told = new ToldPages(context.maxPfn);
  }

  /** The hook after merging (guest_free_page_enqueue, page_hinting_enqueue, __page_reporting_enqueue). */
  onFree(zone: Zone, pfn: number, order: number, cpu: number): number {
    this.#hooks++;
    if (this.#tracker.freed(zone, pfn, order, cpu)) this.#schedule();
    return this.#hookNs;
  }

  needsUse(_zone: Zone, pfn: number, order: number): boolean {
    this.#told.use(pfn, order);
    return false;
  }

  counters(): Readonly<Record<string, number>> {
    return {
      hooks: this.#hooks,
      hook_ns: this.#hooks * this.#hookNs,
      ...this.#tracker.counters(),
      refused_blocks: this.#refused,
      duplicate_reports: this.#told.duplicateReports,
      duplicate_pages: this.#told.duplicatePages,
    };
  }

  /** schedule_work: at once, and not twice. */
  #schedule(): void {
    if (this.#running && this.#options.version === "v10") this.#again = true;
    if (this.#pending) return;
    this.#pending = true;
    this.#context.worker.post(() => this.#work());
  }

  /** page_reporting_wq, init_hinting_wq. */
  *#work(): Task {
    const { driver } = this.#context;
    const tracker = this.#tracker;
    this.#running = true;
    driver.pass();
    yield driver.commit();
    let told = true;
    for (let part = 0; part < tracker.parts && told && !tracker.hung; part++) {
      if (tracker.enough(part)) told = yield* this.#scan(part);
    }
    yield driver.commit();
    this.#running = false;
    if (tracker.hung) return;
    this.#pending = false;
    if (!this.#again) return;
    this.#again = false;
    if (told) this.#schedule();
  }

  /** scan_zone_bitmap: isolates what is free, and tells the host each time that a message is full. False when the run ends. */
  *#scan(part: number): Task<boolean> {
    const tracker = this.#tracker;
    const { driver } = this.#context;
    let batch: Held[] = [];
    tracker.begin(part);
    while (tracker.next()) {
      const { zone, pfn, order } = tracker;
      const type = zone.pages.pageblockType(pfn);
      const isolated = driver.isolate(zone, pfn, order);
      if (isolated && zone.hasLists && this.#options.version === "v12") zone.allocator.setPageblockType(pfn, type);
      driver.unlock(zone);
      if (!isolated) {
        this.#refused++;
        // The lists show the same block again; a bit is gone.
        if (tracker.marks) break;
        continue;
      }
      batch.push({ zone, pfn, order });
      if (batch.length < this.#capacity) continue;
      if (!(yield* this.#report(batch))) return false;
      batch = [];
    }
    return batch.length === 0 || (yield* this.#report(batch));
  }

  /** Tells the host and puts the blocks back (return_isolated_page, release_buddy_pages); the hook does not see them. */
  *#report(batch: readonly Held[]): Task<boolean> {
    const { driver } = this.#context;
    const { marks } = this.#tracker;
    this.#tracker.suspend();
    yield driver.commit();
    const ranges = batch.map(({ pfn, order }) => ({ pfn, count: ORDER_PAGES[order] }));
    const told = yield* driver.send(this.#options.action, ranges);
    for (const [index, { zone, pfn, order }] of batch.entries()) {
      const reported = told && driver.accepts(ranges[index]);
      if (reported) this.#told.tell(pfn, order);
      driver.putBack(zone, pfn, order, marks && reported, marks);
    }
    yield driver.commit();
    return told;
  }
}

function trackerOf(context: PolicyContext, settings: PageHintingOptions, order: number): FreeTracker {
  const { zones, driver, vcpus } = context;
  const { version, tracker, capacity: threshold, wordNs, asPosted } = settings;
  if (tracker === "flags") return new ReportedFlags(zones, driver, order, threshold);
  if (version === "v9") return new HintArrays(zones, driver, vcpus, order, wordNs);
  return new HintBitmap(zones, driver, { version, order, threshold, wordNs, asPosted });
}

/** The plug-in. */
export const pageHinting: PolicyPlugin = policyPlugin({
  name: "page-hinting",
  summary: "large free blocks are noted in arrays or bitmaps, and told at once, 16 at a time",
  source: "Nitesh Narayan Lal, page hinting v9 to v12, linux-mm, 2019",
  options,
  queue: "reporting",
  create: (context, settings) => new PageHinting(context, settings),
});
