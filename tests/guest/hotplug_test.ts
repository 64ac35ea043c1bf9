import assert from "node:assert/strict";
import { type Random, randomStream } from "../../sim/core/random.ts";
import { HIGHATOMIC, ISOLATE, MOVABLE, RECLAIMABLE, UNMOVABLE } from "../../sim/guest/allocator.ts";
import { Hotplug, memoryBlockPages } from "../../sim/guest/hotplug.ts";
import type { HotplugGuest, HotplugObserver, HotplugZone } from "../../sim/guest/hotplug_parts.ts";
import { type Kernel, type KernelZone, NO_FLAGS } from "../../sim/guest/kernel.ts";
import { kernel61 } from "../../sim/guest/kernel_6_1.ts";
import { kernel612 } from "../../sim/guest/kernel_6_12.ts";
import { SECTION_PAGES } from "../../sim/guest/section_table.ts";
import { SparseLists } from "../../sim/guest/sparse_lists.ts";
import { TwinLists } from "./twin_lists.ts";

const SLOW = Deno.env.get("HINTSIM_TIER") === "slow";
const OPERATIONS = SLOW ? 1_000_000 : 10_000;
const BLOCK = SECTION_PAGES;
/** The first memory block above 4 GiB. */
const START = 2 ** 20;
const NORMAL = 0;
const MOVABLE_ZONE = 1;

class TestZone<Lists extends SparseLists> implements HotplugZone, KernelZone {
  readonly index: number;
  readonly allocator: Lists;
  presentPages = 0;

  constructor(index: number, allocator: Lists) {
    this.index = index;
    this.allocator = allocator;
  }

  grow(_pfn: number, count: number): void {
    this.presentPages += count;
  }

  shrink(_pfn: number, count: number): void {
    this.presentPages -= count;
  }

  mayClaim(): boolean {
    return false;
  }

  boost(): void {}
}

interface Used {
  readonly order: number;
  readonly movable: boolean;
  readonly zone: number;
}

/** A guest as far as hotplug knows it: blocks in use, pages on a per-CPU list, and a log of what it hears. */
class TestGuest<Lists extends SparseLists> implements HotplugGuest, HotplugObserver {
  readonly zones: readonly TestZone<Lists>[];
  readonly hotplug: Hotplug;
  readonly used = new Map<number, Used>();
  /** Single pages on the per-CPU lists of each zone. */
  readonly perCpu: number[][] = [[], []];
  /** Pages that nobody names: isolated by a driver. */
  readonly hidden = new Set<number>();
  readonly log: string[] = [];
  /** Whether blocks can be migrated now. */
  places = true;
  moved: number[] = [];
  readonly kernel: Kernel;

  constructor(lists: readonly Lists[], kernel: Kernel, bootBlocks: number) {
    this.kernel = kernel;
    this.zones = lists.map((allocator, index) => new TestZone(index, allocator));
    const [normal, movable] = this.zones;
    for (let n = 0; n < bootBlocks; n++) normal.allocator.addSection(START / BLOCK + n);
    if (bootBlocks > 0) normal.allocator.insertRange(START, bootBlocks * BLOCK, MOVABLE);
    normal.presentPages = bootBlocks * BLOCK;
    this.hotplug = new Hotplug({
      normal,
      movable,
      earlyPages: bootBlocks * BLOCK,
      bootEndPfn: START + bootBlocks * BLOCK,
      splitsLargeBlocks: kernel === kernel612,
      costs: { visitNs: 20, freeNs: 90, isolateNs: 38 },
      guest: this,
      observer: this,
    });
  }

  alloc(order: number, migratetype: number, zones: readonly number[]): number {
    for (const zone of zones) {
      const pfn = this.kernel.alloc(this.zones[zone], order, migratetype, NO_FLAGS);
      if (pfn < 0) continue;
      this.used.set(pfn, { order, movable: migratetype === MOVABLE, zone });
      return pfn;
    }
    return -1;
  }

  free(pfn: number): void {
    const { order, zone } = this.used.get(pfn)!;
    this.used.delete(pfn);
    this.#giveBack(zone, pfn, order);
  }

  drain(zone: number): void {
    for (const pfn of this.perCpu[zone].splice(0)) this.#giveBack(zone, pfn, 0);
  }

  forEachUsed(pfn: number, count: number, visit: (pfn: number, order: number, movable: boolean) => void): void {
    for (const [first, { order, movable }] of [...this.used].reverse()) {
      if (first >= pfn && first < pfn + count) visit(first, order, movable);
    }
  }

  migrate(pfn: number, order: number): number {
    const { zone } = this.used.get(pfn)!;
    const target = this.places ? this.alloc(order, MOVABLE, [MOVABLE_ZONE, NORMAL]) : -1;
    if (target < 0) {
      this.log.push(`no place for ${pfn}`);
      return -1;
    }
    assert.equal(this.zones[zone].allocator.pageblockType(pfn), ISOLATE);
    this.moved.push(pfn);
    this.free(pfn);
    return 1000 * 2 ** order;
  }

  resized(): void {
    this.log.push("resized");
  }

  onlined(zone: number, pfn: number, pages: number, costNs: number): void {
    this.log.push(`online ${zone} ${pfn} ${pages} ${costNs}`);
  }

  offlined(zone: number, pfn: number, pages: number, costNs: number): void {
    this.log.push(`offline ${zone} ${pfn} ${pages} ${costNs}`);
  }

  offlineFailed(zone: number, pfn: number, pages: number, busyPfn: number, _costNs: number): void {
    this.log.push(`busy ${zone} ${pfn} ${pages} ${busyPfn}`);
  }

  /** free + used + per-CPU + hidden = present, in each zone; nothing stays isolated; all in use exists. */
  check(): void {
    for (const zone of this.zones) {
      const { allocator, index } = zone;
      let away = this.perCpu[index].length;
      for (const [pfn, block] of this.used) {
        if (block.zone !== index) continue;
        assert.ok(allocator.has(pfn) && allocator.has(pfn + 2 ** block.order - 1));
        assert.equal(allocator.orderAt(pfn), -1);
        away += 2 ** block.order;
      }
      for (const pfn of this.hidden) if (allocator.has(pfn)) away++;
      assert.equal(allocator.freePages + away, zone.presentPages);
      assert.equal(allocator.sections * BLOCK, zone.presentPages);
      for (let order = 0; order <= 10; order++) assert.equal(allocator.first(order, ISOLATE), -1);
      allocator.validate();
    }
  }

  #giveBack(zone: number, pfn: number, order: number): void {
    const { allocator } = this.zones[zone];
    this.kernel.free(this.zones[zone], pfn, order, allocator.pageblockType(pfn), false);
  }
}

/** A guest with `bootBlocks` memory blocks of Normal from 4 GiB on. */
function guestOf(bootBlocks: number, kernel: Kernel = kernel61): TestGuest<TwinLists> {
  return new TestGuest([new TwinLists(12), new TwinLists(12)], kernel, bootBlocks);
}

function list(lists: SparseLists, order: number, type = MOVABLE): number[] {
  const pfns: number[] = [];
  for (let pfn = lists.first(order, type); pfn >= 0; pfn = lists.next(pfn, order)) pfns.push(pfn);
  return pfns;
}

function ascending(start: number, count: number): number[] {
  return Array.from({ length: count }, (_, n) => start + 1024 * n);
}

Deno.test("a memory block has 128 MiB below 64 GiB, else the largest power of two up to 2 GiB that the memory ends at", () => {
  const gib = 2 ** 18;
  const cases: [number, number][] = [
    [5 * gib, 32768],
    [64 * gib - 1, 32768],
    [64 * gib, 2 ** 19],
    [65 * gib, 2 ** 18],
    [66 * gib, 2 ** 19],
    [64 * gib + gib / 2, 2 ** 17],
    [100 * gib + 32768, 32768],
    [100 * gib + 1, 32768],
  ];
  for (const [end, pages] of cases) assert.equal(memoryBlockPages(end), pages, `${end}`);
});

Deno.test("added memory stands behind the movable list in ascending chunks of order 10, and zones are told", () => {
  for (const kernel of [kernel61, kernel612]) {
    const guest = guestOf(1, kernel);
    const [normal] = guest.zones;
    const before = list(normal.allocator, 10);
    const pfn = START + 4 * BLOCK;
    const { pages, costNs } = guest.hotplug.online(pfn, 2 * BLOCK, "normal");
    assert.deepEqual(list(normal.allocator, 10), [...before, ...ascending(pfn, 64)]);
    assert.deepEqual([normal.presentPages, normal.allocator.pages], [3 * BLOCK, 6 * BLOCK]);
    const each = BLOCK * 20 + 32 * 90;
    assert.deepEqual([pages, costNs], [2 * BLOCK, 2 * each]);
    assert.deepEqual(guest.log, [
      `online 0 ${pfn} ${BLOCK} ${each}`,
      "resized",
      `online 0 ${pfn + BLOCK} ${BLOCK} ${each}`,
      "resized",
    ]);
    guest.check();
  }
});

Deno.test("where added memory goes: normal, movable, alternating by address, and auto up to 301 % of the boot memory", () => {
  const guest = guestOf(2);
  const zoneAt = (block: number) => guest.hotplug.zoneOf(START + block * BLOCK)?.index;
  guest.hotplug.online(START + 4 * BLOCK, BLOCK, "normal");
  guest.hotplug.online(START + 5 * BLOCK, BLOCK, "movable");
  guest.hotplug.online(START + 7 * BLOCK, 4 * BLOCK, "alternating");
  assert.deepEqual([2, 4, 5, 6, 7, 8, 9, 10].map(zoneAt), [undefined, 0, 1, undefined, 1, 0, 1, 0]);
  // 3 memory blocks are movable; 301 % of the 2 of the boot are 6.02. Kernel memory that was added does not count.
  guest.hotplug.online(START + 20 * BLOCK, 3 * BLOCK, "auto");
  guest.hotplug.online(START + 30 * BLOCK, BLOCK, "auto");
  assert.deepEqual([20, 21, 22, 30].map(zoneAt), [1, 1, 1, 0]);
  guest.hotplug.offline(START + 21 * BLOCK, BLOCK);
  // All that is added at once goes to one zone: two are too many, one is not.
  guest.hotplug.online(START + 40 * BLOCK, 2 * BLOCK, "auto");
  guest.hotplug.online(START + 50 * BLOCK, BLOCK, "auto");
  assert.deepEqual([40, 41, 50].map(zoneAt), [0, 0, 1]);
  guest.check();
});

Deno.test("boot memory that went no longer counts for the auto policy", () => {
  const guest = guestOf(2);
  guest.hotplug.offline(START, BLOCK);
  guest.hotplug.online(START + 4 * BLOCK, 4 * BLOCK, "auto");
  assert.equal(guest.hotplug.zoneOf(START + 4 * BLOCK)?.index, NORMAL);
  guest.hotplug.online(START, BLOCK, "auto");
  assert.equal(guest.hotplug.zoneOf(START)?.index, MOVABLE_ZONE);
});

Deno.test("memory that is free goes, the span shrinks to what is left, and it can come back", () => {
  for (const kernel of [kernel61, kernel612]) {
    const guest = guestOf(1, kernel);
    const [normal] = guest.zones;
    const pfn = START + 6 * BLOCK;
    guest.hotplug.online(pfn, BLOCK, "normal");
    guest.log.length = 0;
    assert.equal(guest.hotplug.offline(pfn, BLOCK).pages, BLOCK);
    // 32 blocks of order 10 are taken off the lists, 64 of order 9 where isolation split them.
    const costNs = BLOCK * 20 + (kernel === kernel612 ? 64 : 32) * 38;
    assert.deepEqual(guest.log, [`offline 0 ${pfn} ${BLOCK} ${costNs}`, "resized"]);
    assert.deepEqual([normal.presentPages, normal.allocator.pages], [BLOCK, BLOCK]);
    assert.equal(guest.hotplug.zoneOf(pfn), undefined);
    guest.hotplug.online(pfn, BLOCK, "movable");
    assert.equal(guest.hotplug.zoneOf(pfn)?.index, MOVABLE_ZONE);
    guest.check();
  }
});

Deno.test("movable blocks are migrated in ascending order, what lies on per-CPU lists is drained", () => {
  for (const kernel of [kernel61, kernel612]) {
    const guest = guestOf(0, kernel);
    const pfn = START + 8 * BLOCK;
    guest.hotplug.online(pfn, BLOCK, "movable");
    const [, movable] = guest.zones;
    const pages = [0, 3, 0, 9, 10, 1].map((order) => guest.alloc(order, MOVABLE, [MOVABLE_ZONE]));
    guest.used.delete(pages[0]);
    guest.perCpu[MOVABLE_ZONE].push(pages[0]);
    guest.hotplug.online(START, BLOCK, "normal");
    const { pages: removed, costNs } = guest.hotplug.offline(pfn, BLOCK);
    assert.equal(removed, BLOCK);
    assert.deepEqual(guest.moved, pages.slice(1).sort((a, b) => a - b));
    assert.ok(costNs > BLOCK * 20 + (8 + 1 + 512 + 1024 + 2) * 1000);
    assert.deepEqual([movable.presentPages, movable.allocator.pages, movable.allocator.startPfn], [0, 0, 0]);
    assert.equal(guest.used.size, 5);
    guest.check();
  }
});

Deno.test("one page that cannot be migrated keeps the whole range, whatever was migrated or gone before", () => {
  for (const kernel of [kernel61, kernel612]) {
    const guest = guestOf(1, kernel);
    const pfn = START + 4 * BLOCK;
    guest.hotplug.online(pfn, 3 * BLOCK, "normal");
    const [normal] = guest.zones;
    const held = pfn + 2 * BLOCK + 5 * 512;
    takeFrom(guest, held, 0, UNMOVABLE);
    const movable = pfn + 2 * BLOCK + 1024;
    takeFrom(guest, movable, 0, MOVABLE);
    guest.log.length = 0;
    assert.equal(guest.hotplug.offline(pfn, 3 * BLOCK).pages, 0);
    assert.deepEqual(guest.log.map((line) => line.split(" ").slice(0, 3).join(" ")), [
      `offline 0 ${pfn}`,
      "resized",
      `offline 0 ${pfn + BLOCK}`,
      "resized",
      `busy 0 ${pfn + 2 * BLOCK}`,
      `online 0 ${pfn}`,
      "resized",
      `online 0 ${pfn + BLOCK}`,
      "resized",
    ]);
    assert.deepEqual(guest.moved, [], "nothing is migrated before all pageblocks are isolated");
    assert.equal(normal.presentPages, 4 * BLOCK);
    guest.check();
    guest.free(held);
    assert.equal(guest.hotplug.offline(pfn, 3 * BLOCK).pages, 3 * BLOCK);
    assert.deepEqual(guest.moved, [movable]);
    guest.check();
  }
});

/** Takes a block out of free memory and leaves the rest as halves, as a split would. */
function takeFrom(guest: TestGuest<TwinLists>, pfn: number, order: number, migratetype: number): void {
  const zone = guest.hotplug.zoneOf(pfn)!.index;
  const { allocator } = guest.zones[zone];
  let head = pfn - pfn % 1024;
  allocator.remove(head, 10);
  for (let current = 9; current >= order; current--) {
    const upper = head + 2 ** current;
    allocator.insert(pfn >= upper ? head : upper, current, MOVABLE, false);
    if (pfn >= upper) head = upper;
  }
  guest.used.set(pfn, { order, movable: migratetype === MOVABLE, zone });
}

Deno.test("a block that cannot be isolated: pageblocks become movable, 6.1 leaves whole blocks, 6.12 splits and joins them", () => {
  for (const kernel of [kernel61, kernel612]) {
    const guest = guestOf(0, kernel);
    guest.hotplug.online(START, BLOCK, "normal");
    const { allocator } = guest.zones[NORMAL];
    takeFrom(guest, START + 3 * 512, 9, UNMOVABLE);
    allocator.setPageblockType(START + 512 * 10, RECLAIMABLE);
    allocator.setPageblockType(START, RECLAIMABLE);
    const before = list(allocator, 10);
    assert.equal(guest.hotplug.offline(START, BLOCK).pages, 0);
    assert.equal(guest.log.at(-1), `busy 0 ${START} ${BLOCK} ${START + 3 * 512}`);
    // Isolated were the first, the last, and those up to the busy one; only these are movable now.
    assert.deepEqual([0, 10].map((n) => allocator.pageblockType(START + 512 * n)), [MOVABLE, RECLAIMABLE]);
    const [first, ...others] = before;
    const last = others.at(-1)!;
    const moved = kernel === kernel61 ? [...others, first] : [...others.slice(0, -1), first, last];
    assert.deepEqual(list(allocator, 10), moved);
    assert.deepEqual(list(allocator, 9), [START + 1024]);
    guest.check();
  }
});

Deno.test("in Movable everything is tried: a pinned page fails the migration, hidden pages fail the test at the end", () => {
  for (const kernel of [kernel61, kernel612]) {
    const guest = guestOf(1, kernel);
    const pfn = START + 4 * BLOCK;
    guest.hotplug.online(pfn, BLOCK, "movable");
    takeFrom(guest, pfn + 700, 0, MOVABLE);
    takeFrom(guest, pfn + 3000, 0, UNMOVABLE);
    assert.equal(guest.hotplug.offline(pfn, BLOCK).pages, 0);
    assert.equal(guest.log.at(-1), `busy 1 ${pfn} ${BLOCK} ${pfn + 3000}`);
    assert.deepEqual(guest.moved, [pfn + 700]);
    guest.check();
    guest.free(pfn + 3000);
    const hidden = pfn + 20 * 1024;
    guest.zones[MOVABLE_ZONE].allocator.remove(hidden, 10);
    for (let page = hidden; page < hidden + 1024; page++) guest.hidden.add(page);
    assert.equal(guest.hotplug.offline(pfn, BLOCK).pages, 0);
    assert.equal(guest.log.at(-1), `busy 1 ${pfn} ${BLOCK} ${hidden}`);
    guest.check();
  }
});

Deno.test("without a place for its pages memory stays, and what was migrated stays where it is", () => {
  const guest = guestOf(1);
  const pfn = START + 4 * BLOCK;
  guest.hotplug.online(pfn, BLOCK, "movable");
  for (const offset of [2048, 4096]) takeFrom(guest, pfn + offset, 5, MOVABLE);
  guest.places = false;
  assert.equal(guest.hotplug.offline(pfn, BLOCK).pages, 0);
  assert.equal(guest.log.at(-1), `busy 1 ${pfn} ${BLOCK} ${pfn + 2048}`);
  assert.deepEqual([...guest.used.keys()], [pfn + 2048, pfn + 4096]);
  guest.check();
  guest.places = true;
  assert.equal(guest.hotplug.offline(pfn, BLOCK).pages, BLOCK);
  guest.check();
});

Deno.test("a removal without address goes from the top down and passes over what is busy", () => {
  const guest = guestOf(2);
  guest.hotplug.online(START + 4 * BLOCK, 4 * BLOCK, "alternating");
  takeFrom(guest, START + 6 * BLOCK + 9, 0, UNMOVABLE);
  assert.equal(guest.hotplug.remove(2 * BLOCK).pages, 2 * BLOCK);
  const exists = [0, 1, 4, 5, 6, 7].filter((n) => guest.hotplug.zoneOf(START + n * BLOCK) !== undefined);
  assert.deepEqual(exists, [0, 1, 4, 6]);
  assert.equal(guest.hotplug.remove(100 * BLOCK).pages, 3 * BLOCK);
  guest.check();
});

Deno.test("memory is put into the first gap above the boot memory, at a multiple of 1 GiB", () => {
  const guest = guestOf(3);
  const gib = 2 ** 18;
  assert.equal(guest.hotplug.placeFor(BLOCK), START + gib);
  guest.hotplug.online(START + gib, 2 * BLOCK, "normal");
  guest.hotplug.online(START + gib + 4 * BLOCK, BLOCK, "movable");
  assert.equal(guest.hotplug.placeFor(2 * BLOCK), START + gib + 2 * BLOCK);
  assert.equal(guest.hotplug.placeFor(3 * BLOCK), START + gib + 5 * BLOCK);
});

Deno.test("what are no memory blocks is refused, before anything changes", () => {
  const guest = guestOf(1);
  const { hotplug } = guest;
  const wrong: [() => void, RegExp][] = [
    [() => hotplug.online(START + 5, BLOCK, "normal"), /not made of memory blocks of 32768 pages/],
    [() => hotplug.online(START + BLOCK, 0, "normal"), /not made of memory blocks/],
    [() => hotplug.online(START / 2, BLOCK, "normal"), /lies below 4 GiB/],
    [() => hotplug.online(START, 2 * BLOCK, "normal"), /exists already/],
    [() => hotplug.offline(START, 2 * BLOCK), /No zone has the whole memory block/],
  ];
  for (const [act, message] of wrong) assert.throws(act, { name: "RangeError", message });
  guest.check();
  assert.deepEqual(guest.log, []);
});

Deno.test("memory blocks of 2 GiB come and go as a whole", () => {
  const guest = new TestGuest([new SparseLists(600), new SparseLists(600)], kernel61, 0);
  const end = 2 ** 24;
  const hotplug = new Hotplug({
    normal: guest.zones[NORMAL],
    movable: guest.zones[MOVABLE_ZONE],
    earlyPages: 0,
    bootEndPfn: end,
    splitsLargeBlocks: false,
    costs: { visitNs: 20, freeNs: 90, isolateNs: 38 },
    guest,
    observer: guest,
  });
  assert.equal(hotplug.blockPages, 16 * SECTION_PAGES);
  assert.throws(() => hotplug.online(end, SECTION_PAGES, "normal"), { name: "RangeError" });
  hotplug.online(end, 16 * SECTION_PAGES, "movable");
  assert.equal(guest.zones[MOVABLE_ZONE].allocator.nrFree(10), 512);
  assert.equal(hotplug.offline(end, 16 * SECTION_PAGES).pages, 16 * SECTION_PAGES);
  guest.check();
});

Deno.test("two zones that alternate over 64 TiB each span nearly all of it and manage 1/64", () => {
  const guest = new TestGuest([new SparseLists(4096), new SparseLists(4096)], kernel61, 0);
  const { hotplug } = guest;
  // Two memory blocks in every 16 GiB.
  for (let gib = 16; gib < 65_536; gib += 16) hotplug.online(gib * 2 ** 18, 2 * BLOCK, "alternating");
  for (const { allocator, presentPages } of guest.zones) {
    assert.ok(allocator.pages > 0.999 * (2 ** 34 - 2 ** 22));
    assert.equal(presentPages, 4095 * BLOCK);
    assert.equal(allocator.freePages, presentPages);
  }
  const lowest = guest.alloc(0, MOVABLE, [MOVABLE_ZONE]);
  assert.equal(lowest, 16 * 2 ** 18 + BLOCK);
  assert.equal(hotplug.remove(4 * BLOCK).pages, 4 * BLOCK);
  assert.equal(hotplug.zoneOf(65_520 * 2 ** 18), undefined);
  assert.equal(hotplug.offline(16 * 2 ** 18, 2 * BLOCK).pages, 2 * BLOCK);
  assert.deepEqual(guest.moved, [lowest]);
  guest.check();
});

/** One act of the long run: mostly allocations and frees, a hotplug now and then. */
function randomStep(guest: TestGuest<TwinLists>, random: Random, filling: boolean): void {
  const kind = random.nextBelow(1000);
  const order = random.nextBelow(6) > 0 ? 5 + random.nextBelow(6) : random.nextBelow(11);
  if (kind < (filling ? 620 : 400)) {
    const type = random.nextBelow(120) > 0 ? MOVABLE : random.nextBelow(2) * RECLAIMABLE;
    guest.alloc(order, type, type === MOVABLE ? [MOVABLE_ZONE, NORMAL] : [NORMAL]);
  } else if (kind < 960) {
    const block = [...guest.used.keys()][random.nextBelow(Math.max(1, guest.used.size))];
    if (block !== undefined) guest.free(block);
  } else if (kind < 980) keepOnCpu(guest, random.nextBelow(2));
  else if (kind < (SLOW ? 982 : 990)) randomHotplug(guest, random);
}

function keepOnCpu(guest: TestGuest<TwinLists>, zone: number): void {
  const pfn = guest.alloc(0, MOVABLE, [zone]);
  if (pfn < 0) return;
  guest.used.delete(pfn);
  guest.perCpu[zone].push(pfn);
  if (guest.perCpu[zone].length > 20) guest.drain(zone);
}

function randomHotplug(guest: TestGuest<TwinLists>, random: Random): void {
  const { hotplug, zones } = guest;
  const pfn = START + BLOCK * random.nextBelow(12);
  const count = BLOCK * (1 + random.nextBelow(2));
  const exist = [pfn, pfn + count - BLOCK].filter((block) => hotplug.zoneOf(block) !== undefined).length;
  const policies = ["normal", "movable", "auto", "alternating"] as const;
  if (exist === 0 && zones[NORMAL].presentPages + zones[MOVABLE_ZONE].presentPages < 8 * BLOCK) {
    hotplug.online(pfn, count, policies[random.nextBelow(4)]);
  } else if (exist === 2) offlineAndJudge(guest, pfn, count);
  guest.check();
}

/** A range goes if nothing in it stays and every migration found a place, and only then. */
function offlineAndJudge(guest: TestGuest<TwinLists>, pfn: number, count: number): void {
  const before = guest.zones.map(({ presentPages }) => presentPages);
  const stays = [...guest.used].some(([first, { movable }]) => !movable && first >= pfn && first < pfn + count);
  guest.log.length = 0;
  const { pages } = guest.hotplug.offline(pfn, count);
  const noPlace = guest.log.some((line) => line.startsWith("no place"));
  assert.equal(pages, stays || noPlace ? 0 : count);
  if (pages === 0) assert.deepEqual(guest.zones.map(({ presentPages }) => presentPages), before);
  else assert.ok([...guest.used.keys()].every((first) => first < pfn || first >= pfn + count));
}

for (const kernel of [kernel61, kernel612]) {
  Deno.test(`${OPERATIONS} operations with memory that comes and goes, Linux ${kernel.version}, then all is free`, () => {
    const guest = guestOf(2, kernel);
    const random = randomStream(5, Number(kernel === kernel612), "hotplug");
    for (let i = 0; i < OPERATIONS; i++) {
      randomStep(guest, random, i % 7000 < 2500);
      if (i % (SLOW ? 10_000 : 500) === 0) { for (const { allocator } of guest.zones) allocator.check(); }
    }
    for (const pfn of [...guest.used.keys()]) guest.free(pfn);
    for (const zone of guest.zones) guest.drain(zone.index);
    guest.check();
    for (const { allocator, presentPages } of guest.zones) {
      allocator.check();
      assert.equal(allocator.freePages, presentPages);
      assert.equal(allocator.nrFree(10), presentPages / 1024);
      assert.equal(allocator.first(10, HIGHATOMIC), -1);
    }
  });
}
