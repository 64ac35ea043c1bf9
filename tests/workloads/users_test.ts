/** Users of memory as a scenario names them: what is refused, with its place, and what single users ask for. */
import assert from "node:assert/strict";
import { parse } from "yaml";
import { CliFolder, REPOSITORY } from "../cli/run_cli.ts";
import { load, LoadError, type RunResult, simulate } from "../../mod.ts";

/** A scenario of one phase of a second with one user, in the ninth line from column 11 on. */
function scenarioOf(user: string): string {
  return `hintsim: 1
name: users
machine: { memory: 64MiB, vcpus: 2 }
workload:
  kind: living
  phases:
    - for: 1s
      users:
        - { ${user} }
`;
}

/** The one run of a guest of 64 MiB, 16384 pages, with these phases, under the checkers. */
async function run(phases: unknown, machine: Readonly<Record<string, unknown>> = {}): Promise<RunResult> {
  const loaded = await load({
    hintsim: 1,
    machine: { memory: "64MiB", vcpus: 1, ...machine },
    workload: { kind: "living", phases },
  });
  const [result] = simulate(loaded, { check: true });
  assert.deepEqual(result.problems, []);
  return result;
}

/** A user, and where and how it is refused. */
const REFUSED: readonly (readonly [user: string, column: number, message: string])[] = [
  ["kind: anonymous, orders: { 10: 1 }", 44, 'orders.10: "10" is not an order up to 9; known are 0, 1'],
  ["kind: processes, orders: { 10: 1 }", 44, 'orders.10: "10" is not an order up to 9; known are 0, 1'],
  ["kind: network, orders: { 4: 1 }", 41, 'orders.4: "4" is not an order up to 3; known are 0, 1, 2, 3'],
  ["kind: tmpfs, lifetime: { men: 1s, mean: 2s }", 38, 'lifetime.men: unknown key "men"; wanted is: how long'],
  ["kind: tmpfs, from: 1s", 32, "from: starts when its phase of 1s is over"],
  ["kind: tmpfs, from: 500ms, until: 200ms", 46, "until: ends no later than it starts, at 500ms"],
  ["kind: drop-caches, at: 5s", 36, "at: comes when it is over, after 1s"],
  ["kind: drop-caches, from: 400ms, at: 600ms", 49, "at: comes when it is over, after 600ms"],
  ["kind: memory-reclaim, at: 1s", 39, "at: comes when it is over, after 1s"],
  ["kind: memory-reclaim, amount: 110%", 43, 'amount: "110%" is not a share from 0% to 100%'],
  ["kind: memory-reclaim, every: 0s", 42, 'every: "0s" is not between 1000 and'],
];

for (const [user, column, message] of REFUSED) {
  Deno.test(`{ ${user} } is refused where it stands`, async () => {
    const place = `users.yaml:9:${column}: workload.phases.0.users.0.`;
    await assert.rejects(load(scenarioOf(user), { label: "users.yaml" }), (error) => {
      assert.ok(error instanceof LoadError);
      assert.ok(error.message.startsWith(place + message), error.message);
      return true;
    });
  });
}

Deno.test("machine.housekeeping, keepMarks, perCpu: neither true, false nor auto is said so", async () => {
  for (const key of ["housekeeping", "keepMarks", "perCpu"]) {
    await assert.rejects(load(scenarioOf("kind: tmpfs"), { set: [`machine.${key}=on`] }), {
      message: `--set machine.${key}: "on" is neither true, false nor auto`,
    });
    await load(scenarioOf("kind: tmpfs"), { set: [`machine.${key}=auto,true,false`] });
  }
});

Deno.test("machine.compaction, machine.khugepaged: what there is nothing for is refused, not passed over", async () => {
  const phases = [{ for: "1s" }];
  const refused = (machine: Readonly<Record<string, unknown>>, message: string) =>
    assert.rejects(run(phases, machine), { message: `scenario: machine.${message}` });
  await refused({ thp: false, khugepaged: {} }, "khugepaged: khugepaged makes huge pages, and machine.thp is false");
  const lists = "compaction: compaction takes blocks off free lists, and llfree has none";
  await refused({ allocator: "llfree", compaction: {} }, lists);
  await run(phases, { thp: false, khugepaged: false });
});

Deno.test("memory-reclaim: what it asks for goes each time, and no more than a batch beyond it", async () => {
  // 16 MiB are read in the first second: 4096 pages of cache. At 0, 1 and 2 s of the next phase 4 MiB, 1024 pages, shall go.
  const { summary, samples } = await run([
    { for: "1s", users: [{ kind: "page-cache", files: "16MiB", rate: "64MiB", pattern: "sequential", keep: true }] },
    { for: "3s", users: [{ kind: "memory-reclaim", amount: "4MiB", every: "1s" }] },
  ]);
  const dropped = Number(summary.direct_reclaim_pages);
  assert.ok(dropped >= 3 * 1024 && dropped < 3 * (1024 + 32), `${dropped} pages`);
  assert.equal(samples.cache_bytes.at(-1), (4096 - dropped) * 4096);
  const afterFirst = samples.time_ns.indexOf(1.5e9);
  const left = 4096 - samples.cache_bytes[afterFirst] / 4096;
  assert.ok(left >= 1024 && left < 1056, `${left} pages after the first time`);
});

Deno.test("memory-reclaim asks once unless told, and where nothing can be dropped nothing goes", async () => {
  const once = await run([
    { for: "1s", users: [{ kind: "page-cache", files: "16MiB", rate: "64MiB", pattern: "sequential", keep: true }] },
    { for: "3s", users: [{ kind: "memory-reclaim", amount: "25%", at: "1s" }] },
  ]);
  // A quarter of the memory is as much as there is cache.
  assert.equal(once.summary.direct_reclaim_pages, 4096);
  assert.equal(once.samples.cache_bytes[once.samples.time_ns.indexOf(1.9e9)], 4096 * 4096);
  const nothing = await run([{ for: "1s", users: [{ kind: "tmpfs", keep: true }, { kind: "memory-reclaim" }] }]);
  assert.equal(nothing.summary.direct_reclaim_pages, 0);
});

Deno.test("--print-defaults fills in what users leave out, and what it prints is the same scenario", async () => {
  using folder = new CliFolder();
  const { out } = await folder.run([`${REPOSITORY}/workloads/living/idle-server.yaml`, "--print-defaults"]);
  const [{ users }] = parse(out).workload.phases;
  const network = users.find(({ kind }: { kind: string }) => kind === "network");
  assert.deepEqual([network.rate, network.keep, network.lifetime], [
    50,
    false,
    { distribution: "exponential", mean: "5ms" },
  ]);
  assert.equal(users.find(({ kind }: { kind: string }) => kind === "processes").growth, 0.5);
  const again = await folder.run([folder.write("printed.yaml", out), "--print-defaults"]);
  assert.equal(again.out, out);
});

Deno.test("options of users and phases are axes: several values of a setting, or { axis: [...] } in the file", async () => {
  const names = async (user: string, set: string[] = []) =>
    (await load(scenarioOf(user), { label: "users.yaml", set })).runs.map(({ name }) => decodeURIComponent(name));
  const start = "workload.phases.0.users.0.start";
  assert.deepEqual(await names("kind: tmpfs, start: { axis: [1MiB, 2MiB] }"), [`${start}=1MiB`, `${start}=2MiB`]);
  assert.deepEqual(await names("kind: tmpfs", [`${start}=1MiB,2MiB`]), [`${start}=1MiB`, `${start}=2MiB`]);
  assert.deepEqual(await names("kind: tmpfs", ["workload.phases.0.for=1s,2s"]), [
    "workload.phases.0.for=1s",
    "workload.phases.0.for=2s",
  ]);
  const loaded = await load(scenarioOf("kind: tmpfs, start: { axis: [1MiB, 2MiB] }"));
  assert.deepEqual(simulate(loaded).map(({ samples }) => Math.max(...samples.used_bytes)), [2 ** 20, 2 ** 21]);
  // What is a list stays one: which of its entries would be meant?
  await assert.rejects(load(scenarioOf("kind: tmpfs"), { set: ["workload.phases.0.users=1,2"] }), {
    message: /--set workload\.phases\.0\.users: wants a list; write \[1, 2\]/,
  });
  await assert.rejects(load(scenarioOf("kind: tmpfs, start: { axis: [1MiB, x] }"), { label: "users.yaml" }), {
    message: /^users\.yaml:9:\d+: workload\.phases\.0\.users\.0\.start: "x" is not a size/,
  });
});

Deno.test("a fork copies the page tables of its parent, and the exec frees them", async () => {
  // One job of 16 pages, which are there at once, lives for 900 ms of the phase's second: 4 pages of its stack, 3 top tables and 1
  // page table. Its parent has 10 MiB: 5 page tables until the exec, 300 ms after the fork.
  const job = {
    kind: "processes",
    jobs: 1,
    memory: { distribution: "constant", mean: "64KiB" },
    lifetime: { distribution: "constant", mean: "900ms" },
    tick: "100ms",
    growth: 0,
    pause: "10s",
  };
  const usedOf = async (user: Readonly<Record<string, unknown>>) => {
    const { samples } = await run([{ for: "2s", users: [user] }], { kernel: "6.1" });
    return [...new Set(samples.used_bytes.map((bytes) => bytes / 4096))];
  };
  assert.deepEqual(await usedOf(job), [0, 7, 24]);
  assert.deepEqual(await usedOf({ ...job, parent: "10MiB", exec: "300ms" }), [0, 12, 7, 24]);
});

Deno.test("a slab that was shrunk comes back with the next object on it", async () => {
  // 1000 objects of ten a page are 100 pages, all of them shrinkable. At 1.55 s they are dropped. Every 100 ms 10 objects die and as
  // many are put on slabs with room: 390 until 5.5 s, so that a slab gets none with a chance of (99/100)^390, 2 of 100.
  const slab = { kind: "slab", objects: 1000, perSlab: 10, grows: "1ms", type: "reclaimable", pinned: 0 };
  const { samples } = await run([{
    for: "6s",
    users: [{ ...slab, churn: 100, until: "5900ms" }, { kind: "drop-caches", what: 2, at: "1550ms" }],
  }], { perCpu: false });
  const used = (timeNs: number) => samples.used_bytes[samples.time_ns.indexOf(timeNs)] / 4096;
  assert.ok(used(1.5e9) >= 100 && used(1.5e9) <= 105, `${used(1.5e9)} pages before`);
  assert.ok(used(1.6e9) <= 20, `${used(1.6e9)} pages when they were dropped`);
  assert.ok(used(5.5e9) >= 90, `${used(5.5e9)} pages when they are in use again`);
});
