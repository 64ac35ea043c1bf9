/** Rows of a validation: what was published, and what the models say. */
import type { Registries } from "../scenario.ts";

/** What an assumed cost does to a row when it is half as large, and half as large again. */
export interface AssumedRange {
  /** The cost. */
  readonly cost: string;
  /** The simulated value with it at 50 %. */
  readonly low: number;
  /** The simulated value with it at 150 %. */
  readonly high: number;
}

/** One figure. */
export interface ValidationRow {
  /** Row of the list of published figures, `V16`. */
  readonly name: string;
  /** The experiment. */
  readonly experiment: string;
  /** Cost profile, or the machine. */
  readonly profile: string;
  /** What went in; none of it is a target. */
  readonly inputs: string;
  /** The figure. */
  readonly quantity: string;
  /** Unit of target and simulated value. */
  readonly unit: string;
  /** What was published. */
  readonly target: number;
  /** What the models say. */
  readonly simulated: number;
  /** How far that is off: a share of the target, or in the unit where {@link absolute}. */
  readonly error: number;
  /** How far it may be off; 0 is exact. */
  readonly tolerance: number;
  /** Whether error and tolerance are in the unit. */
  readonly absolute: boolean;
  /** Whether the target is a figure, or what the value has to be above. */
  readonly bound: "within" | "above";
  /** Whether the error, also with every assumed cost at 50 % and 150 %, is inside of the tolerance. */
  readonly ok: boolean;
  /** Assumed costs that enter the row. */
  readonly assumed: readonly AssumedRange[];
}

/** What validations may use. */
export interface ValidationContext {
  /** Policies and workloads. */
  readonly registries: Registries;
  /** Reads a file of the project, by its path from the top; undefined when it is not there. */
  read(path: string): Uint8Array | undefined;
}

/** A row of the list of published figures. */
export interface Validation {
  /** `V16`. */
  readonly name: string;
  /** The experiment. */
  readonly experiment: string;
  /** Computes its figures; undefined when an input is not there. */
  run(context: ValidationContext): Promise<readonly ValidationRow[] | undefined>;
}

/** A figure before it is judged. */
export interface Figures
  extends Omit<ValidationRow, "name" | "experiment" | "error" | "ok" | "absolute" | "bound" | "assumed"> {
  /** Whether the target is a bound from below; a figure unless told. */
  readonly bound?: "within" | "above";
  /** Whether the tolerance is in the unit; a share of the target unless told. */
  readonly absolute?: boolean;
  /** Assumed costs that enter the figure. */
  readonly assumed?: readonly AssumedRange[];
}

/** Judges a figure. */
export function judged({ name, experiment }: Validation, figures: Figures): ValidationRow {
  const { target, simulated, tolerance, absolute = false, bound = "within", assumed = [] } = figures;
  const errorOf = (value: number) => absolute ? value - target : value / target - 1;
  const values = [simulated, ...assumed.flatMap(({ low, high }) => [low, high])];
  const ok = values.every((value) => bound === "above" ? value > target : Math.abs(errorOf(value)) <= tolerance);
  return { name, experiment, ...figures, absolute, bound, assumed, error: errorOf(simulated), ok };
}
