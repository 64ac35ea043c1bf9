import assert from "node:assert/strict";
import { load, type RunResult, simulate } from "../../mod.ts";
import { policies } from "../../policies/mod.ts";
import { MOVABLE } from "../../sim/guest/allocator.ts";
import { useOfSizes } from "../../sim/guest/hotplug_marks.ts";
import { layoutMachine } from "../../sim/guest/layout.ts";
import { useOfLayout } from "../../sim/guest/zone_use.ts";
import { loadScenario } from "../../sim/load.ts";
import { ORDER_PAGES, PAGE_SIZE } from "../../sim/memory/range.ts";
import { buildMachine } from "../../sim/simulate.ts";
import { workloads } from "../../workloads/mod.ts";

const SLOW = Deno.env.get("HINTSIM_TIER") === "slow";
const GIB_PAGES = 2 ** 18;
const BLOCK_PAGES = 2 ** 15;
const PLUGGED = 2 ** 20;

type Raw = Record<string, unknown>;
/** Nothing is given back but by hotplug. */
const IDLE_POLICY = { policy: { kind: "none" } };
const ADDED = { at: "1s", add: "1GiB", zone: "movable" };

/** A guest of 1 GiB under churn that gets and loses memory. */
function scenario(hotplug: readonly Raw[], machine: Raw = {}, more: Raw = {}): Raw {
  return {
    hintsim: 1,
    until: "5s",
    machine: { memory: "1GiB", vcpus: 2, ...machine, hotplug },
    workload: {
      kind: "churn",
      occupancy: 0.7,
      migratetypes: { movable: 8, unmovable: 1 },
      lifetime: { mean: "500ms" },
      duration: "4500ms",
    },
    policy: { kind: "free-page-reporting", delay: "200ms" },
    ...more,
  };
}

async function run(input: Raw, slice?: number): Promise<RunResult> {
  const loaded = await load(input, {
    read: (path) => Deno.readFileSync(new URL(`../../workloads/${path}`, import.meta.url)),
  });
  const [result] = simulate(loaded, { events: true, check: true, ...(slice === undefined ? {} : { slice }) });
  assert.deepEqual(result.problems, []);
  return result;
}

/** The rows of hotplug as text: event, first page, pages, zone. */
function plugRows({ events }: RunResult): string[] {
  const rows: string[] = [];
  const { count, eventNames, event, pfn, pages, zone } = events!;
  for (let i = 0; i < count; i++) {
    const name = eventNames[event[i]];
    if (/^o(n|ff)line_/.test(name)) rows.push(`${name} ${pfn[i]} ${pages[i]} ${zone[i]}`);
  }
  return rows;
}

function rowsOf(result: RunResult, name: string): string[] {
  return plugRows(result).filter((row) => row.startsWith(`${name} `));
}

const ZONES = ["movable", "auto", "alternating"];
const ADDRESSES = SLOW ? [undefined, "256GiB", "1TiB", "16TiB"] : [undefined, "16TiB"];

for (const kernel of ["6.1", "6.12"]) {
  for (const perCpu of [false, true]) {
    for (const zone of ZONES) {
      const where = ADDRESSES.map((address) => address ?? "the first gap").join(", ");
      Deno.test(`kernel ${kernel}, perCpu ${perCpu}: 1 GiB comes to ${zone} at ${where}, 512 MiB go`, async () => {
        for (const address of ADDRESSES) {
          const input = scenario(
            [{ ...ADDED, zone, ...(address === undefined ? {} : { address }) }, { at: "3s", remove: "512MiB" }],
            { kernel, perCpu },
          );
          const whole = await run(input);
          assert.equal(whole.finding, undefined);
          assert.equal((await run(input, 1000)).fingerprint, whole.fingerprint);
          assert.equal(rowsOf(whole, "online_pages").length, 8);
          assert.equal(rowsOf(whole, "offline_pages").length, 4);
          if (zone !== "alternating") assert.deepEqual(rowsOf(whole, "offline_fail"), []);
          // What was there at last: the parts of a sample add up to what exists.
          const last = (column: string) => whole.samples[column].at(-1)!;
          const parts = ["free_bytes", "pcp_bytes", "isolated_bytes", "used_bytes", "held_bytes"].map(last);
          assert.equal(parts.reduce((a, b) => a + b), 2 ** 30 + 2 ** 29);
          assert.ok(parts.every((bytes) => bytes >= 0));
        }
      });
    }
  }
}

Deno.test("memory comes and goes under every policy and on every backing, and checkers find nothing", async () => {
  const events = [{ ...ADDED, zone: "alternating" }, { at: "2s", remove: "512MiB" }, { at: "3s", add: "256MiB" }];
  const wanted = { requests: { every: "300ms" }, action: "reclaim", isolate: true };
  for (const { name, options } of policies) {
    const own = Object.fromEntries(Object.entries(wanted).filter(([key]) => key in options.fields));
    for (const backing of SLOW ? ["4k", "thp", "hugetlb"] : ["thp"]) {
      const policy = { kind: name, ...own };
      const machine = { initOnAlloc: false, keepMarks: true, perCpu: true, reserved: "auto" };
      const result = await run(scenario(events, machine, { policy, host: { backing } }));
      assert.ok(rowsOf(result, "online_pages").length >= 10);
    }
  }
});

Deno.test("where memory goes: chunks behind the movable list, the zones that were asked for, the policy told", async () => {
  const added = { at: "1s", add: "512MiB", zone: "alternating", address: "256GiB" };
  const idle = { workload: { kind: "idle", duration: "3s" } };
  const pfn = 2 ** 26;
  const result = await run(scenario([added], {}, idle));
  const zones = [2, 3, 2, 3];
  assert.deepEqual(
    rowsOf(result, "online_pages"),
    zones.map((zone, n) => `online_pages ${pfn + n * BLOCK_PAGES} ${BLOCK_PAGES} ${zone}`),
  );
  // All that came is reported, since the guest does not use it, but for the memmap of its four sections.
  assert.equal(
    result.samples.reported_bytes.at(-1),
    (await run(scenario([], {}, idle))).samples.reported_bytes.at(-1)! + 2 ** 29 - 4 * 2 ** 21,
  );
});

Deno.test("a removal moves what is in use, at the cost of an allocation and a free, and only what is free goes", async () => {
  const workload = [
    { kind: "idle", for: "1100ms" },
    { kind: "churn", for: "3s", keep: true, orders: { 0: 3, 3: 1 }, occupancy: 0.9, lifetime: { mean: "20s" } },
  ];
  const result = await run(
    scenario([{ ...ADDED, at: "0s", address: "256GiB" }, { at: "3s", remove: "512MiB", address: "256GiB" }], {}, {
      workload,
    }),
  );
  assert.equal(rowsOf(result, "offline_pages").length, 4);
  const { count, eventNames, event, pfn, pages, timeNs, cpu } = result.events!;
  const moved = { alloc: 0, free: 0 };
  const inside = (page: number) => page >= 2 ** 26 && page < 2 ** 26 + GIB_PAGES / 2;
  for (let i = 0; i < count; i++) {
    const name = eventNames[event[i]];
    if (name === "alloc" && timeNs[i] > 3e9) assert.ok(!inside(pfn[i]));
    if (cpu[i] === -1 && timeNs[i] === 3e9 && (name === "alloc" || name === "free")) moved[name] += pages[i];
  }
  assert.ok(moved.alloc > 10_000, String(moved.alloc));
  // What is freed beside it is the memmap of the four sections.
  assert.equal(moved.free, moved.alloc + 4 * ORDER_PAGES[9]);
});

Deno.test("what cannot go stays: kernel pages in Normal, and a range goes as a whole or not at all", async () => {
  const unmovable = {
    kind: "churn",
    migratetypes: { unmovable: 1 },
    lifetime: { mean: "5s" },
    duration: "4s",
    occupancy: 0.9,
  };
  const range = { at: "3s", remove: "1GiB", address: "4GiB" };
  const workload = [{ kind: "idle", for: "1100ms" }, { ...unmovable, for: "3s" }];
  const stays = await run(scenario([{ ...ADDED, zone: "normal", at: "0s" }, range], {}, { workload }));
  const online = rowsOf(stays, "online_pages").length;
  assert.equal(online, 8 + rowsOf(stays, "offline_pages").length);
  assert.equal(rowsOf(stays, "offline_fail").length, 1);
  // Memory that another removal took is no longer there to go.
  const twice = await run(scenario([ADDED, { at: "2s", remove: "1GiB" }, range], {}, { workload: { kind: "idle" } }));
  assert.deepEqual(plugRows(twice).slice(16), [`offline_fail ${PLUGGED} ${GIB_PAGES} -1`]);
});

Deno.test("a run waits for the memory that is to come, and ends when memory is still where more is to come", async () => {
  const { until: _, ...input } = scenario([{ ...ADDED, at: "2s" }], {}, {
    workload: { kind: "idle", duration: "10ms" },
  });
  assert.equal(rowsOf(await run(input), "online_pages").length, 8);
  const churn = {
    kind: "churn",
    migratetypes: { unmovable: 1 },
    lifetime: { mean: "5s" },
    duration: "4s",
    occupancy: 0.9,
  };
  const normal = { ...ADDED, zone: "normal", address: "4GiB", at: "0s" };
  const workload = [{ kind: "idle", for: "100ms" }, { ...churn, for: "4s" }];
  const events = [normal, { at: "2s", remove: "1GiB", address: "4GiB" }, { ...normal, at: "3s" }];
  assert.match(
    String((await run(scenario(events, {}, { workload }))).finding),
    /memory at page 1048576 is there still/,
  );
});

Deno.test("what is free and still backed, by a walk over all lists, is what is backed and not owned; what is gone is owned", async () => {
  const input = scenario([ADDED, { at: "3s", remove: "512MiB" }], { perCpu: false });
  const loaded = await loadScenario(input, {}, { policies, workloads });
  const machine = buildMachine(loaded, loaded.runs[0], {});
  machine.runToEnd();
  const [{ guest, backing }] = machine.guests;
  let walked = 0;
  for (const zone of guest.zones) {
    zone.forEachFree((pfn, order) => walked += backing.residentIn(pfn, ORDER_PAGES[order]));
    zone.allocator.validate();
  }
  assert.equal(guest.isolatedPages, 0);
  assert.equal(walked, backing.residentBytes / PAGE_SIZE - backing.residentOwnedPages());
  // The device gave back what has gone.
  assert.equal(backing.residentIn(PLUGGED + GIB_PAGES / 2, GIB_PAGES / 2), 0);
});

Deno.test("what has gone is dropped by the host, unless the device keeps it", async () => {
  const discard = (value: boolean) =>
    scenario([ADDED, { at: "3s", remove: "512MiB", discard: value }], {}, IDLE_POLICY);
  const [dropped, kept] = [await run(discard(true)), await run(discard(false))];
  for (const result of [dropped, kept]) assert.equal(rowsOf(result, "offline_pages").length, 4);
  const { count, eventNames, event, pages, message, timeNs } = dropped.events!;
  const sums = { discard: 0, drop: 0 };
  for (let i = 0; i < count; i++) {
    const name = eventNames[event[i]];
    if (name !== "discard" && name !== "drop") continue;
    assert.deepEqual([message[i], timeNs[i]], [-1, 3e9]);
    sums[name] += pages[i];
  }
  assert.equal(sums.discard, GIB_PAGES / 2);
  assert.ok(sums.drop > 0 && sums.drop <= sums.discard);
  assert.equal(dropped.summary.discarded_pages, sums.drop);
  assert.equal(kept.summary.discarded_pages, 0);
  assert.equal(dropped.summary.violations, 0);
});

Deno.test("a range of which one memory block stays is not dropped: its memory is in use again", async () => {
  const workload = [
    { kind: "idle", for: "1100ms" },
    {
      kind: "churn",
      for: "3s",
      migratetypes: { movable: 20, unmovable: 1 },
      occupancy: 0.6,
      lifetime: { mean: "5s" },
      keep: true,
    },
  ];
  const events = [{ ...ADDED, zone: "normal", at: "0s" }, { at: "3s", remove: "1GiB", address: "4GiB" }];
  const result = await run(scenario(events, {}, { workload, ...IDLE_POLICY }));
  assert.equal(rowsOf(result, "offline_fail").length, 1);
  assert.equal(result.summary.discarded_pages, 0);
});

Deno.test("the memmap of what comes is taken from what is there, 2 MiB a section, and freed when it goes", async () => {
  const used = async (events: readonly Raw[], machine: Raw = {}) => {
    const result = await run(scenario(events, { ...machine, resident: "none" }, { workload: { kind: "idle" } }));
    return result.samples.used_bytes.at(-1)!;
  };
  const before = await used([]);
  assert.equal(await used([ADDED]), before + 8 * 2 ** 21);
  assert.equal(await used([ADDED, { at: "3s", remove: "512MiB" }]), before + 4 * 2 ** 21);
  assert.equal(await used([ADDED, { at: "3s", remove: "1GiB", address: "4GiB" }]), before);
  // A guest that is full cannot take what is added: 1 TiB wants 16 GiB of memmap.
  const full = await run(scenario([{ ...ADDED, add: "1TiB" }], { resident: "none" }, { workload: { kind: "idle" } }));
  assert.deepEqual(plugRows(full), []);
  assert.equal(full.summary.alloc_fails, 1);
  assert.equal(full.samples.used_bytes.at(-1), before);
});

Deno.test("watermarks, reserves and limits are those of a machine that had the memory at boot", async () => {
  const input = scenario([{ at: "1s", add: "3GiB", zone: "normal" }], { memory: "4GiB" }, { workload: "idle" });
  const loaded = await loadScenario(input, {}, { policies, workloads });
  for (const kernel of ["6.1", "6.12"]) {
    const [one] = loaded.runs;
    const [spec] = one.scenario.guests;
    const machine = { ...spec.machine, kernel, reserved: "none" as const };
    const guests = [{ ...spec, machine }];
    const built = buildMachine(loaded, { ...one, scenario: { ...one.scenario, guests } }, {});
    built.runToEnd();
    const [{ guest }] = built.guests;
    const layout = layoutMachine(7 * 2 ** 30, machine);
    const { zones } = layout;
    assert.deepEqual(
      guest.zones.slice(0, 3).map(({ watermarks }) => watermarks),
      zones.map(({ watermarks }) => watermarks),
    );
    const rules = { kernel, vcpus: machine.vcpus, hugePages: true, minFreeKbytes: undefined };
    const [now, boot] = [useOfSizes(guest.zones, rules), useOfLayout(layout)];
    assert.deepEqual([now.zonelists, now.cpuNodes, now.noFragment], [boot.zonelists, boot.cpuNodes, boot.noFragment]);
    assert.deepEqual(now.lowmemReserve.slice(0, 3), boot.lowmemReserve);
    assert.deepEqual(now.pagesets.slice(0, 3), boot.pagesets);
    const [normal] = guest.zones.slice(2);
    assert.deepEqual([normal.presentPages, normal.managedPages], [3 * GIB_PAGES, 3 * GIB_PAGES]);
    for (const { allocator } of guest.zones) {
      assert.equal(allocator.first(10, MOVABLE) % ORDER_PAGES[10], allocator.pages > 0 ? 0 : -1);
    }
  }
});

Deno.test("what cannot be is refused with its place", async () => {
  const refused = async (input: Raw, message: RegExp) => {
    await assert.rejects(() => run(input), message);
  };
  const gib = { at: "1s", add: "1GiB" };
  await refused(scenario([{ ...gib, address: "2GiB" }]), /hotplug.*from 4GiB on/);
  await refused(scenario([{ ...gib, address: "5GiB" }], { memory: "6GiB" }), /hotplug.*memory already/);
  await refused(scenario([gib, { ...gib, address: "4GiB" }]), /hotplug.*memory already/);
  await refused(scenario([gib, { at: "2s", remove: "2GiB" }]), /hotplug.*no more than 1\.0GiB/);
  await refused(scenario([gib, { at: "2s", remove: "1GiB", address: "1TiB" }]), /hotplug.*no memory/);
  await refused(scenario([{ ...gib, discard: true }]), /hotplug.*only memory that is removed is discarded/);
  await refused(scenario([gib], { memory: "64GiB" }), /hotplug.*memory blocks of 2\.0GiB/);
  await refused(scenario([{ at: "1s", add: "8TiB" }]), /hotplug.*8TiB of a zone/);
  await refused(
    scenario([gib], { memory: undefined, numa: [{ memory: "1GiB" }, { memory: "1GiB" }] }),
    /one NUMA node/,
  );
  const recording = {
    kind: "page-trace",
    file: "recordings/b2-mixed.buddy.csv.gz",
    snapshots: "recordings/b2-mixed.snaps.json.gz",
  };
  await refused(scenario([gib], { memory: undefined }, { workload: recording }), /hotplug.*recording with snapshots/);
});

Deno.test("what is free at the end counts memory that came and went", async () => {
  const result = await run(scenario([ADDED, { at: "3s", remove: "512MiB" }]));
  const { free_bytes: free, pcp_bytes: pcp } = result.samples;
  assert.equal(result.summary.free_end_bytes, free.at(-1)! + pcp.at(-1)!);
  assert.ok(Number(result.summary.free_end_bytes) > 512 * 2 ** 20);
});

Deno.test("churn with per-CPU lists and start occupancy: checkers find nothing without hotplug either", async () => {
  for (const kernel of ["6.1", "6.12"]) {
    const { hotplug: _none, ...machine } = scenario([], { perCpu: true, kernel }).machine as Raw;
    const result = await run({ ...scenario([]), machine });
    assert.ok(result.samples.pcp_bytes.some((bytes) => bytes > 0));
  }
});
