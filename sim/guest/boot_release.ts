/**
 * What a kernel keeps for itself when it boots, and how it gives the rest to the allocator (mm/memblock.c).
 *
 * The figures are those of Debian's kernels in QEMU: recorded guests from 256 MiB to 8 GiB with one to four CPUs are
 * met to the page, see docs/decisions/zones.md.
 */
import { InputError } from "../core/options.ts";
import { pagesOf, type Range } from "../memory/range.ts";
import { MOVABLE, type PageAllocator } from "./allocator.ts";
import { ABOVE_4G } from "./memory_map.ts";
import { highest, intersect, lowest, subtract } from "./range_sets.ts";

/** Pages that one kernel keeps. */
interface KernelPages {
  /** The image and what lies around it, from 16 MiB on, without what is freed later. */
  readonly image: number;
  /** Of no particular size: KFENCE's pool, page tables, node data. */
  readonly other: number;
  /** Pages of start-up code and the initramfs, free only after the watermarks were set. */
  readonly freedLater: number;
}

const KERNELS: Readonly<Record<string, KernelPages>> = {
  "6.1": { image: 11_318, other: 565, freedLater: 3340 },
  "6.12": { image: 9555, other: 568, freedLater: 3292 },
};

/** The image is loaded here, and all pages below 1 MiB are kept (arch/x86/kernel/setup.c). */
const IMAGE_PFN = 4096;
const LOW_PAGES = 256;
/**
 * Bounce buffers when there is memory above 4 GiB: 64 MiB below, their slots and page tables at the top
 * (kernel/dma/swiotlb.c).
 */
const BOUNCE_PAGES = 16_384;
const BOUNCE_SLOTS = 195;
/** Pages of the first per-CPU area of a CPU (mm/percpu.c: 217,088 + 8192 + 28,672 bytes). */
const PER_CPU_PAGES = 62;
/** 128 MiB of memory and their page descriptors of 64 bytes (SPARSEMEM_VMEMMAP). */
const SECTION_PAGES = 32_768;
const SECTION_MAP_PAGES = 512;
/** Hash tables grow more slowly above 64 GiB (mm/page_alloc.c ADAPT_SCALE_BASE). */
const ADAPT_PAGES = 2 ** 24;
const BUCKETS_A_PAGE = 512;

/** What a kernel's share depends on. */
export interface Reserve {
  /** Kernel generation. */
  readonly kernel: string;
  /** Pages that exist, by node. */
  readonly nodes: readonly (readonly Range[])[];
  /** CPUs of each node. */
  readonly nodeCpus: readonly number[];
}

/** Pages that are freed only after the watermarks were set. */
export function freedLaterPages(kernel: string): number {
  return (KERNELS[kernel] ?? KERNELS["6.1"]).freedLater;
}

/** What is left for the allocator when the kernel has taken its own. Throws {@link InputError} when it does not fit. */
export function withoutKernel({ kernel, nodes, nodeCpus }: Reserve): Range[] {
  const { image, other } = KERNELS[kernel] ?? KERNELS["6.1"];
  let free = subtract(nodes.flat(), [{ pfn: 0, count: LOW_PAGES }]);
  const take = (wanted: number, ranges: readonly Range[]) => {
    if (pagesOf(ranges) < wanted) {
      throw new InputError(["reserved"], "the memory is too small for what a kernel keeps of it; use none or a size");
    }
    free = subtract(free, ranges);
  };
  take(image, lowest(intersect(free, IMAGE_PFN, Infinity), image));
  const bounces = intersect(free, ABOVE_4G, Infinity).length > 0;
  if (bounces) take(BOUNCE_PAGES, highest(intersect(free, 0, ABOVE_4G), BOUNCE_PAGES));
  nodes.forEach((present, node) => {
    const first = present[0]?.pfn ?? 0;
    const end = present.reduce((last, { pfn, count }) => Math.max(last, pfn + count), 0);
    const own = sections(present) * SECTION_MAP_PAGES + nodeCpus[node] * PER_CPU_PAGES;
    take(own, highest(intersect(free, first, end), own));
  });
  const common = hashPages(pagesOf(nodes.flat())) + other + (bounces ? BOUNCE_SLOTS : 0);
  take(common, highest(free, common));
  return free;
}

/** What is left when so many pages are kept at the top of memory. Throws {@link InputError} when nothing is. */
export function withoutTop(present: readonly Range[], pages: number): Range[] {
  if (pages >= pagesOf(present)) throw new InputError(["reserved"], "no memory is left for the allocator");
  return subtract(present, highest(present, pages));
}

/** Sections that hold memory. */
function sections(ranges: readonly Range[]): number {
  let count = 0;
  let next = 0;
  for (const range of ranges) {
    const first = Math.max(next, Math.floor(range.pfn / SECTION_PAGES));
    next = Math.max(next, Math.ceil((range.pfn + range.count) / SECTION_PAGES));
    count += Math.max(0, next - first);
  }
  return count;
}

/** The tables of directory entries and inodes: a bucket for every two and every four pages, a power of two. */
function hashPages(pages: number): number {
  const kernelPages = pages - Math.floor(pages / 64);
  let scale = 1;
  for (let limit = ADAPT_PAGES; limit < kernelPages; limit *= 4) scale *= 2;
  const table = (share: number) => {
    let buckets = BUCKETS_A_PAGE;
    while (buckets < kernelPages / (share * scale)) buckets *= 2;
    return buckets / BUCKETS_A_PAGE;
  };
  return table(2) + table(4);
}

/**
 * Gives ranges to an allocator as at boot: in the largest aligned blocks, ascending, each to the tail of its list
 * (`__free_pages_memory`, `__free_pages_core`). So an allocation takes the lowest addresses of a list first.
 *
 * ```ts
 * import { releaseAtBoot } from "./boot_release.ts";
 * import { Buddy } from "./buddy.ts";
 * const dma = new Buddy(1, 4095);
 * releaseAtBoot(dma, [{ pfn: 256, count: 3840 }]);
 * if (dma.nrFree(8) !== 1 || dma.nrFree(9) !== 1 || dma.nrFree(10) !== 3) throw new Error("blocks grow");
 * ```
 */
export function releaseAtBoot(allocator: PageAllocator, free: readonly Range[]): void {
  for (const { pfn, count } of free) allocator.insertRange(pfn, count, MOVABLE);
}
