/** The conformance suite: one list of cases for every policy, in the registry or outside of it. */
import assert from "node:assert/strict";
import type { PolicyPlugin } from "../../../sim/guest/plugin.ts";
import { capacity } from "./capacity.ts";
import { conservation } from "./conservation.ts";
import { host } from "./host.ts";
import { kernels } from "./kernels.ts";
import { lifecycle } from "./lifecycle.ts";
import type { Case } from "./machine.ts";
import { pressure } from "./pressure.ts";
import { restart } from "./restart.ts";
import { swappable } from "./swappable.ts";

/** All cases. */
export const cases: readonly Case[] = [
  ...lifecycle,
  ...conservation,
  ...capacity,
  ...pressure,
  ...host,
  ...restart,
  ...kernels,
  ...swappable,
];

/** Whether a case says something about a policy. */
export function applies(plugin: PolicyPlugin, one: Case): boolean {
  return one.appliesTo?.(plugin) ?? true;
}

/** Runs a case; one that the policy skips has to fail, so that no skip outlives its reason. */
export async function conform(plugin: PolicyPlugin, one: Case): Promise<void> {
  const skipped = plugin.skip?.find((skip) => skip.case === one.name);
  if (skipped === undefined) return await one.run(plugin);
  try {
    await one.run(plugin);
  } catch {
    return;
  }
  assert.fail(`${plugin.name} passes in spite of its skip (${skipped.reason}): the skip can go`);
}

/** What is wrong with the skips of a policy: names that no case has, a case twice, no reason. */
export function skipProblems(plugin: PolicyPlugin, known: readonly Case[] = cases): string[] {
  const skips = plugin.skip ?? [];
  return skips.flatMap(({ case: name, reason }, index) => {
    const problems: string[] = [];
    if (!known.some((one) => one.name === name)) problems.push(`there is no case ${JSON.stringify(name)}`);
    if (skips.findIndex((one) => one.case === name) < index) problems.push(`${JSON.stringify(name)} is skipped twice`);
    if (reason.trim() === "") problems.push(`${JSON.stringify(name)} is skipped without a reason`);
    return problems;
  });
}
