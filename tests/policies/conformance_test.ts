import assert from "node:assert/strict";
import { load, simulate } from "../../mod.ts";
import { policies } from "../../policies/mod.ts";
import { encodings } from "../../sim/abi/mod.ts";

/** Cases that a policy cannot pass, each with its reason in words. */
const SKIP: Readonly<Record<string, readonly { case: string; reason: string }[]>> = {};

const TRANSPORTS: Readonly<Record<string, Record<string, unknown>>> = {
  "a queue of 128": { kind: "virtqueue", size: 128 },
  "a queue of one descriptor": { kind: "virtqueue", size: 1 },
  "a queue with flags": { kind: "virtqueue", size: 8, eventIndex: false },
  "a hypercall": { kind: "hypercall" },
};

/** A guest that frees much, in blocks large enough for every policy. */
const SCENARIO = {
  hintsim: 1,
  machine: { memory: "256MiB", vcpus: 2, thp: false },
  workload: {
    kind: "fill-drain",
    cycles: 2,
    occupancy: 0.6,
    orders: { 0: 50, 9: 50 },
    fill: "50ms",
    hold: "50ms",
    drain: "50ms",
    pause: "3s",
  },
};

/** Options that this policy has, of those that the cases want. */
function optionsOf(name: string, wanted: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const fields = policies.find((policy) => policy.name === name)!.options.fields as Record<string, unknown>;
  return { kind: name, ...Object.fromEntries(Object.entries(wanted).filter(([key]) => key in fields)) };
}

function conform(name: string, title: string, test: () => Promise<void>): void {
  const skipped = SKIP[name]?.find((one) => one.case === title);
  Deno.test({
    name: `${name}: ${title}${skipped ? ` (${skipped.reason})` : ""}`,
    ignore: skipped !== undefined,
    fn: test,
  });
}

async function run(scenario: Record<string, unknown>) {
  const [result] = simulate(await load({ ...SCENARIO, ...scenario }), { check: true, events: true });
  assert.equal(result.finding, undefined);
  assert.deepEqual(result.problems, []);
  return result;
}

const SAFE = { action: "reclaim", isolate: true, requests: { every: "500ms" } };

for (const { name } of policies) {
  for (const [transport, settings] of Object.entries(TRANSPORTS)) {
    for (const encoding of encodings) {
      conform(name, `loses nothing and conserves pages over ${transport} in ${encoding.name}`, async () => {
        const { summary } = await run({ policy: optionsOf(name, SAFE), encoding: encoding.name, transport: settings });
        assert.equal(summary.violations, 0);
        if (name === "none") assert.equal(summary.messages, 0);
        else assert.ok(Number(summary.returned_bytes) > 0, `returned ${summary.returned_bytes}`);
        if (settings.kind === "hypercall") assert.equal(summary.kicks, 0);
        else assert.equal(summary.interrupts, summary.messages);
      });
    }
  }

  conform(name, "skips as it reclaims: no page is dropped", async () => {
    const { summary } = await run({ policy: optionsOf(name, { ...SAFE, action: "skip" }) });
    assert.deepEqual([summary.discarded_pages, summary.refault_pages, summary.violations], [0, 0, 0]);
  });

  conform(name, "ends in the middle of a pass with every block back and every send answered", async () => {
    for (const until of ["2000001us", "2000020us", "2000500us"]) {
      const { summary, events, samples } = await run({
        policy: optionsOf(name, { ...SAFE, requests: { at: ["2s"] } }),
        until,
      });
      const codes = (event: string) => events!.event.filter((code) => events!.eventNames[code] === event).length;
      assert.equal(codes("send"), codes("ack"));
      assert.equal(codes("isolate"), codes("put_back"));
      assert.deepEqual([samples.isolated_bytes.at(-1), samples.held_bytes.at(-1)], [0, 0]);
      assert.ok(Number(summary.sim_time_ns) >= 2_000_001_000);
    }
  });

  conform(name, "a storm of requests and of allocations does not break it", async () => {
    const { summary } = await run({
      machine: { memory: "64MiB", vcpus: 4, thp: false },
      workload: { kind: "storm", occupancy: 0.8, duration: "20ms", interval: "20us" },
      policy: optionsOf(name, { ...SAFE, requests: { every: "100us" }, delay: "100us", order: 3 }),
    });
    assert.equal(summary.violations, 0);
  });

  conform(name, "two guests do not disturb each other", async () => {
    const guest = { machine: SCENARIO.machine, workload: SCENARIO.workload, policy: optionsOf(name, SAFE) };
    const both = simulate(await load({ hintsim: 1, guests: [{ count: 2, ...guest }] }), { check: true })[0];
    assert.deepEqual(both.problems, []);
    const alone = await run({ policy: guest.policy });
    assert.equal(both.summary.allocs, 2 * Number(alone.summary.allocs));
  });
}
