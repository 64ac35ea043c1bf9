/** The command `trace verify`: does the guest do what the recorded kernel did? */
import { InputError, parseOptions } from "../core/options.ts";
import type { Kernel } from "../guest/kernel.ts";
import { kernels } from "../guest/kernels.ts";
import { readRecording } from "../guest/recording.ts";
import type { Divergence } from "../guest/replay/replay_lists.ts";
import {
  isIdentical,
  REPLAY_LEVELS,
  type ReplayLevel,
  type Verification,
  type VerifyParts,
  verifyRecording,
} from "../guest/replay/verification.ts";
import { readSnapshots, type Snapshots } from "../guest/snapshot.ts";
import type { Registries } from "../scenario.ts";
import { LoadError } from "../unpack.ts";
import { baseName, readUserFile, resolvePath, siblingSnapshots } from "./files.ts";
import { DONE, FOUND, type Io, UsageError } from "./io.ts";
import { formatTable } from "./table.ts";

/** What the user asked for. */
export interface VerifyOptions {
  /** The snapshots; those beside the recording when undefined. */
  readonly snapshots: string | undefined;
  /** Level of the replay. */
  readonly level: string;
  /** Kernel generation; what the snapshots say, or 6.1, when undefined. */
  readonly kernel: string | undefined;
  /** Whether the result is printed as JSON. */
  readonly json: boolean;
}

/** Replays a recording and compares it with its snapshots: exit status 0 when identical, else 1. */
export async function verifyCommand(
  io: Io,
  path: string,
  options: VerifyOptions,
  registries: Registries,
): Promise<number> {
  const level = REPLAY_LEVELS.find((name) => name === options.level);
  if (level === undefined) {
    throw new UsageError(`--level ${options.level}: is not a level; wanted is ${REPLAY_LEVELS.join(", ")}`);
  }
  const given = options.kernel === undefined ? undefined : kernelNamed(options.kernel);
  const result = await verify(io, path, options.snapshots, (snapshots) => ({
    level,
    kernel: given ?? kernelOf(snapshots),
    ...workerFor(level, registries),
  }));
  if (options.json) io.out(JSON.stringify(result, null, 2) + "\n");
  else io.out(textOf(result));
  return result.identical ? DONE : FOUND;
}

function kernelNamed(version: string): Kernel {
  const kernel = kernels.find((one) => one.version === version);
  if (kernel !== undefined) return kernel;
  const known = kernels.map((one) => one.version).join(", ");
  throw new UsageError(`--kernel ${version}: is not modelled; wanted is ${known}`);
}

function kernelOf(snapshots: Snapshots): Kernel {
  const [first] = snapshots.values();
  return kernels.find((one) => one.version === first.kernel) ?? kernels[0];
}

/** The worker of upstream free page reporting, as the kernel that was recorded had it. */
function workerFor(level: ReplayLevel, { policies }: Registries): Partial<Pick<VerifyParts, "worker">> {
  if (level !== "reporting") return {};
  const plugin = policies.find(({ name }) => name === "free-page-reporting");
  if (plugin === undefined) throw new UsageError("--level reporting: there is no policy free-page-reporting");
  const { value } = parseOptions(plugin.options, {}, []);
  const { delay } = value as { readonly delay: number };
  return { worker: { makePolicy: (context) => plugin.create(context, value), delayNs: delay } };
}

async function verify(
  io: Io,
  path: string,
  given: string | undefined,
  partsFor: (snapshots: Snapshots) => VerifyParts,
): Promise<Verification> {
  const sibling = siblingSnapshots(resolvePath(io.userFolder, path));
  // Named beside the recording, as the user wrote that.
  const snapshotPath = given ?? (sibling && path.slice(0, path.lastIndexOf("/") + 1) + baseName(sibling));
  if (snapshotPath === undefined) {
    throw new UsageError(`${path}: no snapshots lie beside it; name them with --snapshots FILE`);
  }
  const snapshots = await within(snapshotPath, async () => readSnapshots(await readUserFile(io, snapshotPath)));
  return await within(path, async () => {
    const recording = readRecording(await readUserFile(io, path));
    try {
      return verifyRecording(recording, snapshots, partsFor(snapshots));
    } catch (error) {
      if (!(error instanceof InputError) || error.path[0] === "row" || error.path.length === 0) throw error;
      const place = error.path.filter((part) => part !== "file:").join(".");
      throw new UsageError(`${snapshotPath}: ${place}: ${error.message}`);
    }
  });
}

async function within<T>(file: string, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    if (error instanceof LoadError) throw new UsageError(error.message);
    if (!(error instanceof InputError)) throw error;
    const [kind, row] = error.path;
    const place = kind === "row"
      ? `${file}:${row}`
      : [file, ...(error.path.length > 0 ? [error.path.join(".")] : [])].join(": ");
    throw new UsageError(`${place}: ${error.message}`);
  }
}

function textOf(result: Verification): string {
  const { level, allocations, frees, wrongPfns, first, reporting, uncompared } = result;
  const extra = level === "pcp" ? ["per-CPU off"] : level === "reporting" ? ["reported off"] : [];
  const rows = result.snapshots.map((one) => [
    one.tag,
    String(one.operations),
    `${one.identicalLists}/${one.lists}`,
    String(one.nrFreeDifference),
    String(one.pageblockDifference),
    ...extra.map(() => String(level === "pcp" ? one.perCpuDifference : one.reportedDifference)),
    isIdentical(one) ? "identical" : "DIFFERENT",
  ]);
  const header = ["snapshot", "operations", "lists in order", "nr_free off", "pageblocks off", ...extra, ""];
  const where = first === undefined ? "" : `first at row ${first.row}: ${differenceOf(first)}\n`;
  const steps = reporting === undefined
    ? ""
    : `${reporting.isolates} blocks isolated, ${reporting.reports} reports, ${reporting.putBacks} blocks put back\n`;
  const missing = uncompared.length === 0 ? "" : `not compared: snapshots ${uncompared.join(", ")}\n`;
  const counts = `${wrongPfns} of ${allocations} allocations got another page (${frees} frees)`;
  return `${formatTable([header, ...rows])}\n${counts}\n${steps}${where}${missing}`;
}

function differenceOf({ expectedPfn, actualPfn }: Divergence): string {
  if (expectedPfn < 0) return "the lists are not those of the kernel";
  return `the kernel picked page ${expectedPfn}, the allocator ${actualPfn < 0 ? "none" : actualPfn}`;
}
