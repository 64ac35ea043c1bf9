/** Memory is needed while the driver has it, memory comes and goes, a guest is tiny, and everything happens at once. */
import assert from "node:assert/strict";
import type { RunResult } from "../../../mod.ts";
import type { PolicyPlugin } from "../../../sim/guest/plugin.ts";
import { ORDER_PAGES } from "../../../sim/memory/range.ts";
import {
  type Case,
  type Raw,
  type Row,
  rowsOf,
  runScenario,
  runUnder,
  SAFE,
  sumOf,
  tells,
  watch,
  withOptions,
} from "./machine.ts";

/** Nearly all memory is in use, is freed in large blocks and wanted again a few microseconds later. */
const TIGHT: Raw = {
  machine: { memory: "64MiB", vcpus: 2, thp: false },
  workload: {
    kind: "storm",
    occupancy: 0.95,
    orders: { 0: 2, 3: 2, 9: 4 },
    burst: 4,
    gap: "5us",
    interval: "100us",
    duration: "20ms",
  },
};

/** The guest would use all of its memory on the mean, and more half of the time. */
const TOO_MUCH: Raw = {
  machine: TIGHT.machine,
  workload: {
    kind: "churn",
    occupancy: 1,
    orders: { 0: 90, 3: 9, 9: 1 },
    lifetime: { mean: "5ms" },
    duration: "20ms",
  },
};

/** Columns of the samples that together are what the guest has. */
const PARTS = ["free_bytes", "used_bytes", "isolated_bytes", "held_bytes", "pcp_bytes"];

/** Every policy at its most eager. */
const EAGER: Raw = { ...SAFE, requests: { every: "100us" }, delay: "50us", order: 3 };

/**
 * An allocation that fails for good has a reason: the guest had not so many free pages, or not in one piece; and the driver
 * had nothing that was about to come back (docs/decisions/guest-waits.md).
 */
function checkFailures(result: RunResult, keepsHeld: boolean): void {
  const there = { isolate: 1, put_back: -1, hold: keepsHeld ? 0 : 1, release: keepsHeld ? 0 : -1 };
  let withDriver = 0;
  for (const { event, pages, timeNs } of rowsOf(result, "isolate", "put_back", "hold", "release", "alloc_fail")) {
    if (event === "alloc_fail") {
      assert.equal(withDriver, 0, `an allocation failed at ${timeNs} ns beside the driver's pages`);
    } else withDriver += pages * there[event as keyof typeof there];
  }
}

/** Runs a guest short of memory: nothing is lost, and what fails has a reason. */
async function checkPressure(plugin: PolicyPlugin, guest: Raw, keepMarks: boolean): Promise<RunResult> {
  const { plugin: watched, made } = watch(plugin);
  const machine = { ...(guest.machine as Raw), keepMarks };
  const result = await runUnder(watched, { ...guest, machine }, { options: EAGER });
  assert.equal(result.summary.violations, 0);
  checkFailures(result, made[0].keepsHeld === true);
  const total = (at: number) => PARTS.reduce((sum, part) => sum + result.samples[part].at(at)!, 0);
  assert.equal(total(-1), total(0));
  return result;
}

/** Between the time of a message's `send` and its `ack`: the middle of the first message of a run that is long enough. */
function middleOfMessage(rows: readonly Row[], fromNs: number): number | undefined {
  const sent = rows.find(({ event, timeNs }) => event === "send" && timeNs >= fromNs);
  const answered = rows.find(({ event, message }) => event === "ack" && message === sent?.message);
  return sent === undefined || answered === undefined ? undefined : Math.floor((sent.timeNs + answered.timeNs) / 2);
}

/** Sections of 128 MiB that came early can go again. */
const PLUGGABLE: Raw = {
  machine: { memory: "256MiB", vcpus: 2, thp: false },
  workload: {
    kind: "fill-drain",
    cycles: 1,
    occupancy: 0.6,
    orders: { 0: 50, 9: 50 },
    fill: "50ms",
    hold: "50ms",
    drain: "50ms",
    pause: "3s",
  },
  until: "6s",
};

const COMES_EARLY: Raw = { at: "1ms", add: "256MiB", zone: "movable" };

/** A run in which memory comes or goes in the middle of the first message after 10 ms; undefined when there is none. */
async function plugsInMessage(plugin: PolicyPlugin, change: Raw): Promise<RunResult | undefined> {
  const options = { ...SAFE, requests: { at: ["300ms", "4s"] } };
  const under = (hotplug: readonly Raw[]) =>
    runUnder(plugin, { ...PLUGGABLE, machine: { ...(PLUGGABLE.machine as Raw), hotplug } }, { options });
  const atNs = middleOfMessage(rowsOf(await under([COMES_EARLY]), "send", "ack"), 10e6);
  return atNs === undefined ? undefined : await under([COMES_EARLY, { at: `${atNs}ns`, ...change }]);
}

/** The cases of this file. */
export const pressure: readonly Case[] = [
  ...[false, true].map((keepMarks): Case => ({
    name: `memory that the driver has is needed back${keepMarks ? ", above the watermarks" : ""}`,
    run: async (plugin) => void await checkPressure(plugin, TIGHT, keepMarks),
  })),
  {
    name: "more memory is wanted than there is",
    run: async (plugin) => {
      const result = await checkPressure(plugin, TOO_MUCH, true);
      assert.ok(Number(result.summary.alloc_fails) > 0, "the guest was not short of memory");
    },
  },
  {
    name: "a storm of requests and of allocations does not break it",
    run: async (plugin) => {
      const { summary } = await runUnder(plugin, {
        machine: { memory: "64MiB", vcpus: 4, thp: false },
        workload: { kind: "storm", occupancy: 0.8, duration: "20ms", interval: "20us" },
      }, { options: { ...EAGER, delay: "100us" } });
      assert.equal(summary.violations, 0);
    },
  },
  {
    name: "a request each microsecond finds the driver busy and changes nothing but the number of passes",
    appliesTo: (plugin) => plugin.needs.includes("requests"),
    run: async (plugin) => {
      const result = await runUnder(plugin, { ...TIGHT, until: "5ms" }, {
        options: { ...SAFE, requests: { every: "1us" } },
      });
      const { summary } = result;
      assert.equal(summary.violations, 0);
      // 5 ms are 4999 requests: each is answered, dropped, or taken as a command; a pass takes longer than a microsecond.
      assert.ok(Number(summary.passes) + Number(summary.dropped_requests) <= 4999);
      assert.ok(Number(summary.passes) < 4999);
    },
  },
  {
    name: "memory comes while a message travels",
    run: async (plugin) => {
      const result = await plugsInMessage(plugin, { add: "128MiB" });
      if (result === undefined) return assert.ok(!tells(plugin));
      assert.equal(sumOf(rowsOf(result, "online_pages"), "pages"), 3 * 2 ** 15);
      assert.equal(result.summary.violations, 0);
    },
  },
  {
    name: "memory goes while a message travels",
    run: async (plugin) => {
      const result = await plugsInMessage(plugin, { remove: "128MiB" });
      if (result === undefined) return assert.ok(!tells(plugin));
      // What the driver has just then cannot go, and stays as a whole.
      const gone = sumOf(rowsOf(result, "offline_pages"), "pages");
      assert.ok(gone === 2 ** 15 || (gone === 0 && rowsOf(result, "offline_fail").length > 0), `${gone} pages went`);
      assert.equal(result.summary.violations, 0);
    },
  },
  {
    name: "a guest of 1 MiB works",
    run: async (plugin) => {
      const result = await runScenario(plugin, {
        machine: { memory: "1MiB", vcpus: 1, thp: false },
        workload: {
          kind: "fill-drain",
          cycles: 2,
          occupancy: 0.5,
          orders: { 0: 1 },
          fill: "1ms",
          hold: "1ms",
          drain: "1ms",
          pause: "1s",
        },
        policy: withOptions(plugin, { ...EAGER, delay: "10ms", order: 0, requests: { every: "100ms" } }),
      });
      assert.equal(result.finding, undefined);
      assert.equal(result.summary.violations, 0);
      // 256 pages: no block has more.
      for (const { order } of rowsOf(result, "isolate", "hold")) assert.ok(ORDER_PAGES[order] <= 256);
    },
  },
];
