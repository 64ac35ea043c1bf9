/** What the command `kho` prints: one table over workloads, trackers and restores, and the sums that bytes are. */
import type { KhoFigure } from "../kho/figures.ts";
import { bytesOf, type BytesTerm } from "../kho/tracker.ts";
import type { KhoResult } from "../kho_run.ts";
import { PAGE_SIZE } from "../memory/range.ts";
import { formatDuration, formatSize } from "../memory/units.ts";
import type { SummaryRow } from "../summary_row.ts";
import { formatTable } from "./table.ts";

type CellOf = (row: SummaryRow) => string;

/** Where a run ended before it had this figure. */
const NO_VALUE = "-";

/** A cell of a column that has a number, or none. */
function cellOf(column: string, format: (value: number) => string): CellOf {
  return (row) => {
    const value = row[column];
    return typeof value === "number" ? format(value) : NO_VALUE;
  };
}

const sized = (column: string) => cellOf(column, formatSize);
const pages = (column: string) => cellOf(column, (value) => formatSize(value * PAGE_SIZE));
const timed = (column: string) => cellOf(column, formatDuration);
const plain = (column: string) => cellOf(column, String);

/** Three digits that count. */
const counted = (column: string) =>
  cellOf(column, (value) => value < 1e6 ? String(value) : value.toExponential(2).replace("e+", "e"));

/** Columns that stand at the left. */
const TEXTS = ["workload", "tracker", "restore"];

/**
 * Titles, and what stands below: bytes; operations and time before the blackout; operations and time in it (the visits of the
 * restore by part, the time of all four); time after it; what the successor has free.
 */
const SHOWN: readonly (readonly [title: string, cell: CellOf])[] = [
  ["preserved", pages("preserved_pages")],
  ["kept", sized("kept_bytes")],
  ["serialised", sized("serialized_bytes")],
  ["steps before", counted("calls_steps")],
  ["time before", timed("calls_ns")],
  ["steps", counted("serialize_steps")],
  ["serialising", timed("serialize_ns")],
  ["walk", counted("walk_visits")],
  ["reserve", counted("reserve_visits")],
  ["memmap", counted("memmap_visits")],
  ["buddy", counted("buddy_visits")],
  ["restoring", timed("restore_ns")],
  ["blackout", timed("blackout_ns")],
  ["time after", timed("claim_ns")],
  ["largest order", plain("largest_free_order")],
  ["longest run", pages("largest_free_run_pages")],
];

/** One line for each workload, tracker and restore. */
export function khoTable(results: readonly KhoResult[]): string {
  const lines = results.map(({ row }) => [
    ...TEXTS.map((column) => String(row[column])),
    ...SHOWN.map(([, cell]) => cell(row)),
  ]);
  const table = [[...TEXTS, ...SHOWN.map(([title]) => title)], ...lines];
  const widths = TEXTS.map((_, column) => Math.max(...table.map((line) => line[column].length)));
  return formatTable(table.map((line) => [
    widths.map((width, column) => line[column].padEnd(width)).join("  "),
    ...line.slice(TEXTS.length),
  ]));
}

/** The sums that bytes are, once for each workload and tracker. */
export function khoSums(results: readonly KhoResult[]): string {
  const seen = new Set<string>();
  const lines: string[] = [];
  for (const { row, trackerTerms, serializedTerms } of results) {
    const name = `${row.workload}, ${row.tracker}`;
    if (seen.has(name) || trackerTerms.length === 0) continue;
    seen.add(name);
    lines.push(...sumLines(name, trackerTerms, serializedTerms));
  }
  return `\n${lines.join("\n")}\n`;
}

/** The sums of the cases that every design is measured by. */
export function khoFigureSums(figures: readonly KhoFigure[]): string {
  const lines = figures.flatMap(({ name, tracker, trackerTerms, serializedTerms }) =>
    sumLines(`${name}, ${tracker}`, trackerTerms, serializedTerms)
  );
  return `bytes of a tracker by itself\n${lines.join("\n")}\n`;
}

function sumLines(name: string, tracker: readonly BytesTerm[], serialized: readonly BytesTerm[]): string[] {
  return [
    `${name}: ${bytesOf(tracker)} bytes in memory = ${sumText(tracker)}`,
    `${name}: ${bytesOf(serialized)} bytes serialised = ${sumText(serialized)}`,
  ];
}

function sumText(terms: readonly BytesTerm[]): string {
  const some = terms.filter(({ count }) => count > 0);
  return some.length === 0
    ? "0"
    : some.map(({ what, count, bytesEach }) => `${count} x ${bytesEach} (${what})`).join(" + ");
}
