/** The recorder against a tree that looks like tracefs: what it asks for, what it leaves, what it says. */
import assert from "node:assert/strict";
import { InputError } from "../../sim/core/options.ts";
import { writeTraceRows } from "../../sim/guest/trace_rows.ts";
import { readKernelText } from "../../sim/guest/trace_text/kernel_text.ts";
import { unpack } from "../../sim/unpack.ts";

const SCRIPT = decodeURIComponent(new URL("../../docs/record.sh", import.meta.url).pathname);
const EVENTS = [
  "mm_page_alloc",
  "mm_page_alloc_zone_locked",
  "mm_page_free",
  "mm_page_free_batched",
  "mm_page_pcpu_drain",
  "mm_page_alloc_extfrag",
];
const KALLSYMS = [
  "ffffffffb30f2a70 t __free_one_page",
  "ffffffffb30f35f0 t free_one_page.constprop.0",
  "ffffffffb30f37c0 t __free_pages_ok",
  "ffffffffb30f6860 T __isolate_free_page",
  "ffffffffb30f6b10 T __putback_isolated_page",
  "ffffffffb30f9560 T __alloc_pages_bulk",
  "ffffffffb30f9561 T alloc_pages_bulk_noprof",
  "ffffffffb30f9562 t decay_pcp_high",
  "ffffffffc0000000 t free_one_page_of_a_module\t[other]",
].join("\n") + "\n";
const TRACE = `# tracer: nop
# entries-in-buffer/entries-written: 3/3   #P:2
              sh-97      [000] .....  24559453763: tracing_mark_write: reading s0
              sh-97      [001] .....  24561465487: mm_page_pcpu_drain: page=0000000009d0df47 pfn=0x18c4 order=1 migratetype=0
              sh-97      [000] .....  24561465999: tracing_mark_write: hintsim:S s0
`;

interface Recorded {
  readonly status: number;
  readonly err: string;
}

/** A tree that looks like tracefs and /proc; the commands that make and remove an instance are replaced. */
class FakeGuest {
  readonly path = Deno.makeTempDirSync({ prefix: "hintsim-recorder-" });
  readonly tracefs = `${this.path}/tracing`;

  constructor() {
    for (const event of EVENTS) this.write(`instance/events/kmem/${event}/enable`, "0\n");
    this.write("instance/events/enable", "0\n");
    this.write("instance/events/hintsim/enable", "0\n");
    this.write("instance/trace_clock", "local [global] mono x86-tsc\n");
    this.write("instance/options/overwrite", "1\n");
    this.write("instance/tracing_on", "1\n");
    this.write("instance/buffer_size_kb", "7\n");
    this.write("instance/trace", TRACE);
    this.write("instance/per_cpu/cpu0/stats", "entries: 3\noverrun: 0\ncommit overrun: 0\ndropped events: 0\n");
    this.write("instance/per_cpu/cpu1/stats", "entries: 3\noverrun: 0\ncommit overrun: 0\ndropped events: 0\n");
    this.write("tracing/events/kmem/mm_page_alloc_zone_locked/enable", "0\n");
    this.write("tracing/kprobe_events", "");
    this.write("tracing/tracing_on", "1\n");
    Deno.mkdirSync(`${this.tracefs}/instances`);
    this.write("proc/kallsyms", KALLSYMS);
    this.write("proc/cpuinfo", "cpu MHz\t\t: 2100.000\n");
    for (const file of ["kpageflags", "zoneinfo", "pagetypeinfo", "buddyinfo"]) this.write(`proc/${file}`, `${file}\n`);
    this.program(
      "mkdir",
      `/bin/mkdir "$@"; for last; do :; done; case $last in */instances/hintsim) cp -r ${this.path}/instance/. "$last";; esac`,
    );
    this.program(
      "rmdir",
      `for last; do :; done; case $last in */instances/hintsim) cp -r "$last" ${this.path}/left; rm -r "$last";; *) /bin/rmdir "$@";; esac`,
    );
    this.program("dmesg", "echo '[    1.1] tsc: Refined TSC clocksource calibration: 2596.127 MHz'");
  }

  write(name: string, content: string): void {
    const path = `${this.path}/${name}`;
    Deno.mkdirSync(path.replace(/\/[^/]*$/, ""), { recursive: true });
    Deno.writeTextFileSync(path, content);
  }

  read(name: string): string {
    return Deno.readTextFileSync(`${this.path}/${name}`);
  }

  program(name: string, body: string): void {
    this.write(`bin/${name}`, `#!/bin/sh\n${body}\n`);
    Deno.chmodSync(`${this.path}/bin/${name}`, 0o755);
  }

  /** Runs the recorder; `out` is in the folder of the guest. */
  async record(args: readonly string[], env: Record<string, string> = {}): Promise<Recorded> {
    const { code, stderr } = await new Deno.Command("sh", {
      args: [SCRIPT, ...args],
      cwd: this.path,
      env: {
        PATH: `${this.path}/bin:${Deno.env.get("PATH")}`,
        TRACEFS: this.tracefs,
        PROC: `${this.path}/proc`,
        RELEASE: "6.1.0-56-amd64",
        ...env,
      },
    }).output();
    return { status: code, err: new TextDecoder().decode(stderr) };
  }

  /** Probes that were placed, and those that were taken away again. */
  probes(): { placed: string[]; removed: string[] } {
    const lines = this.read("tracing/kprobe_events").trimEnd().split("\n");
    return {
      placed: lines.filter((line) => /^[pr]:/.test(line)),
      removed: lines.filter((line) => line.startsWith("-:")).map((line) => line.slice(2)).sort(),
    };
  }

  async trace(): Promise<Uint8Array> {
    return await unpack("trace", Deno.readFileSync(`${this.path}/out/trace.txt.gz`));
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.path, { recursive: true });
  }
}

const named = (probe: string) => /^[pr]:(\S+)/.exec(probe)![1];

Deno.test("recorder: probes, clock and events of 6.1, a command, and everything as it was afterwards", async () => {
  using guest = new FakeGuest();
  const { status, err } = await guest.record([
    "-o",
    "out",
    "-b",
    "100",
    "--",
    "sh",
    "-c",
    'echo "$HINTSIM_MARKER" > marker',
  ]);
  const unread = `record.sh: ${guest.path}/proc/meminfo cannot be read\n`;
  assert.deepEqual([status, err], [0, `${unread}${unread}record.sh: done: out\n`]);
  const { placed, removed } = guest.probes();
  assert.deepEqual(placed, [
    "p:hintsim/free_one_page free_one_page.constprop.0 pfn=%dx:u64 order=%cx:u32 mt=%r8:s32",
    "p:hintsim/free_pages_ok __free_pages_ok page=%di base=@vmemmap_base:x64 order=%si:u32 fpi=%dx:x32",
    "p:hintsim/isolate_free_page __isolate_free_page page=%di base=@vmemmap_base:x64 order=%si:u32",
    "r:hintsim/isolate_free_page_ret __isolate_free_page ret=$retval",
    "p:hintsim/putback_isolated_page __putback_isolated_page page=%di base=@vmemmap_base:x64 order=%si:u32 mt=%dx:s32",
    "r:hintsim/alloc_pages_bulk_ret __alloc_pages_bulk ret=$retval:u64",
  ]);
  assert.deepEqual(removed, placed.map(named).sort());
  assert.deepEqual([...Deno.readDirSync(`${guest.tracefs}/instances`)], [], "the instance is gone");
  const setting = (name: string) => guest.read(`left/${name}`).trim();
  assert.deepEqual(["trace_clock", "buffer_size_kb", "options/overwrite", "tracing_on"].map(setting), [
    "x86-tsc",
    "100",
    "0",
    "0",
  ]);
  assert.deepEqual(EVENTS.map((event) => setting(`events/kmem/${event}/enable`)), EVENTS.map(() => "1"));
  assert.equal(guest.read("marker").trim(), `${guest.tracefs}/instances/hintsim/trace_marker`);
  assert.equal(guest.read("out/s1.zoneinfo"), "zoneinfo\n");
  const { rows, kernel, notices } = readKernelText(await guest.trace(), {});
  assert.deepEqual([kernel, notices], ["6.1", []]);
  const csv = [...writeTraceRows(rows)].map((piece) => new TextDecoder().decode(piece)).join("");
  assert.equal(csv, "dt_us,ev,pfn,order,mt,x,cpu\n0,M,,,,reading s0\n775,D,6340,1,0,,1\n0,S,,,,s0\n");
});

Deno.test("recorder: the probes of 6.12", async () => {
  using guest = new FakeGuest();
  const { status } = await guest.record(["-o", "out", "--", "true"], { RELEASE: "6.12.117+deb12-amd64" });
  assert.equal(status, 0);
  const { placed, removed } = guest.probes();
  assert.deepEqual(placed.map((probe) => probe.split(" ").slice(0, 2).join(" ")), [
    "p:hintsim/free_one_page free_one_page.constprop.0",
    "p:hintsim/decay_pcp_high decay_pcp_high",
    "p:hintsim/isolate_free_page __isolate_free_page",
    "r:hintsim/isolate_free_page_ret __isolate_free_page",
    "p:hintsim/putback_isolated_page __putback_isolated_page",
    "r:hintsim/alloc_pages_bulk_ret alloc_pages_bulk_noprof",
  ]);
  assert.ok(placed[0].endsWith("pfn=%dx:u64 order=%cx:u32 fpi=%r8:x32"));
  assert.deepEqual(removed, placed.map(named).sort());
  assert.equal(readKernelText(await guest.trace(), {}).kernel, "6.12");
});

Deno.test("recorder: without a function it goes on and says what becomes approximate; without x86-tsc it takes mono", async () => {
  using guest = new FakeGuest();
  guest.write("proc/kallsyms", KALLSYMS.replace(/.*__free_pages_ok\n/, ""));
  guest.write("instance/trace_clock", "[local] mono\n");
  guest.write("instance/trace", TRACE.replaceAll(/(\d{5})(\d{6}):/g, "$1.$2:"));
  const { status, err } = await guest.record(["-o", "out", "-s", "0"]);
  assert.equal(status, 0, err);
  assert.match(
    err,
    /^record\.sh: no probe on __free_pages_ok: frees of large blocks are missing, a replay is approximate\n/,
  );
  assert.deepEqual([guest.probes().placed.length, guest.read("left/trace_clock").trim()], [5, "mono"]);
  assert.equal(readKernelText(await guest.trace(), {}).rows.count, 3);
});

Deno.test("recorder: lost events are said, and such a trace is refused by the converter", async () => {
  using guest = new FakeGuest();
  guest.write("instance/per_cpu/cpu1/stats", "entries: 3\noverrun: 0\ndropped events: 12\n");
  const { status, err } = await guest.record(["-o", "out", "-b", "64", "--", "true"]);
  assert.equal(status, 1);
  assert.match(err, /12 events were lost as the buffer was full; record again with a larger -b than 64\n/);
  const text = await guest.trace();
  assert.throws(
    () => readKernelText(text, {}),
    (error) => error instanceof InputError && /^12 events were lost/.test(error.message),
  );
});

Deno.test("recorder: a signal ends the command and the recording, not the clean-up", async () => {
  using guest = new FakeGuest();
  const { status, err } = await guest.record(["-o", "out", "--", "sh", "-c", "kill -TERM $PPID; exec sleep 60"]);
  assert.equal(status, 0, err);
  assert.match(err, /record\.sh: done: out\n$/);
  assert.deepEqual([...Deno.readDirSync(`${guest.tracefs}/instances`)], []);
  assert.equal(guest.probes().placed.length, guest.probes().removed.length);
});

Deno.test("recorder: what is missing is one sentence, status 2, and nothing is changed", async () => {
  const cases: [args: string[], prepare: (guest: FakeGuest) => Record<string, string>, sentence: RegExp][] = [
    [["-o", "out"], () => ({ TRACEFS: "/nowhere" }), /^there is no tracefs; mount it: mount -t tracefs/],
    [["-o", "out"], (guest) => {
      guest.program("id", "echo 1000");
      return { TRACEFS: "" };
    }, /^tracing wants root; run it with sudo$/],
    [["-o", "out"], (guest) => {
      Deno.removeSync(`${guest.tracefs}/events/kmem`, { recursive: true });
      return {};
    }, /^this kernel has no kmem events/],
    [["-o", "out"], (guest) => {
      Deno.mkdirSync(`${guest.tracefs}/instances/hintsim`);
      return {};
    }, /instances\/hintsim exists: another recording runs/],
    [["-o", "proc"], () => ({}), /^proc exists; name another folder with -o$/],
    [["-b", "many"], () => ({}), /^-b many: is not a number of KiB$/],
    [["-s", "1m"], () => ({}), /^-s 1m: is not a whole number of seconds$/],
    [["-s", "1", "--", "true"], () => ({}), /^-s and a command exclude each other$/],
    [["-o"], () => ({}), /^-o wants a value$/],
    [["-x"], () => ({}), /^unknown option -x; record\.sh -h says what there is$/],
  ];
  for (const [args, prepare, sentence] of cases) {
    using guest = new FakeGuest();
    const { status, err } = await guest.record(args, prepare(guest));
    assert.equal(status, 2, err);
    assert.match(err, /^record\.sh: [^\n]+\n$/);
    assert.match(err.slice("record.sh: ".length).trimEnd(), sentence);
    assert.equal(guest.read("tracing/kprobe_events"), "");
  }
});
