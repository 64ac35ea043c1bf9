/**
 * The harness: programs that are compared run as processes, in turn (A B A B), and each measures its own CPU time. A figure is
 * made of the rounds one by one, then its median and its spread are taken, so that a machine that grows slower for a while moves
 * both sides of a ratio.
 */

/** What a program prints as one line of JSON. */
export interface Output {
  /** Depends on all that was computed: equal where two programs did the same. */
  readonly checksum: string;
  /** Figures by name, with the unit last in the name. */
  readonly figures: Readonly<Record<string, number>>;
}

/** One side of a case. */
export interface Program {
  /** Its name in figures. */
  readonly name: string;
  /** The command, or undefined when what it needs is not installed. */
  readonly command: readonly string[] | undefined;
  /** How many of it run at the same time, 1 unless told; the figures are then the largest of all. */
  readonly copies?: number;
}

/** Where a figure should lie. */
export interface Goal {
  /** The least value. */
  readonly atLeast?: number;
  /** The largest value. */
  readonly atMost?: number;
  /** What was hoped for beyond it; shown, not judged. */
  readonly stretch?: number;
}

/** How a figure is made of our value and the other one. */
export type FigureKind = "faster" | "share" | "over" | "value" | "scaling";

/** A line of the table. */
export interface Figure {
  /** What it says. */
  readonly name: string;
  /** Name of the value in the output of the programs. */
  readonly field: string;
  /** The program that is measured. */
  readonly of: string;
  /** The program that it is measured against; none for a plain value. */
  readonly against?: string;
  /**
   * `faster`: against / of. `share`: of / against. `over`: of - against. `value`: of. `scaling`: copies × against / of.
   */
  readonly kind: FigureKind;
  /** The unit of the values. */
  readonly unit: string;
  /** The goal of ../shared/performance.md or of the issue, if it has one. */
  readonly goal?: Goal;
}

/** Programs that are measured in turn, and the figures that are made of them. */
export interface Case {
  /** What is compared. */
  readonly name: string;
  /** The programs, in the order of a round. */
  readonly programs: readonly Program[];
  /** The figures. */
  readonly figures: readonly Figure[];
  /** Whether all programs must print the same checksum. */
  readonly sameChecksum: boolean;
  /** The most rounds, where one takes long and varies little. */
  readonly roundsMax?: number;
}

/** How much is measured: sizes for tests, for a look, and for the record. */
export type Size = "tiny" | "quick" | "full";

/** What a comparison may ask for. */
export interface Setup {
  /** How much is measured. */
  readonly size: Size;
  /** Folder for files that programs read and write. */
  readonly folder: string;
  /** The command of one of our programs in bench/programs. */
  ours(program: string, ...args: (string | number)[]): readonly string[];
  /** The command of a compiled baseline of bench/native, or undefined when it cannot be compiled here. */
  native(source: string, ...args: (string | number)[]): readonly string[] | undefined;
  /** The command of a Python baseline of bench/native, or undefined when Python or the module is missing. */
  python(source: string, module: string, ...args: (string | number)[]): readonly string[] | undefined;
}

/** One file of comparisons. */
export interface Comparison {
  /** Its name for `--only`. */
  readonly key: string;
  /** Its title in the table. */
  readonly title: string;
  /** Writes what its programs read, then gives its cases. */
  cases(setup: Setup): readonly Case[];
}

/** A figure with what was measured. */
export interface Measured {
  /** The figure. */
  readonly figure: Figure;
  /** Median value of the measured program. */
  readonly ours: number;
  /** Median value of the other program, if there is one. */
  readonly other: number | undefined;
  /** Median over the rounds, the least, and the largest. */
  readonly spread: Spread;
  /** Whether the median meets the goal; undefined without one. */
  readonly met: boolean | undefined;
}

/** The result of a case. */
export interface CaseResult {
  /** Its name. */
  readonly name: string;
  /** Every output, by program, round by round. */
  readonly rounds: Readonly<Record<string, readonly Output[]>>;
  /** Its figures. */
  readonly measured: readonly Measured[];
}

/** The middle and the ends of several values. */
export interface Spread {
  /** The middle value; of an even number the mean of the two in the middle. */
  readonly median: number;
  /** The least. */
  readonly low: number;
  /** The largest. */
  readonly high: number;
}

/** Median, least and largest of at least one value. */
export function spreadOf(values: readonly number[]): Spread {
  if (values.length === 0) throw new RangeError("a spread needs at least one value");
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const median = sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  return { median, low: sorted[0], high: sorted[sorted.length - 1] };
}

/** Whether a value meets a goal. */
export function meets(value: number, { atLeast = -Infinity, atMost = Infinity }: Goal): boolean {
  return value >= atLeast && value <= atMost;
}

/** The value of a figure in one round. */
export function combine(kind: FigureKind, ours: number, other: number, copies: number): number {
  switch (kind) {
    case "faster":
      return other / ours;
    case "share":
      return ours / other;
    case "over":
      return ours - other;
    case "value":
      return ours;
    case "scaling":
      return copies * other / ours;
  }
}

/** The figures of the outputs of a case; figures whose programs did not run are left out. Throws Error on a missing field. */
export function evaluate({ figures, programs }: Case, rounds: CaseResult["rounds"]): Measured[] {
  return figures.flatMap((figure) => {
    const { of, against = of, field, kind, goal } = figure;
    if (rounds[of] === undefined || rounds[against] === undefined) return [];
    const values = (name: string) =>
      rounds[name].map((output) => {
        const value = output.figures[field];
        if (value === undefined) throw new Error(`${name} prints no ${field}`);
        return value;
      });
    const ours = values(of);
    const others = values(against);
    const copies = programs.find(({ name }) => name === of)!.copies ?? 1;
    const spread = spreadOf(ours.map((value, round) => combine(kind, value, others[round], copies)));
    return [{
      figure,
      ours: spreadOf(ours).median,
      other: figure.against === undefined ? undefined : spreadOf(others).median,
      spread,
      met: goal === undefined ? undefined : meets(spread.median, goal),
    }];
  });
}

/** No program of the bench takes so long. */
const PROGRAM_MAX_MS = 20 * 60_000;

/** Runs a program once; throws Error with its last words when it fails. */
async function runOnce({ name, command, copies = 1 }: Program): Promise<Output> {
  const [path, ...args] = command!;
  const one = async () => {
    const env = { NO_COLOR: "1" };
    const signal = AbortSignal.timeout(PROGRAM_MAX_MS);
    const { success, stdout, stderr } = await new Deno.Command(path, { args, env, signal, stdin: "null" }).output();
    if (!success) throw new Error(`${name}: ${command!.join(" ")}\n${new TextDecoder().decode(stderr)}`);
    return JSON.parse(new TextDecoder().decode(stdout)) as Output;
  };
  const outputs = await Promise.all(Array.from({ length: copies }, one));
  const [{ checksum, figures }] = outputs;
  if (outputs.some((output) => output.checksum !== checksum)) throw new Error(`${name}: two copies differ`);
  const largest = Object.keys(figures).map((key) => [key, Math.max(...outputs.map((output) => output.figures[key]))]);
  return { checksum, figures: Object.fromEntries(largest) };
}

/** Measures a case in interleaved rounds. Throws Error when a program fails or checksums differ. */
export async function measure(one: Case, rounds: number, progress: (program: string) => void): Promise<CaseResult> {
  const programs = one.programs.filter(({ command }) => command !== undefined);
  const outputs: Record<string, Output[]> = {};
  for (const { name } of programs) outputs[name] = [];
  for (let round = 0; round < Math.min(rounds, one.roundsMax ?? rounds); round++) {
    for (const program of programs) {
      progress(program.name);
      outputs[program.name].push(await runOnce(program));
    }
  }
  requireEqual(one, outputs);
  return { name: one.name, rounds: outputs, measured: evaluate(one, outputs) };
}

/** A program computes the same in every round; where the case says so, all programs compute the same. */
function requireEqual(one: Case, outputs: Readonly<Record<string, readonly Output[]>>): void {
  const checksums = Object.entries(outputs).map(([name, rounds]) => {
    const distinct = new Set(rounds.map(({ checksum }) => checksum));
    if (distinct.size > 1) {
      throw new Error(`${one.name}: ${name} differs from round to round: ${[...distinct].join(", ")}`);
    }
    return `${name} ${rounds[0].checksum}`;
  });
  const distinct = new Set(Object.values(outputs).map(([{ checksum }]) => checksum));
  if (one.sameChecksum && distinct.size > 1) throw new Error(`${one.name}: checksums differ: ${checksums.join(", ")}`);
}
