/**
 * The result folder: work goes to `.partial` beside it, a finished run is renamed into place there, and the whole folder
 * takes its name at the end. An existing result is replaced only by that last rename.
 */
import { baseName, exists, folderOf, reason, resolvePath } from "./files.ts";
import { type Io, quoteArgs, UsageError } from "./io.ts";

/** Where the result `name` goes, and how that is shown: below the project's out/, or where the user wants it. */
export function resultPlace(io: Io, name: string, out: string | undefined): { target: string; shown: string } {
  const shown = out ?? `out/${name}`;
  return { target: out === undefined ? `${io.projectFolder}/${shown}` : resolvePath(io.userFolder, out), shown };
}

/** A result folder that is being made. */
export class ResultFolder {
  /** Where the result will be. */
  readonly target: string;
  /** Where it is made. */
  readonly partial: string;
  #shown: string;
  /** Folders above the target that were not there, the nearest first. */
  #made: readonly string[] = [];
  #command: readonly string[];

  /** A folder that will be `target`, shown to the user as `shown`; `command` is what the user asked for. */
  constructor(target: string, shown: string, command: readonly string[]) {
    this.#command = command;
    this.target = target.replace(/\/+$/, "");
    this.partial = `${folderOf(this.target)}/.partial/${baseName(this.target)}`;
    this.#shown = shown;
  }

  /** Prepares the partial folder; keeps what is there when going on. Throws {@link UsageError}. */
  open(goOn: boolean): void {
    this.#refuseForeign();
    this.#made = missingAbove(this.target);
    this.#guard(() => {
      if (!goOn && exists(this.partial)) Deno.removeSync(this.partial, { recursive: true });
      Deno.mkdirSync(`${this.partial}/.done`, { recursive: true });
    });
  }

  /** A fresh folder for a run in flight. */
  startRun(): string {
    const path = `${this.partial}/.running`;
    this.#guard(() => {
      if (exists(path)) Deno.removeSync(path, { recursive: true });
      Deno.mkdirSync(path);
    });
    return path;
  }

  /** The run in flight is finished: it takes its name, and `note` is kept for going on later. */
  finishRun(name: string, index: number, note: unknown): void {
    this.#guard(() => {
      const path = `${this.partial}/${name}`;
      if (exists(path)) Deno.removeSync(path, { recursive: true });
      Deno.renameSync(`${this.partial}/.running`, path);
      Deno.writeTextFileSync(`${this.partial}/.done/${index}.json`, JSON.stringify(note));
    });
  }

  /** What was kept of a run that finished earlier, or undefined. */
  finished(name: string, index: number): unknown {
    try {
      if (!exists(`${this.partial}/${name}`)) return undefined;
      return JSON.parse(Deno.readTextFileSync(`${this.partial}/.done/${index}.json`));
    } catch {
      return undefined;
    }
  }

  /** Writes a file of the whole result. */
  write(name: string, text: string): void {
    this.#guard(() => Deno.writeTextFileSync(`${this.partial}/${name}`, text));
  }

  /** The result is complete: it takes its place. */
  commit(): void {
    this.#guard(() => {
      for (const inner of [".done", ".running"]) {
        if (exists(`${this.partial}/${inner}`)) Deno.removeSync(`${this.partial}/${inner}`, { recursive: true });
      }
      const old = `${this.partial}.old`;
      if (exists(old)) Deno.removeSync(old, { recursive: true });
      this.#refuseForeign();
      const replaces = exists(this.target);
      if (replaces) Deno.renameSync(this.target, old);
      Deno.renameSync(this.partial, this.target);
      if (replaces) Deno.removeSync(old, { recursive: true });
      this.#removeIfEmpty(folderOf(this.partial));
    });
  }

  /** Takes back the run in flight, and everything when nothing finished. */
  discard(keepFinished: boolean): void {
    try {
      const path = keepFinished ? `${this.partial}/.running` : this.partial;
      if (exists(path)) Deno.removeSync(path, { recursive: true });
      if (keepFinished) return;
      for (const folder of [folderOf(this.partial), ...this.#made]) this.#removeIfEmpty(folder);
    } catch {
      // What cannot be removed is left for the next run, which removes it first.
    }
  }

  #removeIfEmpty(path: string): void {
    if ([...Deno.readDirSync(path)].length === 0) Deno.removeSync(path);
  }

  #refuseForeign(): void {
    if (!exists(this.target)) return;
    if (isResult(this.target)) return;
    if (Deno.lstatSync(this.target).isDirectory && [...Deno.readDirSync(this.target)].length === 0) return;
    throw new UsageError(`${this.#shown}: exists and is not a result of hintsim; name another folder with --out`);
  }

  #guard(act: () => void): void {
    try {
      act();
    } catch (error) {
      if (error instanceof UsageError) throw error;
      if (error instanceof Deno.errors.NotCapable) {
        throw new UsageError(
          `${this.#shown}: the task sim writes only below out/; this works: deno task sim:any ${
            quoteArgs(this.#command)
          }`,
        );
      }
      throw new UsageError(`${this.#shown}: cannot be written: ${reason(error)}`);
    }
  }
}

/** The folders above a path that are not there, the nearest first. */
function missingAbove(path: string): string[] {
  const missing: string[] = [];
  for (let folder = folderOf(path); !exists(folder) && folder !== folderOf(folder); folder = folderOf(folder)) {
    missing.push(folder);
  }
  return missing;
}

/** Whether a folder holds a result: a manifest that hintsim wrote, and nothing beside what it writes. */
function isResult(path: string): boolean {
  try {
    const manifest = JSON.parse(Deno.readTextFileSync(`${path}/manifest.json`));
    if (typeof manifest.hintsim !== "string" || !Array.isArray(manifest.runs)) return false;
    const ours = new Set(["manifest.json", "summary.csv", ...manifest.runs.map(({ run }: { run: string }) => run)]);
    return [...Deno.readDirSync(path)].every(({ name }) => ours.has(name));
  } catch {
    return false;
  }
}
