/**
 * What a slot keeps for its pages beside its entry in the table: reverse maps, write tracking, large-page counts and dirty
 * bitmaps (David Hildenbrand on memory slots of virtio-mem, Aug 2023; struct kvm_arch_memory_slot of x86).
 */
import { PAGE_SIZE } from "../memory/range.ts";
import type { ByteTerm } from "./slot_table.ts";

/** How a VM is set up. */
export interface MetadataOptions {
  /** Whether EPT is walked by the TDP MMU, so that reverse maps are only made when a nested guest needs them. */
  readonly tdpMmu: boolean;
  /** Whether the slots are there a second time for SMM. */
  readonly smm: boolean;
  /** Whether dirty pages are logged, in two bitmaps. */
  readonly dirtyLog: boolean;
}

const PAGES_2M = 512;
const PAGES_1G = 512 * 512;

/** The sum for a slot of so many pages. */
export function metadataTerms(pages: number, { tdpMmu, smm, dirtyLog }: MetadataOptions): readonly ByteTerm[] {
  const large = Math.ceil(pages / PAGES_2M);
  const giant = Math.ceil(pages / PAGES_1G);
  const terms: ByteTerm[] = tdpMmu ? [] : [
    { what: `rmap: 8 x ${pages} pages of 4 KiB`, bytes: 8 * pages },
    { what: `rmap: 8 x ${large} pages of 2 MiB`, bytes: 8 * large },
    { what: `rmap: 8 x ${giant} pages of 1 GiB`, bytes: 8 * giant },
  ];
  terms.push(
    { what: `write track: 2 x ${pages} pages of 4 KiB`, bytes: 2 * pages },
    { what: `lpage_info: 4 x ${large} pages of 2 MiB`, bytes: 4 * large },
    { what: `lpage_info: 4 x ${giant} pages of 1 GiB`, bytes: 4 * giant },
  );
  // Longs of 64 bits, two bitmaps: one is filled while the other is read.
  if (dirtyLog) terms.push({ what: `dirty bitmaps: 2 bits x ${pages} pages`, bytes: 2 * 8 * Math.ceil(pages / 64) });
  return smm ? terms.map(({ what, bytes }) => ({ what: `2 address spaces x ${what}`, bytes: 2 * bytes })) : terms;
}

/** The sum itself, bytes, for a slot of so many bytes. */
export function metadataBytes(slotBytes: number, options: MetadataOptions): number {
  return metadataTerms(slotBytes / PAGE_SIZE, options).reduce((sum, { bytes }) => sum + bytes, 0);
}
