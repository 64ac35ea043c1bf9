import assert from "node:assert/strict";
import { load, simulate } from "../../mod.ts";
import type { RunResult } from "../../mod.ts";
import { Sim } from "../../sim/core/sim.ts";
import { Driver } from "../../sim/guest/driver.ts";
import type { Guest } from "../../sim/guest/guest.ts";
import type { HostLink } from "../../sim/guest/policy.ts";
import { queueOf, type QueueOptions, queuesOf } from "../../sim/virtio/queues.ts";
import { type Fact, vmms } from "../../sim/virtio/vmms.ts";
import { Bench, COSTS, message } from "./bench.ts";

const PLAIN: QueueOptions = { kind: "virtqueue", preset: "none", packed: false, indirect: false, ack: "policy" };

const NAMES = ["request", "inflate", "deflate", "stats", "hinting", "reporting", "virtio-mem"];

/** Descriptors of the queues in the order of {@link NAMES}. */
function sizesOf(options: Partial<QueueOptions>): number[] {
  const queue = queuesOf(new Bench().parts, { ...PLAIN, ...options });
  return NAMES.map((name) => queue(name).descriptorsMax);
}

Deno.test("without preset and size every queue has 128 descriptors; a size is for all, and wins over the preset", () => {
  assert.deepEqual(sizesOf({}), [128, 128, 128, 128, 128, 128, 128]);
  assert.deepEqual(sizesOf({ size: 4 }), [4, 4, 4, 4, 4, 4, 4]);
  assert.deepEqual(sizesOf({ size: 64, preset: "qemu-7.2" }), [64, 64, 64, 64, 64, 64, 64]);
});

Deno.test("presets: the sizes of each VMM's queues", () => {
  assert.deepEqual(sizesOf({ preset: "qemu-7.2" }), [128, 128, 128, 128, 1024, 32, 128]);
  assert.deepEqual(sizesOf({ preset: "firecracker" }), [256, 256, 256, 256, 256, 256, 256]);
  assert.deepEqual(sizesOf({ preset: "cloud-hypervisor" }), [128, 128, 128, 128, 128, 32, 128]);
  assert.deepEqual(sizesOf({ preset: "crosvm" }), [128, 128, 128, 128, 128, 128, 128]);
});

Deno.test("a split ring refuses a size that is no power of two with its place, a packed one takes it", () => {
  assert.throws(() => sizesOf({ size: 100 }), {
    name: "InputError",
    path: ["transport", "size"],
    message: "100 is not a power of two, as a split ring wants; packed: true takes any size",
  });
  assert.equal(sizesOf({ size: 100, packed: true })[0], 100);
  assert.equal(sizesOf({ size: 100, kind: "hypercall" })[0], Infinity);
});

Deno.test("the hinting queue has no interrupt handler, whoever the VMM is; a hypercall has none at all", () => {
  for (const preset of ["none", ...vmms.map(({ name }) => name)]) {
    const queue = queuesOf(new Bench().parts, { ...PLAIN, preset });
    assert.deepEqual(NAMES.filter((name) => !queue(name).interrupts), ["hinting"]);
  }
  assert.equal(queuesOf(new Bench().parts, { ...PLAIN, kind: "hypercall" })("request").interrupts, false);
});

Deno.test("QEMU serves reports and inflation on one thread, hints on another; without preset nothing waits", () => {
  const served = (preset: string, names: readonly string[]): number[] => {
    const bench = new Bench();
    const queues = names.map(queuesOf(bench.parts, { ...PLAIN, preset }));
    queues.forEach((queue, index) => bench.after(0, () => bench.carry(queue, message(index + 1))));
    bench.after(50_000, function* () {
      for (const queue of queues) queue.close();
      yield 0;
    });
    bench.run();
    return bench.applied.map(([timeNs]) => timeNs);
  };
  assert.deepEqual(served("none", ["inflate", "reporting"]), [111, 111]);
  assert.deepEqual(served("qemu-7.2", ["inflate", "reporting"]), [111, 1111]);
  assert.deepEqual(served("qemu-7.2", ["inflate", "hinting"]), [111, 111]);
  assert.deepEqual(served("firecracker", ["inflate", "hinting"]), [111, 1111]);
  assert.deepEqual(served("cloud-hypervisor", ["inflate", "virtio-mem"]), [111, 111]);
});

Deno.test("the table: every fact has a source, what a VMM lacks is assumed, sizes fit a split ring", () => {
  const isFact = (value: unknown): value is Fact<unknown> =>
    typeof value === "object" && value !== null && "status" in value;
  assert.equal(new Set(vmms.map(({ name }) => name)).size, vmms.length);
  for (const vmm of vmms) {
    const queues = [...Object.values(vmm.queues), vmm.other];
    for (const fact of [vmm, ...queues].flatMap((part) => Object.values(part)).filter(isFact)) {
      assert.ok(fact.source.length > 10 && /^(verified|assumed)$/.test(fact.status), `${vmm.name}: ${fact.source}`);
    }
    for (const { size } of queues) assert.ok(Number.isInteger(Math.log2(size.value)) && size.value <= 32_768);
    assert.deepEqual(Object.values(vmm.other).map(({ status }) => status), ["assumed", "assumed", "assumed"]);
    assert.equal(queueOf(vmm, "no such queue"), vmm.other);
    for (const name of Object.keys(vmm.queues)) assert.ok(NAMES.includes(name), name);
  }
});

Deno.test("a driver cuts its messages to the limits of the queue that it names", () => {
  const lengths: number[] = [];
  const link: HostLink = {
    payloadMax: 1000,
    sizeOf: (ranges) => 16 * ranges.length,
    accepts: () => true,
    descriptorsOf: (ranges) => ranges.length,
    limits: (queue) =>
      queue === "reporting" ? { payloadMax: 1000, descriptorsMax: 3 } : { payloadMax: 32, descriptorsMax: 9 },
    *send(_action, ranges) {
      lengths.push(ranges.length);
      yield 0;
      return true;
    },
  };
  const sim = new Sim();
  const driver = new Driver(sim, { zones: [] } as unknown as Guest, link, COSTS);
  const ranges = Array.from({ length: 7 }, (_, index) => ({ pfn: 10 * index, count: 1 }));
  sim.spawn((function* () {
    yield* driver.send("reclaim", ranges, Infinity, { queue: "reporting" });
    yield* driver.send("reclaim", ranges);
  })());
  sim.run();
  assert.deepEqual(lengths, [3, 3, 1, 2, 2, 2, 1]);
});

/** A guest that fills and drains its memory, and reports what is free. */
const REPORTING = {
  hintsim: 1,
  machine: { memory: "64MiB" },
  workload: { kind: "fill-drain", cycles: 2, fill: "20ms", hold: "5ms", drain: "20ms", pause: "40ms" },
  policy: { kind: "free-page-reporting", order: 4, delay: "1ms" },
};

async function run(parts: Readonly<Record<string, unknown>>): Promise<RunResult> {
  const [result] = simulate(await load({ ...REPORTING, ...parts }), { check: true });
  assert.deepEqual([result.problems, result.finding], [[], undefined], JSON.stringify(parts));
  assert.ok(Number(result.summary.messages) > 0);
  return result;
}

Deno.test("the checkers hold for every preset, layout and way to wait; a sleeping driver is what it was without options", async () => {
  const plain = await run({});
  const asBefore: Record<string, unknown>[] = [{ size: 128 }, { eventIndex: true }, {
    kicks: "sleeping",
    ack: "sleep",
  }];
  // One message at a time and one piece each: the layout of the ring cannot be told.
  for (const transport of [...asBefore, { packed: true }, { packed: true, size: 100 }, { indirect: true }]) {
    assert.equal((await run({ transport })).fingerprint, plain.fingerprint, JSON.stringify(transport));
  }
  for (const preset of vmms.map(({ name }) => name)) await run({ transport: { preset } });
  const spinning = await run({ transport: { ack: "busy-wait" } });
  assert.deepEqual([spinning.summary.interrupts, Number(spinning.summary.busy_wait_ns) > 0], [0, true]);
  assert.equal(plain.summary.busy_wait_ns, 0);
});

Deno.test("a balloon of 16 MiB: one discard a page for QEMU, one a run for Firecracker and crosvm; the pages are the same", async () => {
  const inflated = async (preset: string) => {
    const workload = { kind: "idle", duration: "1s" };
    const policy = { kind: "balloon", target: [{ at: "1ms", size: "16MiB" }] };
    const parts = { machine: { memory: "64MiB", resident: "all" }, workload, policy, encoding: "pfn-list" };
    const { summary } = await run({ ...parts, transport: { preset } });
    return [Number(summary.messages), Number(summary.ranges), Number(summary.discarded_pages)];
  };
  // 256 pages a message, every page backed.
  for (const preset of ["none", "qemu-7.2", "cloud-hypervisor"]) {
    assert.deepEqual(await inflated(preset), [16, 4096, 4096], preset);
  }
  for (const preset of ["firecracker", "crosvm"]) {
    const [messages, ranges, pages] = await inflated(preset);
    assert.deepEqual([messages, pages], [16, 4096]);
    assert.ok(ranges >= 16 && ranges < 100, `${preset}: ${ranges} runs`);
  }
});

Deno.test("an inhibited host answers every message and discards nothing; the guest marks blocks Reported all the same", async () => {
  const plain = await run({});
  const inhibited = await run({ host: { inhibit: true } });
  assert.ok(Number(plain.summary.discarded_pages) > 0);
  assert.deepEqual(
    [inhibited.summary.discarded_pages, inhibited.summary.ranges, inhibited.summary.returned_bytes],
    [0, 0, 0],
  );
  assert.ok(Number(inhibited.summary.sent_pages) > 0);
  assert.ok(inhibited.samples.reported_bytes.some((bytes) => bytes > 0));
});

Deno.test("a slow host answers later, by the delay in the median, and works no longer for it", async () => {
  const [plain, slow] = [await run({}), await run({ host: { delay: "1ms" } })];
  assert.ok(Number(slow.summary.ack_p50_ns) >= Number(plain.summary.ack_p50_ns) + 900_000);
  const perMessage = ({ summary }: RunResult) => Number(summary.decode_ns) / Number(summary.messages);
  assert.ok(perMessage(slow) < 2 * perMessage(plain));
});
