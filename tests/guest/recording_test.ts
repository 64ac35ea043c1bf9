import assert from "node:assert/strict";
import fc from "fast-check";
import { InputError } from "../../sim/core/options.ts";
import { zonesOfState } from "../../sim/guest/layout.ts";
import { Op, type RecordedState } from "../../sim/guest/operations.ts";
import { recordedOperations } from "../../sim/guest/recorded_ops.ts";
import { readRecording, type Recording } from "../../sim/guest/recording.ts";
import { kernel61 } from "../../sim/guest/kernel_6_1.ts";
import { verifyRecording } from "../../sim/guest/replay/verification.ts";
import { readSnapshots, type Snapshots } from "../../sim/guest/snapshot.ts";

const HEADER = "dt_us,ev,pfn,order,mt,x";

/** A zone of 1024 pages of which 512 on are free: 512 (order 9), on the movable list. */
const SNAPSHOT = {
  npages: 1024,
  zones: [{ name: "DMA", wm: [1, 2, 3], start: 0, managed: 1000, spanned: 1024, present: 1024 }],
  free: [[0, 9, 1, [512]]],
  reported: [],
  pageblock_mt: "11",
};

function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

function read(...lines: string[]): Recording {
  return readRecording(bytes([HEADER, ...lines, ""].join("\n")));
}

function snapshots(value: unknown = { s0: SNAPSHOT }): Snapshots {
  return readSnapshots(bytes(JSON.stringify(value)));
}

/** Path and message of a refusal. */
function refusal(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    assert.ok(error instanceof InputError, `${error}`);
    return `${error.path.join(" ")}: ${error.message}`;
  }
  return "accepted";
}

Deno.test("rows: times, events, pages, and the texts of snapshots and marks", () => {
  const recording = read("12,S,,,,s0", "0,Z,62081,0,1,1", '7,M,,,,"a ""quoted"", text"', "9,D,512,9,2,", "1,M,,,,a,b");
  assert.equal(recording.count, 5);
  assert.deepEqual([...recording.deltaUs], [12, 0, 7, 9, 1]);
  assert.equal(String.fromCharCode(...recording.event), "SZMDM");
  assert.deepEqual([...recording.pfn], [-1, 62_081, -1, 512, -1]);
  assert.deepEqual([...recording.order], [-1, 0, -1, 9, -1]);
  assert.deepEqual([...recording.migratetype], [-1, 1, -1, 2, -1]);
  assert.deepEqual([...recording.cpu], [0, 0, 0, 0, 0]);
  assert.deepEqual([...recording.text], [[0, "s0"], [2, 'a "quoted", text'], [4, "a,b"]]);
});

Deno.test("rows with a cpu column, also behind a text", () => {
  const recording = readRecording(bytes(`${HEADER},cpu\n1,Z,8,3,0,1,5\n2,S,,,,s1,2\n3,D,8,3,0,,\n`));
  assert.deepEqual([...recording.cpu], [5, 0, 0]);
  assert.deepEqual([...recording.text], [[1, "s1"]]);
});

Deno.test("a header alone is a recording without rows, with or without its newline", () => {
  assert.equal(readRecording(bytes(HEADER)).count, 0);
  assert.equal(readRecording(bytes(`${HEADER}\n`)).count, 0);
});

Deno.test("a malformed row is refused with its number, the value and what is wanted", () => {
  const cases: [row: string, message: string][] = [
    ["", '"" is not a whole number for dt_us'],
    ["5", '"5" is not a whole number for dt_us'],
    [",Z,1,0,0,", "column dt_us is empty"],
    ["-1,Z,1,0,0,", '"-1" is not a whole number for dt_us'],
    ["1.5,Z,1,0,0,", '"1.5" is not a whole number for dt_us'],
    ["1,Q,1,0,0,", '"Q" is not an event of a recording; known are AFBZDOPXKIUiRWwSMTHCcGVYzp'],
    ["1,ZZ,1,0,0,", '"ZZ" is not an event of a recording; known are AFBZDOPXKIUiRWwSMTHCcGVYzp'],
    ["1,Z,,0,0,", "column pfn is empty"],
    ["1,Z,0x10,0,0,", '"0x10" is not a whole number for pfn'],
    ["1,D,68719476737,0,0,", "68719476737 is too large for pfn, at most 68719476736"],
    ["1,Z,1024,11,0,", "11 is too large for order, at most 10"],
    ["1,O,1,,0,", "column order is empty"],
    ["1,P,1,0,5,", "5 is too large for mt, at most 4"],
    ["1,Z,1,0,0,1,0", "the row has too many columns"],
  ];
  for (const [row, message] of cases) {
    const found = refusal(() => read("1,S,,,,s0", "2,Z,1,0,0,1", row, "3,Z,2,0,0,1"));
    assert.ok(found === `row 4: ${message}` || (row.length < 2 && found.startsWith("row 4: ")), `${row}: ${found}`);
  }
  assert.match(refusal(() => read("1,Z,1,0")), /^row 2: .*column order; wanted are dt_us/);
  assert.match(refusal(() => readRecording(bytes(`${HEADER},cpu\n1,Z,1,0,0,,x\n`))), /^row 2: "x" .* for cpu$/);
  assert.match(refusal(() => readRecording(bytes(`${HEADER},cpu\n1,Z,1,0,0,,4096\n`))), /^row 2: 4096 is too large/);
});

Deno.test("a wrong header and a cut end are refused", () => {
  const wanted = `is not the header of a recording; wanted is ${HEADER}[,cpu]`;
  assert.equal(refusal(() => readRecording(bytes(""))), `row 1: "" ${wanted}`);
  assert.equal(refusal(() => readRecording(bytes("time,event\n1,Z\n"))), `row 1: "time,event" ${wanted}`);
  assert.equal(refusal(() => readRecording(bytes(`${HEADER}\r\n`))), `row 1: "${HEADER}\\r" ${wanted}`);
  assert.equal(
    refusal(() => readRecording(bytes(`${HEADER}\n1,Z,1,0,0,1\n1,Z,2,0,0`))),
    "row 3: the file ends in the middle of a row",
  );
});

Deno.test("operations: handles instead of pages, what was in use at the start, and times", () => {
  const recorded = recordedOperations(
    read("9,Z,0,0,1,", "5,S,,,,s0", "1,Z,512,0,1,1", "2,D,8,3,2,", "3,D,512,0,1,", "4,S,,,,s1", "5,Z,512,1,0,1"),
    snapshots().get("s0"),
    "s0",
  );
  const { columns, count, start, durationNs } = recorded;
  assert.deepEqual([count, durationNs], [4, 15_000]);
  assert.deepEqual([...columns.kind.subarray(0, 4)], [Op.alloc, Op.free, Op.free, Op.alloc]);
  assert.deepEqual([...columns.handle.subarray(0, 4)], [0, 1, 0, 0]);
  assert.deepEqual([...columns.timeNs.subarray(0, 4)], [1000, 3000, 6000, 15_000]);
  assert.deepEqual([...columns.touch.subarray(0, 4)], [1, 0, 0, 2]);
  assert.equal(start.count, 1);
  assert.deepEqual([start.handle(0), start.order(0), start.migratetype(0), start.pfn(0)], [1, 3, 2, 8]);
});

Deno.test("rows that cannot have happened are refused with their number", () => {
  const state = snapshots().get("s0");
  const cases: [rows: string[], message: string][] = [
    [["1,Z,512,0,1,1", "1,Z,512,0,1,1"], "row 4: allocates page 512, which is in use"],
    [["1,Z,512,3,1,1", "1,Z,516,2,1,1"], "row 4: allocates page 516, which is in use"],
    [["1,Z,100,0,1,1"], "row 3: allocates page 100, which is in use"],
    [["1,D,600,0,1,"], "row 3: frees page 600, which is not allocated"],
    [["1,D,8,0,1,", "1,D,8,0,1,"], "row 4: frees page 8, which is not allocated"],
    [["1,D,8,3,1,", "1,D,12,0,1,"], "row 4: frees page 12, which is not allocated"],
    [
      ["1,Z,512,0,1,1", "1,Z,513,0,1,1", "1,D,512,1,1,"],
      "row 5: frees page 512 with order 1, which is not how its pages were allocated",
    ],
    [["1,Z,513,1,1,1"], "row 3: page 513 is not aligned to order 1"],
    [["1,D,9,3,1,"], "row 3: page 9 is not aligned to order 3"],
    [["1,Z,1024,0,1,1"], "row 3: page 1024 lies outside of every zone"],
    [["1,D,68719476736,10,1,"], "row 3: page 68719476736 lies outside of every zone"],
  ];
  for (const [rows, message] of cases) {
    assert.equal(refusal(() => recordedOperations(read("1,S,,,,s0", ...rows), state, "s0")), message);
  }
  assert.equal(
    refusal(() => recordedOperations(read("1,S,,,,s0"), state, "s7")),
    ': the recording has no snapshot "s7"',
  );
});

Deno.test("without a snapshot nothing is known at first, but what the rows say must fit together", () => {
  const recorded = recordedOperations(read("1,D,2199023,0,1,", "1,Z,2199023,0,1,1"), undefined, "s0");
  assert.deepEqual([recorded.count, recorded.start.count, recorded.columns.zone[0]], [2, 1, -1]);
  const wrong = ["1,Z,7,0,1,1", "1,D,7,0,1,", "1,D,7,0,1,"];
  assert.equal(
    refusal(() => recordedOperations(read(...wrong), undefined, "s0")),
    "row 4: frees page 7, which is not allocated",
  );
  // The last page that a row may name.
  const last = 2 ** 36;
  assert.equal(recordedOperations(read(`1,Z,${last},0,1,1`), undefined, "s0").count, 1);
});

Deno.test("a block that reaches over the end of its zone is refused", () => {
  const zones = [{ ...SNAPSHOT.zones[0], spanned: 1000, present: 1000 }];
  const state = snapshots({ s0: { ...SNAPSHOT, zones, free: [[0, 8, 1, [512]]] } }).get("s0");
  assert.equal(
    refusal(() => recordedOperations(read("1,S,,,,s0", "1,D,992,4,1,"), state, "s0")),
    "row 3: the 16 pages from 992 on end outside of their zone",
  );
});

const TEXT = [
  HEADER,
  "12,S,,,,s0",
  "1,M,,,,begin of a step",
  "3,Z,512,0,1,1",
  "0,Z,513,0,1,1",
  "5,D,8,3,1,",
  "2,X,512,0,0,9/1/1",
  "2,Z,514,1,1,1",
  "1,D,512,0,1,",
  "7,P,256,8,1,",
  "1,S,,,,s1",
  "4,D,513,0,1,",
  "",
].join("\n");

/** A text with some bytes replaced, put in or left out, or with lines in another order. */
function mutated(text: string): fc.Arbitrary<Uint8Array> {
  const alphabet = bytes(`0123456789,\n-."ZDOPSXQ \u00e9\u0000`);
  const byte = fc.oneof(fc.constantFrom(...alphabet), fc.nat(255));
  const edit = fc.record({
    kind: fc.constantFrom("replace", "insert", "delete", "swap", "repeat"),
    at: fc.nat(),
    byte,
  });
  return fc.array(edit, { minLength: 1, maxLength: 4 }).map((edits) => {
    let data = [...bytes(text)];
    for (const { kind, at, byte } of edits) {
      const index = at % (data.length + 1);
      if (kind === "replace") data[Math.min(index, data.length - 1)] = byte;
      else if (kind === "insert") data.splice(index, 0, byte);
      else if (kind === "delete") data.splice(index, 1 + byte % 3);
      else {
        const lines = new TextDecoder("latin1").decode(Uint8Array.from(data)).split("\n");
        const line = at % lines.length;
        if (kind === "repeat") lines.splice(line, 0, lines[line]);
        else [lines[line], lines[(line + 1) % lines.length]] = [lines[(line + 1) % lines.length], lines[line]];
        data = [...lines.join("\n")].map((letter) => letter.charCodeAt(0) & 255);
      }
    }
    return Uint8Array.from(data);
  });
}

/** Runs what reads input; anything but an InputError is passed on. */
function harmless(action: () => void): boolean {
  try {
    action();
    return true;
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    assert.match(error.message, /[^.]$/);
    return false;
  }
}

const RUNS = Deno.env.get("HINTSIM_TIER") === "slow" ? 20_000 : 1500;

Deno.test("whatever is done to the bytes of a recording, it is read or refused as input, never worse", () => {
  const all = snapshots({ s0: SNAPSHOT, s1: SNAPSHOT });
  const state = all.get("s0")!;
  let accepted = 0;
  fc.assert(
    fc.property(mutated(TEXT), (data) => {
      harmless(() => {
        const recording = readRecording(data);
        harmless(() => void recordedOperations(recording, undefined, "s0"));
        harmless(() => void recordedOperations(recording, state, "s0", true));
        recordedOperations(recording, state, "s0");
        verifyRecording(recording, all, { level: "buddy", kernel: kernel61 });
        accepted++;
      });
    }),
    { numRuns: RUNS },
  );
  assert.ok(accepted > RUNS / 50, `${accepted} of ${RUNS} were read`);
});

Deno.test("whatever is done to the bytes of a snapshot file, it is read or refused as input, never worse", () => {
  const text = JSON.stringify({ s0: { ...SNAPSHOT, pageblock_mt_at: { "1": "1" } } });
  let accepted = 0;
  fc.assert(
    fc.property(mutated(text), (data) => {
      harmless(() => {
        for (const state of readSnapshots(data).values()) {
          for (const zone of zonesOfState(state)) zone.allocator.validate();
        }
        accepted++;
      });
    }),
    { numRuns: RUNS },
  );
  assert.ok(accepted > RUNS / 50, `${accepted} of ${RUNS} were read`);
});

Deno.test("a snapshot that cannot be is refused with its place", () => {
  const [zone] = SNAPSHOT.zones;
  const cases: [change: object, where: RegExp][] = [
    [{ free: [[0, 9, 1, [512, 512]]] }, /^s0 free 0: block 512 is listed twice$/],
    [{ free: [[0, 9, 1, [513]]] }, /^s0 free 0: block 513 is not aligned to order 9$/],
    [{ free: [[0, 10, 1, [1024]]] }, /^s0 free 0: block 1024 lies outside its zone$/],
    [{ free: [[1, 9, 1, [512]]] }, /^s0 free 0: there is no zone 1$/],
    [{ free: [[0, 11, 1, []]] }, /^s0 free 0 1: 11 is not at most 10$/],
    [{ free: [[0, 9, 5, []]] }, /^s0 free 0 2: 5 is not at most 4$/],
    [{ pageblock_mt: "17" }, /^s0 pageblock_mt: "7" is not a migratetype$/],
    [{ zones: [{ ...zone, managed: 1025 }] }, /^s0 zones 0: managed, present and spanned pages do not ascend$/],
    [{ zones: [zone, zone] }, /^s0 zones 1: the zone overlaps the one before it$/],
    [
      { zones: [{ ...zone, spanned: 2 ** 30 }] },
      /^s0 zones 0: the zone ends at page 1073741824, far beyond the guest$/,
    ],
    [{ zones: [{ ...zone, wm: [1, 2] }] }, /^s0 zones 0 wm: \[1,2\] is not at least 3 long$/],
    [{ npages: 0 }, /^s0 npages: 0 is not at least 1$/],
  ];
  for (const [change, where] of cases) {
    assert.match(refusal(() => snapshots({ s0: { ...SNAPSHOT, ...change } })), where);
  }
  assert.equal(refusal(() => snapshots({})), ": no snapshot in the file");
  assert.match(refusal(() => readSnapshots(bytes("{"))), /^: not JSON: /);
});

Deno.test("free lists that do not fit together are refused when zones are made of them", () => {
  const make = (change: object): RecordedState => snapshots({ s0: { ...SNAPSHOT, ...change } }).get("s0")!;
  const cases: [change: object, message: RegExp][] = [
    [{ free: [[0, 8, 1, [512, 768]]] }, /^free: the free lists of zone DMA do not fit: Unmerged buddy of block 512/],
    [{ free: [[0, 9, 1, [512]], [0, 3, 0, [520]]] }, /^free: the free lists of zone DMA do not fit: .*overlap/],
    [{ reported: [100] }, /^reported: reported block 100 is not free$/],
    [{ reported: [4096] }, /^reported: reported block 4096 is not free$/],
  ];
  for (const [change, message] of cases) assert.match(refusal(() => zonesOfState(make(change))), message);
});

Deno.test("zones of a state: lists in order, types of pageblocks, marks, and the hole below 1 MiB", () => {
  const zones = [
    { name: "DMA", wm: [10, 20, 30], start: 1, managed: 3840, spanned: 4095, present: 3998 },
    { name: "DMA32", wm: [40, 50, 60], start: 4096, managed: 5000, spanned: 5500, present: 5500 },
  ];
  const free = [[0, 3, 0, [24, 8]], [1, 9, 1, [5120, 4608]], [1, 0, 2, [9595]]];
  const state = snapshots({
    s0: { npages: 9596, zones, free, reported: [4608], pageblock_mt: "0".repeat(8) + "1".repeat(10) + "2" },
  }).get("s0")!;
  const [dma, dma32] = zonesOfState(state);
  assert.deepEqual(dma.present, [{ pfn: 1, count: 158 }, { pfn: 256, count: 3840 }]);
  assert.deepEqual([dma.managedPages, dma.watermarks, dma32.watermarks.low], [
    3840,
    { min: 10, low: 20, high: 30 },
    50,
  ]);
  assert.deepEqual([dma.allocator.first(3, 0), dma.allocator.next(24, 3)], [24, 8]);
  assert.deepEqual([dma32.allocator.first(9, 1), dma32.allocator.reportedPages], [5120, 512]);
  assert.deepEqual([1, 4095].map((pfn) => dma.allocator.pageblockType(pfn)), [0, 0]);
  assert.deepEqual([4096, 9215, 9216, 9595].map((pfn) => dma32.allocator.pageblockType(pfn)), [1, 1, 2, 2]);
});

Deno.test("a block that comes back in parts becomes an allocation for each part", () => {
  const recorded = recordedOperations(
    read("5,S,,,,s0", "1,Z,512,3,1,1", "2,D,514,0,1,", "3,D,516,1,1,", "1,Z,520,2,1,1"),
    snapshots().get("s0"),
    "s0",
  );
  const { columns, count } = recorded;
  const blocks = Array.from({ length: count }, (_, at) => [columns.kind[at], columns.pfn[at], columns.order[at]]);
  assert.deepEqual(blocks, [
    [Op.alloc, 512, 1],
    [Op.alloc, 514, 0],
    [Op.alloc, 515, 0],
    [Op.alloc, 516, 1],
    [Op.alloc, 518, 1],
    [Op.free, 514, 0],
    [Op.free, 516, 1],
    [Op.alloc, 520, 2],
  ]);
});

Deno.test("a row that ends with CR LF is refused with its number", () => {
  assert.equal(
    refusal(() => readRecording(bytes(`${HEADER}\n1,S,,,,s0\n1,Z,1,0,0,1\r\n`))),
    "row 3: the row ends with CR LF; wanted are lines that end with LF alone",
  );
});
