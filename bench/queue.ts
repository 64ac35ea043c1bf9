/** The list of pending events: HOLD against std::priority_queue and against the reference heap. */
import type { Comparison, Goal } from "./harness.ts";

const GOALS: Readonly<Record<number, Goal>> = {
  100: { atLeast: 1.7 },
  10_000: { atLeast: 2.8 },
  1_000_000: { atLeast: 1.4, stretch: 2.0 },
};

/** HOLD: the earliest event leaves and comes back at an exponential time after. */
export const queue: Comparison = {
  key: "queue",
  title: "Event queue, HOLD",
  cases({ size, ours, native }) {
    const holds = { tiny: 20_000, quick: 2_000_000, full: 10_000_000 }[size];
    const sizes = size === "tiny" ? [100] : [100, 10_000, 1_000_000];
    return sizes.map((pending) => ({
      name: `${pending.toLocaleString("en")} pending`,
      sameChecksum: true,
      programs: [
        { name: "queue", command: ours("queue.ts", "ladder", pending, holds) },
        { name: "priority_queue", command: native("queue.cpp", pending, holds) },
        { name: "heap", command: ours("queue.ts", "heap", pending, holds) },
      ],
      figures: [
        {
          name: "faster than std::priority_queue",
          field: "holdNs",
          of: "queue",
          against: "priority_queue",
          kind: "faster",
          unit: "ns/event",
          goal: GOALS[pending],
        },
        {
          name: "faster than our reference heap",
          field: "holdNs",
          of: "queue",
          against: "heap",
          kind: "faster",
          unit: "ns/event",
        },
      ],
    }));
  },
};
