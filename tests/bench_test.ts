/** The harness of the bench: its statistics, and that the compared programs compute the same at tiny sizes. */
import assert from "node:assert/strict";
import { alloc } from "../bench/alloc.ts";
import { csv } from "../bench/csv.ts";
import { engine } from "../bench/engine.ts";
import { combine, type Comparison, evaluate, measure, meets, type Output, spreadOf } from "../bench/harness.ts";
import { setupOf } from "../bench/main.ts";
import { queue } from "../bench/queue.ts";
import { tableOf } from "../bench/report.ts";

Deno.test("a spread has the middle value and both ends, whatever the order", () => {
  assert.deepEqual(spreadOf([3]), { median: 3, low: 3, high: 3 });
  assert.deepEqual(spreadOf([9, 1, 10]), { median: 9, low: 1, high: 10 });
  assert.deepEqual(spreadOf([4, 1, 3, 2]), { median: 2.5, low: 1, high: 4 });
  assert.throws(() => spreadOf([]), RangeError);
});

Deno.test("figures are made of two values as their kind says", () => {
  assert.equal(combine("faster", 2, 6, 1), 3);
  assert.equal(combine("share", 2, 8, 1), 0.25);
  assert.equal(combine("over", 70, 60, 1), 10);
  assert.equal(combine("value", 7, 7, 1), 7);
  assert.equal(combine("scaling", 10, 10, 2), 2);
});

Deno.test("a goal is met up to and including its bound", () => {
  assert.ok(meets(1.7, { atLeast: 1.7 }) && !meets(1.69, { atLeast: 1.7 }));
  assert.ok(meets(0.4, { atMost: 0.4 }) && !meets(0.41, { atMost: 0.4 }));
});

const output = (ns: number): Output => ({ checksum: "1", figures: { ns } });
const CASE = {
  name: "case",
  sameChecksum: true,
  programs: [{ name: "ours", command: ["a"] }, { name: "theirs", command: ["b"] }],
  figures: [
    {
      name: "f",
      field: "ns",
      of: "ours",
      against: "theirs",
      kind: "faster",
      unit: "ns",
      goal: { atLeast: 2 },
    } as const,
    { name: "g", field: "ns", of: "ours", against: "absent", kind: "faster", unit: "ns" } as const,
  ],
};

Deno.test("a ratio is the median of the ratios of the rounds, and a program that did not run drops its figures", () => {
  // The machine became ten times slower between the rounds: the ratios did not.
  const rounds = { ours: [10, 100, 11].map(output), theirs: [30, 300, 22].map(output) };
  const [one, ...others] = evaluate(CASE, rounds);
  assert.deepEqual(others, []);
  assert.deepEqual(one.spread, { median: 3, low: 2, high: 3 });
  assert.equal(one.met, true);
  assert.match(tableOf([{ title: "t", cases: [{ name: "case", rounds, measured: [one] }] }]), /3\.00×.*≥ 2.*met/);
});

Deno.test("a case fails when checksums differ, or when a program fails", async () => {
  const print = (text: string) => [Deno.execPath(), "eval", `console.log('${text}')`];
  const programs = (theirs: readonly string[]) => [
    { name: "ours", command: print('{"checksum":"1","figures":{"ns":1}}') },
    { name: "theirs", command: theirs },
  ];
  const different = { ...CASE, programs: programs(print('{"checksum":"2","figures":{"ns":1}}')) };
  await assert.rejects(measure(different, 1, () => {}), /checksums differ: ours 1, theirs 2/);
  const failing = { ...CASE, programs: programs([Deno.execPath(), "eval", "throw new Error('broken')"]) };
  await assert.rejects(measure(failing, 1, () => {}), /theirs:[^]*broken/);
});

for (const comparison of [queue, engine, alloc, csv] as readonly Comparison[]) {
  Deno.test(`${comparison.key}: all baselines that are installed compute what we do`, async () => {
    const folder = Deno.makeTempDirSync();
    try {
      const { setup } = setupOf("tiny", folder, "");
      for (const one of comparison.cases(setup)) {
        const { rounds } = await measure(one, 1, () => {});
        for (const { name, command } of one.programs) assert.equal(rounds[name]?.length, command && 1);
      }
    } finally {
      Deno.removeSync(folder, { recursive: true });
    }
  });
}
