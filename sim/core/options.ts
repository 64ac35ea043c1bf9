/**
 * Options of plug-ins and scenarios: named fields with a default, a unit, a summary and a source, checked by zod.
 *
 * A value has an input form (`"2s"`, as written in a scenario) and a parsed form (2000000000 ns). Defaults are given in input
 * form, so that a scenario with its defaults filled in reads like one that a person wrote.
 */
import { z } from "zod";
import { parseDuration, parseSize } from "../memory/units.ts";

/** One option. */
export interface Field<T = unknown> {
  /**
   * Checks and parses a value.
   *
   * @internal
   */
  readonly schema: z.ZodType<T>;
  /** The default in input form; undefined when the option may be left out. */
  readonly default: unknown;
  /** What it does, one line. */
  readonly summary: string;
  /** Unit of plain numbers, empty when there is none. */
  readonly unit: string;
  /** Where the option or its default comes from. */
  readonly source: string;
}

/** A set of options that parses to `O`. */
export interface Options<O> {
  /** The fields by name. */
  readonly fields: { readonly [name in keyof O]-?: Field<O[name]> };
}

/** Why an input was refused: where, and a sentence without a full stop. */
export interface Problem {
  /** Keys and indices from the outermost on. */
  readonly path: readonly (string | number)[];
  /** What is wrong and what is wanted. */
  readonly message: string;
}

/** Notes on a field. */
export interface FieldNotes {
  /** What it does, one line. */
  readonly summary: string;
  /** Unit of plain numbers. */
  readonly unit?: string;
  /** Where it comes from. */
  readonly source?: string;
}

/** A field of any schema. */
export function field<T>(schema: z.ZodType<T>, value: unknown, notes: FieldNotes): Field<T> {
  return { schema, default: value, unit: notes.unit ?? "", summary: notes.summary, source: notes.source ?? "hintsim" };
}

/** An integer from `min` to `max`. */
export function integer(value: number | undefined, min: number, max: number, notes: FieldNotes): Field<number> {
  return field(z.int().min(min).max(max), value, notes);
}

/** A number from `min` to `max`. */
export function fraction(value: number | undefined, min: number, max: number, notes: FieldNotes): Field<number> {
  return field(z.number().min(min).max(max), value, notes);
}

/** True or false. */
export function flag(value: boolean, notes: FieldNotes): Field<boolean> {
  return field(z.boolean(), value, notes);
}

/** One of some names. */
export function choice<T extends string>(value: T, names: readonly T[], notes: FieldNotes): Field<T> {
  return field(z.enum(names as [T, ...T[]]) as unknown as z.ZodType<T>, value, notes);
}

/** A text. */
export function text(value: string | undefined, notes: FieldNotes): Field<string> {
  return field(z.string().min(1), value, notes);
}

/** A schema whose values are parsed by a function that throws RangeError. */
function parsed(parse: (value: string | number) => number, min: number, max: number): z.ZodType<number> {
  return z.unknown().transform((value, context) => {
    if (value === undefined) {
      context.addIssue({ code: "custom", message: "is missing" });
      return z.NEVER;
    }
    try {
      // A list or a truth value is refused in the words of the parser, too.
      const result = parse(typeof value === "number" ? value : typeof value === "string" ? value : show(value));
      if (result >= min && result <= max) return result;
      context.addIssue({ code: "custom", message: `${show(value)} is not between ${min} and ${max}` });
    } catch (error) {
      context.addIssue({ code: "custom", message: (error as Error).message });
    }
    return z.NEVER;
  });
}

/** A duration such as `250ms`, in ns. */
export function durationSchema(minNs = 0, maxNs: number = Number.MAX_SAFE_INTEGER): z.ZodType<number> {
  return parsed(parseDuration, minNs, maxNs);
}

/** A size such as `4GiB`, in bytes. */
export function sizeSchema(minBytes = 0, maxBytes: number = Number.MAX_SAFE_INTEGER): z.ZodType<number> {
  return parsed(parseSize, minBytes, maxBytes);
}

/** A duration. */
export function duration(value: string | undefined, notes: FieldNotes, minNs = 0): Field<number> {
  return field(durationSchema(minNs), value, { unit: "ns", ...notes });
}

/** A size in bytes. */
export function size(value: string | undefined, minBytes: number, maxBytes: number, notes: FieldNotes): Field<number> {
  return field(sizeSchema(minBytes, maxBytes), value, { unit: "bytes", ...notes });
}

/** A field that may be left out; `undefined` then. */
export function optional<T>(inner: Field<T>): Field<T | undefined> {
  return { ...inner, schema: inner.schema.optional() as z.ZodType<T | undefined>, default: undefined };
}

/** Whether a field takes a list by itself, so that a list is not an axis of a grid. */
export function takesList(inner: Field): boolean {
  const empty = inner.schema.safeParse([]);
  // A list that must not be empty is one, too.
  if (empty.success || empty.error.issues[0].code === "too_small") return true;
  return inner.schema.safeParse([{}]).success;
}

/** The name in `names` nearest to a mistyped one, or undefined when none is near. */
export function suggestion(name: string, names: readonly string[]): string | undefined {
  let best: string | undefined;
  let bestDistance = Math.max(2, Math.floor(name.length / 3)) + 1;
  for (const candidate of names) {
    const distance = editDistance(name.toLowerCase(), candidate.toLowerCase());
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best;
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next[j] = Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1));
    }
    row = next;
  }
  return row[b.length];
}

/** "unknown key" with a suggestion where one is near. */
export function unknownName(what: string, name: string, names: readonly string[]): string {
  const near = suggestion(name, names);
  return `unknown ${what} ${JSON.stringify(name)}` +
    (near === undefined ? `; known are ${names.join(", ")}` : `; did you mean ${near}?`);
}

/** The result of {@link parseOptions}. */
export interface ParsedOptions<O> {
  /** The parsed values. */
  readonly value: O;
  /** The input with its defaults filled in, in the order of the fields. */
  readonly filled: Record<string, unknown>;
}

/** Parses an object against options, filling in defaults. Throws {@link InputError} at the first problem. */
export function parseOptions<O>(
  options: Options<O>,
  input: unknown,
  path: readonly (string | number)[],
  ignored: readonly string[] = [],
): ParsedOptions<O> {
  const given = (input ?? {}) as Record<string, unknown>;
  if (typeof given !== "object" || Array.isArray(given)) {
    throw new InputError(path, `${show(input)} is not a mapping of keys to values`);
  }
  const fields = options.fields as Readonly<Record<string, Field>>;
  const names = [...ignored, ...Object.keys(fields)];
  for (const key of Object.keys(given)) {
    if (!names.includes(key)) throw new InputError([...path, key], unknownName("key", key, names));
  }
  const value: Record<string, unknown> = {};
  const filled: Record<string, unknown> = {};
  for (const [name, one] of Object.entries(fields)) {
    const raw = given[name] === undefined ? one.default : given[name];
    if (raw !== undefined) filled[name] = raw;
    value[name] = parseField(one, raw, [...path, name]);
  }
  return { value: value as O, filled };
}

/** Parses one value. Throws {@link InputError}. */
export function parseField<T>(one: Field<T>, raw: unknown, path: readonly (string | number)[]): T {
  const result = one.schema.safeParse(raw);
  if (result.success) return result.data;
  const issue = deepest(result.error.issues[0]);
  const inner = [...path, ...issue.path.map((key) => typeof key === "symbol" ? String(key) : key)];
  const unclear = issue.code === "invalid_union" || issue.code === "unrecognized_keys";
  const wanted = unclear && one.summary !== "" ? `; wanted is: ${one.summary}` : "";
  if (issue.code === "unrecognized_keys") inner.push(issue.keys[0]);
  throw new InputError(inner, sentence(issue, at(raw, issue.path)) + wanted);
}

type Issue = z.core.$ZodIssue;

/** The most specific issue of a union: the branch that got furthest. */
function deepest(issue: Issue): Issue {
  if (issue.code !== "invalid_union") return issue;
  const branches = issue.errors.map((branch) => branch[0]).filter((branch) => branch !== undefined);
  const inner = branches.find((branch) => branch.path.length > 0) ??
    branches.find((one) => one.code !== "invalid_type");
  if (inner === undefined) return { ...issue, message: "" };
  return deepest({ ...inner, path: [...issue.path, ...inner.path] } as Issue);
}

function at(raw: unknown, path: readonly PropertyKey[]): unknown {
  let value = raw;
  for (const key of path) value = (value as Record<PropertyKey, unknown> | undefined)?.[key];
  return value;
}

/** A value as it is shown in a message, cut when long. */
export function show(value: unknown): string {
  if (value === undefined || value === null) return "nothing";
  const shown = typeof value === "object" || typeof value === "string" ? JSON.stringify(value) : String(value);
  return shown.length > 60 ? `${shown.slice(0, 57)}...` : shown;
}

const TYPE_NAMES: Readonly<Record<string, string>> = {
  int: "a whole number",
  number: "a number",
  string: "a text",
  boolean: "true or false",
  array: "a list",
  object: "a mapping of keys to values",
  record: "a mapping of keys to values",
};

/** What an issue means, with the offending value. */
function sentence(issue: Issue, value: unknown): string {
  if ((value === undefined || value === null) && issue.code !== "custom" && issue.code !== "unrecognized_keys") {
    return "is missing";
  }
  switch (issue.code) {
    case "invalid_type":
      return `${show(value)} is not ${TYPE_NAMES[issue.expected] ?? issue.expected}`;
    case "too_small":
    case "too_big": {
      const limit = issue.code === "too_small" ? issue.minimum : issue.maximum;
      const side = issue.code === "too_small" ? "at least" : "at most";
      const length = Array.isArray(value) || typeof value === "string" ? " long" : "";
      return `${show(value)} is not ${side} ${limit}${length}`;
    }
    case "invalid_value": {
      const names = issue.values.map(String);
      const near = typeof value === "string" ? suggestion(value, names) : undefined;
      const quoted = typeof value === "number" ? "; a name that looks like a number stands in quotes" : "";
      return `${show(value)} is not one of ${names.join(", ")}` +
        (near === undefined ? quoted : `; did you mean ${near}?`);
    }
    case "unrecognized_keys":
      return `unknown key ${issue.keys.map((key) => JSON.stringify(key)).join(", ")}`;
    case "custom":
      return issue.message;
    default:
      return `${show(value)} is not valid here`;
  }
}

/** Input that was refused, with its place in the input. Shown to the user as one sentence, never with a stack. */
export class InputError extends Error implements Problem {
  /** Keys and indices from the outermost on. */
  readonly path: readonly (string | number)[];

  /** A problem at `path`; the message is a sentence without a full stop. */
  constructor(path: readonly (string | number)[], message: string) {
    super(message);
    this.name = "InputError";
    this.path = path;
  }
}

/** What `make` returns; what it refuses with an {@link InputError} is said of the options at `path`. */
export function inOption<T>(path: readonly (string | number)[], make: () => T): T {
  try {
    return make();
  } catch (error) {
    if (error instanceof InputError) throw new InputError([...path, ...error.path], error.message);
    throw error;
  }
}
