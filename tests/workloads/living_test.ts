/** A guest that lives: its users by hand. */
import assert from "node:assert/strict";
import { simulate } from "../../mod.ts";
import { CapacityError } from "../../sim/core/capacity_error.ts";
import { Op, OpColumns, type OpStream } from "../../sim/guest/operations.ts";
import { InputError } from "../../sim/core/options.ts";
import { randomStream } from "../../sim/core/random.ts";
import { scenario } from "./builds.ts";
import { living, type LivingOptions } from "../../workloads/living.ts";
import { parseOptions } from "../../sim/core/options.ts";
import { UserStream } from "../../workloads/users/stream.ts";

const slow = Deno.env.get("HINTSIM_TIER") === "slow";

/** The streams of a living guest of 64 MiB (16384 pages). */
function streamsOf(phases: unknown, vcpus = 1, curve?: string): readonly OpStream[] {
  const { value } = parseOptions(living.options, curve === undefined ? { phases } : { phases, curve: "curve" }, []);
  const context = {
    memoryPages: 16384,
    vcpus,
    random: (name: string) => randomStream(1, 0, name),
    file: () => new TextEncoder().encode(curve),
    child: () => assert.fail("no children"),
  };
  return living.create(context, value as LivingOptions).streams;
}

/** What a stream asks for, and its length in ns. */
function drain(stream: OpStream) {
  const columns = new OpColumns(7);
  const live = new Map<number, number>();
  let [timeNs, allocs, most, pages] = [0, 0, 0, 0];
  for (let count = stream.fill(columns); count > 0; count = stream.fill(columns)) {
    for (let row = 0; row < count; row++) {
      const { kind: kinds, handle: handles, order } = columns;
      const [kind, handle] = [kinds[row], handles[row]];
      timeNs += columns.timeNs[row];
      if (kind === Op.alloc) {
        assert(!live.has(handle), `handle ${handle} is in use`);
        live.set(handle, 2 ** order[row]);
        pages += 2 ** order[row];
        allocs++;
        most = Math.max(most, pages);
      } else if (kind === Op.free) {
        assert(live.has(handle), `handle ${handle} is free`);
        pages -= live.get(handle)!;
        live.delete(handle);
      }
    }
  }
  return { timeNs, allocs, most, live: live.size, pages };
}

Deno.test("a process: stack, top tables, a page table for each 2 MiB, and all of it goes at the exit", () => {
  // One job of 4 MiB = 1024 pages that lives for 10 s in a phase of 5 s: 4 of the stack, 3 tables, 2 page tables.
  const phases = [{
    for: "5s",
    users: [{
      kind: "processes",
      jobs: 1,
      memory: { distribution: "constant", mean: "4MiB" },
      lifetime: { distribution: "constant", mean: "10s" },
      growth: 0.1,
    }],
  }];
  const { timeNs, most, live, allocs } = drain(streamsOf(phases)[0]);
  assert.deepEqual([timeNs, most, live], [5e9, 1024 + 4 + 3 + 2, 0]);
  assert.equal(allocs, 1024 + 1 + 3 + 2);
});

Deno.test("a burst is single pages in fewer operations: as many pages, page tables and frees", () => {
  const region = { distribution: "constant", mean: "4MiB" };
  const phases = (burst: number) => [{ for: "1s", users: [{ kind: "anonymous", live: "8300KiB", region, burst }] }];
  // 8300 KiB are 2075 pages: 4 tables of 512 pages in 4 runs of 128 each, one of 27 = 16 + 8 + 2 + 1.
  const { allocs, most, live } = drain(streamsOf(phases(128))[0]);
  assert.deepEqual([allocs, most, live], [5 + 4 * 4 + 4, 2075 + 5, 0]);
  const single = drain(streamsOf(phases(1))[0]);
  assert.deepEqual([single.allocs, single.most, single.live], [2075 + 5, 2075 + 5, 0]);
});

Deno.test("pages of one file are deleted together or stay", () => {
  // The cache grows to 1/32 GiB, 8192 pages, in a second, and falls to half of that in the next.
  const csv = "t_s,used_gib,cached_gib\n0,0.04,0\n1,0.04,0.03125\n2,0.04,0.015625\n";
  const file = { distribution: "constant", mean: "64KiB" };
  const users = [{ kind: "page-cache", follow: true, written: 0.8, file, keep: true }];
  const [stream] = streamsOf([{ for: "2s", users }], 1, csv);
  const columns = new OpColumns(64);
  const order = new Map<number, number>();
  const deleted = new Map<number, number>();
  for (let count = stream.fill(columns); count > 0; count = stream.fill(columns)) {
    for (let row = 0; row < count; row++) {
      const handle = columns.handle[row];
      if (columns.kind[row] === Op.alloc) order.set(handle, order.size);
      if (columns.kind[row] !== Op.free) continue;
      const name = Math.floor(order.get(handle)! / 16);
      deleted.set(name, (deleted.get(name) ?? 0) + 1);
    }
  }
  const files = Math.ceil(order.size / 16);
  assert.equal(files, 512);
  assert.ok(deleted.size > 200 && deleted.size < 320, `${deleted.size} of ${files} files`);
  // The last one that is deleted may be so in part.
  assert.ok([...deleted.values()].filter((pages) => pages < 16).length <= 1);
});

Deno.test("huge faults take one operation for 512 pages, their handles leave room for the fallback", () => {
  const phases = [{
    for: "1s",
    users: [{ kind: "anonymous", live: "16MiB", region: { mean: "8MiB", distribution: "constant" }, huge: 1 }],
  }];
  // 2 regions of 4 huge pages, each huge page with the page table that is kept for its split.
  const { allocs, most, live } = drain(streamsOf(phases)[0]);
  assert.deepEqual([allocs, most, live], [16, 8 * 513, 0]);
});

Deno.test("a slab page is freed with its last object, and what is kept stays", () => {
  const users = [{ kind: "slab", objects: 1000, perSlab: 10, grows: "1ms", churn: 1000, tick: "10ms" }];
  const gone = drain(streamsOf([{ for: "2s", users }])[0]);
  assert.equal(gone.live, 0);
  assert(gone.most >= 100 && gone.most <= 101, `${gone.most} pages for 1000 objects of ten a page`);
  assert.equal(drain(streamsOf([{ for: "2s", users: [{ ...users[0], keep: true }] }])[0]).live >= 100, true);
});

Deno.test("users have no handle in common, on no CPU, and share amounts evenly", () => {
  const phases = [{
    for: "2s",
    users: [{ kind: "tmpfs", start: "8MiB", keep: true, lifetime: { distribution: "constant", mean: "1h" } }, {
      kind: "network",
      rate: 500,
    }],
  }];
  const pages = streamsOf(phases, 4).map((stream) => drain(stream).pages);
  assert.deepEqual(pages, [512, 512, 512, 512]);
});

Deno.test("handles are 32-bit numbers: a CPU that has none left ends the run, and none is given twice", () => {
  // Of 2^20 CPUs each has every 2^20th slab of 512 handles: the fifth of the first CPU begins at 4 * 2^20 * 512 = 2^31.
  const stream = new UserStream([], 1e9, 0, 0, 2 ** 20);
  const handles = Array.from({ length: 4 * 512 }, () => stream.alloc(0, 1, 1));
  assert.equal(new Set(handles).size, 2048);
  assert.equal(Math.max(...handles), 3 * 2 ** 29 + 511);
  assert.throws(() => stream.alloc(0, 1, 1), CapacityError);
});

Deno.test("a curve with a point that is none is refused with its row", () => {
  const follow = [{ for: "1s", users: [{ kind: "page-cache", follow: true }] }];
  const header = "t_s,used_gib,cached_gib\n0,1,0.5\n";
  for (
    const line of ["1,,0.5", "1,Infinity,0.5", "1,1,Infinity", "1,1,20000", "Infinity,1,1", "0,1,1", "1,1", "1,1,-1"]
  ) {
    assert.throws(() => streamsOf(follow, 1, `${header}${line}\n`), (error) => {
      assert(error instanceof InputError);
      assert.deepEqual(error.path, ["curve:", "curve", "row 3"]);
      assert.ok(error.message.startsWith(`${JSON.stringify(line)} is not a later point`), error.message);
      return true;
    });
  }
});

Deno.test("what is wrong with a user is said where it stands", () => {
  const refused = (user: unknown, path: string, message: RegExp) =>
    assert.throws(() => streamsOf([{ for: "1s", users: [user] }]), (error) => {
      assert(error instanceof InputError);
      assert.equal(error.path.join("."), path);
      assert.match(error.message, message);
      return true;
    });
  refused({ kind: "slabs" }, "phases.0.users.0.kind", /did you mean slab\?/);
  refused({ kind: "slab", objekts: 1 }, "phases.0.users.0.objekts", /did you mean objects\?/);
  refused({ kind: "tmpfs", start: "120%" }, "phases.0.users.0.start", /not a share from 0% to 100%/);
  refused({ kind: "processes", follow: true }, "phases.0.users.0.follow", /needs the key `curve`/);
  refused({ kind: "processes", burst: 8, orders: { 0: 1, 2: 1 } }, "phases.0.users.0.burst", /is for single pages/);
  refused({ kind: "anonymous", burst: 1024 }, "phases.0.users.0.burst", /512/);
  refused({ kind: "tmpfs", cpus: 0 }, "phases.0.users.0.cpus", /not at least 1/);
  // Handles are 32-bit numbers: 4 TiB of single pages would take half of them, one page more is too much.
  const files = /^its files have more than the 1073741824 folios/;
  refused({ kind: "page-cache", files: 2 ** 42 + 4096, cpus: 1 }, "phases.0.users.0", files);
  refused({ kind: "processes", jobsPer: 1 }, "phases.0.users.0.jobsPer", /^\d+ processes at a time are too many/);
});

for (const name of ["clang-build", "kernel-build"]) {
  // The slow tier checks the whole of them.
  Deno.test(`${name}: its first seconds hold every invariant`, { ignore: slow }, async () => {
    const [{ problems }] = simulate(await scenario(name, ["until=3s"]), { check: true });
    assert.deepEqual(problems, []);
  });
}
