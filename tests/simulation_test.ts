import assert from "node:assert/strict";
import { load, type RunResult, SAMPLE_COLUMNS, simulate, type SimulateOptions } from "../mod.ts";
import { policies } from "../policies/mod.ts";
import { CapacityError } from "../sim/core/capacity_error.ts";
import { policyPlugin } from "../sim/guest/plugin.ts";
import { requestsField } from "../sim/guest/requests.ts";
import { readSnapshots } from "../sim/guest/snapshot.ts";
import { Judge } from "../sim/host/judge.ts";
import { unpack } from "../sim/unpack.ts";
import { type LoadedScenario, loadScenario } from "../sim/load.ts";
import { buildMachine, simulateLoaded } from "../sim/simulate.ts";
import { workloads } from "../workloads/mod.ts";

const REPOSITORY = new URL("..", import.meta.url);
const read = (path: string) => Deno.readFileSync(new URL(`workloads/${path}`, REPOSITORY));

/** Small scenarios that between them use every workload, policy, transport and backing. */
const SCENARIOS: Readonly<Record<string, Record<string, unknown>>> = {
  "churn under per-order": {
    machine: { memory: "32MiB", vcpus: 2 },
    workload: {
      kind: "churn",
      orders: { 0: 3, 3: 1 },
      migratetypes: { movable: 8, unmovable: 1, reclaimable: 1 },
      lifetime: { mean: "100ms" },
      duration: "400ms",
    },
    policy: { kind: "per-order", requests: { every: "50ms" }, action: "reclaim", isolate: true },
    host: { backing: "4k", costs: "e5-2016" },
  },
  "churn with Pareto lifetimes, touched later": {
    machine: { memory: "64MiB", vcpus: 1, initOnAlloc: false },
    workload: {
      kind: "churn",
      orders: { 0: 1, 9: 1 },
      lifetime: { distribution: "pareto", mean: "100ms" },
      touch: "later",
      duration: "500ms",
    },
    policy: { kind: "single-batch", requests: { at: ["100ms", "300ms"] }, action: "reclaim", merge: "sorted" },
    transport: { kind: "hypercall" },
    encoding: "pfn-order",
  },
  "fill-drain under reporting": {
    machine: { memory: "512MiB", vcpus: 2 },
    workload: { kind: "fill-drain", cycles: 1, fill: "100ms", hold: "100ms", drain: "100ms", pause: "5s" },
    policy: { kind: "free-page-reporting" },
    host: { backing: "hugetlb" },
  },
  "storm with allocated blocks": {
    machine: { memory: "64MiB", vcpus: 2 },
    workload: { kind: "storm", duration: "30ms" },
    policy: { kind: "per-order", requests: { every: "5ms" }, acquire: "allocate", action: "reclaim" },
    encoding: { kind: "bitmap", granule: "4KiB" },
    transport: { kind: "virtqueue", size: 4, eventIndex: false },
  },
  "phases under nothing": {
    machine: { memory: "64MiB" },
    workload: [
      { kind: "idle", duration: "10ms" },
      { kind: "churn", for: "50ms", lifetime: { mean: "20ms" }, keep: true },
      { kind: "storm", for: "5ms", occupancy: 0.05 },
    ],
  },
  "a balloon that goes on after its guest's workload": {
    machine: { memory: "64MiB", vcpus: 1 },
    workload: { kind: "idle", duration: "1ms" },
    policy: { kind: "balloon", target: [{ at: 0, size: "32MiB" }] },
  },
  "two guests, one late": {
    guests: [
      {
        machine: { memory: "64MiB" },
        workload: { kind: "storm", duration: "10ms" },
        policy: { kind: "per-order", requests: { every: "3ms" } },
      },
      {
        count: 2,
        start: "5ms",
        machine: { memory: "32MiB" },
        workload: { kind: "fill-drain", cycles: 1, fill: "1ms", hold: "1ms", drain: "1ms", pause: "1ms" },
      },
    ],
  },
  "a recording": {
    until: "6s",
    workload: {
      kind: "page-trace",
      file: "recordings/b2-mixed.buddy.csv.gz",
      snapshots: "recordings/b2-mixed.snaps.json.gz",
    },
    policy: { kind: "free-page-reporting" },
  },
};

const open = (scenario: Record<string, unknown>, set: string[] = []) =>
  load({ hintsim: 1, ...scenario }, { read, set });

function eventBytes({ events }: RunResult): string {
  const rows: string[] = [];
  for (let i = 0; i < events!.count; i++) {
    const { timeNs, event, pfn, pages, order, zone, message, bytes, costNs, guest, cpu } = events!;
    rows.push(
      [timeNs[i], event[i], pfn[i], pages[i], order[i], zone[i], message[i], bytes[i], costNs[i], guest[i], cpu[i]]
        .join(),
    );
  }
  return rows.join("\n");
}

for (const [name, scenario] of Object.entries(SCENARIOS)) {
  Deno.test(`${name}: the rows are the same in slices of one event, the fingerprint whatever is kept`, async () => {
    const loaded = await open(scenario);
    const [whole] = simulate(loaded, { events: true });
    assert.ok(whole.events!.count > 3 && whole.finding === undefined, String(whole.finding));
    const [sliced] = simulate(loaded, { events: true, slice: 1 });
    assert.equal(eventBytes(sliced) === eventBytes(whole), true);
    const variants = [{}, { samples: false }, { check: true, events: true }, { check: true, slice: 7 }];
    for (const options of variants) assert.equal(simulate(loaded, options)[0].fingerprint, whole.fingerprint);
    // The time between samples is part of the scenario, not of the fingerprint.
    const [other] = simulate(await open(scenario, ["output.sample=7ms"]));
    assert.equal(other.fingerprint, whole.fingerprint);
  });

  Deno.test(`${name}: what is free and still backed, by a walk over all lists, is what the last sample says`, async () => {
    const loaded = await open(scenario) as LoadedScenario;
    const samples: (readonly number[])[] = [];
    const machine = buildMachine(loaded, loaded.runs[0], { onSample: (sample) => samples.push(sample) });
    machine.runToEnd();
    const last = samples.slice(-machine.guests.length);
    for (const [index, { guest, backing }] of machine.guests.entries()) {
      let pages = 0;
      for (const zone of guest.zones) zone.forEachFree((pfn, order) => pages += backing.residentIn(pfn, 2 ** order));
      assert.equal(last[index][SAMPLE_COLUMNS.indexOf("resident_free_bytes")], pages * 4096);
    }
  });

  Deno.test(`${name}: the checkers find nothing wrong, pages are conserved in every sample`, async () => {
    const [run] = simulate(await open(scenario), { check: true });
    assert.deepEqual(run.problems, []);
    const { samples } = run;
    const guests = new Map<number, number>();
    for (let i = 0; i < samples.time_ns.length; i++) {
      const parts = ["free", "pcp", "used", "isolated", "held"] as const;
      const total = parts.reduce((sum, part) => sum + samples[`${part}_bytes`][i], 0);
      const before = guests.get(samples.guest[i]) ?? total;
      assert.equal(total, before);
      guests.set(samples.guest[i], total);
      let free = 0;
      for (let order = 0; order <= 10; order++) free += samples[`free_order_${order}`][i] * 4096 * 2 ** order;
      assert.equal(free, samples.free_bytes[i]);
      assert.ok(samples.used_bytes[i] >= 0 && samples.resident_free_bytes[i] <= samples.free_bytes[i]);
    }
  });
}

for (
  const { name } of [...Deno.readDirSync(new URL("workloads", REPOSITORY))].filter(({ name }) => name.endsWith(".yaml"))
) {
  Deno.test(`workloads/${name}: each run has one fingerprint, in slices of one event, checked, and again`, async () => {
    const loaded = await load(name, { read });
    const prints = (options: SimulateOptions) => simulate(loaded, options).map(({ fingerprint }) => fingerprint);
    const plain = prints({});
    for (const options of [{ slice: 1 }, { check: true, samples: false }, {}]) assert.deepEqual(prints(options), plain);
  });
}

Deno.test("another seed or replication gives other rows, the same seed the same", async () => {
  const scenario = SCENARIOS["churn under per-order"];
  const print = async (set: string[]) => simulate(await open(scenario, set)).map(({ fingerprint }) => fingerprint);
  const [seed1] = await print([]);
  const [again] = await print(["seed=1"]);
  const [seed2] = await print(["seed=2"]);
  assert.equal(again, seed1);
  assert.notEqual(seed2, seed1);
  const reps = simulate(await load({ hintsim: 1, ...scenario }, { reps: 3 })).map(({ fingerprint }) => fingerprint);
  assert.equal(new Set(reps).size, 3);
  assert.equal(reps[0], seed1);
});

Deno.test("every policy sees the same requests: operations and their outcome do not depend on it", async () => {
  const set = [`policy.kind=${policies.map(({ name }) => name).join(",")}`, "policy.requests={every: 50ms}"];
  const { policy: _, ...scenario } = SCENARIOS["churn under per-order"];
  const runs = simulate(await open(scenario, set), { events: true });
  assert.equal(runs.length, policies.length);
  for (const { summary } of runs) {
    assert.equal(summary.allocs, runs[0].summary.allocs);
    assert.equal(summary.frees, runs[0].summary.frees);
  }
});

Deno.test("without a policy a replayed recording ends in the kernel's own free lists", async () => {
  const { workload } = SCENARIOS["a recording"];
  const loaded = await open({ workload });
  const machine = buildMachine(loaded as LoadedScenario, (loaded as LoadedScenario).runs[0], {});
  assert.equal(machine.runToEnd().figures.allocFails, 0);
  const snapshots = readSnapshots(await unpack("", read("recordings/b2-mixed.snaps.json.gz")));
  const { free } = snapshots.get("s6")!;
  for (const zone of machine.guests[0].guest.zones) {
    for (let order = 0; order <= 10; order++) {
      for (let type = 0; type < 5; type++) {
        const list: number[] = [];
        for (let pfn = zone.allocator.first(order, type); pfn >= 0; pfn = zone.allocator.next(pfn, order)) {
          list.push(pfn);
        }
        const kernel = free.find((one) => one.zone === zone.index && one.order === order && one.migratetype === type);
        assert.deepEqual(list, kernel?.pfns ?? []);
      }
    }
  }
});

Deno.test("a run ends at until, or when workload and policy are idle, and every send has its ack", async () => {
  const { workload } = SCENARIOS["fill-drain under reporting"];
  const ended = async (scenario: Record<string, unknown>) => simulate(await open(scenario), { events: true })[0];
  const base = { machine: { memory: "512MiB", vcpus: 2 }, workload };
  const idle = await ended({ ...base, policy: { kind: "free-page-reporting" } });
  const none = await ended(base);
  assert.ok(Number(idle.summary.sim_time_ns) >= 5.3e9 && Number(idle.summary.sim_time_ns) < 66e9);
  assert.ok(Number(none.summary.sim_time_ns) < 6e9);
  // 1 ms after the request its messages are under way.
  const cut = await ended({ ...base, until: "2001ms", policy: { kind: "per-order", requests: { at: ["2s"] } } });
  assert.ok(Number(cut.summary.messages) > 0 && Number(cut.summary.sim_time_ns) >= 2.001e9);
  for (const { events } of [idle, cut]) {
    const count = (name: string) => events!.event.filter((code) => events!.eventNames[code] === name).length;
    assert.equal(count("send"), count("ack"));
    assert.equal(events!.eventNames[events!.event[events!.count - 1]], "end");
  }
});

Deno.test("the event limit ends a run with a sentence that says where", async () => {
  const [run] = simulate(await open(SCENARIOS["churn under per-order"]), { eventsMax: 500 });
  assert.match(
    run.finding!,
    /^the limit of 500 events was reached at \d+ ns, after an event of "[a-z]+", with \d+ events pending$/,
  );
});

Deno.test("the event limit ends a run at the same row whatever is sampled, checked or sliced", async () => {
  const loaded = await open(SCENARIOS["churn under per-order"]);
  const limited = (options: SimulateOptions) => simulate(loaded, { eventsMax: 2000, ...options })[0];
  const plain = limited({ events: true });
  // One event may write a few rows more, the end row stands behind them.
  assert.ok(plain.events!.count >= 2000 && plain.events!.count < 2020, `${plain.events!.count} rows`);
  for (
    const options of [{ samples: false }, { check: true }, { slice: 1 }, { check: true, slice: 3, samples: false }]
  ) {
    const { fingerprint, summary } = limited(options);
    assert.deepEqual([fingerprint, summary.sim_time_ns], [plain.fingerprint, plain.summary.sim_time_ns]);
  }
});

Deno.test("a policy that keeps what guests wait for is found, sampled or not", async () => {
  const keeper = policyPlugin({
    name: "keeper",
    summary: "isolates everything and keeps it",
    source: "a test",
    options: { fields: { requests: requestsField() } },
    needs: ["requests"],
    create: ({ driver, zones }) => ({
      *onRequest() {
        driver.pass();
        for (const zone of zones) {
          for (let pfn = zone.allocator.first(10, 1); pfn >= 0; pfn = zone.allocator.first(10, 1)) {
            if (!driver.isolate(zone, pfn, 10)) break;
          }
        }
        yield driver.commit();
      },
    }),
  });
  const scenario = {
    hintsim: 1,
    machine: { memory: "64MiB", thp: false, vcpus: 2 },
    workload: { kind: "fill-drain", cycles: 1, orders: { 10: 1 }, fill: "100ms", occupancy: 0.9 },
    policy: { kind: "keeper", requests: { at: ["10ms"] } },
  };
  const loaded = await loadScenario(scenario, {}, { policies: [...policies, keeper], workloads });
  const ends = [{}, { samples: false }, { slice: 1 }].map((options) => simulateLoaded(loaded, options)[0]);
  for (const { finding, fingerprint } of ends) {
    assert.match(finding!, /^2 CPUs wait for memory that never comes back at \d+ ns/);
    assert.equal(fingerprint, ends[0].fingerprint);
  }
});

Deno.test("requests of the host that go on for ever do not keep a run alive", async () => {
  const { policy: _, ...scenario } = SCENARIOS["churn under per-order"];
  for (const every of ["1ms", "7ms", "50ms"]) {
    const policy = { kind: "per-order", requests: { every }, isolate: true };
    const [{ summary }] = simulate(await open({ ...scenario, policy }));
    assert.ok(Number(summary.sim_time_ns) < 0.5e9, `${every}: ended at ${summary.sim_time_ns}`);
  }
});

Deno.test("a host that runs out of memory ends the run", async () => {
  const [run] = simulate(await open({ ...SCENARIOS["fill-drain under reporting"], host: { memory: "64MiB" } }));
  assert.match(run.finding!, /^the host is out of memory at \d+ ns/);
});

Deno.test("storm: as posted pages in use are lost, isolated none, and allocations go on while blocks are in flight", async () => {
  const text = new TextDecoder().decode(read("storm.yaml"));
  const set = ["policy.kind=per-order,single-batch", "policy.action=reclaim"];
  const posted = simulate(await load(text, { set }), { check: true });
  const isolated = simulate(await load(text, { set: [...set, "policy.isolate=true"] }), { check: true, events: true });
  const golden = JSON.parse(Deno.readTextFileSync(new URL("tests/golden/storm.json", REPOSITORY)));
  assert.deepEqual(
    Object.fromEntries(
      posted.map(({ name, summary }) => [name, { violations: summary.violations, pages: summary.violation_pages }]),
    ),
    golden,
  );
  for (const [index, run] of isolated.entries()) {
    assert.ok(Number(posted[index].summary.violations) >= 10);
    assert.deepEqual([...run.problems, ...posted[index].problems], []);
    assert.equal(run.summary.violations, 0);
    assert.ok(allocsInFlight(run) >= 1000, `${allocsInFlight(run)} allocations in flight`);
    const share = Number(run.summary.sent_pages) / Number(posted[index].summary.sent_pages);
    assert.ok(share > 0.9 && share < 1.1, `reported pages ${share}`);
  }
});

/** Allocations that succeeded while the driver had isolated blocks. */
function allocsInFlight({ events }: RunResult): number {
  let isolated = 0;
  let allocs = 0;
  for (let i = 0; i < events!.count; i++) {
    const name = events!.eventNames[events!.event[i]];
    if (name === "isolate") isolated += events!.pages[i];
    else if (name === "put_back") isolated -= events!.pages[i];
    else if (name === "alloc" && events!.order[i] >= 0 && isolated > 0) allocs++;
  }
  return allocs;
}

Deno.test("a host that does not ask who owns a page is caught by the checkers", async () => {
  const text = new TextDecoder().decode(read("storm.yaml"));
  const loaded = await load(text, { set: ["policy.kind=per-order", "policy.action=reclaim"] });
  const asks = Judge.prototype.reclaim;
  // The mutant: drops happen, but nobody says that the pages were in use.
  Judge.prototype.reclaim = () => {};
  try {
    const [run] = simulate(loaded, { check: true });
    assert.equal(run.summary.violations, 0);
    assert.ok(run.problems.length >= 10, `${run.problems.length} problems`);
    assert.match(run.problems[0], /violation/);
  } finally {
    Judge.prototype.reclaim = asks;
  }
});

Deno.test("a limit of a model ends the run where it was reached, with its sentence as the finding", async () => {
  const policy = policyPlugin<Record<never, never>>({
    name: "greedy",
    summary: "fills a list without end",
    source: "this test",
    options: { fields: {} },
    create: ({ sim }) => ({
      start: () => {
        const kind = sim.register("greedy", () => {
          throw new CapacityError("the lists hold at most 3 entries");
        });
        sim.after(1000, kind);
      },
    }),
  });
  const scenario = {
    hintsim: 1,
    machine: { memory: "16MiB" },
    workload: { kind: "idle" },
    policy: { kind: "greedy" },
  };
  const loaded = await loadScenario(scenario, {}, { policies: [...policies, policy], workloads });
  const [run] = simulateLoaded(loaded, { check: true });
  assert.match(run.finding!, /^the lists hold at most 3 entries at 1000 ns, after an event of "greedy"/);
  assert.deepEqual(run.problems, []);
});
