/** Guests that run out of memory: who dies, what the result says, and whose the pages of each kind of user are. */
import assert from "node:assert/strict";
import { load, type RunResult, simulate } from "../../mod.ts";
import { CapacityError } from "../../sim/core/capacity_error.ts";
import { parseOptions } from "../../sim/core/options.ts";
import { randomStream } from "../../sim/core/random.ts";
import { Op, OpColumns, OpFlag } from "../../sim/guest/operations.ts";
import { living, type LivingOptions } from "../../workloads/living.ts";
import { UserStream } from "../../workloads/users/stream.ts";
import type { OpSink } from "../../workloads/users/user.ts";
import { CliFolder, parseCsv } from "../cli/run_cli.ts";

const SCENARIO = Deno.readTextFileSync(new URL("../../workloads/living/out-of-memory.yaml", import.meta.url));

async function run(settings: readonly string[]): Promise<RunResult> {
  // No policy that reports LLFree's memory is built in.
  const policy = settings.includes("machine.allocator=llfree") ? "none" : "free-page-reporting";
  const set = [`policy.kind=${policy}`, ...settings];
  const [result] = simulate(await load(SCENARIO, { label: "out-of-memory", set }), { check: true, events: true });
  return result;
}

for (
  const settings of [
    ['machine.kernel="6.1"'],
    ["machine.allocator=llfree"],
  ]
) {
  Deno.test(`a leak is ended, everything else goes on: ${settings.join(", ")}`, async () => {
    const { problems, finding, summary, samples, events } = await run([...settings, "until=2600ms"]);
    assert.deepEqual([problems, finding], [[], undefined]);
    assert.deepEqual([summary.alloc_fails, summary.violations, summary.near_misses], [0, 0, 0]);
    assert.deepEqual([summary.oom_kills, summary.skipped_frees], [1, 0]);
    const { event, eventNames, pages, timeNs } = events!;
    const kill = event.indexOf(eventNames.indexOf("oom_kill"));
    assert.equal(summary.oom_killed_pages, pages[kill]);
    // Whoever dies has most: of 256 MiB at most the jobs (32 MiB on the mean), kernel pages and what marks keep are others'.
    assert.ok(pages[kill] > 0.5 * 65_536, `${pages[kill]} pages`);
    const code = eventNames.indexOf("alloc");
    let after = 0;
    for (let row = kill; row < event.length; row++) after += event[row] === code ? 1 : 0;
    assert.ok(after > 1000, `${after} allocations after the kill`);
    const next = samples.time_ns.findIndex((time) => time > timeNs[kill]);
    const dropped = samples.used_bytes[next - 1] - samples.used_bytes[next];
    assert.ok(dropped > 0 && samples.free_bytes[next] > 100 * 2 ** 20, "the memory of the victim is free");
  });
}

Deno.test("processes are killed while compaction moves their pages", async () => {
  // Regions of a second process come and go, so that huge pages have to be made, at once and by kcompactd.
  const text = SCENARIO.replace(
    "        - { kind: processes,",
    "        - { kind: anonymous, live: 40%, region: { mean: 1MiB }, lifetime: { mean: 300ms }, orders: { 0: 1, 3: 1 } }\n$&",
  ).replace("huge: 0.5", "huge: 1");
  const machine = ["machine.thpDefrag=always", "machine.compaction={proactiveness: 100}"];
  const set = ['machine.kernel="6.12"', ...machine, "policy.kind=none"];
  const loaded = await load(text, { label: "out-of-memory", set: [...set, "until=3s"] });
  const [first, second] = [simulate(loaded, { check: true })[0], simulate(loaded)[0]];
  assert.deepEqual([first.problems, first.finding, first.summary.alloc_fails], [[], undefined, 0]);
  for (const figure of ["oom_kills", "compaction_pages"]) {
    assert.ok(Number(first.summary[figure]) > 0, `${figure} ${first.summary[figure]}`);
  }
  assert.equal(second.fingerprint, first.fingerprint);
});

Deno.test("a kill is no failure of a run, memory that nobody gives back is; workers change nothing", async () => {
  using folder = new CliFolder();
  const scenario = folder.write("out-of-memory.yaml", SCENARIO.replace(/ +show: [^\]]*\]/, ""));
  const lean = ["--events", "none", "--until", "2600ms"];
  const first = await folder.run([scenario, ...lean, "--jobs", "1"]);
  assert.equal(first.status, 0, first.err);
  assert.match(first.out, /^oom kills +1 +1$/m);
  assert.match(first.out, /^oom killed +2\d\d\.\dMiB/m);
  const summary = folder.read("out/out-of-memory/summary.csv");
  assert.deepEqual(parseCsv(summary).map(({ oom_kills, alloc_fails }) => [oom_kills, alloc_fails]), [["1", "0"], [
    "1",
    "0",
  ]]);
  assert.equal((await folder.run([scenario, ...lean, "--jobs", "4"])).status, 0);
  assert.equal(folder.read("out/out-of-memory/summary.csv"), summary);
  // Files in memory are no process's: 80 MiB of 64.
  const tmpfs = "workload={kind: living, phases: [{for: 1s, users: [{kind: tmpfs, start: 80MiB}]}]}";
  const failed = await folder.run([scenario, ...lean, "--set", "machine.memory=64MiB", "--set", tmpfs]);
  assert.equal(failed.status, 1);
  assert.match(failed.err, /guest 0 ran out of memory: \d+ allocations failed/);
  const [none] = parseCsv(folder.read("out/out-of-memory/summary.csv"));
  assert.equal(none.oom_kills, none.alloc_fails);
  assert.deepEqual([none.oom_killed_pages, Number(none.alloc_fails) > 0], ["0", true]);
});

/** Owners of what the users of a guest of two CPUs ask for, by CPU: of all, and of what they read through the page cache. */
function ownersOf(user: Readonly<Record<string, unknown>>): { owners: Set<number>[]; kinds: Map<number, Set<number>> } {
  const { value } = parseOptions(living.options, { phases: [{ for: "2s", users: [user] }] }, []);
  const workload = living.create({
    memoryPages: 65_536,
    vcpus: 2,
    random: (name: string) => randomStream(1, 0, name),
    file: () => new Uint8Array(),
    child: () => assert.fail("no children"),
  }, value as LivingOptions);
  const kinds = new Map<number, Set<number>>();
  const owners = workload.streams.map((stream) => {
    const seen = new Set<number>();
    const columns = new OpColumns(100);
    for (let count = stream.fill(columns); count > 0; count = stream.fill(columns)) {
      for (let row = 0; row < count; row++) {
        const { kind: kindOf, owner: ownerOf, handle, flags } = columns;
        const [kind, owner] = [kindOf[row], ownerOf[row]];
        if (kind === Op.wait || (flags[row] & OpFlag.cache) !== 0) continue;
        seen.add(owner);
        const key = handle[row];
        if (kind === Op.alloc) kinds.set(key, new Set([owner]));
        else kinds.get(key)?.add(owner);
      }
    }
    return seen;
  });
  return { owners, kinds };
}

Deno.test("each job is a process of its own, a mapping or a task one on each CPU, and they free what is theirs", () => {
  const jobs = {
    jobs: 4,
    memory: { mean: "1MiB" },
    lifetime: { distribution: "constant", mean: "300ms" },
    pause: "10ms",
    reads: 64,
  };
  const { owners: [one, two], kinds } = ownersOf({ kind: "processes", ...jobs });
  assert.ok(one.size > 6 && two.size > 6);
  assert.ok(![...one].some((owner) => two.has(owner) || owner === 0));
  for (const [handle, owners] of kinds) assert.equal(owners.size, 1, `handle ${handle}`);
  assert.deepEqual(ownersOf({ kind: "anonymous", live: "8MiB" }).owners, [new Set([1]), new Set([2])]);
  assert.deepEqual(ownersOf({ kind: "page-fault", fault: "1ms", memory: "1MiB" }).owners, [new Set([1]), new Set([2])]);
});

Deno.test("what the kernel and files have is nobody's", () => {
  const users = [
    { kind: "slab", objects: 1000 },
    { kind: "kernel-pages", start: "1MiB" },
    { kind: "tmpfs", start: "1MiB" },
    { kind: "network", rate: 100 },
    { kind: "page-cache", rate: "1MiB" },
  ];
  for (const user of users) {
    for (const owners of ownersOf(user).owners) {
      assert.ok(owners.size === 0 || (owners.size === 1 && owners.has(0)));
    }
  }
  // The pages of the file itself are the page cache's when the task unlinks them at its end.
  const { owners } = ownersOf({ kind: "page-fault", fault: "1ms", memory: "1MiB", mapping: "file" });
  assert.deepEqual(owners, [new Set([1, 0]), new Set([2, 0])]);
});

Deno.test("no number of a process is given twice, and a column holds it", () => {
  const numbers: number[] = [];
  const stream = new UserStream(
    [{
      startNs: 0,
      endNs: 10,
      keep: false,
      user: {
        dueNs: 0,
        act(sink: OpSink) {
          for (;;) numbers.push(sink.newOwner());
        },
        end() {},
      },
    }],
    10,
    0,
    1023,
    1024,
  );
  // 2^31 - 1 is 1023 + 1 + n * 1024 - 1: the last is one of n = 2^21 - 2.
  assert.throws(() => stream.fill(new OpColumns(1)), CapacityError);
  assert.equal(numbers.length, 2 ** 21 - 1);
  assert.ok(numbers.every((number, n) => number === (n + 1) * 1024));
});
