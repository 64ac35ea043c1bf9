/** Memory of whole processes, and the boot of a terabyte. */
import type { Comparison, Figure, Program } from "./harness.ts";

const TIB_MIB = 2 ** 20;

const over = (name: string, of: string, goal?: number): Figure => ({
  name: `${name}, over an empty run`,
  field: "peakMiB",
  of,
  against: "empty",
  kind: "over",
  unit: "MiB",
  ...(goal === undefined ? {} : { goal: { atMost: goal } }),
});

const whole = (name: string, of: string): Figure => ({
  name: `${name}, whole process`,
  field: "peakMiB",
  of,
  kind: "value",
  unit: "MiB",
  goal: { atMost: 1126 },
});

/** The peak of the resident set (VmHWM). */
export const memory: Comparison = {
  key: "memory",
  title: "Memory and boot",
  cases({ size, ours }) {
    const mib = size === "tiny" ? 1024 : TIB_MIB;
    const label = size === "tiny" ? "1 GiB" : "1 TiB";
    const held = (kind: string): Program => ({ name: kind, command: ours("memory.ts", kind, mib) });
    return [
      {
        name: `boot of ${label}`,
        sameChecksum: true,
        programs: [{ name: "boot", command: ours("memory.ts", "boot", mib) }],
        figures: [
          { name: "zones", field: "zonesMs", of: "boot", kind: "value", unit: "ms", goal: { atMost: 10 } },
          { name: "whole machine", field: "machineMs", of: "boot", kind: "value", unit: "ms", goal: { atMost: 10 } },
        ],
      },
      {
        name: `${label} unfragmented`,
        sameChecksum: true,
        programs: ["empty", "zones", "machine", "huge"].map(held),
        figures: [
          over("zones", "zones", 16),
          over("whole machine", "machine", 16),
          over("90 % in use as huge pages", "huge"),
        ],
      },
      {
        name: `${label} fragmented, with judge and residency`,
        sameChecksum: true,
        roundsMax: 1,
        programs: ["random", "checkerboard"].map(held),
        figures: [whole("a random half of all pages free", "random"), whole("every second page free", "checkerboard")],
      },
    ];
  },
};
