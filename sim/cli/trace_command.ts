/** The command `trace verify`: does the allocator do what the recorded kernel did? */
import { InputError } from "../core/options.ts";
import { recordedOperations } from "../guest/recorded_ops.ts";
import { readRecording } from "../guest/recording.ts";
import { isIdentical, type Verification, verifyBuddy } from "../guest/replay.ts";
import { readSnapshots, type Snapshots } from "../guest/snapshot.ts";
import { LoadError } from "../unpack.ts";
import { readUserFile, resolvePath, siblingSnapshots } from "./files.ts";
import { DONE, FOUND, type Io, UsageError } from "./io.ts";
import { formatTable } from "./table.ts";

/** What the user asked for. */
export interface VerifyOptions {
  /** The snapshots; those beside the recording when undefined. */
  readonly snapshots: string | undefined;
  /** Level of the replay. */
  readonly level: string;
  /** Kernel generation. */
  readonly kernel: string;
  /** Whether the result is printed as JSON. */
  readonly json: boolean;
}

/** Replays a recording and compares it with its snapshots: exit status 0 when identical, else 1. */
export async function verifyCommand(io: Io, path: string, options: VerifyOptions): Promise<number> {
  if (options.level !== "buddy") {
    throw new UsageError(`--level ${options.level}: is not replayed yet; wanted is buddy`);
  }
  if (options.kernel !== "6.1") throw new UsageError(`--kernel ${options.kernel}: is not modelled yet; wanted is 6.1`);
  const result = await verify(io, path, options.snapshots);
  if (options.json) io.out(JSON.stringify(result, null, 2) + "\n");
  else io.out(textOf(result));
  return result.identical ? DONE : FOUND;
}

async function verify(io: Io, path: string, given: string | undefined): Promise<Verification> {
  const sibling = siblingSnapshots(resolvePath(io.userFolder, path));
  const snapshotPath = given ?? sibling;
  if (snapshotPath === undefined) {
    throw new UsageError(`${path}: no snapshots lie beside it; name them with --snapshots FILE`);
  }
  const snapshots = await within(snapshotPath, async () => readSnapshots(await readUserFile(io, snapshotPath)));
  return await within(path, async () => {
    const recording = readRecording(await readUserFile(io, path));
    const tag = firstSnapshot(recording.text, snapshots);
    const state = snapshots.get(tag)!;
    try {
      return verifyBuddy(recordedOperations(recording, state, tag), state, snapshots);
    } catch (error) {
      if (error instanceof InputError && error.path[0] !== "row") {
        throw new UsageError(`${snapshotPath}: ${tag}: ${error.message}`);
      }
      throw error;
    }
  });
}

/** The first snapshot that the recording names and the file holds. */
function firstSnapshot(texts: ReadonlyMap<number, string>, snapshots: Snapshots): string {
  for (const text of texts.values()) if (snapshots.has(text)) return text;
  throw new InputError([], `none of the snapshots ${[...snapshots.keys()].join(", ")} has a row in the recording`);
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
  const rows = result.snapshots.map((one) => [
    one.tag,
    String(one.operations),
    `${one.identicalLists}/${one.lists}`,
    String(one.nrFreeDifference),
    String(one.pageblockDifference),
    isIdentical(one) ? "identical" : "DIFFERENT",
  ]);
  const header = ["snapshot", "operations", "lists in order", "nr_free off", "pageblocks off", ""];
  const { allocations, frees, wrongPfns, first, ignored, uncompared } = result;
  const unreplayed = Object.entries(ignored).map(([event, count]) => `${count} ${event}`);
  const missing = uncompared.length === 0 ? "" : `not compared: snapshots ${uncompared.join(", ")}\n`;
  const note = unreplayed.length === 0
    ? ""
    : `not replayed, although they moved free blocks: ${unreplayed.join(", ")} rows\n`;
  const where = first === undefined
    ? ""
    : `first at row ${first.row}: the kernel picked page ${first.expectedPfn}, the allocator ${
      first.actualPfn < 0 ? "none" : first.actualPfn
    }\n`;
  return `${
    formatTable([header, ...rows])
  }\n${wrongPfns} of ${allocations} allocations got another page (${frees} frees)\n${where}${missing}${note}`;
}
