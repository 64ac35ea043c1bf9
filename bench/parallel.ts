/** Two independent runs at the same time against one: what replications gain from a second core. */
import type { Comparison } from "./harness.ts";

/** The only comparison in real time; it needs an idle machine. */
export const parallel: Comparison = {
  key: "parallel",
  title: "Two runs at a time",
  cases({ size, ours }) {
    const command = ours("churn.ts", size === "tiny" ? 64 : 4096, size === "tiny" ? 10_000 : 5_000_000);
    return [{
      name: "churn on 4 GiB",
      sameChecksum: true,
      programs: [{ name: "one", command }, { name: "two", command, copies: 2 }],
      figures: [{
        name: "runs in the same time",
        field: "wallMs",
        of: "two",
        against: "one",
        kind: "scaling",
        unit: "ms",
        goal: { atLeast: 1.9 },
      }],
    }];
  },
};
