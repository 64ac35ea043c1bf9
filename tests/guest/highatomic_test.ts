import assert from "node:assert/strict";
import { type Random, randomStream } from "../../sim/core/random.ts";
import { HIGHATOMIC, ISOLATE, MOVABLE, RECLAIMABLE, UNMOVABLE } from "../../sim/guest/allocator.ts";
import { Buddy } from "../../sim/guest/buddy.ts";
import { allocAtomic, reserveHighatomic, unreserveHighatomic } from "../../sim/guest/highatomic.ts";
import { kernel61 } from "../../sim/guest/kernel_6_1.ts";
import { kernel612 } from "../../sim/guest/kernel_6_12.ts";
import { type Kernel, NO_FLAGS } from "../../sim/guest/kernel.ts";
import { layoutMachine } from "../../sim/guest/layout.ts";
import { PageSource } from "../../sim/guest/page_source.ts";
import { Zone } from "../../sim/guest/zone.ts";
import { useOfLayout, useOfZones } from "../../sim/guest/zone_use.ts";
import { PageBitmap } from "../../sim/memory/bitmap.ts";

const KERNELS = [kernel61, kernel612];
const OPERATIONS = Deno.env.get("HINTSIM_TIER") === "slow" ? 1_000_000 : 10_000;
const MARKS = { min: 1000, low: 2000, high: 3000 };

/** A zone of movable pageblocks; `managed` decides how many may be set aside. */
function zoneOf(kernel: Kernel, pages: number, managed = pages, start = 0): Zone {
  const allocator = new Buddy(start, pages, MOVABLE, kernel === kernel612);
  allocator.insertRange(start, pages, MOVABLE);
  const present = [{ pfn: start, count: pages }];
  return new Zone({ index: 0, name: "Normal", allocator, present, managedPages: managed, watermarks: MARKS, kernel });
}

const blockTypes = ({ allocator: { startPfn, pages }, allocator }: Zone) =>
  Array.from({ length: Math.ceil(pages / 512) }, (_, block) => allocator.pageblockType(startPfn + 512 * block));
const setAside = (zone: Zone) => blockTypes(zone).filter((type) => type === HIGHATOMIC).length;
const freeByOrder = ({ allocator }: Zone) => Array.from({ length: 11 }, (_, order) => allocator.nrFree(order));

for (
  const [kernel, managed, blocks] of [
    // 6.1: while there are fewer than a hundredth and one pageblock.
    [kernel61, 3840, 2],
    [kernel61, 51_100, 2],
    [kernel61, 51_200, 2],
    [kernel61, 51_300, 3],
    [kernel61, 262_144, 7],
    // 6.12: a hundredth rounded up to pageblocks; none where that is less than one.
    [kernel612, 3840, 0],
    [kernel612, 51_199, 0],
    [kernel612, 51_200, 1],
    [kernel612, 51_300, 2],
    [kernel612, 262_144, 6],
  ] as const
) {
  Deno.test(`${kernel.version}: of ${managed} pages ${blocks} pageblocks are set aside at most`, () => {
    const zone = zoneOf(kernel, 8192, managed);
    for (let block = 0; block < 16; block++) reserveHighatomic(zone, zone.allocator.alloc(9, MOVABLE), 1);
    assert.deepEqual([setAside(zone), zone.reservedHighatomicPages], [blocks, 512 * blocks]);
  });
}

for (const kernel of KERNELS) {
  Deno.test(`${kernel.version}: a pageblock is set aside with its free pages, once, if it may merge with others`, () => {
    const zone = zoneOf(kernel, 4096, 262_144);
    const { allocator } = zone;
    const pfn = zone.alloc(3, UNMOVABLE);
    reserveHighatomic(zone, pfn, 3);
    reserveHighatomic(zone, pfn, 3);
    assert.deepEqual([setAside(zone), zone.reservedHighatomicPages], [1, 512]);
    for (let order = 3; order < 9; order++) assert.equal(allocator.first(order, HIGHATOMIC), pfn + 2 ** order);
    const isolated = allocator.alloc(9, MOVABLE);
    allocator.setPageblockType(isolated, ISOLATE);
    reserveHighatomic(zone, isolated, 9);
    assert.equal(setAside(zone), 1);
    allocator.validate();
  });

  Deno.test(`${kernel.version}: what is set aside goes back a pageblock at a time, the smallest free block first`, () => {
    const zone = zoneOf(kernel, 4096, 262_144);
    const [large, small] = [zone.alloc(10, MOVABLE), zone.alloc(3, MOVABLE)];
    reserveHighatomic(zone, small, 3);
    reserveHighatomic(zone, large, 3);
    zone.free(large, 10);
    assert.ok(unreserveHighatomic([zone], RECLAIMABLE));
    assert.equal(zone.allocator.pageblockType(small), RECLAIMABLE);
    assert.equal(zone.allocator.first(3, RECLAIMABLE), small + 8);
    assert.ok(unreserveHighatomic([zone], UNMOVABLE));
    assert.equal(zone.allocator.pageblockType(large), UNMOVABLE);
    assert.deepEqual([setAside(zone), zone.reservedHighatomicPages], [0, 0]);
    assert.ok(!unreserveHighatomic([zone], MOVABLE));
    zone.allocator.validate();
  });

  Deno.test(`${kernel.version}: blocks set aside are for atomic requests, above order 0 first, and at order 0 in 6.12 last`, () => {
    const zone = zoneOf(kernel, 1024, 262_144);
    const { allocator } = zone;
    const pfn = zone.alloc(9, MOVABLE);
    reserveHighatomic(zone, pfn, 1);
    zone.free(pfn, 9);
    const other = pfn === 0 ? 512 : 0;
    assert.equal(zone.alloc(9, MOVABLE), other, "an ordinary request does not see them");
    assert.equal(zone.alloc(0, MOVABLE), -1);
    zone.free(other, 9);
    assert.equal(allocAtomic(zone, 1, UNMOVABLE, NO_FLAGS), pfn);
    assert.equal(allocator.pageblockType(allocAtomic(zone, 0, UNMOVABLE, NO_FLAGS)), UNMOVABLE);
    while (zone.alloc(0, UNMOVABLE) >= 0);
    assert.equal(allocAtomic(zone, 0, UNMOVABLE, NO_FLAGS), kernel === kernel61 ? -1 : pfn + 2);
  });
}

Deno.test("6.12 sets a block of order 10 aside as a whole, 6.1 its first pageblock", () => {
  for (const [kernel, blocks] of [[kernel61, 1], [kernel612, 2]] as const) {
    const zone = zoneOf(kernel, 4096, 262_144);
    reserveHighatomic(zone, zone.alloc(10, MOVABLE), 10);
    assert.deepEqual([setAside(zone), zone.reservedHighatomicPages], [blocks, 512 * blocks]);
  }
});

Deno.test("6.12 sets no pageblock aside that does not lie in the zone as a whole", () => {
  for (const [kernel, blocks] of [[kernel61, 1], [kernel612, 0]] as const) {
    const zone = zoneOf(kernel, 768, 262_144);
    zone.allocator.remove(512, 8);
    reserveHighatomic(zone, 512, 2);
    assert.deepEqual([setAside(zone), zone.reservedHighatomicPages], [blocks, 512 * blocks]);
  }
});

Deno.test("an isolation leaves what is set aside out of account: in 6.1 all of it, in 6.12 what is free of it", () => {
  for (const [kernel, isolated] of [[kernel61, false], [kernel612, true]] as const) {
    const zone = zoneOf(kernel, 4096, 262_144);
    const pfn = zone.alloc(9, MOVABLE);
    reserveHighatomic(zone, pfn, 1);
    for (const order of [10, 9, 8, 7, 6]) zone.alloc(order, MOVABLE);
    assert.equal(zone.allocator.freePages, 1600);
    assert.equal(zone.highatomicPages, kernel === kernel61 ? 512 : 0);
    // 1000 + 512 pages must stay, beside what is left out of account.
    assert.equal(zone.isolate(zone.allocator.first(9, MOVABLE), 9), isolated);
  }
});

/** What a zone can give, counted block by block. */
class NaiveCounts {
  free = 0;
  setAside = 0;
  /** Blocks by order and type. */
  readonly blocks: number[][] = Array.from({ length: 11 }, () => [0, 0, 0, 0, 0]);

  constructor({ allocator }: Zone) {
    for (let pfn = allocator.startPfn; pfn < allocator.startPfn + allocator.pages;) {
      const order = allocator.orderAt(pfn);
      if (order < 0) {
        pfn++;
        continue;
      }
      const type = allocator.listOf(pfn, order);
      this.free += 2 ** order;
      if (type === HIGHATOMIC) this.setAside += 2 ** order;
      this.blocks[order][type]++;
      pfn += 2 ** order;
    }
  }

  has(order: number, types: readonly number[]): boolean {
    return this.blocks.some((row, at) => at >= order && types.some((type) => row[type] > 0));
  }
}

/** What happens to a request, from the rules alone. */
function expected(zone: Zone, order: number, atomic: boolean): "fast" | "slow" | "fails" {
  const counts = new NaiveCounts(zone);
  const old = zone.kernel === kernel61;
  const aside = old ? zone.reservedHighatomicPages : counts.setAside;
  const above = 2 ** order - 1;
  const ordinary = counts.has(order, [UNMOVABLE, MOVABLE, RECLAIMABLE]);
  if (counts.free - above - aside > MARKS.low && ordinary) return "fast";
  // Half of 1000, and a quarter of the other half.
  if (!atomic) return counts.free - above - aside > MARKS.min && ordinary ? "slow" : "fails";
  const last = counts.has(order, [HIGHATOMIC]) && (order > 0 || !old);
  return counts.free - above > 375 && (ordinary || last) ? "slow" : "fails";
}

interface Block {
  pfn: number;
  order: number;
  zone: Zone;
}

/** Requests and frees in waves, a sixth of the requests atomic. */
function randomStep(
  random: Random,
  filling: boolean,
  used: Block[],
): { order: number; type: number; atomic: boolean } | Block {
  if (used.length > 0 && random.nextBelow(100) >= (filling ? 70 : 35)) {
    const at = random.nextBelow(used.length);
    const block = used[at];
    used[at] = used[used.length - 1];
    used.pop();
    return block;
  }
  const order = random.nextBelow(3) > 0 ? 0 : random.nextBelow(random.nextBelow(4) > 0 ? 4 : 11);
  const atomic = random.nextBelow(6) === 0;
  return { order, type: atomic ? UNMOVABLE : random.nextBelow(3), atomic };
}

for (const kernel of KERNELS) {
  Deno.test(`${kernel.version}: each request ends as the rules say, pageblocks are set aside on the slow path only`, () => {
    const zone = zoneOf(kernel, 16_384, 102_400, 1024);
    const use = { ...useOfZones([zone], 1), lowmemReserve: [[0, 0, 0, 0, 0]] };
    const source = new PageSource([zone], use, { perCpu: 0, keepMarks: true }, () => {});
    const random = randomStream(1, 0, `highatomic/${kernel.version}`);
    const used: Block[] = [];
    const outcomes: Record<string, number> = {};
    for (let i = 0; i < OPERATIONS; i++) {
      const step = randomStep(random, i % 8000 < 5000, used);
      if ("pfn" in step) {
        source.free(zone, step.pfn, step.order, 0);
        continue;
      }
      const { order, type, atomic } = step;
      const looked = i < 10_000 || i % 97 === 0;
      const outcome = looked ? expected(zone, order, atomic) : "unknown";
      const before = zone.reservedHighatomicPages;
      const pfn = source.take(order, type, -1, 0, atomic);
      if (pfn >= 0) used.push({ pfn, order, zone });
      if (!looked) continue;
      checkStep({ pfn, order, zone }, atomic, outcome, before);
      const kind = `${atomic ? "atomic" : "ordinary"} ${outcome}${pfn < 0 ? ", nothing" : ""}`;
      outcomes[kind] = (outcomes[kind] ?? 0) + 1;
      if (i % 101 === 0) zone.allocator.validate();
    }
    for (const kind of ["fast", "slow", "fails, nothing"]) {
      for (const who of ["atomic", "ordinary"]) assert.ok(outcomes[`${who} ${kind}`] > 0, `${who} ${kind}`);
    }
    assert.ok(outcomes["ordinary fails"] > 0, "what is set aside was given back to requests that found nothing else");
    for (const { pfn, order } of used) source.free(zone, pfn, order, 0);
    drainBySqueezing(source, [zone]);
    assert.deepEqual(freeByOrder(zone), [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 16]);
  });

  Deno.test(`${kernel.version}: with CPU lists, zones and urgency pages are conserved, and squeezed out nothing stays set aside`, () => {
    const plan = { holes: [], numa: [], reserved: "auto", vcpus: 2, thp: true, kernel: kernel.version } as const;
    const made = layoutMachine(2 ** 29, { ...plan, zones: { layout: "q35" } });
    const { zones } = made;
    const source = new PageSource(zones, useOfLayout(made), { perCpu: 2, keepMarks: true }, () => {});
    const atBoot = zones.map(freeByOrder);
    const freePages = () => zones.reduce((sum, { allocator }) => sum + allocator.freePages, 0);
    const total = freePages();
    const random = randomStream(1, 0, `urgent/${kernel.version}`);
    const used: Block[] = [];
    const owned = new PageBitmap(2 ** 17);
    let most = 0;
    // All but a little is in use for good, so that many requests are on the slow path.
    const held: Block[] = [];
    for (let pfn = source.take(10, MOVABLE, -1, 0); pfn >= 0; pfn = source.take(10, MOVABLE, -1, 0)) {
      held.push({ pfn, order: 10, zone: zones[source.zone] });
    }
    used.push(...held.splice(0, 5));
    for (const { pfn, order } of [...held, ...used]) owned.setRange(pfn, 2 ** order);
    for (let i = 0; i < OPERATIONS; i++) {
      const step = randomStep(random, i % 4000 < 2500, used);
      const cpu = random.nextBelow(2);
      if ("pfn" in step) {
        owned.clearRange(step.pfn, 2 ** step.order);
        source.free(step.zone, step.pfn, step.order, cpu);
      } else {
        const pfn = source.take(step.order, step.type, -1, cpu, step.atomic);
        if (pfn < 0) continue;
        assert.equal(owned.setRange(pfn, 2 ** step.order), 2 ** step.order, "a page was handed out twice");
        used.push({ pfn, order: step.order, zone: zones[source.zone] });
      }
      for (const zone of zones) most = Math.max(most, zone.reservedHighatomicPages);
      if (i % 997 > 0) continue;
      const usedPages = 1024 * held.length + used.reduce((sum, { order }) => sum + 2 ** order, 0);
      assert.equal(freePages() + source.perCpuPages + usedPages, total);
      for (const zone of zones) checkSetAside(zone);
    }
    assert.ok(most > 0);
    for (const { pfn, order, zone } of [...held, ...used]) source.free(zone, pfn, order, 0);
    drainBySqueezing(source, zones);
    assert.deepEqual(zones.map(freeByOrder), atBoot);
  });
}

/** One request against the rules. */
function checkStep({ pfn, order, zone }: Block, atomic: boolean, outcome: string, before: number): void {
  const told = `order ${order}, atomic ${atomic}, ${outcome}`;
  const after = zone.reservedHighatomicPages;
  checkSetAside(zone);
  if (outcome !== "fails") assert.ok(pfn >= 0, told);
  if (outcome === "fast") return assert.equal(after, before, told);
  if (!atomic) {
    // What finds nothing gets what is set aside, or all of that is given back.
    if (outcome === "slow") assert.equal(after, before, told);
    else if (pfn < 0) assert.equal(new NaiveCounts(zone).setAside, 0, told);
    else assert.ok(after < before, told);
    return;
  }
  if (outcome === "fails") return assert.deepEqual([pfn, after], [-1, before], told);
  const full = before >= (zone.kernel === kernel61 ? 1024 + 512 : 1024);
  if (order === 0 || full) assert.equal(after, before, told);
  else assert.equal(zone.allocator.pageblockType(pfn), HIGHATOMIC, told);
}

/** What is counted as set aside is so: in 6.12 always, in 6.1 a type can change hands without the count. */
function checkSetAside(zone: Zone): void {
  if (zone.kernel === kernel61) assert.ok(zone.reservedHighatomicPages >= 0);
  else {
    assert.equal(zone.reservedHighatomicPages, 512 * setAside(zone));
    assert.equal(zone.highatomicPages, new NaiveCounts(zone).setAside);
  }
}

/** Takes all that there is and gives it back until nothing is set aside, then what the CPUs keep. */
function drainBySqueezing(source: PageSource, zones: readonly Zone[]): void {
  // In 6.1 of a free block of order 10 only the first pageblock changes its type: its second half comes next time.
  for (let round = 0; round < 4; round++) {
    const taken: Block[] = [];
    for (let pfn = source.take(0, MOVABLE, -1, 0); pfn >= 0; pfn = source.take(0, MOVABLE, -1, 0)) {
      taken.push({ pfn, order: 0, zone: zones[source.zone] });
    }
    for (const { pfn, zone } of taken) source.free(zone, pfn, 0, 0);
  }
  source.drainAll();
  for (const zone of zones) {
    assert.equal(setAside(zone), 0);
    zone.allocator.validate();
  }
}
