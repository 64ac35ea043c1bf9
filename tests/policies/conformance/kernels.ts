/** Both kernels, with and without lists of each CPU, with and without watermarks that hold allocations back. */
import assert from "node:assert/strict";
import { kernels as versions } from "../../../sim/guest/kernels.ts";
import { BURSTS, type Case, type Raw, runUnder, tells } from "./machine.ts";

const FLAGS = [false, true];

/** The cases of this file. */
export const kernels: readonly Case[] = versions.flatMap(({ version }) =>
  FLAGS.flatMap((perCpu) =>
    FLAGS.map((keepMarks): Case => ({
      name: `runs on Linux ${version} with perCpu ${perCpu} and keepMarks ${keepMarks}`,
      run: async (plugin) => {
        const machine = { ...(BURSTS.machine as Raw), kernel: version, perCpu, keepMarks };
        const { summary } = await runUnder(plugin, { machine });
        assert.equal(summary.violations, 0);
        if (tells(plugin)) assert.ok(Number(summary.returned_bytes) > 0);
      },
    }))
  )
);
