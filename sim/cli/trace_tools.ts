/** The commands `stat`, `cut` and `convert` below `trace`. */
import { type Command, InvalidArgumentError, Option } from "@commander-js/extra-typings";
import { parseSize } from "../memory/units.ts";
import { convertCommand, TRACE_FORMATS } from "./convert_command.ts";
import { cutCommand } from "./cut_command.ts";
import type { Io } from "./io.ts";
import { statCommand } from "./stat_command.ts";

/** Adds the tools to the command `trace`; `args` are the words of the command line, for messages. */
export function addTraceTools(trace: Command, args: readonly string[], io: Io, state: { status: number }): void {
  addStat(trace, io, state);
  addCut(trace, args, io, state);
  addConvert(trace, args, io, state);
}

function addStat(trace: Command, io: Io, state: { status: number }): void {
  trace.command("stat")
    .description("counts what a recording holds: operations, orders, lifetimes, pages in use over time")
    .argument("<file>", "the recording")
    .option("--json", "print as JSON", false)
    .action(async (file, { json }) => {
      state.status = await statCommand(io, file, { json });
    });
}

function addCut(trace: Command, args: readonly string[], io: Io, state: { status: number }): void {
  trace.command("cut")
    .description("writes a part of a recording, with the snapshots in it")
    .argument("<file>", "the recording")
    .requiredOption("--out <file>", "the part, .csv or .csv.gz")
    .option("--from <place>", "a row (the header is 1), a snapshot or a mark (default: the first row)")
    .option("--to <place>", "a row, a snapshot or a mark, included (default: the last row)")
    .option("--snapshots <file>", "its snapshots (default: those beside it)")
    .action(async (file, { out, from, to, snapshots }) => {
      state.status = await cutCommand(io, file, { out, from, to, snapshots, command: args });
    });
}

function addConvert(trace: Command, args: readonly string[], io: Io, state: { status: number }): void {
  trace.command("convert")
    .description("converts between recordings and the text of tracefs, trace-cmd report and perf script")
    .argument("<file>", "a recording or the text of a kernel trace, plain or gzip")
    .requiredOption("--out <file>", "the result; .csv or .csv.gz is a recording")
    .addOption(new Option("--from <format>", "of the input (default: told by its first line)").choices(TRACE_FORMATS))
    .addOption(new Option("--to <format>", "of the result (default: by its name)").choices(TRACE_FORMATS))
    .addOption(new Option("--kernel <version>", "(default: as the text says)").choices(["6.1", "6.12"] as const))
    .option("--tsc-mhz <n>", "counts per us where times are counts, as with the clock x86-tsc", rate)
    .option("--lost-ok", "convert although events were lost", false)
    .option("--kpageflags <file>", "/proc/kpageflags at the start; writes the snapshot s0 beside the recording")
    .option("--zoneinfo <file>", "/proc/zoneinfo at the start")
    .option("--pagetypeinfo <file>", "/proc/pagetypeinfo at the start")
    .option("--memory <size>", "memory of the guest, where only --free is known of its start", size)
    .option("--free <size>", "free memory at the start", size)
    .action(async (file, options) => {
      const { out, from, to, kernel, tscMhz, lostOk, kpageflags, zoneinfo, pagetypeinfo, memory, free } = options;
      state.status = await convertCommand(io, file, {
        out,
        from,
        to,
        kernel,
        tscMhz,
        lostOk,
        kpageflags,
        zoneinfo,
        pagetypeinfo,
        memoryBytes: memory,
        freeBytes: free,
        command: args,
      });
    });
}

function rate(text: string): number {
  const value = Number(text);
  if (value >= 1 && value <= 1e5) return value;
  throw new InvalidArgumentError("Wanted is a rate from 1 to 100000 MHz.");
}

function size(text: string): number {
  try {
    return parseSize(text);
  } catch (error) {
    throw new InvalidArgumentError(`${(error as Error).message}.`);
  }
}
