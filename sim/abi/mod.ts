/**
 * The registry of wire encodings: the one place that knows them all. A new encoding is a new file and an entry here.
 *
 * ```ts
 * import { encodingNames, encodings } from "./mod.ts";
 *
 * const ranges = [{ pfn: 512, count: 512 }, { pfn: 2048, count: 512 }]; // two huge pages
 * const bytes = encodings.map(({ name, create }) => `${name} ${create({}).sizeOf(ranges)}`);
 * if (bytes[0] !== "pfn-len 32" || bytes[1] !== "pfn-order 16") throw new Error(`${encodingNames()}: ${bytes}`);
 * ```
 *
 * @module
 */
import { bitmap } from "./bitmap.ts";
import type { Encoding } from "./encoding.ts";
import type { Granule } from "./granule.ts";
import { hybrid } from "./hybrid.ts";
import { type EncodingFields, type EncodingOptions, fieldsOf } from "./options.ts";
import { pfnLen } from "./pfn_len.ts";
import { pfnList } from "./pfn_list.ts";
import { pfnOrder } from "./pfn_order.ts";
import { sg } from "./sg.ts";
import { type BitmapWindow, v3Bitmap } from "./v3_bitmap.ts";
import { v4Heads } from "./v4_heads.ts";
import { v5Heads } from "./v5_heads.ts";
import { v6Extended } from "./v6_extended.ts";
import { v8Chunks } from "./v8_chunks.ts";

export type { Range } from "../memory/range.ts";
export type { Encoding, EncodingWork, MessageHead } from "./encoding.ts";
export type { EncodingFields, EncodingOptions } from "./options.ts";

/**
 * An encoding as scenarios and `sim list encodings` know it.
 *
 * @example
 * ```ts
 * import { encodings, type EncodingEntry } from "./mod.ts";
 *
 * const entry: EncodingEntry | undefined = encodings.find(({ name }) => name === "bitmap");
 * const encoding = entry?.create({ granule: "2MiB" });
 * if (encoding?.error({ pfn: 1, count: 512 }) === undefined) throw new Error("page 1 starts no granule of 2 MiB");
 * ```
 */
export interface EncodingEntry {
  /** Name in scenarios, equal to {@link Encoding.name}. */
  readonly name: string;
  /** What a record is, in one line. */
  readonly summary: string;
  /** Where the format comes from: specification, source file or patch set. */
  readonly source: string;
  /** The encoding with these options; options that {@link optionNames} lacks are ignored. Throws RangeError on a wrong value. */
  readonly create: (options: EncodingOptions) => Encoding;
  /** The names of the options that this encoding has: those of {@link options}. */
  readonly optionNames: readonly string[];
  /** The options that this encoding has, with their defaults. */
  readonly options: EncodingFields;
}

/** An entry: the names of its options are those of its fields. */
function entry(
  name: string,
  summary: string,
  source: string,
  optionNames: readonly (keyof EncodingOptions)[],
  create: (options: EncodingOptions) => Encoding,
): EncodingEntry {
  return { name, summary, source, create, optionNames, options: fieldsOf(...optionNames) };
}

/**
 * All encodings, in the order in which they are listed to users.
 *
 * @example
 * ```ts
 * import { encodings } from "./mod.ts";
 *
 * for (const { name, create } of encodings) {
 *   if (create({}).name !== name) throw new Error(`${name} is registered under another name`);
 * }
 * ```
 */
export const encodings: readonly EncodingEntry[] = [
  entry(
    "pfn-len",
    "pairs of first page and page count, 16 bytes a range",
    "Wei Wang's virtio-balloon chunks, v8 of 16 March 2017",
    [],
    () => pfnLen,
  ),
  entry(
    "pfn-order",
    "page frame number and order in one word, 8 bytes an aligned block",
    "Liang Li's unused-page heads, v5 of 30 November 2016",
    [],
    () => pfnOrder,
  ),
  entry(
    "pfn-list",
    "page frame numbers, 4 bytes a page, at most 256 a message",
    "VIRTIO traditional memory balloon, drivers/virtio/virtio_balloon.c",
    [],
    () => pfnList,
  ),
  entry(
    "bitmap",
    "a bit a granule, 4104 bytes a window of 32,768 granules",
    "Liang Li's page bitmap, v3 of 21 October 2016; Dave Hansen's 64 GiB a page, 7 December 2016",
    ["granule"],
    // A scenario hands in any string: bitmap() itself checks it.
    ({ granule = "4KiB" }) => bitmap({ granule: granule as Granule }),
  ),
  entry(
    "hybrid",
    "extents of 8 or 16 bytes, or a window of 4104 bytes where they would take more",
    "Dave Hansen's request of 7 December 2016; the format is hintsim's",
    ["granule"],
    ({ granule = "4KiB" }) => hybrid({ granule: granule as Granule }),
  ),
  entry(
    "v3-bitmap",
    "a header of 32 bytes and up to 32 bitmaps of 32 KiB, a bit a page",
    "Liang Li's virtio-balloon v3 of 21 October 2016, tell_host",
    ["bitmaps", "window", "asPosted"],
    ({ window = "fitted", ...options }) => v3Bitmap({ ...options, window: window as BitmapWindow }),
  ),
  entry(
    "v4-heads",
    "a header of 8 bytes, 8 a block of 64 pages or more, 16 a word of 64 pages that is partly listed",
    "Liang Li's virtio-balloon v4 of 2 and v5 of 30 November 2016, inflation",
    [],
    () => v4Heads,
  ),
  entry(
    "v5-heads",
    "a header of 8 bytes, 8 an aligned block",
    "Liang Li's virtio-balloon v5 of 30 November 2016, unused pages",
    ["asPosted", "garbage"],
    v5Heads,
  ),
  entry(
    "v6-extended",
    "a header of 8 bytes, 8 a range up to 4095 pages, else 16",
    "Liang Li's virtio-balloon v6 of 21 December 2016",
    ["asPosted"],
    v6Extended,
  ),
  entry(
    "v8-chunks",
    "a header of 8 bytes, 16 a range",
    "Wei Wang's virtio-balloon v8 of 16 March 2017",
    [],
    () => v8Chunks,
  ),
  entry(
    "sg",
    "no payload: descriptors of 16 bytes are the ranges",
    "VIRTIO_BALLOON_F_SG, Wei Wang's v12 of July 2017; free page reporting, Linux 5.7",
    [],
    () => sg,
  ),
];

/**
 * The names of all encodings, in registry order: what `encoding:` accepts in a scenario.
 *
 * @example
 * ```ts
 * import { encodingNames } from "./mod.ts";
 *
 * if (!encodingNames().includes("pfn-order")) throw new Error("pfn-order is missing");
 * ```
 */
export function encodingNames(): string[] {
  return encodings.map(({ name }) => name);
}
