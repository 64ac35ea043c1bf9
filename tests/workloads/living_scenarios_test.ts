/**
 * The ready workloads: nothing is lost, every page is accounted for, whatever the seed. The fast tier runs the first second of
 * each, HINTSIM_TIER=slow all of it.
 */
import assert from "node:assert/strict";
import { load, type RunResult, simulate } from "../../mod.ts";

const SLOW = Deno.env.get("HINTSIM_TIER") === "slow";
const FOLDER = new URL("../../workloads/living/", import.meta.url);

/** How much of a workload the fast tier runs. */
const UNTIL: Readonly<Record<string, string>> = {
  "sandbox-churn": "1s",
  "page-fault": "100ms",
  memhog: "300ms",
  database: "200ms",
  "idle-server": "2s",
  desktop: "500ms",
};

async function run(
  name: string,
  settings: readonly string[],
  policy = "free-page-reporting",
): Promise<RunResult> {
  const text = Deno.readTextFileSync(new URL(`${name}.yaml`, FOLDER));
  const loaded = await load(text, { label: name, set: [`policy.kind=${policy}`, ...settings] });
  return simulate(loaded, { check: true })[0];
}

/** What holds of every run of them. */
function holds(result: RunResult): void {
  assert.deepEqual(result.problems, []);
  assert.equal(result.finding, undefined);
  assert.equal(result.summary.violations, 0);
  assert.equal(result.summary.near_misses, 0);
  const { samples } = result;
  const last = samples.time_ns.length - 1;
  const managed = (row: number) =>
    ["free", "pcp", "isolated", "used", "held"].reduce((sum, name) => sum + samples[`${name}_bytes`][row], 0);
  for (let row = 0; row <= last; row++) {
    assert.equal(managed(row), managed(0));
    assert.ok(samples.free_huge_bytes[row] <= samples.free_bytes[row]);
  }
  assert.ok(Number(result.summary.allocs) > 100);
}

for (const [name, until] of Object.entries(UNTIL)) {
  Deno.test(`${name}: no page is lost and all are accounted for, three seeds`, async () => {
    const seen = new Set<string>();
    for (const seed of [1, 2, 3]) {
      const result = await run(name, [`seed=${seed}`, ...(SLOW ? [] : [`until=${until}`])]);
      holds(result);
      seen.add(result.fingerprint);
    }
    // page-fault has nothing that is drawn.
    assert.equal(seen.size, name === "page-fault" ? 1 : 3);
  });
}

// Free page reporting walks lists, and LLFree has none.
for (const [name, until] of Object.entries(UNTIL)) {
  const ignore = !SLOW && name !== "sandbox-churn";
  Deno.test(`${name} with LLFree: no page is lost and all are accounted for`, { ignore }, async () => {
    for (const seed of SLOW ? [1, 2, 3] : [1]) {
      const settings = [`seed=${seed}`, "machine.allocator=llfree", ...(SLOW ? [] : [`until=${until}`])];
      holds(await run(name, settings, "none"));
    }
  });
}

for (const memory of SLOW ? ["512MiB", "64GiB", "1TiB"] : ["512MiB"]) {
  Deno.test(`sandbox-churn runs in ${memory}`, async () => {
    holds(await run("sandbox-churn", [`machine.memory=${memory}`, "until=2s"]));
  });
}

Deno.test("sandbox-churn has tasks in proportion to the memory", async () => {
  const used = async (memory: string) => {
    const { samples } = await run("sandbox-churn", [`machine.memory=${memory}`, "until=1500ms"]);
    return samples.used_bytes.at(-1)! / parseInt(memory);
  };
  const [small, large] = [await used("1GiB"), await used("4GiB")];
  assert.ok(large > 0.5 * small && large < 2 * small, `${small} and ${large} bytes a GiB`);
});
