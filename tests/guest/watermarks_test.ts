import assert from "node:assert/strict";
import { minFreeKbytes, type Watermarks, watermarksOf, type ZoneSize } from "../../sim/guest/watermarks.ts";

function zones(...managed: number[]): ZoneSize[] {
  return managed.map((managedPages) => ({ managedPages, movable: false }));
}

function marks({ min, low, high }: Watermarks): number[] {
  return [min, low, high];
}

Deno.test("watermarks: the vectors calculated from the kernel's formulas (__setup_per_zone_wmarks)", () => {
  const DMA = 3840;
  const DMA32 = 782_336;
  const rows: [
    normal: number,
    thp: boolean,
    kbytes: number,
    normalMarks: number[],
    dma32Marks: number[] | undefined,
  ][] = [
    [1_310_720, false, 11_584, [1810, 3120, 4430], [1080, 1862, 2644]],
    [1_310_720, true, 67_584, [10_561, 13_201, 15_841], [6303, 7878, 9453]],
    [15_990_784, true, 67_584, [16_104, 32_094, 48_084], [787, 1569, 2351]],
    [267_649_024, true, 131_071, [32_671, 300_320, 567_969], [95, 877, 1659]],
  ];
  for (const [normal, thp, kbytes, normalMarks, dma32Marks] of rows) {
    const sizes = zones(DMA, DMA32, normal);
    assert.equal(minFreeKbytes(sizes, thp), kbytes);
    const [, dma32, last] = watermarksOf(sizes, thp);
    assert.deepEqual(marks(last), normalMarks);
    assert.deepEqual(marks(dma32), dma32Marks);
  }
});

/**
 * Marks that kernels 6.1 booted with, from their /proc/zoneinfo (DMA managed 3840 everywhere).
 *
 * /proc shows the managed pages of later: the kernel frees its start-up memory and the initramfs to DMA32 after it has set
 * the marks. One figure for that, 3340 pages or 13 MiB, explains every mark of all six machines to the page.
 */
const FREED_LATER = 3340;
const BOOTED: [name: string, thp: boolean, kbytes: number, zones: [managed: number, marks: number[]][]][] = [
  ["256 MiB", false, 1768, [[48_343, [407, 508, 609]]]],
  ["512 MiB", false, 2692, [[112_759, [650, 812, 974]]]],
  ["1 GiB", true, 45_056, [[241_591, [11_085, 13_856, 16_627]]]],
  ["2 GiB", true, 45_056, [[499_255, [11_177, 13_971, 16_765]]]],
  ["4 GiB", true, 67_584, [[492_458, [8277, 10_346, 12_415]], [505_484, [8553, 10_691, 12_829]]]],
  ["8 GiB", true, 67_584, [[492_458, [4073, 5091, 6109]], [1_536_016, [12_790, 15_987, 19_184]]]],
];
const DMA_MARKS: Record<string, number[]> = {
  "256 MiB": [34, 42, 50],
  "512 MiB": [22, 27, 32],
  "1 GiB": [178, 222, 266],
  "2 GiB": [86, 107, 128],
  "4 GiB": [64, 80, 96],
  "8 GiB": [31, 38, 45],
};

Deno.test("watermarks: what six real guests booted with", () => {
  for (const [name, thp, kbytes, recorded] of BOOTED) {
    const [dma32, ...normal] = recorded.map(([managed]) => managed);
    const sizes = zones(3840, dma32 - FREED_LATER, ...normal);
    assert.equal(minFreeKbytes(sizes, thp), kbytes, name);
    assert.deepEqual(watermarksOf(sizes, thp).map(marks), [DMA_MARKS[name], ...recorded.map(([, each]) => each)], name);
  }
});

Deno.test("min_free_kbytes: at least 128, at most 262144, and khugepaged asks for no more than a twentieth", () => {
  assert.equal(minFreeKbytes(zones(100), false), 128);
  assert.equal(minFreeKbytes(zones(2 ** 31), false), 262_144);
  assert.equal(minFreeKbytes(zones(2 ** 31), true), 262_144);
  // One zone: 512 * 2 + 512 * 9 = 5632 pages, two: 11,264, three: 16,896; an empty zone does not count.
  assert.equal(minFreeKbytes(zones(200_000), true), 5632 * 4);
  assert.equal(minFreeKbytes(zones(3840, 400_000, 0), true), 11_264 * 4);
  assert.equal(minFreeKbytes(zones(50_000), true), 2500 * 4);
});

Deno.test("ZONE_MOVABLE is no low memory: its minimum is a 1024th of it from 32 to 128 pages, the distance as elsewhere", () => {
  const low = zones(3840, 400_000);
  const cases: [managed: number, min: number][] = [[10_000, 32], [65_536, 64], [10_000_000, 128]];
  for (const [managedPages, min] of cases) {
    const sizes = [...low, { managedPages, movable: true }];
    assert.equal(minFreeKbytes(sizes, true), minFreeKbytes(low, true));
    const [dma, dma32, movable] = watermarksOf(sizes, true);
    assert.deepEqual([dma, dma32], watermarksOf(low, true));
    const share = Math.floor(11_264 * managedPages / 403_840);
    const distance = Math.max(Math.floor(share / 4), Math.floor(managedPages / 1000));
    assert.deepEqual(marks(movable), [min, min + distance, min + 2 * distance]);
  }
});
