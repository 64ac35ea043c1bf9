/** Decompressing what a scenario names, with what browsers have too. */

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

/** Header and trailer of a gzip member together; none is shorter. */
const MEMBER_BYTES_MIN = 18;

/**
 * Decompresses gzip, told by its first bytes; of several members one after the other (`cat a.gz b.gz`, `bgzip`) all that they
 * hold. Throws {@link LoadError} naming the file.
 */
export async function unpack(path: string, bytes: Uint8Array): Promise<Uint8Array> {
  if (!beginsMember(bytes, 0)) return bytes;
  const budget: Budget = { path, bytes: 0 };
  const whole = await inflate(bytes, budget);
  if (whole !== undefined) return whole;
  const damage = budget.bytes;
  const parts = await members(bytes, { path, bytes: 0 });
  if (parts === undefined) {
    throw new LoadError(`${path}: the gzip stream is damaged or cut after ${damage} bytes of data`);
  }
  return joined(parts);
}

/** How much a file has unpacked to. */
interface Budget {
  readonly path: string;
  bytes: number;
}

/**
 * The stream of the web refuses a second member, so a file of several is cut where one may begin: what unpacks without an
 * error has its checksum and is one. Undefined when the file is not made of members.
 */
async function members(bytes: Uint8Array, budget: Budget): Promise<Uint8Array[] | undefined> {
  const parts: Uint8Array[] = [];
  let start = 0;
  for (let at = MEMBER_BYTES_MIN; at <= bytes.length; at++) {
    if (at < bytes.length && (at - start < MEMBER_BYTES_MIN || !beginsMember(bytes, at))) continue;
    const before = budget.bytes;
    const part = await inflate(bytes.subarray(start, at), budget);
    if (part === undefined) {
      budget.bytes = before;
      continue;
    }
    parts.push(part);
    start = at;
  }
  return start === bytes.length ? parts : undefined;
}

/** Whether a gzip header with deflate begins there. */
function beginsMember(bytes: Uint8Array, at: number): boolean {
  return bytes[at] === 0x1f && bytes[at + 1] === 0x8b;
}

/** Unpacks one member; undefined when it is damaged, cut, or followed by something. */
async function inflate(bytes: Uint8Array, budget: Budget): Promise<Uint8Array | undefined> {
  const stream = new Blob([bytes as Uint8Array<ArrayBuffer>]).stream().pipeThrough(new DecompressionStream("gzip"));
  const parts: Uint8Array[] = [];
  try {
    for await (const part of stream) {
      parts.push(part);
      budget.bytes += part.length;
      if (budget.bytes > UNPACKED_MAX) {
        throw new LoadError(`${budget.path}: unpacks to more than ${UNPACKED_MAX} bytes`);
      }
    }
  } catch (error) {
    if (error instanceof LoadError) throw error;
    return undefined;
  }
  return joined(parts);
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.length;
  }
  return whole;
}
