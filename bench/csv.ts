/** The writer of events.csv against C and Python, over the same generated rows. */
import { randomStream } from "../sim/core/random.ts";
import { actorOf, Event, EVENTS } from "../sim/core/trace.ts";
import type { Comparison, Figure } from "./harness.ts";
import { EventsCsv } from "./programs/subjects.ts";

const FIELDS = 11;
const ROWS = 65_536;
/** Fields as in a run of 16 GiB: pages, then times in ns. */
const PAGES = 2 ** 22;
const GAP_NS = 2000;

/** Rows as a run writes them: nine of ten are allocations and frees, the others faults and messages. */
function generateRows(): Float64Array {
  const random = randomStream(1, 0, "bench.csv");
  const columns = new Float64Array(FIELDS * ROWS).fill(-1);
  let timeNs = 1e9;
  for (let row = 0; row < ROWS; row++) {
    timeNs += random.nextBelow(GAP_NS);
    const order = random.nextBelow(4) === 0 ? random.nextBelow(11) : 0;
    const pfn = Math.floor(random.nextBelow(PAGES) / 2 ** order) * 2 ** order;
    const set = (...values: number[]) => values.forEach((value, field) => columns[field * ROWS + row] = value);
    const which = random.nextBelow(100);
    if (which < 45) set(timeNs, Event.alloc, pfn, 2 ** order, order, 2, -1, -1, 150, 0, random.nextBelow(4));
    else if (which < 90) set(timeNs, Event.free, pfn, 2 ** order, order, 2, -1, -1, 120, 0, random.nextBelow(4));
    else if (which < 96) set(timeNs, Event.fault, pfn, 512, -1, -1, -1, -1, 80_000, 0, random.nextBelow(4));
    else if (which < 98) {
      set(timeNs, Event.send, -1, random.nextBelow(16_384), -1, -1, row, random.nextBelow(4096), 900, 0);
    } else set(timeNs, Event.discard, pfn, 2 ** order, -1, -1, row, -1, random.nextBelow(1e6), 0);
  }
  return columns;
}

/** Writes rows.bin and names.txt, which all programs read. */
function writeInput(folder: string): void {
  Deno.writeFileSync(`${folder}/rows.bin`, new Uint8Array(generateRows().buffer));
  let header = "";
  new EventsCsv((bytes) => header += new TextDecoder().decode(bytes)).close();
  const names = EVENTS.map((name, event) => `${actorOf(event)},${name}\n`);
  Deno.writeTextFileSync(`${folder}/names.txt`, header + names.join(""));
}

const against = (name: string, other: string, kind: Figure["kind"], goal?: Figure["goal"]): Figure => ({
  name,
  field: "rowNs",
  of: "EventsCsv",
  against: other,
  kind,
  unit: "ns/row",
  ...(goal === undefined ? {} : { goal }),
});

/** Formatting and handing over of buffers; the file is /dev/null. */
export const csv: Comparison = {
  key: "csv",
  title: "events.csv",
  cases({ size, folder, ours, native, python }) {
    writeInput(folder);
    const passes = { tiny: 1, quick: 8, full: 31 }[size];
    return [{
      name: `${(passes * ROWS).toLocaleString("en")} rows`,
      sameChecksum: true,
      programs: [
        { name: "EventsCsv", command: ours("csv.ts", folder, passes) },
        { name: "C", command: native("csv_buffer.c", folder, passes) },
        { name: "fprintf", command: native("csv_fprintf.c", folder, passes) },
        { name: "Python", command: python("csv_module.py", "csv", folder, passes) },
      ],
      figures: [
        against("of hand-written C", "C", "share", { atMost: 1.2 }),
        against("faster than C with fprintf", "fprintf", "faster"),
        against("faster than Python's csv", "Python", "faster"),
      ],
    }];
  },
};
