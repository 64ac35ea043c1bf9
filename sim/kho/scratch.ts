/**
 * Scratch: the memory that the old kernel keeps free of preserved pages, in which the new one boots (KHO's `kho_scratch`).
 *
 * Until its buddy allocator has the rest, all that the new kernel allocates comes from here: its image and data, the page
 * descriptors (64 bytes a page), and memblock's array as it grows (`memblock_set_kho_scratch_only`). Scratch begins at page 0
 * here; then comes what can be preserved; the old kernel's metadata lie at the end of memory.
 */
import { PAGE_SIZE, type Range } from "../memory/range.ts";
import { type Allocate, KhoError } from "./tracker.ts";

/** Bytes of a page descriptor (`struct page`). */
export const DESCRIPTOR_BYTES = 64;

/** The new kernel's own regions without its page descriptors, bytes: image, initramfs, per-CPU areas, hash tables. */
export const BOOT_BYTES = 128 * 2 ** 20;

/** Where things lie, in page frames. */
export interface KhoLayout {
  /** Pages of the machine. */
  readonly pages: number;
  /** Scratch. */
  readonly scratch: Range;
  /** What can be preserved. */
  readonly area: Range;
  /** The old kernel's own memory, for trackers and what they compose. */
  readonly metadata: Range;
}

/** What a successor takes of scratch before it has an allocator, pages: its own regions and the page descriptors. */
export function bootPages(pages: number): number {
  return Math.ceil((pages * DESCRIPTOR_BYTES + BOOT_BYTES) / PAGE_SIZE);
}

/** The size of scratch when nobody says one, pages: twice what the kernel reserved at its own boot (`kho_scratch=200%`). */
export function scratchDefault(pages: number): number {
  return 2 * bootPages(pages);
}

const METADATA_SHARE = 32;
const METADATA_MIN = 4096;
const GIB_PAGES = 2 ** 18;
const BLOCK_PAGES = 1024;

/**
 * Lays out a machine. What can be preserved begins at a multiple of 1 GiB where it has several of them, else of 4 MiB. Throws
 * RangeError when nothing is left for it.
 */
export function khoLayout(pages: number, scratchPages: number): KhoLayout {
  const metadataPages = Math.max(METADATA_MIN, Math.ceil(pages / METADATA_SHARE));
  const end = pages - metadataPages;
  const aligned = (to: number) => Math.ceil(scratchPages / to) * to;
  const start = end - aligned(GIB_PAGES) >= 2 * GIB_PAGES ? aligned(GIB_PAGES) : aligned(BLOCK_PAGES);
  if (start + BLOCK_PAGES > end) {
    throw new RangeError(
      `${pages * PAGE_SIZE} bytes of memory are too few: ${scratchPages * PAGE_SIZE} are scratch ` +
        `and ${metadataPages * PAGE_SIZE} are the old kernel's`,
    );
  }
  return {
    pages,
    scratch: { pfn: 0, count: scratchPages },
    area: { pfn: start, count: end - start },
    metadata: { pfn: end, count: metadataPages },
  };
}

/** Gives the old kernel's own memory, ascending. Throws KhoError ENOMEM at its end. */
export function metadataAllocator({ metadata }: KhoLayout): Allocate {
  let next = metadata.pfn;
  return (bytes) => {
    const pfn = next;
    next += Math.ceil(bytes / PAGE_SIZE);
    if (next <= metadata.pfn + metadata.count) return pfn;
    const mib = metadata.count * PAGE_SIZE / 2 ** 20;
    throw new KhoError("ENOMEM", `the tracker needs more than the ${mib} MiB that the old kernel has for its metadata`);
  };
}

/** The scratch of a kernel that boots. */
export class Scratch {
  /** The regions that the kernel takes for itself, ascending, a page apart from each other so that they stay apart. */
  readonly boot: readonly Range[];
  /** The most pages in use at one time. */
  peakPages: number;
  #pages: number;
  /** Arrays in use, from the end of scratch down. */
  #taken: Range[] = [];
  #bottom: number;

  /** Lays the successor's own regions into scratch. Throws KhoError ENOMEM when they do not fit. */
  constructor({ pages, scratch }: KhoLayout, regions: number) {
    const own = bootPages(pages);
    const each = Math.floor(own / regions);
    const needed = own + regions;
    if (needed > scratch.count) {
      throw new KhoError(
        "ENOMEM",
        `the new kernel does not boot: its own regions and page descriptors take ${needed * PAGE_SIZE} bytes, ` +
          `scratch has ${scratch.count * PAGE_SIZE}`,
      );
    }
    this.boot = Array.from({ length: regions }, (_, i) => ({
      pfn: scratch.pfn + i * (each + 1),
      count: i === regions - 1 ? own - each * (regions - 1) : each,
    }));
    this.#bottom = scratch.pfn + needed;
    this.#pages = scratch.pfn + scratch.count;
    this.peakPages = own;
  }

  /** Finds room from the end of scratch down (`memblock_find_in_range`); -1 when there is none. */
  find(bytes: number): number {
    const wanted = Math.ceil(bytes / PAGE_SIZE);
    let end = this.#pages;
    let at = 0;
    for (; at < this.#taken.length; at++) {
      const { pfn, count } = this.#taken[at];
      if (end - (pfn + count) >= wanted) break;
      end = pfn;
    }
    if (end - wanted < this.#bottom && at === this.#taken.length) return -1;
    this.#taken.splice(at, 0, { pfn: end - wanted, count: wanted });
    const own = this.boot.reduce((sum, { count }) => sum + count, 0);
    this.peakPages = Math.max(this.peakPages, this.#taken.reduce((sum, { count }) => sum + count, own));
    return end - wanted;
  }

  /** Gives room back. */
  give(pfn: number): void {
    this.#taken = this.#taken.filter((one) => one.pfn !== pfn);
  }
}
