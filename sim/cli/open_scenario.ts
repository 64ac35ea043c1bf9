/** From what the user named (a scenario or a bare recording) to what can be simulated. */
import { decodeText, type LoadedScenario, loadScenario } from "../load.ts";
import { LoadError } from "../unpack.ts";
import type { Setting } from "../grid.ts";
import type { Registries } from "../scenario.ts";
import { baseName, folderOf, isRecording, readFile, resolvePath, siblingSnapshots } from "./files.ts";
import { type Io, UsageError } from "./io.ts";
import { policyImporter } from "./policy_file.ts";

/** What the user set beside the file. */
export interface OpenOptions {
  /** Settings in the order of the command line. */
  readonly settings: readonly Setting[];
  /** Replications. */
  readonly reps: number;
}

/** Loads a scenario or a recording. Throws {@link UsageError}. */
export async function openScenario(
  io: Io,
  path: string,
  options: OpenOptions,
  registries: Registries,
): Promise<LoadedScenario> {
  const full = resolvePath(io.userFolder, path);
  const read = (name: string) => readFile(resolvePath(folderOf(full), name), name);
  const importPolicy = policyImporter({ setting: io.userFolder, scenario: folderOf(full) });
  const how = { ...options, read, importPolicy, label: path };
  try {
    if (isRecording(path)) return await loadScenario(recordingScenario(full, options.settings), how, registries);
    let text = decodeText(readFile(full, path), path);
    if (!text.includes("\n")) text += "\n";
    return await loadScenario(text, how, registries);
  } catch (error) {
    if (error instanceof LoadError) throw new UsageError(error.message);
    throw error;
  }
}

function recordingScenario(full: string, settings: readonly Setting[]): Record<string, unknown> {
  const snapshots = settings.some(({ key }) => key === "machine.memory") ? undefined : siblingSnapshots(full);
  return {
    hintsim: 1,
    name: baseName(full).replace(/\.csv(\.gz)?$/, ""),
    workload: {
      kind: "page-trace",
      file: baseName(full),
      ...(snapshots === undefined ? {} : { snapshots: baseName(snapshots) }),
    },
  };
}
