import assert from "node:assert/strict";
import { policies } from "../../policies/mod.ts";
import { workloads } from "../../workloads/mod.ts";
import { userKinds } from "../../workloads/users/mod.ts";
import type { Field } from "../../sim/core/options.ts";
import { CliFolder, REPOSITORY } from "./run_cli.ts";

Deno.test("list policies shows every policy with summary, source, needs, options and their sources", async () => {
  using folder = new CliFolder();
  const { status, out } = await folder.run(["list", "policies"]);
  assert.equal(status, 0);
  const parts = out.trimEnd().split(/\n(?=[a-z0-9-]+: )/);
  assert.equal(parts.length, policies.length);
  for (const [index, { name, summary, source, needs, options }] of policies.entries()) {
    const lines = parts[index].trimEnd().split("\n");
    assert.deepEqual(lines.slice(0, 2), [`${name}: ${summary}`, `    source: ${source}`]);
    for (const need of needs) assert.ok(lines.includes(`    needs: ${need}`), name);
    for (const [option, field] of Object.entries(options.fields as Readonly<Record<string, Field>>)) {
      const line = lines.find((one) => one.startsWith(`    ${option} `) || one.startsWith(`    ${option}:`));
      assert.ok(line !== undefined, `${name} lacks ${option}`);
      assert.ok(line.includes(field.summary) && line.includes(`[${field.source}]`), line);
      if (field.default !== undefined) assert.ok(line.includes(` = ${JSON.stringify(field.default)}`), line);
      if (field.unit !== "") assert.ok(line.includes(`(a plain number is ${field.unit})`), line);
    }
  }
});

Deno.test("list policies --json has all of it: choices, units, needs and skips", async () => {
  using folder = new CliFolder();
  const { out } = await folder.run(["list", "policies", "--json"]);
  const listed = JSON.parse(out);
  assert.deepEqual(listed.map(({ name }: { name: string }) => name), policies.map(({ name }) => name));
  for (const [index, { summary, source, needs, options, skip }] of policies.entries()) {
    const one = listed[index];
    assert.deepEqual([one.summary, one.source, one.needs, one.skip], [summary, source, needs, skip ?? []]);
    assert.deepEqual(one.options.map(({ name }: { name: string }) => name), Object.keys(options.fields));
  }
  const perOrder = listed.find(({ name }: { name: string }) => name === "per-order");
  assert.deepEqual(perOrder.options[0].choices, ["skip", "reclaim"]);
  const reporting = listed.find(({ name }: { name: string }) => name === "free-page-reporting");
  const capacity = reporting.options.find(({ name }: { name: string }) => name === "capacity");
  assert.deepEqual([capacity.default, capacity.unit], [32, "blocks"]);
});

Deno.test("a skip of the conformance suite is listed with its reason", async () => {
  using folder = new CliFolder();
  const skip = [{ case: "a guest of 1 MiB works", reason: "its blocks are larger" }];
  const registries = { policies: [{ ...policies[0], skip }], workloads };
  const { out } = await folder.run(["list", "policies"], REPOSITORY, registries);
  assert.equal(
    out,
    `none: the guest tells the host nothing
    source: baseline
    skips the case a guest of 1 MiB works: its blocks are larger
`,
  );
  const { out: json } = await folder.run(["list", "policies", "--json"], REPOSITORY, registries);
  assert.deepEqual(JSON.parse(json)[0].skip, skip);
});

Deno.test("list users shows every kind of user of a guest that lives, with what all of them take", async () => {
  using folder = new CliFolder();
  const { out } = await folder.run(["list", "users", "--json"]);
  const listed: { name: string; options: { name: string; default?: unknown }[] }[] = JSON.parse(out);
  assert.deepEqual(listed.map(({ name }) => name), userKinds.map(({ kind }) => kind));
  for (const [index, { options }] of userKinds.entries()) {
    const names = listed[index].options.map(({ name }) => name);
    assert.deepEqual(names, [...Object.keys(options.fields), "cpus", "keep", "from", "until"]);
  }
  const { out: text } = await folder.run(["list", "users"]);
  assert.match(text, /^drop-caches: drops caches once$/m);
  assert.match(text, /^ {4}at = "0s" \(a plain number is ns\): when, from the start of the phase \[hintsim\]$/m);
});
