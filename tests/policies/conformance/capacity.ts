/** What limits a message: the encoding, the ring, the driver's buffer. */
import assert from "node:assert/strict";
import { NONE } from "../../../sim/core/trace.ts";
import { encodings } from "../../../sim/abi/mod.ts";
import { HUGE_PAGES } from "../../../sim/memory/range.ts";
import { DESCRIPTOR_BYTES_MAX } from "../../../sim/virtio/transport.ts";
import { type Case, hasOption, type Raw, rowsOf, runUnder, SAFE, slow, sumOf } from "./machine.ts";

/** Sizes of a ring; the slow tier has all. */
const RINGS = slow ? [1, 2, 8, 128] : [1, 8];

/** Smallest buffer of the policies that walk lists, bytes. */
const BUFFER_BYTES = 8192;

/** Free pages that no buddy joins: every other block of an order of its own is in use when the request comes at 2 s. */
const FRAGMENTED: Raw = {
  machine: { memory: "64MiB", vcpus: 2, thp: false },
  workload: {
    kind: "churn",
    occupancy: 0.5,
    orders: { 0: 1 },
    lifetime: { mean: "200ms" },
    duration: "1s",
  },
  until: "3s",
};

function ring(size: number, encoding: string): Case {
  return {
    name: `a message fits the encoding and a ring of ${size} in ${encoding}`,
    run: async (plugin) => {
      const result = await runUnder(plugin, { encoding, transport: { kind: "virtqueue", size } });
      const { messageMax } = encodings.find(({ name }) => name === encoding)!.create({});
      const limit = Math.min(messageMax, size * DESCRIPTOR_BYTES_MAX);
      for (const { message, bytes } of rowsOf(result, "send")) {
        assert.ok(bytes <= limit, `message ${message} has ${bytes} bytes, more than ${limit}`);
      }
      // Scattered, each range is a descriptor of its own.
      if (encoding !== "sg") return;
      const ranges = new Map<number, number>();
      for (const { message } of rowsOf(result, "discard", "skip")) {
        if (message !== NONE) ranges.set(message, (ranges.get(message) ?? 0) + 1);
      }
      for (const [message, count] of ranges) assert.ok(count <= size, `message ${message} has ${count} ranges`);
    },
  };
}

/** The cases of this file. */
export const capacity: readonly Case[] = [
  ...RINGS.flatMap((size) =>
    ["pfn-list", "sg"].filter((name) => encodings.some((one) => one.name === name)).map((name) => ring(size, name))
  ),
  {
    name: "what the encoding cannot say is left out, and the policy comes to rest all the same",
    run: async (plugin) => {
      const encoding = { kind: "bitmap", granule: "2MiB" };
      const result = await runUnder(plugin, { ...FRAGMENTED, until: "20s", encoding }, {
        options: { ...SAFE, requests: { at: ["2s"] }, order: 3, delay: "100ms" },
      });
      assert.equal(result.summary.violations, 0);
      for (const { pfn, pages } of rowsOf(result, "discard", "skip")) {
        assert.deepEqual([pfn % HUGE_PAGES, pages % HUGE_PAGES], [0, 0]);
      }
      // The workload ended at 1 s and the only request came at 2 s: nothing is left to say after 10 s.
      const late = rowsOf(result, "pass", "isolate").filter(({ timeNs }) => timeNs > 10e9);
      assert.equal(late.length, 0, `${late.length} passes and isolations after 10 s`);
    },
  },
  {
    name: "a buffer smaller than the message makes more messages for the same pages",
    appliesTo: (plugin) => hasOption(plugin, "bufferMax") && hasOption(plugin, "requests"),
    run: async (plugin) => {
      const under = (bufferMax: number) =>
        runUnder(plugin, FRAGMENTED, { options: { ...SAFE, requests: { at: ["2s"] }, bufferMax } });
      const [small, large] = [await under(BUFFER_BYTES), await under(4 * 2 ** 20)];
      const [sent, sentAtOnce] = [rowsOf(small, "send"), rowsOf(large, "send")];
      assert.ok(sentAtOnce.length > 0);
      assert.equal(sumOf(sent, "pages"), sumOf(sentAtOnce, "pages"));
      for (const { bytes } of sent) assert.ok(bytes <= BUFFER_BYTES, `${bytes} bytes in a buffer of ${BUFFER_BYTES}`);
      if (sentAtOnce.some(({ bytes }) => bytes > BUFFER_BYTES)) assert.ok(sent.length > sentAtOnce.length);
      assert.equal(small.summary.violations, 0);
    },
  },
];
