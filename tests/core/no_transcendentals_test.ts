/**
 * Fingerprints are promised to be equal on every engine, so models and generators may only use arithmetic that the
 * language defines to the last bit, and no clock but the virtual one.
 */
import assert from "node:assert/strict";

const ROOT = new URL("../../", import.meta.url);

interface Rule {
  readonly pattern: RegExp;
  readonly reason: string;
  /** True for what the command line may use: it reports progress in wall time. */
  readonly allowedInCli?: boolean;
}

const RULES: readonly Rule[] = [
  {
    pattern: /\bMath\s*\.\s*(?:log|exp|pow|a?sin|a?cos|a?tan|cbrt|hypot|random)\w*/,
    reason: "is left to the engine by the language",
  },
  { pattern: /\bMath\s*\[|[=(,:]\s*Math\s*(?:[;,)]|$)/, reason: "hides which function is used" },
  // 2 ** n is exact for whole n, and big integers are exact anyway; other powers of numbers are approximations.
  { pattern: /(?<!(?<![\w.])2\s*)(?<!\b\d+n\s*)(?<=[\w)\]]\s*)\*\*=?\s*[\w(.+-]/, reason: "is only exact as 2 **" },
  { pattern: /\bDate\s*[.(]|\bnew\s+Date\b/, reason: "reads the wall clock", allowedInCli: true },
  { pattern: /\bperformance\s*\.\s*(?:now|timeOrigin|mark)/, reason: "reads the wall clock", allowedInCli: true },
];

/** The code of each line: without comments (line by line, so a comment sign in a string hides the rest of its line). */
function codeLines(text: string): string[] {
  let inComment = false;
  return text.split("\n").map((line) => {
    let code = "";
    for (let rest = line; rest !== "";) {
      const end = rest.indexOf("*/");
      if (inComment) {
        if (end < 0) break;
        inComment = false;
        rest = rest.slice(end + 2);
        continue;
      }
      const start = /\/\*|(?<!:)\/\//.exec(rest); // not the // of https://
      code += start === null ? rest : rest.slice(0, start.index);
      if (start === null || start[0] === "//") break;
      inComment = true;
      rest = rest.slice(start.index + 2);
    }
    return code;
  });
}

/** What a file may not contain, as `path:line: "code" reason`. */
function findings(path: string, text: string): string[] {
  const rules = path.startsWith("sim/cli/") ? RULES.filter((rule) => !rule.allowedInCli) : RULES;
  return codeLines(text).flatMap((code, index) =>
    rules.flatMap(({ pattern, reason }) => {
      const match = pattern.exec(code);
      return match === null ? [] : [`${path}:${index + 1}: "${match[0].trim()}" ${reason}`];
    })
  );
}

function* sources(folder: string): Generator<string> {
  for (const entry of Deno.readDirSync(new URL(folder, ROOT))) {
    const path = `${folder}${entry.name}`;
    if (entry.isDirectory) yield* sources(`${path}/`);
    else if (/\.[jt]sx?$/.test(path)) yield path;
  }
}

Deno.test("the rules find what they should, and only that", () => {
  const bad = [
    "const x = Math.log(2);",
    "return Math.log2(x) + 1;",
    "y = Math.exp(x), Math.pow(x, 2)",
    "Math.random()",
    "Math.tanh(x)",
    "Math.hypot(a, b)",
    "const { log } = Math;",
    'Math["log"](2)',
    "call(Math)",
    "x ** 2",
    "10 ** 3",
    "12 ** 3",
    "0.2 ** n",
    "x **= 2",
    "(a + b) ** 0.5",
    "Date.now()",
    "new Date()",
    "performance.now()",
    "/* a comment */ Math.log(2)",
  ];
  for (const line of bad) assert.equal(findings("sim/x.ts", line).length, 1, line);
  const good = [
    "Math.floor(x) + Math.sqrt(y) + Math.imul(a, b) + Math.clz32(c)",
    "2 ** 53",
    "(2 ** n)",
    "2**-40",
    "10n ** BigInt(k)",
    "a * b",
    'const glob = "sim/**/*.ts";',
    '"xoshiro128**"',
    "// Math.log is not used",
    "x = 1; // not x ** 2",
    "/** Math.log(2)\n * x ** 2\n */",
    "sandboxMath.log(1)",
    "updateDate(x)",
  ];
  for (const line of good) assert.deepEqual(findings("sim/x.ts", line), [], line);
  assert.deepEqual(findings("sim/cli/x.ts", "Date.now() + performance.now()"), []);
  assert.equal(findings("sim/cli/x.ts", "Math.log(2)").length, 1);
  assert.deepEqual(findings("policies/p.ts", "\n\n  Date.now()"), ['policies/p.ts:3: "Date." reads the wall clock']);
});

Deno.test("models, policies and workloads use exact arithmetic and no wall clock", () => {
  const paths = ["sim/", "policies/", "workloads/"].flatMap((folder) => [...sources(folder)]);
  assert.ok(paths.length > 0);
  const found = paths.flatMap((path) => findings(path, Deno.readTextFileSync(new URL(path, ROOT))));
  assert.deepEqual(found, [], found.join("\n"));
});
