/**
 * Cost profiles: what each step takes on a measured machine, in ns.
 *
 * Every cost has a value, its source, the range in which it is believed, and a role: `measured` (read from a publication),
 * `derived` (arithmetic on measured values), or `assumed` (a plausible value nobody published for this machine). Costs of
 * two machines are never mixed silently: a value taken from another machine is `assumed` and says so.
 */

/** Where a value comes from. */
export type CostRole = "measured" | "derived" | "assumed";

/** One cost. */
export interface Cost {
  /** The value in ns. */
  readonly valueNs: number;
  /** Believed range in ns, low to high. */
  readonly range: readonly [number, number];
  /** How the value was obtained. */
  readonly role: CostRole;
  /** Where it was read, or how it was computed. */
  readonly source: string;
}

/** The costs a profile must give; each name says what is charged and per what. All in ns. */
export interface CostTable {
  /** Guest: taking one block from the buddy lists. */
  readonly allocNs: Cost;
  /** Guest: giving one block back to the buddy lists. */
  readonly freeNs: Cost;
  /** Guest: visiting one node of a free list under the zone lock. */
  readonly visitNs: Cost;
  /** Guest: taking one free block off its list for the driver. */
  readonly isolateNs: Cost;
  /** Guest: putting one isolated block back. */
  readonly putBackNs: Cost;
  /** Guest: one comparison while ranges are merged or sorted. */
  readonly compareNs: Cost;
  /** Guest: composing one record of a message. */
  readonly encodeRecordNs: Cost;
  /** Guest: one 64-bit word of payload. */
  readonly encodeWordNs: Cost;
  /** Guest: one 64-byte cache line of payload. */
  readonly encodeLineNs: Cost;
  /** Guest: starting a pass of a policy (waking its worker, getting its buffer). */
  readonly passNs: Cost;
  /** Guest: dropping one clean 4 KiB page of the page cache or of slab, without freeing it. */
  readonly reclaimPageNs: Cost;
  /** Guest: moving one 4 KiB page in compaction or into a huge page, without faults of the host and without freeing. */
  readonly compactionPageNs: Cost;
  /** Guest: looking at one page, or at one free block, in a scanner of compaction or khugepaged. */
  readonly scanPageNs: Cost;
  /** Transport: the guest's store that notifies the device, without the exit. */
  readonly kickNs: Cost;
  /** Transport: one exit to the host and back. */
  readonly exitNs: Cost;
  /** Transport: one access to the device's configuration space, which the VMM itself handles. */
  readonly configNs: Cost;
  /** Transport: from the notification until the host thread runs. */
  readonly hostWakeNs: Cost;
  /** Transport: delivering an interrupt. */
  readonly interruptNs: Cost;
  /** Transport: from the interrupt until the waiting guest task runs. */
  readonly guestWakeNs: Cost;
  /** Host: fixed work per message. */
  readonly messageNs: Cost;
  /** Host: translating one range that it read. */
  readonly recordNs: Cost;
  /** Host: reading one 64-bit word of payload. */
  readonly decodeWordNs: Cost;
  /** Host: reading one 64-byte cache line of payload that the guest wrote. */
  readonly decodeLineNs: Cost;
  /** Host: one discard call, nothing mapped. */
  readonly discardNs: Cost;
  /** Host: unmapping one 4 KiB page in a discard. */
  readonly unmap4kNs: Cost;
  /** Host: unmapping one whole 2 MiB page in a discard. */
  readonly unmap2mNs: Cost;
  /** Host: splitting a 2 MiB mapping because a discard covers part of it. */
  readonly splitNs: Cost;
  /** Host: taking one range out of the migration's bitmap. */
  readonly skipNs: Cost;
  /** Host: giving one range back to the guest. */
  readonly giveBackNs: Cost;
  /** A guest access to a page that the host does not back: one 4 KiB page. */
  readonly fault4kNs: Cost;
  /** The same, when the host backs the whole aligned 2 MiB. */
  readonly fault2mNs: Cost;
}

/** A named set of costs. */
export interface CostProfile {
  /** Name in scenarios, the machine and its year. */
  readonly name: string;
  /** One sentence on the machine. */
  readonly summary: string;
  /** The costs. */
  readonly costs: CostTable;
}

const cost = (valueNs: number, low: number, high: number, role: CostRole, source: string): Cost => ({
  valueNs,
  range: [low, high],
  role,
  source,
});

/** Costs nobody published for these machines; the same plausible values serve both profiles. */
const ASSUMED = {
  visitNs: cost(20, 2, 164, "assumed", "walk over 64-byte page descriptors: cached 2 ns, one miss a node 164 ns"),
  isolateNs: cost(38, 30, 60, "assumed", "zone-lock hold of an allocation, 37.5 ns on Xeon Gold 5320 (llfree-bench)"),
  putBackNs: cost(45, 40, 60, "assumed", "zone-lock hold of a free, 43-48 ns on Xeon Gold 5320 (llfree-bench)"),
  compareNs: cost(5, 1, 20, "assumed", "one compare of two records in cache"),
  encodeRecordNs: cost(4, 1, 20, "assumed", "a shift, an or and a store per record"),
  encodeWordNs: cost(1, 0, 2, "assumed", "one 64-bit store"),
  encodeLineNs: cost(5, 1, 80, "assumed", "write-allocate of one cache line, partly prefetched"),
  passNs: cost(2000, 500, 10000, "assumed", "a delayed work item starts on a running CPU"),
  reclaimPageNs: cost(
    400,
    150,
    2000,
    "assumed",
    "isolation, xarray deletion and a share of a batch; kswapd on one core drops 1-6 million clean pages a second",
  ),
  compactionPageNs: cost(
    2000,
    800,
    13000,
    "assumed",
    "isolation, reverse map, copy of 4 KiB (300-500 ns) and a share of a TLB flush; 13 us when each page flushes alone",
  ),
  scanPageNs: cost(5, 1, 164, "assumed", "ascending walk over 64-byte page descriptors, prefetched; one miss 164 ns"),
  kickNs: cost(0, 0, 200, "assumed", "the store itself; its exit is charged as exit"),
  exitNs: cost(
    1200,
    500,
    5000,
    "assumed",
    "exit handled in the kernel; 1000-1600 cycles bare (kvm-unit-tests), plus eventfd",
  ),
  configNs: cost(5000, 2000, 20000, "assumed", "exit to userspace: the register file, the big lock, and back"),
  hostWakeNs: cost(10000, 5000, 50000, "assumed", "wake-up of the main loop thread"),
  interruptNs: cost(1200, 500, 5000, "assumed", "MSI-X through irqfd, without posted interrupts"),
  guestWakeNs: cost(10000, 5000, 50000, "assumed", "wake-up of the waiting task, with HLT exit"),
  decodeWordNs: cost(1, 0, 2, "assumed", "one 64-bit load"),
  decodeLineNs: cost(5, 1, 80, "assumed", "one cache line from another core, partly prefetched"),
  skipNs: cost(300, 100, 1000, "assumed", "clearing a run of bits under the bitmap mutex"),
  giveBackNs: cost(300, 100, 2000, "assumed", "bookkeeping of one range"),
};

const e5: CostProfile = {
  name: "e5-2016",
  summary: "Xeon E5, QEMU and guest kernels of 2016 (Liang Li's and Wei Wang's measurements of the virtio balloon)",
  costs: {
    ...ASSUMED,
    configNs: cost(0, 0, 5000, "derived", "the two accesses of a balloon message are part of its 393 us round trip"),
    allocNs: cost(146, 90, 150, "derived", "6.5 % of 4126 ms over 7 GiB of pages (v3 4/7, 21 Oct 2016)"),
    freeNs: cost(90, 80, 120, "assumed", "order-0 free, 90 ns on Xeon Gold 5320 (llfree-bench)"),
    messageNs: cost(
      370600,
      300000,
      650000,
      "derived",
      "393 us round trip, two config accesses included, less the four assumed latencies",
    ),
    recordNs: cost(137, 100, 200, "derived", "address translation, 6.1 % of 4126 ms per pfn (v3 4/7)"),
    discardNs: cost(427, 300, 500, "derived", "madvise of a 4 KiB page, mostly unbacked, 19 % of 4126 ms (v3 4/7)"),
    unmap4kNs: cost(1918, 1900, 2000, "assumed", "touched less untouched page on Xeon Gold 6252 (HyperAlloc)"),
    unmap2mNs: cost(8393, 6100, 9000, "assumed", "touched less untouched block on Xeon Gold 6252 (HyperAlloc)"),
    splitNs: cost(2000, 500, 5000, "assumed", "one page-table page filled, one TLB flush"),
    fault4kNs: cost(3544, 3000, 4000, "assumed", "refault of a ballooned page on Xeon Gold 6252 (HyperAlloc)"),
    fault2mNs: cost(339909, 300000, 400000, "assumed", "refault of 2 MiB on Xeon Gold 6252 (HyperAlloc)"),
  },
};

const xeon6252: CostProfile = {
  name: "xeon6252-2024",
  summary: "2 x Xeon Gold 6252, Linux 6.1, QEMU 8.2 (HyperAlloc artifact, hyperalloc-bench a385a2d)",
  costs: {
    ...ASSUMED,
    allocNs: cost(94, 90, 150, "assumed", "order-0 allocation on Xeon Gold 5320 (llfree-bench)"),
    freeNs: cost(90, 80, 120, "assumed", "order-0 free on Xeon Gold 5320 (llfree-bench)"),
    messageNs: cost(5000, 2000, 20000, "assumed", "popping an element and notifying, without config-space accesses"),
    recordNs: cost(137, 100, 200, "assumed", "address translation per record, e5-2016"),
    discardNs: cost(
      1563,
      1363,
      1863,
      "derived",
      "unmapped 4 KiB call, 1.7 us with QEMU's lookup, less the lookup (HyperAlloc)",
    ),
    unmap4kNs: cost(1918, 1900, 2000, "derived", "4.45 - 2.54 us a page, touched less untouched (HyperAlloc)"),
    unmap2mNs: cost(8393, 6100, 9000, "derived", "15,938 - 7,545 ns a block, touched less untouched (HyperAlloc)"),
    splitNs: cost(2000, 500, 5000, "assumed", "one page-table page filled, one TLB flush"),
    fault4kNs: cost(3544, 3000, 4000, "derived", "(19.578 - 1.926 s) / 19 GiB (HyperAlloc)"),
    fault2mNs: cost(339909, 300000, 400000, "derived", "(4.4234 - 1.1168 s) / 9728 blocks (HyperAlloc)"),
  },
};

/** All cost profiles. */
export const costProfiles: readonly CostProfile[] = [e5, xeon6252];

/** The profile's values alone, by name, in ns. */
export type Costs = { readonly [name in keyof CostTable]: number };

/** Costs that are multiplied by counts; only these may be fractions of a ns. */
const PER_UNIT = /^(visit|isolate|putBack|compare|encodeRecord|encodeWord|encodeLine|record|decodeWord|decodeLine)Ns$/;

/** The values of a profile. Throws RangeError when a cost that stands for a time by itself is not a whole number. */
export function costsOf(profile: CostProfile): Costs {
  for (const [name, { valueNs }] of Object.entries(profile.costs)) {
    if (!PER_UNIT.test(name) && !Number.isInteger(valueNs)) {
      throw new RangeError(`${name} is not a whole number: ${valueNs}`);
    }
  }
  return Object.fromEntries(Object.entries(profile.costs).map(([name, { valueNs }]) => [name, valueNs])) as Costs;
}
