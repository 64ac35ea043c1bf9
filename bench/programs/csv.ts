/** Our events.csv of the rows that bench/csv.ts made, as bench/native/rows.h: `csv.ts FOLDER PASSES`. */
import { crc32 } from "node:zlib";
import { BLOCK_ROWS, TraceRows } from "../../sim/core/trace.ts";
import { argument, cpuNs, report } from "./measure.ts";
import { EventsCsv } from "./subjects.ts";

/** The columns of rows.bin, in order. */
const FIELDS = [
  "timeNs",
  "event",
  "pfn",
  "pages",
  "order",
  "zone",
  "message",
  "bytes",
  "costNs",
  "guest",
  "cpu",
] as const;

const values = new Float64Array(Deno.readFileSync(`${Deno.args[0]}/rows.bin`).buffer);
const passes = argument(1);
const count = values.length / FIELDS.length;
const passNs = values[count - 1];
const block = new TraceRows();

/** Brings a block of rows into the columns of the trace, at the times of the pass. */
function takeBlock(from: number, pass: number): void {
  block.count = Math.min(BLOCK_ROWS, count - from);
  FIELDS.forEach((field, index) => {
    block[field].set(values.subarray(index * count + from, index * count + from + block.count));
  });
  for (let i = 0; i < block.count; i++) block.timeNs[i] += pass * passNs;
}

/** Writes all rows; returns the CPU time of the writer, ns. */
function writeAll(write: (bytes: Uint8Array) => void): number {
  const csv = new EventsCsv(write);
  let spentNs = 0;
  for (let pass = 0; pass < passes; pass++) {
    for (let from = 0; from < count; from += BLOCK_ROWS) {
      takeBlock(from, pass);
      const startNs = cpuNs();
      csv.read(block);
      spentNs += cpuNs() - startNs;
    }
  }
  csv.close();
  return spentNs;
}

let checksum = 0;
writeAll((bytes) => checksum = crc32(bytes, checksum));
const sink = Deno.openSync("/dev/null", { write: true });
const spentNs = writeAll((bytes) => sink.writeSync(bytes));
report(checksum, { rowNs: spentNs / (passes * count) });
