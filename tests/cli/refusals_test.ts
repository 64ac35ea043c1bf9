import assert from "node:assert/strict";
import { CliFolder, SMALL } from "./run_cli.ts";

/** Input that is refused: what, the command line (a name in capitals stands for a file), and the sentence. */
const REFUSALS: readonly (readonly [what: string, args: string[], sentence: RegExp])[] = [
  ["an unknown option", ["x.yaml", "--sed", "4"], /^unknown option '--sed' \(Did you mean one of --seed, --set\?\)$/],
  ["a missing file", ["missing.yaml"], /^missing\.yaml: there is no such file$/],
  [
    "an unknown key",
    ["SMALL", "--set", "policy.mrge=none"],
    /^--set policy\.mrge: unknown key "mrge"; did you mean merge\?$/,
  ],
  [
    "an unknown policy",
    ["SMALL", "--policy", "per-ordr"],
    /^--policy: unknown policy "per-ordr"; did you mean per-order\?$/,
  ],
  [
    "an unknown encoding",
    ["SMALL", "--encoding", "pfnlen"],
    /^--encoding: unknown encoding "pfnlen"; did you mean pfn-len\?$/,
  ],
  ["a value out of range", ["SMALL", "--set", "machine.vcpus=0"], /^--set machine\.vcpus: 0 is not at least 1$/],
  ["a kernel as a number in a file", ["KERNEL"], /^\S+:3:\d+: machine\.kernel: 6\.1 is not one of 6\.1|a text/],
  ["a setting without a value", ["SMALL", "--set", "policy"], /^--set policy: wanted is key=value\[,value\.\.\.\]$/],
  ["a seed that is no number", ["SMALL", "--seed", "x"], /^--seed: "x" is not a number$/],
  ["a count that is no number", ["SMALL", "--reps", "0"], /--reps .*Wanted is a whole number of at least 1/],
  [
    "a later format",
    ["SMALL", "--events", "parquet"],
    /^--events parquet: the format parquet is not written yet; use none, csv or csv\.zst, several with a comma$/,
  ],
  ["an unknown list", ["list", "polices"], /^list polices: unknown list; known are policies, /],
  [
    "a level that is none",
    ["trace", "verify", "x.csv", "--level", "pages"],
    /^--level pages: is not a level; wanted is buddy, pcp, reporting$/,
  ],
  [
    "a kernel that is not modelled",
    ["trace", "verify", "x.csv", "--kernel", "5.10"],
    /^--kernel 5\.10: is not modelled; wanted is 6\.1, 6\.12$/,
  ],
  ["a value that holds itself", ["CYCLE"], /^\S+cycle\.yaml: not YAML: a value refers to itself$/],
  ["a second document", ["SECOND"], /^\S+second\.yaml:3:1: a second document begins; wanted is one scenario$/],
  ["a value twice on an axis", ["SMALL", "--policy", "none,none"], /^--policy: the axis has the value none twice$/],
  [
    "two values for a list",
    ["SMALL", "--set", "policy.requests.at=10ms,20ms"],
    /^--set policy\.requests\.at: wants a list; write \[10ms, 20ms\], or \{axis: \[\.\.\.\]\} for an axis of lists$/,
  ],
  [
    "no value",
    ["SMALL", "--set", "machine.memory="],
    /^--set machine\.memory: "nothing" is not a size: write a number and B, /,
  ],
  ["more events than the limit", ["SMALL", "--events-max", "2e9"], /At most 1e9 events are allowed/],
  [
    "a path in a name",
    ["NAMED"],
    /^\S+:2:\d+: name: "a\/b" is not a name: it must not hold a path separator or begin with a dot$/,
  ],
  [
    "a list of guests beside a policy",
    ["GUESTS"],
    /^\S+:5:\d+: policy: policy stands beside guests; say it inside of each guest$/,
  ],
  [
    "too much memory",
    ["SMALL", "--set", "machine.memory=17TiB"],
    /^--set machine\.memory: "17TiB" is not between 1048576 and /,
  ],
  [
    "requests too close",
    ["SMALL", "--set", "policy.requests={every: 1ns}"],
    /^--set policy\.requests \(policy\.requests\.every\): "1ns" is not between 1000 and/,
  ],
];

for (const [what, args, sentence] of REFUSALS) {
  Deno.test(`${what} is refused in one sentence, with status 2 and nothing written`, async () => {
    using folder = new CliFolder();
    const files: Record<string, string> = {
      SMALL,
      KERNEL: SMALL.replace("vcpus: 2", "kernel: 6.1"),
      NAMED: SMALL.replace("name: small", "name: a/b"),
      CYCLE: "hintsim: 1\nworkload: &w [*w]\n",
      SECOND: "hintsim: 1\nworkload: idle\n---\nhintsim: 1\n",
      GUESTS: "hintsim: 1\nguests: [{}]\nname: x\nseed: 1\npolicy: none\n",
    };
    const words = args.map((word) => word in files ? folder.write(`${word.toLowerCase()}.yaml`, files[word]) : word);
    const { status, out, err } = await folder.run(words);
    assert.equal(status, 2, err);
    assert.equal(out, "");
    assert.match(err, /^[^\n]+\n$/);
    assert.match(err.trimEnd(), sentence);
    assert.deepEqual(folder.list("out"), []);
  });
}
