/** The documentation is true: its commands run, its paths exist, its tables are those of the program, its code works. */
import assert from "node:assert/strict";
import { policies } from "../policies/mod.ts";
import { encodings } from "../sim/abi/mod.ts";
import type { Io } from "../sim/cli/io.ts";
import { runProgram } from "../sim/cli/program.ts";
import type { Field } from "../sim/core/options.ts";
import { EVENTS } from "../sim/core/trace.ts";
import { fieldAt, parseScenario } from "../sim/scenario.ts";
import { SAMPLE_COLUMNS } from "../sim/samples.ts";
import { load, simulate } from "../mod.ts";
import { workloads } from "../workloads/mod.ts";

const ROOT = decodeURIComponent(new URL("..", import.meta.url).pathname).replace(/\/$/, "");
const registries = { policies, workloads };

function markdownFiles(folder = "docs"): string[] {
  const files: string[] = [];
  for (const { name, isDirectory } of Deno.readDirSync(`${ROOT}/${folder}`)) {
    const path = `${folder}/${name}`;
    if (isDirectory) files.push(...markdownFiles(path));
    else if (name.endsWith(".md")) files.push(path);
  }
  return files.sort();
}

const FILES = ["README.md", ...markdownFiles()];
const read = (path: string) => Deno.readTextFileSync(`${ROOT}/${path}`);

interface Fence {
  readonly info: string;
  readonly text: string;
  /** Line of the opening fence, from 1. */
  readonly line: number;
}

function fences(text: string): Fence[] {
  return [...text.matchAll(/^```(.*)\n([\s\S]*?)^```$/gm)].map(({ 1: info, 2: body, index }) => ({
    info: info.trim(),
    text: body,
    line: text.slice(0, index).split("\n").length,
  }));
}

interface CommandLine {
  readonly file: string;
  readonly place: string;
  readonly words: string[];
  readonly status: number;
}

const PREFIX = /^(?:deno task sim|npx -y deno@2\.9\.6 task sim) /;

/** The lines of the fences with this info string that call the simulator. */
function commandLines(info: string): CommandLine[] {
  return FILES.flatMap((file) =>
    fences(read(file)).filter((fence) => fence.info === info).flatMap(({ text, line }) =>
      text.split("\n").flatMap((command, index) => {
        if (!PREFIX.test(command)) return [];
        const words = splitWords(command.replace(/\s#.*$/, "").replace(PREFIX, ""));
        const status = Number(/# exits (\d+)/.exec(command)?.[1] ?? 0);
        return [{ file, place: `${file}:${line + index + 1}`, words, status }];
      })
    )
  );
}

/** Words as a shell splits them; quotes hold a word together. */
function splitWords(command: string): string[] {
  return [...command.matchAll(/"([^"]*)"|'([^']*)'|(\S+)/g)].map(([, double, single, plain]) =>
    double ?? single ?? plain
  );
}

interface Captured {
  readonly status: number;
  readonly out: string;
  readonly err: string;
}

async function sim(words: readonly string[], projectFolder: string, userFolder = ROOT): Promise<Captured> {
  const captured = { out: "", err: "" };
  const io: Io = {
    out: (text) => void (captured.out += text),
    err: (text) => void (captured.err += text),
    isTerminal: false,
    userFolder,
    projectFolder,
    onInterrupt: () => () => {},
  };
  const status = await runProgram(words, io, registries);
  return { status, ...captured };
}

async function withFolder<T>(use: (folder: string) => T | Promise<T>): Promise<T> {
  const folder = Deno.makeTempDirSync({ prefix: "hintsim-docs-" });
  try {
    return await use(folder);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

/** Makes the folder in which the reader of a page stands: the files that the page shows, outside of the repository. */
function readerFolder(file: string, folder: string): string {
  const shown = fences(read(file)).flatMap(({ info, text }) => {
    const name = /(?:^|\s)file=(\S+)/.exec(info)?.[1];
    return name === undefined ? [] : [{ name, text }];
  });
  if (shown.length === 0) return ROOT;
  const reader = `${folder}/reader`;
  Deno.mkdirSync(reader);
  Deno.symlinkSync(`${ROOT}/workloads`, `${reader}/workloads`);
  for (const { name, text } of shown) Deno.writeTextFileSync(`${reader}/${name}`, text);
  return reader;
}

/** What the YAML library asks for. */
const ENV = "--allow-env=LOG_TOKENS,LOG_STREAM";

const deno = async (args: readonly string[]): Promise<string> => {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [...args],
    cwd: ROOT,
    env: { NO_COLOR: "1" },
  }).output();
  const out = new TextDecoder().decode(stdout);
  assert.equal(code, 0, out + new TextDecoder().decode(stderr));
  return out;
};

/** Type-checks and runs a module under the permissions that the README names; returns what it prints. */
const runModule = (path: string): Promise<string> =>
  deno(["run", "--quiet", "--check", "--no-prompt", "--allow-read", ENV, "--config", "deno.json", path]);

const toRun = commandLines("sh test");

Deno.test("documentation has commands to run", () => {
  assert.ok(toRun.length >= 3, `only ${toRun.length} commands in blocks marked "sh test"`);
});

for (const { file, place, words, status } of toRun) {
  Deno.test(`${place}: sim ${words.join(" ")} exits ${status}`, () =>
    withFolder(async (folder) => {
      const result = await sim(words, folder, readerFolder(file, folder));
      assert.equal(result.status, status, `${place}\n${result.out}\n${result.err}`);
    }));
}

Deno.test("commands that are only shown are understood by the command line", () =>
  withFolder(async (folder) => {
    for (const { place, words, status } of commandLines("sh")) {
      const isRun = !["list", "check", "trace", "validate", "help"].includes(words[0]);
      const tried = isRun ? [...words, "--dry-run"] : ["help", ...words.slice(0, words[0] === "trace" ? 2 : 1)];
      const result = await sim(tried, folder);
      assert.equal(result.status, status === 2 ? 2 : 0, `${place}: sim ${words.join(" ")}\n${result.err}`);
    }
    assert.deepEqual([...Deno.readDirSync(folder)], [], "showing a run must not write");
  }));

/** Folders and files at the top of the repository whose names make a text in backticks a path. */
const PATH =
  /^(?:(?:sim|policies|workloads|tests|docs|notebooks|bench)(?:\/[\w.-]+)*\/?|\w+\.ts|deno\.json|deno\.lock|LICENSE|README\.md)$/;

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}

for (const file of FILES) {
  Deno.test(`${file}: every link and every path exists`, () => {
    const folder = `${ROOT}/${file}`.replace(/[^/]*$/, "");
    const prose = read(file).replace(/^```[\s\S]*?^```$/gm, "");
    for (const [, link] of prose.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^(https?:|mailto:|#)/.test(link)) continue;
      assert.ok(exists(folder + link.replace(/#.*$/, "")), `the link ${link} leads nowhere`);
    }
    for (const [, code] of prose.matchAll(/`([^`\n]+)`/g)) {
      if (!PATH.test(code) || !/[./]/.test(code)) continue;
      assert.ok(exists(`${ROOT}/${code}`), `the path ${code} does not exist`);
    }
  });
}

Deno.test("docs/README.md: every page is linked", () => {
  const index = read("docs/README.md");
  for (const file of FILES.slice(1).filter((name) => name !== "docs/README.md")) {
    assert.ok(index.includes(`(${file.replace("docs/", "")})`), `${file} is not linked`);
  }
});

/** The names that a choice allows, if the field is one. */
function choices(field: Field): string {
  let schema = field.schema as unknown as { options?: unknown; unwrap?: () => unknown };
  if (schema.options === undefined && schema.unwrap !== undefined) schema = schema.unwrap() as typeof schema;
  const { options } = schema;
  const named = Array.isArray(options) && options.every((one) => typeof one === "string");
  return named ? ` (${options.map((one) => `\`${one}\``).join(", ")})` : "";
}

function optionTable(fields: Readonly<Record<string, Field>>): string {
  const rows = Object.entries(fields).map(([name, field]) => {
    const value = field.default === undefined ? "-" : `\`${inYaml(field.default)}\``;
    const source = field.source === "hintsim" ? "" : field.source;
    const cells = [`\`${name}\``, value, field.unit, field.summary + choices(field), source];
    return `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  });
  return ["| key | default | plain number | meaning | source |", "| --- | --- | --- | --- | --- |", ...rows].join("\n");
}

/** A default as one writes it in a scenario. */
function inYaml(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(inYaml).join(", ")}]`;
  if (typeof value !== "object" || value === null) {
    return typeof value === "string" && /^[\d.]+$/.test(value) ? `"${value}"` : String(value);
  }
  return `{${Object.entries(value).map(([key, inner]) => `${key}: ${inYaml(inner)}`).join(", ")}}`;
}

function sectionFields(section: string, names: readonly string[]): Record<string, Field> {
  const path = (name: string) => section === "" ? [name] : [section, name];
  return Object.fromEntries(names.map((name) => [name, fieldAt(path(name), registries)!]));
}

/** All options of a scenario, as tables. */
function generatedOptions(): string {
  const scenario = parseScenario({ hintsim: 1, workload: { kind: "idle" } }, registries);
  const parts: string[] = [];
  const section = (title: string, fields: Readonly<Record<string, Field>>, intro = "") => {
    const body = Object.keys(fields).length === 0 ? "No options." : optionTable(fields);
    parts.push(`### ${title}\n\n${intro === "" ? "" : `${intro}\n\n`}${body}`);
  };
  section("Top", sectionFields("", ["hintsim", "name", "seed", "until"]));
  section("`machine`", sectionFields("machine", Object.keys(scenario.guests[0].machine)));
  section("`transport`", sectionFields("transport", Object.keys(scenario.transport)));
  section("`host`", sectionFields("host", Object.keys(scenario.host)));
  section("`output`", sectionFields("output", Object.keys(scenario.output)));
  const fieldsOf = (plugin: { options: { fields: unknown } }) =>
    plugin.options.fields as Readonly<Record<string, Field>>;
  const intro = ({ summary, source }: { summary: string; source: string }) => `${upper(summary)}. Source: ${source}.`;
  for (const plugin of policies) section(`Policy \`${plugin.name}\``, fieldsOf(plugin), intro(plugin));
  for (const plugin of workloads) {
    section(`Workload \`${plugin.name}\``, fieldsOf(plugin), intro(plugin));
    if (plugin.users === undefined) continue;
    section(`Every user of \`${plugin.name}\``, fieldsOf({ options: plugin.users.common }));
    for (const user of plugin.users.kinds) section(`User \`${user.name}\``, fieldsOf(user), intro(user));
  }
  const rows = encodings.map(({ name, summary, source, optionNames }) =>
    `| \`${name}\` | ${summary} | ${optionNames.map((one) => `\`${one}\``).join(", ") || "-"} | ${source} |`
  );
  parts.push(
    ["### `encoding`\n", "| kind | record | options | source |", "| --- | --- | --- | --- |", ...rows].join("\n"),
  );
  return parts.join("\n\n");
}

function upper(text: string): string {
  return text[0].toUpperCase() + text.slice(1);
}

Deno.test("docs/format.md: the tables of options are those of the program", () => {
  const open = "<!-- generated: options -->";
  const close = "<!-- end of generated -->";
  const text = read("docs/format.md");
  const [before, rest] = text.split(open);
  const [inside, after] = rest.split(close);
  const wanted = `\n\n${generatedOptions()}\n\n`;
  if (Deno.env.get("HINTSIM_UPDATE") === "1") {
    Deno.writeTextFileSync(`${ROOT}/docs/format.md`, before + open + wanted + close + after);
    return;
  }
  assert.equal(inside, wanted, "run the test with HINTSIM_UPDATE=1 to write the tables anew");
});

/** First cells in backticks of the table below a heading. */
function tableNames(heading: string, cell: number): string[] {
  const text = read("docs/format.md").split(`### ${heading}\n`)[1].split("\n### ")[0];
  return text.split("\n").filter((line) => line.startsWith("| ") && line.includes("`"))
    .flatMap((line) => [...line.split("|")[cell].matchAll(/`([^`]+)`/g)].map(([, name]) => name));
}

Deno.test("docs/format.md: every event and every column is described, in order", async () => {
  const events = new Set(tableNames("events.csv", 2).filter((name) => EVENTS.includes(name)));
  const reserved = [
    "pin",
    "unpin",
    "swap_out",
    "swap_in",
    "log_sync",
    "log_clear",
    "page_sent",
    "round",
    "pause",
    "resume",
  ];
  assert.deepEqual([...events, ...reserved].sort(), [...EVENTS].sort());
  const samples = SAMPLE_COLUMNS.filter((name) => !/^(free|unusable_free_index)_order_[1-9]$/.test(name));
  assert.deepEqual(tableNames("samples.csv", 1), samples);
  const loaded = await load({ hintsim: 1, machine: { memory: "64MiB" }, workload: { kind: "idle", duration: "1s" } });
  const [run] = simulate(loaded);
  const summary = Object.keys(run.summary).filter((name) =>
    !/^(free_order_[1-9]|unusable_free_index_[1-8])_end$/.test(name)
  );
  assert.deepEqual(tableNames("summary.csv", 1), summary.slice(summary.indexOf("fingerprint")));
});

Deno.test("docs/format.md: every scenario in it is one", async () => {
  const scenarios = fences(read("docs/format.md")).filter(({ info }) => info === "yaml");
  assert.ok(scenarios.length >= 2);
  for (const { text, line } of scenarios) {
    const loaded = await load(text, { label: `docs/format.md:${line}` });
    assert.ok(loaded.runs.length > 0);
  }
});

/** Pages with a table, and the command that prints it. */
const TABLES: Readonly<Record<string, string>> = {
  "README.md": "workloads/quickstart.yaml --events none --quiet",
  "docs/guest-life.md": "workloads/living/compaction.yaml --events none --quiet",
  "docs/workloads.md": "workloads/living/page-cache.yaml --events none --quiet",
  "docs/adding-a-policy.md":
    "workloads/quickstart.yaml --policy ./my_policy.ts,free-page-reporting --events none --quiet",
};

for (const [file, command] of Object.entries(TABLES)) {
  Deno.test(`${file}: the table shown is the one that ${command} prints`, () =>
    withFolder(async (folder) => {
      const { out, err } = await sim(command.split(" "), folder, readerFolder(file, folder));
      assert.equal(err, "");
      const page = read(file);
      const wanted = page.replace(/^(```text table\n)[\s\S]*?^(```)$/m, (_, open, close) => open + out + close);
      if (Deno.env.get("HINTSIM_UPDATE") === "1") Deno.writeTextFileSync(`${ROOT}/${file}`, wanted);
      else assert.equal(page, wanted, "run the test with HINTSIM_UPDATE=1 to paste the table anew");
    }));
}

Deno.test("README.md: its code type-checks and runs", async () => {
  const blocks = fences(read("README.md")).filter(({ info }) => info === "ts");
  assert.ok(blocks.length > 0);
  await deno(["test", "--quiet", "--no-prompt", "--allow-read", ENV, "--doc", "README.md"]);
});

Deno.test("README.md: the example of a policy is one file and one line", () =>
  withFolder(async (folder) => {
    const example = fences(read("README.md")).find(({ info }) => info === "ts ignore")!.text;
    const [, name] = /^\/\/ policies\/(\w+)\.ts\n/.exec(example)!;
    const [, exported] = /^export const (\w+)/m.exec(example)!;
    assert.ok(!exists(`${ROOT}/policies/${name}.ts`), "the example is in the repository already");
    const root = new URL("..", import.meta.url).href;
    Deno.writeTextFileSync(`${folder}/${name}.ts`, example.replaceAll('"../', `"${root}`));
    const registry = read("policies/mod.ts").replaceAll('"../', `"${root}`).replaceAll('"./', `"${root}policies/`)
      .replace("  freePageReporting,\n", `  freePageReporting,\n  ${exported},\n`)
      .replace("import {", `import { ${exported} } from "./${name}.ts";\nimport {`);
    Deno.writeTextFileSync(`${folder}/registry.ts`, registry);
    Deno.writeTextFileSync(
      `${folder}/main.ts`,
      `import { policies } from "./registry.ts";
import { workloads } from "${root}workloads/mod.ts";
import { loadScenario } from "${root}sim/load.ts";
import { simulateLoaded } from "${root}sim/simulate.ts";
const scenario = { hintsim: 1, machine: { memory: "512MiB" }, policy: { kind: "${name}" }, workload: { kind: "fill-drain", cycles: 1 } };
const [run] = simulateLoaded(await loadScenario(scenario, {}, { policies, workloads }), { check: true });
console.log(JSON.stringify({ ...run.summary, problems: run.problems }));
`,
    );
    const out = await runModule(`${folder}/main.ts`);
    const summary = JSON.parse(out);
    assert.deepEqual(summary.problems, []);
    assert.equal(summary.violations, 0);
    assert.ok(summary.returned_bytes > 0 && summary.messages > 0, out);
  }));

interface Notebook {
  readonly nbformat: number;
  readonly nbformat_minor: number;
  readonly metadata: { readonly kernelspec: { readonly name: string } };
  readonly cells: readonly {
    readonly cell_type: string;
    readonly id: string;
    readonly source: string | readonly string[];
  }[];
}

Deno.test("notebooks/quickstart.ipynb: its cells run one after the other", () =>
  withFolder(async (folder) => {
    const notebook: Notebook = JSON.parse(read("notebooks/quickstart.ipynb"));
    assert.deepEqual([notebook.nbformat, notebook.nbformat_minor, notebook.metadata.kernelspec.name], [4, 5, "deno"]);
    assert.equal(
      new Set(notebook.cells.map(({ id }) => id)).size,
      notebook.cells.length,
      "cells need ids of their own",
    );
    const cells = notebook.cells.filter(({ cell_type }) => cell_type === "code")
      .map(({ source }) => typeof source === "string" ? source : source.join(""));
    assert.ok(cells.length >= 3);
    // In a notebook relative imports and files start at its folder.
    const code = cells.join("\n").replaceAll('"../mod.ts"', `"${new URL("../mod.ts", import.meta.url).href}"`);
    Deno.writeTextFileSync(`${folder}/cells.ts`, `Deno.chdir("${ROOT}/notebooks");\n${code}`);
    const out = await runModule(`${folder}/cells.ts`);
    assert.match(out, /free-page-reporting/);
  }));
