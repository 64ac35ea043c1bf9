/** Decompressing what a scenario names. */

/** Input that was refused: one sentence, with file, line and column. */
export class LoadError extends Error {
  /** A refusal; the message is the whole sentence. */
  constructor(message: string) {
    super(message);
    this.name = "LoadError";
  }
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
