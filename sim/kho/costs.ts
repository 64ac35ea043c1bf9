/**
 * What the steps of a handover take, ns: the profile `kho-2025`.
 *
 * One measurement calibrates it: 48 GiB of order-0 pages preserved and serialised in 577 ms (K1), 45.9 ns a page. The
 * tracker of that mail does {@link K1_STEPS} counted steps for such a page, so that a step takes 4.59 ns, and the same step
 * prices every other tracker: nothing tells them apart but their counts. What counts as a step decides the prediction for the
 * page tables of the same mail (469 ms measured): nodes alone 1 : 1, words read and written 8 : 7, words and calls into the
 * xarray library 10 : 8, which is what {@link stepsOf} counts. Scanning an array, copying and allocating were not
 * measured there and are assumed; so is what comes from other machines.
 */
import type { Cost, CostRole } from "../host/costs.ts";
import type { Operations } from "../memory/page_set.ts";

/** The costs that a handover charges. */
export interface KhoCostTable {
  /** One counted step of a tracker or of a walk, see {@link stepsOf}. */
  readonly stepNs: Cost;
  /** One region that memblock scans. */
  readonly scanNs: Cost;
  /** One byte that is moved or copied. */
  readonly moveByteNs: Cost;
  /** One allocation of a node, bitmap or page. */
  readonly allocNs: Cost;
  /** One free of them. */
  readonly freeNs: Cost;
  /** Writing into the page descriptor of a preserved folio (`page->private`), which nothing has in its cache. */
  readonly touchDescriptorNs: Cost;
  /** Initialising one page descriptor, one thread. */
  readonly initDescriptorNs: Cost;
  /** Giving one free block to the buddy allocator. */
  readonly releaseBlockNs: Cost;
  /** From the last instruction of the old kernel to the first of the new one. */
  readonly kexecNs: Cost;
  /** All of the new kernel's start that is not part of the restore. */
  readonly bootNs: Cost;
}

/** Plain values, ns. */
export type KhoCosts = { readonly [name in keyof KhoCostTable]: number };

/** A named set of costs. */
export interface KhoCostProfile {
  /** Name in scenarios. */
  readonly name: string;
  /** One sentence on the machine. */
  readonly summary: string;
  /** The costs. */
  readonly costs: KhoCostTable;
}

/** K1: pages of 48 GiB, and the time to preserve and serialise them, ns (Pratyush Yadav, 3 Apr 2025, lkml 2504.0/04211). */
export const K1 = { pages: 48 * 2 ** 18, timeNs: 577e6 } as const;

/**
 * Counted steps of `xarray-bitmaps-512` for one order-0 page of K1: two lookups, the head of the xarray of orders, the head of
 * that of bitmaps, shift and slot of its two nodes (index up to 3071: 12 bits, 6 a level), the bitmap's word read and written.
 */
export const K1_STEPS = 10;

/** Steps of a tracker or of a walk: calls of lookups, and words that are read or written on the way. */
export function stepsOf({ visits, writes, librarySteps }: Operations): number {
  return visits + writes + librarySteps;
}

/** What counted operations take, ns. */
export function operationsNs(operations: Operations, costs: KhoCosts): number {
  const { movedBytes, allocations, frees } = operations;
  return stepsOf(operations) * costs.stepNs + movedBytes * costs.moveByteNs + allocations * costs.allocNs +
    frees * costs.freeNs;
}

const cost = (valueNs: number, low: number, high: number, role: CostRole, source: string): Cost => ({
  valueNs,
  range: [low, high],
  role,
  source,
});

/** Descriptors of a node of 384 GiB, and the time one thread takes for them, ns (S1). */
const S1_DESCRIPTORS = 384 * 2 ** 18;
const S1_ONE_THREAD_NS = 1785.7e6;
const S1 = "another machine: 2 x Xeon Platinum 8167M, Daniel Jordan, 27 May 2020 (S1)";

const STEP_NS = K1.timeNs / K1.pages / K1_STEPS;
const INIT_NS = S1_ONE_THREAD_NS / S1_DESCRIPTORS;

/** The machine of Pratyush Yadav's measurement, 2025: not named, one thread. */
export const kho2025: KhoCostProfile = {
  name: "kho-2025",
  summary: "the unnamed machine of the handover measurements of April 2025, one thread",
  costs: {
    stepNs: cost(STEP_NS, 4.55, 4.62, "derived", "577 ms +- 0.7 % / 12,582,912 pages / 10 steps a page (K1)"),
    scanNs: cost(STEP_NS, 1, 5, "assumed", "a step; regions of 24 bytes that stream from memory may take 1-2 ns"),
    moveByteNs: cost(0.1, 0.05, 0.2, "assumed", "memmove at 10 GB/s"),
    allocNs: cost(100, 50, 500, "assumed", "kmalloc or a page, zeroed"),
    freeNs: cost(50, 30, 100, "assumed", "kfree"),
    touchDescriptorNs: cost(INIT_NS, 5, 100, "assumed", `as initialising one; ${S1}`),
    initDescriptorNs: cost(INIT_NS, 10, 30, "assumed", `1785.7 ms / 100,663,296 descriptors of one node; ${S1}`),
    releaseBlockNs: cost(45, 40, 100, "assumed", "zone-lock hold of a free, 43-48 ns on Xeon Gold 5320 (llfree-bench)"),
    kexecNs: cost(100e6, 10e6, 1e9, "assumed", "devices shut down, purgatory, decompression"),
    bootNs: cost(2303e6, 500e6, 5e9, "assumed", `4089.7 - 1785.7 and 2459.0 - 157.0 ms, boot less descriptors; ${S1}`),
  },
};

/** All profiles of handovers. */
export const khoCostProfiles: readonly KhoCostProfile[] = [kho2025];

/** The values of a profile, ns. */
export function khoCostsOf(profile: KhoCostProfile): KhoCosts {
  return Object.fromEntries(Object.entries(profile.costs).map(([name, { valueNs }]) => [name, valueNs])) as KhoCosts;
}

/** Threads of a node that initialise descriptors, and how long they took for 384 GiB, ms (S1). */
const INIT_THREADS: readonly (readonly [threads: number, ms: number])[] = [
  [1, 1717.7],
  [6, 359.3],
  [13, 157.0],
  [19, 172.0],
  [26, 173.7],
  [39, 190.0],
];

/**
 * The share of one thread's time that so many threads take to initialise descriptors, between the measured counts on a
 * straight line. Without deferred initialisation (0 threads) the boot CPU does it alone: 1.
 */
export function initShare(threads: number): number {
  if (threads === 0) return 1;
  const next = INIT_THREADS.findIndex(([count]) => count >= threads);
  const [highThreads, highMs] = INIT_THREADS[next < 0 ? INIT_THREADS.length - 1 : next];
  if (next <= 0) return highMs * 1e6 / S1_ONE_THREAD_NS;
  const [lowThreads, lowMs] = INIT_THREADS[next - 1];
  const ms = lowMs + (highMs - lowMs) * (threads - lowThreads) / (highThreads - lowThreads);
  return ms * 1e6 / S1_ONE_THREAD_NS;
}
