/** Nothing is lost and pages are conserved, over every transport and in every encoding. */
import assert from "node:assert/strict";
import type { RunResult } from "../../../mod.ts";
import { type Encoding, encodings } from "../../../sim/abi/mod.ts";
import type { PolicyPlugin } from "../../../sim/guest/plugin.ts";
import { BACKINGS } from "../../../sim/host/backing.ts";
import { type Case, hasKey, type Raw, rowsOf, runUnder, SAFE, slow, takes, tells } from "./machine.ts";

/** Ways to the host by name. */
export const TRANSPORTS: Readonly<Record<string, Raw>> = {
  "a queue of 128": { kind: "virtqueue", size: 128 },
  "a queue of one descriptor": { kind: "virtqueue", size: 1 },
  "a queue of two": { kind: "virtqueue", size: 2 },
  "a queue with flags": { kind: "virtqueue", size: 8, eventIndex: false },
  "a hypercall": { kind: "hypercall" },
  ...(hasKey("transport", "packed") ? { "a packed queue": { kind: "virtqueue", size: 8, packed: true } } : {}),
};

/** The transports over which every encoding is tried; the others carry the default one. */
const FOR_ALL_ENCODINGS = ["a queue of 128", "a queue of one descriptor", ...(slow ? ["a hypercall"] : [])];

/** Virtual machine monitors whose queues are known. */
const PRESETS = ["qemu-7.2", "firecracker", "cloud-hypervisor", "crosvm"]
  .filter((preset) => takes(preset, "transport", "preset"));

/** What holds for messages and their notifications in every run. */
function checkMessages(plugin: PolicyPlugin, result: RunResult, transport: Raw): void {
  const { summary } = result;
  const messages = Number(summary.messages);
  assert.equal(summary.violations, 0);
  if (!tells(plugin)) assert.equal(messages, 0);
  else {
    const told = Number(summary.returned_bytes) > 0 || Number(summary.unencodable_blocks) > 0;
    assert.ok(told, `returned ${summary.returned_bytes}, and every block could be said`);
  }
  assert.equal(rowsOf(result, "ack").length, messages);
  if (transport.kind === "hypercall") assert.deepEqual([summary.kicks, summary.interrupts], [0, 0]);
  else if (asleepForEach(result)) assert.equal(summary.interrupts, messages);
  else assert.ok(Number(summary.interrupts) <= messages);
  assert.ok(Number(summary.kicks) <= messages);
}

/** Whether the driver sends one message at a time and sleeps until its answer: then each is one interrupt. */
function asleepForEach(result: RunResult): boolean {
  if (Number(result.summary.busy_wait_ns) > 0 || Number(result.summary.interrupts) === 0) return false;
  let travelling = 0;
  for (const { event } of rowsOf(result, "send", "ack")) {
    travelling += event === "send" ? 1 : -1;
    if (travelling > 1) return false;
  }
  return true;
}

function carried(transport: string, encoding: string): Case {
  return {
    name: `loses nothing and conserves pages over ${transport} in ${encoding}`,
    run: async (plugin) => {
      const settings = TRANSPORTS[transport];
      checkMessages(plugin, await runUnder(plugin, { encoding, transport: settings }), settings);
    },
  };
}

/** Whether a message of the encoding fits into the queue at all; the assembly refuses it elsewhere. */
function fits(encoding: Encoding, { size = 128 }: Raw): boolean {
  return (encoding.descriptors?.([{ pfn: 0, count: 512 }]).length ?? 1) <= Number(size);
}

/** The cases of this file. */
export const conservation: readonly Case[] = [
  ...Object.keys(TRANSPORTS).flatMap((transport) =>
    encodings.filter(({ name }) => name === "pfn-len" || FOR_ALL_ENCODINGS.includes(transport))
      .filter(({ create }) => fits(create({}), TRANSPORTS[transport]))
      .map(({ name }) => carried(transport, name))
  ),
  ...PRESETS.map((preset): Case => ({
    name: `loses nothing on the queues of ${preset}`,
    run: async (plugin) => {
      const transport = { kind: "virtqueue", preset };
      checkMessages(plugin, await runUnder(plugin, { transport }), transport);
    },
  })),
  ...BACKINGS.map((backing): Case => ({
    name: `loses nothing on a host with ${backing} memory`,
    run: async (plugin) => {
      const { summary } = await runUnder(plugin, { host: { backing } });
      assert.equal(summary.violations, 0);
    },
  })),
  {
    name: "skips as it reclaims: no page is dropped",
    run: async (plugin) => {
      const { summary } = await runUnder(plugin, {}, { options: { ...SAFE, action: "skip" } });
      assert.deepEqual([summary.discarded_pages, summary.refault_pages, summary.violations], [0, 0, 0]);
    },
  },
  {
    name: "samples add up: free, used, isolated, held and per-CPU pages are what the guest has",
    run: async (plugin) => {
      const { samples } = await runUnder(plugin, {
        machine: { memory: "256MiB", vcpus: 2, thp: false, perCpu: true },
        output: { sample: "10ms" },
      });
      const parts = ["free_bytes", "pcp_bytes", "isolated_bytes", "used_bytes", "held_bytes"];
      const sums = Array.from(samples.free_bytes, (_, i) => parts.reduce((sum, part) => sum + samples[part][i], 0));
      assert.deepEqual(new Set(sums).size, 1, `sums differ: ${[...new Set(sums)].join(", ")}`);
      for (const part of parts) assert.ok(samples[part].every((bytes) => bytes >= 0), `${part} below zero`);
    },
  },
];
