/** Writing a file that the user named: compressed by its name, and in place only when it is whole. */
import { baseName, exists, folderOf, reason, resolvePath } from "./files.ts";
import { type Io, quoteArgs, UsageError } from "./io.ts";

/** A file to write. */
export interface OutFile {
  /** The path as the user wrote it. */
  readonly path: string;
  /** What the user asked for, for the sentence that says how it would be allowed. */
  readonly command: readonly string[];
  /** Files that must not be written over. */
  readonly inputs: readonly string[];
}

/** Writes pieces to a file, gzip when its name ends in `.gz`. Throws {@link UsageError}. */
export async function writeOutFile(io: Io, file: OutFile, pieces: Iterable<Uint8Array<ArrayBuffer>>): Promise<void> {
  const target = resolvePath(io.userFolder, file.path);
  if (file.inputs.some((input) => isSame(resolvePath(io.userFolder, input), target))) {
    throw new UsageError(`${file.path}: is an input; name another file with --out`);
  }
  const partial = `${folderOf(target)}/.${baseName(target)}.partial`;
  try {
    if (exists(target) && !Deno.lstatSync(target).isFile) throw new UsageError(`${file.path}: is not a file`);
    Deno.mkdirSync(folderOf(target), { recursive: true });
    await writeAll(partial, pieces, file.path.endsWith(".gz"));
    Deno.renameSync(partial, target);
  } catch (error) {
    removeIfThere(partial);
    throw refusal(file, error);
  }
}

async function writeAll(path: string, pieces: Iterable<Uint8Array<ArrayBuffer>>, zip: boolean): Promise<void> {
  const out = await Deno.open(path, { write: true, create: true, truncate: true });
  const source = ReadableStream.from(pieces);
  await (zip ? source.pipeThrough(new CompressionStream("gzip")) : source).pipeTo(out.writable);
}

function isSame(a: string, b: string): boolean {
  try {
    return Deno.realPathSync(a) === Deno.realPathSync(b);
  } catch {
    return false;
  }
}

function removeIfThere(path: string): void {
  try {
    Deno.removeSync(path);
  } catch {
    // It was not made, or may not be touched: there is nothing to take back.
  }
}

function refusal({ path, command }: OutFile, error: unknown): unknown {
  if (error instanceof UsageError) return error;
  if (error instanceof Deno.errors.NotCapable) {
    const any = `deno task sim:any ${quoteArgs(command)}`;
    return new UsageError(`${path}: the task sim writes only below out/; this works: ${any}`);
  }
  const isOfSystem = Object.values(Deno.errors).some((kind) => error instanceof kind);
  return isOfSystem ? new UsageError(`${path}: cannot be written: ${reason(error)}`) : error;
}
