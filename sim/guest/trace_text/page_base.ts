/**
 * From the address of a struct page to its page frame number. Kprobes see the address only. Where the array begins is told by
 * a field `base=` (the recorder reads `vmemmap_base`), or found from tracepoints that print both without hashing.
 */
import { fieldText, pointer } from "./kernel_events.ts";

/** Bytes of a struct page on x86-64. */
const STRUCT_PAGE_BYTES = 64n;
/** Kernel addresses begin here. */
const KERNEL_HALF = 1n << 63n;

/** What is known of the array of struct pages. */
export class PageBase {
  #base: bigint | undefined;
  #candidate: bigint | undefined;
  #candidatePfn = -1;
  #tries = 0;

  /** Looks at a line that has both page and pfn, until two of them agree or the addresses are seen to be hashed. */
  learn(body: string, pfn: number): void {
    if (this.#tries > 8 || this.#base !== undefined || pfn === this.#candidatePfn) return;
    this.#tries++;
    const page = pointer(fieldText(body, "page"));
    if (page === undefined || page < KERNEL_HALF) return;
    const base = page - BigInt(pfn) * STRUCT_PAGE_BYTES;
    if (base === this.#candidate) this.#base = base;
    this.#candidate = base;
    this.#candidatePfn = pfn;
  }

  /** The page frame number of the page of a line, -1 when it cannot be known. */
  pfnOf(body: string, pfnMax: number): number {
    const page = pointer(fieldText(body, "page"));
    const base = pointer(fieldText(body, "base")) ?? this.#base;
    if (page === undefined || base === undefined || page < base) return -1;
    const bytes = page - base;
    const pfn = bytes / STRUCT_PAGE_BYTES;
    return bytes % STRUCT_PAGE_BYTES !== 0n || pfn > BigInt(pfnMax) ? -1 : Number(pfn);
  }
}
