import assert from "node:assert/strict";
import fc from "fast-check";
import { MOVABLE } from "../../sim/guest/allocator.ts";
import { releaseAtBoot } from "../../sim/guest/boot_release.ts";
import { Buddy } from "../../sim/guest/buddy.ts";
import { layoutMachine, layoutZones, type MachineLayout, zonesOfState } from "../../sim/guest/layout.ts";
import type { HoleOption } from "../../sim/guest/layout_options.ts";
import { type MachinePlan, pagesetOf, planMachine, type PlanOptions } from "../../sim/guest/machine_plan.ts";
import { intersect } from "../../sim/guest/range_sets.ts";
import { parseBuddyinfo, parseZoneinfo } from "../../sim/guest/proc_files.ts";
import { readSnapshots } from "../../sim/guest/snapshot.ts";
import { alignmentOrder, pagesOf } from "../../sim/memory/range.ts";
import { unpack } from "../../sim/unpack.ts";

const MIB = 2 ** 20;
const GIB = 2 ** 30;

const unpacked = async (path: string) =>
  await unpack(path, Deno.readFileSync(new URL(`../../${path}`, import.meta.url)));
const booted: Record<string, { zoneinfo: string; buddyinfo: string }> = JSON.parse(
  new TextDecoder().decode(await unpacked("tests/guest/data/a-boot-proc.json.gz")),
);

/** The recorded guests: QEMU's q35 with Debian's kernel 6.1. */
const GUESTS: readonly (readonly [name: string, bytes: number, vcpus: number])[] = [
  ["a256", 256 * MIB, 1],
  ["a512", 512 * MIB, 1],
  ["a1024", GIB, 1],
  ["a2048", 2 * GIB, 1],
  ["a4096s2", 4 * GIB, 2],
  ["a8192s4", 8 * GIB, 4],
];

function q35(vcpus: number, kernel = "6.1", holes: readonly HoleOption[] = []): PlanOptions {
  return { zones: { layout: "q35" }, holes, numa: [], reserved: "auto", vcpus, thp: true, kernel };
}

/** The lines of /proc/zoneinfo that the parser of start states does not keep: reserves and per-CPU limits. */
function extras(zoneinfo: string): { protection: number[]; pagesets: { high: number; batch: number }[] }[] {
  return zoneinfo.split(/^(?=Node)/m).filter((text) => /pages free\s+[1-9]/.test(text)).map((text) => ({
    protection: /protection: \(([\d, ]+)\)/.exec(text)![1].split(",").map(Number),
    pagesets: [...text.matchAll(/high:\s+(\d+)\n\s+batch:\s+(\d+)/g)].map(([, high, batch]) => ({
      high: Number(high),
      batch: Number(batch),
    })),
  }));
}

Deno.test("boot: /proc/zoneinfo of six real guests, from nothing but their memory and their CPUs", () => {
  for (const [name, bytes, vcpus] of GUESTS) {
    const { zones } = planMachine(bytes, q35(vcpus));
    const recorded = parseZoneinfo(booted[name].zoneinfo);
    const further = extras(booted[name].zoneinfo);
    assert.equal(further.length, recorded.length);
    const wanted = recorded.map((zone, index) => ({
      name: zone.name,
      startPfn: zone.startPfn,
      spannedPages: zone.spannedPages,
      presentPages: zone.presentPages,
      managedPages: zone.managedPages,
      watermarks: zone.watermarks,
      protection: further[index].protection,
      pagesets: further[index].pagesets,
    }));
    const planned = zones.map((zone) => ({
      name: zone.name,
      startPfn: zone.startPfn,
      spannedPages: zone.spannedPages,
      presentPages: pagesOf(zone.present),
      managedPages: zone.managedPages,
      watermarks: [zone.watermarks.min, zone.watermarks.low, zone.watermarks.high],
      protection: zone.lowmemReserve,
      pagesets: Array.from({ length: vcpus }, () => ({ high: zone.pageset.high, batch: zone.pageset.batch })),
    }));
    assert.deepEqual(planned, wanted, name);
  }
});

Deno.test("boot: kernel 6.12, whose per-CPU lists have a range (the recording b2-612-mixed)", () => {
  const [dma, dma32] = planMachine(GIB, q35(1, "6.12")).zones;
  assert.deepEqual([dma.managedPages, dma32.managedPages], [3840, 243_351]);
  assert.deepEqual([dma.watermarks, dma32.watermarks], [
    { min: 177, low: 221, high: 265 },
    { min: 11_086, low: 13_857, high: 16_628 },
  ]);
  assert.deepEqual([dma.pageset, dma32.pageset], [
    { batch: 1, high: 221, highMax: 480 },
    { batch: 63, high: 13_857, highMax: 30_007 },
  ]);
});

Deno.test("boot: a hole from 512 MiB to 4 GiB, on both kernels within two pages (the recordings g2 and g4)", () => {
  const holes = [{ at: GIB / 2, size: 3.5 * GIB }];
  for (const [kernel, dma32, normal] of [["6.1", 99_239, 125_710], ["6.12", 101_002, 125_703]] as const) {
    const { zones } = planMachine(GIB, q35(2, kernel, holes));
    assert.deepEqual(zones.map(({ spannedPages }) => spannedPages), [4095, 1_044_480, 131_072]);
    // The recorded machine kept three pages more for its firmware.
    assert.equal(zones[1].managedPages, dma32 + 3, kernel);
    assert.ok(Math.abs(zones[2].managedPages - normal) <= 2, `${kernel}: ${zones[2].managedPages}`);
  }
});

Deno.test("boot: min_free_kbytes of 3000 gives the marks and lists of the recording g4, whose pages are known", () => {
  const [batch, high, highMax] = [31, 214, 6312];
  assert.deepEqual(pagesetOf(101_002, 429, 2), { batch, high, highMax });
  assert.deepEqual(pagesetOf(125_703, 533, 2), { batch: 31, high: 266, highMax: 7856 });
  assert.deepEqual(pagesetOf(3840, 15, 2), { batch: 1, high: 7, highMax: 240 });
  const { zones } = planMachine(GIB, { ...q35(2, "6.12"), minFreeKbytes: 3000 });
  assert.equal(zones[0].watermarks.min + zones[1].watermarks.min, 749, "750 pages, less what rounding leaves");
});

Deno.test("boot: per-CPU limits of the vector of 8 GiB with four CPUs", () => {
  assert.deepEqual(pagesetOf(1_310_720, 13_201, 4), { batch: 63, high: 3300, highMax: 40_960 });
});

/** Blocks of each order on the lists of a zone. */
function blocks(zone: MachineLayout["zones"][number]): number[] {
  return Array.from({ length: 11 }, (_, order) => zone.allocator.nrFree(order));
}

/** The pages of a list from its head on. */
function listed(allocator: Buddy | MachineLayout["zones"][number]["allocator"], order: number): number[] {
  const pfns: number[] = [];
  for (let pfn = allocator.first(order, MOVABLE); pfn >= 0; pfn = allocator.next(pfn, order)) pfns.push(pfn);
  return pfns;
}

Deno.test("boot release: the lists of zone DMA are those of six real guests, less the few pages that they use", () => {
  for (const [name, bytes, vcpus] of GUESTS) {
    const [dma] = layoutMachine(bytes, q35(vcpus)).zones;
    dma.allocator.validate();
    assert.deepEqual(blocks(dma), [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 3]);
    const recorded = parseBuddyinfo(booted[name].buddyinfo).get("0/DMA")!;
    assert.deepEqual(recorded.slice(9), [1, 3], name);
    const rest = recorded.slice(0, 9).reduce((sum, count, order) => sum + count * 2 ** order, 0);
    assert.ok(rest <= 256, `${name}: all that is in use lies in the first free block of order 8`);
  }
});

Deno.test("boot release: large free blocks stand in the order in which a real kernel still has them after its start", async () => {
  const states = readSnapshots(await unpacked("workloads/recordings/b2-mixed.snaps.json.gz"));
  const state = states.get("s0")!;
  const { zones } = layoutMachine(GIB, q35(1));
  const released = zones.map((zone) => listed(zone.allocator, 10));
  assert.deepEqual(listed(zonesOfState(state)[0].allocator, 10), released[0], "zone DMA");
  const recorded = listed(zonesOfState(state)[1].allocator, 10);
  const place = new Map(released[1].map((pfn, index) => [pfn, index]));
  const places = recorded.filter((pfn) => place.has(pfn)).map((pfn) => place.get(pfn)!);
  assert.ok(places.length >= 170, `${places.length} of ${recorded.length}`);
  // What the start of the system freed again stands elsewhere; the run that was never taken is in place.
  let run = 0;
  let longest = 0;
  for (let index = 1; index < places.length; index++) {
    run = places[index] === places[index - 1] + 1 ? run + 1 : 0;
    longest = Math.max(longest, run);
  }
  assert.ok(longest >= 90, `${longest}`);
});

Deno.test("boot release: ascending, in the largest aligned blocks, holes and the kernel's pages left out", () => {
  const piece = fc.tuple(fc.integer({ min: 1, max: 900 }), fc.integer({ min: 1, max: 5000 }));
  fc.assert(fc.property(fc.nat({ max: 3000 }), fc.array(piece, { minLength: 1, maxLength: 5 }), (start, pieces) => {
    const free: { pfn: number; count: number }[] = [];
    let end = start;
    for (const [gap, count] of pieces) {
      free.push({ pfn: end + gap, count });
      end += gap + count;
    }
    const zone = new Buddy(start, end - start);
    releaseAtBoot(zone, free);
    zone.validate();
    assert.equal(zone.freePages, pagesOf(free));
    for (let order = 0; order <= 10; order++) {
      const pfns = listed(zone, order);
      assert.deepEqual(pfns, [...pfns].sort((a, b) => a - b));
      for (const pfn of pfns) {
        const size = 2 ** order;
        assert.equal(pagesOf(intersect(free, pfn, pfn + size)), size, "the block is free memory");
        if (order === 10) continue;
        // As large as its place allows: the block of the next order is misaligned or reaches out of the range.
        const [range] = free.filter((one) => one.pfn <= pfn && pfn < one.pfn + one.count);
        assert.ok(alignmentOrder(pfn, 10) === order || pfn + 2 * size > range.pfn + range.count);
      }
    }
  }));
});

Deno.test("boot: a machine without options has the zones of before, and the whole of its memory free", () => {
  for (const bytes of [MIB, 15 * MIB, 64 * MIB, 700 * MIB, 4 * GIB, 5 * GIB]) {
    for (const zone of layoutZones(bytes, true)) {
      assert.equal(zone.allocator.freePages, zone.managedPages);
      assert.equal(zone.presentPages, zone.managedPages);
      assert.equal(zone.allocator.pages, zone.managedPages);
    }
  }
});

Deno.test("boot: with a hole a zone holds less than it spans, with a reserve it manages less than it holds", () => {
  const { zones, plans }: MachineLayout = layoutMachine(4 * GIB, { ...q35(2), reserved: 64 * MIB });
  const plan: MachinePlan["zones"] = plans;
  assert.deepEqual(zones.map(({ presentPages }) => presentPages), [3998, 520_160, 524_288]);
  assert.deepEqual(zones.map(({ managedPages }) => managedPages), [3998, 520_160, 524_288 - 16_384]);
  for (const [index, zone] of zones.entries()) {
    zone.allocator.validate();
    assert.equal(zone.allocator.freePages, zone.managedPages);
    assert.equal(plan[index].index, index);
    // Nothing of the hole is ever handed out.
    for (let order = 0; order <= 10; order++) {
      for (const pfn of listed(zone.allocator, order)) {
        assert.equal(pagesOf(intersect(zone.present, pfn, pfn + 2 ** order)), 2 ** order);
      }
    }
  }
});
