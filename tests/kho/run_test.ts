import assert from "node:assert/strict";
import { policies } from "../../policies/mod.ts";
import { trackers } from "../../sim/kho/mod.ts";
import { RESTORES } from "../../sim/kho/restore.ts";
import { allKhoWorkloads, type KhoResult, runKho } from "../../sim/kho_run.ts";
import { loadKho } from "../../sim/kho_scenario.ts";
import { PAGE_SIZE } from "../../sim/memory/range.ts";
import { LoadError } from "../../sim/unpack.ts";
import { workloads } from "../../workloads/mod.ts";

const slow = Deno.env.get("HINTSIM_TIER") === "slow";
const known = allKhoWorkloads({ policies, workloads });

const load = (kho: string) => loadKho(`hintsim: 1\nname: t\nkho: ${kho}\n`, "t.yaml", known);
const run = (kho: string): KhoResult[] => load(kho).flatMap((scenario) => [...runKho(scenario)]);
const figure = ({ row }: KhoResult, column: string): number => {
  const value = row[column];
  assert.equal(typeof value, "number", `${column} of ${row.run}`);
  return value as number;
};

Deno.test("every tracker with every restore, by name; all see the same pages", () => {
  const results = run(`{ memory: 2GiB, workload: { kind: checkpoint, size: 4MiB } }`);
  assert.equal(results.length, trackers.length * RESTORES.length);
  assert.equal(new Set(results.map(({ row }) => row.run)).size, results.length);
  assert.equal(results[0].row.run, "kho.trackers=xarray-bitmaps-512,kho.restore=memblock");
  for (const one of results) {
    assert.equal(one.finding, undefined);
    assert.equal(figure(one, "preserved_pages"), 1024);
    const sums = ["serialize_ns", "kexec_ns", "restore_ns"].reduce((sum, column) => sum + figure(one, column), 0);
    assert.equal(figure(one, "blackout_ns"), sums);
    const terms = one.trackerTerms.reduce((sum, { count, bytesEach }) => sum + count * bytesEach, 0);
    assert.equal(terms, figure(one, "tracker_bytes"), "the sum that --explain prints");
    const serialized = one.serializedTerms.reduce((sum, { count, bytesEach }) => sum + count * bytesEach, 0);
    assert.equal(serialized, figure(one, "serialized_bytes"));
  }
});

Deno.test("twice as many scattered pages take four times as many visits to reserve, and twice as many without memblock", () => {
  const visits = (size: string) => {
    const [memblock, direct] = run(
      `{ memory: 16GiB, trackers: radix, restore: [memblock, buddy-direct], workload: { kind: checkpoint, size: ${size} } }`,
    );
    return [figure(memblock, "reserve_visits"), figure(direct, "memmap_visits") - 8192];
  };
  const [once, twice] = [visits("64MiB"), visits("128MiB")];
  assert.ok(Math.abs(twice[0] / once[0] - 4) < 0.1, `${twice[0]} and ${once[0]}`);
  assert.equal(twice[1] / once[1], 2);
});

Deno.test("what coalescing saves: everything when pages lie in a row, next to nothing when they are scattered", () => {
  const visits = (workload: string) =>
    run(
      `{ memory: 4GiB, trackers: xarray-bitmaps-512, restore: [memblock, memblock-coalesced], workload: ${workload} }`,
    )
      .map((one) => figure(one, "reserve_visits"));
  const [plain, coalesced] = visits("{ kind: one-range, size: 1GiB, order: 0 }");
  // 262,144 pages, each after 33 regions: more than 66 visits a page. As one range: the visits of a single page.
  assert.ok(plain > 66 * 2 ** 18);
  assert.equal(coalesced, 32 + 1 + 33 + 1);
  const [scattered, merged] = visits("{ kind: checkpoint, size: 64MiB }");
  assert.ok(merged / scattered > 0.95 && merged <= scattered);
});

Deno.test("in split-merge one range is left to a design of ranges, and all its bits to one of bitmaps", () => {
  const [bitmaps, ranges] = run(
    `{ memory: 4GiB, trackers: [xarray-bitmaps-512, maple-ranges], restore: memblock, workload: { kind: split-merge } }`,
  );
  assert.equal(figure(bitmaps, "found"), 2 ** 18);
  assert.equal(figure(ranges, "found"), 1);
  assert.ok(figure(ranges, "reserve_visits") * 1e5 < figure(bitmaps, "reserve_visits"));
});

Deno.test("a fragmented host: what a simulated guest has in use, in ranges", () => {
  const kho = `{ memory: 4GiB, trackers: [radix, maple-ranges], restore: buddy-direct, workload:
    { kind: fragmented-host, memory: 512MiB, occupancy: 0.5 } }`;
  const results = run(kho);
  for (const one of results) {
    const share = figure(one, "preserved_pages") / (512 * 256);
    // Half of it, and what the kernel itself keeps.
    assert.ok(share > 0.45 && share < 0.75, `${share}`);
    assert.ok(figure(one, "preserve_calls") > 50);
  }
  assert.equal(figure(results[0], "preserved_pages"), figure(results[1], "preserved_pages"));
  assert.deepEqual(run(kho).map(({ row }) => row.fingerprint), results.map(({ row }) => row.fingerprint));
});

Deno.test("gigantic pages leave gigantic room: the successor's largest order", () => {
  const [huge, scattered] = run(
    `{ memory: 16GiB, trackers: radix, restore: buddy-direct, workload:
      [{ kind: hugetlb-1g, folios: 4 }, { kind: checkpoint, size: 1GiB }] }`,
  );
  assert.ok(figure(huge, "largest_free_order") >= 18);
  assert.ok(figure(scattered, "largest_free_order") < 18);
  assert.equal(huge.row.workload, "hugetlb-1g folios=4");
});

Deno.test("a list where one value is wanted is an axis: each combination is the run that it would be by itself", () => {
  const kho = (memory: string, size: string) =>
    `{ memory: ${memory}, trackers: radix, restore: [memblock, buddy-direct], workload: { kind: checkpoint, size: ${size} } }`;
  const grid = run(kho("[1GiB, 2GiB]", "[1MiB, 2MiB]"));
  const single = ["1GiB", "2GiB"].flatMap((memory) => ["1MiB", "2MiB"].flatMap((size) => run(kho(memory, size))));
  assert.deepEqual(grid.map(({ row }) => row.fingerprint), single.map(({ row }) => row.fingerprint));
  assert.equal(grid[0].row.run, "kho.memory=1GiB,kho.workload.size=1MiB,kho.restore=memblock");
  assert.deepEqual(grid.map(({ row }) => row["kho.memory"]).filter((one) => one === "2GiB").length, 4);
  assert.equal(single[0].row.run, "kho.restore=memblock");
  assert.equal(single[0].row["kho.memory"], undefined);
});

Deno.test("costs can be others, one by one", () => {
  const small = (costs: string) => {
    const workload = "{ kind: one-range, size: 64MiB }";
    const kho = `{ memory: 1GiB, trackers: radix, restore: memblock, workload: ${workload}, costs: ${costs} }`;
    return figure(run(kho)[0], "kexec_ns");
  };
  assert.equal(small("kho-2025"), 2_403_000_000);
  assert.equal(small("{ kexecNs: 0, bootNs: 7 }"), 7);
});

Deno.test("what a scenario says wrong is refused in one sentence with its place", () => {
  const refused = (kho: string): string => {
    try {
      load(kho);
    } catch (error) {
      assert.ok(error instanceof LoadError);
      return error.message;
    }
    throw new assert.AssertionError({ message: `${kho} is accepted` });
  };
  assert.match(
    refused("{ trackers: xarray, workload: one-range }"),
    /^t.yaml:3:18: kho.trackers.0: "xarray" is not one of/,
  );
  assert.match(
    refused("{ workload: one-rang }"),
    /kho.workload.kind: unknown workload "one-rang"; did you mean one-range\?/,
  );
  assert.match(refused("{ workload: { kind: one-range, sise: 1 } }"), /unknown key "sise"; did you mean size\?/);
  assert.match(refused("{}"), /kho.workload: no workload is given/);
  assert.match(
    refused("{ memory: 4GiB, scratch: 1MiB, workload: one-range }"),
    /kho.scratch: 1048576 bytes are too few/,
  );
  assert.match(
    refused("{ memory: 4GiB, scratch: 4GiB, workload: one-range }"),
    /kho.scratch: 4294967296 bytes of memory/,
  );
  assert.match(refused("{ memory: 4294967297, workload: one-range }"), /kho.memory: .* not whole pages/);
  assert.match(
    refused("{ workload: one-range, costs: { stepsNs: 1 } }"),
    /unknown cost "stepsNs"; did you mean stepNs\?/,
  );
  assert.match(refused("{ workload: one-range, costs: { stepNs: -1 } }"), /-1 is not a time in ns/);
  assert.match(refused("{ workload: [one-range, one-range] }"), /kho.workload.1: one-range stands there twice/);
});

Deno.test({
  name: "4 TiB: 100 million pages in a row and 10 million scattered",
  ignore: !slow,
  fn() {
    const text = Deno.readTextFileSync(new URL("../../workloads/kho/4tib.yaml", import.meta.url));
    for (const one of runKho(loadKho(text, "4tib.yaml", known)[0])) {
      assert.equal(one.finding, undefined);
      const wanted = String(one.row.workload).startsWith("one-range") ? 1e8 : 1e7;
      assert.equal(figure(one, "preserved_pages"), wanted);
    }
    assert.ok(Deno.memoryUsage().rss < 8 * 2 ** 30, `${Deno.memoryUsage().rss / PAGE_SIZE} pages`);
  },
});
