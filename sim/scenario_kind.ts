/** A scenario that is meant for another command is refused with the name of that command. */
import { InputError } from "./core/options.ts";

/** Commands that have a section of their own in a scenario, named as they are. */
const SECTIONS = ["kho", "memslots"] as const;

/** Sections that only a simulation has. */
const SIMULATION = ["machine", "workload", "policy", "guests"];

/**
 * Refuses a scenario without the section of this command (`run` has none) where it has what another command is for. Throws
 * {@link InputError} at what tells them apart.
 */
export function refuseOtherKind(input: Readonly<Record<string, unknown>>, own: typeof SECTIONS[number] | "run"): void {
  if (own in input) return;
  const other = SECTIONS.find((section) => section in input);
  const key = other ?? (own === "run" ? undefined : SIMULATION.find((section) => section in input));
  if (key === undefined) return;
  throw new InputError([key], `this is a scenario of another command; run it with sim ${other ?? "run"}`);
}
