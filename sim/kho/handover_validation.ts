/**
 * V15: the handover of 48 GiB of order-0 pages that Pratyush Yadav measured in April 2025 (lkml 2504.0/04211).
 *
 * K1 is the calibration of `kho-2025`. What is predicted: the page tables of the same mail (K2), the reservations (K3), and the
 * bytes of the bitmaps (K4).
 */
import { K1, kho2025, type KhoCosts, khoCostsOf, operationsNs } from "./costs.ts";
import { type HandedOver, handOver, type HandoverParts } from "./handover.ts";
import { restoreHandover } from "./restore.ts";
import { khoLayout, scratchDefault } from "./scratch.ts";
import { pageTables } from "./tables_pages.ts";
import type { TrackerPlugin } from "./tracker.ts";
import { oneRange } from "./workloads/one_range.ts";
import { xarrayBitmaps512 } from "./xarray_512.ts";

/** One figure against its target. */
export interface ValidationRow {
  /** What is compared, with its unit. */
  readonly name: string;
  /** The published figure. */
  readonly target: number;
  /** The simulated one. */
  readonly value: number;
  /** How far it may be off, in the unit of the figure; Infinity above a target that is a lower bound. */
  readonly tolerance: number;
  /** Whether it is within. */
  readonly ok: boolean;
  /** Assumed inputs that enter the figure, and whether it stays within when one of them is half or one and a half as large. */
  readonly assumed: readonly AssumedInput[];
}

/** What becomes of a figure when an assumed input is another. */
export interface AssumedInput {
  /** The input. */
  readonly name: string;
  /** The figure with half of it, and with one and a half. */
  readonly values: readonly [low: number, high: number];
  /** Whether both are within the tolerance. */
  readonly ok: boolean;
}

/** Published, April 2025: K2 in ms, K3 in s at least, K4 in bytes. */
const K2_MS = 469;
const K3_S = 2;
const BITMAPS = 3072;
const BITMAP_BYTES = 512;

const MEMORY_PAGES = 64 * 2 ** 18;
const BOOT_REGIONS = 32;

/** Runs the experiment: two trackers, one restore. About three seconds. */
export function validateV15(): readonly ValidationRow[] {
  const costs = khoCostsOf(kho2025);
  const xarray = preserved(xarrayBitmaps512, costs);
  const tables = preserved(pageTables, costs);
  const k1Ms = timeMs(xarray.handed, costs);
  const bitmaps = xarray.handed.tracker.explain().find(({ bytesEach }) => bytesEach === BITMAP_BYTES)!;
  return [
    within("K1, calibration: xarray of bitmaps, preserve and serialise, ms", K1.timeNs / 1e6, k1Ms, 0.007 * 577),
    ratio(xarray.handed, tables.handed, costs),
    reservations(xarray.parts, xarray.handed),
    within("K4: bitmaps of 512 bytes", BITMAPS, bitmaps.count, 0),
    within("K4: their bytes", 1.5 * 2 ** 20, bitmaps.count * bitmaps.bytesEach, 0),
  ];
}

function preserved(plugin: TrackerPlugin, costs: KhoCosts): { parts: HandoverParts; handed: HandedOver } {
  const layout = khoLayout(MEMORY_PAGES, scratchDefault(MEMORY_PAGES));
  const random = (): never => {
    throw new Error("one range needs no random numbers");
  };
  const workload = oneRange.create({ area: layout.area, random }, { size: K1.pages * 4096, order: 0 });
  const parts = { plugin, workload, layout, costs, overNs: 1e9, bootRegions: BOOT_REGIONS, threads: 0 };
  return { parts, handed: handOver(parts, []) };
}

function timeMs({ before, serializing }: HandedOver, costs: KhoCosts): number {
  return (operationsNs(before, costs) + operationsNs(serializing, costs)) / 1e6;
}

/** Steps cost what K1 says; what an allocation takes is assumed, and hardly counts. */
function ratio(xarray: HandedOver, tables: HandedOver, costs: KhoCosts): ValidationRow {
  const name = "K1 : K2, xarray of bitmaps against page tables";
  const ratioAt = (by: number) => {
    const changed = { ...costs, allocNs: by * costs.allocNs };
    return timeMs(xarray, changed) / timeMs(tables, changed);
  };
  const row = within(name, K1.timeNs / 1e6 / K2_MS, ratioAt(1), 0.05);
  const values = [ratioAt(0.5), ratioAt(1.5)] as const;
  const ok = values.every((value) => Math.abs(value - row.target) <= row.tolerance);
  return { ...row, assumed: [{ name: "allocNs", values, ok }] };
}

function within(name: string, target: number, value: number, tolerance: number): ValidationRow {
  return { name, target, value, tolerance, ok: Math.abs(value - target) <= tolerance, assumed: [] };
}

/** K3 rests on what nobody measured: how many regions come first, and what scanning one and touching a descriptor take. */
function reservations(parts: HandoverParts, handed: HandedOver): ValidationRow {
  const { costs, bootRegions } = parts;
  const seconds = (changed: Partial<HandoverParts>) => {
    const { handover, free } = handed;
    const { walk, reserve } = restoreHandover({ ...parts, ...changed, handover, free, mode: "memblock" });
    return (walk.ns + reserve.ns) / 1e9;
  };
  const assume = (name: string, changed: (factor: number) => Partial<HandoverParts>): AssumedInput => {
    const values = [seconds(changed(0.5)), seconds(changed(1.5))] as const;
    return { name, values, ok: values.every((value) => value > K3_S) };
  };
  const value = seconds({});
  return {
    name: "K3: kho_mem_deserialize with memblock, s, more than",
    target: K3_S,
    value,
    tolerance: Infinity,
    ok: value > K3_S,
    assumed: [
      assume("scanNs", (factor) => ({ costs: { ...costs, scanNs: factor * costs.scanNs } })),
      assume("touchDescriptorNs", (by) => ({ costs: { ...costs, touchDescriptorNs: by * costs.touchDescriptorNs } })),
      assume("bootRegions", (factor) => ({ bootRegions: factor * bootRegions })),
    ],
  };
}
