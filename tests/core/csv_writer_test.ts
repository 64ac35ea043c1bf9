import assert from "node:assert/strict";
import fc from "fast-check";
import { BUFFER_BYTES, ByteWriter, wordOf } from "../../sim/core/byte_writer.ts";
import { csvLine, CsvTable, EventsCsv } from "../../sim/core/csv_writer.ts";
import { actorOf, EVENTS, Trace } from "../../sim/core/trace.ts";

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

/** What a number is in a cell, the slow way. */
const cellOf = (value: number): string => value < 0 ? "" : BigInt(value).toString();

Deno.test("digits: around every power of ten and where a division might round up", () => {
  const pieces = new Pieces();
  const table = new CsvTable([{ name: "n" }], pieces.write);
  const values: number[] = [];
  for (let power = 1; power <= 1e15; power *= 10) {
    for (const factor of [1, 9, 9.007]) {
      for (let offset = -3; offset <= 3; offset++) values.push(Math.max(0, Math.round(power * factor) + offset));
    }
  }
  for (let billions = 9_007_199; billions > 9_000_000; billions -= 641) values.push(billions * 1e9 - 1, billions * 1e9);
  values.push(2 ** 53, 2 ** 53 - 1, 2 ** 32, 2 ** 31, 2 ** 31 - 1);
  for (const value of values) table.row(Float64Array.of(value));
  table.close();
  assert.equal(pieces.text, "n\n" + values.map((value) => cellOf(value) + "\n").join(""));
});

Deno.test("property: the bytes are those of a naive writer, whatever the sizes of the pieces", () => {
  const integer = fc.oneof(fc.constant(-1), fc.nat(2000), fc.maxSafeNat());
  const words = fc.array(fc.string({ maxLength: 12 }), { minLength: 1, maxLength: 5 });
  const row = fc.tuple(integer, fc.integer({ min: -1, max: 100 }), integer);
  fc.assert(
    fc.property(words, fc.array(row, { maxLength: 50 }), fc.integer({ min: 1, max: 200 }), (names, few, times) => {
      const rows = few.map(([a, b, c]) => [a, b < 0 ? b : b % names.length, c]);
      const pieces = new Pieces();
      const table = new CsvTable([{ name: "a" }, { name: "b,c", words: names }, { name: 'd"e' }], pieces.write);
      for (let i = 0; i < times; i++) for (const cells of rows) table.row(Float64Array.from(cells));
      table.close();
      const body = rows.map(([a, b, c]) => csvLine([cellOf(a), b < 0 ? undefined : names[b], cellOf(c)])).join("");
      assert.equal(
        pieces.text,
        'a,"b,c","d""e"\n' + new TextDecoder().decode(new TextEncoder().encode(body)).repeat(times),
      );
    }),
    { numRuns: 200 },
  );
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
  assert.ok(pieces.sizes.length > 5);
  assert.ok(pieces.sizes.every((size) => size > 0 && size <= BUFFER_BYTES));
  const lines = pieces.text.split("\n");
  assert.equal(lines.length, 10_002);
  assert.equal(lines[10_000], "9999000000,host,fault,5119488,512,,,,,340000,0,1");
});

Deno.test("a byte writer refuses more than its buffer holds", () => {
  const pieces = new Pieces();
  const out = new ByteWriter(pieces.write, 8);
  assert.throws(() => out.reserve(9), new RangeError("9 bytes do not fit into a buffer of 8"));
  for (const text of ["abcdefgh", "ä", "12345"]) {
    const word = wordOf(text);
    out.reserve(word.length);
    out.word(word);
  }
  out.close();
  assert.deepEqual(pieces.sizes, [8, 7]);
  assert.equal(pieces.text, "abcdefghä12345");
});

Deno.test("lines of small files are quoted as RFC 4180 says", () => {
  assert.equal(csvLine([]), "\n");
  assert.equal(csvLine(["run", 1.5, undefined, "", -1]), "run,1.5,,,-1\n");
  assert.equal(
    csvLine(["a,b", 'say "x"', "two\nlines", "cr\r", " plain "]),
    '"a,b","say ""x""","two\nlines","cr\r", plain \n',
  );
});
