import assert from "node:assert/strict";
import fc from "fast-check";
import { actorOf, Event, EVENTS, Trace, type TraceRows } from "../../sim/core/trace.ts";
import { Backing, type BackingKind, BACKINGS, HostMemory } from "../../sim/host/backing.ts";
import { costProfiles, costsOf } from "../../sim/host/costs.ts";
import { Judge } from "../../sim/host/judge.ts";

const xeon = costsOf(costProfiles.find(({ name }) => name === "xeon6252-2024")!);

/** A row as its event, pages, message and cost. */
type Row = [event: string, pfn: number, pages: number, message: number, costNs: number];

class Bench {
  readonly backing: Backing;
  readonly memory: HostMemory;
  readonly judge: Judge;
  readonly #trace: Trace;
  #rows: Row[] = [];
  overruns = 0;

  constructor(kind: BackingKind, pages = 4096, bytes = Infinity, inhibited = false) {
    const read = (rows: TraceRows) => {
      for (let i = 0; i < rows.count; i++) {
        const event = EVENTS[rows.event[i]];
        this.#rows.push([event, rows.pfn[i], rows.pages[i], rows.message[i], rows.costNs[i]]);
        assert.equal(actorOf(rows.event[i]), "host");
        assert.equal(rows.guest[i], 3);
      }
    };
    this.#trace = new Trace([{ read }]);
    this.memory = new HostMemory(bytes, () => void this.overruns++);
    this.judge = new Judge(pages);
    const { memory, judge } = this;
    this.backing = new Backing({ trace: this.#trace, memory, judge, costs: xeon, kind, pages, guest: 3, inhibited });
  }

  /** The rows since the last time. */
  rows(): Row[] {
    this.#trace.flush();
    const rows = this.#rows;
    this.#rows = [];
    return rows;
  }
}

Deno.test("4k: a touch faults page by page, 3544 ns each, one row a run; a second touch costs nothing", () => {
  const { backing, rows } = bound("4k");
  assert.equal(backing.touch(10, 5, true, 0), 5 * 3544);
  assert.deepEqual(rows(), [["fault", 10, 5, -1, 17_720]]);
  assert.equal(backing.touch(11, 3, false, 0), 0);
  assert.deepEqual(rows(), []);
  assert.equal(backing.touch(8, 10, true, 0), 5 * 3544);
  assert.deepEqual(rows(), [["fault", 8, 2, -1, 7088], ["fault", 15, 3, -1, 10_632]]);
  assert.equal(backing.residentBytes, 10 * 4096);
});

Deno.test("4k: a discard costs 1563 ns and 1918 ns for each page that is mapped, drops come in maximal runs", () => {
  const { backing, rows } = bound("4k");
  assert.equal(backing.apply("reclaim", 0, 512, 1, 0), 1563);
  assert.deepEqual(rows(), [["discard", 0, 512, 1, 1563]]);
  backing.touch(10, 2, true, 0);
  backing.touch(13, 1, true, 0);
  backing.touch(600, 1, true, 0);
  rows();
  assert.equal(backing.apply("reclaim", 11, 500, 2, 1000), 1000 + 1563 + 2 * 1918);
  assert.deepEqual(rows(), [["discard", 11, 500, 2, 6399], ["drop", 11, 1, 2, 0], ["drop", 13, 1, 2, 0]]);
  assert.deepEqual([10, 11, 13, 600].map((pfn) => backing.isResident(pfn)), [true, false, false, true]);
  assert.equal(backing.residentBytes, 2 * 4096);
});

Deno.test("thp: a touch of nothing mapped backs the whole aligned 2 MiB for 339,909 ns, each block by itself", () => {
  const { backing, rows } = bound("thp");
  assert.equal(backing.touch(1000, 30, true, 0), 2 * 339_909);
  assert.deepEqual(rows(), [["fault", 512, 512, -1, 339_909], ["fault", 1024, 512, -1, 339_909]]);
  assert.equal(backing.residentBytes, 2 ** 22);
  assert.equal(backing.touch(512, 1024, true, 0), 0);
});

Deno.test("thp: a discard of a mapped huge page costs 1563 + 8393 ns, and a touch afterwards brings 2 MiB again", () => {
  const { backing, rows } = bound("thp");
  backing.touch(512, 1, true, 0);
  rows();
  assert.equal(backing.apply("reclaim", 512, 512, 7, 0), 9_956);
  assert.deepEqual(rows(), [["discard", 512, 512, 7, 9_956], ["drop", 512, 512, 7, 0]]);
  assert.equal(backing.residentBytes, 0);
  assert.equal(backing.touch(700, 1, true, 0), 339_909);
  assert.deepEqual(rows(), [["fault", 512, 512, -1, 339_909]]);
  assert.equal(backing.apply("reclaim", 0, 1536, 8, 0), 9_956); // two blocks beside it are not mapped
});

Deno.test("thp: a discard of 4 KiB splits the huge page, and what is dropped comes back in 4 KiB", () => {
  const { backing, rows } = bound("thp");
  backing.touch(0, 1, true, 0);
  rows();
  assert.equal(backing.apply("reclaim", 5, 1, 1, 0), 1563 + 2000 + 1918);
  assert.deepEqual(rows(), [["discard", 5, 1, 1, 5481], ["drop", 5, 1, 1, 0]]);
  // Split already: the next page costs no split.
  assert.equal(backing.apply("reclaim", 9, 2, 2, 0), 1563 + 2 * 1918);
  assert.deepEqual(rows(), [["discard", 9, 2, 2, 5399], ["drop", 9, 2, 2, 0]]);
  assert.equal(backing.touch(4, 7, true, 0), 3 * 3544);
  assert.deepEqual(rows(), [["fault", 5, 1, -1, 3544], ["fault", 9, 2, -1, 7088]]);
  // All 512 pages are there, but as small ones: they are unmapped one by one.
  assert.equal(backing.apply("reclaim", 0, 512, 3, 0), 1563 + 512 * 1918);
  rows();
  // Nothing of it is mapped now, so it may be huge again.
  assert.equal(backing.touch(0, 1, true, 0), 339_909);
  assert.equal(backing.apply("reclaim", 0, 512, 4, 0), 9_956);
});

Deno.test("thp: a range over two huge pages splits both ends and drops one run", () => {
  const { backing, rows } = bound("thp");
  backing.touch(0, 2048, true, 0);
  rows();
  const ns = 1563 + (2000 + 12 * 1918) + 8393 + (2000 + 20 * 1918);
  assert.equal(backing.apply("reclaim", 500, 544, 1, 0), ns);
  assert.deepEqual(rows(), [["discard", 500, 544, 1, ns], ["drop", 500, 544, 1, 0]]);
  assert.equal(backing.residentBytes, (2048 - 544) * 4096);
});

Deno.test("thp: 2 MiB that reach over the end of the guest are backed by small pages", () => {
  const { backing, rows } = bound("thp", 1000);
  assert.equal(backing.touch(510, 100, true, 0), 339_909 + 98 * 3544);
  assert.deepEqual(rows(), [["fault", 0, 512, -1, 339_909], ["fault", 512, 98, -1, 98 * 3544]]);
});

Deno.test("hugetlb: only whole 2 MiB are dropped, the edges of a range stay", () => {
  const { backing, rows } = bound("hugetlb");
  assert.equal(backing.touch(0, 1536, true, 0), 3 * 339_909);
  rows();
  assert.equal(backing.apply("reclaim", 1, 4, 1, 0), 1563);
  assert.equal(backing.apply("reclaim", 511, 513, 2, 0), 1563 + 8393);
  assert.deepEqual(rows(), [["discard", 1, 4, 1, 1563], ["discard", 511, 513, 2, 9_956], ["drop", 512, 512, 2, 0]]);
  assert.equal(backing.residentIn(0, 1536), 1024);
  assert.equal(backing.apply("reclaim", 0, 1024, 3, 0), 1563 + 8393);
  rows();
  assert.equal(backing.touch(3, 1, true, 0), 339_909);
  assert.deepEqual(rows(), [["fault", 0, 512, -1, 339_909]]);
});

Deno.test("hugetlb: what is not dropped is not lost", () => {
  const { backing, judge, rows } = bound("hugetlb");
  judge.own(0, 1024);
  judge.write(0, 1024);
  backing.touch(0, 1024, true, 0);
  rows();
  backing.apply("reclaim", 100, 500, 1, 0);
  assert.deepEqual(rows().map(([event]) => event), ["discard"]);
  backing.apply("reclaim", 100, 924, 2, 0);
  assert.deepEqual(rows().map(([event, pfn, pages]) => [event, pfn, pages]), [
    ["discard", 100, 924],
    ["violation", 512, 512],
    ["drop", 512, 512],
  ]);
});

Deno.test("a reclaim tells the judge before it drops: verdicts stand between discard and drop, with the message", () => {
  const { backing, judge, rows } = bound("4k");
  judge.own(0, 10);
  judge.write(0, 4);
  backing.touch(2, 4, true, 0);
  rows();
  backing.apply("reclaim", 0, 20, 9, 0);
  assert.deepEqual(rows(), [
    ["discard", 0, 20, 9, 1563 + 4 * 1918],
    ["violation", 0, 4, 9, 0],
    ["near_miss", 4, 6, 9, 0],
    ["drop", 2, 4, 9, 0],
  ]);
});

Deno.test("skip and give_back cost 300 ns a range and drop nothing; a touch and a give_back end a skip", () => {
  const { backing, judge, rows } = bound("4k");
  judge.own(0, 100);
  judge.write(0, 100);
  backing.touch(0, 100, true, 0);
  rows();
  assert.equal(backing.apply("skip", 0, 50, 1, 0), 300);
  assert.equal(backing.apply("skip", 40, 20, 2, 7), 307);
  assert.equal(backing.apply("give_back", 0, 10, 3, 0), 300);
  assert.deepEqual(rows(), [["skip", 0, 50, 1, 300], ["skip", 40, 20, 2, 307], ["give_back", 0, 10, 3, 300]]);
  assert.equal(backing.skippedPages, 50);
  backing.touch(55, 10, true, 0);
  assert.equal(backing.skippedPages, 45);
  assert.equal(backing.residentBytes, 100 * 4096);
});

Deno.test("inhibited: a reclaim and a give_back do nothing and write nothing, a skip is heard; the message's time remains", () => {
  for (const kind of BACKINGS) {
    const { backing, judge, rows } = bound(kind, 4096, true);
    judge.own(0, 1024);
    judge.write(0, 1024);
    backing.touch(0, 1024, true, 0);
    rows();
    assert.equal(backing.apply("reclaim", 0, 512, 1, 700), 700);
    assert.equal(backing.apply("give_back", 0, 512, 2, 0), 0);
    assert.deepEqual([rows(), backing.residentBytes], [[], 1024 * 4096]);
    assert.equal(backing.apply("skip", 0, 512, 3, 7), 307);
    assert.deepEqual(rows(), [["skip", 0, 512, 3, 307]]);
    assert.equal(backing.skippedPages, 512);
  }
});

Deno.test("populating at the start costs nothing, makes whole 2 MiB huge, and fills a pool page in full", () => {
  const expected: Record<BackingKind, [resident: number, discardNs: number]> = {
    "4k": [1400, 1563 + 512 * 1918],
    thp: [1400, 9_956],
    hugetlb: [1536, 9_956],
  };
  for (const kind of BACKINGS) {
    const { backing, rows } = bound(kind);
    backing.populateAtStart(100, 1400);
    for (const [event, , , , costNs] of rows()) assert.deepEqual([event, costNs], ["fault", 0]);
    const [resident, discardNs] = expected[kind];
    assert.equal(backing.residentBytes, resident * 4096);
    assert.equal(backing.apply("reclaim", 512, 512, 1, 0), discardNs);
    // Block 0 is covered only in part: no huge page under thp.
    assert.equal(backing.apply("reclaim", 0, 512, 1, 0), kind === "hugetlb" ? 9_956 : 1563 + 412 * 1918);
  }
});

Deno.test("the host's memory is counted over its guests, and an overrun is announced", () => {
  const bench = new Bench("4k", 4096, 10 * 4096);
  bench.backing.touch(0, 10, true, 0);
  assert.deepEqual([bench.memory.residentBytes, bench.overruns], [40_960, 0]);
  bench.memory.change(1); // another guest
  assert.equal(bench.overruns, 1);
  bench.backing.apply("reclaim", 0, 10, 1, 0);
  assert.equal(bench.memory.residentBytes, 4096);
});

/** Every rule once more, for one page at a time: residency as a set, and what each huge mapping is. */
class NaiveBacking {
  readonly resident = new Set<number>();
  readonly #huge = new Set<number>();
  readonly #kind: BackingKind;
  readonly #pages: number;

  constructor(kind: BackingKind, pages: number) {
    this.#kind = kind;
    this.#pages = pages;
  }

  touch(pfn: number, count: number): number {
    let ns = 0;
    for (let page = pfn; page < pfn + count; page++) {
      if (this.resident.has(page)) continue;
      const block = Math.floor(page / 512);
      const all = Array.from({ length: 512 }, (_, i) => block * 512 + i);
      if (this.#kind !== "4k" && block * 512 + 512 <= this.#pages && all.every((each) => !this.resident.has(each))) {
        for (const each of all) this.resident.add(each);
        this.#huge.add(block);
        ns += xeon.fault2mNs;
      } else {
        this.resident.add(page);
        ns += xeon.fault4kNs;
      }
    }
    return ns;
  }

  reclaim(pfn: number, count: number): number {
    let ns = xeon.discardNs;
    for (let block = 0; block * 512 < this.#pages; block++) {
      const pages = Array.from({ length: 512 }, (_, i) => block * 512 + i);
      const covered = pages.filter((page) => page >= pfn && page < pfn + count);
      if (covered.length === 0 || (this.#kind === "hugetlb" && covered.length < 512)) continue;
      if (this.#huge.has(block) && covered.length === 512) ns += xeon.unmap2mNs;
      else {
        if (this.#huge.has(block)) ns += xeon.splitNs;
        ns += xeon.unmap4kNs * covered.filter((page) => this.resident.has(page)).length;
      }
      this.#huge.delete(block);
      for (const page of covered) this.resident.delete(page);
    }
    return ns;
  }
}

Deno.test("residency and time agree with a set of pages, for every backing; rows are maximal runs that add up", () => {
  const PAGES = 1563;
  const action = fc.record({
    reclaim: fc.boolean(),
    pfn: fc.oneof(fc.nat(PAGES - 1), fc.constantFrom(0, 512, 1024)),
    count: fc.oneof(fc.integer({ min: 1, max: 40 }), fc.constantFrom(512, 1024), fc.integer({ min: 1, max: PAGES })),
  });
  for (const kind of BACKINGS) {
    fc.assert(
      fc.property(fc.array(action, { maxLength: 25 }), (actions) => {
        const { backing, rows } = bound(kind, PAGES);
        const naive = new NaiveBacking(kind, PAGES);
        for (const { reclaim, pfn, count: wanted } of actions) {
          const count = Math.min(wanted, PAGES - pfn);
          const before = new Set(naive.resident);
          const ns = reclaim ? naive.reclaim(pfn, count) : naive.touch(pfn, count);
          assert.equal(reclaim ? backing.apply("reclaim", pfn, count, 1, 0) : backing.touch(pfn, count, true, 0), ns);
          const written = rows();
          assert.equal(written.reduce((sum, row) => sum + row[4], 0), ns);
          const moved = written.filter(([event]) => event === (reclaim ? "drop" : "fault"));
          const pages = new Set<number>();
          for (const [, first, length] of moved) for (let i = 0; i < length; i++) pages.add(first + i);
          assert.deepEqual(pages, reclaim ? before.difference(naive.resident) : naive.resident.difference(before));
          if (reclaim) {
            for (let i = 1; i < moved.length; i++) assert.ok(moved[i][1] > moved[i - 1][1] + moved[i - 1][2]);
          }
        }
        assert.equal(backing.residentBytes, naive.resident.size * 4096);
        for (let pfn = 0; pfn < PAGES; pfn++) assert.equal(backing.isResident(pfn), naive.resident.has(pfn));
      }),
      { numRuns: 40 },
    );
  }
  assert.equal(EVENTS[Event.drop], "drop");
});

/** A bench whose methods can be taken apart. */
function bound(
  kind: BackingKind,
  pages?: number,
  inhibited = false,
): { backing: Backing; judge: Judge; rows: () => Row[] } {
  const bench = new Bench(kind, pages, Infinity, inhibited);
  return { backing: bench.backing, judge: bench.judge, rows: () => bench.rows() };
}
