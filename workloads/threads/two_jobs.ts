/**
 * The two jobs of the bitmaps of 2016 in one guest, one after the other: telling the host of the memory of a balloon, whose
 * pages come singly, and of unused memory, which the free lists hold in blocks.
 *
 * Each job is done in one of three ways. `list`: records as the pages or blocks come (the driver of 2016; v5). `windows`: window
 * by window, each from a walk over everything (v3 and v4). `pass`: everything is looked at once, sorted and merged (Dave
 * Hansen's wish). The balloon of the sets of 2016 takes the whole request before it tells of it; `list` tells of 256 pages at a
 * time, with the two accesses to the configuration space that each of these rounds has.
 */
import {
  choice,
  type Driver,
  duration,
  type HintingPolicy,
  integer,
  MOVABLE,
  PAGE_SIZE,
  type PolicyContext,
  policyPlugin,
  type Range,
  size,
  type Task,
} from "hintsim";
import { bitmapWindows } from "../../policies/bitmap_windows.ts";
import { singleBatch } from "../../policies/single_batch.ts";
import { singlePassHybrid } from "../../policies/single_pass_hybrid.ts";
import { parseOptions } from "../../sim/core/options.ts";
import type { PolicyPlugin } from "../../sim/guest/plugin.ts";
import { mergeRanges } from "../../sim/memory/range.ts";

/** PFNS_PER_BMAP: 32 KiB of bits. */
const BITMAP_PAGES = 262_144;
/** VIRTIO_BALLOON_ARRAY_PFNS_MAX. */
const ROUND_PAGES = 256;
const WORD_PAGES = 64;

type Way = "list" | "windows" | "pass";

interface TwoJobsOptions {
  readonly way: Way;
  readonly bitmaps: number;
  readonly inflate: number;
  readonly at: number;
}

class TwoJobs implements HintingPolicy {
  readonly keepsHeld = true;
  readonly #context: PolicyContext;
  readonly #options: TwoJobsOptions;
  readonly #unused: HintingPolicy;
  #inflateNs = 0;
  #unusedNs = 0;
  #inflateVisits = 0;
  #unusedVisits = 0;

  constructor(context: PolicyContext, options: TwoJobsOptions) {
    this.#context = context;
    this.#options = options;
    this.#unused = unusedPolicy(context, options);
  }

  start(): void {
    const { sim, worker } = this.#context;
    sim.after(this.#options.at, sim.register("two_jobs", () => worker.post(() => this.#both())));
  }

  counters(): Record<string, number> {
    return {
      inflate_ns: this.#inflateNs,
      unused_ns: this.#unusedNs,
      inflate_visits: this.#inflateVisits,
      unused_visits: this.#unusedVisits,
    };
  }

  *#both(): Task {
    const { sim, driver } = this.#context;
    const startNs = sim.now;
    yield* this.#unused.onRequest!({ id: 1 });
    const middleNs = sim.now;
    this.#unusedNs = middleNs - startNs;
    this.#unusedVisits = driver.counters.walkVisits;
    yield* this.#inflate();
    this.#inflateNs = sim.now - middleNs;
  }

  *#inflate(): Task {
    const { driver, costs } = this.#context;
    const { way, inflate } = this.#options;
    const wanted = Math.floor(inflate / PAGE_SIZE);
    driver.pass();
    const taken: number[] = [];
    while (taken.length < wanted) {
      const first = taken.length;
      const pfns = take(driver, way === "list" ? Math.min(ROUND_PAGES, wanted - first) : wanted - first);
      if (pfns.length === 0) return;
      for (const pfn of pfns) taken.push(pfn);
      yield driver.commit();
      if (way === "list") yield* this.#tell(pfns.map((pfn) => ({ pfn, count: 1 })));
    }
    if (way === "list") return;
    const pages = mergeRanges(taken.map((pfn) => ({ pfn, count: 1 })));
    if (way === "pass") {
      // Sorting n values takes n times the logarithm of n comparisons.
      let depth = 0;
      while (2 ** depth < taken.length) depth++;
      driver.spend(taken.length * (depth + 1) * costs.compareNs);
      yield* this.#tell(pages);
      return;
    }
    yield* this.#tellWindows(pages, taken.length);
  }

  /** tell_host of v3: from the first page to the last, window by window, and the list of the balloon is walked for each. */
  *#tellWindows(pages: readonly Range[], listed: number): Task {
    const { driver, costs } = this.#context;
    const windowPages = this.#options.bitmaps * BITMAP_PAGES;
    const last = pages[pages.length - 1];
    const start = Math.floor(pages[0].pfn / WORD_PAGES) * WORD_PAGES;
    for (let from = start; from < last.pfn + last.count; from += windowPages) {
      const inside = cut(pages, from, from + windowPages);
      this.#inflateVisits += listed;
      driver.spend(listed * costs.visitNs + windowPages / WORD_PAGES * costs.encodeWordNs);
      if (inside.length > 0) yield* this.#tell(inside);
    }
  }

  *#tell(ranges: readonly Range[]): Task {
    const { driver } = this.#context;
    yield* driver.config();
    yield* driver.send("reclaim", ranges);
    yield* driver.config();
  }
}

/** Takes single pages, as many as there are. */
function take(driver: Driver, wanted: number): number[] {
  const pfns: number[] = [];
  while (pfns.length < wanted) {
    const pfn = driver.allocate(0, MOVABLE);
    if (pfn < 0) break;
    pfns.push(pfn);
  }
  return pfns;
}

/** The parts of ascending ranges between two pages. */
function cut(ranges: readonly Range[], from: number, to: number): Range[] {
  return ranges.filter(({ pfn, count }) => pfn < to && pfn + count > from).map(({ pfn, count }) => {
    const first = Math.max(pfn, from);
    return { pfn: first, count: Math.min(pfn + count, to) - first };
  });
}

/** The design that reports unused memory in this way. */
function unusedPolicy(context: PolicyContext, { way, bitmaps }: TwoJobsOptions): HintingPolicy {
  const make = (plugin: PolicyPlugin, options: Record<string, unknown>) =>
    plugin.create(context, parseOptions(plugin.options, options, []).value);
  // What a bitmap takes depends on where the pages lie: v3 sends it as it is, with other formats v4 sends its runs.
  const version = context.driver.recordBytes(0) === 0 ? "v3" : "v4";
  const common = { action: "reclaim", isolate: true };
  if (way === "windows") return make(bitmapWindows, { ...common, version, maxBitmaps: bitmaps, wait: "sleep" });
  return way === "list" ? make(singleBatch, common) : make(singlePassHybrid, { ...common, wait: "sleep" });
}

export default policyPlugin<TwoJobsOptions>({
  name: "two-jobs",
  summary: "reports all unused memory, then inflates a balloon, both by records, by windows of bitmaps, or in one pass",
  source: "Liang Li v3 to v5 and Dave Hansen, linux-mm, Oct to Dec 2016",
  options: {
    fields: {
      way: choice<Way>("list", ["list", "windows", "pass"], { summary: "how both jobs are done" }),
      bitmaps: integer(1, 1, 32, { summary: "bitmaps of 32 KiB in a window", unit: "bitmaps" }),
      inflate: size("1GiB", PAGE_SIZE, 2 ** 43, { summary: "size of the balloon" }),
      at: duration("1s", { summary: "when the first job starts" }),
    },
  },
  create: (context, options) => new TwoJobs(context, options),
});
