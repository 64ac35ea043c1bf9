import assert from "node:assert/strict";
import { CliFolder, REPOSITORY } from "./run_cli.ts";

/** Runs `deno task …` as a user does, from another folder. */
async function task(words: readonly string[], cwd: string): Promise<{ code: number; out: string; err: string }> {
  const args = ["task", "--quiet", "--config", `${REPOSITORY}/deno.json`, ...words];
  // The tests themselves may run in a task, which tells its tasks where the user was.
  const env: Record<string, string> = { ...Deno.env.toObject(), NO_COLOR: "1" };
  delete env.INIT_CWD;
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), { args, cwd, clearEnv: true, env }).output();
  return { code, out: new TextDecoder().decode(stdout), err: new TextDecoder().decode(stderr) };
}

Deno.test("--help of every command runs under the permissions of the task", async () => {
  using folder = new CliFolder();
  for (const words of [[], ["run"], ["list"], ["check"], ["trace"], ["trace", "verify"]]) {
    const { code, out, err } = await task(["sim", ...words, "--help"], folder.path);
    assert.equal(code, 0, err);
    assert.match(out, /^Usage: sim /);
    assert.equal(err, "");
  }
});

Deno.test("relative paths are those of the user's folder; the task sim writes below out/ only and says what works", async () => {
  using folder = new CliFolder();
  folder.write("mine.yaml", "hintsim: 1\nname: task-test\nworkload: {kind: idle, duration: 1ms}\n");
  const refused = await task(["sim", "mine.yaml", "--out", "here"], folder.path);
  assert.equal(refused.code, 2);
  assert.equal(
    refused.err.trimEnd().split("\n").at(-1),
    "here: the task sim writes only below out/; this works: deno task sim:any mine.yaml --out here",
  );
  const { code, err } = await task(["sim:any", "mine.yaml", "--out", "here"], folder.path);
  assert.equal(code, 0, err);
  assert.ok(folder.list("here").includes("summary.csv"));
});

Deno.test("a wrong scenario is one sentence and status 2 in the task, too", async () => {
  using folder = new CliFolder();
  folder.write("bad.yaml", "hintsim: 1\nworkload: {kind: churnn}\n");
  const { code, err } = await task(["sim", "bad.yaml"], folder.path);
  assert.equal(code, 2);
  assert.equal(err, 'bad.yaml:2:18: workload.kind: unknown workload "churnn"; did you mean churn?\n');
});

Deno.test("mod.ts bundles for the browser, without a node: import and without Deno", async () => {
  using folder = new CliFolder();
  const target = `${folder.path}/hintsim.js`;
  const args = ["bundle", "--quiet", "--platform", "browser", "--output", target, `${REPOSITORY}/mod.ts`];
  const { code, stderr } = await new Deno.Command(Deno.execPath(), { args, cwd: REPOSITORY }).output();
  assert.equal(code, 0, new TextDecoder().decode(stderr));
  const bundle = folder.read("hintsim.js");
  assert.ok(bundle.length > 100_000);
  assert.doesNotMatch(bundle, /["'`]node:/);
  assert.doesNotMatch(bundle, /\bDeno\s*[.[]/);
});
