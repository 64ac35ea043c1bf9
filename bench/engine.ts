/** The whole engine: events that schedule themselves and tasks that wait, against ns-3 and SimPy. */
import type { Comparison, Figure, Setup } from "./harness.ts";
import { exponentialIncrements } from "./programs/measure.ts";

/** The increments for SimPy, which would be long in drawing them. */
function writeIncrements({ folder }: Setup): string {
  const path = `${folder}/increments.bin`;
  Deno.writeFileSync(path, new Uint8Array(exponentialIncrements().buffer));
  return path;
}

const faster = (name: string, of: string, against: string, atLeast?: number): Figure => ({
  name,
  of,
  against,
  field: "eventNs",
  kind: "faster",
  unit: "ns/event",
  ...(atLeast === undefined ? {} : { goal: { atLeast } }),
});

/** Scheduling, the queue, dispatch and the clock together. */
export const engine: Comparison = {
  key: "engine",
  title: "Whole engine",
  cases(setup) {
    const { size, ours, native, python } = setup;
    const events = { tiny: 5_000, quick: 500_000, full: 3_000_000 }[size];
    const sizes = size === "tiny" ? [10] : size === "quick" ? [100, 10_000] : [100, 10_000, 1_000_000];
    const increments = writeIncrements(setup);
    return sizes.map((pending) => ({
      name: `${pending.toLocaleString("en")} pending`,
      sameChecksum: true,
      programs: [
        { name: "events", command: ours("engine.ts", "events", pending, events) },
        { name: "ns-3", command: native("engine_ns3.cpp", pending, events) },
        { name: "tasks", command: ours("engine.ts", "tasks", pending, events) },
        { name: "SimPy", command: python("engine_simpy.py", "simpy", pending, events, increments) },
      ],
      figures: [
        faster("events, faster than ns-3", "events", "ns-3", 4),
        faster("tasks, faster than ns-3 events", "tasks", "ns-3"),
        faster("tasks, faster than SimPy processes", "tasks", "SimPy", 20),
      ],
    }));
  },
};
