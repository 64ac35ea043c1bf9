/** The files of one run: its samples, and its events in the formats that are wanted. */
import { csvLine, EventsCsv } from "../core/csv_writer.ts";
import type { TraceReader, TraceRows } from "../core/trace.ts";
import { SAMPLE_COLUMNS } from "../samples.ts";
import type { EventFormat } from "../scenario_options.ts";
import { UsageError } from "./io.ts";
import type { ZstdWriter } from "./zstd_writer.ts";

/**
 * The output of one run. It reads rows as soon as it is made, so that the machine can be built, and its input refused, before
 * a file exists: what comes before {@link open} is kept in memory.
 */
export class RunOutput implements TraceReader {
  #zstd: ZstdWriter;
  /** The writer of the rows; undefined when they are not wanted. */
  #events: EventsCsv | undefined = new EventsCsv((bytes) => this.#take(bytes));
  /** Where the bytes of the events go; undefined until it is open. */
  #sinks: readonly ((bytes: Uint8Array) => void)[] | undefined;
  #kept: Uint8Array[] = [];
  #files: Deno.FsFile[] = [];
  #samples: Deno.FsFile | undefined;
  #encoder = new TextEncoder();

  /** An output without files; `zstd` writes what is compressed. */
  constructor(zstd: ZstdWriter) {
    this.#zstd = zstd;
  }

  /** Reads a block of rows. */
  read(rows: TraceRows): void {
    this.#events?.read(rows);
  }

  /** Makes the files in the folder `path`. Throws {@link UsageError} when one cannot be written. */
  open(path: string, formats: readonly EventFormat[]): void {
    this.#samples = this.#openFile(`${path}/samples.csv`);
    this.#write(this.#samples, this.#encoder.encode(csvLine(SAMPLE_COLUMNS)));
    this.#sinks = formats.map((format) => this.#sinkOf(format, `${path}/events.${format}`));
    for (const bytes of this.#kept.splice(0)) this.#take(bytes);
    if (formats.length === 0) this.#events = undefined;
  }

  /** Writes a row of the samples; the files must be open. */
  sample(sample: readonly number[]): void {
    this.#write(this.#samples!, this.#encoder.encode(csvLine(sample)));
  }

  /** Waits for what is written elsewhere, when much of it is on its way. Throws {@link UsageError} when that failed. */
  async ready(): Promise<void> {
    await this.#zstd.ready();
  }

  /** Completes the files and closes them. Throws {@link UsageError} when one cannot be written. */
  async finish(): Promise<void> {
    this.#events?.close();
    await this.#zstd.finish();
    await this.close();
  }

  /** Closes all files; those that were not finished are left as they are. */
  async close(): Promise<void> {
    try {
      await this.#zstd.abandon();
    } finally {
      for (const file of this.#files.splice(0)) file.close();
    }
  }

  #sinkOf(format: EventFormat, path: string): (bytes: Uint8Array) => void {
    if (format === "csv") {
      const file = this.#openFile(path);
      return (bytes) => this.#write(file, bytes);
    }
    this.#zstd.open(path);
    return (bytes) => this.#zstd.write(bytes);
  }

  #take(bytes: Uint8Array): void {
    if (this.#sinks === undefined) this.#kept.push(bytes.slice());
    else for (const sink of this.#sinks) sink(bytes);
  }

  #openFile(path: string): Deno.FsFile {
    const file = guarded(() => Deno.openSync(path, { write: true, create: true, truncate: true }));
    this.#files.push(file);
    return file;
  }

  #write(file: Deno.FsFile, bytes: Uint8Array): void {
    guarded(() => {
      for (let rest = bytes; rest.length > 0;) rest = rest.subarray(file.writeSync(rest));
    });
  }
}

/** Does something with a file; what fails becomes one sentence. */
function guarded<T>(act: () => T): T {
  try {
    return act();
  } catch (error) {
    throw new UsageError(`the result cannot be written: ${(error as Error).message}`);
  }
}
