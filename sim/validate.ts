/** Validation: every published figure that a model answers, in one list. */
import { v1 } from "./validation/v1.ts";
import { v15 } from "./validation/v15.ts";
import { v16 } from "./validation/v16.ts";
import { v17 } from "./validation/v17.ts";
import { v18 } from "./validation/v18.ts";
import { v19 } from "./validation/v19.ts";
import { v2 } from "./validation/v2.ts";
import { v20 } from "./validation/v20.ts";
import type { Validation, ValidationContext, ValidationRow } from "./validation/row.ts";

/** All validations, in the order of the list of published figures. */
export const validations: readonly Validation[] = [v1, v2, v15, v16, v17, v18, v19, v20];

/** How many rows the list of published figures has: V1 to V20. */
const ROWS = 20;

/** Rows of the list that no model answers yet. */
export const MISSING: readonly string[] = Array.from({ length: ROWS }, (_, index) => `V${index + 1}`)
  .filter((name) => validations.every((one) => one.name !== name));

/** What a validation came to. */
export interface ValidationResult {
  /** The figures. */
  readonly rows: readonly ValidationRow[];
  /** Rows whose inputs are not there. */
  readonly skipped: readonly string[];
}

/** Runs these validations, one after the other. */
export async function validate(
  chosen: readonly Validation[],
  context: ValidationContext,
): Promise<ValidationResult> {
  const rows: ValidationRow[] = [];
  const skipped: string[] = [];
  for (const validation of chosen) {
    const found = await validation.run(context);
    if (found === undefined) skipped.push(validation.name);
    else rows.push(...found);
  }
  return { rows, skipped };
}
