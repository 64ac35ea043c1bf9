/** Runs the command line in this process, with its output captured and its results in a folder of their own. */
import { policies } from "../../policies/mod.ts";
import type { Io } from "../../sim/cli/io.ts";
import { runProgram } from "../../sim/cli/program.ts";
import type { Registries } from "../../sim/scenario.ts";
import { workloads } from "../../workloads/mod.ts";

/** What a command did. */
export interface CliResult {
  status: number;
  out: string;
  err: string;
}

/** The folder of the repository. */
export const REPOSITORY = decodeURIComponent(new URL("../..", import.meta.url).pathname).replace(/\/$/, "");

/** A fresh folder to run in. */
export class CliFolder {
  readonly path: string = Deno.makeTempDirSync({ prefix: "hintsim-" });
  /** Called when a command starts listening for an interrupt; returns nothing unless a test wants one. */
  interrupt: ((now: () => void) => void) | undefined;

  /** Runs a command line; relative paths of the user are meant against `userFolder`. */
  async run(
    args: readonly string[],
    userFolder: string = REPOSITORY,
    registries: Registries = { policies, workloads },
  ): Promise<CliResult> {
    const result = { status: 0, out: "", err: "" };
    const io: Io = {
      out: (text) => {
        result.out += text;
      },
      err: (text) => {
        result.err += text;
      },
      isTerminal: false,
      userFolder,
      projectFolder: this.path,
      onInterrupt: (interrupted) => {
        this.interrupt?.(interrupted);
        return () => {};
      },
    };
    result.status = await runProgram(args, io, registries);
    return result;
  }

  /** Writes a file into the folder; returns its path. */
  write(name: string, content: string | Uint8Array): string {
    const path = `${this.path}/${name}`;
    if (typeof content === "string") Deno.writeTextFileSync(path, content);
    else Deno.writeFileSync(path, content);
    return path;
  }

  /** Names of everything below a folder of this one, sorted. */
  list(name: string): string[] {
    const names: string[] = [];
    const walk = (folder: string, prefix: string) => {
      for (const entry of Deno.readDirSync(folder)) {
        names.push(`${prefix}${entry.name}`);
        if (entry.isDirectory) walk(`${folder}/${entry.name}`, `${prefix}${entry.name}/`);
      }
    };
    try {
      walk(`${this.path}/${name}`, "");
    } catch {
      return [];
    }
    return names.sort();
  }

  /** Reads a text below the folder. */
  read(name: string): string {
    return Deno.readTextFileSync(`${this.path}/${name}`);
  }

  /** Removes the folder. */
  [Symbol.dispose](): void {
    Deno.removeSync(this.path, { recursive: true });
  }
}

/** A scenario that runs in a few milliseconds. */
export const SMALL = `hintsim: 1
name: small
machine: { memory: 64MiB, vcpus: 2 }
workload: { kind: churn, occupancy: 0.5, orders: { 0: 1, 3: 1 }, lifetime: { mean: 200ms }, duration: 1s }
policy: { kind: per-order, requests: { every: 100ms } }
output: { sample: 100ms }
`;

/** Parses a small CSV without quotes into rows by column. */
export function parseCsv(text: string): Record<string, string>[] {
  const [header, ...lines] = text.trimEnd().split("\n").map((line) => line.split(","));
  return lines.map((cells) => Object.fromEntries(header.map((name, i) => [name, cells[i]])));
}
