/** What the interface refuses, in words; which devices fit; what the host's path pays. */
import assert from "node:assert/strict";
import { load, simulate } from "../../mod.ts";
import { parseOptions } from "../../sim/core/options.ts";
import { EVENTS } from "../../sim/core/trace.ts";
import { UPDATE_COSTS } from "../../sim/kvm/costs.ts";
import { devicesThatFit, SLOTS_TYPICAL, SLOTS_WORST } from "../../sim/kvm/devices.ts";
import { layouts } from "../../sim/kvm/layouts.ts";
import { type MemoryRegion, VmSlots } from "../../sim/kvm/memory_region.ts";
import { slotTables } from "../../sim/kvm/mod.ts";
import { KvmError } from "../../sim/kvm/slot_table.ts";
import { runMemslots } from "../../sim/memslots_run.ts";
import { loadMemslots } from "../../sim/memslots_scenario.ts";
import { solveSetUp } from "../../sim/validation/v17.ts";

const PAGE = 4096;

function vmOf(kind: string, memory = Infinity): VmSlots {
  const plugin = slotTables.find(({ name }) => name === kind)!;
  return new VmSlots({ plugin, options: parseOptions(plugin.options, {}, []).value, memory });
}

const REFUSALS: readonly (readonly [what: string, region: Partial<MemoryRegion>, code: string, sentence: string])[] = [
  ["overlapping slots", { slot: 1, gpa: PAGE }, "EEXIST", "slot 1 (0x1000 to 0x2fff) overlaps slot 0 (0x0 to 0x1fff)"],
  ["a slot over the limit", { slot: 32 }, "EINVAL", "slot 32 is over the limit: this table has the slots 0 to 31"],
  ["an unaligned size", { slot: 2, size: 5000 }, "EINVAL", "the size 0x1388 is not aligned to 4 KiB"],
  ["an unaligned guest address", { slot: 2, gpa: 12 }, "EINVAL", "the guest address 0xc is not aligned to 4 KiB"],
  ["an unaligned VMM address", { slot: 2, hva: 512 }, "EINVAL", "the VMM address 0x200 is not aligned to 4 KiB"],
  [
    "too many pages",
    { slot: 2, gpa: 2 ** 40, size: 2 ** 43 },
    "EINVAL",
    "2147483648 pages are more than the 2147483647 of one slot",
  ],
  ["deleting what is not there", { slot: 2, size: 0 }, "EINVAL", "slot 2 is to be deleted and is not there"],
  ["another size", { size: PAGE }, "EINVAL", "slot 0 has 2 pages and cannot have 1; delete it first"],
  ["another VMM address", { hva: 9 * PAGE }, "EINVAL", "slot 0 cannot change its VMM address; delete it first"],
  ["read-only later", { flags: 2 }, "EINVAL", "slot 0 cannot change whether it is read-only; delete it first"],
  ["unknown flags", { flags: 8 }, "EINVAL", "flags 8 are unknown; 1 logs dirty pages, 2 is read-only"],
];

for (const [what, change, code, sentence] of REFUSALS) {
  Deno.test(`refused as the kernel does: ${what}`, () => {
    const vm = vmOf("fixed");
    const region = { slot: 0, gpa: 0, size: 2 * PAGE, hva: 0, flags: 0 };
    vm.setRegion(region);
    assert.throws(() => vm.setRegion({ ...region, ...change }), (error) => {
      assert.ok(error instanceof KvmError);
      assert.deepEqual([error.code, error.message], [code, sentence]);
      return true;
    });
    assert.deepEqual([...vm.table.all()], [{ id: 0, gfn: 0, pages: 2, hvaPage: 0, flags: 0 }]);
  });
}

Deno.test("refused as the kernel does: no memory for the copy of the array", () => {
  const vm = vmOf("fixed", 4000);
  assert.throws(() => vm.setRegion({ slot: 0, gpa: 0, size: PAGE, hva: 0, flags: 0 }), {
    code: "ENOMEM",
    message: "2.3KiB for the slots are wanted and 1.6KiB are left",
  });
});

function results(memslots: string) {
  const [scenario] = loadMemslots(`hintsim: 1\nmemslots: ${memslots}\n`, "slots.yaml");
  return Array.from(runMemslots(scenario, () => assert.fail("nothing is simulated")));
}

Deno.test("a table without memory for one more copy is asked, and not changed", () => {
  // 4 sets of 1072 bytes and 8 slots of 264: 6400. A change of flags wants a ninth slot.
  const guests = "{ kind: slots, count: 8 }";
  const [full] = results(`{ tables: tree, guests: ${guests}, lookups: 1, memory: 6400B }`);
  assert.equal(full.refused, "ENOMEM: 264B for the slots are wanted and 0B are left");
  assert.deepEqual([full.row.slots, full.row.slots_wanted, full.row.flags_ns], [8, 8, undefined]);
  assert.ok(Number(full.row.same_cycles) > 0);
  // Two more are enough for all: a move has the invalid copy beside the slot and the new one.
  const [roomy] = results(`{ tables: tree, guests: ${guests}, lookups: 1, memory: ${6400 + 2 * 264}B }`);
  assert.equal(roomy.refused, undefined);
  assert.ok(Number(roomy.row.move_ns) > 0);
});

Deno.test("sizes that are no whole pages are refused with their place", () => {
  const refused = (memslots: string, place: string) =>
    assert.throws(() => results(memslots), { message: `slots.yaml:${place} bytes are not whole pages of 4 KiB` });
  refused("{ guests: { kind: slots, size: 5000 } }", "2:42: memslots.guests.size: 5000");
  refused("{ guests: { kind: dimm-hotplug, memory: 4294967297 } }", "2:51: memslots.guests.memory: 4294967297");
  refused("{ mapping: 4097 }", "2:22: memslots.mapping: 4097");
  refused("{ discard: 5000 }", "2:22: memslots.discard: 5000");
});

Deno.test("devices that fit: 8 in 32 slots, 16 in 64 and at worst in 128, 32 in 128; all of a bus take 2048 slots", () => {
  assert.equal(devicesThatFit(32, SLOTS_TYPICAL), 8);
  assert.equal(devicesThatFit(64, SLOTS_TYPICAL), 16);
  assert.equal(devicesThatFit(128, SLOTS_WORST), 16);
  assert.equal(devicesThatFit(128, SLOTS_TYPICAL), 32);
  const pci = layouts.find(({ name }) => name === "pci-assignment")!;
  const slots = (options: Readonly<Record<string, number>>) =>
    pci.create(parseOptions(pci.options, { memory: 0, ...options }, []).value).length;
  // 6 BARs, a ROM, and one BAR split by its MSI-X table.
  assert.equal(slots({ devices: 1, functions: 1 }), SLOTS_WORST);
  assert.equal(slots({}), 2048);
  assert.equal(32 * 8 * SLOTS_WORST, 2048);
});

for (const layout of layouts) {
  Deno.test(`${layout.name}: its slots are aligned and none overlaps another`, () => {
    const { value } = parseOptions(layout.options, {}, []);
    const vm = vmOf("tree");
    const regions = layout.create(value);
    for (const region of regions) assert.equal(vm.setRegion(region), "create");
    assert.equal(vm.table.slots, regions.length);
  });
}

Deno.test("virtio-mem: with its default the table of today is full", () => {
  const virtioMem = layouts.find(({ name }) => name === "virtio-mem")!;
  assert.equal(virtioMem.create(parseOptions(virtioMem.options, {}, []).value).length, 32_764);
});

Deno.test("what a swap and a byte cost is what the measured set-ups of 10 and 509 slots come to", () => {
  const { swapNs, byteNs, startNs } = solveSetUp();
  assert.ok(Math.abs(swapNs / UPDATE_COSTS.swap.valueNs - 1) < 0.005, `${swapNs}`);
  assert.ok(Math.abs(byteNs / UPDATE_COSTS.byte.valueNs - 1) < 0.005, `${byteNs}`);
  assert.ok(startNs > 0);
});

const SCENARIO = {
  hintsim: 1,
  machine: { memory: "8MiB", vcpus: 1, initOnAlloc: false, perCpu: false, keepMarks: false },
  workload: { kind: "fill-drain", occupancy: 0.25, orders: { 9: 1 }, cycles: 2 },
  policy: { kind: "single-batch", action: "reclaim", isolate: true, requests: { every: "1s" } },
};

async function run(host: Readonly<Record<string, unknown>>) {
  const [result] = simulate(await load({ ...SCENARIO, host }), { events: true });
  const { count, event, pages, costNs } = result.events!;
  const rows = Array.from({ length: count }, (_, row) => ({
    event: EVENTS[event[row]],
    pages: pages[row],
    costNs: costNs[row],
  }));
  const of = (name: string) => rows.filter((row) => row.event === name && row.costNs > 0);
  return {
    fingerprint: result.fingerprint,
    lookupNs: result.summary.memslot_lookup_ns,
    faults: of("fault"),
    discards: of("discard"),
  };
}

Deno.test("host.memslots: a fault also takes its lookup by guest page, a discard its walk by VMM address", async () => {
  const plain = await run({ backing: "thp" });
  const one = await run({ backing: "thp", memslots: { table: "fixed", slots: 1 } });
  assert.ok(plain.faults.length > 1 && plain.discards.length > 0);
  // One slot, found at once: 28 cycles at 2 GHz are 14 ns.
  assert.deepEqual(one.faults.map(({ costNs }) => costNs), plain.faults.map(({ costNs }) => costNs + 14));
  // In v3.2 for each page of the discard: 28 cycles and, for each page but one, 432 / 58 more.
  const walk = (pages: number) => (28 + (pages - 1) * 432 / 58) / 2;
  const wanted = plain.discards.map(({ pages, costNs }) => Math.round(costNs + walk(pages)));
  assert.deepEqual(one.discards.map(({ costNs }) => costNs), wanted);
  // A tree of one node: a discard looks at it once.
  const tree = await run({ backing: "thp", memslots: { table: "tree", slots: 1 } });
  const node = (28 + 152 / 7) / 2;
  assert.deepEqual(
    tree.discards.map(({ costNs }) => costNs),
    plain.discards.map(({ costNs }) => Math.round(costNs + node)),
  );
  // Its first fault looks at the node, the next ones find what the vCPU found last.
  assert.deepEqual(
    tree.faults.map(({ costNs }, at) => costNs - plain.faults[at].costNs),
    plain.faults.map((_, at) => at === 0 ? Math.round(node) : 14),
  );
  // The column of the summary: all of it, rounded once.
  const walks = (ns: (pages: number) => number) => plain.discards.reduce((sum, { pages }) => sum + ns(pages), 0);
  const faults = plain.faults.length;
  assert.equal(plain.lookupNs, undefined);
  assert.equal(one.lookupNs, Math.round(14 * faults + walks(walk)));
  assert.equal(tree.lookupNs, Math.round(Math.round(node) + 14 * (faults - 1) + walks(() => node)));
});

Deno.test("host.memslots: without it nothing changes, and what the table refuses is said with its place", async () => {
  assert.equal((await run({})).fingerprint, (await run({ backing: "thp" })).fingerprint);
  const host = { memslots: { table: "fixed", slots: 3, options: { user: 2 } } };
  const loaded = await load({ ...SCENARIO, host });
  assert.throws(() => simulate(loaded), {
    message: "scenario: host.memslots.slots: EINVAL: slot 2 is over the limit: this table has the slots 0 to 1",
  });
});
