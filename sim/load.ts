/**
 * Loading: everything that needs input and output, done before a run starts. A scenario and the files that it names become
 * runs whose simulation is pure.
 */
import { type Document, LineCounter, parseDocument } from "yaml";
import { InputError } from "./core/options.ts";
import { expandGrid, type GridRun, offsetOf, parseSetting, type Setting } from "./grid.ts";
import { parseScenario, type Registries, type Scenario, type WorkloadSpec } from "./scenario.ts";

/** Reads a file, named relative to the scenario or as given. */
export type ReadFile = (path: string) => Promise<Uint8Array> | Uint8Array;

/** How a scenario is loaded. */
export interface LoadOptions {
  /** Reads files; needed when the scenario is a path or names files. */
  readonly read?: ReadFile;
  /** Settings as on the command line, `policy.order=9` or `policy.order=0,9`; several values make an axis. */
  readonly set?: readonly string[];
  /** Settings that were written another way, such as `--seed`; they come before those of {@link set}. */
  readonly settings?: readonly Setting[];
  /** Replications of each run, with random streams of their own. */
  readonly reps?: number;
  /** Name of the scenario in messages; the path when there is one. */
  readonly label?: string;
}

/** One run, ready to be simulated. */
export interface LoadedRun {
  /** Name: the axes that vary, or `run`. */
  readonly name: string;
  /** Its values on the axes of the grid. */
  readonly axes: GridRun["axes"];
  /** Replication, from 0. */
  readonly rep: number;
  /** The scenario. */
  readonly scenario: Scenario;
}

/** A scenario with its files. */
export interface Loaded {
  /** Name, for the output folder. */
  readonly name: string;
  /** The runs, the first axis varying slowest. */
  readonly runs: readonly LoadedRun[];
  /** Lines that the user should see. */
  readonly notices: readonly string[];
  /** Files as they were read, compressed or not, by the name in the scenario. */
  readonly files: ReadonlyMap<string, Uint8Array>;
  /** The decompressed bytes of a file. */
  file(path: string): Uint8Array;
  /** Turns a problem of a run into one sentence with its place. */
  explain(error: InputError): string;
}

/** Input that was refused: one sentence, with file, line and column. */
export class LoadError extends Error {
  /** A refusal; the message is the whole sentence. */
  constructor(message: string) {
    super(message);
    this.name = "LoadError";
  }
}

/** Where the parts of a scenario were written. */
class Places {
  #label: string;
  #document: Document | undefined;
  #lines: LineCounter;
  #settings: readonly Setting[];

  constructor(label: string, document: Document | undefined, lines: LineCounter, settings: readonly Setting[]) {
    this.#label = label;
    this.#document = document;
    this.#lines = lines;
    this.#settings = settings;
  }

  /** One sentence: place, path and what is wrong. */
  sentence({ path, message }: InputError): string {
    if (path[0] === "file:") {
      const [, file, ...inner] = path;
      const place = inner[0] === "row" ? `:${inner[1]}` : inner.length === 0 ? "" : `: ${inner.join(".")}`;
      return `${file}${place}: ${message}`;
    }
    const dotted = path.join(".");
    const setting = this.#settings.find(({ key }) => dotted === key || dotted.startsWith(`${key}.`));
    if (setting !== undefined) return `${setting.origin}${setting.key === dotted ? "" : ` (${dotted})`}: ${message}`;
    if (message.startsWith("--")) return message;
    const place = this.#document === undefined ? this.#label : `${this.#label}:${this.#position(path, message)}`;
    return `${place}: ${dotted === "" ? "" : `${dotted}: `}${message}`;
  }

  #position(path: readonly (string | number)[], message: string): string {
    const offset = offsetOf(this.#document!, path, message.startsWith("unknown key"));
    const { line, col } = this.#lines.linePos(offset);
    return `${Math.max(1, line)}:${Math.max(1, col)}`;
  }
}

/**
 * Loads a scenario: a path (read with `read`), the text of one (it holds a line break), or an object in input form.
 * Throws {@link LoadError}.
 */
export async function loadScenario(
  source: string | Readonly<Record<string, unknown>>,
  options: LoadOptions,
  registries: Registries,
): Promise<Loaded> {
  const lines = new LineCounter();
  let label = options.label ?? "scenario";
  let document: Document | undefined;
  let input: unknown = source;
  if (typeof source === "string") {
    const isText = source.includes("\n");
    if (!isText) label = options.label ?? source;
    const text = isText ? source : decodeText(await readOrFail(options.read, source), label);
    document = parseYaml(text, label, lines);
    input = toPlain(document, label);
  }
  const settings = [
    ...options.settings ?? [],
    ...(options.set ?? []).map((text) => explaining(label, () => parseSetting(text, registries))),
  ];
  const places = new Places(label, document, lines, settings);
  const refused = (error: unknown) => error instanceof InputError ? new LoadError(places.sentence(error)) : error;
  const guarded = <T>(run: () => T): T => {
    try {
      return run();
    } catch (error) {
      throw refused(error);
    }
  };
  const grid = guarded(() => expandGrid(input, settings, options.reps ?? 1, registries));
  const runs = grid.runs.map(({ name, axes, raw, rep }) => ({
    name,
    axes,
    rep,
    scenario: guarded(() => parseScenario(raw, registries)),
  }));
  const { files, unpacked } = await readFiles(runs, options.read).catch((error) => {
    throw refused(error);
  });
  return {
    name: runs[0].scenario.name ?? "scenario",
    runs,
    notices: grid.notices,
    files,
    file: (path) => unpacked.get(path)!,
    explain: (error) => places.sentence(error),
  };
}

function explaining<T>(label: string, run: () => T): T {
  try {
    return run();
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    throw new LoadError(error.message.startsWith("--") ? error.message : `${label}: ${error.message}`);
  }
}

async function readOrFail(read: ReadFile | undefined, path: string): Promise<Uint8Array> {
  if (read === undefined) throw new LoadError(`${path}: cannot be read without a read function`);
  try {
    return await read(path);
  } catch (error) {
    throw error instanceof LoadError ? error : new LoadError((error as Error).message);
  }
}

function decodeText(bytes: Uint8Array, label: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new LoadError(`${label}: is not a text in UTF-8; wanted is a scenario in YAML`);
  }
}

function parseYaml(text: string, label: string, lines: LineCounter): Document {
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, logLevel: "silent" });
  const [error] = document.errors;
  if (error === undefined) return document;
  const { line, col } = lines.linePos(error.pos[0]);
  throw new LoadError(`${label}:${Math.max(1, line)}:${Math.max(1, col)}: not YAML: ${oneLine(error.message)}`);
}

function toPlain(document: Document, label: string): unknown {
  try {
    return document.toJS({ maxAliasCount: 100 });
  } catch (error) {
    throw new LoadError(`${label}: not YAML: ${oneLine((error as Error).message)}`);
  }
}

function oneLine(message: string): string {
  return message.split("\n")[0].replace(/[.:]$/, "");
}

/** Every file that any run names, read once. Throws {@link LoadError}, or {@link InputError} where a file cannot be read. */
async function readFiles(
  runs: readonly LoadedRun[],
  read: ReadFile | undefined,
): Promise<{ files: Map<string, Uint8Array>; unpacked: Map<string, Uint8Array> }> {
  const files = new Map<string, Uint8Array>();
  const unpacked = new Map<string, Uint8Array>();
  const visit = async ({ plugin, options, path, children }: WorkloadSpec) => {
    for (const file of plugin.files(options)) {
      if (files.has(file)) continue;
      const key = Object.entries(options as Record<string, unknown>).find(([, value]) => value === file)?.[0];
      try {
        files.set(file, await readOrFail(read, file));
      } catch (error) {
        throw new InputError(key === undefined ? path : [...path, key], (error as Error).message);
      }
      unpacked.set(file, await unpack(file, files.get(file)!));
    }
    for (const child of children) await visit(child);
  };
  for (const { scenario } of runs) for (const { workload } of scenario.guests) await visit(workload);
  return { files, unpacked };
}

/** The most bytes that a compressed file may unpack to: a limit against files made to fill the memory. */
const UNPACKED_MAX = 4 * 2 ** 30;

/** Decompresses gzip, told by its first bytes. Throws {@link LoadError} naming the file. */
export async function unpack(path: string, bytes: Uint8Array): Promise<Uint8Array> {
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes;
  const stream = new Blob([bytes as Uint8Array<ArrayBuffer>]).stream().pipeThrough(new DecompressionStream("gzip"));
  const parts: Uint8Array[] = [];
  let length = 0;
  try {
    for await (const part of stream) {
      parts.push(part);
      length += part.length;
      if (length > UNPACKED_MAX) throw new LoadError(`${path}: unpacks to more than ${UNPACKED_MAX} bytes`);
    }
  } catch (error) {
    if (error instanceof LoadError) throw error;
    throw new LoadError(`${path}: the gzip stream is damaged or cut after ${length} bytes of data`);
  }
  const whole = new Uint8Array(length);
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.length;
  }
  return whole;
}
