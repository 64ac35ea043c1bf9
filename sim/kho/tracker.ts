/**
 * What a kernel preserves across kexec, and how it remembers that: the interface of the designs that were posted.
 *
 * A tracker remembers folios: 2^order pages, aligned. A design of ranges may forget the orders; then what comes back is the
 * same pages in other pieces.
 */
import type { Operations, PageSet } from "../memory/page_set.ts";
import { ORDER_PAGES, PAGE_SIZE, type Range } from "../memory/range.ts";

/** Largest order of a folio or aligned block: x86-64 has 52 bits of physical address, 2^40 pages. */
export const ORDER_MAX = 40;

/** Page frames end here: 52 bits of physical address. */
const PFN_END = 2 ** ORDER_MAX;

/** One term of a sum of bytes. */
export interface BytesTerm {
  /** What takes the memory, for example `nodes of xarrays`. */
  readonly what: string;
  /** How many of it. */
  readonly count: number;
  /** Bytes of one. */
  readonly bytesEach: number;
}

/** The sum of the terms, bytes. */
export function bytesOf(terms: readonly BytesTerm[]): number {
  return terms.reduce((sum, { count, bytesEach }) => sum + count * bytesEach, 0);
}

/** What one kernel hands to the next. */
export interface Handover {
  /** The image: pages that the next kernel reads, each with its place and its 4096 bytes or less. */
  readonly pages: readonly HandoverPage[];
  /** Bytes that were composed for the handover beside what the tracker had in memory anyway: the sum of {@link terms}. */
  readonly serializedBytes: number;
  /** What was composed, as a sum. */
  readonly terms: readonly BytesTerm[];
  /** Bytes that have to be preserved until the next kernel has read them, the serialised ones included. */
  readonly keptBytes: number;
  /** Where the next kernel begins to read; 0 when nothing was preserved and there is nothing to read. */
  readonly rootPfn: number;
}

/** A piece of memory of the handover. */
export interface HandoverPage {
  /** Page frame. */
  readonly pfn: number;
  /** Its bytes; what follows is zero. */
  readonly bytes: Uint8Array;
}

/**
 * Receives what was preserved: `count` pages that are folios of 2^order, one of them or (from a design of ranges) several
 * in a row. `order` is -1 from a design that knows no orders.
 */
export type Preserved = (pfn: number, count: number, order: number) => void;

/** A tracker. */
export interface Tracker extends Omit<PageSet, "add" | "remove"> {
  /** Preserves a range: the aligned blocks that make it up (`kho_preserve_phys`). Throws KhoError on what the kernel refuses. */
  preserve(pfn: number, count: number): void;
  /** Preserves one folio (`kho_preserve_folio`). */
  preserveFolio(pfn: number, order: number): void;
  /**
   * Takes a range back; it must have been preserved. Throws KhoError otherwise and changes nothing; its code says what the
   * kernel does there (see {@link KhoError}). A design of folios wants the pieces in which the range was preserved.
   */
  unpreserve(pfn: number, count: number): void;
  /** What is composed in the blackout. Memory for it is taken with `allocate(bytes)`, which gives page frames. */
  serialize(allocate: Allocate): Handover;
  /** The memory of the tracker as a sum, whose value is {@link Tracker.bytes}. */
  explain(): readonly BytesTerm[];
}

/** Gives zeroed memory of at least so many bytes, at the start of a page frame, which it returns. Never frame 0. */
export type Allocate = (bytes: number) => number;

/** What a tracker is made with. */
export interface TrackerOptions {
  /** Scratch areas, pages: nothing in them can be preserved. */
  readonly scratch?: readonly Range[];
  /** maple-ranges: inner nodes track gaps (arange64, 10 slots), as MT_FLAGS_ALLOC_RANGE would. The sketch does not. */
  readonly allocRange?: boolean;
}

/** A design, as the registry holds it. */
export interface TrackerPlugin {
  /** Name in scenarios, for example `xarray-bitmaps-512`. */
  readonly name: string;
  /** One line: what it is. */
  readonly summary: string;
  /** Where it was posted or merged. */
  readonly source: string;
  /** What it remembers: each folio; the order of each page, so that equal neighbours are one range; or pages only. */
  readonly remembers: "folios" | "orders" | "pages";
  /** An empty tracker; metadata is placed by `allocate`, which must not give preserved pages or scratch. */
  create(allocate: Allocate, options?: TrackerOptions): Tracker;
  /**
   * The next kernel's walk over the handover, in its order. Throws KhoError naming page and byte where the data is corrupt.
   * `operations` counts what is looked at.
   */
  walk(handover: Handover, visit: Preserved, operations: Operations): void;
  /**
   * Whether the next kernel reads what the tracker has in memory anyway, so that nothing is finalized and calls are taken
   * until the jump (Jason Miu, Make KHO stateless).
   */
  readonly stateless?: boolean;
  /** The design with the faults of the code that was posted, where that had some. */
  readonly asPosted?: TrackerPlugin;
}

/**
 * What the kernel's interface refuses, in words. The code is the kernel's error (`EINVAL`, `EEXIST`) or, where the kernel
 * has none: `WARN` (it warns and returns), `silent` (it does nothing), `loop` (it never returns); `corrupt` for data of a
 * handover.
 */
export class KhoError extends Error {
  /** The error the kernel returns, for example `EINVAL`. */
  readonly code: string;

  /** An error with the kernel's code. */
  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

/** A range of pages for messages. */
export function pagesText(pfn: number, count: number): string {
  return count === 1 ? `page ${pfn}` : `pages ${pfn} to ${pfn + count - 1}`;
}

/** What every design refuses in the same way: pages that are none, unaligned folios and pages in scratch. */
export class Admission {
  readonly #scratch: readonly Range[];

  /** Nothing in `scratch` can be preserved. */
  constructor(options: TrackerOptions | undefined) {
    this.#scratch = options?.scratch ?? [];
  }

  /** Refuses a range that is no range of page frames, or that overlaps scratch. */
  range(pfn: number, count: number): void {
    checkRange(pfn, count);
    // kho_preserve_folio and kho_preserve_pages of late 2025: WARN_ON(kho_scratch_overlap(...)), -EINVAL.
    const scratch = this.#scratch.find((one) => pfn < one.pfn + one.count && one.pfn < pfn + count);
    if (scratch === undefined) return;
    const where = pagesText(scratch.pfn, scratch.count);
    const overlap = count === 1 ? "it overlaps" : "they overlap";
    throw new KhoError("EINVAL", `cannot preserve ${pagesText(pfn, count)}: ${overlap} scratch (${where})`);
  }

  /** Refuses a folio that is none, or that overlaps scratch. */
  folio(pfn: number, order: number): void {
    if (!Number.isInteger(order) || order < 0 || order > ORDER_MAX) {
      throw new KhoError("EINVAL", `a folio has no order ${order}: orders are 0 to ${ORDER_MAX}`);
    }
    if (pfn % ORDER_PAGES[order] !== 0) {
      throw new KhoError(
        "EINVAL",
        `page ${pfn} starts no folio of order ${order}: it is not a multiple of ${2 ** order}`,
      );
    }
    this.range(pfn, ORDER_PAGES[order]);
  }
}

/** Refuses what is no range of page frames. */
export function checkRange(pfn: number, count: number): void {
  const whole = Number.isInteger(pfn) && Number.isInteger(count);
  if (!whole) {
    const [bytes, address] = [count * PAGE_SIZE, pfn * PAGE_SIZE];
    throw new KhoError(
      "EINVAL",
      `${bytes} bytes from address ${address} on: the range is not aligned to pages of 4 KiB`,
    );
  }
  if (pfn < 0 || count < 1 || pfn + count > PFN_END) {
    throw new KhoError("EINVAL", `${count} pages from page ${pfn} on: pages are 0 to ${PFN_END - 1}, at least 1`);
  }
}
