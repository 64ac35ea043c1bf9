import assert from "node:assert/strict";
import fc from "fast-check";
import { InputError } from "../../sim/core/options.ts";
import { zonesOfState } from "../../sim/guest/layout.ts";
import { parseBuddyinfo, parsePagetypeinfo, parseZoneinfo } from "../../sim/guest/proc_files.ts";
import { readSnapshots } from "../../sim/guest/snapshot.ts";
import { type StartSnapshot, stateFromFreeMemory, stateFromProc } from "../../sim/guest/start_state.ts";
import { readTraceRows, withSnapshotRow } from "../../sim/guest/trace_rows.ts";
import { unpack } from "../../sim/unpack.ts";

async function data(name: string): Promise<Uint8Array> {
  return await unpack(name, Deno.readFileSync(new URL(`data/${name}`, import.meta.url)));
}

interface ProcTexts {
  readonly zoneinfo: string;
  readonly buddyinfo: string;
  readonly pagetypeinfo: string;
}

/** Texts of /proc at the snapshots of the recording b2-mixed. */
const proc: Record<string, ProcTexts> = JSON.parse(new TextDecoder().decode(await data("b2-proc.json.gz")));
/** The same moments read from the memory of the guest. */
const images: Record<string, StartSnapshot & { pageblock_mt: string }> = JSON.parse(
  new TextDecoder().decode(
    await unpack(
      "b2",
      Deno.readFileSync(new URL("../../workloads/recordings/b2-mixed.snaps.json.gz", import.meta.url)),
    ),
  ),
);

function stateOf(snapshot: StartSnapshot) {
  return readSnapshots(new TextEncoder().encode(JSON.stringify({ s0: snapshot }))).get("s0")!;
}

/** Free blocks by order of each zone. */
function countsOf(snapshot: StartSnapshot): number[][] {
  const counts = snapshot.zones.map(() => new Array<number>(11).fill(0));
  for (const [zone, order, , pfns] of snapshot.free) counts[zone][order] += pfns.length;
  return counts;
}

/** Every free block with its list. */
function blocksOf(snapshot: StartSnapshot): Set<string> {
  return new Set(
    snapshot.free.flatMap(([zone, order, type, pfns]) => pfns.map((pfn) => `${zone} ${order} ${type} ${pfn}`)),
  );
}

function refusal(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    assert.ok(error instanceof InputError, `${error}`);
    return `${error.path.join(" ")}: ${error.message}`;
  }
  return "accepted";
}

for (const [tag, blocks, elsewhere] of [["s0", 200, 0], ["s6", 2939, 1]] as const) {
  Deno.test(`kpageflags at ${tag}: blocks by order as in buddyinfo, block by block as in the memory image`, async () => {
    const { zoneinfo, buddyinfo, pagetypeinfo } = proc[tag];
    const kpageflags = await data(`b2-${tag}.kpageflags.gz`);
    const { snapshot, notices } = stateFromProc({ kpageflags, zoneinfo, pagetypeinfo });
    const recorded = parseBuddyinfo(buddyinfo);
    assert.deepEqual(countsOf(snapshot), [recorded.get("0/DMA"), recorded.get("0/DMA32")]);
    const image = blocksOf(images[tag]);
    const found = blocksOf(snapshot);
    assert.deepEqual([image.size, found.size], [blocks, blocks]);
    assert.equal([...image].filter((block) => !found.has(block)).length, elsewhere, "blocks on a list of another type");
    assert.deepEqual(
      snapshot.zones.map((
        { name, start, spanned, managed, present, wm },
      ) => [name, start, spanned, managed, present, ...wm]),
      [
        ["DMA", 1, 4095, 3840, 3998, 178, 222, 266],
        ["DMA32", 4096, 258_016, 241_591, 258_016, 11_085, 13_856, 16_627],
      ],
    );
    assert.match(notices[0], /^\d+ pages on per-CPU lists count as in use/);
    for (const zone of zonesOfState(stateOf(snapshot))) zone.allocator.validate();
  });
}

Deno.test("without pagetypeinfo the blocks are the same and movable", async () => {
  const kpageflags = await data("b2-s0.kpageflags.gz");
  const { snapshot, notices } = stateFromProc({ kpageflags, zoneinfo: proc.s0.zoneinfo });
  assert.deepEqual(countsOf(snapshot), countsOf(images.s0));
  assert.ok(snapshot.free.every(([, , type]) => type === 1));
  assert.equal(notices.at(-1), "without pagetypeinfo, pageblocks are movable unless a row says otherwise");
});

/** Flags of 2048 pages of which those in `free` are on free lists. */
function flags(free: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(2048 * 8);
  for (const pfn of free) bytes[pfn * 8 + 1] = 4;
  return bytes;
}

const ZONE = `Node 0, zone      DMA
  pages free     600
        min      1
        low      2
        high     3
        spanned  2048
        present  2048
        managed  2000
  start_pfn:           0
`;

Deno.test("rows between the reading and the snapshot, and rows after it, correct what was read", () => {
  const read = [8, 9, 10, 11, 512, 513, 600];
  const rows = readTraceRows(new TextEncoder().encode(
    "dt_us,ev,pfn,order,mt,x\n" +
      "0,Z,512,1,2,1\n" + // before the reading: says nothing
      "0,M,,,,reading s0\n" +
      "0,Z,8,2,1,1\n" + // taken after it was read
      "0,D,16,3,1,\n" + // freed after it was read
      "0,S,,,,s0\n" +
      "0,D,8,1,1,\n" +
      "0,Z,600,0,0,1\n" + // was free, as read
      "0,D,601,0,0,\n" + // was in use, as read
      "0,Z,1024,9,1,1\n" + // must have been free
      "0,D,513,0,2,\n" + // must have been in use
      "0,D,700,0,1,captured\n",
  ));
  const recorded = withSnapshotRow(rows, "s0");
  assert.deepEqual([recorded.from, recorded.at], [2, 4]);
  const { snapshot, notices } = stateFromProc({ kpageflags: flags(read), zoneinfo: ZONE }, recorded);
  assert.deepEqual(snapshot.free, [[0, 0, 0, [512, 600]], [0, 3, 1, [16]], [0, 9, 1, [1024]]]);
  assert.equal(
    notices.at(-1),
    `${4 + 8 + 512 + 1} pages changed hands while the files were read; they are as the rows say`,
  );
  assert.deepEqual(snapshot.pageblock_mt_at, { 0: "1011" });
});

Deno.test("a recording without the snapshot gets its row before all others", () => {
  const rows = readTraceRows(new TextEncoder().encode("dt_us,ev,pfn,order,mt,x\n7,Z,512,1,2,1\n2,S,,,,s1\n"));
  const { rows: more, at, from } = withSnapshotRow(rows, "s0");
  assert.deepEqual([at, from, more.count, more.text(0), more.timeUs[0], more.timeUs[1]], [0, 0, 3, "s0", 7, 7]);
});

Deno.test("free memory alone: that many pages, laid out as a booted guest", () => {
  fc.assert(
    fc.property(fc.integer({ min: 4096, max: 300_000 }), fc.double({ min: 0, max: 1, noNaN: true }), (pages, share) => {
      const free = Math.floor(pages * share);
      const { snapshot } = stateFromFreeMemory(pages * 4096, free * 4096);
      const counted = snapshot.free.reduce((sum, [, order, , pfns]) => sum + pfns.length * 2 ** order, 0);
      assert.equal(counted, free);
      zonesOfState(stateOf(snapshot));
    }),
    { numRuns: 30 },
  );
  assert.equal(refusal(() => stateFromFreeMemory(2 ** 30, 2 ** 31)), ": more is free than there is memory");
});

Deno.test("the files of /proc: two kernels, several nodes, and what does not fit", () => {
  const zones = parseZoneinfo(
    ZONE + ZONE.replace("Node 0", "Node 1").replace("start_pfn:           0", "start_pfn: 4096"),
  );
  assert.deepEqual(zones.map(({ node, startPfn, freePages }) => [node, startPfn, freePages]), [[0, 0, 600], [
    1,
    4096,
    600,
  ]]);
  const [dma] = parsePagetypeinfo(proc.s0.pagetypeinfo);
  assert.deepEqual([dma.name, dma.blocks, dma.free[0]], ["DMA", [1, 7, 0, 0, 0], [0, 0, 0, 0, 0, 1, 1, 1, 0, 0, 0]]);
  const cases: [parse: () => unknown, message: string][] = [
    [() => parseZoneinfo("cpu 1"), "row 1: is not /proc/zoneinfo: it begins with Node 0, zone"],
    [() => parseZoneinfo(""), ": has no zone with pages"],
    [() => parseZoneinfo(ZONE.replace("start_pfn", "start")), ": zone DMA has no line start_pfn"],
    [() => parseZoneinfo(ZONE.replace("2000", "2k")), 'row 8: "2k" is not a number of pages or blocks'],
    [() => parseBuddyinfo("Node 0, zone DMA 1 2"), "row 1: has 2 orders; wanted are 11"],
    [() => parseBuddyinfo("nothing"), "row 1: is not a line of /proc/buddyinfo: Node 0, zone DMA and counts by order"],
    [() => parsePagetypeinfo("nothing"), 'row 1: "nothing" is not a line of /proc/pagetypeinfo'],
    [
      () => parsePagetypeinfo("Node 0, zone DMA, type CMA 1 0 0 0 0 0 0 0 0 0 0"),
      "row 1: migratetype CMA is not modelled",
    ],
    [
      () => stateFromProc({ kpageflags: new Uint8Array(7), zoneinfo: ZONE }),
      "kpageflags: has 7 bytes; wanted are 8 for each page",
    ],
    [
      () => stateFromProc({ kpageflags: flags([]), zoneinfo: "x" }),
      "zoneinfo row 1: is not /proc/zoneinfo: it begins with Node 0, zone",
    ],
  ];
  for (const [parse, message] of cases) assert.equal(refusal(parse), message);
});

Deno.test("the files of six booted guests agree with one another", async () => {
  const boots: Record<string, ProcTexts> = JSON.parse(new TextDecoder().decode(await data("a-boot-proc.json.gz")));
  assert.equal(Object.keys(boots).length, 6);
  for (const [guest, { zoneinfo, buddyinfo, pagetypeinfo }] of Object.entries(boots)) {
    const counts = parseBuddyinfo(buddyinfo);
    const types = parsePagetypeinfo(pagetypeinfo);
    for (const { name, node, startPfn, spannedPages } of parseZoneinfo(zoneinfo)) {
      const byOrder = counts.get(`${node}/${name}`);
      const zone = types.find((one) => one.name === name && one.node === node)!;
      // pagetypeinfo was read a little later: a block may have been split since.
      const sums = zone.free[0].map((_, order) => zone.free.reduce((sum, orders) => sum + orders[order], 0));
      assert.ok(byOrder!.every((count, order) => Math.abs(count - sums[order]) <= 2), `${guest} ${name}`);
      const blocks = zone.blocks.reduce((sum, count) => sum + count, 0);
      assert.ok(blocks <= Math.ceil((startPfn % 512 + spannedPages) / 512), `${guest} ${name}`);
    }
  }
});

Deno.test("texts of /proc with mistakes are read or refused, and never anything else", () => {
  const { zoneinfo, buddyinfo, pagetypeinfo } = proc.s0;
  const texts: [text: string, parse: (text: string) => unknown][] = [
    [zoneinfo, parseZoneinfo],
    [buddyinfo, parseBuddyinfo],
    [pagetypeinfo, parsePagetypeinfo],
  ];
  for (const [text, parse] of texts) {
    fc.assert(
      fc.property(fc.nat(text.length - 1), fc.string({ maxLength: 3 }), fc.nat(20), (at, inserted, cut) => {
        refusal(() => parse(text.slice(0, at) + inserted + text.slice(at + cut)));
      }),
      { numRuns: 300 },
    );
  }
});
