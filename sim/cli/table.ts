/** Tables for the terminal: the comparison of runs, and plain lists. */
import { formatDuration, formatSize } from "../memory/units.ts";
import { PAGE_SIZE } from "../memory/range.ts";
import { OOM_COLUMNS, SHOWN_COLUMNS, type ShownRow, shownRow } from "../summary_columns.ts";
import type { Cell, SummaryRow } from "../summary_row.ts";

/** Columns padded to their widest cell: the first to the left, the others to the right unless they are texts. */
export function formatTable(rows: readonly (readonly string[])[], texts = false): string {
  const widths: number[] = [];
  for (const row of rows) row.forEach((cell, i) => widths[i] = Math.max(widths[i] ?? 0, cell.length));
  const line = (row: readonly string[]) =>
    row.map((cell, i) => i === 0 || texts ? cell.padEnd(widths[i]) : cell.padStart(widths[i])).join("  ").trimEnd();
  return rows.map(line).join("\n") + "\n";
}

/** Rows whose label is not what their column is called. */
const LABELS: Readonly<Record<string, string>> = {
  resident_start_bytes: "resident before",
  resident_end_bytes: "resident after",
  discarded_pages: "dropped",
  refault_pages: "refaulted",
  compaction_pages: "compacted",
  compaction_ns: "compaction cpu",
  time_to_50_ns: "time to 50 %",
  time_to_90_ns: "time to 90 %",
  free_end_bytes: "free at the end",
  payload_bytes: "bytes on the wire",
};

/** `policy_hook_ns` is shown as `hook`: the unit stands with the value. */
function labelOf(column: string): string {
  return LABELS[column] ?? column.replace(/^policy_(?=.)/, "").replace(/_(ns|bytes|pages)$/, "").replaceAll("_", " ");
}

const NO_VALUE = "-";

/** A value in the unit that the name of its column ends with. */
function formatCell(column: string, value: Cell): string {
  if (value === undefined || value === null) return NO_VALUE;
  if (typeof value === "string") return value;
  if (column.endsWith("_ns")) return formatDuration(value);
  if (column.endsWith("_bytes")) return formatSize(value);
  if (column.endsWith("_pages")) return formatSize(value * PAGE_SIZE);
  return Number.isInteger(value) ? String(value) : short(value);
}

/** Three digits that count, and never an exponent for what a person counts. */
function short(value: number): string {
  return value >= 1000 || value <= -1000 ? value.toFixed(0) : String(Number(value.toPrecision(3)));
}

/** The value of a row in one run; undefined where the run has none. */
function valueOf(row: SummaryRow, { column, divisor }: ShownRow): Cell {
  if (divisor === undefined) return row[column];
  const [above, below] = [row[column], row[divisor]];
  return typeof above === "number" && typeof below === "number" && below !== 0 ? above / below : undefined;
}

/** What one row of the comparison shows of a run; `first` is the run that a gain is measured against. */
function shownCell(row: SummaryRow, first: SummaryRow, shown: ShownRow): string {
  const value = valueOf(row, shown);
  if (typeof value !== "number") return formatCell(shown.column, value);
  if (shown.gain) {
    const base = valueOf(first, shown);
    return typeof base === "number" && base !== 0 ? `${((1 - value / base) * 100).toFixed(1)} %` : NO_VALUE;
  }
  if (shown.divisor === undefined) return formatCell(shown.column, value);
  // The same unit above and below: a plain number.
  const unit = (column: string) => /_(ns|bytes|pages)$/.exec(column)?.[1];
  const plain = unit(shown.column) === unit(shown.divisor);
  return plain ? short(value) : formatCell(shown.column, value);
}

function shownLabel({ column, divisor, gain }: ShownRow): string {
  const label = divisor === undefined ? labelOf(column) : `${labelOf(column)} / ${labelOf(divisor)}`;
  return gain ? `gain, ${label}` : label;
}

/** The most runs that stand side by side. */
const SIDE_BY_SIDE_MAX = 6;

/**
 * One comparison of all runs: side by side when there are few, one line each when there are many. It shows the given rows, the
 * usual ones when there are none, and then those of the OOM killer when it ran.
 */
export function comparisonTable(rows: readonly SummaryRow[], show: readonly ShownRow[] = []): string {
  const names = shortNames(rows.map(({ run }) => String(run)));
  const killed = rows.some(({ oom_kills: kills }) => Number(kills) > 0);
  const shown = show.length > 0 ? show : [...SHOWN_COLUMNS, ...(killed ? OOM_COLUMNS : [])].map(shownRow);
  const table = [
    ["", ...names],
    ...shown.map((one) => [shownLabel(one), ...rows.map((row) => shownCell(row, rows[0], one))]),
  ];
  return formatTable(rows.length <= SIDE_BY_SIDE_MAX ? table : transpose(table));
}

/** Columns that are asked for and that no run has: counters of policies that are not there. */
export function absentColumns(rows: readonly SummaryRow[], show: readonly ShownRow[]): string[] {
  const asked = show.flatMap(({ column, divisor }) => divisor === undefined ? [column] : [column, divisor]);
  return [...new Set(asked)].filter((column) => !rows.some((row) => column in row));
}

/**
 * `policy.kind=per-order,policy.delay=1s` is shown as `per-order,delay=1s`, and one axis by its values alone, unless two runs
 * would have the same name then.
 */
function shortNames(names: readonly string[]): string[] {
  const keys = new Set(names.flatMap((name) => name.split(",").map((part) => part.replace(/=.*$/, ""))));
  const single = keys.size === 1 && names.every((name) => name.includes("="));
  const short = names.map((name) =>
    name.split(",").map((part) => {
      const bare = single || /^(.*\.)?(kind|policy|workload|encoding|transport)=/.test(part);
      return part.replace(bare ? /^[^=]*=/ : /^[^=]*\.(?=[^=.]*=)/, "");
    }).join(",")
  );
  return new Set(short).size === names.length ? short : [...names];
}

function transpose(table: readonly (readonly string[])[]): string[][] {
  return table[0].map((_, column) => table.map((row) => row[column]));
}
