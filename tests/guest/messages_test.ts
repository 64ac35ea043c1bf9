import assert from "node:assert/strict";
import fc from "fast-check";
import { encodings } from "../../sim/abi/mod.ts";
import { Sim } from "../../sim/core/sim.ts";
import { Driver } from "../../sim/guest/driver.ts";
import { Guest } from "../../sim/guest/guest.ts";
import { messagesOf, type SizedEncoding } from "../../sim/guest/messages.ts";
import type { HostLink } from "../../sim/guest/policy.ts";
import { Backing, HostMemory } from "../../sim/host/backing.ts";
import { costProfiles, costsOf } from "../../sim/host/costs.ts";
import { Judge } from "../../sim/host/judge.ts";
import { pagesOf, type Range } from "../../sim/memory/range.ts";

function encoding(name: string, granule = "4KiB"): SizedEncoding {
  const { sizeOf, error } = encodings.find((entry) => entry.name === name)!.create({ granule });
  return { sizeOf, accepts: (range) => error(range) === undefined };
}

/** Ranges of whole units, in any order, small and large, neighbours too. */
function ranges(unit: number, countMax: number): fc.Arbitrary<Range[]> {
  const one = fc.tuple(fc.nat(200_000), fc.integer({ min: 1, max: countMax }));
  return fc.array(one.map(([at, count]) => ({ pfn: at * unit, count: count * unit })), { maxLength: 60, size: "max" });
}

/** The pages of a list of ranges, with what is contiguous in it joined: cuts do not show. */
function pages(list: readonly Range[]): Range[] {
  const joined: { pfn: number; count: number }[] = [];
  for (const { pfn, count } of list) {
    const last = joined.at(-1);
    if (last !== undefined && last.pfn + last.count === pfn) last.count += count;
    else joined.push({ pfn, count });
  }
  return joined;
}

/** What is left of the range at which the n-th page of a list lies, and whether something of it came before. */
function restAt(list: readonly Range[], page: number): Range & { cut: boolean } {
  for (const { pfn, count } of list) {
    if (page < count) return { pfn: pfn + page, count: count - page, cut: page > 0 };
    page -= count;
  }
  throw new Error("beyond the list");
}

/** What holds for every encoding: all pages in order, none twice, no message too large or empty. */
function checkMessages(messages: readonly Range[][], list: readonly Range[], limit: number, of: SizedEncoding): void {
  assert.deepEqual(pages(messages.flat()), pages(list));
  for (const message of messages) {
    assert.ok(message.length > 0);
    assert.ok(of.sizeOf(message) <= limit);
    for (const range of message) assert.ok(range.count > 0 && of.accepts(range));
  }
}

Deno.test("pfn-list: messages of just the limit, the pages in order, and ranges cut where a message is full", () => {
  const list = encoding("pfn-list");
  fc.assert(fc.property(ranges(1, 900), fc.integer({ min: 4, max: 1024 }), (some, limit) => {
    const messages = [...messagesOf(some, limit, list)];
    checkMessages(messages, some, limit, list);
    const full = Math.floor(limit / 4) * 4;
    for (const message of messages.slice(0, -1)) assert.equal(list.sizeOf(message), full);
    assert.equal(messages.length, Math.ceil(list.sizeOf(some) / full));
  }));
  assert.deepEqual([...messagesOf([{ pfn: 10, count: 3 }, { pfn: 20, count: 4 }], 20, list)], [
    [{ pfn: 10, count: 3 }, { pfn: 20, count: 2 }],
    [{ pfn: 22, count: 2 }],
  ]);
});

Deno.test("pfn-len: as many whole ranges a message as fit, none is ever cut", () => {
  const pairs = encoding("pfn-len");
  fc.assert(fc.property(ranges(1, 5000), fc.integer({ min: 16, max: 400 }), (some, limit) => {
    const fit = Math.floor(limit / 16);
    const wanted: Range[][] = [];
    for (let at = 0; at < some.length; at += fit) wanted.push(some.slice(at, at + fit));
    assert.deepEqual([...messagesOf(some, limit, pairs)], wanted);
  }));
});

Deno.test("bitmap: a message ends only where the next range would need a window too many", () => {
  for (const [granule, unit] of [["4KiB", 1], ["2MiB", 512], ["4MiB", 1024]] as const) {
    const bitmap = encoding("bitmap", granule);
    const limits = fc.integer({ min: 4104, max: 5 * 4104 });
    fc.assert(fc.property(ranges(unit, 100_000), limits, (some, limit) => {
      const messages = [...messagesOf(some, limit, bitmap)];
      checkMessages(messages, some, limit, bitmap);
      let done = 0;
      for (const message of messages.slice(0, -1)) {
        done += pagesOf(message);
        // Either a range was cut, then not one more granule of it fits, or the next one begins, then it does not fit whole.
        const { pfn, count, cut } = restAt(some, done);
        assert.ok(bitmap.sizeOf([...message, { pfn, count: cut ? unit : count }]) > limit);
      }
    }));
  }
});

Deno.test("bitmap: a range over the border of two windows is cut there when a message holds one, in whole granules", () => {
  const window = 32_768 * 512;
  const range = { pfn: window - 1024, count: 2048 };
  assert.deepEqual([...messagesOf([range], 8192, encoding("bitmap", "2MiB"))], [
    [{ pfn: window - 1024, count: 1024 }],
    [{ pfn: window, count: 1024 }],
  ]);
});

Deno.test("pfn-order: the pages in order within the limit, also where one range takes many words", () => {
  const words = encoding("pfn-order");
  fc.assert(fc.property(ranges(1, 900), fc.integer({ min: 40, max: 200 }), (some, limit) => {
    checkMessages([...messagesOf(some, limit, words)], some, limit, words);
  }));
});

Deno.test("no ranges are no message, and a limit below one page's room is refused", () => {
  for (const name of ["pfn-list", "pfn-len", "bitmap", "pfn-order"]) {
    assert.deepEqual([...messagesOf([], 4104, encoding(name))], []);
    assert.throws(() => [...messagesOf([{ pfn: 0, count: 2 }], 3, encoding(name))], {
      name: "RangeError",
      message: "A message of 3 bytes cannot hold a single page",
    });
  }
});

/** A driver with a link that keeps what it is given. */
function driverWith(link: HostLink): { driver: Driver; sim: Sim } {
  const sim = new Sim();
  const costs = costsOf(costProfiles[0]);
  const judge = new Judge(4096);
  const memory = new HostMemory(Infinity, () => {});
  const host = new Backing({ trace: sim.trace, memory, judge, costs, kind: "4k", pages: 4096, guest: 0 });
  const guest = new Guest({ sim, index: 0, zones: [], host, judge, costs, initOnAlloc: false });
  return { driver: new Driver(sim, guest, link, costs), sim };
}

Deno.test("the driver sends one message more than it counts overflows, each under buffer, queue and encoding", () => {
  const list = encoding("pfn-list");
  fc.assert(fc.property(
    ranges(1, 300).filter((some) => some.length > 0),
    fc.integer({ min: 4, max: 2000 }),
    fc.constantFrom(64, 1024),
    (some, bufferMax, payloadMax) => {
      const sent: Range[][] = [];
      const link: HostLink = {
        ...list,
        payloadMax,
        *send(_action, message) {
          sent.push([...message]);
          yield 10;
          return true;
        },
      };
      const { driver, sim } = driverWith(link);
      sim.spawn((function* () {
        assert.equal(yield* driver.send("reclaim", some, bufferMax), true);
      })());
      assert.equal(sim.run(), "done");
      checkMessages(sent, some, Math.min(bufferMax, payloadMax), list);
      assert.equal(driver.counters.overflows, sent.length - 1);
      assert.equal(sim.now, sent.length * 10);
    },
  ));
});

Deno.test("the driver leaves out and counts ranges that cannot be said, and stops when the run ends", () => {
  const granules = encoding("bitmap", "2MiB");
  const sent: Range[][] = [];
  const link: HostLink = {
    ...granules,
    payloadMax: 4104,
    // deno-lint-ignore require-yield
    *send(_action, message) {
      sent.push([...message]);
      return sent.length < 2;
    },
  };
  const { driver, sim } = driverWith(link);
  const window = 32_768 * 512;
  const results: boolean[] = [];
  sim.spawn((function* () {
    results.push(yield* driver.send("skip", [{ pfn: 1, count: 512 }, { pfn: 512, count: 512 }, { pfn: 0, count: 1 }]));
    results.push(yield* driver.send("skip", [0, 1, 2].map((at) => ({ pfn: at * window, count: 512 }))));
  })());
  sim.run();
  assert.deepEqual([results, driver.counters.unencodable, sent.length], [[true, false], 2, 2]);
  assert.deepEqual(sent[0], [{ pfn: 512, count: 512 }]);
});
