/**
 * How the cost of an operation grows with the guest, and the cost of a row with the length of the run. Churn writes about a row
 * for an operation.
 */
import type { Comparison, Figure, Program } from "./harness.ts";

const GIB_MIB = 1024;

/** The same churn on a larger guest, whole simulator. */
export const sizes: Comparison = {
  key: "sizes",
  title: "Larger guests and longer runs",
  cases({ size, ours }) {
    const operations = size === "full" ? 4_000_000 : 1_000_000;
    const churn = (name: string, gib: number, count: number): Program => ({
      name,
      command: ours("churn.ts", gib * GIB_MIB, count),
    });
    const guests = [16, 64, 1024];
    const label = (gib: number) => gib === 1024 ? "1 TiB" : `${gib} GiB`;
    const goal = (gib: number) => ({ atMost: gib === 1024 ? 3 : 1.5 });
    const lengths = size === "full" ? [10, 100] : [10];
    return [
      {
        name: "cost of an operation",
        sameChecksum: false,
        programs: [1, ...guests].map((gib) => churn(label(gib), gib, operations)),
        figures: guests.map((gib): Figure => ({
          name: `${label(gib)}, of 1 GiB`,
          field: "operationNs",
          of: label(gib),
          against: "1 GiB",
          kind: "share",
          unit: "ns/op",
          goal: goal(gib),
        })),
      },
      {
        name: "a guest as Linux has it",
        sameChecksum: false,
        programs: [
          churn("plain", 4, operations),
          { name: "linux", command: ours("churn.ts", 4 * GIB_MIB, operations, "linux") },
        ],
        figures: [{
          name: "per-CPU lists, zones and fallback, of none",
          field: "operationNs",
          of: "linux",
          against: "plain",
          kind: "share",
          unit: "ns/op",
          goal: { atMost: 1.5 },
        }],
      },
      {
        name: "cost of a row",
        sameChecksum: false,
        roundsMax: 3,
        programs: [1, ...lengths].map((millions) => churn(`${millions} M`, 1, millions * 1e6)),
        figures: lengths.map((millions): Figure => ({
          name: `run of about ${millions} M rows, of 1 M`,
          field: "rowNs",
          of: `${millions} M`,
          against: "1 M",
          kind: "share",
          unit: "ns/row",
          goal: { atMost: 1.2 },
        })),
      },
    ];
  },
};
