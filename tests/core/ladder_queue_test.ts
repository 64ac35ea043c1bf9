import assert from "node:assert/strict";
import fc from "fast-check";
import { pareto } from "../../sim/core/distributions.ts";
import { EventHeap } from "./event_heap.ts";
import type { EventSlotsOptions } from "../../sim/core/event_slots.ts";
import { LadderQueue } from "../../sim/core/ladder_queue.ts";
import { type Random, randomStream } from "../../sim/core/random.ts";

const SLOW = Deno.env.get("HINTSIM_TIER") === "slow";
const TIME_END_NS = 2 ** 53;

/** The queue beside the heap: every call goes to both and is compared. */
class Pair {
  readonly queue: LadderQueue;
  readonly heap: EventHeap;
  /** Handles of the queue and of the heap, event by event. They may differ, because slots become free at other times. */
  readonly handles: [number, number][] = [];
  #pushed = 0;

  constructor(options?: EventSlotsOptions) {
    this.queue = new LadderQueue(options);
    this.heap = new EventHeap(options);
  }

  /** Time of the event popped last. */
  get nowNs(): number {
    return this.queue.timeNs;
  }

  push(timeNs: number, priority = 0): void {
    const number = this.#pushed++;
    const event = [timeNs, priority, number % 65536, number | 0, number / 2] as const;
    this.handles.push([this.queue.push(...event), this.heap.push(...event)]);
  }

  cancel(index: number): void {
    const [ours, theirs] = this.handles[index];
    assert.equal(this.queue.cancel(ours), this.heap.cancel(theirs));
  }

  peek(): void {
    assert.equal(this.queue.peekTimeNs(), this.heap.peekTimeNs());
  }

  pop(): boolean {
    const { queue, heap } = this;
    const popped = queue.pop();
    // Compared by hand: an assertion for each field would take most of the time of the test.
    const equal = popped === heap.pop() && queue.size === heap.size && queue.timeNs === heap.timeNs &&
      queue.priority === heap.priority && queue.kind === heap.kind && queue.target === heap.target &&
      queue.payload === heap.payload;
    if (!equal) {
      const fields = ({ timeNs, priority, kind, target, payload, size }: LadderQueue | EventHeap) => {
        return { timeNs, priority, kind, target, payload, size };
      };
      assert.deepEqual(fields(queue), fields(heap));
      assert.fail("only one of the two had an event");
    }
    return popped;
  }

  drain(): void {
    while (this.pop());
    this.peek();
  }
}

/** What is pushed lies `delayNs` after the event popped last; `cancels` is the share of cancellations. */
interface Load {
  readonly delayNs: (random: Random) => number;
  readonly cancels?: number;
  readonly priorities?: number;
}

const heavyTail = pareto(1e6, 1.1);

const LOADS: Record<string, Load> = {
  random: { delayNs: (random) => random.nextBelow(2 ** 40) },
  constant: { delayNs: () => 1000 },
  ties: { delayNs: (random) => 1e6 * random.nextBelow(2), priorities: 3 },
  triangular: { delayNs: (random) => random.nextBelow(1e6) + random.nextBelow(1e6) },
  bimodal: { delayNs: (random) => random.nextBelow(10) === 0 ? 1e9 + random.nextBelow(1e9) : random.nextBelow(20) },
  Pareto: { delayNs: (random) => Math.round(heavyTail.draw(random)), priorities: 2 },
  "zero-delay": { delayNs: (random) => random.nextBelow(20) === 0 ? random.nextBelow(50) : 0, priorities: 256 },
  "cancel-heavy": { delayNs: (random) => random.nextBelow(5000), cancels: 0.45, priorities: 2 },
};

const SIZES = [10, 100, 1000, 10_000, 100_000];
const OPERATIONS = SLOW ? 1_000_000 : 10_000;

for (const [name, load] of Object.entries(LOADS)) {
  for (const size of SIZES) {
    Deno.test(`the queue does what the heap does: ${OPERATIONS} operations, ${name}, ${size} pending`, () => {
      const random = randomStream(1, 0, `ladder queue ${name} ${size}`);
      const pair = new Pair({ capacity: 4 });
      const { cancels = 0.02, priorities = 1 } = load;
      const push = () => {
        const priority = random.nextBelow(priorities) - Math.floor(priorities / 2);
        pair.push(pair.nowNs + load.delayNs(random), priority);
      };
      for (let i = 0; i < size; i++) push();
      for (let i = 0; i < OPERATIONS; i++) {
        if (random.nextFloat() < cancels) {
          // One of those pushed last, pending or not; what it takes away comes again.
          const recent = Math.min(pair.handles.length, 2 * size);
          pair.cancel(pair.handles.length - 1 - random.nextBelow(recent));
          if (pair.queue.size < size) push();
        } else {
          if (i % 16 === 0) pair.peek();
          pair.pop();
          push();
        }
      }
      pair.drain();
    });
  }
}

Deno.test("the queue does what the heap does while it grows and shrinks", () => {
  const random = randomStream(1, 0, "ladder queue waves");
  const pair = new Pair();
  for (const size of [50, 5, 3000, 0, SLOW ? 1_000_000 : 50_000, 20, 400, 0]) {
    // What is pushed lies near or far, so that the widths that were right for one wave are wrong for the next.
    const reachNs = 2 ** random.nextBelow(40);
    while (pair.queue.size < size) {
      if (random.nextBelow(3) === 0) pair.pop();
      else pair.push(pair.nowNs + random.nextBelow(reachNs));
    }
    while (pair.queue.size > size) {
      if (random.nextBelow(3) > 0) pair.pop();
      else pair.push(pair.nowNs + random.nextBelow(reachNs));
    }
  }
  pair.drain();
});

type Operation =
  | { readonly type: "push"; readonly times: readonly number[]; readonly later: boolean; readonly priority: number }
  | { readonly type: "cancel"; readonly picks: readonly number[] }
  | { readonly type: "pop"; readonly events: number }
  | { readonly type: "peek" };

/** Times of all sizes: a number of up to 53 bits, shifted down. */
const time = fc.tuple(fc.maxSafeNat(), fc.nat(53)).map(([bits, shift]) => Math.floor(bits / 2 ** shift));
/** Many events at about one time, many anywhere, or a few. */
const times = fc.oneof(
  fc.tuple(time, fc.array(fc.nat(3), { maxLength: 100, size: "max" })).map(([start, add]) => add.map((n) => start + n)),
  fc.array(time, { maxLength: 100, size: "max" }),
  fc.array(fc.oneof(time, fc.constant(TIME_END_NS)), { maxLength: 3 }),
);
const priority = fc.oneof(fc.constant(0), fc.integer({ min: -128, max: 127 }));
const operation: fc.Arbitrary<Operation> = fc.oneof(
  fc.record({ type: fc.constant("push" as const), times, later: fc.boolean(), priority }),
  fc.record({ type: fc.constant("cancel" as const), picks: fc.array(fc.nat(), { maxLength: 90, size: "max" }) }),
  fc.record({ type: fc.constant("pop" as const), events: fc.oneof(fc.constant(1), fc.nat(150)) }),
  fc.record({ type: fc.constant("peek" as const) }),
);

function perform(pair: Pair, operation: Operation): void {
  switch (operation.type) {
    case "push":
      for (const each of operation.times) {
        // Also before the event popped last, unless `later`: the order is promised all the same.
        pair.push(Math.min(operation.later ? pair.nowNs + each : each, TIME_END_NS), operation.priority);
      }
      break;
    case "cancel":
      if (pair.handles.length > 0) operation.picks.forEach((pick) => pair.cancel(pick % pair.handles.length));
      break;
    case "pop":
      for (let i = 0; i < operation.events; i++) pair.pop();
      break;
    case "peek":
      pair.peek();
  }
}

Deno.test("the queue does what the heap does (any operations, any times)", () => {
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 60, size: "max" }), fc.constantFrom(1, 7, 1024), (list, capacity) => {
      const pair = new Pair({ capacity });
      for (const each of list) perform(pair, each);
      pair.drain();
    }),
    { numRuns: SLOW ? 5000 : 300 },
  );
});

Deno.test("many events at one time, in mixed priorities, before and while they leave", () => {
  const random = randomStream(1, 0, "ladder queue ties");
  const events = SLOW ? 300_000 : 30_000;
  const pair = new Pair();
  for (const timeNs of [0, 5e9, TIME_END_NS]) {
    for (let i = 0; i < events; i++) pair.push(timeNs, random.nextBelow(256) - 128);
    pair.push(Math.min(timeNs + 1, TIME_END_NS), -128);
    for (let i = 0; i < events; i++) {
      pair.pop();
      if (i % 2 === 0) pair.push(timeNs, random.nextBelow(256) - 128);
    }
  }
  pair.drain();
});

Deno.test("events of one priority at one time leave as they came, also those that come meanwhile", () => {
  const queue = new LadderQueue();
  const events = 100_000;
  for (let i = 0; i < events; i++) queue.push(7, 0, 0, i, 0);
  for (let i = 0; i < 2 * events; i++) {
    assert.ok(queue.pop() && queue.target === i);
    if (i < events) queue.push(7, 0, 0, events + i, 0);
  }
  assert.equal(queue.pop(), false);
});

Deno.test("times that crowd at every scale: more rungs would be needed than there are", () => {
  const random = randomStream(1, 0, "ladder queue scales");
  const pair = new Pair();
  for (let round = 0; round < 3; round++) {
    for (let i = 0; i < 20_000; i++) pair.push(Math.floor(random.nextFloat() * 2 ** random.nextBelow(54)));
    for (let i = 0; i < 15_000; i++) {
      pair.pop();
      // Just above the present time, at a scale that shrinks: the bottom is divided again and again.
      if (i % 3 === 0) pair.push(Math.min(TIME_END_NS, pair.nowNs + random.nextBelow(2 ** (1 + i % 40))));
    }
  }
  pair.drain();
});

Deno.test("a long run of one time takes events before it and between its priorities", () => {
  const random = randomStream(1, 0, "ladder queue long run");
  const pair = new Pair();
  for (let round = 0; round < 20; round++) {
    const startNs = pair.nowNs;
    const tieNs = startNs + 1e6;
    for (let i = 0; i < 100; i++) pair.push(tieNs, random.nextBelow(3));
    for (let i = 0; i < 50; i++) pair.push(tieNs + 1e6 + random.nextBelow(1e9));
    pair.push(tieNs - 1);
    pair.pop();
    pair.peek(); // the run has one time, and rungs lie above it
    // More than the run may have, so that it has to be divided while events are beside it.
    const inPriority = round % 2 === 0;
    for (let i = 0; i < 700; i++) {
      if (inPriority) pair.push(tieNs, random.nextBelow(5) - 1);
      else pair.push(startNs + random.nextBelow(1e6));
      if (i % 3 === 0) pair.pop();
    }
    while (pair.queue.size > 20) pair.pop();
  }
  pair.drain();
});

Deno.test("ever earlier events, also earlier than the one popped last", () => {
  const pair = new Pair();
  for (let i = 0; i < 5000; i++) {
    pair.push(1e9 - i * 1000);
    if (i % 7 === 0) pair.pop();
    if (i % 500 === 499) { for (let k = 0; k < 60; k++) pair.push(1e9 - i * 1000 + k * 10); }
  }
  pair.drain();
});

Deno.test("order: time, then priority, then insertion", () => {
  const queue = new LadderQueue();
  const pushed: [number, number, number][] = [[5, 0, 1], [5, -128, 2], [5, 0, 3], [4, 127, 4], [5, 127, 5], [5, -1, 6]];
  for (const [timeNs, priority, target] of pushed) queue.push(timeNs, priority, 0, target, 0);
  const order: number[] = [];
  while (queue.pop()) order.push(queue.target);
  assert.deepEqual(order, [4, 2, 6, 1, 3, 5]);
});

Deno.test("an empty queue: no time, nothing to pop, the fields stay, and values are cut to their size", () => {
  const queue = new LadderQueue();
  assert.equal(queue.size, 0);
  assert.equal(queue.peekTimeNs(), Infinity);
  assert.equal(queue.pop(), false);
  queue.push(3, -128, 65536 + 65535, 2 ** 32 - 1, Infinity);
  assert.ok(queue.pop());
  assert.equal(queue.pop(), false);
  const { timeNs, priority, kind, target, payload } = queue;
  assert.deepEqual([timeNs, priority, kind, target, payload], [3, -128, 65535, -1, Infinity]);
});

Deno.test("a handle dies with its event, and what is no handle cancels nothing", () => {
  const queue = new LadderQueue({ capacity: 1 });
  const first = queue.push(1, 0, 0, 0, 0);
  assert.ok(Number.isSafeInteger(first) && first > 0);
  assert.ok(queue.pop());
  assert.equal(queue.cancel(first), false);
  const second = queue.push(1, 0, 0, 0, 0); // in the same slot
  assert.notEqual(second, first);
  assert.equal(queue.cancel(first), false);
  for (const bad of [0, -1, NaN, Infinity, second + 0.5, second + 1, second + 2 ** 26, -second, 2 ** 53]) {
    assert.equal(queue.cancel(bad), false, `${bad}`);
  }
  assert.equal(queue.size, 1);
  assert.equal(queue.cancel(second), true);
  assert.equal(queue.cancel(second), false);
  assert.equal(queue.size, 0);
  assert.equal(queue.peekTimeNs(), Infinity);
});

Deno.test("a priority that does not fit is refused, with the words of the heap", () => {
  const queue = new LadderQueue();
  for (const priority of [-129, 128, 0.5, NaN]) {
    const message = `${priority} is not a priority of an event: it must be an integer from -128 to 127`;
    for (const list of [queue, new EventHeap()]) {
      assert.throws(() => list.push(0, priority, 0, 0, 0), { name: "RangeError", message });
    }
  }
  assert.equal(queue.size, 0);
});

Deno.test("the limit of pending events: cancelled ones give their place, one too many is refused and harms nothing", () => {
  const pair = new Pair({ capacity: 1, slotsMax: 5 });
  for (const timeNs of [9, 8, 7, 6, 5]) pair.push(timeNs);
  const refused = { name: "RangeError", message: "more than 5 events are pending: the model schedules without end" };
  assert.throws(() => pair.queue.push(1, 0, 0, 0, 0), refused);
  assert.throws(() => pair.heap.push(1, 0, 0, 0, 0), refused);
  pair.cancel(2);
  pair.push(4);
  assert.throws(() => pair.queue.push(1, 0, 0, 0, 0), refused);
  assert.throws(() => pair.heap.push(1, 0, 0, 0, 0), refused);
  pair.drain();
});

Deno.test("a slot that was used up is retired: no handle is ever given out twice", () => {
  fc.assert(fc.property(fc.array(operation, { maxLength: 30, size: "max" }), (list) => {
    const pair = new Pair({ capacity: 1, generationMax: 2 });
    for (const each of list) perform(pair, each);
    pair.drain();
    const handles = pair.handles.map(([ours]) => ours);
    assert.equal(new Set(handles).size, handles.length);
    assert.ok(handles.every((handle) => handle < 3 * 2 ** 26), "a slot was used a third time");
  }));
});

Deno.test("many cancellations keep the queue small", () => {
  // A timer that is set and cancelled for ever must not take more than a bounded number of slots.
  const queue = new LadderQueue();
  for (let i = 0; i < 50; i++) queue.push(1e6 + i, 0, 0, i, 0);
  for (let i = 0; i < 100_000; i++) {
    if (i === 50_000) queue.peekTimeNs(); // divides the top
    const handle = queue.push(2e6 + i, 0, 0, 0, 0);
    assert.ok(handle % 2 ** 26 < 512, "the slot number shows how many slots are in use");
    assert.ok(queue.cancel(handle));
  }
  assert.equal(queue.size, 50);
  for (let i = 0; i < 50; i++) assert.ok(queue.pop() && queue.target === i);
});
