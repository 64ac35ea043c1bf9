/** Free page reporting on a live 6.12 guest: its recorded free blocks by order go in, what it reported must come out. */
import assert from "node:assert/strict";
import { load, type RunResult, simulate } from "../../mod.ts";
import { EVENTS } from "../../sim/core/trace.ts";
import { ORDER_PAGES } from "../../sim/memory/range.ts";
import { unpack } from "../../sim/unpack.ts";
import { readCurve } from "../../workloads/curve_samples.ts";
import { documentedTable, recordedRows } from "./recorded.ts";

const WORKLOADS = new URL("../../workloads/", import.meta.url);
const DOCUMENT = new URL("../../docs/recordings-reporting.md", import.meta.url);
const SAMPLES = "recordings/sweep-samples.csv.gz";
const NS_PER_S = 1e9;

const read = (path: string) => Deno.readFileSync(new URL(path, WORKLOADS));
const scenario = async (...set: string[]) => await load("sweep-6-12.yaml", { read, set });

interface Pass {
  startS: number;
  reports: number;
  entries: number;
  pages: number;
}

/** The passes of a run, from its trace. */
function passesOf({ events }: RunResult): Pass[] {
  const passes: Pass[] = [];
  const { count, event, timeNs, pages } = events!;
  for (let row = 0; row < count; row++) {
    const name = EVENTS[event[row]];
    const pass = passes.at(-1)!;
    if (name === "pass") passes.push({ startS: timeNs[row] / NS_PER_S, reports: 0, entries: 0, pages: 0 });
    if (name === "send") pass.reports++;
    if (name === "discard") {
      pass.entries++;
      pass.pages += pages[row];
    }
  }
  return passes;
}

/** The recorded passes; the host's discards are by the second, and no two passes share one. */
async function recordedPasses(): Promise<Pass[]> {
  const discarded = new Map(
    (await recordedRows("sweep-discards.csv.gz")).map((row) => [Number(row.second), row.pages]),
  );
  return (await recordedRows("sweep-passes.csv.gz")).map((row) => ({
    startS: Number(row.t_s),
    reports: Number(row.reports),
    entries: Number(row.entries),
    pages: Number(discarded.get(Math.floor(Number(row.t_s))) ?? 0),
  }));
}

const sum = (passes: readonly Pass[], of: (pass: Pass) => number) => passes.reduce((all, pass) => all + of(pass), 0);
const totals = (passes: readonly Pass[]) => ({
  passes: passes.length,
  reports: sum(passes, ({ reports }) => reports),
  entries: sum(passes, ({ entries }) => entries),
  pages: sum(passes, ({ pages }) => pages),
});

function assertWithin(ours: number, recorded: number, share: number, what: string): void {
  assert(Math.abs(ours - recorded) <= share * recorded, `${what}: ${ours}, recorded ${recorded}`);
}

Deno.test("sweep: passes, reports, entries and discarded pages at order 9 are within 15 % of the recorded ones", async () => {
  const recorded = await recordedPasses();
  assert.deepEqual(totals(recorded), { passes: 24, reports: 34, entries: 669, pages: 658_432 });
  const [run] = simulate(await scenario(), { events: true, check: true });
  assert.deepEqual(run.problems, []);
  const ours = passesOf(run);
  for (const [name, value] of Object.entries(totals(ours))) {
    assertWithin(value, totals(recorded)[name as keyof Pass & keyof ReturnType<typeof totals>], 0.15, name);
  }
  assert.equal(run.summary.alloc_fails, 0);
  const text = ({ startS, reports, entries, pages }: Pass) =>
    `${startS.toFixed(1)} | ${reports} | ${entries} | ${pages.toLocaleString("en-US")}`;
  const lines = Array.from({ length: Math.max(recorded.length, ours.length) }, (_, index) => {
    const [theirs, own] = [recorded[index], ours[index]];
    return `| ${theirs === undefined ? " | | | " : text(theirs)} | ${own === undefined ? " | | | " : text(own)} |`;
  });
  const all = (passes: readonly Pass[]) => {
    const { passes: count, reports, entries, pages } = totals(passes);
    return `**${count} passes** | **${reports}** | **${entries}** | **${pages.toLocaleString("en-US")}**`;
  };
  const wanted = [
    "| recorded: at, s | reports | entries | pages | simulated: at, s | reports | entries | pages |",
    "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ...lines,
    `| ${all(recorded)} | ${all(ours)} |`,
  ].join("\n");
  const squeezed = (table: string) => table.replace(/ +/g, " ").replace(/-+/g, "-").trim();
  assert.equal(
    squeezed(await documentedTable(DOCUMENT, "sweep", wanted)),
    squeezed(wanted),
    "HINTSIM_UPDATE=1 writes it anew",
  );
});

Deno.test("sweep: after each burst of the memory task the entries are within a quarter of the recorded ones", async () => {
  const [run] = simulate(await scenario(), { events: true });
  // A burst each 15 s; what it gave back is reported 2 s later, in a second pass if there was more than the budget.
  const afterBurst = (passes: readonly Pass[], burst: number) =>
    sum(passes.filter(({ startS }) => startS > burst + 1 && startS < burst + 6), ({ entries }) => entries);
  const [recorded, ours] = [await recordedPasses(), passesOf(run)];
  for (const burst of [15, 30, 45, 60, 75, 90, 105, 120]) {
    assertWithin(afterBurst(ours, burst), afterBurst(recorded, burst), 0.25, `after ${burst} s`);
  }
});

Deno.test("sweep: the free lists follow the curve: free pages within 1.5 % at each sample, 0.3 % in the mean", async () => {
  const { zones, samples } = readCurve(await unpack(SAMPLES, read(SAMPLES)));
  assert.deepEqual([zones, samples.length], [["DMA", "DMA32"], 141]);
  // Samples of the run each 10 ms: the first after a recorded one has its state, and what was taken in those 10 ms.
  const [run] = simulate(await scenario("output.sample=10ms"));
  const differences = samples.map(({ timeNs, blocks }) => {
    const row = run.samples.time_ns.findIndex((time) => time > timeNs);
    const wanted = ORDER_PAGES.slice(0, 11).map((_, order) => blocks.reduce((all, counts) => all + counts[order], 0));
    const pages = (counts: (order: number) => number) =>
      wanted.reduce((all, _, k) => all + counts(k) * ORDER_PAGES[k], 0);
    const free = pages((order) => wanted[order]);
    return Math.abs(pages((order) => run.samples[`free_order_${order}`][row]) - free) / free;
  });
  assert(Math.max(...differences) < 0.015, `${Math.max(...differences)}`);
  assert(differences.reduce((all, one) => all + one, 0) / differences.length < 0.003);
});

Deno.test("sweep: other orders run on the same curve; a lower order has more and smaller entries, and no fewer pages", async () => {
  const orders = [10, 9, 7, 5, 3, 0];
  const runs = simulate(await scenario(`policy.order=${orders}`), { events: true, check: true });
  const figures = runs.map((run) => totals(passesOf(run)));
  for (const [index, run] of runs.entries()) {
    assert.deepEqual([run.problems, run.summary.violations, run.summary.near_misses], [[], 0, 0]);
    if (index === 0) continue;
    assert(figures[index].entries > figures[index - 1].entries);
    assert(figures[index].pages > figures[index - 1].pages);
    assert(figures[index].passes >= figures[index - 1].passes);
    assert(figures[index].reports >= figures[index - 1].reports);
  }
  const wanted = [
    "| order | passes | reports | entries | pages |",
    "| ---: | ---: | ---: | ---: | ---: |",
    ...figures.map(({ passes, reports, entries, pages }, index) =>
      `| ${orders[index]} | ${passes} | ${reports} | ${entries.toLocaleString("en-US")} | ${
        pages.toLocaleString("en-US")
      } |`
    ),
  ].join("\n");
  const squeezed = (table: string) => table.replace(/ +/g, " ").replace(/-+/g, "-").trim();
  assert.equal(
    squeezed(await documentedTable(DOCUMENT, "orders", wanted)),
    squeezed(wanted),
    "HINTSIM_UPDATE=1 writes it anew",
  );
});

Deno.test("sweep: without the CPU columns the bursts are less deep, and the figures still within 15 %", async () => {
  const lines = new TextDecoder().decode(await unpack(SAMPLES, read(SAMPLES))).trimEnd().split("\n");
  const names = lines[0].split(",");
  const bare = lines.map((line) => line.split(",").filter((_, at) => !names[at].startsWith("cpu_")).join(",")).join(
    "\n",
  );
  const readBare = (path: string) => path === SAMPLES ? new TextEncoder().encode(bare) : read(path);
  const [run] = simulate(await load("sweep-6-12.yaml", { read: readBare }), { events: true });
  const figures = totals(passesOf(run));
  const recorded = totals(await recordedPasses());
  assert(figures.pages < recorded.pages);
  for (const name of ["passes", "reports", "entries", "pages"] as const) {
    assertWithin(figures[name], recorded[name], 0.15, name);
  }
});
