/** A host that refuses to drop anything, and one that takes its time. */
import assert from "node:assert/strict";
import { type Case, hasKey, rowsOf, runUnder } from "./machine.ts";

/** The cases of this file. */
export const host: readonly Case[] = [
  {
    name: "a host that refuses to drop pages answers all the same",
    appliesTo: () => hasKey("host", "inhibit"),
    run: async (plugin) => {
      const result = await runUnder(plugin, { host: { inhibit: true } });
      const { summary } = result;
      assert.deepEqual([summary.discarded_pages, summary.refault_pages, summary.violations], [0, 0, 0]);
      assert.equal(rowsOf(result, "ack").length, summary.messages);
    },
  },
  ...["1ms", "300ms"].map((delay): Case => ({
    name: `a host that takes ${delay} for a message delays it and nothing else`,
    appliesTo: () => hasKey("host", "delay"),
    run: async (plugin) => {
      const result = await runUnder(plugin, { host: { delay }, until: "20s" });
      assert.equal(result.summary.violations, 0);
      const sentNs = new Map(rowsOf(result, "send").map(({ message, timeNs }) => [message, timeNs]));
      const delayNs = delay === "1ms" ? 1e6 : 300e6;
      for (const { message, timeNs } of rowsOf(result, "ack")) {
        assert.ok(timeNs - sentNs.get(message)! >= delayNs, `message ${message} was answered too early`);
      }
      assert.equal(rowsOf(result, "ack").length, sentNs.size);
    },
  })),
];
