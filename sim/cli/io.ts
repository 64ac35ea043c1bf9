/** What the command line needs of the world, so that tests can run it in their own process. */

/** Standard streams, files and signals. */
export interface Io {
  /** Writes to standard output. */
  out(text: string): void;
  /** Writes to standard error. */
  err(text: string): void;
  /** Whether standard error is a terminal. */
  readonly isTerminal: boolean;
  /** The folder against which the user's relative paths are meant. */
  readonly userFolder: string;
  /** The folder in which `out/` lies. */
  readonly projectFolder: string;
  /** Calls back when the user interrupts; returns a function that stops listening. */
  onInterrupt(interrupted: () => void): () => void;
}

/** A wrong use or input: one sentence, exit status 2. */
export class UsageError extends Error {
  /** A refusal; the message is the whole sentence. */
  constructor(message: string) {
    super(message);
    this.name = "UsageError";
  }
}

/** Arguments as they are typed into a shell. */
export function quoteArgs(args: readonly string[]): string {
  return args.map((arg) => /^[\w.,:/=@%+-]+$/.test(arg) ? arg : `'${arg.replaceAll("'", "'\\''")}'`).join(" ");
}

/** Exit status: done. */
export const DONE = 0;
/** Exit status: the run ended and found something. */
export const FOUND = 1;
/** Exit status: wrong usage or input. */
export const WRONG = 2;
/** Exit status: interrupted by the user. */
export const INTERRUPTED = 130;

/** The streams and signals of this process. */
export function processIo(projectFolder: string): Io {
  const encoder = new TextEncoder();
  const writeAll = (file: { writeSync(bytes: Uint8Array): number }, text: string) => {
    try {
      for (let bytes = encoder.encode(text); bytes.length > 0;) bytes = bytes.subarray(file.writeSync(bytes));
    } catch (error) {
      // Whoever reads (head, less) has seen enough; the result itself is in files.
      if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
    }
  };
  return {
    out: (text) => writeAll(Deno.stdout, text),
    err: (text) => writeAll(Deno.stderr, text),
    isTerminal: Deno.stderr.isTerminal(),
    userFolder: Deno.env.get("INIT_CWD") ?? projectFolder,
    projectFolder,
    onInterrupt(interrupted) {
      Deno.addSignalListener("SIGINT", interrupted);
      return () => Deno.removeSignalListener("SIGINT", interrupted);
    },
  };
}
