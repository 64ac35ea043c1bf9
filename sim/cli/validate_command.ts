/** The command `validate`: are published figures reproduced? */
import { unknownName } from "../core/options.ts";
import type { Registries } from "../scenario.ts";
import { MISSING, validate, validations } from "../validate.ts";
import type { ValidationRow } from "../validation/row.ts";
import { DONE, FOUND, type Io, UsageError } from "./io.ts";
import { formatTable } from "./table.ts";

/** What the user asked for. */
export interface ValidateOptions {
  /** Whether the result is printed as JSON. */
  readonly json: boolean;
}

/** Runs the rows that were named, or all: exit status 0 when each is inside of its tolerance, else 1. */
export async function validateCommand(
  io: Io,
  names: readonly string[],
  options: ValidateOptions,
  registries: Registries,
): Promise<number> {
  const known = validations.map(({ name }) => name);
  for (const name of names) {
    if (MISSING.includes(name)) {
      throw new UsageError(`validate ${name}: no model answers it yet; there are ${known.join(", ")}`);
    }
    if (!known.includes(name)) throw new UsageError(`validate: ${unknownName("row", name, known)}`);
  }
  const chosen = names.length === 0 ? validations : validations.filter(({ name }) => names.includes(name));
  const { rows, skipped } = await validate(chosen, { registries, read });
  const ok = rows.every((row) => row.ok);
  if (options.json) {
    io.out(JSON.stringify({ ok, rows, skipped, missing: MISSING }, null, 2) + "\n");
    return ok ? DONE : FOUND;
  }
  io.out(textOf(rows));
  for (const name of skipped) io.err(`${name}: its recording is not there\n`);
  if (names.length === 0) io.out(`\nnot answered yet: ${MISSING.join(", ")}\n`);
  return ok ? DONE : FOUND;
}

/** The project's own files: recordings that are no part of the package. */
function read(path: string): Uint8Array | undefined {
  try {
    return Deno.readFileSync(new URL(`../../${path}`, import.meta.url));
  } catch {
    return undefined;
  }
}

function textOf(rows: readonly ValidationRow[]): string {
  const lines = rows.map((row) => [
    row.name,
    row.quantity,
    amount(row.target, row.unit),
    amount(row.simulated, row.unit),
    deviation(row.error, row),
    row.bound === "above" ? "above" : row.tolerance === 0 ? "exact" : deviation(row.tolerance, row).replace("+", ""),
    row.ok ? "ok" : "OUTSIDE",
    row.profile,
  ]);
  const head = ["row", "figure", "published", "simulated", "off by", "within", "", "costs"];
  const seen = new Set<string>();
  const notes = rows.flatMap(({ name, experiment, inputs, quantity, unit, assumed }) => {
    const what = `${name}: ${experiment}; from ${inputs}\n`;
    const once = seen.has(what) ? [] : [what];
    seen.add(what);
    return [
      ...once,
      ...assumed.map(({ cost, low, high }) =>
        `  assumed ${cost} at 50 and 150 %: ${quantity} ${amount(low, unit)} and ${amount(high, unit)}\n`
      ),
    ];
  });
  return `${formatTable([head, ...lines], true)}\n${notes.join("")}`;
}

function amount(value: number, unit: string): string {
  const shown = Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(4)));
  return `${shown}${unit === "" ? "" : ` ${unit}`}`;
}

/** A share in percent, or points of the unit. */
function deviation(value: number, { absolute, unit }: ValidationRow): string {
  const sign = value > 0 ? "+" : "";
  if (absolute) return `${sign}${Number(value.toFixed(2))}${unit === "%" ? " points" : ` ${unit}`}`.trimEnd();
  return `${sign}${(value * 100).toFixed(1)} %`;
}
