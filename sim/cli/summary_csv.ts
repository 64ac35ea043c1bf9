/** The text of summary.csv, whatever ran. */
import { csvLine } from "../core/csv_writer.ts";
import type { SummaryRow } from "../summary_row.ts";

/** A line for each row under the columns that any row has, in the order in which they come, those of `last` at the end. */
export function summaryCsv(rows: readonly SummaryRow[], last: readonly string[] = []): string {
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row)))].filter((column) => !last.includes(column));
  const all = [...columns, ...last];
  return [all, ...rows.map((row) => all.map((column) => row[column] ?? undefined))].map(csvLine).join("");
}
