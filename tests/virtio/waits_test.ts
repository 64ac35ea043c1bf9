/** How a driver waits: asleep, spinning, or looking by itself; and several messages at once. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { encodings } from "../../sim/abi/mod.ts";
import type { Task } from "../../sim/core/sim.ts";
import type { Posted } from "../../sim/guest/policy.ts";
import { HostThread } from "../../sim/virtio/host_thread.ts";
import { DESCRIPTOR_BYTES_MAX, Hypercall } from "../../sim/virtio/transport.ts";
import { APPLY_NS, Bench, message, ONE } from "./bench.ts";

const SPLIT = { size: 8, eventIndex: true };

/** When a message of one range is used that the device, asleep, is kicked for at 0: kick 1, exit 10, wake 100, range 1000. */
const USED_NS = 1111;

Deno.test("busy wait: no interrupt row, and the answer at the instant of use", () => {
  for (const eventIndex of [true, false]) {
    const bench = new Bench();
    const link = bench.link(bench.queue({ size: 8, eventIndex }));
    bench.after(0, () => link.send("reclaim", ONE, 50, { busyWait: true }));
    assert.deepEqual(bench.run(), [
      [0, "send", 1, 64],
      [64, "kick", 1, 1],
      [65, "exit", 1, 10],
      // Exit and wake until 175, then 5600 to parse and two ranges.
      [175 + 5600 + 2 * APPLY_NS, "ack", 1, 7775],
    ]);
    // The driver spins from the end of its exit on.
    assert.equal(link.busyWaitNs, 7775 - 75);
  }
});

Deno.test("post goes on at once, wait returns with the answer, room counts descriptors, config is an exit", () => {
  const bench = new Bench();
  const link = bench.link(bench.queue(SPLIT));
  const seen: unknown[] = [];
  bench.after(0, function* () {
    seen.push(link.room());
    const first = (yield* link.post("reclaim", ONE, 0))!;
    seen.push([bench.sim.now, link.room(), first.answered]);
    const second = (yield* link.post("reclaim", ONE, 0))!;
    seen.push([bench.sim.now, link.room(), link.inFlight]);
    yield* link.config();
    yield* link.wait(second);
    seen.push([bench.sim.now, first.answered, second.answered, link.room()]);
    yield* link.wait(first);
    seen.push(bench.sim.now);
  });
  assert.deepEqual(bench.run(), [
    [0, "send", 1, 14],
    [14, "kick", 1, 1],
    [15, "exit", 1, 10],
    // The kick of the first is on its way: none for the second.
    [25, "send", 2, 14],
    [39, "exit", -1, 30],
    // 125 + 7600, and again.
    [7725, "interrupt", 1, 2],
    [7747, "ack", 1, 7747],
    [15_325, "interrupt", 2, 2],
    [15_347, "ack", 2, 15_322],
  ]);
  assert.deepEqual(seen, [8, [25, 7, false], [39, 6, 2], [15_347, true, true, 8], 15_347]);
  assert.equal(link.busyWaitNs, 0);
});

Deno.test("each queue has limits of its own; the default queue is the one that the policy names", () => {
  const bench = new Bench();
  const queue = (name: string) => bench.queue({ size: name === "reporting" ? 2 : 8, eventIndex: true });
  const link = bench.link(queue);
  assert.deepEqual([link.payloadMax, link.descriptorsMax], [8 * DESCRIPTOR_BYTES_MAX, 8]);
  assert.deepEqual(link.limits("reporting"), { payloadMax: 2 * DESCRIPTOR_BYTES_MAX, descriptorsMax: 2 });
  assert.deepEqual([link.room("reporting"), link.room("request"), link.room()], [2, 8, 8]);
  const reporting = bench.link(queue, { queueDefault: "reporting" });
  assert.deepEqual([reporting.descriptorsMax, reporting.room(), reporting.limits("request").descriptorsMax], [2, 2, 8]);
  assert.equal(bench.link(new Hypercall(bench.parts)).limits("any").descriptorsMax, Infinity);
});

Deno.test("busy and sleeping messages on one queue: who spins sees the other's answer, too, and nobody is forgotten", () => {
  for (const eventIndex of [true, false]) {
    const bench = new Bench();
    const queue = bench.queue({ size: 8, eventIndex });
    const done: [number, number][] = [];
    const carry = (delayNs: number, id: number, busyWait: boolean) =>
      bench.after(
        delayNs,
        () => bench.carry(queue, { ...message(id), busyWait }),
        (timeNs) => done.push([id, timeNs]),
      );
    carry(0, 1, false);
    carry(0, 2, true);
    carry(5000, 3, false);
    // The interrupt for 3 is on its way when 4 comes, which sends the device to work again.
    carry(5000 + USED_NS + 5, 4, true);
    const interrupts = bench.run().filter(([, event]) => event === "interrupt").map(([timeNs, , id]) => [timeNs, id]);
    assert.deepEqual(interrupts, [[6111, 3]]);
    assert.deepEqual(done, [[1, 1111], [2, 2111], [3, 6133], [4, 6116 + USED_NS]]);
  }
});

Deno.test("a device that asks at each pop is kicked while it works: once a pop with EVENT_IDX, always with flags", () => {
  for (const eventIndex of [true, false]) {
    for (const kickEach of [false, true]) {
      const bench = new Bench();
      const queue = bench.queue({ size: 8, eventIndex, kickEach });
      for (const [delay, id] of [[0, 1], [500, 2], [600, 3], [1200, 4]]) {
        bench.after(delay, () => bench.carry(queue, message(id)));
      }
      const kicks = bench.run().filter(([, event]) => event === "kick").map(([, , id]) => id);
      // 2 comes after the pop of 1, 3 finds that wish used up, 4 comes after the pop of 2 at 1111.
      assert.deepEqual(kicks, !kickEach ? [1] : eventIndex ? [1, 2, 4] : [1, 2, 3, 4]);
      assert.deepEqual(bench.applied.map(([timeNs]) => timeNs), [111, 1111, 2111, 3111]);
    }
  }
});

Deno.test("queues of one thread wait for each other, in the order in which they asked", () => {
  for (const shared of [false, true]) {
    const bench = new Bench();
    const own = shared ? { ...SPLIT, thread: new HostThread(bench.sim) } : SPLIT;
    const [first, second] = [bench.queue(own), bench.queue(own)];
    bench.after(0, () => bench.carry(first, message(1)));
    bench.after(10, () => bench.carry(second, message(2)));
    bench.after(200, () => bench.carry(first, message(3)));
    bench.run();
    const served = bench.applied.map(([timeNs, id]) => [timeNs, id]);
    assert.deepEqual(served, shared ? [[111, 1], [1111, 2], [2111, 3]] : [[111, 1], [121, 2], [1111, 3]]);
  }
});

Deno.test("a slow host: the delay passes before the message is taken and is charged to nobody", () => {
  const bench = new Bench();
  const parts = { ...bench.parts, delayNs: 700 };
  const link = bench.link(new Hypercall(parts));
  bench.after(0, () => link.send("reclaim", ONE, 0));
  assert.deepEqual(bench.run().at(-1), [24 + 700 + 5600 + 2 * APPLY_NS, "ack", 1, 8324]);
  assert.deepEqual(bench.applied.map(([timeNs]) => timeNs), [24 + 700 + 5600, 24 + 700 + 6600]);
});

Deno.test("a queue without an interrupt handler: answers come when the driver looks", () => {
  const bench = new Bench();
  const link = bench.link(bench.queue({ ...SPLIT, polled: true }));
  const seen: unknown[] = [];
  bench.after(0, function* () {
    const posted = (yield* link.post("reclaim", ONE, 0))!;
    yield 20_000 - bench.sim.now;
    seen.push([posted.answered, link.room()]);
    link.poll();
    seen.push([posted.answered, link.room()]);
    // Who spins for one message looks all the time.
    yield* link.send("reclaim", ONE, 0, { busyWait: true });
    seen.push(bench.sim.now);
  });
  const rows = bench.run();
  assert.deepEqual(rows.filter(([, event]) => event === "interrupt"), []);
  assert.deepEqual(seen, [[false, 7], [true, 8], 20_014 + 111 + 7600]);
  assert.deepEqual(rows.find(([, event]) => event === "ack"), [20_000, "ack", 1, 20_000]);
});

Deno.test("a driver that waits for room on a queue without a handler looks for it", () => {
  const bench = new Bench();
  const queue = bench.queue({ size: 1, eventIndex: true, polled: true });
  const done: [number, number][] = [];
  for (const id of [1, 2, 3]) {
    bench.after(0, () => bench.carry(queue, message(id)), (timeNs) => done.push([id, timeNs]));
  }
  bench.after(9000, function* () {
    queue.close();
    yield 0;
  });
  bench.run();
  // The last has nobody behind it: its answer is seen at the end of the run.
  assert.deepEqual(done.map(([id]) => id), [1, 2, 3]);
  assert.deepEqual([done[0][1], done[2][1]], [USED_NS, 9000]);
});

Deno.test("closing with messages in flight on a queue without a handler: every send has its ack, at its use", () => {
  for (const closeNs of [0, 10, 60, 5000, 9000, 30_000]) {
    const bench = new Bench();
    const link = bench.link((name) => bench.queue({ ...SPLIT, polled: name === "hinting" }));
    const posted: (Posted | undefined)[] = [];
    bench.after(0, function* () {
      for (let i = 0; i < 3; i++) posted.push(yield* link.post("skip", ONE, 0, { queue: "hinting" }));
    });
    bench.after(closeNs, function* () {
      link.close();
      yield 0;
    });
    const rows = bench.run();
    const of = (wanted: string) => rows.filter(([, event]) => event === wanted).map(([, , id]) => id);
    assert.deepEqual(of("ack"), of("send"));
    assert.equal(link.inFlight, 0);
    assert.deepEqual(of("interrupt"), []);
    assert.ok(posted.every((one) => one === undefined || one.answered));
  }
});

Deno.test("ack: an override makes every driver sleep or spin, but for queues that have no handler", () => {
  const interrupts = (ack: "policy" | "sleep" | "busy-wait", busyWait: boolean, polled: boolean): number => {
    const bench = new Bench();
    const link = bench.link(bench.queue({ ...SPLIT, polled }), { ack });
    let ended = false;
    bench.after(0, () => link.send("reclaim", ONE, 0, { busyWait }), () => ended = true);
    const count = bench.run().filter(([, event]) => event === "interrupt").length;
    assert.equal(ended, !polled || busyWait);
    assert.equal(link.busyWaitNs > 0, ended && count === 0);
    return count;
  };
  assert.deepEqual([interrupts("policy", false, false), interrupts("policy", true, false)], [1, 0]);
  assert.deepEqual([interrupts("sleep", false, false), interrupts("sleep", true, false)], [1, 1]);
  assert.deepEqual([interrupts("busy-wait", false, false), interrupts("busy-wait", true, false)], [0, 0]);
  for (const ack of ["policy", "sleep", "busy-wait"] as const) assert.equal(interrupts(ack, true, true), 0);
});

Deno.test("indirect: a message takes one descriptor, and its table is allocated and charged with the send", () => {
  for (const indirect of [false, true]) {
    const bench = new Bench();
    const queue = bench.queue({ size: 4, eventIndex: true, indirect });
    const encoding = Object.assign(encodings.find(({ name }) => name === "pfn-len")!.create({}), {
      descriptors: (ranges: readonly unknown[]) => Array<number>(ranges.length).fill(16),
    });
    const link = bench.link(queue, { encoding });
    const rooms: number[] = [];
    bench.after(0, function* () {
      for (let i = 0; i < 2; i++) {
        yield* link.post("reclaim", ONE, 0);
        rooms.push(link.room());
      }
      // One piece needs no table.
      yield* link.post("reclaim", ONE.slice(0, 1), 0);
    });
    const sends = bench.run().filter(([, event]) => event === "send");
    // A message may have as many pieces as the ring has descriptors, whatever the table.
    assert.deepEqual([rooms, link.descriptorsMax], [indirect ? [4, 4] : [2, 0], 4]);
    assert.deepEqual(sends.map(([, , , costNs]) => costNs), indirect ? [4014, 4014, 7] : [14, 14, 7]);
  }
});

Deno.test("a device that tells of used buffers together: one interrupt when the ring is empty", () => {
  for (const eventIndex of [true, false]) {
    const bench = new Bench();
    const queue = bench.queue({ size: 8, eventIndex, usedTogether: true });
    const done: number[] = [];
    for (const id of [1, 2, 3]) bench.after(0, () => bench.carry(queue, message(id)), (timeNs) => done.push(timeNs));
    const interrupts = bench.run().filter(([, event]) => event === "interrupt").map(([timeNs, , id]) => [timeNs, id]);
    assert.deepEqual(interrupts, [[3111, 1]]);
    assert.deepEqual(done, [3133, 3133, 3133]);
  }
});

Deno.test("a device that polls: the first kick wakes it, then it sees messages at once, until it sleeps again", () => {
  for (const [kickEach, neverPolls] of [[false, false], [true, false], [true, true]]) {
    const bench = new Bench();
    const queue = bench.queue({ ...SPLIT, kickEach, neverPolls });
    // The device sleeps already.
    bench.after(10, function* () {
      queue.devicePolls(true);
      yield 0;
    });
    for (const [delay, id] of [[20, 1], [5000, 2], [9000, 3]]) {
      bench.after(delay, () => bench.carry(queue, message(id)));
    }
    bench.after(8000, function* () {
      queue.devicePolls(false);
      yield 0;
    });
    const kicks = bench.run().filter(([, event]) => event === "kick").map(([, , id]) => id);
    // A VMM that never polls is kicked for each.
    assert.deepEqual(kicks, neverPolls ? [1, 2, 3] : [1, 3]);
    assert.deepEqual(bench.applied.map(([timeNs]) => timeNs), [131, neverPolls ? 5111 : 5000, 9111]);
  }
});

Deno.test("whatever the settings: every message is served once, in order, and answered once; all descriptors come back", () => {
  const settings = fc.record({
    size: fc.constantFrom(1, 2, 3, 4, 8),
    eventIndex: fc.boolean(),
    packed: fc.boolean(),
    indirect: fc.boolean(),
    kickEach: fc.boolean(),
    usedTogether: fc.boolean(),
    polled: fc.boolean(),
  });
  const sent = fc.record({ delayNs: fc.nat(6000), busyWait: fc.boolean(), pieces: fc.integer({ min: 1, max: 8 }) });
  fc.assert(
    fc.property(settings, fc.boolean(), fc.array(sent, { maxLength: 20, size: "max" }), (options, shared, list) => {
      const bench = new Bench();
      // A split ring has a power of two of descriptors.
      const size = options.size === 3 && !options.packed ? 4 : options.size;
      const thread = shared ? { thread: new HostThread(bench.sim) } : {};
      const queue = bench.queue({ ...options, size, ...thread });
      const answers: number[] = [];
      list.forEach(({ delayNs, busyWait, pieces }, index) => {
        const descriptors = Math.min(pieces, size);
        const one = { ...message(index + 1), descriptors, busyWait, answered: () => void answers.push(index + 1) };
        bench.after(delayNs, () => queue.post(one));
      });
      bench.after(100_000, function* (): Task {
        queue.close();
        yield 0;
      });
      const rows = bench.run();
      assert.deepEqual(answers.toSorted((a, b) => a - b), list.map((_, index) => index + 1));
      assert.deepEqual(answers, bench.applied.map(([, id]) => id));
      assert.equal(queue.room, size);
      if (options.polled) assert.deepEqual(rows.filter(([, event]) => event === "interrupt"), []);
    }),
    { numRuns: 400 },
  );
});
