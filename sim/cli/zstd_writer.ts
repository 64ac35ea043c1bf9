/** Files that a worker compresses and writes, beside the thread that simulates. */
import { UsageError } from "./io.ts";
import type { ZstdReply, ZstdRequest } from "./zstd_worker.ts";

/** Bytes handed to the worker at a time. */
const BLOCK_BYTES = 2 ** 20;

/** Blocks on their way to the worker from which on {@link ZstdWriter.ready} waits. */
const BLOCKS_MAX = 16;

/**
 * Writes one file after the other through a worker, which is started with the first. Whoever writes awaits {@link ready} now
 * and then: so the blocks on their way are bounded by 16 and by what is written between two calls.
 */
export class ZstdWriter {
  #worker: Worker | undefined;
  /** The block that is filled, and how far. */
  #block: Uint8Array<ArrayBuffer> | undefined;
  #filled = 0;
  /** Blocks that came back from the worker. */
  #spare: Uint8Array<ArrayBuffer>[] = [];
  #underWay = 0;
  /** Whether a file was begun and not closed yet. */
  #open = false;
  #failure: UsageError | undefined;
  /** Looks again whether what somebody waits for has come. */
  #wake: (() => void) | undefined;

  /** Begins a file. */
  open(path: string): void {
    this.#post({ kind: "open", path });
    this.#open = true;
  }

  /** Appends bytes to the file; they are copied. Throws {@link UsageError} when the worker has failed. */
  write(bytes: Uint8Array): void {
    if (this.#failure !== undefined) throw this.#failure;
    for (let rest = bytes; rest.length > 0;) {
      this.#block ??= this.#spare.pop() ?? new Uint8Array(BLOCK_BYTES);
      const part = rest.subarray(0, BLOCK_BYTES - this.#filled);
      this.#block.set(part, this.#filled);
      this.#filled += part.length;
      rest = rest.subarray(part.length);
      if (this.#filled === BLOCK_BYTES) this.#send(this.#block);
    }
  }

  /** Waits until the worker has nearly caught up. Throws {@link UsageError} when it has failed. */
  async ready(): Promise<void> {
    if (this.#underWay >= BLOCKS_MAX) await this.#until(() => this.#underWay < BLOCKS_MAX / 2);
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** Completes the file, if one is open, and waits until it is closed. Throws {@link UsageError} when that failed. */
  async finish(): Promise<void> {
    if (this.#block !== undefined && this.#filled > 0) this.#send(this.#block);
    if (this.#open) await this.#close(true);
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** Gives up the file, if one is open, and waits until the worker no longer touches it. */
  async abandon(): Promise<void> {
    this.#filled = 0;
    if (this.#open) await this.#close(false);
  }

  /** Ends the worker. */
  stop(): void {
    this.#worker?.terminate();
    this.#worker = undefined;
  }

  async #close(whole: boolean): Promise<void> {
    this.#post({ kind: "close", whole });
    await this.#until(() => !this.#open);
  }

  #send({ buffer }: Uint8Array<ArrayBuffer>): void {
    this.#underWay++;
    this.#post({ kind: "block", buffer, count: this.#filled }, [buffer]);
    this.#block = undefined;
    this.#filled = 0;
  }

  #post(request: ZstdRequest, transfer: ArrayBuffer[] = []): void {
    this.#worker ??= this.#start();
    this.#worker.postMessage(request, transfer);
  }

  #start(): Worker {
    const worker = new Worker(new URL("./zstd_worker.ts", import.meta.url), { type: "module" });
    worker.onmessage = ({ data }: MessageEvent<ZstdReply>) => this.#take(data);
    worker.onerror = (event) => {
      // The worker itself is gone: it will not answer any more.
      event.preventDefault();
      this.#fail(event.message);
      this.#underWay = 0;
      this.#open = false;
      this.#wake?.();
    };
    return worker;
  }

  #take(reply: ZstdReply): void {
    if (reply.kind === "failed") this.#fail(reply.message);
    else if (reply.kind === "closed") this.#open = false;
    else {
      this.#underWay--;
      if (this.#spare.length < BLOCKS_MAX) this.#spare.push(new Uint8Array(reply.buffer));
    }
    this.#wake?.();
  }

  /** The first failure is the one that is told. */
  #fail(message: string): void {
    this.#failure ??= new UsageError(`the result cannot be written: ${message.split("\n")[0]}`);
  }

  async #until(holds: () => boolean): Promise<void> {
    while (!holds()) await new Promise<void>((resolve) => this.#wake = resolve);
    this.#wake = undefined;
  }
}
