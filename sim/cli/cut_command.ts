/** The command `trace cut`: a part of a recording that is a recording. */
import { InputError } from "../core/options.ts";
import { readSnapshots } from "../guest/snapshot.ts";
import { cutTrace, type TracePart } from "../guest/trace_cut.ts";
import { readUserFile, resolvePath, siblingSnapshots } from "./files.ts";
import { DONE, type Io, UsageError } from "./io.ts";
import { writeOutFile } from "./out_file.ts";
import { ofFile, stemOf } from "./trace_input.ts";

/** What the user asked for. */
export interface CutOptions {
  /** Row, snapshot or mark at which the part begins; the first row when undefined. */
  readonly from: string | undefined;
  /** Row, snapshot or mark at which it ends; the last row when undefined. */
  readonly to: string | undefined;
  /** The file to write. */
  readonly out: string;
  /** The snapshots; those beside the recording when undefined. */
  readonly snapshots: string | undefined;
  /** Words of the command line, for messages. */
  readonly command: readonly string[];
}

/** Cuts a recording and its snapshots. Returns the exit status; throws {@link UsageError}. */
export async function cutCommand(io: Io, path: string, options: CutOptions): Promise<number> {
  const { out, command } = options;
  if (!/\.csv(\.gz)?$/.test(out)) throw new UsageError(`${out}: a recording is named .csv or .csv.gz`);
  const part = await ofFile(path, async () => cutTrace(await readUserFile(io, path), options.from, options.to));
  const snapshotPath = options.snapshots ?? siblingSnapshots(resolvePath(io.userFolder, path));
  const kept = snapshotPath === undefined ? {} : await snapshotsOf(io, snapshotPath, part);
  const inputs = snapshotPath === undefined ? [path] : [path, snapshotPath];
  await writeOutFile(io, { path: out, command, inputs }, part.pieces);
  io.out(`${out}: rows ${part.firstRow} to ${part.lastRow} of ${path}\n`);
  const tags = Object.keys(kept);
  if (tags.length > 0) {
    const snapshotsOut = `${stemOf(out)}.snaps.json.gz`;
    const json = new TextEncoder().encode(JSON.stringify(kept));
    await writeOutFile(io, { path: snapshotsOut, command, inputs }, [json]);
    io.out(`${snapshotsOut}: ${tags.join(", ")}\n`);
  }
  io.err(startNotice(out, part, tags));
  return DONE;
}

/** The snapshots of the file that lie in the part, as they are. */
async function snapshotsOf(io: Io, path: string, part: TracePart): Promise<Record<string, unknown>> {
  const bytes = await ofFile(path, () => readUserFile(io, path));
  return await ofFile(path, () => {
    readSnapshots(bytes);
    const all: Record<string, unknown> = JSON.parse(new TextDecoder().decode(bytes));
    const kept = Object.entries(all).filter(([tag]) => part.tags.includes(tag));
    if (Object.keys(all).length === 0) throw new InputError([], "no snapshot in the file");
    return Object.fromEntries(kept);
  });
}

/** What is known of the memory in use where the part begins. */
function startNotice(out: string, part: TracePart, tags: readonly string[]): string {
  const [first] = tags;
  const isKnown = part.startsAtSnapshot && first === part.tags[0] && first !== undefined;
  if (isKnown) {
    return first === "s0" ? "" : `it starts at ${first}: deno task sim ${out} --set workload.start=${first}\n`;
  }
  const later = first === undefined ? "" : `; from ${first} on it is: --set workload.start=${first}`;
  return `${out}: begins at no snapshot that is at hand, so what was in use there is not known${later}\n`;
}
