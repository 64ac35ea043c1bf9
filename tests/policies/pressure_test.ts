import assert from "node:assert/strict";
import { load, simulate } from "../../mod.ts";
import { policies } from "../../policies/mod.ts";
import type { LoadedScenario } from "../../sim/load.ts";
import { buildMachine } from "../../sim/simulate.ts";

type Raw = Record<string, unknown>;

/** Options that this policy has, of those that are wanted. */
function optionsOf(name: string, wanted: Raw): Raw {
  const fields = policies.find((policy) => policy.name === name)!.options.fields as Raw;
  return { kind: name, ...Object.fromEntries(Object.entries(wanted).filter(([key]) => key in fields)) };
}

/** A guest of 384 MiB that is full most of the time; a fifth of its requests cannot wait. */
function scenario(kernel: string, more: Raw = {}): Raw {
  return {
    hintsim: 1,
    machine: { memory: "384MiB", vcpus: 2, kernel, perCpu: true, keepMarks: true, zones: "q35", reserved: "auto" },
    workload: {
      kind: "churn",
      occupancy: 0.85,
      orders: { 0: 60, 1: 20, 2: 10, 3: 8, 4: 2 },
      migratetypes: { movable: 6, unmovable: 2, reclaimable: 2 },
      atomic: 0.2,
      lifetime: { mean: "100ms" },
      duration: "500ms",
    },
    ...more,
  };
}

const SAFE = { action: "reclaim", isolate: true, requests: { every: "50ms" }, delay: "20ms", order: 4 };

const slow = Deno.env.get("HINTSIM_TIER") === "slow";

for (const kernel of ["6.1", "6.12"]) {
  for (const { name } of policies) {
    const ignore = !slow && kernel === "6.1" && !["none", "per-order", "free-page-reporting"].includes(name);
    const what = "under pressure, with boosts and reserves, nothing is lost and pages are conserved";
    Deno.test(`${kernel}, ${name}: ${what}`, { ignore }, async () => {
      const input = scenario(kernel, { policy: optionsOf(name, SAFE) });
      const [result] = simulate(await load(input), { check: true });
      assert.equal(result.finding, undefined);
      assert.deepEqual(result.problems, []);
      assert.equal(result.summary.violations, 0);
      assert.ok(Number(result.summary.alloc_fails) > 0, "there is pressure");
    });
  }

  Deno.test(`${kernel}: pageblocks are set aside and marks are raised, the same in slices of one event`, async () => {
    const loaded = await load(scenario(kernel)) as LoadedScenario;
    const fingerprints = [1, 1e6].map((slice) => {
      const machine = buildMachine(loaded, loaded.runs[0], {});
      const [{ guest }] = machine.guests;
      let [setAsidePages, boostPages] = [0, 0];
      while (!machine.advance(slice)) {
        for (const zone of guest.zones) {
          setAsidePages = Math.max(setAsidePages, zone.reservedHighatomicPages);
          boostPages = Math.max(boostPages, zone.watermarkBoost);
        }
      }
      if (slice === 1) assert.ok(setAsidePages > 0 && boostPages > 0, `${setAsidePages} and ${boostPages}`);
      for (const { allocator } of guest.zones) allocator.validate();
      return machine.result().fingerprint;
    });
    assert.equal(fingerprints[0], fingerprints[1]);
  });
}
