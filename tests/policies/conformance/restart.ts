/** A run depends on its scenario alone: not on runs before it, other policies made, or the steps of the engine. */
import assert from "node:assert/strict";
import { type Case, runUnder, SAFE } from "./machine.ts";

/** The cases of this file. */
export const restart: readonly Case[] = [
  {
    name: "runs the same a second time, after another run and in other steps",
    run: async (plugin) => {
      const first = await runUnder(plugin, {});
      const other = await runUnder(plugin, { seed: 2 }, {
        options: { ...SAFE, requests: { every: "77ms" }, order: 5 },
      });
      const second = await runUnder(plugin, {}, { slice: 97 });
      assert.notEqual(other.fingerprint, first.fingerprint);
      assert.equal(second.fingerprint, first.fingerprint);
      assert.deepEqual(second.summary, first.summary);
    },
  },
];
