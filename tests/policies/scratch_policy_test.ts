import assert from "node:assert/strict";
import { policies } from "../../policies/mod.ts";
import { simulateLoaded } from "../../sim/simulate.ts";
import { loadScenario } from "../../sim/load.ts";
import { workloads } from "../../workloads/mod.ts";

const ROOT = new URL("../..", import.meta.url).href;

/** A whole policy in one file: each free of a huge block is told at once, alone. */
const SCRATCH = `
import { duration } from "${ROOT}sim/core/options.ts";
import { policyPlugin } from "${ROOT}sim/guest/plugin.ts";

export const eager = policyPlugin({
  name: "eager",
  summary: "each large free block is reported at once",
  source: "a test",
  options: { fields: { patience: duration("1ms", { summary: "from the free to the report" }) } },
  create: ({ driver, worker }, { patience }) => ({
    freeOrderMin: 9,
    onFree(zone, pfn, order) {
      worker.post(function* () {
        yield patience;
        if (zone.allocator.orderAt(pfn) !== order || zone.allocator.isReported(pfn, order)) return;
        driver.pass();
        if (!driver.isolate(zone, pfn, order)) return;
        yield driver.commit();
        const told = yield* driver.send("reclaim", [{ pfn, count: 2 ** order }]);
        driver.putBack(zone, pfn, order, told);
        yield driver.commit();
      });
    },
  }),
});
`;

Deno.test("a new policy is one file and one line in the registry", async () => {
  const file = Deno.makeTempFileSync({ suffix: ".ts" });
  try {
    Deno.writeTextFileSync(file, SCRATCH);
    const { eager } = await import(`file://${file}`);
    const scenario = {
      hintsim: 1,
      machine: { memory: "256MiB" },
      workload: { kind: "fill-drain", cycles: 1, orders: { 9: 1 } },
      policy: { kind: "eager", patience: "2ms" },
    };
    const loaded = await loadScenario(scenario, {}, { policies: [...policies, eager], workloads });
    const [run] = simulateLoaded(loaded, { check: true });
    assert.deepEqual(run.problems, []);
    assert.ok(Number(run.summary.returned_bytes) > 0 && run.summary.violations === 0);
    assert.equal(run.summary.policy, "eager");
  } finally {
    Deno.removeSync(file);
  }
});
