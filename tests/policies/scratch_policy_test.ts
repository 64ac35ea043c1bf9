/** Policies in files of their own: handed to the loader, or named by their path on the command line and in a scenario. */
import assert from "node:assert/strict";
import { load, type PolicyPlugin, simulate } from "../../mod.ts";
import { importPolicyFile } from "../../sim/cli/policy_file.ts";
import { CliFolder, parseCsv, REPOSITORY } from "../cli/run_cli.ts";
import { applies, cases, conform, skipProblems } from "./conformance/mod.ts";

/** The complete example of docs/adding-a-policy.md. */
function example(): string {
  const page = Deno.readTextFileSync(`${REPOSITORY}/docs/adding-a-policy.md`);
  return /^```ts file=my_policy\.ts\n([\s\S]*?)^```$/m.exec(page)![1];
}

/** A small policy: each free of a huge block is told at once, alone. `PASS` stands where it begins a pass. */
const EAGER = `import { duration, policyPlugin } from "hintsim";
import { RECLAIM } from "./action.ts";

export const eager = policyPlugin({
  name: "eager",
  summary: "each large free block is reported at once",
  source: "a test",
  options: { fields: { patience: duration("1ms", { summary: "from the free to the report" }) } },
  create: ({ driver, worker }, { patience }) => ({
    freeOrderMin: 9,
    onFree(zone, pfn, order) {
      worker.post(function* () {
        yield patience;
        if (zone.allocator.orderAt(pfn) !== order || zone.allocator.isReported(pfn, order)) return;
        driver.pass();
        if (!driver.isolate(zone, pfn, order)) return;
        yield driver.commit();
        const told = yield* driver.send(RECLAIM, [{ pfn, count: 2 ** order }]);
        driver.putBack(zone, pfn, order, told);
        yield driver.commit();
      });
    },
  }),
});
`;

const ACTION = `import type { HostAction } from "hintsim";\nexport const RECLAIM: HostAction = "reclaim";\n`;

const BURST = {
  hintsim: 1,
  machine: { memory: "256MiB" },
  workload: { kind: "fill-drain", cycles: 1, orders: { 9: 1 } },
};

/** The same as a file, with a policy. */
const scenario = (policy: string) =>
  `hintsim: 1
name: burst
machine: { memory: 256MiB }
workload: { kind: fill-drain, cycles: 1, orders: { 9: 1 } }
policy: ${policy}
`;

/** A folder with the small policy in it. */
function eagerFolder(): CliFolder {
  const folder = new CliFolder();
  folder.write("eager.ts", EAGER);
  folder.write("action.ts", ACTION);
  return folder;
}

Deno.test("a program hands a policy of its own to load()", async () => {
  using folder = eagerFolder();
  const { eager }: { eager: PolicyPlugin } = await import(`file://${folder.path}/eager.ts`);
  const input = { ...BURST, policy: { kind: "eager", patience: "2ms" } };
  const [run] = simulate(await load(input, { policies: [eager] }), { check: true });
  assert.deepEqual(run.problems, []);
  assert.ok(Number(run.summary.returned_bytes) > 0 && run.summary.violations === 0);
  assert.equal(run.summary.policy, "eager");
  const clash = { ...eager, name: "none" };
  await assert.rejects(load(BURST, { policies: [clash] }), {
    name: "LoadError",
    message: "there are two policies none; give one another name",
  });
  await assert.rejects(load({ ...BURST, policy: "./eager.ts" }), {
    name: "LoadError",
    message: "scenario: policy: ./eager.ts: is not imported here; a program hands policies of its own to load()",
  });
});

Deno.test("a path on the command line is meant against the user's folder, one in a scenario against the scenario", async () => {
  using folder = eagerFolder();
  Deno.mkdirSync(`${folder.path}/scenarios`);
  const bare = folder.write("scenarios/bare.yaml", scenario("none"));
  const args = ["--quiet", "--check", "--events", "none"];
  const line = await folder.run([bare, "--policy", "./eager.ts,none", ...args], folder.path);
  assert.equal(line.status, 0, line.err);
  const [run, none] = parseCsv(folder.read("out/burst/summary.csv"));
  // The run has the name of the policy and not of the file.
  assert.deepEqual([run.run, run.policy, none.policy], ["policy.kind=eager", "eager", "none"]);
  assert.ok(Number(run.returned_bytes) > 0);

  for (const policy of ["../eager.ts", "{ kind: ../eager.ts, patience: 1ms }", "{ kind: [../eager.ts, none] }"]) {
    const file = folder.write("scenarios/own.yaml", scenario(policy));
    const { status, err } = await folder.run([file, ...args], "/");
    assert.equal(status, 0, `${policy}: ${err}`);
    assert.equal(parseCsv(folder.read("out/burst/summary.csv"))[0].fingerprint, run.fingerprint, policy);
  }
});

Deno.test("inside of guests and as axes a path is a policy, too; a module is imported once", async () => {
  using folder = eagerFolder();
  const guest = "machine: {memory: 64MiB}, workload: idle";
  const guests =
    `hintsim: 1\nguests: [{${guest}, policy: ./eager.ts}, {${guest}, policy: {kind: [./eager.ts, none]}}]\n`;
  const { status, out, err } = await folder.run([folder.write("guests.yaml", guests), "--dry-run"]);
  assert.equal(status, 0, err);
  const names = out.trimEnd().split("\n").slice(1).map((row) => row.split(" ")[0]);
  assert.deepEqual(names, ["guests.1.policy.kind=eager", "guests.1.policy.kind=none"]);
  const file = folder.write("axis.yaml", scenario("{ axis: [{ kind: ./eager.ts, patience: 2ms }, none] }"));
  const set = ["--set", "policy.patience=1ms,2ms", "--set", "policy.kind=./eager.ts"];
  assert.equal((await folder.run([file, "--dry-run"])).status, 0);
  const settings = await folder.run([folder.write("x.yaml", scenario("none")), ...set, "--dry-run"], folder.path);
  assert.equal(settings.status, 0, settings.err);
  assert.match(settings.out, /policy\.patience=1ms/);
});

Deno.test("the printed defaults and the manifest name the file and the options, and are a scenario again", async () => {
  using folder = eagerFolder();
  const file = folder.write("own.yaml", scenario("./eager.ts"));
  const { out } = await folder.run([file, "--print-defaults"]);
  assert.match(out, /^policy:\n {2}kind: \.\/eager\.ts\n {2}patience: 1ms$/m);
  const again = await folder.run([folder.write("again.yaml", out), "--dry-run"]);
  assert.equal(again.status, 0, again.err);
});

Deno.test("the bytes of a policy and of what it imports are inputs, hashed in the manifest", async () => {
  using folder = eagerFolder();
  const file = folder.write("own.yaml", scenario("./eager.ts"));
  const run = async () => {
    assert.equal((await folder.run([file, "--quiet", "--events", "none"])).status, 0);
    return JSON.parse(folder.read("out/burst/manifest.json"));
  };
  const { inputs, scenario: filled, runs } = await run();
  assert.deepEqual(Object.keys(inputs), ["./eager.ts", "./action.ts"]);
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(EAGER));
  const hex = Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
  assert.equal(inputs["./eager.ts"], hex);
  assert.deepEqual(filled.policy, { kind: "./eager.ts", patience: "1ms" });
  folder.write("action.ts", `${ACTION}// another version\n`);
  const changed = await run();
  assert.equal(changed.inputs["./eager.ts"], inputs["./eager.ts"]);
  assert.notEqual(changed.inputs["./action.ts"], inputs["./action.ts"]);
  assert.equal(changed.runs[0].fingerprint, runs[0].fingerprint);
});

/** Files that are no policy, and the sentence that says so; `FILE` is the name of the file. */
const WRONG: readonly (readonly [what: string, text: string, sentence: RegExp])[] = [
  ["syntax", "const a: number = 3;\n\n  const = 4;\n", /^--policy: FILE:3:9: Unexpected token `=`.*$/],
  ["no-export", "export default 3;\n", /^--policy: FILE: exports no policy; wanted is `export default policyPlugin\(/],
  ["no-such-name", 'import { nothing } from "hintsim";\nnothing();\n', /^--policy: FILE:1:10: .*hintsim.*nothing/],
  ["no-such-file", 'import "./missing.ts";\n', /^--policy: FILE:1:8: Module not found .*\/missing\.ts$/],
  ["no-such-package", 'import a from "lodash";\na();\n', /^--policy: FILE:1:15: Import "lodash" not a dependency/],
  ["throws", '\nthrow new Error("not today");\n', /^--policy: FILE:2:7: not today$/],
  ["clash", EAGER.replace('"eager"', '"none"'), /^--policy: FILE: hintsim has a policy none already; give this/],
  ["bad-name", EAGER.replace('"eager"', '"My Policy"'), /^--policy: FILE: "My Policy" is not a name for a policy; /],
  [
    "two",
    `${EAGER}export const b = { ...eager, name: "b" };\n`,
    /^--policy: FILE: exports the policies b, eager; make/,
  ],
  [
    "throws-in-create",
    EAGER.replace("freeOrderMin: 9,", 'freeOrderMin: (() => { throw new Error("no luck"); })(),'),
    /^FILE:10:\d+: the policy eager cannot be made: no luck$/,
  ],
  [
    "throws-in-hook",
    EAGER.replace("driver.pass();", "(undefined as unknown as typeof driver).pass();"),
    /^FILE:15:\d+: the policy threw: Cannot read properties of undefined \(reading 'pass'\)$/,
  ],
];

for (const [name, text, sentence] of WRONG) {
  Deno.test(`refused in one sentence: ${name}`, async () => {
    using folder = new CliFolder();
    folder.write("action.ts", ACTION);
    folder.write(`${name}.ts`, text);
    const file = folder.write("x.yaml", scenario("none"));
    const { status, out, err } = await folder.run([file, "--quiet", "--policy", `./${name}.ts`], folder.path);
    assert.equal(status, 2);
    assert.equal(out, "");
    assert.equal(err.trimEnd().split("\n").length, 1, err);
    assert.match(err.trimEnd().replaceAll(`./${name}.ts`, "FILE"), sentence);
    assert.deepEqual(folder.list("out"), []);
  });
}

Deno.test("a module that is missing, or in a scenario, is named with its place", async () => {
  using folder = new CliFolder();
  const bare = folder.write("x.yaml", scenario("none"));
  const line = await folder.run([bare, "--policy", "./none_there.ts"], folder.path);
  assert.deepEqual([line.status, line.err], [2, "--policy: ./none_there.ts: there is no such file\n"]);
  const file = folder.write("y.yaml", scenario("{ kind: ./none_there.ts }"));
  const inside = await folder.run([file]);
  assert.deepEqual(
    [inside.status, inside.err],
    [2, `${file}:5:17: policy.kind: ./none_there.ts: there is no such file\n`],
  );
});

Deno.test("two files with one name clash, one file twice does not", async () => {
  using folder = eagerFolder();
  folder.write("copy.ts", EAGER);
  const file = folder.write("x.yaml", scenario("none"));
  const { status, err } = await folder.run([file, "--policy", "./eager.ts,./copy.ts"], folder.path);
  assert.equal(status, 2);
  assert.equal(err, "--policy: ./copy.ts: ./eager.ts has a policy eager already; give this one another name\n");
  const own = folder.write("own.yaml", scenario("./eager.ts"));
  assert.equal((await folder.run([own, "--policy", "eager.ts", "--dry-run"], folder.path)).status, 0);
});

Deno.test("the example of docs/adding-a-policy.md type-checks and conforms from outside of the tree", async (t) => {
  using folder = new CliFolder();
  const path = folder.write("my_policy.ts", example());
  const args = ["check", "--quiet", "--config", `${REPOSITORY}/deno.json`, path];
  const { code, stderr } = await new Deno.Command(Deno.execPath(), { args, env: { NO_COLOR: "1" } }).output();
  assert.equal(code, 0, new TextDecoder().decode(stderr));
  const { plugin } = await importPolicyFile(path, "my_policy.ts");
  assert.deepEqual(skipProblems(plugin), []);
  for (const one of cases) {
    await t.step({
      name: one.name,
      ignore: !applies(plugin, one),
      fn: () => conform(plugin, one),
    });
  }
});

Deno.test("the conformance suite takes a policy by its path", async () => {
  using folder = eagerFolder();
  const filter = ["--filter", "/skips only|comes to rest/"];
  const args = [
    "test",
    "-P",
    "--no-check",
    ...filter,
    "tests/policies/conformance_test.ts",
    "--",
    `${folder.path}/eager.ts`,
  ];
  const { code, stdout } = await new Deno.Command(Deno.execPath(), { args, cwd: REPOSITORY, env: { NO_COLOR: "1" } })
    .output();
  const out = new TextDecoder().decode(stdout);
  assert.equal(code, 0, out);
  assert.match(out, /^eager: is made and started once for each guest, and comes to rest \.\.\. ok/m);
  assert.doesNotMatch(out, /^free-page-reporting: /m);
});
