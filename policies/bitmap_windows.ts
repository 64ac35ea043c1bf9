/**
 * Bitmaps over windows of page frames: the unused-page report of Liang Li's v3 (21 Oct 2016) and v4 (2 Nov 2016).
 *
 * The driver has bitmaps of 32 KiB, 262,144 pages each: one from its probe, and up to 31 more that it allocates when it is
 * asked, as many as it can get. Together they make a window. For each window from page 0 to the last one, all bitmaps are
 * cleared, all free lists of all zones are walked under the zone lock, and the blocks that lie in the window set bits. v3 sends
 * the bitmaps as they are; v4 extracts the runs of set bits into a buffer of 32 KiB and sends it whenever it is full. In both
 * the driver spins until the host has answered. So visits = windows x free blocks: each `pass` row is one window.
 *
 * `range` is what the windows run over. As posted it is max-pfn. A window of zone-span walks the lists of its zone alone, since
 * spans may overlap; one of present-sections walks all lists.
 *
 * v3's bits are charged by its encoding (`v3-bitmap`); the bitmaps of v4 do not go over the wire, so that clearing, setting and
 * scanning their words is charged with the pass. An answer without a single page in a window is a header in v3 (the encoding
 * cannot know how many zeros to send behind it) and nothing in v4. The request id travels in the header and has no size of its
 * own. The posted code keeps the additional bitmaps (v3) or frees them when it has sent (v4); here both free them after the
 * answer, as pages of the driver that never come back would keep allocations waiting for them. The probe's bitmap is part of
 * what is in use from the start.
 *
 * Bugs of the posted code, with `asPosted`:
 * - v3, `mark_unused_pages_bitmap`: a block that ends where a bitmap ends is taken for one that lies in two, and that branch
 *   uses the bit position that the block before it left. Here: its pages are not told, and instead the bit at that position of
 *   the *first* bitmap is set, whatever that page is (`misplaced_bits`); before the first block of a zone the position, which
 *   is uninitialised, is 0. v4 computes the position, so that there nothing is wrong (domain.md 5.4 counts it among v4's bugs;
 *   v4 5/7 has the assignment).
 * - v3 and v4: the last window has `nr_pfn / 8` bytes, rounded down: of a guest whose max pfn is no multiple of 8 up to 7 pages
 *   are lost (`lost_pages`).
 * - `tell_host` of v3 rounds the count of bitmaps down. That is inflation; the report of unused pages (v3 7/7) rounds up. It is
 *   an option of the encoding: `{kind: v3-bitmap, asPosted: true}`.
 * - `leak_balloon` of v3, which frees its list twice, has nothing to do with unused pages.
 */
import { choice, flag, integer, type Options, size } from "../sim/core/options.ts";
import type { Task } from "../sim/core/sim.ts";
import { MIGRATETYPE_COUNT, ORDER_MAX, UNMOVABLE } from "../sim/guest/allocator.ts";
import {
  type AckWait,
  Blocks,
  COLLECT_FIELDS,
  type CollectOptions,
  giveBack,
  sayable,
  waitField,
  walkList,
} from "../sim/guest/collect.ts";
import { type PolicyContext, type PolicyPlugin, policyPlugin } from "../sim/guest/plugin.ts";
import type { HintingPolicy } from "../sim/guest/policy.ts";
import { type Window, type WindowRange, windowRuns, windowsOf } from "../sim/guest/window_runs.ts";
import type { Zone } from "../sim/guest/zone.ts";
import { PageBitmap } from "../sim/memory/bitmap.ts";
import { ORDER_PAGES, type Range } from "../sim/memory/range.ts";

/** Options of v3 and v4. */
export interface BitmapWindowsOptions extends Pick<CollectOptions, "action" | "isolate" | "requests"> {
  /** Raw bitmaps (v3), or records of their runs (v4). */
  readonly version: "v3" | "v4";
  /** Bitmaps at most, the probe's included. */
  readonly maxBitmaps: number;
  /** What the windows run over. */
  readonly range: WindowRange;
  /** Buffer for records, bytes. */
  readonly bufferMax: number;
  /** How the driver waits for an answer. */
  readonly wait: AckWait;
  /** Whether bugs of the posted code are kept. */
  readonly asPosted: boolean;
}

/** BALLOON_BMAP_COUNT. */
const BITMAPS_MAX = 32;
/** BALLOON_BMAP_SIZE: an allocation of order 3. */
const BITMAP_BYTES = 32 * 1024;
const BITMAP_ORDER = 3;
/** PFNS_PER_BMAP. */
const BITMAP_PAGES = BITMAP_BYTES * 8;
const WORD_PAGES = 64;

const options: Options<BitmapWindowsOptions> = {
  fields: {
    action: COLLECT_FIELDS.action,
    isolate: COLLECT_FIELDS.isolate,
    version: choice("v4", ["v3", "v4"], {
      summary: "send bitmaps as they are, or records of their runs",
      source: "send_unused_pages_info, Liang Li v3 7/7 and v4 7/7, 2016",
    }),
    maxBitmaps: integer(BITMAPS_MAX, 1, BITMAPS_MAX, {
      summary: "bitmaps of 32 KiB in a window; 1 is the probe's alone, more are allocated when they can be had",
      unit: "bitmaps",
      source: "BALLOON_BMAP_COUNT, extend_page_bitmap",
    }),
    range: choice<WindowRange>("max-pfn", ["max-pfn", "zone-span", "present-sections"], {
      summary: "what the windows run over: all page frames, each zone's span, or runs of sections that exist",
      source: "get_max_pfn as posted; the others are what review asked for sparse guests",
    }),
    bufferMax: size("32KiB", 8192, 2 ** 40, {
      summary: "buffer for records (v4); a full one is sent at once",
      source: "resp_data, BALLOON_BMAP_SIZE",
    }),
    wait: waitField("busy", "as posted"),
    asPosted: flag(false, {
      summary: "keep the bugs of the posted code: misplaced bits (v3), a last window cut to whole bytes",
      source: "mark_unused_pages_bitmap and send_unused_pages_info, Liang Li v3 and v4, 2016",
    }),
    requests: COLLECT_FIELDS.requests,
  },
};

/** A block of order 3 that holds a bitmap. */
interface Bitmap {
  readonly zone: Zone;
  readonly pfn: number;
}

class BitmapWindows implements HintingPolicy {
  #context: PolicyContext;
  #options: BitmapWindowsOptions;
  #taken = new Blocks();
  #windows = 0;
  #wordsCleared = 0;
  #runs = 0;
  #failedBitmaps = 0;
  #misplacedBits = 0;
  #lostPages = 0;

  constructor(context: PolicyContext, settings: BitmapWindowsOptions) {
    this.#context = context;
    this.#options = settings;
  }

  counters(): Readonly<Record<string, number>> {
    return {
      windows: this.#windows,
      bitmap_words_cleared: this.#wordsCleared,
      runs_extracted: this.#runs,
      failed_bitmaps: this.#failedBitmaps,
      misplaced_bits: this.#misplacedBits,
      lost_pages: this.#lostPages,
    };
  }

  *onRequest(): Task {
    const { driver, zones, maxPfn } = this.#context;
    const { range, version } = this.#options;
    const runs = windowRuns(range, zones, maxPfn);
    driver.pass();
    const bitmaps = this.#extend(runs);
    const count = 1 + bitmaps.length;
    driver.metadata((version === "v4" ? count + 1 : count) * BITMAP_BYTES);
    let first = true;
    for (const window of windowsOf(runs, count * BITMAP_PAGES)) {
      if (!first) driver.pass(0);
      first = false;
      if (!(yield* this.#tell(window, count))) break;
    }
    for (const { zone, pfn } of bitmaps) driver.free(zone, pfn, BITMAP_ORDER);
    yield driver.commit();
  }

  /** Allocates bitmaps for the widest run beside the probe's, until one cannot be had (`extend_page_bitmap`). */
  #extend(runs: readonly Range[]): Bitmap[] {
    const { driver } = this.#context;
    const widest = runs.reduce((pages, { count }) => Math.max(pages, count), 0);
    const wanted = Math.min(Math.ceil(widest / BITMAP_PAGES), this.#options.maxBitmaps);
    const bitmaps: Bitmap[] = [];
    while (bitmaps.length + 1 < wanted) {
      const pfn = driver.allocate(BITMAP_ORDER, UNMOVABLE);
      if (pfn < 0) {
        this.#failedBitmaps += wanted - 1 - bitmaps.length;
        break;
      }
      bitmaps.push({ zone: driver.takenZone, pfn });
    }
    return bitmaps;
  }

  /** One window: clear, walk, send; false when the run ends. */
  *#tell(window: Window, bitmaps: number): Task<boolean> {
    const { driver, zones } = this.#context;
    const { action, version, bufferMax, wait } = this.#options;
    this.#windows++;
    this.#wordsCleared += bitmaps * (BITMAP_PAGES / WORD_PAGES);
    const bits = new PageBitmap(bitmaps * BITMAP_PAGES);
    let wordsSet = 0;
    for (const zone of zones) {
      if (window.zone === undefined || window.zone === zone) wordsSet += this.#mark(zone, window, bits);
    }
    const ranges = this.#extract(window, bits);
    if (version === "v4") this.#chargeWords(bitmaps * (BITMAP_PAGES / WORD_PAGES) + wordsSet, window);
    yield driver.commit();
    const busyWait = wait === "busy";
    let sent = true;
    if (ranges.length > 0) {
      // The header comes in a buffer of its own.
      const limit = version === "v4" ? bufferMax + driver.bytesOf([]) : Infinity;
      sent = yield* driver.send(action, sayable(driver, ranges), limit, { busyWait });
    } else if (version === "v3" && driver.bytesOf([]) > 0) {
      const posted = yield* driver.post(action, [], { busyWait });
      sent = posted !== undefined;
      if (posted !== undefined) yield* driver.wait(posted);
    }
    giveBack(driver, zones, this.#taken, { acquire: "walk", isolate: this.#options.isolate });
    this.#taken.clear();
    yield driver.commit();
    return sent;
  }

  /** Walks the lists of a zone, order 0 first, and sets the bits of blocks in the window; returns the words that were set. */
  #mark(zone: Zone, { pfn: start, count }: Range, bits: PageBitmap): number {
    const { driver } = this.#context;
    const { isolate, version, asPosted } = this.#options;
    const misplaces = asPosted && version === "v3";
    let words = 0;
    // Where the block before left the position; the posted code does not initialise it.
    let position = 0;
    let visits = 0;
    for (let order = 0; order <= ORDER_MAX; order++) {
      const pages = ORDER_PAGES[order];
      for (let type = 0; type < MIGRATETYPE_COUNT; type++) {
        visits += walkList(zone, order, type, isolate, (pfn) => {
          const bit = pfn - start;
          if (bit < 0 || bit >= count) return true;
          if (isolate) {
            if (!driver.isolate(zone, pfn, order)) return false;
            this.#taken.push(zone, pfn, order);
          }
          words += Math.ceil(pages / WORD_PAGES);
          if (misplaces && (bit + pages) % BITMAP_PAGES === 0) {
            bits.setRange(position, 1);
            this.#misplacedBits++;
            return true;
          }
          position = bit % BITMAP_PAGES;
          bits.setRange(bit, Math.min(pages, count - bit));
          return true;
        });
      }
    }
    driver.visit(zone, visits);
    driver.unlock(zone);
    return words;
  }

  /** The runs of set bits, bitmap by bitmap (`set_bulk_pages`); a run does not go on in the next bitmap. */
  #extract({ pfn: start, count, last }: Window, bits: PageBitmap): Range[] {
    const told = this.#options.asPosted && last ? count - count % 8 : count;
    const runs: Range[] = [];
    for (let base = 0; base < told; base += BITMAP_PAGES) {
      bits.forEachRun(base, Math.min(BITMAP_PAGES, told - base), true, (bit, pages) => {
        runs.push({ pfn: start + bit, count: pages });
      });
    }
    if (told < count) this.#lostPages += bits.countRange(told, count - told);
    this.#runs += runs.length;
    return runs;
  }

  /** The words of bitmaps that stay in the guest: cleared and set, and those of the window scanned. */
  #chargeWords(words: number, { count }: Range): void {
    const { driver, costs } = this.#context;
    driver.spend((words + Math.ceil(count / WORD_PAGES)) * costs.encodeWordNs);
  }
}

/** The plug-in. */
export const bitmapWindows: PolicyPlugin = policyPlugin({
  name: "bitmap-windows",
  summary: "on a host request bitmaps, window by window, each from a walk over all free lists",
  source: "Liang Li, virtio-balloon v3 (21 Oct 2016) and v4 (2 Nov 2016)",
  options,
  needs: ["requests", "lists"],
  create: (context, settings) => new BitmapWindows(context, settings),
});
