/** Tables for the terminal: the comparison of runs, and plain lists. */
import { formatDuration, formatSize } from "../memory/units.ts";
import { PAGE_SIZE } from "../memory/range.ts";
import type { Cell, SummaryRow } from "../summary_row.ts";

/** Columns padded to their widest cell: the first to the left, the others to the right unless they are texts. */
export function formatTable(rows: readonly (readonly string[])[], texts = false): string {
  const widths: number[] = [];
  for (const row of rows) row.forEach((cell, i) => widths[i] = Math.max(widths[i] ?? 0, cell.length));
  const line = (row: readonly string[]) =>
    row.map((cell, i) => i === 0 || texts ? cell.padEnd(widths[i]) : cell.padStart(widths[i])).join("  ").trimEnd();
  return rows.map(line).join("\n") + "\n";
}

type Format = (value: Cell) => string;

const count: Format = (value) => (value ?? undefined) === undefined ? "-" : String(value);
const bytes: Format = (value) => (value ?? undefined) === undefined ? "-" : formatSignedSize(Number(value));
const pages: Format = (value) => (value ?? undefined) === undefined ? "-" : formatSize(Number(value) * PAGE_SIZE);
const time: Format = (value) => (value ?? undefined) === undefined ? "-" : formatDuration(Number(value));

function formatSignedSize(value: number): string {
  return value < 0 ? `-${formatSize(-value)}` : formatSize(value);
}

/** What the comparison shows of each run: label, column of the summary, format. */
const SHOWN: readonly (readonly [label: string, column: string, format: Format])[] = [
  ["resident before", "resident_start_bytes", bytes],
  ["resident after", "resident_end_bytes", bytes],
  ["dropped", "discarded_pages", pages],
  ["refaulted", "refault_pages", pages],
  ["returned", "returned_bytes", bytes],
  ["time to 50 %", "time_to_50_ns", time],
  ["time to 90 %", "time_to_90_ns", time],
  ["free at the end", "free_end_bytes", bytes],
  ["passes", "passes", count],
  ["messages", "messages", count],
  ["kicks", "kicks", count],
  ["exits", "exits", count],
  ["interrupts", "interrupts", count],
  ["bytes on the wire", "payload_bytes", bytes],
  ["ranges", "ranges", count],
  ["driver cpu", "driver_cpu_ns", time],
  ["host cpu", "host_cpu_ns", time],
  ["guest stall", "guest_stall_ns", time],
  ["alloc fails", "alloc_fails", count],
  ["violations", "violations", count],
  ["near misses", "near_misses", count],
];

/** The most runs that stand side by side. */
const SIDE_BY_SIDE_MAX = 6;

/** One comparison of all runs: side by side when there are few, one line each when there are many. */
export function comparisonTable(rows: readonly SummaryRow[]): string {
  const names = shortNames(rows.map(({ run }) => String(run)));
  const table = [
    ["", ...names],
    ...SHOWN.map(([label, column, format]) => [label, ...rows.map((row) => format(row[column]))]),
  ];
  return formatTable(rows.length <= SIDE_BY_SIDE_MAX ? table : transpose(table));
}

/** `policy.kind=per-order` is shown as `per-order` when all runs vary nothing else. */
function shortNames(names: readonly string[]): string[] {
  const keys = new Set(names.map((name) => name.replace(/=.*$/, "")));
  const single = keys.size === 1 && names.every((name) => /^[^,=]+=[^,=]+$/.test(name));
  return names.map((name) => single ? name.replace(/^.*=/, "") : name);
}

function transpose(table: readonly (readonly string[])[]): string[][] {
  return table[0].map((_, column) => table.map((row) => row[column]));
}
