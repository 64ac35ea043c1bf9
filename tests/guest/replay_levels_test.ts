/**
 * Every recording at every level that its rows allow is exact, and what is not what the kernel did is found: rows changed,
 * left out, repeated or swapped at random places, and snapshots that say something else.
 */
import assert from "node:assert/strict";
import { gunzipSync } from "node:zlib";
import fc from "fast-check";
import { policies } from "../../policies/mod.ts";
import { InputError, parseOptions } from "../../sim/core/options.ts";
import { randomStream } from "../../sim/core/random.ts";
import type { Kernel } from "../../sim/guest/kernel.ts";
import { kernel61 } from "../../sim/guest/kernel_6_1.ts";
import { kernel612 } from "../../sim/guest/kernel_6_12.ts";
import { readRecording, type Recording } from "../../sim/guest/recording.ts";
import {
  isIdentical,
  type ReplayLevel,
  type Verification,
  type VerifyParts,
  verifyRecording,
} from "../../sim/guest/replay/verification.ts";
import { readSnapshots, type Snapshots } from "../../sim/guest/snapshot.ts";

const SLOW = Deno.env.get("HINTSIM_TIER") === "slow";
/** Places at which a kind of falsification is tried. */
const PLACES = SLOW ? 40 : 5;
/** Most rows between two snapshots where a falsification is tried. */
const SEGMENT_ROWS = SLOW ? Infinity : 60_000;

/** A recording at one level: what the README of the recordings says it holds. */
interface Case {
  readonly name: string;
  readonly level: ReplayLevel;
  readonly kernel: Kernel;
  /** Allocations, frees, and lists of a snapshot. */
  readonly counts: readonly [allocations: number, frees: number, lists: number];
  readonly snapshots: number;
}

const CASES: readonly Case[] = [
  { name: "b2-mixed.buddy", level: "buddy", kernel: kernel61, counts: [50_254, 46_745, 110], snapshots: 7 },
  { name: "b3-fallback.buddy", level: "buddy", kernel: kernel61, counts: [121_789, 118_024, 110], snapshots: 2 },
  { name: "b4-2vcpu.buddy", level: "buddy", kernel: kernel61, counts: [45_168, 43_165, 110], snapshots: 6 },
  { name: "c2-reporting.buddy", level: "buddy", kernel: kernel61, counts: [95_192, 96_511, 110], snapshots: 8 },
  { name: "g2-pressure.buddy", level: "buddy", kernel: kernel61, counts: [260_975, 266_565, 165], snapshots: 8 },
  { name: "b2-612-mixed.buddy", level: "buddy", kernel: kernel612, counts: [38_109, 37_190, 110], snapshots: 7 },
  { name: "g4-612-fallback.buddy", level: "buddy", kernel: kernel612, counts: [518_079, 473_622, 165], snapshots: 8 },
  { name: "b2-mixed.events", level: "buddy", kernel: kernel61, counts: [50_254, 46_745, 110], snapshots: 7 },
  { name: "b4-2vcpu.events", level: "buddy", kernel: kernel61, counts: [45_168, 43_165, 110], snapshots: 6 },
  { name: "b2-612-mixed.events", level: "buddy", kernel: kernel612, counts: [38_109, 37_190, 110], snapshots: 7 },
  { name: "b2-mixed.events", level: "pcp", kernel: kernel61, counts: [264_674, 264_650, 110], snapshots: 7 },
  { name: "b4-2vcpu.events", level: "pcp", kernel: kernel61, counts: [147_264, 147_519, 110], snapshots: 6 },
  { name: "b2-612-mixed.events", level: "pcp", kernel: kernel612, counts: [216_860, 216_838, 110], snapshots: 7 },
  { name: "c2-reporting.buddy", level: "reporting", kernel: kernel61, counts: [95_192, 96_511, 110], snapshots: 8 },
];

function caseOf(name: string, level: ReplayLevel): Case {
  return CASES.find((one) => one.name === name && one.level === level)!;
}

const FOLDERS = ["../recordings/", "../../workloads/recordings/"].map((path) => new URL(path, import.meta.url));

/** The unpacked bytes of a file of either folder. */
function unpacked(name: string): Uint8Array {
  for (const folder of FOLDERS) {
    try {
      return gunzipSync(Deno.readFileSync(new URL(name, folder)));
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
  throw new Error(`There is no recording ${name}`);
}

const read = new Map<string, { readonly recording: Recording; readonly snapshots: Snapshots }>();

/** A recording with its snapshots, read once. */
function load(name: string): { readonly recording: Recording; readonly snapshots: Snapshots } {
  const known = read.get(name);
  if (known !== undefined) return known;
  const recording = readRecording(unpacked(`${name}.csv.gz`));
  const snapshots = readSnapshots(unpacked(`${name.split(".")[0]}.snaps.json.gz`));
  read.set(name, { recording, snapshots });
  return { recording, snapshots };
}

function partsOf({ level, kernel }: Pick<Case, "level" | "kernel">): VerifyParts {
  if (level !== "reporting") return { level, kernel };
  const plugin = policies.find(({ name }) => name === "free-page-reporting")!;
  const { value } = parseOptions(plugin.options, {}, []);
  return { level, kernel, worker: { makePolicy: (context) => plugin.create(context, value), delayNs: 2e9 } };
}

const rowsByEvent = new Map<Recording, Map<string, number[]>>();

/** The rows of an event, by the letter. */
function rowsOf(recording: Recording, letter: string): readonly number[] {
  let rows = rowsByEvent.get(recording);
  if (rows === undefined) {
    rows = new Map();
    rowsByEvent.set(recording, rows);
    for (let row = 0; row < recording.count; row++) {
      const event = String.fromCharCode(recording.event[row]);
      if (rows.has(event)) rows.get(event)!.push(row);
      else rows.set(event, [row]);
    }
  }
  return rows.get(letter) ?? [];
}

for (const one of CASES) {
  Deno.test(`${one.name} is exact at level ${one.level} with kernel ${one.kernel.version}`, () => {
    const { recording, snapshots } = load(one.name);
    const result = verifyRecording(recording, snapshots, partsOf(one));
    assert.deepEqual([result.wrongPfns, result.first, result.uncompared], [0, undefined, []]);
    const [allocations, frees, lists] = one.counts;
    assert.deepEqual([result.allocations, result.frees], [allocations, frees]);
    assert.equal(result.snapshots.length, one.snapshots);
    for (const comparison of result.snapshots) {
      assert.deepEqual([comparison.identicalLists, comparison.lists], [lists, lists], comparison.tag);
      assert.ok(isIdentical(comparison), comparison.tag);
    }
    assert.equal(result.identical, true);
  });
}

Deno.test("the rows are as many as the README of the recordings says", () => {
  const counts = (name: string, letters: string) =>
    [...letters].map((letter) => rowsOf(load(name).recording, letter).length);
  assert.deepEqual(counts("b3-fallback.buddy", "X"), [10]);
  assert.deepEqual(counts("c2-reporting.buddy", "IURW"), [317, 317, 12, 7]);
  assert.deepEqual(counts("g2-pressure.buddy", "IT"), [44, 36]);
  assert.deepEqual(counts("b2-612-mixed.buddy", "ZD"), [38_109, 37_182]);
  // 10,146 fallbacks: 22 claims (z), 19 of whole pageblocks, 10,105 steals.
  assert.deepEqual(counts("g4-612-fallback.buddy", "ZXzIT"), [507_933, 10_146, 22, 3112, 1665]);
  const { text } = load("g4-612-fallback.buddy").recording;
  const captured = [...text.values()].filter((word) => word === "captured").length;
  const whole = rowsOf(load("g4-612-fallback.buddy").recording, "X").filter((row) => /^(9|10)\//.test(text.get(row)!));
  assert.deepEqual([captured, whole.length], [25, 19]);
});

Deno.test("level reporting: every isolate, every report's length and every block put back is the model's own", () => {
  const { recording, snapshots } = load("c2-reporting.buddy");
  const { reporting } = verifyRecording(recording, snapshots, partsOf(caseOf("c2-reporting.buddy", "reporting")));
  assert.deepEqual(reporting, { isolates: 317, reports: 12, putBacks: 317 });
});

/** What lies between neighbouring snapshots of a recording. */
interface Segment {
  readonly from: number;
  readonly to: number;
  readonly snapshots: Snapshots;
}

function segmentsOf({ recording, snapshots }: ReturnType<typeof load>): Segment[] {
  const places = rowsOf(recording, "S").filter((row) => snapshots.has(recording.text.get(row)!));
  return places.slice(1).map((to, at) => {
    const tags = [places[at], to].map((row) => recording.text.get(row)!);
    return { from: places[at], to, snapshots: new Map(tags.map((tag) => [tag, snapshots.get(tag)!])) };
  });
}

/** A part of a recording that is about to be made false at one row. */
interface Edit {
  readonly recording: Recording;
  /** The row, by its number in the recording. */
  readonly row: number;
  /** Numbers of the rows that are replayed. */
  readonly rows: number[];
  /** Where the row is among them. */
  readonly at: number;
  /** Another page for the row. */
  pfn?: number;
  /** Another text for the row. */
  text?: string;
}

/** Where and how recordings are made false. */
interface Falsification {
  readonly what: string;
  readonly cases: readonly Case[];
  /** The event of the rows. */
  readonly event: string;
  /** The rows that are tried; all of the event where it is left out. */
  readonly where?: (recording: Recording, row: number) => boolean;
  readonly change: (edit: Edit) => void;
  /** The share that must be found, 1 where it is left out. */
  readonly share?: number;
}

/** The recording that an edit makes: the rows that it names, in their order. */
function edited({ recording, row, rows, pfn, text }: Edit): Recording {
  const { deltaUs, event, pfn: pages, order, migratetype, cpu } = recording;
  const count = rows.length;
  const result = {
    count,
    deltaUs: new Float64Array(count),
    event: new Uint8Array(count),
    pfn: new Float64Array(count),
    order: new Int8Array(count),
    migratetype: new Int8Array(count),
    cpu: new Int16Array(count),
    text: new Map<number, string>(),
  };
  for (let to = 0; to < count; to++) {
    const from = rows[to];
    result.deltaUs[to] = deltaUs[from];
    result.event[to] = event[from];
    result.pfn[to] = from === row ? pfn ?? pages[from] : pages[from];
    result.order[to] = order[from];
    result.migratetype[to] = migratetype[from];
    result.cpu[to] = cpu[from];
    const own = from === row ? text ?? recording.text.get(from) : recording.text.get(from);
    if (own !== undefined) result.text.set(to, own);
  }
  return result;
}

/** Replays from the snapshot before a row to the one after it, with the recording changed at that row. */
function falsified(one: Case, row: number, change: (edit: Edit) => void): Verification | "refused" {
  const loaded = load(one.name);
  const segment = segmentsOf(loaded).find(({ from, to }) => from < row && row < to)!;
  const rows = Array.from({ length: segment.to - segment.from + 1 }, (_, at) => segment.from + at);
  const edit: Edit = { recording: loaded.recording, row, rows, at: row - segment.from };
  change(edit);
  try {
    return verifyRecording(edited(edit), segment.snapshots, partsOf(one));
  } catch (error) {
    assert.ok(error instanceof InputError, `${error instanceof Error ? error.stack : error}`);
    return "refused";
  }
}

/** Rows between two snapshots, spread over the recording and drawn with a seed. */
function placesOf(one: Case, { event, where, what }: Falsification): number[] {
  const loaded = load(one.name);
  const { recording } = loaded;
  // A part without a pass is not replayed at level reporting.
  const passes = rowsOf(recording, "W");
  const segments = segmentsOf(loaded).filter(({ from, to }) =>
    one.level !== "reporting" || passes.filter((row) => row > from && row < to).length > (event === "W" ? 1 : 0)
  );
  const small = segments.filter(({ from, to }) => to - from <= SEGMENT_ROWS);
  // Where the small parts have no such row, any part.
  const within = (parts: readonly Segment[]) => (row: number) =>
    parts.some(({ from, to }) => row > from && row + 1 < to);
  const fitting = rowsOf(recording, event).filter((row) => where?.(recording, row) ?? true);
  const few = fitting.filter(within(small));
  const rows = few.length > 0 ? few : fitting.filter(within(segments));
  if (rows.length <= PLACES) return rows;
  const random = randomStream(20, 0, `${one.name} ${one.level} ${what}`);
  const step = rows.length / PLACES;
  return Array.from({ length: PLACES }, (_, n) => rows[Math.floor((n + random.nextFloat()) * step)]);
}

function drop({ rows, at }: Edit): void {
  rows.splice(at, 1);
}

function double({ rows, at }: Edit): void {
  rows.splice(at, 0, rows[at]);
}

function swap({ rows, at }: Edit): void {
  [rows[at], rows[at + 1]] = [rows[at + 1], rows[at]];
}

/** Its buddy, or the block sixteen further. */
function anotherPage(edit: Edit): void {
  const { recording, row, at } = edit;
  const step = 2 ** (Math.max(0, recording.order[row]) + at % 2 * 4);
  const pfn = recording.pfn[row];
  edit.pfn = Math.floor(pfn / step) % 2 === 0 ? pfn + step : pfn - step;
}

function withText(text: (old: string) => string): (edit: Edit) => void {
  return (edit) => {
    edit.text = text(edit.recording.text.get(edit.row)!);
  };
}

/** Whether the next row does the same to the same list with another page. */
function hasTwin({ event, pfn, order, migratetype, cpu }: Recording, row: number): boolean {
  const next = row + 1;
  return event[next] === event[row] && pfn[next] !== pfn[row] && order[next] === order[row] &&
    migratetype[next] === migratetype[row] && cpu[next] === cpu[row];
}

const pairsOf = new Map<Recording, Set<number>>();

/**
 * Whether a row and the next free two single pages, far apart, that are handed out in the reverse order later, one right after
 * the other. Where frees come in bulk the pages merge and their order leaves no trace; here it does.
 */
function isReversed(recording: Recording, row: number): boolean {
  let pairs = pairsOf.get(recording);
  if (pairs === undefined) {
    pairs = reversedPairs(recording);
    pairsOf.set(recording, pairs);
  }
  return pairs.has(row);
}

function reversedPairs({ count, event, pfn, order, migratetype }: Recording): Set<number> {
  const is = (row: number, letter: string) =>
    event[row] === letter.charCodeAt(0) && order[row] === 0 && migratetype[row] === 1;
  const next = new Map<number, number>();
  const pairs = new Set<number>();
  for (let row = count - 2; row >= 0; row--) {
    if (is(row, "D") && is(row + 1, "D") && Math.abs(pfn[row] - pfn[row + 1]) > 1024) {
      const again = next.get(pfn[row + 1]) ?? count;
      if (is(again, "Z") && is(again + 1, "Z") && pfn[again + 1] === pfn[row]) pairs.add(row);
    }
    next.set(pfn[row + 1], row + 1);
  }
  return pairs;
}

/** Whether a turned list is not turned again before the next snapshot, and not for a block that is taken at once. */
function isLastTurn({ event, order, pfn, count }: Recording, row: number): boolean {
  if (pfn[row + 1] === pfn[row]) return false;
  for (let next = row + 1; next < count && event[next] !== 83; next++) {
    if (event[next] === event[row] && order[next] === order[row]) return false;
  }
  return true;
}

/** Whether compaction took the block of a row. */
function isCaptured({ text }: Recording, row: number): boolean {
  return text.get(row) === "captured";
}

const BUDDY = CASES.filter(({ level, name }) => level === "buddy" && name.endsWith(".buddy"));
const PCP = CASES.filter(({ level }) => level === "pcp");
const REPORTING = CASES.filter(({ level }) => level === "reporting");

/**
 * What says which page was taken must be found wherever it is: the replay takes a page itself. So must what leaves a page
 * free, or in use, that is not: a later row contradicts it, or the next snapshot does. Only order may leave no trace, and a
 * share is wanted of it, about two thirds of what 100 places a recording gave: pages freed in the other order are the same once they
 * have merged, a list is the same once compaction has turned it again or all of it is taken, and a batched free without its
 * row B is taken for one that reached the per-CPU list at once. Not tried are rows that say nothing at a level (C, G, V, M and
 * the requests at level buddy), and Y: a limit that is lowered later shows only where the lists are full.
 */
const FALSIFICATIONS: readonly Falsification[] = [
  { what: "another page taken", cases: [...BUDDY, ...REPORTING], event: "Z", change: anotherPage },
  { what: "a refill left out", cases: [...BUDDY, ...REPORTING, ...PCP], event: "Z", change: drop },
  { what: "a refill twice", cases: [...BUDDY, ...REPORTING, ...PCP], event: "Z", change: double },
  { what: "two refills swapped", cases: BUDDY, event: "Z", where: hasTwin, change: swap },
  { what: "another page drained", cases: [...BUDDY, ...PCP], event: "D", change: anotherPage },
  { what: "a drain left out", cases: [...BUDDY, ...PCP], event: "D", change: drop },
  { what: "a drain twice", cases: [...BUDDY, ...PCP], event: "D", change: double },
  { what: "two drains swapped", cases: BUDDY, event: "D", where: isReversed, change: swap, share: 0.3 },
  { what: "a free past the lists left out", cases: [...BUDDY, ...PCP], event: "O", change: drop },
  {
    what: "a claim bit flipped",
    cases: BUDDY,
    event: "X",
    change: withText((text) => text.slice(0, -1) + (text.endsWith("1") ? "0" : "1")),
  },
  { what: "another page of a fallback", cases: BUDDY, event: "X", change: anotherPage },
  { what: "a fallback left out", cases: BUDDY, event: "X", change: drop },
  { what: "a fallback twice", cases: BUDDY, event: "X", change: double },
  {
    what: "a fallback from a larger block",
    cases: BUDDY,
    event: "X",
    change: withText((text) => text.replace(/^\d+/, "10")),
    where: ({ text }, row) => !text.get(row)!.startsWith("10"),
  },
  { what: "a claim left out", cases: BUDDY, event: "z", change: drop },
  { what: "a claim twice", cases: BUDDY, event: "z", change: double },
  { what: "an isolate left out", cases: [...BUDDY, ...REPORTING], event: "I", change: drop },
  { what: "an isolate twice", cases: [...BUDDY, ...REPORTING], event: "I", change: double },
  { what: "another block isolated", cases: [...BUDDY, ...REPORTING], event: "I", change: anotherPage },
  { what: "a put back left out", cases: [...BUDDY, ...REPORTING], event: "U", change: drop },
  { what: "two put backs swapped", cases: REPORTING, event: "U", where: hasTwin, change: swap },
  { what: "two isolates swapped", cases: REPORTING, event: "I", where: hasTwin, change: swap },
  { what: "a capture that is none", cases: BUDDY, event: "D", where: isCaptured, change: withText(() => "") },
  {
    what: "a list turned the other way",
    cases: BUDDY,
    event: "T",
    where: isLastTurn,
    change: withText((text) => text === "head" ? "tail" : "head"),
    share: 0.4,
  },
  { what: "a turn left out", cases: BUDDY, event: "T", where: isLastTurn, change: drop, share: 0.4 },
  {
    what: "a report of another length",
    cases: REPORTING,
    event: "R",
    change: withText((text) => `${Number(text) - 1}`),
  },
  { what: "a report left out", cases: REPORTING, event: "R", change: drop },
  { what: "a report twice", cases: REPORTING, event: "R", change: double },
  { what: "the begin of a pass left out", cases: REPORTING, event: "W", change: drop },
  { what: "another page allocated", cases: PCP, event: "A", change: anotherPage },
  { what: "an allocation left out", cases: PCP, event: "A", change: drop },
  { what: "an allocation twice", cases: PCP, event: "A", change: double },
  { what: "two allocations swapped", cases: PCP, event: "A", where: hasTwin, change: swap },
  { what: "another page freed", cases: PCP, event: "F", change: anotherPage },
  { what: "a free left out", cases: PCP, event: "F", change: drop },
  { what: "a free twice", cases: PCP, event: "F", change: double },
  { what: "a batched free left out", cases: PCP, event: "B", change: drop, share: 0.5 },
  { what: "a batched free twice", cases: PCP, event: "B", change: double },
  { what: "two batched frees swapped", cases: PCP, event: "B", where: hasTwin, change: swap, share: 0.5 },
  { what: "a bulk of one page more", cases: PCP, event: "K", change: withText((text) => `${Number(text) + 1}`) },
  { what: "a bulk left out", cases: PCP, event: "K", change: drop },
];

for (const one of FALSIFICATIONS) {
  Deno.test(`${one.what}: found at ${one.share === undefined ? "every place" : "a share of the places"}`, () => {
    let [found, places] = [0, 0];
    for (const each of one.cases) {
      for (const row of placesOf(each, one)) {
        const result = falsified(each, row, one.change);
        places++;
        if (result === "refused" || !result.identical) found++;
        else if (one.share === undefined) {
          assert.fail(`${each.name}, level ${each.level}: row ${row + 2} was not found`);
        }
      }
    }
    assert.ok(places > 0 && found >= places * (one.share ?? 1), `${found} of ${places} were found`);
  });
}

Deno.test("a part between any two snapshots is exact by itself", () => {
  for (const one of CASES) {
    for (const { from } of segmentsOf(load(one.name))) {
      if (one.level === "reporting") continue;
      const result = falsified(one, from + 1, () => {});
      assert.ok(result !== "refused" && result.identical, `${one.name}, level ${one.level}, from row ${from + 2}`);
    }
  }
});

/** Several rows of a part changed at once, to whatever fits into the columns. */
const changes = fc.array(
  fc.record({
    at: fc.nat(),
    column: fc.constantFrom("event", "pfn", "near", "order", "migratetype", "cpu", "text", "repeat"),
    value: fc.nat({ max: 300_000 }),
  }),
  { minLength: 1, maxLength: 12 },
);
const EVENTS = "AFBZDOPXKIUiRWwTHCcYzp";
const TEXTS = ["", "captured", "head", "tail", "9/1/1", "4/0/0", "7/2/1", "10/1/1", "32", "1", "x/y", "12/0", "ff"];

function changed(part: Recording, edits: typeof changes extends fc.Arbitrary<infer T> ? T : never): Recording {
  const text = part.text as Map<number, string>;
  for (const { at, column, value } of edits) {
    // The first row and the last are the snapshots.
    const row = 1 + at % (part.count - 2);
    const other = 1 + value % (part.count - 2);
    if (column === "event") part.event[row] = EVENTS.charCodeAt(value % EVENTS.length);
    else if (column === "pfn") part.pfn[row] = value - 1;
    else if (column === "near") part.pfn[row] = part.pfn[other];
    else if (column === "order") part.order[row] = value % 12 - 1;
    else if (column === "migratetype") part.migratetype[row] = value % 6 - 1;
    else if (column === "cpu") part.cpu[row] = value % 3;
    else if (column === "text") text.set(row, TEXTS[value % TEXTS.length]);
    else {
      for (const cells of [part.event, part.pfn, part.order, part.migratetype, part.cpu]) cells[row] = cells[other];
    }
  }
  return part;
}

for (
  const [name, level] of [
    ["b2-mixed.events", "pcp"],
    ["b4-2vcpu.events", "pcp"],
    ["b2-612-mixed.events", "pcp"],
    ["b3-fallback.buddy", "buddy"],
    ["g4-612-fallback.buddy", "buddy"],
    ["c2-reporting.buddy", "reporting"],
  ] as const
) {
  Deno.test(`${name}, level ${level}: whatever is done to its rows, they are replayed or refused`, () => {
    const one = caseOf(name, level);
    const loaded = load(name);
    const sizeOf = ({ from, to }: Segment) => to - from;
    const [segment] = segmentsOf(loaded).filter(({ from, to }) =>
      level !== "reporting" || rowsOf(loaded.recording, "W").some((row) => row > from && row < to)
    ).sort((a, b) => sizeOf(a) - sizeOf(b));
    const rows = Array.from({ length: Math.min(sizeOf(segment), 20_000) }, (_, at) => segment.from + at);
    rows.push(segment.to);
    let replayed = 0;
    fc.assert(
      fc.property(changes, fc.constantFrom(kernel61, kernel612), (edits, kernel) => {
        const part = changed(edited({ recording: loaded.recording, row: -1, rows, at: 0 }), edits);
        try {
          verifyRecording(part, segment.snapshots, partsOf({ ...one, kernel }));
          replayed++;
        } catch (error) {
          if (!(error instanceof InputError)) throw error;
        }
      }),
      { numRuns: SLOW ? 3000 : 150 },
    );
    assert.ok(replayed > 0);
  });
}
