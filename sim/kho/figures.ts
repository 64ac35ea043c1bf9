/**
 * Four things to remember, and what each design takes for them by itself, without a machine around it: `sim kho --explain`
 * prints the sums. On a machine, where scratch stands below what is preserved, a bitmap or a node may come on top.
 */
import { randomStream } from "../core/random.ts";
import { PageBitmap } from "../memory/bitmap.ts";
import { ORDER_PAGES, PAGE_SIZE } from "../memory/range.ts";
import type { Allocate, BytesTerm, Tracker, TrackerPlugin } from "./tracker.ts";

/** Pages of a GiB. */
const GIB = ORDER_PAGES[18];

/** Where the trackers' own memory stands, pages: above all that is preserved. */
const METADATA = 2 ** 36;

/** What a design takes in one of the cases. */
export interface KhoFigure {
  /** What is preserved. */
  readonly name: string;
  /** The design. */
  readonly tracker: string;
  /** The sum of its memory, in bytes. */
  readonly trackerTerms: readonly BytesTerm[];
  /** The sum of what it serialises, in bytes. */
  readonly serializedTerms: readonly BytesTerm[];
}

/** Folios of an order in a row. */
function row(first: number, pages: number, order: number): (tracker: Tracker) => void {
  return (tracker) => {
    for (let pfn = first; pfn < first + pages; pfn += ORDER_PAGES[order]) tracker.preserveFolio(pfn, order);
  };
}

/** A GiB of single pages of 64 GiB, in ascending order. */
function scattered(tracker: Tracker): void {
  const random = randomStream(1, 0, "kho/figures");
  const drawn = new PageBitmap(64 * GIB);
  while (drawn.count < GIB) drawn.setRange(random.nextBelow(64 * GIB), 1);
  drawn.forEachRun(0, 64 * GIB, true, (first, count) => row(first, count, 0)(tracker));
}

const CASES: readonly (readonly [name: string, fill: (tracker: Tracker) => void])[] = [
  ["a page at 4 GiB", row(4 * GIB, 1, 0)],
  ["1 GiB of pages in a row", row(4 * GIB, GIB, 0)],
  ["1 GiB of pages anywhere in 64 GiB, ascending", scattered],
  ["480 GiB of folios of order 9", row(0, 480 * GIB, 9)],
];

/** The bytes of these designs in each case. */
export function khoFigures(plugins: readonly TrackerPlugin[]): readonly KhoFigure[] {
  return CASES.flatMap(([name, fill]) =>
    plugins.map((plugin) => {
      const allocate = allocator();
      const tracker = plugin.create(allocate);
      fill(tracker);
      const trackerTerms = tracker.explain();
      return { name, tracker: plugin.name, trackerTerms, serializedTerms: tracker.serialize(allocate).terms };
    })
  );
}

function allocator(): Allocate {
  let next = METADATA;
  return (bytes) => {
    const pfn = next;
    next += Math.ceil(bytes / PAGE_SIZE);
    return pfn;
  };
}
