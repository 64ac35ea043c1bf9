/** A policy is made once for each guest, starts once, comes to rest, and gives everything back when the run ends. */
import assert from "node:assert/strict";
import type { RunResult } from "../../../mod.ts";
import { parseOptions } from "../../../sim/core/options.ts";
import { BURSTS, type Case, rowsOf, runScenario, runUnder, SAFE, sumOf, tells, watch, withOptions } from "./machine.ts";

/** When a run without an end of its own is cut off, after its workload, ns (sim/machine.ts). */
const CUT_NS = 60e9;

/** Times after the request at 2 s, at the pass, in it and behind it. */
const ENDS = ["2000001us", "2000003us", "2000020us", "2000100us", "2000500us", "2003000us"];

/** The cases of this file. */
export const lifecycle: readonly Case[] = [
  {
    name: "is made and started once for each guest, and comes to rest",
    run: async (plugin) => {
      const { plugin: watched, made, startsNs } = watch(plugin);
      const guest = { ...BURSTS, policy: withOptions(watched, SAFE) };
      const { summary, finding } = await runScenario(watched, { guests: [{ count: 2, ...guest }] });
      assert.equal(finding, undefined);
      assert.deepEqual([made.length, startsNs], [2, [0, 0]]);
      assert.notEqual(made[0], made[1]);
      assert.ok(Number(summary.sim_time_ns) < CUT_NS, "it never came to rest and the run was cut off");
      for (const policy of made) assert.notEqual(policy.idle?.(), false);
    },
  },
  {
    name: "gives memory back in the end, and the last row is the end",
    run: async (plugin) => {
      const result = await runUnder(plugin, {});
      if (tells(plugin)) assert.ok(Number(result.summary.returned_bytes) > 0);
      const rows = rowsOf(result);
      assert.equal(rows[rows.length - 1].event, "end");
      assert.equal(rows.filter(({ event }) => event === "end").length, 1);
    },
  },
  {
    name: "ends in the middle of a pass with every block back and every send answered",
    run: async (plugin) => {
      const { plugin: watched, made } = watch(plugin);
      for (const until of ENDS) {
        const result = await runUnder(watched, { until }, { options: { ...SAFE, requests: { at: ["2s"] } } });
        const count = (event: string) => rowsOf(result, event).length;
        assert.equal(count("send"), count("ack"), until);
        assert.equal(sumOf(rowsOf(result, "isolate"), "pages"), sumOf(rowsOf(result, "put_back"), "pages"), until);
        const { isolated_bytes, held_bytes } = result.samples;
        assert.equal(isolated_bytes.at(-1), 0, until);
        // A balloon keeps what it holds; everybody else gives it back.
        if (made.at(-1)!.keepsHeld !== true) assert.equal(held_bytes.at(-1), 0, until);
        assert.ok(Number(result.summary.sim_time_ns) >= 2_000_001_000);
      }
    },
  },
  {
    name: "two guests do not disturb each other",
    run: async (plugin) => {
      const guest = { ...BURSTS, policy: withOptions(plugin, SAFE) };
      const quiet = { ...BURSTS, policy: "none" };
      const both = await runScenario(plugin, { guests: [guest, guest] });
      // Beside a guest that tells the host nothing each does the same, row by row.
      checkSameRows(both, await runScenario(plugin, { guests: [guest, quiet] }), 0);
      checkSameRows(both, await runScenario(plugin, { guests: [quiet, guest] }), 1);
    },
  },
  {
    name: "its options have defaults that it takes, and its counters are finite numbers with plain names",
    run: async (plugin) => {
      parseOptions(plugin.options, {}, []);
      const { plugin: watched, made } = watch(plugin);
      await runUnder(watched, {});
      for (const [name, value] of Object.entries(made[0].counters?.() ?? {})) {
        assert.match(name, /^[a-z][a-z0-9]*(_[a-z0-9]+)*$/);
        assert.ok(Number.isFinite(value) && value >= 0, `${name} is ${value}`);
      }
    },
  },
];

/** Two runs have the same rows of a guest. */
function checkSameRows(one: RunResult, other: RunResult, guest: number): void {
  const of = (result: RunResult) =>
    rowsOf(result).filter((row) => row.guest === guest).map(({ index: _, ...row }) => JSON.stringify(row));
  const [rows, others] = [of(one), of(other)];
  const at = rows.findIndex((row, index) => row !== others[index]);
  assert.ok(at < 0, `guest ${guest}: ${rows[at]} is not ${others[at]}`);
  assert.equal(rows.length, others.length);
}
