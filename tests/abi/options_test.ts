import assert from "node:assert/strict";
import { load, simulate } from "../../mod.ts";
import { policies } from "../../policies/mod.ts";
import { encodings } from "../../sim/abi/mod.ts";
import { parseScenario } from "../../sim/scenario.ts";
import { workloads } from "../../workloads/mod.ts";

function encodingOf(encoding: unknown) {
  const scenario = parseScenario({ hintsim: 1, workload: "idle", encoding }, { policies, workloads });
  return { ...scenario.encoding, filled: scenario.filled.encoding };
}

Deno.test("a scenario gives an encoding its options, of their types, and keeps what it was given", () => {
  const { entry, options, filled } = encodingOf({ kind: "v5-heads", asPosted: true, garbage: 8 });
  assert.deepEqual(options, { asPosted: true, garbage: 8 });
  assert.deepEqual(filled, { kind: "v5-heads", asPosted: true, garbage: 8 });
  const posted = entry.create(options);
  assert.notDeepEqual(posted.encode([{ pfn: 1, count: 1 }]), entry.create({}).encode([{ pfn: 1, count: 1 }]));
  assert.equal(encodingOf("v5-heads").filled, "v5-heads");
  assert.deepEqual(encodingOf({ kind: "bitmap", granule: "2MiB" }).filled, { kind: "bitmap", granule: "2MiB" });
  assert.deepEqual(encodingOf({ kind: "v3-bitmap", window: "whole" }).options, {
    bitmaps: 32,
    window: "whole",
    asPosted: false,
  });
});

Deno.test("a scenario is refused an option that the encoding lacks, and values that are none", () => {
  const cases: [Record<string, unknown>, RegExp][] = [
    [{ kind: "v4-heads", asPosted: true }, /unknown key "asPosted"/],
    [{ kind: "v5-heads", asPosted: "yes" }, /"yes" is not true or false/],
    [{ kind: "v5-heads", asPosted: true, garbage: 64 }, /64/],
    [{ kind: "v5-heads", garbage: 8 }, /only asPosted has it/],
    [{ kind: "v3-bitmap", bitmaps: 33 }, /33/],
    [{ kind: "bitmap", granule: "1GiB" }, /1GiB/],
  ];
  for (const [encoding, message] of cases) assert.throws(() => encodingOf(encoding), { message });
});

const SCENARIO = {
  hintsim: 1,
  machine: { memory: "64MiB" },
  workload: { kind: "idle", duration: "2s" },
  policy: { kind: "single-batch", requests: { at: ["1s"] } },
};

Deno.test("a run in every encoding says the same pages", async () => {
  const sent = new Map<string, number>();
  for (const { name } of encodings) {
    const [{ summary, problems }] = simulate(await load({ ...SCENARIO, encoding: name }), { check: true });
    assert.deepEqual(problems, []);
    sent.set(name, Number(summary.sent_pages));
  }
  assert(sent.get("pfn-len")! > 0);
  for (const pages of sent.values()) assert.equal(pages, sent.get("pfn-len"), JSON.stringify([...sent]));
});
