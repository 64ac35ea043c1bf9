import assert from "node:assert/strict";
import { DESCRIPTOR_BYTES_MAX, Hypercall } from "../../sim/virtio/transport.ts";
import { APPLY_NS, Bench, message, ONE } from "./bench.ts";

Deno.test("one message: send, kick, exit, host wake, service, interrupt, guest wake, ack, each at its time", () => {
  for (const eventIndex of [true, false]) {
    const bench = new Bench();
    const link = bench.link(bench.queue({ size: 8, eventIndex }));
    bench.after(0, () => link.send("reclaim", ONE, 50));
    const rows = bench.run();
    // 50 to prepare and 2 records of 7 to encode; 5000 + 2 * 300 to parse, charged with the first range.
    assert.deepEqual(rows, [
      [0, "send", 1, 64],
      [64, "kick", 1, 1],
      [65, "exit", 1, 10],
      [75 + 100 + 5600 + 2 * APPLY_NS, "interrupt", 1, 2],
      [7775 + 2 + 20, "ack", 1, 7797],
    ]);
    // The first range takes effect when the message is parsed.
    assert.deepEqual(bench.applied, [[175 + 5600, 1, 0], [175 + 6600, 1, 1024]]);
    assert.deepEqual([link.encodeNs, link.decodeNs, link.inFlight], [14, 600, 0]);
  }
});

Deno.test("messages one after the other: the device sleeps between them and every one needs its kick", () => {
  for (const eventIndex of [true, false]) {
    const bench = new Bench();
    const link = bench.link(bench.queue({ size: 8, eventIndex }));
    bench.after(0, function* () {
      for (let i = 0; i < 3; i++) yield* link.send("skip", ONE, 0);
    });
    const events = bench.run().map(([, event, id]) => `${event} ${id}`);
    const each = (id: number) => ["send", "kick", "exit", "interrupt", "ack"].map((event) => `${event} ${id}`);
    assert.deepEqual(events, [...each(1), ...each(2), ...each(3)]);
  }
});

Deno.test("a second sender while the device works: no kick for it", () => {
  for (const eventIndex of [true, false]) {
    const bench = new Bench();
    const queue = bench.queue({ size: 8, eventIndex });
    const done: number[] = [];
    bench.after(0, () => bench.carry(queue, message(1)), (ns) => done.push(ns));
    bench.after(500, () => bench.carry(queue, message(2)), (ns) => done.push(ns));
    // The device starts at 1 + 10 + 100 and works 1000 for each.
    assert.deepEqual(bench.run(), [
      [0, "kick", 1, 1],
      [1, "exit", 1, 10],
      [1111, "interrupt", 1, 2],
      [2111, "interrupt", 2, 2],
    ]);
    assert.deepEqual(bench.applied, [[111, 1, 100], [1111, 2, 200]]);
    assert.deepEqual(done, [1133, 2133]);
  }
});

Deno.test("two senders at the same instant: with EVENT_IDX one kick, with flags two, as the device still watches", () => {
  for (const eventIndex of [true, false]) {
    const bench = new Bench();
    const queue = bench.queue({ size: 8, eventIndex });
    for (const id of [1, 2]) bench.after(0, () => bench.carry(queue, message(id)));
    const kicks = bench.run().filter(([, event]) => event === "kick").map(([timeNs, , id]) => [timeNs, id]);
    assert.deepEqual(kicks, eventIndex ? [[0, 1]] : [[0, 1], [0, 2]]);
    assert.deepEqual(bench.applied, [[111, 1, 100], [1111, 2, 200]]);
  }
});

Deno.test("buffers used while an interrupt is under way come with it: EVENT_IDX raises no second one", () => {
  for (const eventIndex of [true, false]) {
    const bench = new Bench();
    const queue = bench.queue({ size: 8, eventIndex });
    const done: number[] = [];
    // No ranges: the device is done with each at once.
    for (const id of [1, 2, 3]) {
      bench.after(0, () => bench.carry(queue, { ...message(id), ranges: [] }), (ns) => done.push(ns));
    }
    const interrupts = bench.run().filter(([, event]) => event === "interrupt").map(([timeNs, , id]) => [timeNs, id]);
    assert.deepEqual(interrupts, eventIndex ? [[111, 1]] : [[111, 1], [111, 2], [111, 3]]);
    assert.deepEqual(done, [133, 133, 133]);
  }
});

Deno.test("a full ring blocks the driver until used buffers were collected; nothing is lost and order is kept", () => {
  for (const eventIndex of [true, false]) {
    const bench = new Bench();
    const queue = bench.queue({ size: 2, eventIndex });
    const done: [number, number][] = [];
    for (let id = 1; id <= 5; id++) bench.after(0, () => bench.carry(queue, message(id)), (ns) => done.push([id, ns]));
    bench.run();
    // Two fit. The first is used at 1111 and collected at 1133, when the third goes in; the device goes on without a pause.
    assert.deepEqual(bench.applied.map(([timeNs, id]) => [timeNs, id]), [
      [111, 1],
      [1111, 2],
      [2111, 3],
      [3111, 4],
      [4111, 5],
    ]);
    assert.deepEqual(done, [[1, 1133], [2, 2133], [3, 3133], [4, 4133], [5, 5133]]);
  }
});

Deno.test("a message takes a descriptor for each 4 MiB, and waits until it has all of them", () => {
  const bench = new Bench();
  const queue = bench.queue({ size: 4, eventIndex: true });
  assert.equal(queue.payloadMax, 4 * DESCRIPTOR_BYTES_MAX);
  const done: [number, number][] = [];
  bench.after(0, () => bench.carry(queue, message(1, 2 * DESCRIPTOR_BYTES_MAX + 1)), (ns) => done.push([1, ns]));
  bench.after(1, () => bench.carry(queue, message(2, 2 * DESCRIPTOR_BYTES_MAX)), (ns) => done.push([2, ns]));
  bench.after(2, () => bench.carry(queue, message(3, 0)), (ns) => done.push([3, ns]));
  bench.run();
  assert.deepEqual(bench.applied.map(([timeNs, id]) => [timeNs, id]), [[111, 1], [1111, 3], [2111, 2]]);
  assert.deepEqual(done, [[1, 1133], [3, 2133], [2, 3133]]);
});

Deno.test("a message that comes at the instant in which the device falls asleep is not forgotten", () => {
  for (const eventIndex of [true, false]) {
    for (let delay = 1090; delay <= 1140; delay++) {
      const bench = new Bench();
      const queue = bench.queue({ size: 2, eventIndex });
      const done: number[] = [];
      bench.after(0, () => bench.carry(queue, message(1)), () => done.push(1));
      bench.after(delay, () => bench.carry(queue, message(2)), () => done.push(2));
      bench.after(delay + 5, () => bench.carry(queue, message(3)), () => done.push(3));
      bench.run();
      assert.deepEqual(done, [1, 2, 3]);
    }
  }
});

Deno.test("a hypercall has one exit, no kick and no interrupt; the host's time is the driver's", () => {
  const bench = new Bench();
  const link = bench.link(new Hypercall(bench.parts));
  assert.equal(link.payloadMax, Infinity);
  bench.after(0, () => link.send("reclaim", ONE, 50));
  assert.deepEqual(bench.run(), [
    [0, "send", 1, 64],
    [64, "exit", 1, 10],
    [74 + 5600 + 2 * APPLY_NS, "ack", 1, 7674],
  ]);
  assert.deepEqual(bench.applied, [[74 + 5600, 1, 0], [74 + 6600, 1, 1024]]);
});

Deno.test("a link counts what is in flight, limits the payload, and sends nothing when it is closing", () => {
  const bench = new Bench();
  const link = bench.link(bench.queue({ size: 2, eventIndex: true }));
  assert.equal(link.payloadMax, 2 * DESCRIPTOR_BYTES_MAX);
  assert.equal(link.sizeOf(ONE), 32);
  assert.deepEqual([link.accepts({ pfn: 0, count: 1 }), link.accepts({ pfn: 0, count: 0 })], [true, false]);
  const inFlight: number[] = [];
  const results: boolean[] = [];
  bench.after(0, function* () {
    results.push(yield* link.send("reclaim", ONE, 0));
    link.close();
    results.push(yield* link.send("reclaim", ONE, 0));
  });
  bench.after(500, function* () {
    inFlight.push(link.inFlight);
    yield 0;
  });
  assert.deepEqual(bench.run().map(([, event]) => event), ["send", "kick", "exit", "interrupt", "ack"]);
  assert.deepEqual([results, inFlight, link.inFlight], [[true, false], [1], 0]);
});
