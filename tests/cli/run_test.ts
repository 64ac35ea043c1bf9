import assert from "node:assert/strict";
import { policies } from "../../policies/mod.ts";
import { workloads } from "../../workloads/mod.ts";
import { CliFolder, parseCsv, REPOSITORY, SMALL } from "./run_cli.ts";

const EVENT_COLUMNS = "time_ns,actor,event,pfn,pages,order,zone,message,bytes,cost_ns,guest,cpu";
const SAMPLE_COLUMNS =
  "time_ns,guest,resident_bytes,free_bytes,free_huge_bytes,pcp_bytes,isolated_bytes,used_bytes,cache_bytes,held_bytes," +
  "reported_bytes,resident_free_bytes,free_order_0,free_order_1,free_order_2,free_order_3,free_order_4,free_order_5," +
  "free_order_6,free_order_7,free_order_8,free_order_9,free_order_10,unusable_free_index_order_0," +
  "unusable_free_index_order_1,unusable_free_index_order_2,unusable_free_index_order_3,unusable_free_index_order_4," +
  "unusable_free_index_order_5,unusable_free_index_order_6,unusable_free_index_order_7,unusable_free_index_order_8," +
  "unusable_free_index_order_9,unusable_free_index_order_10,fragmentation_index_order_3,fragmentation_index_order_9," +
  "fragmentation_index_order_10,unmovable_pageblocks,movable_pageblocks,reclaimable_pageblocks,highatomic_pageblocks," +
  "isolate_pageblocks";
const SUMMARY_COLUMNS =
  "fingerprint,sim_time_ns,events,allocs,frees,alloc_fails,passes,messages,kicks,exits,interrupts,payload_bytes,ranges," +
  "sent_pages,discarded_pages,skipped_pages,refault_pages,violations,near_misses,walk_visits,metadata_peak_bytes," +
  "encode_ns,decode_ns,zone_lock_ns,zone_lock_max_ns,held_peak_bytes,resident_start_bytes,resident_end_bytes," +
  "free_end_bytes,returned_bytes,time_to_50_ns,time_to_90_ns,resident_gib_min,driver_cpu_ns,host_cpu_ns,guest_stall_ns," +
  "stall_p99_ns,stall_max_ns,ack_p50_ns,ack_p99_ns";

Deno.test("a single run writes manifest, summary, events and samples with the columns of the contract", async () => {
  using folder = new CliFolder();
  const { status, out, err } = await folder.run([folder.write("small.yaml", SMALL)]);
  assert.equal(status, 0, err);
  assert.match(err, /^events: csv, about \d+ rows; --events none leaves them out\n$/);
  assert.match(out, /returned +[\d.]+[KMG]?i?B/);
  assert.deepEqual(folder.list("out"), [
    "small",
    "small/manifest.json",
    "small/run",
    "small/run/events.csv",
    "small/run/samples.csv",
    "small/summary.csv",
  ]);
  const events = folder.read("out/small/run/events.csv");
  assert.ok(events.startsWith(`${EVENT_COLUMNS}\n0,guest,present,`));
  assert.match(events.trimEnd().split("\n").at(-1)!, /^\d+,guest,end,,,,,,,0,,$/);
  assert.equal(folder.read("out/small/run/samples.csv").split("\n")[0], SAMPLE_COLUMNS);
  assert.ok(folder.read("out/small/summary.csv").startsWith(`run,policy,encoding,seed,rep,${SUMMARY_COLUMNS},`));
  const manifest = JSON.parse(folder.read("out/small/manifest.json"));
  assert.equal(manifest.seed, 1);
  assert.equal(manifest.scenario.machine.memory, "64MiB");
  assert.equal(manifest.costs.name, "xeon6252-2024");
  assert.match(manifest.runs[0].fingerprint, /^[0-9a-f]{16}$/);
});

Deno.test("the same command writes the same bytes, --jobs changes nothing, a result is replaced", async () => {
  using folder = new CliFolder();
  const file = folder.write("small.yaml", SMALL);
  const texts = async (args: string[]) => {
    assert.equal((await folder.run([file, "--quiet", ...args])).status, 0);
    return ["manifest.json", "summary.csv", "run/events.csv", "run/samples.csv"].map((name) =>
      folder.read(`out/small/${name}`)
    );
  };
  const first = await texts([]);
  assert.deepEqual(await texts([]), first);
  assert.deepEqual(await texts(["--jobs", "2"]), first);
});

Deno.test("a grid has one folder per run, named by its axes, in the order of the command line, then of the file", async () => {
  using folder = new CliFolder();
  const file = folder.write("grid.yaml", SMALL.replace("vcpus: 2", "vcpus: [1, 2]"));
  const { status, err } = await folder.run([
    file,
    "--set",
    "policy.isolate=true,false",
    "--policy",
    "per-order,single-batch",
  ]);
  assert.equal(status, 0, err);
  assert.match(err, /^events: none for a grid of 8 runs; --events csv writes them\n$/);
  const { runs } = JSON.parse(folder.read("out/small/manifest.json"));
  assert.deepEqual(runs.slice(0, 3).map(({ run }: { run: string }) => run), [
    "policy.isolate=true,policy.kind=per-order,machine.vcpus=1",
    "policy.isolate=true,policy.kind=per-order,machine.vcpus=2",
    "policy.isolate=true,policy.kind=single-batch,machine.vcpus=1",
  ]);
  const [header, first] = folder.read("out/small/summary.csv").split("\n");
  assert.ok(header.startsWith("run,policy,encoding,seed,rep,policy.isolate,policy.kind,machine.vcpus,fingerprint,"));
  const name = "policy.isolate=true,policy.kind=per-order,machine.vcpus=1";
  assert.ok(first.startsWith(`"${name}",per-order,pfn-len,1,0,true,per-order,1,`));
  assert.ok(
    Deno.statSync(`${folder.path}/out/small/policy.isolate=true,policy.kind=per-order,machine.vcpus=1`).isDirectory,
  );
});

Deno.test("replications have streams of their own and a column", async () => {
  using folder = new CliFolder();
  assert.equal((await folder.run([folder.write("small.yaml", SMALL), "--reps", "2", "--quiet"])).status, 0);
  const rows = parseCsv(folder.read("out/small/summary.csv"));
  assert.deepEqual(rows.map(({ run, rep }) => [run, rep]), [["rep=0", "0"], ["rep=1", "1"]]);
  assert.notEqual(rows[0].fingerprint, rows[1].fingerprint);
});

Deno.test("--policy keeps the options that the new kind has and says what it drops", async () => {
  using folder = new CliFolder();
  const file = folder.write("small.yaml", SMALL);
  const { err, status } = await folder.run([file, "--policy", "free-page-reporting"]);
  assert.equal(status, 0);
  assert.match(err, /^policy\.requests does not apply to free-page-reporting$/m);
  const unknown = await folder.run([file, "--policy", "none,per-order", "--set", "policy.delay=1s"]);
  assert.equal(unknown.status, 2);
  assert.match(unknown.err, /^--set policy\.delay: unknown key "delay"/);
  const some = await folder.run([file, "--policy", "none,free-page-reporting", "--set", "policy.delay=1s"]);
  assert.equal(some.status, 0);
  assert.match(some.err, /policy\.delay, policy\.requests do(es)? not apply to none|policy\.requests, policy\.delay/);
});

Deno.test("--json prints the result and nothing else", async () => {
  using folder = new CliFolder();
  const { out, err } = await folder.run([folder.write("small.yaml", SMALL), "--json"]);
  const { runs } = JSON.parse(out);
  assert.equal(err, "");
  assert.equal(runs[0].run, "run");
  assert.deepEqual(runs[0].findings, []);
});

Deno.test("--dry-run and --print-defaults run nothing and write nothing", async () => {
  using folder = new CliFolder();
  const file = folder.write("small.yaml", SMALL);
  const dry = await folder.run([file, "--dry-run"]);
  assert.match(dry.out, /^run +until +rows +events\.csv\nrun +workload +~\d+ /);
  const { out } = await folder.run([file, "--print-defaults"]);
  assert.match(out, /^ {2}kernel: "6\.1"$/m);
  // What is printed is a scenario again, and the same one.
  const again = await folder.run([folder.write("printed.yaml", out), "--print-defaults"]);
  assert.equal(again.out, out);
  assert.deepEqual(folder.list("out"), []);
});

Deno.test("events: none for runs above five million rows, an explicit choice is obeyed", async () => {
  using folder = new CliFolder();
  const long = SMALL.replace("duration: 1s", "duration: 100000s");
  const { err } = await folder.run([folder.write("long.yaml", `${long}until: 1ms\n`)]);
  assert.match(err, /^events: csv/);
  const many = await folder.run([folder.write("long.yaml", long), "--events-max", "1000"]);
  assert.match(many.err, /^events: none for about \d+ rows; --events csv writes them$/m);
  await folder.run([folder.write("small.yaml", SMALL), "--events", "none", "--quiet"]);
  assert.ok(!folder.list("out/small").includes("run/events.csv"));
});

Deno.test("a run that reaches the event limit ends with status 1 and a sentence that says where", async () => {
  using folder = new CliFolder();
  const { status, err } = await folder.run([folder.write("small.yaml", SMALL), "--events-max", "500", "--quiet"]);
  assert.equal(status, 1);
  assert.match(
    err,
    /^run: the limit of 500 events was reached at \d+ ns, after an event of "\w+", with \d+ events pending\n$/,
  );
  assert.ok(folder.list("out/small").includes("run/events.csv"));
});

Deno.test("violations give status 1 under --check and 0 without", async () => {
  using folder = new CliFolder();
  const args = [
    `${REPOSITORY}/workloads/storm.yaml`,
    "--policy",
    "per-order",
    "--set",
    "policy.action=reclaim",
    "--quiet",
  ];
  assert.equal((await folder.run(args)).status, 0);
  const { status, err } = await folder.run([...args, "--check"]);
  assert.equal(status, 1);
  assert.match(err, /^run: \d+ violations: \d+ pages in use were dropped\n$/);
  assert.equal((await folder.run([...args, "--check", "--set", "policy.isolate=true"])).status, 0);
});

Deno.test("every run is built once: a recording is parsed once for its estimate, its refusals and its run", async () => {
  using folder = new CliFolder();
  let built = 0;
  const counted = workloads.map((plugin): typeof plugin => ({
    ...plugin,
    create: (context, options) => {
      built++;
      return plugin.create(context, options);
    },
  }));
  const args = [folder.write("small.yaml", SMALL), "--quiet", "--events", "csv", "--check"];
  const registries = { policies, workloads: counted };
  assert.equal((await folder.run(args, REPOSITORY, registries)).status, 0);
  assert.equal(built, 1);
  assert.equal((await folder.run([...args, "--set", "machine.vcpus=1,2"], REPOSITORY, registries)).status, 0);
  assert.equal(built, 3);
});

Deno.test("a folder that is not a result of hintsim is refused, untouched", async () => {
  using folder = new CliFolder();
  Deno.mkdirSync(`${folder.path}/out/small`, { recursive: true });
  folder.write("out/small/thesis.txt", "mine");
  const { status, err } = await folder.run([folder.write("small.yaml", SMALL), "--quiet"]);
  assert.equal(status, 2);
  assert.equal(err, "out/small: exists and is not a result of hintsim; name another folder with --out\n");
  assert.deepEqual(folder.list("out"), ["small", "small/thesis.txt"]);
});

Deno.test("a folder with a foreign manifest, or with more in it than a result, is refused, untouched", async () => {
  using folder = new CliFolder();
  const file = folder.write("small.yaml", SMALL);
  Deno.mkdirSync(`${folder.path}/web`);
  folder.write("web/manifest.json", JSON.stringify({ name: "my extension" }));
  assert.equal((await folder.run([file, "--quiet", "--out", `${folder.path}/web`])).status, 2);
  assert.deepEqual(folder.list("web"), ["manifest.json"]);
  assert.equal((await folder.run([file, "--quiet"])).status, 0);
  folder.write("out/small/notes.txt", "mine");
  const { status, err } = await folder.run([file, "--quiet"]);
  assert.equal(status, 2);
  assert.match(err, /^out\/small: exists and is not a result of hintsim/);
  assert.ok(folder.list("out/small").includes("notes.txt"));
});

Deno.test("an option that does not apply to a kind makes no further runs of it", async () => {
  using folder = new CliFolder();
  const args = ["--policy", "per-order,free-page-reporting", "--set", "policy.order=8,9", "--dry-run", "--quiet"];
  const { out } = await folder.run([folder.write("small.yaml", SMALL), ...args]);
  assert.deepEqual(out.trimEnd().split("\n").slice(1).map((line) => line.split(" ")[0]), [
    "policy.kind=per-order",
    "policy.kind=free-page-reporting,policy.order=8",
    "policy.kind=free-page-reporting,policy.order=9",
  ]);
});

Deno.test("lists are axes inside of guests and of records, and {axis: [...]} is one where a list is wanted", async () => {
  using folder = new CliFolder();
  const names = async (text: string) => {
    const { out, err } = await folder.run([folder.write("axes.yaml", text), "--dry-run"]);
    assert.equal(err, "");
    return out.trimEnd().split("\n").slice(1).map((line) => line.split(" ")[0]);
  };
  const guest = "machine: {memory: 64MiB}, workload: idle";
  assert.deepEqual(await names(`hintsim: 1\nguests: [{${guest}, policy: {kind: [none, per-order]}}]\n`), [
    "guests.0.policy.kind=none",
    "guests.0.policy.kind=per-order",
  ]);
  assert.deepEqual(await names("hintsim: 1\nworkload: {kind: churn, lifetime: {mean: [1s, 2s]}}\n"), [
    "workload.lifetime.mean=1s",
    "workload.lifetime.mean=2s",
  ]);
  const requests = "policy: {kind: per-order, requests: {at: {axis: [[1s], [1s, 2s]]}}}";
  assert.deepEqual(await names(`hintsim: 1\nworkload: idle\n${requests}\n`), [
    "policy.requests.at=0",
    "policy.requests.at=1",
  ]);
});

Deno.test("verify says which snapshots it could not compare, and does not call that identical", async () => {
  using folder = new CliFolder();
  const stream = new Blob([Deno.readFileSync(`${REPOSITORY}/workloads/recordings/b2-mixed.buddy.csv.gz`)]).stream();
  const text = await new Response(stream.pipeThrough(new DecompressionStream("gzip"))).text();
  const cut = folder.write("cut.csv", text.split("\n").slice(0, 1000).join("\n") + "\n");
  const snapshots = `${REPOSITORY}/workloads/recordings/b2-mixed.snaps.json.gz`;
  const { status, out } = await folder.run(["trace", "verify", cut, "--snapshots", snapshots]);
  assert.equal(status, 1);
  assert.match(out, /^not compared: snapshots s2, s3, s4, s5, s6$/m);
});

Deno.test("an interrupt keeps the finished runs, and --continue ends with the same files as a run in one go", async () => {
  using folder = new CliFolder();
  const file = folder.write("small.yaml", SMALL);
  const args = [file, "--set", "machine.vcpus=1,2,3", "--events", "csv", "--quiet"];
  await folder.run([...args, "--out", `${folder.path}/whole`]);
  // The signal comes while the second run is in flight: when the first is in its place.
  folder.interrupt = (now) => {
    const look = setInterval(() => {
      if (!folder.list("out/.partial/small").includes("machine.vcpus=1")) return;
      clearInterval(look);
      now();
    }, 0);
  };
  const stopped = await folder.run(args);
  assert.equal(stopped.status, 130);
  assert.match(
    stopped.err,
    /^interrupted: \d of 3 runs are finished and kept; go on with: deno task sim .* --continue\n$/,
  );
  assert.deepEqual(folder.list("out").filter((name) => !name.startsWith(".partial")), []);
  folder.interrupt = undefined;
  assert.equal((await folder.run([...args, "--continue"])).status, 0);
  const files = folder.list("out/small").filter((name) => name.endsWith(".csv"));
  assert.deepEqual(files, folder.list("whole").filter((name) => name.endsWith(".csv")));
  for (const name of files) assert.equal(folder.read(`out/small/${name}`), folder.read(`whole/${name}`));
  assert.deepEqual(folder.list("out").filter((name) => name.startsWith(".partial")), []);
});

Deno.test("an interrupt of a single run leaves nothing", async () => {
  using folder = new CliFolder();
  folder.interrupt = (now) => now();
  const { status, err } = await folder.run([folder.write("small.yaml", SMALL), "--quiet"]);
  assert.equal(status, 130);
  assert.equal(err, "interrupted: nothing was kept\n");
  assert.deepEqual(folder.list("out"), []);
});

Deno.test("list shows every policy, encoding and workload with options, as text and as JSON", async () => {
  using folder = new CliFolder();
  const { out } = await folder.run(["list", "policies"]);
  for (const name of ["none", "per-order", "single-batch", "free-page-reporting"]) {
    assert.match(out, new RegExp(`^${name}: `, "m"));
  }
  const json = JSON.parse((await folder.run(["list", "--json"])).out);
  assert.deepEqual(Object.keys(json), [
    "policies",
    "encodings",
    "workloads",
    "users",
    "hosts",
    "costs",
    "trackers",
    "slots",
  ]);
  for (const { summary, source } of [...json.policies, ...json.workloads, ...json.encodings]) {
    assert.ok(summary && source);
  }
  for (const { options } of json.costs) {
    for (const { role } of options) assert.match(role, /^(measured|derived|assumed)$/);
  }
});

Deno.test("check validates scenarios and recordings and runs nothing", async () => {
  using folder = new CliFolder();
  const { out } = await folder.run(["check", "workloads/quickstart.yaml"]);
  assert.equal(out, "workloads/quickstart.yaml: fine, 3 runs\n");
  assert.equal((await folder.run(["check", "workloads/recordings/b2-mixed.buddy.csv.gz"])).status, 0);
  assert.equal((await folder.run(["check", folder.write("bad.yaml", "hintsim: 2\n")])).status, 2);
  assert.deepEqual(folder.list("out"), []);
});

Deno.test("a bare recording runs with the snapshots beside it, or with machine.memory", async () => {
  using folder = new CliFolder();
  const recording = `${REPOSITORY}/workloads/recordings/b2-mixed.buddy.csv.gz`;
  assert.equal((await folder.run([recording, "--until", "5s", "--quiet"])).status, 0);
  assert.ok(folder.list("out").includes("b2-mixed.buddy/summary.csv"));
  Deno.copyFileSync(recording, `${folder.path}/alone.csv.gz`);
  const without = await folder.run([`${folder.path}/alone.csv.gz`]);
  assert.equal(without.status, 2);
  assert.match(without.err, /alone\.csv\.gz: machine: a recording without snapshots needs machine\.memory/);
  const memory = ["--set", "machine.memory=1GiB", "--quiet"];
  assert.equal((await folder.run([`${folder.path}/alone.csv.gz`, "--until", "5s", ...memory])).status, 0);
});

Deno.test("trace verify: identical is 0, one page changed is 1 and says where", async () => {
  using folder = new CliFolder();
  const same = await folder.run(["trace", "verify", "workloads/recordings/b2-mixed.buddy.csv.gz"]);
  assert.equal(same.status, 0);
  assert.match(same.out, /^s6 +96999 +110\/110 +0 +0 +identical$/m);
  assert.match(same.out, /^0 of 50254 allocations got another page \(46745 frees\)$/m);
  const stream = new Blob([Deno.readFileSync(`${REPOSITORY}/workloads/recordings/b2-mixed.buddy.csv.gz`)]).stream();
  const text = await new Response(stream.pipeThrough(new DecompressionStream("gzip"))).text();
  // Row 4 takes page 62081 and row 5 page 62082; a kernel that picked them the other way round is another kernel.
  const falsified = folder.write("false.csv", text.replace(/Z,62081,0,0,1\n19,Z,62082/, "Z,62082,0,0,1\n19,Z,62081"));
  const snapshots = `${REPOSITORY}/workloads/recordings/b2-mixed.snaps.json.gz`;
  const different = await folder.run(["trace", "verify", falsified, "--snapshots", snapshots]);
  assert.equal(different.status, 1, different.err);
  assert.match(different.out, /^first at row 4: the kernel picked page 62082, the allocator 62081$/m);
  const taken = folder.write("taken.csv", text.replace("Z,62082,0,0,1", "Z,62081,0,0,1"));
  const refused = await folder.run(["trace", "verify", taken, "--snapshots", snapshots]);
  assert.equal(refused.status, 2);
  assert.match(refused.err, /^\S+taken\.csv:5: allocates page 62081, which is in use\n$/);
});
