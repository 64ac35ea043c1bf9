/** End to end: operations of a second of CPU time through guest, judge, summary and fingerprint. */
import type { Comparison, Figure } from "./harness.ts";

const speed = (name: string, field: string, atLeast?: number): Figure => ({
  name,
  field,
  of: "ours",
  kind: "value",
  unit: "M op/s",
  ...(atLeast === undefined ? {} : { goal: { atLeast } }),
});

/** A recorded kernel, and a generated workload, with policy none. */
export const replay: Comparison = {
  key: "replay",
  title: "End to end",
  cases({ size, folder, ours }) {
    const repeats = { tiny: 1, quick: 12, full: 40 }[size];
    const churnMs = { tiny: 10, quick: 10_000, full: 30_000 }[size];
    return [{
      name: "policy none",
      sameChecksum: true,
      programs: [{ name: "ours", command: ours("replay.ts", folder, repeats, churnMs) }],
      figures: [
        speed("recording b2-mixed, events off", "replayOff", 8),
        speed("recording b2-mixed, csv thrown away", "replayCsv", 4),
        speed("recording b2-mixed, csv to a file", "replayFile", 4),
        speed("churn on 4 GiB, events off", "churnOff"),
        speed("churn on 4 GiB, csv thrown away", "churnCsv"),
      ],
    }, {
      name: "trace verify",
      sameChecksum: true,
      programs: [{ name: "ours", command: ours("verify.ts", repeats) }],
      figures: [{
        name: "recording b2-mixed, with parsing",
        field: "verifyMs",
        of: "ours",
        kind: "value",
        unit: "ms",
        goal: { atMost: 300 },
      }],
    }];
  },
};
