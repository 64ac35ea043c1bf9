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
import { bitmap, type Granule } from "./bitmap.ts";
import type { Encoding } from "./encoding.ts";
import { pfnLen } from "./pfn_len.ts";
import { pfnList } from "./pfn_list.ts";
import { pfnOrder } from "./pfn_order.ts";

export type { Range } from "../memory/range.ts";
export type { Encoding, EncodingWork } from "./encoding.ts";

/**
 * The options of all encodings; which of them one has is in {@link EncodingEntry.optionNames}.
 *
 * @example
 * ```ts
 * import { encodings, type EncodingOptions } from "./mod.ts";
 *
 * const options: EncodingOptions = { granule: "4MiB" };
 * const window = { pfn: 0, count: 32_768 * 1024 }; // 128 GiB
 * const bytes = encodings.find(({ name }) => name === "bitmap")?.create(options).sizeOf([window]);
 * if (bytes !== 4104) throw new Error(`wanted one window, not ${bytes} bytes`);
 * ```
 */
export interface EncodingOptions {
  /** Memory that one bit of a `bitmap` stands for: `4KiB` (the default), `2MiB` or `4MiB`. */
  readonly granule?: string;
}

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
  /** The options that this encoding has. */
  readonly optionNames: readonly string[];
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
  {
    name: "pfn-len",
    summary: "pairs of first page and page count, 16 bytes a range",
    source: "Wei Wang's virtio-balloon chunks, v8 of 16 March 2017",
    create: () => pfnLen,
    optionNames: [],
  },
  {
    name: "pfn-order",
    summary: "page frame number and order in one word, 8 bytes an aligned block",
    source: "Liang Li's unused-page heads, v5 of 30 November 2016",
    create: () => pfnOrder,
    optionNames: [],
  },
  {
    name: "pfn-list",
    summary: "page frame numbers, 4 bytes a page, at most 256 a message",
    source: "VIRTIO traditional memory balloon, drivers/virtio/virtio_balloon.c",
    create: () => pfnList,
    optionNames: [],
  },
  {
    name: "bitmap",
    summary: "a bit a granule, 4104 bytes a window of 32,768 granules",
    source: "Liang Li's page bitmap, v3 of 21 October 2016; Dave Hansen's 64 GiB a page, 7 December 2016",
    // A scenario hands in any string: bitmap() itself checks it.
    create: ({ granule = "4KiB" }) => bitmap({ granule: granule as Granule }),
    optionNames: ["granule"],
  },
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
