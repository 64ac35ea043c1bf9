import assert from "node:assert/strict";
import fc from "fast-check";
import { EventHeap, type EventHeapOptions } from "./event_heap.ts";
import { type Random, randomStream } from "../../sim/core/random.ts";

interface Event {
  readonly timeNs: number;
  readonly priority: number;
  readonly kind: number;
  readonly target: number;
  readonly payload: number;
}

interface Pending extends Event {
  readonly handle: number;
}

/** The heap beside a plain array that is kept in the promised order: every call goes to both and is compared. */
class Twin {
  readonly heap: EventHeap;
  /** In the order in which they must leave. */
  readonly pending: Pending[] = [];
  /** Every handle ever given out, in order. */
  readonly handles: number[] = [];
  /** Those that name a pending event. */
  readonly live = new Map<number, Pending>();
  /** Time of the event popped last. */
  nowNs = 0;

  constructor(options?: EventHeapOptions) {
    this.heap = new EventHeap(options);
  }

  push(event: Event): void {
    const handle = this.heap.push(event.timeNs, event.priority, event.kind, event.target, event.payload);
    assert.ok(Number.isSafeInteger(handle) && handle > 0);
    assert.ok(!this.live.has(handle), "a live handle was given out twice");
    const entry = { ...event, handle };
    // The first place behind everything that is not later: ties leave in the order of insertion.
    let low = 0;
    let high = this.pending.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      const other = this.pending[middle];
      const later = other.timeNs > event.timeNs || (other.timeNs === event.timeNs && other.priority > event.priority);
      if (later) high = middle;
      else low = middle + 1;
    }
    this.pending.splice(low, 0, entry);
    this.live.set(handle, entry);
    this.handles.push(handle);
  }

  cancel(handle: number): void {
    const entry = this.live.get(handle);
    assert.equal(this.heap.cancel(handle), entry !== undefined);
    if (entry === undefined) return;
    this.live.delete(handle);
    this.pending.splice(this.pending.indexOf(entry), 1);
  }

  pop(): void {
    assert.equal(this.heap.size, this.pending.length);
    assert.equal(this.heap.peekTimeNs(), this.pending[0]?.timeNs ?? Infinity);
    const entry = this.pending.shift();
    assert.equal(this.heap.pop(), entry !== undefined);
    if (entry === undefined) return;
    const { timeNs, priority, kind, target, payload } = this.heap;
    const { handle, ...expected } = entry;
    assert.deepEqual({ timeNs, priority, kind, target, payload }, expected);
    this.live.delete(handle);
    this.nowNs = timeNs;
  }

  drain(): void {
    while (this.pending.length > 0) this.pop();
    this.pop();
  }
}

type Operation =
  | ({ readonly type: "push" } & Event)
  | { readonly type: "cancel"; readonly pick: number }
  | { readonly type: "pop" };

const timeNs = fc.oneof(fc.nat(3), fc.nat(1000), fc.maxSafeNat(), fc.constant(2 ** 53));
const push: fc.Arbitrary<Operation> = fc.record({
  type: fc.constant("push"),
  timeNs,
  priority: fc.oneof(fc.constant(0), fc.integer({ min: -128, max: 127 })),
  kind: fc.nat(65535),
  target: fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
  payload: fc.double({ noNaN: true }),
});
const cancel: fc.Arbitrary<Operation> = fc.record({ type: fc.constant("cancel"), pick: fc.nat() });
const pop: fc.Arbitrary<Operation> = fc.record({ type: fc.constant("pop") });

function perform(twin: Twin, operation: Operation): void {
  if (operation.type === "pop") twin.pop();
  else if (operation.type === "push") {
    const { type: _, ...event } = operation;
    twin.push(event);
  } else if (twin.handles.length > 0) twin.cancel(twin.handles[operation.pick % twin.handles.length]);
}

Deno.test("the heap does what a sorted array does (any operations, any times)", () => {
  const mixes = [
    fc.oneof(push, cancel, pop),
    fc.oneof({ weight: 6, arbitrary: push }, { weight: 5, arbitrary: cancel }, { weight: 1, arbitrary: pop }),
    fc.oneof({ weight: 6, arbitrary: push }, { weight: 1, arbitrary: cancel }, { weight: 5, arbitrary: pop }),
  ];
  for (const operation of mixes) {
    const operations = fc.array(operation, { maxLength: 400, size: "max" });
    fc.assert(
      fc.property(operations, fc.constantFrom(1, 2, 7, 1024), (list, capacity) => {
        const twin = new Twin({ capacity });
        for (const each of list) perform(twin, each);
        twin.drain();
      }),
      { numRuns: 60 },
    );
  }
});

/** A long run: what is pushed lies `delay` after the event popped last, `cancels` is the share of cancellations. */
interface Load {
  readonly delayNs: (random: Random) => number;
  readonly cancels: number;
  readonly priorities: number;
}

const LOADS: Record<string, Load> = {
  random: { delayNs: (random) => random.nextBelow(1_000_000), cancels: 0.02, priorities: 1 },
  constant: { delayNs: () => 1000, cancels: 0.02, priorities: 1 },
  "tie-heavy": { delayNs: (random) => random.nextBelow(3), cancels: 0.02, priorities: 3 },
  bimodal: {
    delayNs: (random) => random.nextBelow(10) === 0 ? 1e9 + random.nextBelow(1e9) : random.nextBelow(20),
    cancels: 0.02,
    priorities: 2,
  },
  "zero-delay": { delayNs: (random) => random.nextBelow(20) === 0 ? 5 : 0, cancels: 0.02, priorities: 256 },
  "cancel-heavy": { delayNs: (random) => random.nextBelow(5000), cancels: 0.45, priorities: 2 },
};

const OPERATIONS = Deno.env.get("HINTSIM_TIER") === "slow" ? 1_000_000 : 10_000;

for (const [name, load] of Object.entries(LOADS)) {
  Deno.test(`the heap does what a sorted array does: ${OPERATIONS} operations, ${name}`, () => {
    const random = randomStream(1, 0, `event heap ${name}`);
    const twin = new Twin({ capacity: 4 });
    for (let i = 0; i < OPERATIONS; i++) {
      // The list grows and shrinks in waves between about nothing and some hundred events.
      const growing = i % 1500 < 750;
      const kind = random.nextFloat();
      if (kind < load.cancels) {
        const recent = Math.min(twin.handles.length, 500);
        if (recent > 0) twin.cancel(twin.handles[twin.handles.length - 1 - random.nextBelow(recent)]);
      } else if (kind < load.cancels + (1 - load.cancels) * (growing ? 0.8 : 0.2)) {
        twin.push({
          timeNs: twin.nowNs + load.delayNs(random),
          priority: load.priorities === 1 ? 0 : random.nextBelow(load.priorities) - Math.floor(load.priorities / 2),
          kind: i % 65536,
          target: i,
          payload: i / 2,
        });
      } else twin.pop();
    }
    twin.drain();
  });
}

Deno.test("order: time, then priority, then insertion", () => {
  const heap = new EventHeap();
  const pushed: [number, number, number][] = [[5, 0, 1], [5, -128, 2], [5, 0, 3], [4, 127, 4], [5, 127, 5], [5, -1, 6]];
  for (const [time, priority, target] of pushed) heap.push(time, priority, 0, target, 0);
  const order: number[] = [];
  while (heap.pop()) order.push(heap.target);
  assert.deepEqual(order, [4, 2, 6, 1, 3, 5]);
});

Deno.test("an empty heap: no time, nothing to pop, the fields stay", () => {
  const heap = new EventHeap();
  assert.equal(heap.size, 0);
  assert.equal(heap.peekTimeNs(), Infinity);
  assert.equal(heap.pop(), false);
  heap.push(3, -7, 65535, -1, Infinity);
  assert.ok(heap.pop());
  assert.equal(heap.pop(), false);
  assert.deepEqual([heap.timeNs, heap.priority, heap.kind, heap.target, heap.payload], [3, -7, 65535, -1, Infinity]);
});

Deno.test("a handle dies with its event, and what is no handle cancels nothing", () => {
  const heap = new EventHeap({ capacity: 1 });
  const first = heap.push(1, 0, 0, 0, 0);
  assert.ok(heap.pop());
  assert.equal(heap.cancel(first), false);
  const second = heap.push(1, 0, 0, 0, 0); // in the same slot
  assert.notEqual(second, first);
  assert.equal(heap.cancel(first), false);
  for (const bad of [0, -1, NaN, Infinity, second + 0.5, second + 1, second + 2 ** 26, -second, 2 ** 53]) {
    assert.equal(heap.cancel(bad), false, `${bad}`);
  }
  assert.equal(heap.size, 1);
  assert.equal(heap.cancel(second), true);
  assert.equal(heap.cancel(second), false);
  assert.equal(heap.size, 0);
  assert.equal(heap.peekTimeNs(), Infinity);
});

Deno.test("a priority that does not fit is refused", () => {
  const heap = new EventHeap();
  for (const priority of [-129, 128, 0.5, NaN]) {
    assert.throws(
      () => heap.push(0, priority, 0, 0, 0),
      /^RangeError: .* is not a priority of an event: it must be an/,
    );
  }
  assert.equal(heap.size, 0);
});

Deno.test("the limit of pending events: cancelled ones give their place, one too many is refused and harms nothing", () => {
  const heap = new EventHeap({ capacity: 1, slotsMax: 5 });
  const handles = [9, 8, 7, 6, 5].map((time) => heap.push(time, 0, 0, time, 0));
  assert.throws(() => heap.push(1, 0, 0, 0, 0), {
    name: "RangeError",
    message: "more than 5 events are pending: the model schedules without end",
  });
  assert.ok(heap.cancel(handles[2]));
  heap.push(4, 0, 0, 4, 0);
  assert.throws(() => heap.push(1, 0, 0, 0, 0), RangeError);
  const order: number[] = [];
  while (heap.pop()) order.push(heap.timeNs);
  assert.deepEqual(order, [4, 5, 6, 8, 9]);
});

Deno.test("a slot that was used up is retired: no handle is ever given out twice", () => {
  fc.assert(fc.property(fc.array(fc.oneof(push, cancel, pop), { maxLength: 300, size: "max" }), (list) => {
    const twin = new Twin({ capacity: 1, generationMax: 2 });
    for (const each of list) perform(twin, each);
    twin.drain();
    assert.equal(new Set(twin.handles).size, twin.handles.length);
    assert.ok(twin.handles.every((handle) => handle < 3 * 2 ** 26), "a slot was used a third time");
  }));
});

Deno.test("many cancellations keep the heap small", () => {
  // A timer that is set and cancelled for ever must not take more than a bounded number of slots.
  const heap = new EventHeap();
  for (let i = 0; i < 50; i++) heap.push(1e6 + i, 0, 0, i, 0);
  for (let i = 0; i < 100_000; i++) {
    const handle = heap.push(2e6 + i, 0, 0, 0, 0);
    assert.ok(handle % 2 ** 26 < 256, "the slot number shows how many slots are in use");
    assert.ok(heap.cancel(handle));
  }
  assert.equal(heap.size, 50);
  for (let i = 0; i < 50; i++) assert.ok(heap.pop() && heap.target === i);
});

Deno.test("rebuilding the heap without its cancelled entries keeps the order", () => {
  const random = randomStream(1, 0, "event heap rebuild");
  for (let round = 0; round < 300; round++) {
    const twin = new Twin();
    const events = 130 + random.nextBelow(60);
    for (let i = 0; i < events; i++) {
      twin.push({ timeNs: random.nextBelow(200), priority: 0, kind: 0, target: i, payload: 0 });
    }
    // The earliest ones above all, so that what moves to the top is not in order by chance.
    const earliest = twin.pending.slice(0, Math.floor(events * 0.7)).filter(() => random.nextBelow(10) > 0);
    for (const { handle } of earliest) twin.cancel(handle);
    twin.drain();
  }
});
