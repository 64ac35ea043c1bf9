/** The whole engine: `engine.ts events|tasks PENDING EVENTS`. Everything that runs waits again for the next increment. */
import { Sim, type Task } from "../../sim/core/sim.ts";
import { argument, exponentialIncrements, INCREMENTS, mix, report, timeNs } from "./measure.ts";

const increments = exponentialIncrements();
let drawn = 0;
let checksum = 0;

/** Events that schedule themselves. */
function startEvents(sim: Sim, pending: number): number {
  const kind: number = sim.register("tick", (target) => {
    checksum = mix(checksum, sim.now + target);
    sim.after(increments[drawn++ & (INCREMENTS - 1)], kind, target);
  });
  for (let i = 0; i < pending; i++) sim.at(increments[drawn++ & (INCREMENTS - 1)], kind, i);
  return 0;
}

/** Tasks that wait; each begins with one event of time 0. Returns these events. */
function startTasks(sim: Sim, pending: number): number {
  function* tick(target: number): Task {
    for (;;) {
      yield increments[drawn++ & (INCREMENTS - 1)];
      checksum = mix(checksum, sim.now + target);
    }
  }
  for (let i = 0; i < pending; i++) sim.spawn(tick(i));
  return pending;
}

const start = Deno.args[0] === "tasks" ? startTasks : startEvents;
const pending = argument(1);
const events = argument(2);

const warm = new Sim();
warm.run(Infinity, start(warm, Math.min(pending, 1000)) + 500_000);
drawn = checksum = 0;

const sim = new Sim();
sim.run(Infinity, start(sim, pending) + Math.floor(events / 2));
const spentNs = timeNs(() => sim.run(Infinity, events));
report(checksum, { eventNs: spentNs / events });
