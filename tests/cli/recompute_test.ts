import assert from "node:assert/strict";
import { CliFolder, parseCsv, REPOSITORY, SMALL } from "./run_cli.ts";

type Row = Record<string, string>;

const num = (cell: string | undefined) => Number(cell ?? "");

/** Nearest rank: the smallest value such that at least the share of all values is not above it. */
function quantile(values: readonly number[], share: number): number | undefined {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(1, Math.ceil(share * sorted.length)) - 1];
}

/** Every figure that rows carry, the plain way: one loop a figure, sets of pages. */
function recompute(rows: readonly Row[]): Record<string, number | undefined> {
  const of = (...events: string[]) => rows.filter(({ event }) => events.includes(event));
  const sum = (column: string, ...events: string[]) =>
    of(...events).reduce((total, row) => total + num(row[column]), 0);
  const quantileOf = (share: number, ...events: string[]) =>
    quantile(of(...events).map((row) => num(row.cost_ns)), share);
  const stalls = ["fault", "swap_in", "stall"];
  const pages = followPages(rows);
  return {
    sim_time_ns: num(rows.at(-1)!.time_ns),
    events: rows.length - 1,
    allocs: of("alloc").filter(({ order }) => order !== "").length,
    frees: of("free").length,
    alloc_fails: of("alloc_fail").length,
    passes: of("pass").length,
    messages: of("send").length,
    kicks: of("kick").length,
    exits: of("exit").length,
    interrupts: of("interrupt").length,
    payload_bytes: sum("bytes", "send"),
    ranges: of("discard", "skip", "give_back").length,
    sent_pages: sum("pages", "send"),
    discarded_pages: sum("pages", "drop"),
    skipped_pages: sum("pages", "skip"),
    violations: of("violation").length,
    near_misses: of("near_miss").length,
    driver_cpu_ns: sum("cost_ns", "pass", "isolate", "put_back", "send", "kick", "exit", "interrupt"),
    host_cpu_ns: sum("cost_ns", "discard", "skip", "give_back", "swap_in", "swap_out", "fault"),
    guest_stall_ns: sum("cost_ns", ...stalls),
    stall_p99_ns: quantileOf(0.99, ...stalls),
    stall_max_ns: quantileOf(1, ...stalls),
    ack_p50_ns: quantileOf(0.5, "ack"),
    ack_p99_ns: quantileOf(0.99, "ack"),
    ...pages,
  };
}

/** What needs the pages themselves: residency, refaults, returns over time. */
function followPages(rows: readonly Row[]): Record<string, number | undefined> {
  const dropped = new Set<string>();
  const returns: { timeNs: number; pages: number }[] = [];
  let [refaults, resident, startResident, returned, integral, lastNs] = [0, 0, 0, 0, 0, 0];
  let [present, used, held, isolated, heldPeak] = [0, 0, 0, 0, 0];
  let starting = true;
  for (const row of rows) {
    const [timeNs, pages, pfn] = [num(row.time_ns), num(row.pages), num(row.pfn)];
    integral += resident * (timeNs - lastNs);
    lastNs = timeNs;
    const isStart = row.event === "present" || (row.event === "alloc" && row.order === "") ||
      (row.event === "fault" && num(row.cost_ns) === 0 && timeNs === 0);
    if (starting && !isStart) {
      starting = false;
      startResident = resident;
    }
    if (row.event === "fault") {
      resident += pages;
      for (let page = pfn; page < pfn + pages; page++) {
        if (dropped.delete(`${row.guest}:${page}`)) refaults++, returned--;
      }
      returns.push({ timeNs, pages: returned });
    } else if (row.event === "drop") {
      resident -= pages;
      returned += pages;
      for (let page = pfn; page < pfn + pages; page++) dropped.add(`${row.guest}:${page}`);
      returns.push({ timeNs, pages: returned });
    } else if (row.event === "present") present += pages;
    else if (row.event === "alloc") used += pages;
    else if (row.event === "free") used -= pages;
    else if (row.event === "hold") held += pages;
    else if (row.event === "release") held -= pages;
    else if (row.event === "isolate") isolated += pages;
    else if (row.event === "put_back") isolated -= pages;
    heldPeak = Math.max(heldPeak, held);
  }
  const firstFreeNs = rows.find(({ event }) => event === "free");
  const timeTo = (share: number) => {
    if (firstFreeNs === undefined || returned <= 0) return undefined;
    const reached = returns.find((one) => one.pages >= share * returned)!;
    return Math.max(0, reached.timeNs - num(firstFreeNs.time_ns));
  };
  return {
    refault_pages: refaults,
    resident_start_bytes: startResident * 4096,
    resident_end_bytes: resident * 4096,
    returned_bytes: returned * 4096,
    free_end_bytes: (present - used - held - isolated) * 4096,
    held_peak_bytes: heldPeak * 4096,
    time_to_50_ns: timeTo(0.5),
    time_to_90_ns: timeTo(0.9),
    resident_gib_min: integral * 4096 / 2 ** 30 / 60e9,
  };
}

const RUNS: readonly (readonly [name: string, args: readonly string[]])[] = [
  ["per-order, isolated", ["SMALL", "--set", "policy.action=reclaim", "--set", "policy.isolate=true"]],
  ["single-batch, allocated", [
    "SMALL",
    "--policy",
    "single-batch",
    "--set",
    "policy.acquire=allocate",
    "--set",
    "policy.action=reclaim",
  ]],
  ["skips over 4 KiB pages", ["SMALL", "--set", "host.backing=4k", "--encoding", "bitmap"]],
  ["the storm as posted", [
    `${REPOSITORY}/workloads/storm.yaml`,
    "--policy",
    "single-batch",
    "--set",
    "policy.action=reclaim",
    "--until",
    "60ms",
  ]],
  ["the recording under reporting", [
    `${REPOSITORY}/workloads/quickstart.yaml`,
    "--policy",
    "free-page-reporting",
    "--until",
    "12s",
  ]],
];

for (const [name, args] of RUNS) {
  Deno.test(`the figures of summary.csv are those of events.csv: ${name}`, async () => {
    using folder = new CliFolder();
    const words = args.map((word) => word === "SMALL" ? folder.write("small.yaml", SMALL) : word);
    const { status, err } = await folder.run([
      ...words,
      "--events",
      "csv",
      "--quiet",
      "--out",
      `${folder.path}/result`,
    ]);
    assert.equal(status, 0, err);
    const [summary] = parseCsv(folder.read("result/summary.csv"));
    const run = folder.list("result").find((file) => file.endsWith("/events.csv"))!;
    for (const [column, value] of Object.entries(recompute(parseCsv(folder.read(`result/${run}`))))) {
      if (column === "resident_gib_min") {
        // Sums in another order differ in the last digits of a double.
        assert.ok(
          Math.abs(num(summary[column]) - value!) <= 1e-9 * value!,
          `${column}: ${summary[column]} and ${value}`,
        );
      } else assert.equal(summary[column], value === undefined ? "" : String(value), column);
    }
  });
}
