/**
 * The wish of the 2019 threads: a core that can be swapped. The same driver and the same wire run over a bitmap beside the
 * allocator and over flags inside of it; only who remembers what was told differs.
 */
import assert from "node:assert/strict";
import { type Case, choicesOf, hasOption, rowsOf, runUnder, SAFE } from "./machine.ts";

/** The cases of this file. */
export const swappable: readonly Case[] = [
  {
    name: "the driver and the wire are the same over every tracker",
    appliesTo: (plugin) => hasOption(plugin, "tracker"),
    run: async (plugin) => {
      const trackers = choicesOf(plugin, "tracker");
      assert.ok(trackers.length >= 2);
      const seen = [];
      for (const tracker of trackers) {
        const result = await runUnder(plugin, {}, { options: { ...SAFE, tracker } });
        const { summary } = result;
        assert.equal(summary.violations, 0, tracker);
        assert.ok(Number(summary.returned_bytes) > 0, tracker);
        const sent = rowsOf(result, "send");
        assert.deepEqual([summary.kicks, summary.interrupts], [sent.length, sent.length], tracker);
        seen.push({
          events: [...new Set(rowsOf(result).map(({ event }) => event))].sort(),
          // Bytes of a record: the wire does not know who remembers.
          recordBytes: Number(summary.payload_bytes) / Number(summary.ranges),
        });
      }
      for (const one of seen) assert.deepEqual(one, seen[0]);
    },
  },
];
