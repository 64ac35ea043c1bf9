/**
 * Start states from what a guest's /proc tells, or from an amount of free memory alone, as snapshots of a recording.
 *
 * /proc/kpageflags marks every page of a free block (checked on 6.1; a kernel that marks heads only would show far fewer free
 * pages than zoneinfo, which is reported). Runs of such pages split into maximal aligned blocks are the kernel's blocks. Not
 * seen there: the order of the lists, the pages on per-CPU lists (they count as in use), and the migratetypes.
 */
import { InputError } from "../core/options.ts";
import { PageBitmap } from "../memory/bitmap.ts";
import { forEachAlignedBlock, ORDER_PAGES, PAGE_SIZE } from "../memory/range.ts";
import { MIGRATETYPE_COUNT, MOVABLE, ORDER_MAX, PAGEBLOCK_PAGES } from "./allocator.ts";
import { layoutZones } from "./layout.ts";
import { type FreeBlock, guessPageblockTypes, hasFlag, pageblock } from "./pageblock_types.ts";
import { parsePagetypeinfo, parseZoneinfo, type ProcPageTypes, type ProcZone } from "./proc_files.ts";
import { fitToRows, type RowsFit } from "./start_fit.ts";
import type { RowsWithSnapshot } from "./trace_rows.ts";

/** Bits of /proc/kpageflags (include/uapi/linux/kernel-page-flags.h). */
const KPF_BUDDY = 10;
const KPF_NOPAGE = 20;

const FLAGS_BYTES = 8;

/** A snapshot in the form of the file beside a recording. */
export interface StartSnapshot {
  /** Pages of the guest's physical address space. */
  readonly npages: number;
  /** Zones, ascending. */
  readonly zones: readonly {
    readonly name: string;
    readonly wm: readonly number[];
    readonly start: number;
    readonly managed: number;
    readonly spanned: number;
    readonly present: number;
  }[];
  /** Lists: zone, order, migratetype, blocks from head to tail. */
  readonly free: readonly (readonly [zone: number, order: number, migratetype: number, pfns: readonly number[]])[];
  /** Blocks marked Reported: unknown. */
  readonly reported: readonly number[];
  /** Migratetypes of the pageblocks, as digits, by the number of the first. */
  readonly pageblock_mt_at: Readonly<Record<string, string>>;
}

/** A start state, and what is not exact in it. */
export interface StartState {
  /** The snapshot. */
  readonly snapshot: StartSnapshot;
  /** One sentence each. */
  readonly notices: readonly string[];
}

/** What a start state is made from. */
export interface ProcFiles {
  /** /proc/kpageflags: a number of 64 bits per page, little endian. */
  readonly kpageflags: Uint8Array;
  /** /proc/zoneinfo. */
  readonly zoneinfo: string;
  /** /proc/pagetypeinfo; without it all pageblocks are movable that no row says otherwise of. */
  readonly pagetypeinfo?: string | undefined;
}

/** The start state of the recording whose rows are given, at the row of its snapshot; without rows, of the files alone. */
export function stateFromProc(files: ProcFiles, recorded?: RowsWithSnapshot): StartState {
  const zones = within("zoneinfo", () => parseZoneinfo(files.zoneinfo)).sort((a, b) => a.startPfn - b.startPfn);
  const { pagetypeinfo } = files;
  const types = pagetypeinfo === undefined ? undefined : within("pagetypeinfo", () => parsePagetypeinfo(pagetypeinfo));
  const pages = files.kpageflags.length / FLAGS_BYTES;
  if (!Number.isInteger(pages) || pages < PAGEBLOCK_PAGES) {
    throw new InputError(["kpageflags"], `has ${files.kpageflags.length} bytes; wanted are 8 for each page`);
  }
  const free = new PageBitmap(pages);
  for (let pfn = 0; pfn < pages; pfn++) if (hasFlag(files.kpageflags, pfn, KPF_BUDDY)) free.setRange(pfn, 1);
  const fit = recorded === undefined ? undefined : fitToRows(free, recorded.rows, recorded.from, recorded.at);
  const blocks = zones.map((zone) => blocksOf(free, zone));
  const known = fit?.types ?? new Map<number, number>();
  const typeOf = guessPageblockTypes(files.kpageflags, zones, blocks, types, known);
  return {
    snapshot: snapshotOf(pages, zones, blocks, typeOf, (pfn) => !hasFlag(files.kpageflags, pfn, KPF_NOPAGE)),
    notices: noticesOf(zones, blocks, types, typeOf, fit),
  };
}

/**
 * The start state of a guest of which only the amount of free memory is known: laid out like a freshly booted one, what is in
 * use being the lowest pages of its largest zone. Throws {@link InputError} when more is free than there is.
 *
 * ```ts
 * import { stateFromFreeMemory } from "./start_state.ts";
 * const { snapshot } = stateFromFreeMemory(2 ** 30, 2 ** 29);
 * if (snapshot.npages !== 262144) throw new Error("1 GiB");
 * ```
 */
export function stateFromFreeMemory(
  memoryBytes: number,
  freeBytes: number,
  recorded?: RowsWithSnapshot,
): StartState {
  const pages = Math.floor(memoryBytes / PAGE_SIZE);
  let used = pages - Math.floor(freeBytes / PAGE_SIZE);
  if (used < 0) throw new InputError([], "more is free than there is memory");
  const free = new PageBitmap(pages);
  free.setRange(0, pages);
  const zones = layoutZones(memoryBytes, true).map(({ name, allocator, managedPages, watermarks }) => ({
    name,
    node: 0,
    startPfn: allocator.startPfn,
    spannedPages: allocator.pages,
    presentPages: allocator.pages,
    managedPages,
    watermarks: [watermarks.min, watermarks.low, watermarks.high] as const,
    freePages: 0,
    pcpPages: [],
  }));
  for (const zone of [...zones].sort((a, b) => b.spannedPages - a.spannedPages)) {
    const taken = Math.min(used, zone.spannedPages);
    if (taken > 0) free.clearRange(zone.startPfn, taken);
    used -= taken;
  }
  const fit = recorded === undefined ? undefined : fitToRows(free, recorded.rows, recorded.at, recorded.at);
  const blocks = zones.map((zone) => blocksOf(free, zone));
  const typeOf = (block: number) => fit?.types.get(block) ?? MOVABLE;
  const repaired = fit?.repairedPages ?? 0;
  const notices = repaired === 0 ? [] : [`${repaired} pages are free or in use as the rows say, not as laid out`];
  return { snapshot: snapshotOf(pages, zones, blocks, typeOf, () => true), notices };
}

function blocksOf(free: PageBitmap, { startPfn, spannedPages }: ProcZone): FreeBlock[] {
  const blocks: FreeBlock[] = [];
  const count = Math.min(spannedPages, free.pages - startPfn);
  if (count <= 0) return blocks;
  free.forEachRun(startPfn, count, true, (pfn, pages) => {
    forEachAlignedBlock(pfn, pages, ORDER_MAX, (head, order) => blocks.push({ pfn: head, order }));
  });
  return blocks;
}

function snapshotOf(
  npages: number,
  zones: readonly ProcZone[],
  blocks: readonly FreeBlock[][],
  typeOf: (block: number) => number,
  isPresent: (pfn: number) => boolean,
): StartSnapshot {
  const free: [number, number, number, number[]][] = [];
  for (const [zone, list] of blocks.entries()) {
    for (let order = 0; order <= ORDER_MAX; order++) {
      for (let type = 0; type < MIGRATETYPE_COUNT; type++) {
        const pfns = list.filter((block) => block.order === order && typeOf(pageblock(block.pfn)) === type)
          .map(({ pfn }) => pfn);
        if (pfns.length > 0) free.push([zone, order, type, pfns]);
      }
    }
  }
  return {
    npages,
    zones: zones.map((zone) => ({
      name: zone.name,
      wm: zone.watermarks,
      start: zone.startPfn,
      managed: zone.managedPages,
      spanned: zone.spannedPages,
      present: zone.presentPages,
    })),
    free,
    reported: [],
    pageblock_mt_at: digitsOf(npages, typeOf, isPresent),
  };
}

/** Runs of pageblocks that have a page, as digits. */
function digitsOf(npages: number, typeOf: (block: number) => number, isPresent: (pfn: number) => boolean) {
  const runs: Record<string, string> = {};
  let start = -1;
  for (let block = 0; block * PAGEBLOCK_PAGES < npages; block++) {
    const last = Math.min(npages, (block + 1) * PAGEBLOCK_PAGES) - 1;
    if (!isPresent(block * PAGEBLOCK_PAGES) && !isPresent(last)) start = -1;
    else {
      if (start < 0) runs[start = block] = "";
      runs[start] += typeOf(block);
    }
  }
  return runs;
}

function noticesOf(
  zones: readonly ProcZone[],
  blocks: readonly FreeBlock[][],
  types: readonly ProcPageTypes[] | undefined,
  typeOf: (block: number) => number,
  fit: RowsFit | undefined,
): string[] {
  const notices: string[] = [];
  const perCpu = zones.reduce((sum, { pcpPages }) => sum + pcpPages.reduce((all, pages) => all + pages, 0), 0);
  if (perCpu > 0) {
    notices.push(`${perCpu} pages on per-CPU lists count as in use, as kpageflags does not tell them apart`);
  }
  for (const [index, zone] of zones.entries()) {
    const free = blocks[index].reduce((sum, { order }) => sum + ORDER_PAGES[order], 0);
    const difference = free - zone.freePages;
    if (difference !== 0) {
      notices.push(
        `zone ${zone.name}: kpageflags has ${Math.abs(difference)} free pages ${
          difference > 0 ? "more" : "fewer"
        } than zoneinfo, read at another moment`,
      );
    }
    const counts = types?.find(({ node, name }) => node === zone.node && name === zone.name);
    const off = counts === undefined ? 0 : typesOff(blocks[index], counts, typeOf);
    if (off > 0) {
      notices.push(`zone ${zone.name}: by order and migratetype ${off} free blocks differ from pagetypeinfo`);
    }
  }
  if (types === undefined) notices.push("without pagetypeinfo, pageblocks are movable unless a row says otherwise");
  if (fit !== undefined && fit.repairedPages > 0) {
    notices.push(`${fit.repairedPages} pages changed hands while the files were read; they are as the rows say`);
  }
  return notices;
}

/** How many blocks of a zone stand on another list than pagetypeinfo counts. */
export function typesOff(
  blocks: readonly FreeBlock[],
  counts: ProcPageTypes,
  typeOf: (block: number) => number,
): number {
  const off = counts.free.map((orders) => orders.map((count) => -count));
  for (const { pfn, order } of blocks) off[typeOf(pageblock(pfn))][order]++;
  return off.flat().reduce((sum, difference) => sum + Math.abs(difference), 0);
}

/** Runs a parser, so that its problem names the file. */
function within<T>(file: string, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    if (error instanceof InputError) throw new InputError([file, ...error.path], error.message);
    throw error;
  }
}
