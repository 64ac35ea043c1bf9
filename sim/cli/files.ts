/** Paths and files as the command line sees them. */
import { unpack } from "../unpack.ts";
import { type Io, UsageError } from "./io.ts";

/** A path joined to a folder, unless it is absolute. */
export function resolvePath(folder: string, path: string): string {
  return path.startsWith("/") ? path : `${folder}/${path}`.replace(/\/(\.\/)+/g, "/");
}

/** The folder of a path. */
export function folderOf(path: string): string {
  const slash = path.lastIndexOf("/");
  return slash < 0 ? "." : slash === 0 ? "/" : path.slice(0, slash);
}

/** The last part of a path. */
export function baseName(path: string): string {
  return path.replace(/\/+$/, "").replace(/^.*\//, "");
}

/** Whether something exists at a path. */
export function exists(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch {
    return false;
  }
}

/** Reads a file. Throws {@link UsageError} naming `shown`, as the user wrote it. */
export function readFile(path: string, shown: string): Uint8Array {
  try {
    return Deno.readFileSync(path);
  } catch (error) {
    throw new UsageError(`${shown}: ${reason(error)}`);
  }
}

/** Reads and decompresses a file that the user named. Throws {@link UsageError}. */
export async function readUserFile(io: Io, path: string): Promise<Uint8Array> {
  return await unpack(path, readFile(resolvePath(io.userFolder, path), path));
}

/** Why a file could not be used, in a few words. */
export function reason(error: unknown): string {
  if (error instanceof Deno.errors.NotFound) return "there is no such file";
  if (error instanceof Deno.errors.NotCapable) return "the permissions of this task do not allow it";
  if (error instanceof Deno.errors.PermissionDenied) return "permission denied by the operating system";
  if (error instanceof Deno.errors.IsADirectory) return "is a folder, not a file";
  const { message } = error as Error;
  if (/is a directory/i.test(message)) return "is a folder, not a file";
  return message.split("\n")[0];
}

/** Whether a path names a recording rather than a scenario. */
export function isRecording(path: string): boolean {
  return /\.csv(\.gz)?$/.test(path);
}

/** The snapshots that lie beside a recording (`X.buddy.csv.gz` or `X.events.csv.gz`, `X.snaps.json.gz`), or undefined. */
export function siblingSnapshots(path: string): string | undefined {
  const stem = path.replace(/(\.buddy|\.events)?\.csv(\.gz)?$/, "");
  return [`${stem}.snaps.json.gz`, `${stem}.snaps.json`].find(exists);
}
