/**
 * The page cache: files of a given size are read at a rate, or a recorded curve says how much is cached.
 *
 * Pages are clean cache (OpFlag.cache): the guest drops them as it likes, and reading one that is there is a hit. With `follow`
 * the files are new ones, as a build writes them; where the curve falls those written last are deleted (`truncate_inode_pages`).
 */
import type { Distribution } from "../../sim/core/distributions.ts";
import { choice, duration, flag, fraction, type Options, size } from "../../sim/core/options.ts";
import type { Random } from "../../sim/core/random.ts";
import { MOVABLE } from "../../sim/guest/allocator.ts";
import { OpFlag } from "../../sim/guest/operations.ts";
import { ORDER_PAGES, PAGE_SIZE } from "../../sim/memory/range.ts";
import { meanPages, orderDistribution, ordersField, type Weights } from "../distribution_options.ts";
import { type Amount, amountField, amountPages, type Amounts, amountsDistribution, amountsField } from "./amounts.ts";
import { type MemoryUser, type OpSink, type UserContext, type UserKind, userKind } from "./user.ts";

/** Options of the page cache. */
export interface PageCacheOptions {
  /** Size of all files. */
  readonly files: Amount;
  /** Bytes read a second. */
  readonly rate: number;
  /** Which part of the files is read next. */
  readonly pattern: "sequential" | "random";
  /** Folios of readahead. */
  readonly orders: Weights;
  /** How often it acts, ns. */
  readonly tick: number;
  /** Whether the curve says how much is cached. */
  readonly follow: boolean;
  /** Sizes of new files. */
  readonly file: Amounts;
  /** Share of new pages that belong to files that are deleted. */
  readonly written: number;
  /** Share of new pages that are mapped or pinned, so that they cannot be dropped. */
  readonly mapped: number;
  /** What the curve's cache holds that is another user's. */
  readonly base: Amount;
}

const options: Options<PageCacheOptions> = {
  fields: {
    files: amountField("1GiB", "size of all files that are read"),
    rate: size("100MiB", 0, 2 ** 44, { summary: "bytes read a second" }),
    pattern: choice("random", ["sequential", "random"], { summary: "which part of the files is read next" }),
    orders: ordersField({ 0: 1 }),
    tick: duration("20ms", { summary: "how often it acts" }, 1000),
    follow: flag(false, { summary: "the curve says how much is cached: new files are written, later deleted" }),
    file: amountsField("constant", "4KiB", "with follow: size of a new file"),
    written: fraction(0.9, 0, 1, {
      summary: "with follow: share of pages of files that are deleted when the curve falls",
    }),
    mapped: fraction(0, 0, 1, {
      summary: "with follow: share of pages that are mapped, so that they cannot be dropped",
    }),
    base: amountField("0", "with follow: what the curve's cache holds that is another user's"),
  },
};

/** Reads a set of files. */
class Reader implements MemoryUser {
  dueNs = 0;
  #options: PageCacheOptions;
  #random: Random;
  #orders: Distribution;
  #order: Uint8Array;
  #first: number;
  #next = 0;
  #folioNs: number;
  #owedNs = 0;

  constructor(context: UserContext, settings: PageCacheOptions) {
    this.#options = settings;
    this.#random = context.random("page-cache");
    this.#orders = orderDistribution(settings.orders);
    const mean = meanPages(settings.orders);
    const folios = Math.max(1, Math.floor(amountPages(settings.files, context.memoryPages) / mean / context.cpus));
    this.#first = context.range(folios);
    // A folio has the same size whenever it is read.
    this.#order = Uint8Array.from({ length: folios }, () => this.#orders.draw(this.#random));
    this.#folioNs = settings.rate > 0 ? 1e9 * mean * PAGE_SIZE * context.cpus / settings.rate : Infinity;
  }

  act(sink: OpSink): void {
    const { tick, pattern } = this.#options;
    this.#owedNs += tick;
    for (; this.#owedNs >= this.#folioNs; this.#owedNs -= this.#folioNs) {
      const folio = pattern === "random" ? this.#random.nextBelow(this.#order.length) : this.#next;
      this.#next = (folio + 1) % this.#order.length;
      sink.read(this.#first + folio, this.#order[folio]);
    }
    this.dueNs = this.#folioNs === Infinity ? Infinity : sink.nowNs + tick;
  }

  end(sink: OpSink): void {
    for (let folio = 0; folio < this.#order.length; folio++) sink.free(this.#first + folio);
  }
}

/** Caches as much as the curve says. */
class Follower implements MemoryUser {
  dueNs = 0;
  #context: UserContext;
  #options: PageCacheOptions;
  #random: Random;
  #orders: Distribution;
  #files: Distribution;
  /** Pages of the newest file that are still to come, and whether it will be deleted. */
  #filePages = 0;
  #deleted = false;
  #started = false;
  #written: { handle: number; order: number }[] = [];
  #kept: number[] = [];
  #pages = 0;

  constructor(context: UserContext, settings: PageCacheOptions) {
    this.#context = context;
    this.#options = settings;
    this.#random = context.random("page-cache");
    this.#orders = orderDistribution(settings.orders);
    this.#files = amountsDistribution(settings.file, context.memoryPages);
  }

  act(sink: OpSink): void {
    const { curve, startNs, cpus, memoryPages } = this.#context;
    const base = amountPages(this.#options.base, memoryPages);
    const wanted = Math.max(0, curve!.cachedPages(startNs + sink.nowNs) - base) / cpus;
    while (this.#pages < wanted) this.#write(sink);
    this.#started = true;
    // What was read is not deleted, so that it is left for the guest to drop.
    while (this.#pages > wanted + ORDER_PAGES[4] && this.#written.length > 0) this.#delete(sink);
    this.dueNs = sink.nowNs + this.#options.tick;
  }

  end(sink: OpSink): void {
    while (this.#written.length > 0) this.#delete(sink);
    for (const handle of this.#kept) sink.free(handle);
    this.#kept = [];
  }

  #write(sink: OpSink): void {
    const order = this.#orders.draw(this.#random);
    const { mapped, written } = this.#options;
    if (this.#filePages <= 0) {
      this.#filePages = Math.max(1, Math.round(this.#files.draw(this.#random)));
      // What is cached at the start was read before: it is not deleted.
      this.#deleted = this.#random.nextFloat() < written && this.#started;
    }
    this.#filePages -= ORDER_PAGES[order];
    const flags = this.#random.nextFloat() < mapped ? 0 : OpFlag.cache;
    const handle = sink.alloc(order, MOVABLE, ORDER_PAGES[order], flags);
    this.#pages += ORDER_PAGES[order];
    if (flags !== 0 && this.#deleted) this.#written.push({ handle, order });
    else this.#kept.push(handle);
  }

  #delete(sink: OpSink): void {
    const { handle, order } = this.#written.pop()!;
    sink.free(handle);
    this.#pages -= ORDER_PAGES[order];
  }
}

/** The kind. */
export const pageCache: UserKind = userKind<PageCacheOptions>({
  kind: "page-cache",
  summary: "files are read at a rate, hits and misses, or a curve says how much is cached",
  source: "mm/filemap.c, mm/readahead.c",
  options,
  create: (context, settings) => settings.follow ? new Follower(context, settings) : new Reader(context, settings),
});
