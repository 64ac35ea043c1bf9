/** What docs/kho.md shows is what its scenarios say: the table of restores, and the figures of the text below it. */
import assert from "node:assert/strict";
import { policies } from "../../policies/mod.ts";
import { parseSetting } from "../../sim/grid.ts";
import { allKhoWorkloads, runKho } from "../../sim/kho_run.ts";
import { loadKho } from "../../sim/kho_scenario.ts";
import { formatSize } from "../../sim/memory/units.ts";
import type { SummaryRow } from "../../sim/summary_row.ts";
import { workloads } from "../../workloads/mod.ts";

/** Seven handovers with four trackers take five seconds. */
const ignore = Deno.env.get("HINTSIM_TIER") !== "slow";

const read = (path: string) => Deno.readTextFileSync(new URL(`../../${path}`, import.meta.url));
const registries = { policies, workloads };
const known = allKhoWorkloads(registries);

/** The figures of a scenario: a value by workload, tracker, restore and column. */
function figuresOf(text: string, ...set: string[]) {
  const settings = set.map((one) => parseSetting(one, registries));
  const rows: SummaryRow[] = loadKho(text, "page", known, settings).flatMap((one) =>
    Array.from(runKho(one), ({ row }) => row)
  );
  return (workload: string, tracker: string, restore: string, column: string): number => {
    const found = rows.filter((row) =>
      String(row.workload).split(" ")[0] === workload && row.tracker === tracker && row.restore === restore
    );
    assert.equal(found.length, 1, `${workload} ${tracker} ${restore}`);
    assert.equal(typeof found[0][column], "number", column);
    return found[0][column] as number;
  };
}

/** Digits as the page writes them: as many as there are below a million, then two. */
function visits(count: number): string {
  if (count >= 1e6) return count.toExponential(1).replace("e+", "e");
  return count >= 10_000 ? `${Math.floor(count / 1000)},${String(count % 1000).padStart(3, "0")}` : String(count);
}

const time = (ns: number) => ns < 60e9 ? `${(ns / 1e6).toFixed(0)} ms` : `${(ns / 60e9).toFixed(1)} min`;
const size = (bytes: number) => formatSize(bytes).replace(/^([\d.]+?)(?:\.0)?([A-Z])/, "$1 $2");

/** Rows of the table of restores: workload and tracker without their marks, then the other cells. */
function shownRows(page: string): string[][] {
  const [, table] = /^\| workload +\| tracker +\| kept .*\n\|[-| ]+\n((?:\|.*\n)+)/m.exec(page)!;
  let workload = "";
  return table.trimEnd().split("\n").map((line) => {
    const [first, tracker, ...cells] = line.split("|").slice(1, -1).map((cell) => cell.trim());
    workload = /^`(.*)`/.exec(first)?.[1] ?? workload;
    return [workload, tracker.replaceAll("`", ""), ...cells];
  });
}

Deno.test("docs/kho.md: the table of restores is that of workloads/kho/trackers.yaml", { ignore }, () => {
  const page = read("docs/kho.md");
  const scenario = read("workloads/kho/trackers.yaml");
  const shown = shownRows(page);
  const trackers = ["xarray-bitmaps-512", "xarray-bitmaps-page", "radix", "maple-ranges"];
  const figure = figuresOf(scenario, `kho.trackers=${trackers.join(",")}`);
  const kinds = [...scenario.matchAll(/kind: ([a-z0-9-]+)/g)].map(([, kind]) => kind);
  assert.deepEqual([...new Set(shown.map(([workload]) => workload))].sort(), kinds.sort(), "each workload is shown");
  for (const row of shown) {
    const [workload, tracker] = row;
    const of = (restore: string, column: string) => figure(workload, tracker, restore, column);
    const both = (restore: string) => `${visits(of(restore, "reserve_visits"))}, ${time(of(restore, "restore_ns"))}`;
    assert.deepEqual(row, [
      ...[workload, tracker, size(of("memblock", "kept_bytes")), both("memblock"), both("memblock-coalesced")],
      time(of("buddy-direct", "restore_ns")),
    ]);
  }
  const text = page.replaceAll(/\s+/g, " ");
  const serialize = (tracker: string) => figure("checkpoint", tracker, "memblock", "serialize_ns");
  assert.ok(text.includes(
    `${
      (serialize("xarray-bitmaps-512") / 1e3).toFixed(0)
    } us for a gigabyte of scattered pages with bitmaps of 512 bytes, ` +
      `${(serialize("xarray-bitmaps-page") / 1e3).toFixed(0)} us with pages of bits, nothing with \`radix\`; ` +
      `a maple tree takes ${(serialize("maple-ranges") / 1e6).toFixed(0)} ms`,
  ));
  assert.equal(serialize("radix"), 0);
  const kept = (workload: string, tracker: string) => figure(workload, tracker, "memblock", "kept_bytes");
  const mixed = kept("mixed-folios", "xarray-bitmaps-512") / kept("mixed-folios", "maple-ranges");
  assert.ok(text.includes(`${mixed.toFixed(1)} times less than the bitmaps of 512 bytes for \`mixed-folios\``));
  const scattered = (tracker: string) => kept("checkpoint", "maple-ranges") / kept("checkpoint", tracker);
  for (const one of trackers.slice(0, 3)) assert.equal(scattered(one).toFixed(0), "3", `${one}: three times over`);
});

Deno.test("docs/kho.md: what coalescing saves of 48 GiB of pages in a row", { ignore }, () => {
  const figure = figuresOf(
    `hintsim: 1\nkho: { trackers: xarray-bitmaps-512, workload: { kind: one-range, size: 48GiB, order: 0 } }\n`,
  );
  const reserve = (restore: string) => figure("one-range", "xarray-bitmaps-512", restore, "reserve_visits");
  assert.ok(
    read("docs/kho.md").includes(
      `48 GiB of order-0 pages: ${visits(reserve("memblock"))} visits become ${reserve("memblock-coalesced")}`,
    ),
  );
});
