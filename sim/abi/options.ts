/**
 * The options of encodings, as fields that a scenario is checked against.
 *
 * @module
 */
import { choice, type Field, flag, integer, type Options } from "../core/options.ts";
import { granulePages } from "./granule.ts";
import { bitmapWindows } from "./v3_bitmap.ts";

/**
 * The options of all encodings; which of them one has is in its entry.
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
  /** Memory that one bit stands for: `4KiB` (the default), `2MiB` or `4MiB`. */
  readonly granule?: string;
  /** Whether bytes are those of the posted code where that had a bug; false unless given. */
  readonly asPosted?: boolean;
  /** What an uninitialised field holds, 0 to 63; 0 unless given. */
  readonly garbage?: number;
  /** Bitmaps of 32 KiB that the sender has, 1 to 32; 32 unless given. */
  readonly bitmaps?: number;
  /** Which pages a bitmap has bits for: `fitted` (the default) or `whole`. */
  readonly window?: string;
}

/** Some of the options, by name. */
export type EncodingFields = Options<Record<string, unknown>>;

const FIELDS: { readonly [name in keyof EncodingOptions]-?: Field } = {
  granule: choice("4KiB", Object.keys(granulePages), { summary: "memory that one bit stands for" }),
  asPosted: flag(false, { summary: "the bytes of the posted code, bugs included" }),
  garbage: integer(0, 0, 63, {
    summary: "what the posted code leaves in bmap_len; only with asPosted",
    source: "kmalloc without zeroing, mark_unused_pages of v5",
  }),
  bitmaps: integer(32, 1, 32, { summary: "bitmaps of 32 KiB that the sender has", source: "BALLOON_BMAP_COUNT" }),
  window: choice("fitted", bitmapWindows, {
    summary: "bits from the first to the last listed page, or for all pages of the bitmaps",
    source: "tell_host and send_unused_pages_info of v3",
  }),
};

/** The fields of these options. */
export function fieldsOf(...names: (keyof EncodingOptions)[]): EncodingFields {
  return { fields: Object.fromEntries(names.map((name) => [name, FIELDS[name]])) };
}
