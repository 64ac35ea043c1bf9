/**
 * The rehearsal of a run: the same scenario, in which the guests that want to know the future tell their host nothing. Other
 * guests do as they will; the host has memory for all.
 */
import type { Future } from "./guest/future.ts";
import { FutureRecorder } from "./guest/future_recorder.ts";
import { policyPlugin } from "./guest/plugin.ts";
import { Machine, type MachineParts } from "./machine.ts";
import type { GuestSpec } from "./scenario.ts";

const recorder = policyPlugin({
  name: "rehearsal",
  summary: "writes down which pages are free from when to when",
  source: "hintsim",
  options: { fields: {} },
  create: (context) => new FutureRecorder(context),
});

/** The future of each guest of a run, by its index. The rehearsal takes place when it is asked for the first time. */
export function rehearsal(parts: MachineParts): (guest: number) => Future {
  let machine: Machine | undefined;
  return (guest) => {
    machine ??= rehearse(parts);
    return (machine.guests[guest].policy as FutureRecorder).future();
  };
}

function rehearse({ scenario, rep, file, eventsMax = Infinity }: MachineParts): Machine {
  const quiet = (spec: GuestSpec): GuestSpec =>
    spec.policy.plugin.needs.includes("future") ? { ...spec, policy: { plugin: recorder, options: {} } } : spec;
  const guests = scenario.guests.map(quiet);
  const host = { ...scenario.host, memory: Infinity };
  const machine = new Machine({ scenario: { ...scenario, guests, host }, rep, file, eventsMax });
  machine.runToEnd();
  return machine;
}
