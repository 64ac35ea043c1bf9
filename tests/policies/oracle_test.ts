import assert from "node:assert/strict";
import { load, type RunResult, simulate } from "../../mod.ts";
import { Future, KnownFree, SEGMENT_PAGES } from "../../sim/guest/future.ts";
import type { LoadedScenario } from "../../sim/load.ts";
import { rehearsal } from "../../sim/rehearsal.ts";
import { buildMachine } from "../../sim/simulate.ts";
import { rowsOf, sumOf } from "./conformance/machine.ts";

type Raw = Record<string, unknown>;

/** A guest whose memory comes and goes, in blocks of several sizes. */
const CHURN: Raw = {
  hintsim: 1,
  machine: { memory: "64MiB", vcpus: 2, thp: false, perCpu: false, keepMarks: false },
  workload: { kind: "churn", orders: { 0: 8, 3: 1, 9: 1 }, lifetime: { mean: "300ms" }, duration: "3s" },
};

async function run(policy: Raw | string, others: Raw = {}): Promise<RunResult> {
  const [result] = simulate(await load({ ...CHURN, policy, ...others }), { events: true, check: true });
  assert.equal(result.finding, undefined);
  assert.deepEqual(result.problems, []);
  return result;
}

const gibMin = ({ summary }: RunResult) => Number(summary.resident_gib_min);

Deno.test("an oracle drops in the instant of the free, without a message and without work of the guest", async () => {
  const result = await run("oracle", { host: { backing: "4k" } });
  const { summary } = result;
  assert.deepEqual([summary.messages, summary.exits, summary.driver_cpu_ns, summary.violations], [0, 0, 0, 0]);
  assert.ok(rowsOf(result, "discard").every(({ message }) => message === -1));
  const freedNs = new Set(rowsOf(result, "free").map(({ timeNs }) => timeNs));
  for (const { timeNs } of rowsOf(result, "discard")) assert.ok(freedNs.has(timeNs));
  // What is free is not backed, at any sample.
  assert.ok(result.samples.resident_free_bytes.every((bytes) => bytes === 0));
  assert.equal(sumOf(rowsOf(result, "drop"), "pages"), sumOf(rowsOf(result, "discard"), "pages"));
});

Deno.test("what is free and backed at the start is dropped at once", async () => {
  const machine = { ...(CHURN.machine as Raw), resident: "all" };
  for (const policy of ["oracle", "oracle-future"]) {
    const workload = { kind: "idle", duration: "1s" };
    const { summary } = await run(policy, { machine, workload });
    assert.equal(summary.returned_bytes, summary.free_end_bytes);
  }
});

Deno.test("a pool of 2 MiB pages is dropped in whole pages, and after the first refusal nothing smaller is tried", async () => {
  const result = await run("oracle", { host: { backing: "hugetlb" } });
  const futile = rowsOf(result, "discard").filter(({ pages }) => pages < 512);
  assert.ok(futile.length <= 1, `${futile.length} discards of less than 2 MiB`);
  assert.ok(Number(result.summary.returned_bytes) > 0);
});

Deno.test("pages on per-CPU lists are not free for an oracle before they are drained", async () => {
  const machine = { ...(CHURN.machine as Raw), perCpu: true };
  const result = await run("oracle", { machine, host: { backing: "4k" } });
  assert.ok(result.samples.pcp_bytes.some((bytes) => bytes > 0));
  assert.ok(result.samples.resident_free_bytes.every((bytes) => bytes === 0));
  assert.ok(gibMin(result) > gibMin(await run("oracle", { host: { backing: "4k" } })));
});

Deno.test("no other policy leaves less resident than the oracle", async () => {
  const bound = gibMin(await run("oracle", { host: { backing: "4k" } }));
  const eager = { order: 0, delay: "10ms", requests: { every: "10ms" }, action: "reclaim", isolate: true };
  for (const kind of ["none", "free-page-reporting", "single-batch"]) {
    const policy = kind === "free-page-reporting"
      ? { kind, order: eager.order, delay: eager.delay }
      : kind === "none"
      ? kind
      : { kind, requests: eager.requests, action: eager.action, isolate: eager.isolate };
    assert.ok(gibMin(await run(policy, { host: { backing: "4k" } })) > bound, kind);
  }
});

Deno.test("the rehearsal is a run in which the guest tells its host nothing", async () => {
  const loaded = await load({ ...CHURN, policy: "oracle-future" }) as LoadedScenario;
  const machine = buildMachine(loaded, loaded.runs[0], {});
  const quiet = await run("none");
  // A page that stays free for longer than any run is dropped, all others stay: then nothing is ever faulted in again, no stall
  // moves an operation, and every page is foreseen as it comes.
  const kept = await run({ kind: "oracle-future", keep: "1000s" });
  assert.equal(kept.summary.refault_pages, 0);
  assert.equal(kept.summary.guest_stall_ns, quiet.summary.guest_stall_ns);
  const times = (result: RunResult) =>
    rowsOf(result, "alloc", "free").map(({ timeNs, event, pfn }) => `${timeNs} ${event} ${pfn}`);
  assert.deepEqual(times(kept), times(quiet));
  assert.ok(Number(kept.summary.returned_bytes) > 0);
  assert.equal(machine.sim.now, 0, "a machine that was only built has rehearsed");
});

Deno.test("who keeps nothing is the oracle, row by row; who keeps more has less to fault in and more resident", async () => {
  const host = { backing: "4k" };
  const oracle = await run("oracle", { host });
  const runs = [];
  for (const keep of ["0s", "100ms", "1s"]) runs.push(await run({ kind: "oracle-future", keep }, { host }));
  assert.equal(runs[0].fingerprint, oracle.fingerprint);
  const refaults = runs.map(({ summary }) => Number(summary.refault_pages));
  const resident = runs.map(gibMin);
  assert.ok(refaults[0] > refaults[1] && refaults[1] > refaults[2], refaults.join());
  assert.ok(resident[0] < resident[1] && resident[1] < resident[2], resident.join());
});

Deno.test("with transparent huge pages what a fault brought in beside a page is dropped with it", async () => {
  const resident = [];
  for (const policy of ["free-page-reporting", { kind: "oracle-future", keep: "0s" }, "oracle"]) {
    resident.push(gibMin(await run(policy)));
  }
  assert.ok(resident[0] > resident[1] && resident[1] >= resident[2], resident.join());
});

Deno.test("two guests have futures of their own, and a rehearsal needs no more memory of the host than there is", async () => {
  const guest = { machine: CHURN.machine, workload: CHURN.workload, policy: { kind: "oracle-future", keep: "200ms" } };
  const two = { hintsim: 1, guests: [guest, { ...guest, start: "500ms" }], host: { memory: "120MiB" } };
  const [result] = simulate(await load(two), { check: true });
  assert.deepEqual([result.finding, result.problems], [undefined, []]);
  assert.ok(Number(result.summary.policy_foreseen_pages) > 0);
  const again = simulate(await load(two), { slice: 7 });
  assert.equal(again[0].fingerprint, result.fingerprint);
});

Deno.test("the n-th free of a page has its n-th time, whatever the clock says", async () => {
  const scenario = {
    hintsim: 1,
    machine: { memory: "1MiB", vcpus: 1, thp: false, reserved: "none", perCpu: false, initOnAlloc: false },
    workload: {
      kind: "fill-drain",
      cycles: 3,
      occupancy: 0.5,
      orders: { 0: 1 },
      fill: "1ms",
      hold: "1ms",
      drain: "1ms",
      pause: "1s",
    },
    policy: "oracle-future",
  };
  const loaded = await load(scenario) as LoadedScenario;
  const { scenario: parsed, rep } = loaded.runs[0];
  const future = rehearsal({ scenario: parsed, rep, file: (path) => loaded.file(path) })(0);
  const quiet = simulate(await load({ ...scenario, policy: "none" }), { events: true })[0];
  const allocs = rowsOf(quiet, "alloc", "free").filter(({ order }) => order >= 0);
  const { pfn } = allocs[0];
  const mine = allocs.filter((row) => row.pfn === pfn).map(({ timeNs }) => timeNs);
  // Free from the start until its first use; after that from each free to the use that follows it; then forever.
  const expected = [mine[0]];
  for (let at = 1; at + 1 < mine.length; at += 2) expected.push(mine[at + 1] - mine[at]);
  for (const freeNs of expected) {
    const nowNs = 7e9;
    const awayNs = future.freed(pfn, nowNs) - nowNs;
    // Kept in 24 bits.
    assert.ok(Math.abs(awayNs - freeNs) <= freeNs * 2 ** -23, `${awayNs} ns and not ${freeNs} ns`);
    assert.equal(future.reuseAtNs(pfn), nowNs + awayNs);
  }
  assert.equal(future.freed(pfn, 0), Infinity);
  assert.equal(future.freed(pfn, 0), Infinity);
});

Deno.test("of pages that the rehearsal never saw nothing is foreseen", () => {
  const future = new Future(new Array(2));
  assert.equal(future.freed(SEGMENT_PAGES, 5), Infinity);
  assert.equal(future.reuseAtNs(3), Infinity);
  const known = new KnownFree(64);
  const seen: string[] = [];
  const note = (what: string) => (pfn: number, count: number) => seen.push(`${what} ${pfn}+${count}`);
  known.freed(8, 8, note("free"));
  known.freed(0, 32, note("free"));
  known.used(12, 8, note("used"));
  known.used(12, 8, note("used"));
  known.freed(12, 4, note("free"));
  assert.deepEqual(seen, ["free 8+8", "free 0+8", "free 16+16", "used 12+8", "free 12+4"]);
});
