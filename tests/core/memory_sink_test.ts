import assert from "node:assert/strict";
import { MemorySink } from "../../sim/core/memory_sink.ts";
import { Event, EVENTS, Trace } from "../../sim/core/trace.ts";

Deno.test("a sink without rows has empty columns", () => {
  const { count, pfn, event } = new MemorySink().columns();
  assert.deepEqual([count, pfn.length, event.length], [0, 0, 0]);
});

Deno.test("a sink keeps every field of every row, also when it grows", () => {
  const sink = new MemorySink();
  const trace = new Trace([sink]);
  const count = 10_000;
  for (let i = 0; i < count; i++) {
    trace.timeNs = i * 1000;
    trace.write(i % EVENTS.length, i * 2 ** 33, i, i % 11, i % 3, i + 1, i + 2, i + 3, i % 5, -1);
  }
  trace.flush();
  const columns = sink.columns();
  assert.equal(columns.count, count);
  assert.equal(columns.eventNames[columns.event[Event.drop]], "drop");
  for (const i of [0, 2047, 2048, 4096, 9999]) {
    const { timeNs, event, pfn, pages, order, zone, message, bytes, costNs, guest, cpu } = columns;
    assert.deepEqual(
      [timeNs, event, pfn, pages, order, zone, message, bytes, costNs, guest, cpu].map((column) => column[i]),
      [i * 1000, i % EVENTS.length, i * 2 ** 33, i, i % 11, i % 3, i + 1, i + 2, i + 3, i % 5, -1],
    );
    assert.equal(timeNs.length, count);
  }
});

Deno.test("columns are a copy: what comes later does not change them", () => {
  const sink = new MemorySink();
  const trace = new Trace([sink]);
  trace.write(Event.pass, -1, -1, -1, -1, -1, -1, 1, 0, -1);
  trace.flush();
  const before = sink.columns();
  trace.write(Event.end, -1, -1, -1, -1, -1, -1, 0, 0, -1);
  trace.flush();
  assert.equal(before.count, 1);
  assert.equal(sink.count, 2);
  assert.equal(sink.columns().event[1], Event.end);
});
