/** Reading what the trace tools are given; problems become one sentence with file and row. */
import { InputError } from "../core/options.ts";
import { LoadError } from "../unpack.ts";
import { UsageError } from "./io.ts";

/** Runs a reader of `file`, so that its problems name it: `FILE:ROW: sentence`. Throws {@link UsageError}. */
export async function ofFile<T>(file: string, read: () => T | Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (error instanceof LoadError) throw new UsageError(error.message);
    if (!(error instanceof InputError)) throw error;
    const [kind, row, ...rest] = error.path;
    if (kind === "row") throw new UsageError(`${file}:${row}: ${error.message}`);
    const place = kind === undefined
      ? file
      : `${file}: ${[kind, row, ...rest].filter((one) => one !== undefined).join(".")}`;
    throw new UsageError(`${place}: ${error.message}`);
  }
}

/** The name of a recording without its endings: that of its snapshots file begins with it. */
export function stemOf(path: string): string {
  return path.replace(/(\.buddy|\.events)?\.csv(\.gz)?$/, "");
}
