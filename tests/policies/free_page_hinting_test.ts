import assert from "node:assert/strict";
import { load, type RunResult, simulate } from "../../mod.ts";
import { UNMOVABLE } from "../../sim/guest/allocator.ts";
import type { LoadedScenario } from "../../sim/load.ts";
import { buildMachine } from "../../sim/simulate.ts";
import { rowsOf } from "./conformance/machine.ts";

type Raw = Record<string, unknown>;

/** 64 MiB, all of it free in 16 blocks of 4 MiB; one migration at one second. */
function scenario(policy: Raw, others: Raw = {}): Raw {
  const machine = { memory: "64MiB", vcpus: 1, thp: false, reserved: "none", perCpu: false, keepMarks: false };
  return {
    hintsim: 1,
    machine: { ...machine, initOnAlloc: false },
    workload: { kind: "idle", duration: "2s" },
    policy: { kind: "free-page-hinting", requests: { at: ["1s"] }, ...policy },
    ...others,
  };
}

async function run(policy: Raw, others: Raw = {}): Promise<RunResult> {
  const [result] = simulate(await load(scenario(policy, others)), { events: true, check: true });
  assert.equal(result.finding, undefined);
  assert.deepEqual(result.problems, []);
  return result;
}

Deno.test("a migration: id, 16 blocks of 4 MiB in one buffer each, stop, DONE", async () => {
  const result = await run({});
  const { summary } = result;
  const sends = rowsOf(result, "send");
  assert.deepEqual(sends.map(({ pages }) => pages), [0, ...new Array(16).fill(1024), 0]);
  // An id takes four bytes.
  assert.deepEqual([sends[0].bytes, sends[17].bytes], [4, 4]);
  assert.deepEqual(rowsOf(result, "skip").map(({ pages }) => pages), new Array(16).fill(1024));
  // The device polls as soon as it has the id, which is the only buffer that it is woken for; nothing interrupts the guest.
  assert.deepEqual([summary.kicks, summary.interrupts], [1, 0]);
  // Two reads of the configuration space (id, DONE) and the kick.
  assert.deepEqual([summary.policy_config_accesses, summary.exits], [2, 3]);
  assert.equal(rowsOf(result, "release").length, 16);
  assert.deepEqual([summary.policy_held_blocks_peak, summary.held_peak_bytes], [16, 64 * 2 ** 20]);
  assert.deepEqual([result.samples.held_bytes.at(-1), summary.policy_stale_hints], [0, 0]);
});

Deno.test("blocks are allocated as unmovable, which turns their pageblocks", async () => {
  const loaded = await load(scenario({})) as LoadedScenario;
  const machine = buildMachine(loaded, loaded.runs[0], {});
  const { zones } = machine.guests[0].guest;
  const types = () => new Set(Array.from({ length: 32 }, (_, n) => n * 512).map(typeAt));
  const typeAt = (pfn: number) => zones.find((zone) => zone.spans(pfn))!.allocator.pageblockType(pfn);
  assert.ok(!types().has(UNMOVABLE));
  machine.runToEnd();
  assert.deepEqual(types(), new Set([UNMOVABLE]));
});

Deno.test("what is still queued when the host stops is not acted on, and the next round has another id", async () => {
  // A message takes this host 371 us (e5-2016): in 1 ms it serves the id and a block, and is at work on the second.
  const host = { costs: "e5-2016" };
  const one = await run({ stopAfter: "1ms", sync: "20ms" }, { host });
  const [skipped, sent] = [rowsOf(one, "skip").length, rowsOf(one, "hold").length];
  assert.deepEqual([skipped, sent, one.summary.policy_stale_hints], [2, 16, 14]);
  // The stop comes after the guest's last block and is read with DONE: two reads.
  assert.equal(one.summary.policy_config_accesses, 2);
  const two = await run({ stopAfter: "1ms", sync: "20ms", rounds: 2 }, { host });
  // All blocks are held when the second round begins: two ids, no block.
  assert.equal(two.summary.passes, 2);
  assert.deepEqual(rowsOf(two, "send").map(({ pages }) => pages), [0, ...new Array(16).fill(1024), 0, 0, 0]);
});

Deno.test("without DONE the blocks stay, and a second migration gets none", async () => {
  const result = await run({ done: "never", requests: { at: ["500ms", "1s"] } });
  assert.equal(rowsOf(result, "hold").length, 16);
  assert.equal(result.samples.held_bytes.at(-1), 64 * 2 ** 20);
  assert.equal(result.summary.passes, 2);
});

Deno.test("a migration that starts during another is refused and counted", async () => {
  const result = await run({ stopAfter: "100ms", requests: { at: ["1s", "1050ms", "1200ms"] } });
  assert.deepEqual([result.summary.passes, result.summary.dropped_requests], [2, 1]);
});

Deno.test("a full ring keeps one entry for ids, and the guest spins until there is room", async () => {
  const result = await run({}, { transport: { kind: "virtqueue", size: 8 } });
  assert.equal(rowsOf(result, "skip").length, 16);
  assert.ok(Number(result.summary.policy_spin_ns) > 0);
  let travelling = 0;
  for (const { event, pages } of rowsOf(result, "send", "ack")) {
    if (event === "ack") travelling--;
    else if (pages > 0) assert.ok(++travelling <= 7);
    else travelling++;
  }
  const alone = await run({}, { transport: { kind: "virtqueue", size: 1 } });
  assert.deepEqual([rowsOf(alone, "skip").length, alone.summary.policy_lost_ids], [0, 0]);
});

/** A guest that wants most of its memory while a host that drops pages has served ten of 16 hints (371 us each). */
const RACE = {
  host: { costs: "e5-2016" },
  workload: [
    { kind: "idle", duration: "1004ms" },
    {
      kind: "fill-drain",
      cycles: 1,
      occupancy: 0.8,
      orders: { 9: 1 },
      fill: "1ms",
      hold: "100ms",
      drain: "1ms",
      pause: "1ms",
    },
  ],
};

Deno.test("the shrinker frees blocks whose hint is still queued: a host that drops them loses what was written since", async () => {
  const { summary } = await run({ action: "reclaim" }, RACE);
  assert.ok(Number(summary.policy_shrunk_blocks) > 0);
  assert.ok(Number(summary.violations) > 0, "no page was lost");
  assert.equal(summary.alloc_fails, 0);
});

Deno.test("with HINT_WAIT_ON_ACK nothing is lost", async () => {
  const { summary } = await run({ action: "reclaim", waitOnAck: true }, RACE);
  assert.ok(Number(summary.policy_shrunk_blocks) > 0, "the shrinker had nothing to do");
  assert.deepEqual([summary.violations, summary.near_misses], [0, 0]);
});

Deno.test("without the shrinker allocations fail instead, and nothing is lost", async () => {
  const { summary } = await run({ action: "reclaim", shrinker: false, stopAfter: "50ms" }, RACE);
  assert.ok(Number(summary.alloc_fails) > 0);
  assert.deepEqual([summary.violations, summary.policy_shrunk_blocks], [0, 0]);
});

Deno.test("a skipped page is not lost: the judge asks the dirty log, which there is none of", async () => {
  const { summary } = await run({ action: "skip" }, RACE);
  assert.equal(summary.violations, 0);
});

Deno.test("the price of HINT_WAIT_ON_ACK is a round trip for each block", async () => {
  const times = async (policy: Raw) => {
    const result = await run(policy);
    const sends = rowsOf(result, "send");
    return { spanNs: sends[17].timeNs - sends[0].timeNs, acks: rowsOf(result, "ack").slice(1, 17), result };
  };
  const [free, waiting] = [await times({}), await times({ waitOnAck: true })];
  // xeon6252-2024: 5000 message + 137 record + 2 words + 5 line + 300 skip on the host, 4 + 2 + 5 to write the record.
  const roundTripNs = 5000 + 137 + 2 + 5 + 300 + 11;
  for (const { costNs } of waiting.acks.slice(1)) assert.equal(costNs, roundTripNs);
  assert.ok(waiting.spanNs - free.spanNs > 15 * (roundTripNs - 11));
  // A device that polls is not woken for each.
  assert.deepEqual([waiting.result.summary.kicks, waiting.result.summary.interrupts], [1, 0]);
});

Deno.test("rounds without a stop between them are refused", async () => {
  const loaded = await load(scenario({ rounds: 2 }));
  assert.throws(() => simulate(loaded), /policy\.rounds: more than one round needs policy\.stopAfter$/);
});
