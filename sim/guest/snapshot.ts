/** Snapshots of a kernel's free lists, by tag, as recorded beside a page trace. */
import { z } from "zod";
import { field, InputError, parseField, show } from "../core/options.ts";
import { ORDER_MAX } from "./allocator.ts";
import { ORDER_PAGES } from "../memory/range.ts";
import type { RecordedPerCpu, RecordedState, RecordedZone } from "./operations.ts";

/** The most pages of a recorded guest: 8 TiB. */
const PAGES_MAX = 2 ** 31;

const pages = z.int().min(0).max(2 * PAGES_MAX);

const zoneSchema = z.object({
  name: z.string(),
  wm: z.array(pages).min(3),
  start: pages,
  managed: pages,
  spanned: pages.min(1),
  present: pages,
});

/** Lists of one CPU and zone. */
const LISTS = 14;

/** A list of whole numbers, looked at by one function: per-CPU lists hold tens of thousands. */
function numbersTo(max: number) {
  const fits = (value: unknown) => Number.isInteger(value) && (value as number) >= 0 && (value as number) <= max;
  return z.custom<number[]>((value) => Array.isArray(value) && value.every(fits), {
    error: `wanted is a list of whole numbers from 0 to ${max}`,
  });
}

const perCpuSchema = z.object({
  high: pages,
  batch: pages.min(1),
  lists: z.array(numbersTo(2 * PAGES_MAX)).length(LISTS),
  mts: z.array(numbersTo(4)).length(LISTS).optional(),
  free_factor: z.int().min(0).max(16).default(0),
  high_min: pages.optional(),
  high_max: pages.optional(),
  flags: z.int().min(0).max(255).default(0),
  alloc_factor: z.int().min(0).max(16).default(0),
  free_count: z.int().min(0).max(2 ** 15).default(0),
});

const snapshotSchema = z.object({
  kernel: z.string().nullish(),
  pcp: z.array(z.tuple([z.int().min(0), z.int().min(0).max(4095), perCpuSchema])).default([]),
  npages: z.int().min(1).max(PAGES_MAX),
  zones: z.array(zoneSchema).min(1),
  free: z.array(z.tuple([z.int().min(0), z.int().min(0).max(ORDER_MAX), z.int().min(0).max(4), z.array(pages)])),
  reported: z.array(pages).default([]),
  pageblock_mt: z.string().nullish(),
  pageblock_mt_at: z.record(z.string().regex(/^\d+$/), z.string()).nullish(),
});

const fileSchema = field(z.record(z.string(), snapshotSchema), undefined, { summary: "snapshots by tag" });

type Snapshot = z.infer<typeof snapshotSchema>;

/** The snapshots of a file by tag, in the order of the file. */
export type Snapshots = ReadonlyMap<string, RecordedState>;

/** Reads the decompressed bytes of a snapshot file. Throws {@link InputError} with the path inside the JSON. */
export function readSnapshots(bytes: Uint8Array): Snapshots {
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder().decode(bytes));
  } catch (error) {
    throw new InputError([], `not JSON: ${(error as Error).message}`);
  }
  const file = parseField(fileSchema, json, []);
  const snapshots = new Map<string, RecordedState>();
  for (const [tag, snapshot] of Object.entries(file)) snapshots.set(tag, toState(tag, snapshot));
  if (snapshots.size === 0) throw new InputError([], "no snapshot in the file");
  return snapshots;
}

function toState(tag: string, snapshot: Snapshot): RecordedState {
  const zones = snapshot.zones.map((zone): RecordedZone => ({
    name: zone.name,
    startPfn: zone.start,
    spannedPages: zone.spanned,
    presentPages: zone.present,
    managedPages: zone.managed,
    watermarks: [zone.wm[0], zone.wm[1], zone.wm[2]],
  }));
  for (const [index, zone] of zones.entries()) checkZone(tag, index, zone, zones[index - 1], snapshot.npages);
  const taken = new Set<number>();
  const free = snapshot.free.map(([zone, order, migratetype, pfns], list) => {
    if (zone >= zones.length) throw new InputError([tag, "free", list], `there is no zone ${zone}`);
    for (const pfn of pfns) checkBlock([tag, "free", list], zones[zone], pfn, order, taken);
    return { zone, order, migratetype, pfns };
  });
  return {
    pages: snapshot.npages,
    zones,
    free,
    reported: snapshot.reported,
    perCpu: snapshot.pcp.filter(([zone]) => zone < zones.length).map(perCpuOf),
    kernel: snapshot.kernel ?? undefined,
    pageblockType: pageblockTypes(tag, snapshot),
  };
}

function perCpuOf([zone, cpu, lists]: Snapshot["pcp"][number]): RecordedPerCpu {
  return {
    zone,
    cpu,
    batch: lists.batch,
    high: lists.high,
    highMin: lists.high_min ?? lists.high,
    highMax: lists.high_max ?? lists.high,
    freeFactor: lists.free_factor,
    allocFactor: lists.alloc_factor,
    freeCount: lists.free_count,
    flags: lists.flags,
    lists: lists.lists,
    types: lists.mts,
  };
}

function checkZone(
  tag: string,
  index: number,
  zone: RecordedZone,
  before: RecordedZone | undefined,
  npages: number,
): void {
  const path = [tag, "zones", index];
  const end = zone.startPfn + zone.spannedPages;
  if (before !== undefined && zone.startPfn < before.startPfn + before.spannedPages) {
    throw new InputError(path, "the zone overlaps the one before it");
  }
  if (end > Math.max(npages, 2 ** 20) * 2) {
    throw new InputError(path, `the zone ends at page ${end}, far beyond the guest`);
  }
  if (zone.presentPages > zone.spannedPages || zone.managedPages > zone.presentPages) {
    throw new InputError(path, "managed, present and spanned pages do not ascend");
  }
}

function checkBlock(
  path: (string | number)[],
  zone: RecordedZone,
  pfn: number,
  order: number,
  taken: Set<number>,
): void {
  const end = zone.startPfn + zone.spannedPages;
  if (pfn % ORDER_PAGES[order] !== 0) throw new InputError(path, `block ${pfn} is not aligned to order ${order}`);
  if (pfn < zone.startPfn || pfn + ORDER_PAGES[order] > end) {
    throw new InputError(path, `block ${pfn} lies outside its zone`);
  }
  if (taken.has(pfn)) throw new InputError(path, `block ${pfn} is listed twice`);
  taken.add(pfn);
}

/** A function from pageblock number to migratetype, from one text of digits or several with their first pageblock. */
function pageblockTypes(tag: string, snapshot: Snapshot): (block: number) => number {
  const runs = new Map<number, string>();
  if (typeof snapshot.pageblock_mt === "string") runs.set(0, snapshot.pageblock_mt);
  for (const [first, digits] of Object.entries(snapshot.pageblock_mt_at ?? {})) runs.set(Number(first), digits);
  const types = new Map<number, number>();
  for (const [first, digits] of runs) {
    for (let i = 0; i < digits.length; i++) {
      const type = digits.charCodeAt(i) - 48;
      if (!(type >= 0 && type <= 4)) {
        throw new InputError([tag, "pageblock_mt"], `${show(digits[i])} is not a migratetype`);
      }
      types.set(first + i, type);
    }
  }
  return (block) => types.get(block) ?? -1;
}
