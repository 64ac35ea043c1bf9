/**
 * The worker that compresses what is too slow to compress beside the simulation: it takes blocks of bytes in order, makes one
 * zstd frame of each file and writes it.
 *
 * One frame a file and not one a block: readers in Python stop after the first frame (docs/decisions/trace-writing.md).
 */
import { constants, createZstdCompress } from "node:zlib";

/** What the command line says to the worker, in the order in which it is to be done. */
export type ZstdRequest =
  /** A file begins. */
  | { readonly kind: "open"; readonly path: string }
  /** The first `count` bytes of the buffer, which comes back when they are compressed, are the next of the file. */
  | { readonly kind: "block"; readonly buffer: ArrayBuffer; readonly count: number }
  /** The file is complete, or is left as it is when `whole` is false. */
  | { readonly kind: "close"; readonly whole: boolean };

/** What the worker answers. */
export type ZstdReply =
  /** A block is done. */
  | { readonly kind: "done"; readonly buffer: ArrayBuffer }
  /** A file is closed. */
  | { readonly kind: "closed" }
  /** Something failed; what follows of this file is ignored until it is closed. */
  | { readonly kind: "failed"; readonly message: string };

/** What a worker has of its global scope, which the libraries of the project do not declare. */
interface WorkerScope {
  onmessage: ((event: { readonly data: ZstdRequest }) => void) | null;
  postMessage(reply: ZstdReply, transfer: ArrayBuffer[]): void;
}

/** Bytes of compressed data that are written at a time. */
const CHUNK_BYTES = 256 * 1024;

/** A file that is compressed. */
class ZstdFile {
  #file: Deno.FsFile;
  #stream = createZstdCompress({
    chunkSize: CHUNK_BYTES,
    params: { [constants.ZSTD_c_compressionLevel]: 1, [constants.ZSTD_c_checksumFlag]: 1 },
  });
  #failure: Error | undefined;
  /** Tells whoever waits for the present step that it failed. */
  #reject: (error: Error) => void = () => {};

  constructor(path: string) {
    this.#file = Deno.openSync(path, { write: true, create: true, truncate: true });
    this.#stream.on("error", (error) => this.#fail(error));
    this.#stream.on("data", (bytes: Uint8Array) => {
      try {
        for (let rest = bytes; rest.length > 0;) rest = rest.subarray(this.#file.writeSync(rest));
      } catch (error) {
        this.#fail(error as Error);
      }
    });
  }

  write(bytes: Uint8Array): Promise<void> {
    return this.#step((done) => this.#stream.write(bytes, () => done()));
  }

  /** Completes the frame. */
  end(): Promise<void> {
    return this.#step((done) => this.#stream.once("end", done).end());
  }

  close(): void {
    this.#stream.destroy();
    this.#file.close();
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    this.#reject(error);
  }

  #step(act: (done: () => void) => void): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#failure !== undefined) return reject(this.#failure);
      this.#reject = reject;
      act(resolve);
    });
  }
}

let file: ZstdFile | undefined;

async function handle(request: ZstdRequest): Promise<void> {
  switch (request.kind) {
    case "open":
      file = new ZstdFile(request.path);
      break;
    case "block":
      await file?.write(new Uint8Array(request.buffer, 0, request.count));
      break;
    case "close":
      if (request.whole) await file?.end();
      closeFile();
  }
}

function closeFile(): void {
  file?.close();
  file = undefined;
}

/** Answers a request, whatever becomes of it. */
async function answer(scope: WorkerScope, request: ZstdRequest): Promise<void> {
  try {
    await handle(request);
  } catch (error) {
    closeFile();
    scope.postMessage({ kind: "failed", message: (error as Error).message }, []);
  }
  if (request.kind === "block") scope.postMessage({ kind: "done", buffer: request.buffer }, [request.buffer]);
  if (request.kind === "close") scope.postMessage({ kind: "closed" }, []);
}

const scope = self as unknown as WorkerScope;
let last = Promise.resolve();
scope.onmessage = ({ data }) => {
  last = last.then(() => answer(scope, data));
};
