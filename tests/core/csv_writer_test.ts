import assert from "node:assert/strict";
import fc from "fast-check";
import { BUFFER_BYTES, csvLine, EventsCsv } from "../../sim/core/csv_writer.ts";
import { actorOf, BLOCK_ROWS, EVENTS, Trace, TraceRows } from "../../sim/core/trace.ts";

const HEADER = "time_ns,actor,event,pfn,pages,order,zone,message,bytes,cost_ns,guest,cpu\n";

/** Collects what a writer hands over; the bytes are copied, as they are only valid during the call. */
class Pieces {
  #pieces: Uint8Array[] = [];
  readonly write = (bytes: Uint8Array): void => {
    this.#pieces.push(bytes.slice());
    bytes.fill(0); // whoever relies on them afterwards is found
  };
  get sizes(): number[] {
    return this.#pieces.map((piece) => piece.length);
  }
  get text(): string {
    const decoder = new TextDecoder();
    return this.#pieces.map((piece) => decoder.decode(piece, { stream: true })).join("");
  }
}

Deno.test("a writer of events writes the header even without rows", () => {
  const pieces = new Pieces();
  new EventsCsv(pieces.write).close();
  assert.equal(pieces.text, HEADER);
});

Deno.test("rows by hand, to the byte", () => {
  const pieces = new Pieces();
  const csv = new EventsCsv(pieces.write);
  const trace = new Trace([csv]);
  trace.write(0, 0, 1048576, -1, -1, -1, -1, 0, 0, -1);
  trace.timeNs = 1_000;
  trace.write(1, 512, 1024, 10, 2, -1, -1, 360, 0, 3);
  trace.timeNs = 1_002_003;
  trace.write(15, -1, 1024, -1, -1, 17, 8, 999, 1, -1);
  trace.timeNs = 2 ** 53 - 1;
  trace.write(22, 2 ** 53 - 1, 2 ** 53 - 1, 0, 0, 2 ** 53 - 1, 2 ** 53, 1e9, 32767, 32767);
  trace.write(9, -1, -1, -1, -1, -1, -1, -1, -1, -1);
  trace.flush();
  csv.close();
  assert.equal(
    pieces.text,
    HEADER +
      "0,guest,present,0,1048576,,,,,0,0,\n" +
      "1000,guest,alloc,512,1024,10,2,,,360,0,3\n" +
      "1002003,driver,send,,1024,,,17,8,999,1,\n" +
      "9007199254740991,host,give_back,9007199254740991,9007199254740991,0,0,9007199254740991,9007199254740992," +
      "1000000000,32767,32767\n" +
      "9007199254740991,guest,end,,,,,,,,,\n",
  );
});

Deno.test("every event has its name and actor", () => {
  const pieces = new Pieces();
  const csv = new EventsCsv(pieces.write);
  const trace = new Trace([csv]);
  for (let event = 0; event < EVENTS.length; event++) trace.write(event, -1, -1, -1, -1, -1, -1, -1, -1, -1);
  trace.flush();
  csv.close();
  const expected = EVENTS.map((name, event) => `0,${actorOf(event)},${name},,,,,,,,,\n`);
  assert.equal(pieces.text, HEADER + expected.join(""));
});

type Fields = [timeNs: number, event: number, ...cells: number[]];

/** A row the slow way. */
function lineOf([timeNs, event, ...cells]: Fields): string {
  const cellOf = (value: number) => value < 0 ? undefined : BigInt(value).toString();
  return csvLine([cellOf(timeNs), actorOf(event), EVENTS[event], ...cells.map(cellOf)]);
}

/** Writes rows with one writer, in blocks of `blockRows`; returns what it wrote after the header. */
function written(list: readonly Fields[], blockRows = BLOCK_ROWS): string {
  const pieces = new Pieces();
  const csv = new EventsCsv(pieces.write);
  const rows = new TraceRows();
  const { timeNs, event, pfn, pages, order, zone, message, bytes, costNs, guest, cpu } = rows;
  const columns = [timeNs, event, pfn, pages, order, zone, message, bytes, costNs, guest, cpu];
  for (let from = 0; from < list.length; from += blockRows) {
    const block = list.slice(from, from + blockRows);
    block.forEach((fields, row) => columns.forEach((column, i) => column[row] = fields[i]));
    rows.count = block.length;
    csv.read(rows);
  }
  csv.close();
  assert.ok(pieces.text.startsWith(HEADER));
  return pieces.text.slice(HEADER.length);
}

Deno.test("digits: around every power of ten and where a division might round up, in every column that is wide", () => {
  const values: number[] = [];
  for (let power = 1; power <= 1e15; power *= 10) {
    for (const factor of [1, 9, 9.007]) {
      for (let offset = -3; offset <= 3; offset++) values.push(Math.max(0, Math.round(power * factor) + offset));
    }
  }
  for (let billions = 9_007_199; billions > 9_000_000; billions -= 641) values.push(billions * 1e9 - 1, billions * 1e9);
  values.push(2 ** 53, 2 ** 53 - 1, 2 ** 32, 2 ** 31, 2 ** 31 - 1);
  const list = values.map((value, i): Fields => {
    const next = values[(i + 1) % values.length];
    return [value, i % EVENTS.length, next, value, -1, 0, next, value, next, 0, -1];
  });
  assert.equal(written(list), list.map(lineOf).join(""));
});

/** Whole numbers of every size, and none. */
const wide = fc.oneof(
  fc.constant(-1),
  fc.nat(1001),
  fc.integer({ min: 998_000, max: 1_002_000 }),
  fc.nat(2 ** 31 - 1),
  fc.integer({ min: 1e9 - 2, max: 1e9 + 2 }),
  fc.maxSafeNat(),
  fc.constant(2 ** 53),
);
const short = fc.oneof(fc.integer({ min: -1, max: 12 }), fc.integer({ min: -1, max: 32767 }));
const tiny = fc.oneof(fc.integer({ min: -1, max: 15 }), fc.integer({ min: -128, max: 127 }));
const anyRow: fc.Arbitrary<Fields> = fc.tuple(
  wide.map((value) => Math.max(0, value)),
  fc.nat(EVENTS.length - 1),
  wide,
  wide,
  tiny,
  tiny,
  wide,
  wide,
  wide,
  short,
  short,
);

Deno.test("property: the bytes are those of a naive writer, whatever is none and whatever the sizes of the blocks", () => {
  const blockRows = fc.constantFrom(1, 7, BLOCK_ROWS);
  fc.assert(
    fc.property(fc.array(anyRow, { maxLength: 60 }), blockRows, fc.integer({ min: 1, max: 40 }), (few, size, times) => {
      const list = Array.from({ length: times }, () => few).flat();
      assert.equal(written(list, size), few.map(lineOf).join("").repeat(times));
    }),
    { numRuns: Deno.env.get("HINTSIM_TIER") === "slow" ? 5000 : 200 },
  );
});

Deno.test("rows whose times rise from second to second, and the widest rows there are, fill many buffers", () => {
  const rising = Array.from({ length: 20_000 }, (_, i): Fields => {
    return [i * 123_456_789, 1 + i % 2, i * 512, 1 << (i % 11), i % 11, i % 3, -1, -1, 360, 0, i % 4];
  });
  assert.equal(written(rising), rising.map(lineOf).join(""));
  const widest: Fields = [2 ** 53, 3, 2 ** 53, 2 ** 53, 127, 127, 2 ** 53, 2 ** 53, 2 ** 53, 32767, 32767];
  assert.equal(written(Array(5000).fill(widest)), lineOf(widest).repeat(5000));
});

Deno.test("a piece is at most the buffer and nothing is left behind", () => {
  const pieces = new Pieces();
  const csv = new EventsCsv(pieces.write);
  const trace = new Trace([csv]);
  for (let i = 0; i < 10_000; i++) {
    trace.timeNs = i * 1e6;
    trace.write(24, i * 512, 512, -1, -1, -1, -1, 340_000, 0, 1);
  }
  trace.flush();
  csv.close();
  csv.close();
  assert.ok(pieces.sizes.length > 4);
  assert.ok(pieces.sizes.every((size) => size > 0 && size <= BUFFER_BYTES));
  const lines = pieces.text.split("\n");
  assert.equal(lines.length, 10_002);
  assert.equal(lines[10_000], "9999000000,host,fault,5119488,512,,,,,340000,0,1");
});

Deno.test("lines of small files are quoted as RFC 4180 says", () => {
  assert.equal(csvLine([]), "\n");
  assert.equal(csvLine(["run", 1.5, undefined, "", -1]), "run,1.5,,,-1\n");
  assert.equal(
    csvLine(["a,b", 'say "x"', "two\nlines", "cr\r", " plain "]),
    '"a,b","say ""x""","two\nlines","cr\r", plain \n',
  );
});
