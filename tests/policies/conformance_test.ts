/**
 * The conformance suite over the registry, or over policies of one's own:
 * `deno test -P tests/policies/conformance_test.ts -- ./my_policy.ts`.
 */
import assert from "node:assert/strict";
import { policies } from "../../policies/mod.ts";
import { importPolicyFile } from "../../sim/cli/policy_file.ts";
import { resolvePath } from "../../sim/cli/files.ts";
import { broken, type Fault } from "./conformance/broken.ts";
import { applies, cases, conform, skipProblems } from "./conformance/mod.ts";
import type { Case } from "./conformance/machine.ts";

const own = await Promise.all(
  Deno.args.map(async (path) => (await importPolicyFile(resolvePath(Deno.cwd(), path), path)).plugin),
);

for (const plugin of own.length > 0 ? own : policies) {
  Deno.test(`${plugin.name}: skips only cases that there are, each once and with a reason`, () => {
    assert.deepEqual(skipProblems(plugin), []);
  });

  for (const one of cases) {
    const skipped = plugin.skip?.find((skip) => skip.case === one.name);
    Deno.test({
      name: `${plugin.name}: ${one.name}${skipped === undefined ? "" : ` (skipped: ${skipped.reason})`}`,
      ignore: !applies(plugin, one),
      fn: () => conform(plugin, one),
    });
  }
}

const PASSES: Case = { name: "passes", run: () => Promise.resolve() };
const FAILS: Case = { name: "fails", run: () => Promise.reject(new Error("no")) };

Deno.test("a skip is honest: the case fails; a stale one, and one of no case, are errors", async () => {
  const skipping = (...names: string[]) => ({
    ...policies[0],
    skip: names.map((name) => ({ case: name, reason: "it cannot" })),
  });
  await conform(skipping("fails"), FAILS);
  await assert.rejects(conform(skipping("passes"), PASSES), /none passes in spite of its skip \(it cannot\)/);
  await assert.rejects(conform(policies[0], FAILS), /no/);
  const known = [PASSES, FAILS];
  assert.deepEqual(skipProblems(skipping("fails"), known), []);
  assert.deepEqual(skipProblems(skipping("fials"), known), ['there is no case "fials"']);
  assert.deepEqual(skipProblems(skipping("fails", "fails"), known), ['"fails" is skipped twice']);
  const silent = { ...policies[0], skip: [{ case: "fails", reason: " " }] };
  assert.deepEqual(skipProblems(silent, known), ['"fails" is skipped without a reason']);
});

/** For each fault of a policy a case that finds it. */
const FINDS: readonly (readonly [fault: Fault, found: string])[] = [
  ["keeps a block", "ends in the middle of a pass with every block back and every send answered"],
  ["reclaims what is not isolated", "a storm of requests and of allocations does not break it"],
  ["shares state", "runs the same a second time, after another run and in other steps"],
  ["never rests", "is made and started once for each guest, and comes to rest"],
];

for (const [fault, found] of FINDS) {
  Deno.test(`the suite finds a policy that ${fault}`, async () => {
    const one = cases.find(({ name }) => name === found)!;
    await conform(broken("nothing"), one);
    await assert.rejects(conform(broken(fault), one), { name: "AssertionError" });
  });
}

Deno.test("cases have names of their own", () => {
  assert.equal(new Set(cases.map(({ name }) => name)).size, cases.length);
});
