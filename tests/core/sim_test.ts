import assert from "node:assert/strict";
import fc from "fast-check";
import { Fingerprint } from "../../sim/core/fingerprint.ts";
import { type RunEnd, Signal, Sim, type Task, TIME_MAX_NS } from "../../sim/core/sim.ts";
import {
  actorOf,
  BLOCK_ROWS,
  Event,
  EVENTS,
  isCheckOnly,
  Trace,
  type TraceReader,
  TraceRows,
} from "../../sim/core/trace.ts";
import { Worker } from "../../sim/core/worker.ts";

Deno.test("events run in the order of time, then priority, then insertion", () => {
  const sim = new Sim();
  const ran: number[] = [];
  const kind = sim.register("note", (target) => void ran.push(target));
  const events: [timeNs: number, priority: number, target: number][] = [
    [20, 0, 1],
    [10, 100, 2],
    [10, 0, 3],
    [10, -5, 4],
    [10, 0, 5],
    [0, 100, 6],
    [20, -1, 7],
  ];
  for (const [timeNs, priority, target] of events) sim.at(timeNs, kind, target, 0, priority);
  assert.deepEqual([sim.pending, sim.nextTimeNs], [7, 0]);
  assert.equal(sim.run(), "done");
  assert.deepEqual(ran, [6, 4, 3, 5, 2, 7, 1]);
  assert.deepEqual([sim.now, sim.executed, sim.pending, sim.nextTimeNs], [20, 7, 0, Infinity]);
});

Deno.test("any events: the order is that of a stable sort, and the clock shows each one's time", () => {
  const event = fc.record({ timeNs: fc.nat(8), priority: fc.integer({ min: -2, max: 2 }) });
  fc.assert(fc.property(fc.array(event, { maxLength: 60 }), (events) => {
    const sim = new Sim();
    const ran: [number, number][] = [];
    const kind = sim.register("note", (target) => void ran.push([target, sim.now]));
    events.forEach(({ timeNs, priority }, index) => sim.at(timeNs, kind, index, 0, priority));
    sim.run();
    const wanted = events.map(({ timeNs, priority }, index) => ({ timeNs, priority, index }))
      .sort((a, b) => a.timeNs - b.timeNs || a.priority - b.priority || a.index - b.index);
    assert.deepEqual(ran, wanted.map(({ index, timeNs }) => [index, timeNs]));
  }));
});

Deno.test("events carry a target and a payload, and may schedule events of the same instant", () => {
  const sim = new Sim();
  const ran: number[][] = [];
  const note = sim.register("note", (target, payload) => void ran.push([sim.now, target, payload]));
  const twice = sim.register("twice", (target) => {
    sim.after(0, note, target, 0.5);
    sim.after(7, note, target + 1);
  });
  sim.at(3, twice, -4);
  sim.at(3, note, 9, 2 ** 52);
  assert.equal(sim.run(), "done");
  assert.deepEqual(ran, [[3, 9, 2 ** 52], [3, -4, 0.5], [10, -3, 0]]);
});

Deno.test("a cancelled event does not run, and a handle cancels once", () => {
  const sim = new Sim();
  const ran: number[] = [];
  const kind = sim.register("note", (target) => void ran.push(target));
  const handles = [5, 10, 15].map((timeNs) => sim.at(timeNs, kind, timeNs));
  assert.equal(sim.cancel(handles[0]), true);
  assert.equal(sim.cancel(handles[0]), false);
  assert.equal(sim.nextTimeNs, 10);
  sim.run(12);
  assert.equal(sim.cancel(handles[1]), false);
  assert.equal(sim.cancel(handles[2]), true);
  assert.equal(sim.run(), "done");
  assert.deepEqual([ran, sim.now, sim.executed], [[10], 12, 1]);
});

Deno.test("scheduling in the past, at a fraction or beyond the end of time is refused, with the kind and both times", () => {
  const sim = new Sim();
  const kind = sim.register("refill", () => {});
  sim.at(100, kind);
  sim.run();
  for (const timeNs of [99, -1, 100.5, NaN, Infinity, TIME_MAX_NS + 1]) {
    assert.throws(() => sim.at(timeNs, kind), {
      name: "RangeError",
      message: `Cannot schedule "refill" at ${timeNs} ns when it is 100 ns`,
    });
  }
  assert.throws(() => sim.after(-1, kind), RangeError);
  sim.at(100, kind);
  sim.at(TIME_MAX_NS, kind);
  assert.equal(sim.pending, 2);
  sim.spawn((function* () {
    yield 0.25;
  })());
  assert.throws(() => sim.run(100), /^RangeError: Cannot schedule "task" at 100.25 ns when it is 100 ns$/);
});

Deno.test("a task waits for times and signals, and delegates to others that give it their result", () => {
  const sim = new Sim();
  const log: [string, number][] = [];
  const go = new Signal();
  function* inner(): Task<string> {
    yield 5;
    yield go;
    return "result";
  }
  sim.spawn((function* () {
    log.push(["starts", sim.now]);
    yield 10;
    log.push([yield* inner(), sim.now]);
    yield 0;
    log.push(["ends", sim.now]);
  })());
  assert.deepEqual(log, []); // the first step is an event of the present instant
  const kind = sim.register("go", () => sim.notify(go));
  sim.at(12, kind); // nobody waits yet: a signal is not remembered
  sim.at(40, kind);
  assert.equal(sim.run(), "done");
  assert.deepEqual(log, [["starts", 0], ["result", 40], ["ends", 40]]);
});

Deno.test("a signal resumes all who wait, in the order in which they came, at its own time and only once", () => {
  const sim = new Sim();
  const signal = new Signal();
  const log: string[] = [];
  const waiter = function* (name: string, delayNs: number): Task {
    yield delayNs;
    for (let i = 0; i < 2; i++) {
      yield signal;
      log.push(`${name} at ${sim.now}`);
    }
  };
  sim.spawn(waiter("late", 3));
  sim.spawn(waiter("early", 1));
  sim.spawn(waiter("middle", 2));
  const kind = sim.register("notify", () => sim.notify(signal));
  sim.at(10, kind);
  sim.at(20, kind);
  sim.at(30, kind);
  sim.run();
  const at = (ns: number) => ["early", "middle", "late"].map((name) => `${name} at ${ns}`);
  assert.deepEqual(log, [...at(10), ...at(20)]);
  assert.equal(signal.waiting.length, 0);
});

Deno.test("places of tasks that ended are used again", () => {
  const sim = new Sim();
  let ended = 0;
  function* short(): Task {
    yield 1;
    ended++;
  }
  function* starter(): Task {
    for (let i = 0; i < 1000; i++) {
      sim.spawn(short());
      sim.spawn(short());
      yield 2;
    }
  }
  sim.spawn(starter());
  sim.run();
  assert.deepEqual([ended, sim.now], [2000, 2000]);
});

Deno.test("a run ends with its reason: until moves the clock, limit and pause go on with the next call, a halt stays", () => {
  const sim = new Sim();
  const ran: number[] = [];
  const kind = sim.register("note", (target) => void ran.push(target));
  const stop = sim.register("stop", () => {
    sim.halt("first reason");
    sim.halt("second reason");
  });
  const pause = sim.register("pause", () => sim.pause());
  for (const timeNs of [10, 20, 30, 40, 50]) sim.at(timeNs, kind, timeNs);
  sim.at(60, pause);
  sim.at(70, stop);
  sim.at(70, kind, 70);
  const ends: [RunEnd, number][] = [];
  const run = (untilNs?: number, eventsMax?: number) => ends.push([sim.run(untilNs, eventsMax), sim.now]);
  run(15);
  run(20);
  run(Infinity, 1);
  run(Infinity, 0);
  run(45, 1);
  run(45, 1);
  run(5);
  run();
  run();
  run();
  assert.deepEqual(ends, [
    ["until", 15],
    ["until", 20], // the limit is included
    ["limit", 30],
    ["limit", 30],
    ["limit", 40], // time stands still at the last event, so that whoever looks there can end there
    ["until", 45],
    ["until", 45], // a limit before now moves nothing
    ["paused", 60],
    ["halted", 70],
    ["halted", 70],
  ]);
  assert.deepEqual([ran, sim.haltReason, sim.pending], [[10, 20, 30, 40, 50], "first reason", 1]);
  const done = new Sim();
  // With nothing left the clock stays: who only looks in between must not move it.
  assert.deepEqual([done.run(99), done.now, done.run(), done.now, done.haltReason], [
    "done",
    0,
    "done",
    0,
    undefined,
  ]);
});

Deno.test("where() names the last kind of event, the time and what waits", () => {
  const sim = new Sim();
  const kind = sim.register("refill", () => {});
  assert.equal(sim.where(), "at 0 ns, after the start, with 0 events pending");
  sim.at(7, kind);
  sim.at(9, kind);
  sim.run(8);
  assert.equal(sim.where(), 'at 8 ns, after an event of "refill", with 1 events pending');
});

Deno.test("a worker runs jobs one after the other, in the order in which they were posted", () => {
  const sim = new Sim();
  const worker = new Worker(sim);
  const log: string[] = [];
  const job = (name: string, ns: number) =>
    function* (): Task {
      log.push(`${name} starts at ${sim.now}`);
      yield ns;
      log.push(`${name} ends at ${sim.now}`);
      if (name === "a") worker.post(job("c", 1));
    };
  assert.equal(worker.idle, true);
  worker.post(job("a", 10));
  worker.post(job("b", 5));
  assert.deepEqual([worker.idle, log], [false, []]);
  sim.run(12);
  assert.equal(worker.idle, false);
  sim.run();
  assert.equal(worker.idle, true);
  worker.post(job("d", 2));
  sim.run();
  const spans = [["a", 0, 10], ["b", 10, 15], ["c", 15, 16], ["d", 16, 18]];
  assert.deepEqual(log, spans.flatMap(([name, from, to]) => [`${name} starts at ${from}`, `${name} ends at ${to}`]));
});

Deno.test("a worker that is closed ends the job that runs and takes no other", () => {
  const sim = new Sim();
  const worker = new Worker(sim);
  const log: string[] = [];
  const job = (name: string) =>
    function* (): Task {
      yield 10;
      log.push(name);
    };
  worker.post(job("a"));
  worker.post(job("b"));
  sim.run(5);
  worker.close();
  worker.post(job("c"));
  assert.equal(sim.run(), "done");
  assert.deepEqual([log, sim.now, worker.idle], [["a"], 10, true]);
});

/** Readers and a simulation with tasks, signals, ties and a row for whatever happens; its rows are the same each time. */
function noisyRun(drive: (sim: Sim) => void): { rows: string; hex: string } {
  const lines: string[] = [];
  const lister: TraceReader = {
    read(rows) {
      for (let i = 0; i < rows.count; i++) lines.push(`${rows.timeNs[i]} ${rows.event[i]} ${rows.pfn[i]}`);
    },
  };
  const fingerprint = new Fingerprint();
  const trace = new Trace([lister, fingerprint]);
  const sim = new Sim(trace);
  const signal = new Signal();
  const note = (event: number, pfn: number) => trace.write(event, pfn, 1, 0, 0, -1, -1, 5, 0, 0);
  const kind = sim.register("tick", (target) => {
    note(Event.alloc, target);
    if (target % 3 === 0) sim.notify(signal);
    if (target < 300) sim.after(target % 4, kind, target + 2, 0, target % 5 === 0 ? 100 : 0);
  });
  for (let i = 0; i < 4; i++) {
    sim.spawn((function* (): Task {
      for (let j = 0; j < 20; j++) {
        yield j % 2 === 0 ? i : signal;
        note(Event.free, i * 100 + j);
      }
    })());
  }
  sim.at(1, kind, 0);
  sim.at(1, kind, 1);
  drive(sim);
  trace.flush();
  return { rows: lines.join("\n"), hex: fingerprint.hex };
}

Deno.test("a run cut into slices of one event, or of any time, writes the same rows and has the same fingerprint", () => {
  const whole = noisyRun((sim) => assert.equal(sim.run(), "done"));
  assert.ok(whole.rows.split("\n").length > 300);
  const single = noisyRun((sim) => {
    let slices = 0;
    while (sim.run(Infinity, 1) !== "done") slices++;
    assert.equal(slices, sim.executed - 1);
  });
  assert.deepEqual(single, whole);
  const timed = noisyRun((sim) => {
    for (let untilNs = 0; sim.run(untilNs) !== "done"; untilNs += 3);
  });
  assert.deepEqual(timed, whole);
  fc.assert(
    fc.property(fc.infiniteStream(fc.integer({ min: 1, max: 9 })), (sizes) => {
      const cut = noisyRun((sim) => {
        while (sim.run(Infinity, sizes.next().value) !== "done");
      });
      assert.deepEqual(cut, whole);
    }),
    { numRuns: 20 },
  );
});

Deno.test("the trace hands rows to all readers in order, in blocks, at the time of the engine", () => {
  const seen: number[][] = [[], []];
  const blocks: number[] = [];
  const reader = (index: number): TraceReader => ({
    read(rows) {
      if (index === 0) blocks.push(rows.count);
      seen[index].push(...rows.timeNs.subarray(0, rows.count));
    },
  });
  const trace = new Trace([reader(0), reader(1)]);
  const sim = new Sim(trace);
  const kind = sim.register("row", () => trace.write(Event.pass, -1, -1, -1, -1, -1, -1, 0, 0, -1));
  const rows = BLOCK_ROWS + 10;
  for (let i = 0; i < rows; i++) sim.at(i, kind);
  sim.run();
  assert.deepEqual([blocks, trace.written], [[BLOCK_ROWS], rows]);
  trace.flush();
  trace.flush();
  assert.deepEqual(blocks, [BLOCK_ROWS, 10]);
  const times = Array.from({ length: rows }, (_, i) => i);
  assert.deepEqual(seen, [times, times]);
  assert.equal(trace.checked, false);
});

Deno.test("events have a name, a code of their own and an actor", () => {
  const codes = Object.entries(Event);
  assert.equal(codes.length, EVENTS.length);
  assert.equal(new Set(EVENTS).size, EVENTS.length);
  for (const [name, code] of codes) {
    assert.equal(EVENTS[code], name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`));
  }
  const actors = Object.fromEntries(EVENTS.map((name, code) => [name, actorOf(code)]));
  assert.deepEqual(
    ["alloc", "end", "unpin", "pass", "ack", "kick", "interrupt", "discard", "resume"].map((name) => {
      return actors[name];
    }),
    ["guest", "guest", "guest", "driver", "driver", "queue", "queue", "host", "host"],
  );
  assert.deepEqual(EVENTS.filter((_, code) => isCheckOnly(code)), ["write", "zero", "pin", "unpin"]);
});

/** The numbers of one row. */
interface Fields {
  timeNs: number;
  event: number;
  pfn: number;
  pages: number;
  order: number;
  zone: number;
  message: number;
  bytes: number;
  costNs: number;
  guest: number;
  cpu: number;
}

const ROW: Fields = {
  timeNs: 1000,
  event: Event.alloc,
  pfn: 4096,
  pages: 8,
  order: 3,
  zone: 1,
  message: 7,
  bytes: 64,
  costNs: 94,
  guest: 0,
  cpu: 2,
};

function hexOf(...rows: Fields[]): string {
  const block = new TraceRows();
  for (const row of rows) {
    for (const [name, value] of Object.entries(row)) block[name as keyof Fields][block.count] = value;
    block.count++;
  }
  const fingerprint = new Fingerprint();
  fingerprint.read(block);
  return fingerprint.hex;
}

Deno.test("the fingerprint depends on every field of a row, on large values and on 'none'", () => {
  const seen = new Map([[hexOf(ROW), "the row itself"]]);
  const add = (row: Fields, what: string) => {
    const hex = hexOf(row);
    assert.match(hex, /^[0-9a-f]{16}$/);
    assert.equal(seen.get(hex), undefined, `${what} is as ${seen.get(hex)}`);
    seen.set(hex, what);
  };
  for (const name of Object.keys(ROW) as (keyof Fields)[]) {
    add({ ...ROW, [name]: ROW[name] + 1 }, `${name} + 1`);
    if (name !== "timeNs" && name !== "event") add({ ...ROW, [name]: -1 }, `${name} none`);
  }
  for (const name of ["timeNs", "pfn", "pages", "message", "bytes", "costNs"] as const) {
    add({ ...ROW, [name]: ROW[name] + 2 ** 40 }, `${name} + 2^40`);
    add({ ...ROW, [name]: ROW[name] + 2 ** 52 }, `${name} + 2^52`);
  }
  // What one field gains the next one loses: fields do not run into each other.
  add({ ...ROW, order: 10, zone: -1 }, "order 10, no zone");
  add({ ...ROW, order: 11, zone: -1 }, "order 11, no zone");
  add({ ...ROW, guest: 32_766, cpu: -1 }, "guest 32,766");
  add({ ...ROW, guest: -1, cpu: 32_766 }, "cpu 32,766");
});

Deno.test("the fingerprint depends on the order of rows and on a row that is there twice", () => {
  const other = { ...ROW, pfn: 8 };
  const hexes = [hexOf(), hexOf(ROW), hexOf(ROW, ROW), hexOf(ROW, other), hexOf(other, ROW), hexOf(ROW, other, ROW)];
  assert.equal(new Set(hexes).size, hexes.length);
});

Deno.test("the fingerprint leaves out the rows that only checkers want, and does not see blocks", () => {
  const checks = [Event.write, Event.zero, Event.pin, Event.unpin].map((event) => ({ ...ROW, event }));
  assert.equal(hexOf(...checks, ROW, ...checks), hexOf(ROW));
  assert.notEqual(hexOf({ ...ROW, event: Event.end }), hexOf());
  assert.notEqual(hexOf({ ...ROW, event: Event.pass }), hexOf());
  const fingerprints = [new Fingerprint(), new Fingerprint()];
  const [whole, cut] = fingerprints.map((fingerprint) => new Trace([fingerprint]));
  for (let i = 0; i < 3000; i++) {
    for (const trace of [whole, cut]) {
      trace.timeNs = i;
      trace.write(Event.free, i, 1, 0, 0, -1, -1, 90, 0, 0);
    }
    if (i % 7 === 0) cut.flush();
  }
  for (const trace of [whole, cut]) trace.flush();
  assert.equal(fingerprints[0].hex, fingerprints[1].hex);
});
