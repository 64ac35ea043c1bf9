/** The page allocator against Linux's lists in C and against its own layout in C. */
import type { Comparison, Figure, Goal } from "./harness.ts";

const DESCRIPTORS = "descriptors";
const DEQUES = "deques";

const share = (what: string, field: string, unit: string, against: string, goal?: Goal): Figure => ({
  name: `${what}, of C with ${against === DESCRIPTORS ? "64-byte descriptors" : "the same layout"}`,
  field,
  of: "ours",
  against,
  kind: "share",
  unit,
  ...(goal === undefined ? {} : { goal }),
});

/** Churn, a walk over all lists, and draining. */
export const alloc: Comparison = {
  key: "alloc",
  title: "Page allocator",
  cases({ size, ours, native }) {
    const operations = { tiny: 100_000, quick: 4_000_000, full: 16_000_000 }[size];
    const zones = size === "tiny" ? [{ gib: 1 / 16, log2: 14 }] : [{ gib: 1, log2: 18 }, { gib: 16, log2: 22 }];
    return zones.map(({ gib, log2 }) => ({
      name: `${gib} GiB`,
      sameChecksum: true,
      programs: [
        { name: "ours", command: ours("alloc.ts", log2, operations) },
        { name: DESCRIPTORS, command: native("buddy_descriptors.c", log2, operations) },
        { name: DEQUES, command: native("buddy_deques.c", log2, operations) },
      ],
      figures: [
        share("churn", "churnNs", "ns/op", DESCRIPTORS, gib > 1 ? { atMost: 0.4, stretch: 0.3 } : { atMost: 0.25 }),
        share("churn", "churnNs", "ns/op", DEQUES),
        share("drain with merges", "drainNs", "ns/page", DESCRIPTORS, { atMost: 1.5 }),
        share("drain with merges", "drainNs", "ns/page", DEQUES),
        share("walk of all lists", "walkNs", "ns/block", DESCRIPTORS),
        share("walk of all lists", "walkNs", "ns/block", DEQUES),
      ],
    }));
  },
};
