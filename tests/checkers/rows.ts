/** Traces made by hand, for the tests of what reads traces. */
import { Event, NONE, Trace, type TraceReader } from "../../sim/core/trace.ts";

/** A row: its event by name, and the fields that apply. Time 0, guest 0 and cost 0 where nothing is said. */
export interface Row {
  readonly event: keyof typeof Event;
  readonly timeNs?: number;
  readonly pfn?: number;
  readonly pages?: number;
  readonly order?: number;
  readonly zone?: number;
  readonly message?: number;
  readonly bytes?: number;
  readonly costNs?: number;
  readonly guest?: number;
  readonly cpu?: number;
}

/** Has the readers read the rows. */
export function feed(readers: readonly TraceReader[], rows: readonly Row[]): void {
  const trace = new Trace(readers, true);
  for (const row of rows) {
    trace.timeNs = row.timeNs ?? 0;
    trace.write(
      Event[row.event],
      row.pfn ?? NONE,
      row.pages ?? NONE,
      row.order ?? NONE,
      row.zone ?? NONE,
      row.message ?? NONE,
      row.bytes ?? NONE,
      row.costNs ?? 0,
      row.guest ?? 0,
      row.cpu ?? NONE,
    );
  }
  trace.flush();
}

/** The pages of the guest of {@link GOOD}. */
export const GUEST_PAGES: readonly number[] = [2048];

/** The rows of one safe message: free block 1024, isolated, sent, discarded, put back. */
const MESSAGE: readonly Row[] = [
  { event: "pass", timeNs: 300, costNs: 10 },
  { event: "isolate", timeNs: 300, pfn: 1024, pages: 512, order: 9, zone: 0, costNs: 20 },
  { event: "send", timeNs: 330, pages: 512, message: 1, bytes: 8, costNs: 5 },
  { event: "kick", timeNs: 335, message: 1, costNs: 2 },
  { event: "exit", timeNs: 337, message: 1, costNs: 3 },
  { event: "discard", timeNs: 400, pfn: 1024, pages: 512, message: 1, costNs: 50 },
  { event: "drop", timeNs: 400, pfn: 1024, pages: 512, message: 1 },
  { event: "interrupt", timeNs: 450, message: 1, costNs: 1 },
  { event: "ack", timeNs: 460, message: 1, costNs: 130 },
  { event: "putBack", timeNs: 460, pfn: 1024, pages: 512, order: 9, zone: 0, costNs: 20 },
];

/** A run without a bug: 2048 pages, of which the first 512 are used at the start and the upper half is backed too. */
export const GOOD: readonly Row[] = [
  { event: "present", pfn: 0, pages: 2048 },
  { event: "alloc", pfn: 0, pages: 512 },
  { event: "fault", pfn: 0, pages: 512 },
  { event: "fault", pfn: 1024, pages: 1024 },
  { event: "alloc", timeNs: 100, pfn: 512, pages: 4, order: 2, zone: 0, costNs: 7, cpu: 1 },
  { event: "fault", timeNs: 100, pfn: 512, pages: 4, costNs: 40, cpu: 1 },
  { event: "write", timeNs: 100, pfn: 512, pages: 4, cpu: 1 },
  { event: "free", timeNs: 200, pfn: 512, pages: 4, order: 2, zone: 0, costNs: 7, cpu: 1 },
  ...MESSAGE,
  { event: "hold", timeNs: 500, pfn: 1536, pages: 512, order: 9, zone: 0, costNs: 7 },
  { event: "release", timeNs: 600, pfn: 1536, pages: 512, order: 9, zone: 0, costNs: 7 },
  { event: "end", timeNs: 1000 },
];

/** {@link GOOD} with the rows of `kind` changed, or left out where `change` returns undefined. */
export function changed(kind: Row["event"], change: (row: Row) => Row | readonly Row[] | undefined): Row[] {
  return GOOD.flatMap((row) => row.event === kind ? change(row) ?? [] : [row]);
}
