/** The clang build with free page reporting, and the kernel builds with every row checked. */
import assert from "node:assert/strict";
import { simulate } from "../../mod.ts";
import { scenario, slow, table } from "./builds.ts";

const GIB = 2 ** 30;

Deno.test(
  "clang-build with free page reporting: the host's memory lies near the recorded one",
  { ignore: !slow },
  async () => {
    // Nothing was fitted to this curve. Dropped caches come back sooner than recorded: one point may be further off.
    const loaded = await scenario("clang-build", ["seed=1", "policy.kind=free-page-reporting"]);
    const [{ samples }] = simulate(loaded, {});
    const resident = new Map(Array.from(samples.time_ns, (timeNs, row) => {
      return [Math.round(timeNs / 1e9), samples.resident_bytes[row] / GIB];
    }));
    const errors = table("clang-build-rss.csv").map(([timeS, , gib]) => Math.abs(resident.get(timeS)! - gib));
    assert.equal(errors.length, 103);
    const mean = errors.reduce((sum, error) => sum + error, 0) / errors.length;
    assert(mean <= 0.8, `${mean} GiB off on the average`);
    assert.ok(errors.filter((error) => error > 1.6).length <= 1, `${errors}`);
  },
);

// Free page reporting walks lists, and LLFree has none.
const BUDDY: readonly string[] = [];
const LLFREE = ["machine.allocator=llfree", "policy.kind=none"];
for (
  const [name, allocator, set] of [
    ["kernel-build", "buddy", BUDDY],
    ["kernel-build", "llfree", LLFREE],
  ] as const
) {
  for (const seed of [1, 2, 3]) {
    Deno.test(`${name}, ${allocator}, seed ${seed}: every invariant at every row`, { ignore: !slow }, async () => {
      const [{ problems, finding }] = simulate(await scenario(name, [...set, `seed=${seed}`]), { check: true });
      assert.deepEqual([problems, finding], [[], undefined]);
    });
  }
}
