/**
 * How the host backs one guest's memory: anonymous memory with or without transparent huge pages, or hugetlb.
 *
 * A discard is madvise(MADV_DONTNEED): one call per range, then a cost per mapped 4 KiB page or whole 2 MiB page; a discard
 * of part of a huge mapping splits it first (Linux mm/madvise.c, mm/huge_memory.c). A later access faults: 2 MiB at once when
 * the backing allows it and nothing of the aligned 2 MiB is mapped, else 4 KiB at a time.
 */
import { Event, NONE, type Trace } from "../core/trace.ts";
import { PageBitmap } from "../memory/bitmap.ts";
import { HUGE_PAGES, PAGE_SIZE } from "../memory/range.ts";
import type { Costs } from "./costs.ts";
import type { Host, HostAction } from "./host.ts";
import type { Judge, Verdict } from "./judge.ts";
import type { SlotPath } from "./slot_path.ts";

/** Kinds of host memory: plain pages, transparent huge pages, or a pool of 2 MiB pages. */
export type BackingKind = "4k" | "thp" | "hugetlb";

/** The names of the backings, for scenarios. */
export const BACKINGS: readonly BackingKind[] = ["4k", "thp", "hugetlb"];

/** The memory of the whole host, shared by its guests. */
export class HostMemory {
  /** Bytes the host has for guests. */
  readonly bytes: number;
  /** Bytes of all guests together that are backed. */
  residentBytes = 0;
  /** Called when backing a page exceeds {@link bytes}. */
  readonly outOfMemory: () => void;

  /** An empty host of `bytes`; `outOfMemory` is called each time its guests want more. */
  constructor(bytes: number, outOfMemory: () => void) {
    this.bytes = bytes;
    this.outOfMemory = outOfMemory;
  }

  /** Accounts for pages populated (positive) or dropped (negative). */
  change(pages: number): void {
    this.residentBytes += pages * PAGE_SIZE;
    if (this.residentBytes > this.bytes) this.outOfMemory();
  }
}

/** What a backing is made of. */
export interface BackingParts {
  /** Where the rows go. */
  readonly trace: Trace;
  /** The host's memory. */
  readonly memory: HostMemory;
  /** The judge of this guest. */
  readonly judge: Judge;
  /** What things cost, ns. */
  readonly costs: Costs;
  /** The kind of memory. */
  readonly kind: BackingKind;
  /** Guest physical pages, holes included. */
  readonly pages: number;
  /** Index of the guest, for its rows. */
  readonly guest: number;
  /**
   * Whether discards are inhibited, so that pages which a message gives away stay and none is given back: with VFIO, which pins
   * the guest's memory, while postcopy comes in, and during a background snapshot (QEMU `ram_block_discard_disable`,
   * `qemu_balloon_inhibit`). What a message says of the migration stream is still heard.
   */
  readonly inhibited?: boolean;
  /** The guest's memory slots, when faults and discards pay for finding theirs. */
  readonly slots?: SlotPath | undefined;
}

/** The backing of one guest. */
export class Backing implements Host {
  #parts: BackingParts;
  #resident: PageBitmap;
  /** Blocks of 2 MiB that are mapped by one huge page. */
  #huge: PageBitmap;
  #skipped: PageBitmap;

  /** Nothing is backed. */
  constructor(parts: BackingParts) {
    this.#parts = parts;
    this.#resident = new PageBitmap(parts.pages);
    this.#huge = new PageBitmap(Math.ceil(parts.pages / HUGE_PAGES));
    this.#skipped = new PageBitmap(parts.pages);
  }

  /** Time that finding memory slots took in faults and discards, ns; undefined when it is not asked for. */
  get memslotLookupNs(): number | undefined {
    return this.#parts.slots?.lookupNs;
  }

  /** Bytes of this guest that the host backs. */
  get residentBytes(): number {
    return this.#resident.count * PAGE_SIZE;
  }

  /** Pages that the host was told to leave out of the migration stream. */
  get skippedPages(): number {
    return this.#skipped.count;
  }

  /** Pages that the host backs and that somebody in the guest owns. */
  residentOwnedPages(): number {
    return this.#parts.judge.ownedIn(this.#resident);
  }

  /** Whether the host backs the page. */
  isResident(pfn: number): boolean {
    return this.#resident.has(pfn);
  }

  /** How many of `count` pages from `pfn` on are backed. */
  residentIn(pfn: number, count: number): number {
    return this.#resident.countRange(pfn, count);
  }

  /** Backs pages at the start of a run, at no cost, and writes them as the start state. Whole 2 MiB become huge. */
  populateAtStart(pfn: number, count: number): void {
    const { kind } = this.#parts;
    if (kind === "hugetlb") {
      const end = Math.min(this.#parts.pages, Math.ceil((pfn + count) / HUGE_PAGES) * HUGE_PAGES);
      pfn = Math.floor(pfn / HUGE_PAGES) * HUGE_PAGES;
      count = end - pfn;
    }
    this.#resident.forEachRun(pfn, count, false, (run, length) => {
      this.#fault(run, length, 0, NONE);
    });
    if (kind === "4k") return;
    const first = Math.ceil(pfn / HUGE_PAGES);
    const last = Math.floor((pfn + count) / HUGE_PAGES);
    if (last > first) this.#huge.setRange(first, last - first);
  }

  /** Does what a message allows with one range; see {@link Host.apply}. */
  apply(action: HostAction, pfn: number, count: number, message: number, extraNs: number): number {
    const { trace, costs, guest, inhibited } = this.#parts;
    // No row: nothing happens to the pages. The time of taking the message passes all the same.
    if (inhibited && action !== "skip") return extraNs;
    if (action === "reclaim") return this.#reclaim(pfn, count, message, extraNs);
    const skip = action === "skip";
    const ns = extraNs + (skip ? costs.skipNs : costs.giveBackNs);
    if (skip) this.#skipped.setRange(pfn, count);
    else this.#skipped.clearRange(pfn, count);
    trace.write(skip ? Event.skip : Event.giveBack, pfn, count, NONE, NONE, message, NONE, ns, guest, NONE);
    return ns;
  }

  /** The guest accesses pages; see {@link Host.touch}. */
  touch(pfn: number, count: number, _write: boolean, cpu: number): number {
    if (this.#skipped.count > 0) this.#skipped.clearRange(pfn, count);
    if (this.#resident.hasAll(pfn, count)) return 0;
    const { kind, costs, pages, slots } = this.#parts;
    const end = pfn + count;
    let ns = 0;
    for (let block = Math.floor(pfn / HUGE_PAGES); block * HUGE_PAGES < end; block++) {
      const base = block * HUGE_PAGES;
      const whole = base + HUGE_PAGES <= pages;
      const from = Math.max(pfn, base);
      const to = Math.min(end, base + HUGE_PAGES);
      if (whole && kind !== "4k" && this.#resident.countRange(base, HUGE_PAGES) === 0) {
        this.#huge.setRange(block, 1);
        ns += this.#fault(base, HUGE_PAGES, costs.fault2mNs + (slots?.faultNs(base, 1, cpu) ?? 0), cpu);
        continue;
      }
      this.#resident.forEachRun(from, to - from, false, (run, length) => {
        ns += this.#fault(run, length, costs.fault4kNs * length + (slots?.faultNs(run, length, cpu) ?? 0), cpu);
      });
    }
    return ns;
  }

  #fault(pfn: number, count: number, ns: number, cpu: number): number {
    const { trace, memory, guest } = this.#parts;
    memory.change(this.#resident.setRange(pfn, count));
    trace.write(Event.fault, pfn, count, NONE, NONE, NONE, NONE, ns, guest, cpu);
    return ns;
  }

  #reclaim(pfn: number, count: number, message: number, extraNs: number): number {
    const { trace, judge, costs, guest, kind, slots } = this.#parts;
    let from = pfn;
    let to = pfn + count;
    if (kind === "hugetlb") {
      // A pool page is dropped whole or not at all: the edges of an unaligned range stay (QEMU ram_block_discard_range).
      from = Math.ceil(from / HUGE_PAGES) * HUGE_PAGES;
      to = Math.max(from, Math.floor(to / HUGE_PAGES) * HUGE_PAGES);
    }
    let ns = extraNs + costs.discardNs + this.#unmapNs(from, to) + (slots?.discardNs(pfn, count) ?? 0);
    ns = Math.round(ns);
    trace.write(Event.discard, pfn, count, NONE, NONE, message, NONE, ns, guest, NONE);
    judge.reclaim(from, to - from, (verdict, run, length) => this.#report(verdict, run, length, message));
    this.#resident.forEachRun(from, to - from, true, (run, length) => {
      this.#resident.clearRange(run, length);
      this.#parts.memory.change(-length);
      trace.write(Event.drop, run, length, NONE, NONE, message, NONE, 0, guest, NONE);
    });
    return ns;
  }

  #report(verdict: Verdict, pfn: number, count: number, message: number): void {
    const { trace, guest } = this.#parts;
    const event = verdict === "violation" ? Event.violation : Event.nearMiss;
    trace.write(event, pfn, count, NONE, NONE, message, NONE, 0, guest, NONE);
  }

  /** The time to unmap what is backed in [from, to), splitting huge mappings that are covered in part. */
  #unmapNs(from: number, to: number): number {
    const { costs } = this.#parts;
    let ns = 0;
    for (let block = Math.floor(from / HUGE_PAGES); block * HUGE_PAGES < to; block++) {
      const base = block * HUGE_PAGES;
      const start = Math.max(from, base);
      const end = Math.min(to, base + HUGE_PAGES);
      if (this.#huge.has(block)) {
        this.#huge.clearRange(block, 1);
        if (end - start === HUGE_PAGES) {
          ns += costs.unmap2mNs;
          continue;
        }
        ns += costs.splitNs;
      }
      ns += costs.unmap4kNs * this.#resident.countRange(start, end - start);
    }
    return ns;
  }
}
