/** The command line: what may be said, and which command does it. */
import { Command, CommanderError, InvalidArgumentError, Option } from "@commander-js/extra-typings";
import { InputError } from "../core/options.ts";
import { parseSetting, parseSettingOf, type Setting } from "../grid.ts";
import type { Registries } from "../scenario.ts";
import { type EventFormat, eventFormats } from "../scenario_options.ts";
import { VERSION } from "../version.ts";
import { checkCommand } from "./check_command.ts";
import { DONE, type Io, UsageError, WRONG } from "./io.ts";
import { khoCommand } from "./kho_command.ts";
import { listCommand, LISTS } from "./list_command.ts";
import { memslotsCommand } from "./memslots_command.ts";
import { openScenario } from "./open_scenario.ts";
import { dryRun, printDefaults } from "./preview.ts";
import { runCommand } from "./run_command.ts";
import { addTraceTools } from "./trace_tools.ts";
import { validateCommand } from "./validate_command.ts";
import { verifyCommand } from "./verify_command.ts";

const COMMANDS = ["run", "list", "check", "trace", "memslots", "validate", "kho", "help"];

/** Runs the command line. Returns the exit status; problems of the user are one sentence on standard error. */
export async function runProgram(args: readonly string[], io: Io, registries: Registries): Promise<number> {
  const state: { status: number } = { status: DONE };
  const program = buildProgram(args, io, registries, state);
  try {
    // What is not a command is a scenario or a recording to run.
    const words = args.length === 0
      ? ["--help"]
      : COMMANDS.includes(args[0]) || /^(-h|--help|-V|--version)$/.test(args[0])
      ? args
      : ["run", ...args];
    await program.parseAsync(words, { from: "user" });
    return state.status;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? DONE : WRONG;
    if (error instanceof UsageError) {
      io.err(`${error.message}\n`);
      return WRONG;
    }
    throw error;
  }
}

function buildProgram(args: readonly string[], io: Io, registries: Registries, state: { status: number }) {
  const program = new Command("sim")
    .description("Simulates how virtual machines give free memory back to their host.")
    .version(VERSION)
    .usage("<scenario.yaml | recording> [options]\n       sim <command> [options]");
  const output = {
    writeOut: (text: string) => io.out(text),
    writeErr: (text: string) => io.err(oneSentence(text)),
  };
  program.exitOverride().configureOutput(output);
  addRun(program, args, io, registries, state);
  addOthers(program, io, registries, state);
  addKho(program, args, io, registries, state);
  addMemslots(program, args, io, registries, state);
  addValidate(program, io, registries, state);
  const trace = program.command("trace").description("works with recordings of a kernel's page allocator");
  addVerify(trace, io, registries, state);
  addTraceTools(trace, args, io, state);
  for (const command of [...program.commands, ...trace.commands]) command.exitOverride().configureOutput(output);
  return program;
}

/** Commander's messages may span lines; the user gets one sentence. */
function oneSentence(text: string): string {
  return `${text.trim().replace(/^error: /, "").replace(/\s*\n\s*/g, " ")}\n`;
}

function addRun(
  program: Command,
  args: readonly string[],
  io: Io,
  registries: Registries,
  state: { status: number },
): void {
  const settings: Setting[] = [];
  // The callbacks run in the order of the command line: that is the order of the axes.
  const set = (key: string, origin: string) => (text: string) => {
    const parsed = settingOf(`${key}=${text}`, registries);
    settings.push({ ...parsed, origin });
    return text;
  };
  program.command("run", { isDefault: false })
    .description("runs a scenario, or replays a recording, and writes the result to out/<name>")
    .argument("<scenario>", "a scenario (YAML) or a recording (.csv, .csv.gz)")
    .option("--policy <a,b>", "policies, several are an axis", set("policy.kind", "--policy"))
    .option("--encoding <a,b>", "encodings, several are an axis", set("encoding.kind", "--encoding"))
    .option("--set <key=value,...>", "a setting, several values are an axis; repeatable", (text: string) => {
      settings.push(settingOf(text, registries));
      return text;
    })
    .option("--seed <n>", "seed of all random streams", set("seed", "--seed"))
    .option("--reps <n>", "replications with streams of their own", positive, 1)
    .option("--until <time>", "when the run ends, such as 60s", set("until", "--until"))
    .option("--out <dir>", "folder of the result (default out/<name>)")
    .option(
      "--events <formats>",
      "none, csv or csv.zst, several with a comma (default: csv for a single run up to 5 million rows)",
      formats,
    )
    .option("--events-max <n>", "the most events of a run", upToLimit, 1e9)
    .option("--sample <time>", "time between samples", set("output.sample", "--sample"))
    .option("--check", "run the invariant checkers; violations give exit status 1", false)
    .option("--jobs <n>", "workers; runs are sequential so far, the result is the same", positive, 1)
    .option("--json", "print the result as JSON and nothing else", false)
    .option("--quiet", "print the table and problems only", false)
    .option("--continue", "keep the finished runs of an interrupted grid", false)
    .option("--dry-run", "show the runs and their size, run nothing", false)
    .option("--print-defaults", "print the scenario with all defaults, run nothing", false)
    .action(async (scenario, options) => {
      const { reps } = options;
      if (options.dryRun || options.printDefaults) {
        const loaded = await openScenario(io, scenario, { settings, reps }, registries);
        if (!options.quiet) loaded.notices.forEach((notice) => io.err(`${notice}\n`));
        state.status = options.dryRun ? dryRun(io, loaded) : printDefaults(io, loaded);
        return;
      }
      state.status = await runCommand(io, scenario, {
        settings,
        reps,
        out: options.out,
        events: options.events,
        eventsMax: options.eventsMax,
        check: options.check,
        json: options.json,
        quiet: options.quiet,
        goOn: options.continue,
        command: args,
      }, registries);
    });
}

function addOthers(program: Command, io: Io, registries: Registries, state: { status: number }): void {
  program.command("list")
    .description("lists what a scenario may name, with options, defaults and sources")
    .argument("[what]", LISTS.join(", "))
    .option("--json", "print as JSON", false)
    .action((what, { json }) => {
      state.status = listCommand(io, what, json, registries);
    });
  program.command("check")
    .description("validates a scenario or a recording, runs nothing")
    .argument("<file>", "a scenario or a recording")
    .action(async (file) => {
      state.status = await checkCommand(io, file, registries);
    });
}

function addMemslots(
  program: Command,
  args: readonly string[],
  io: Io,
  registries: Registries,
  state: { status: number },
): void {
  const settings: Setting[] = [];
  const own = labOptions(settings);
  program.command("memslots")
    .description("compares tables of KVM memory slots: lookups, updates, bytes; writes the result to out/<name>")
    .argument("<scenario>", "a scenario with memslots (YAML)")
    .addOption(own.set)
    .addOption(own.seed)
    .option("--out <dir>", "folder of the result (default out/<name>)")
    .option("--explain", "print the sums that the bytes are", false)
    .option("--json", "print the result as JSON and nothing else", false)
    .addOption(own.dryRun)
    .addOption(own.printDefaults)
    .action(async (scenario, { out, explain, json, dryRun, printDefaults }) => {
      const preview = dryRun ? "runs" : printDefaults ? "defaults" : undefined;
      const options = { out, explain, json, settings, preview, command: args } as const;
      state.status = await memslotsCommand(io, scenario, options, registries);
    });
}

function addValidate(program: Command, io: Io, registries: Registries, state: { status: number }): void {
  program.command("validate")
    .description("compares the models with published figures; one outside of its tolerance gives exit status 1")
    .argument("[rows...]", "rows of the list, such as V16 (default: all that a model answers)")
    .option("--json", "print the result as JSON and nothing else", false)
    .action(async (rows, { json }) => {
      state.status = await validateCommand(io, rows, { json }, registries);
    });
}

function addKho(
  program: Command,
  args: readonly string[],
  io: Io,
  registries: Registries,
  state: { status: number },
): void {
  const settings: Setting[] = [];
  const own = labOptions(settings);
  program.command("kho")
    .description("compares how a kernel remembers and restores what it preserves over kexec; writes to out/<name>")
    .argument("<scenario>", "a scenario with kho (YAML)")
    .addOption(own.set)
    .addOption(own.seed)
    .option("--out <dir>", "folder of the result (default out/<name>)")
    .addOption(
      new Option("--events <format>", "rows of the trace").choices(["none", "csv"] as const).default("none" as const),
    )
    .option("--explain", "print the sums that the bytes are", false)
    .option("--json", "print the result as JSON and nothing else", false)
    .option("--quiet", "print the tables and problems only", false)
    .addOption(own.dryRun)
    .addOption(own.printDefaults)
    .action((scenario, { out, events, explain, json, quiet, dryRun, printDefaults }) => {
      const preview = dryRun ? "runs" : printDefaults ? "defaults" : undefined;
      const options = { out, events, explain, json, quiet, settings, preview, command: args } as const;
      state.status = khoCommand(io, scenario, options, registries);
    });
}

/** Options of the laboratories that are those of `run`; what is set goes to `settings`. */
function labOptions(settings: Setting[]) {
  const set = (text: string) => {
    settings.push(refused(() => parseSettingOf(text, () => undefined)));
    return text;
  };
  const seed = (text: string) => {
    settings.push({ ...refused(() => parseSettingOf(`seed=${text}`, () => undefined)), origin: "--seed" });
    return text;
  };
  return {
    set: new Option("--set <key=value,...>", "a setting, several values are an axis; repeatable").argParser(set),
    seed: new Option("--seed <n>", "seed of all random streams").argParser(seed),
    dryRun: new Option("--dry-run", "show the runs, run nothing").default(false as boolean),
    printDefaults: new Option("--print-defaults", "print the scenario with all defaults, run nothing")
      .default(false as boolean),
  };
}

function addVerify(trace: Command, io: Io, registries: Registries, state: { status: number }): void {
  trace.command("verify")
    .description("replays a recording and compares every page and every free list with the kernel's")
    .argument("<file>", "the recording")
    .option("--snapshots <file>", "its snapshots (default: those beside it)")
    .option("--level <level>", "what drives: buddy, pcp or reporting", "buddy")
    .option("--kernel <version>", "6.1 or 6.12 (default: what the snapshots say)")
    .option("--json", "print as JSON", false)
    .action(async (file, { snapshots, level, kernel, json }) => {
      state.status = await verifyCommand(io, file, { snapshots, level, kernel, json }, registries);
    });
}

function settingOf(text: string, registries: Registries): Setting {
  return refused(() => parseSetting(text, registries));
}

function refused<T>(act: () => T): T {
  try {
    return act();
  } catch (error) {
    if (error instanceof InputError) throw new UsageError(error.message);
    throw error;
  }
}

function positive(text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value >= 1) return value;
  throw new InvalidArgumentError("Wanted is a whole number of at least 1.");
}

function upToLimit(text: string): number {
  const value = positive(text);
  if (value <= 1e9) return value;
  throw new InvalidArgumentError("At most 1e9 events are allowed.");
}

function formats(text: string): readonly EventFormat[] {
  try {
    return eventFormats(text);
  } catch (error) {
    throw new UsageError(`--events ${text}: ${(error as Error).message}`);
  }
}
