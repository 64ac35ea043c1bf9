import assert from "node:assert/strict";
import fc from "fast-check";
import { needsEvent } from "../../sim/virtio/ring.ts";
import { SplitRing } from "../../sim/virtio/split_ring.ts";

/** The event index is one of those that the ring index left behind on its way from `old` to `next`. */
function naiveNeedsEvent(event: number, next: number, old: number): boolean {
  for (let index = old; index !== next; index = (index + 1) % 65_536) if (index === event) return true;
  return false;
}

Deno.test("needsEvent: true when the event index was passed on the way, for all small cases around the wrap", () => {
  for (const base of [0, 1, 100, 32_767, 65_530, 65_535]) {
    for (let steps = 0; steps <= 12; steps++) {
      for (let offset = -14; offset <= 14; offset++) {
        const next = (base + steps) % 65_536;
        const event = (base + offset + 65_536) % 65_536;
        assert.equal(needsEvent(event, next, base), naiveNeedsEvent(event, next, base), `${event} ${next} ${base}`);
      }
    }
  }
});

Deno.test("needsEvent: agrees with the naive definition anywhere", () => {
  const index = fc.nat(65_535);
  fc.assert(fc.property(index, index, fc.nat(400), (event, old, steps) => {
    const next = (old + steps) % 65_536;
    const near = (old + event % 500) % 65_536;
    assert.equal(needsEvent(event, next, old), naiveNeedsEvent(event, next, old));
    assert.equal(needsEvent(near, next, old), naiveNeedsEvent(near, next, old));
  }));
});

Deno.test("a ring has a power of two of descriptors, at most 32,768", () => {
  for (const size of [1, 2, 128, 1024, 32_768]) assert.equal(new SplitRing(size, true).freeDescriptors, size);
  for (const size of [0, -1, 3, 100, 1.5, 65_536, NaN, Infinity]) {
    assert.throws(() => new SplitRing(size, true), {
      name: "RangeError",
      message: `A split ring has a power of two from 1 to 32768 descriptors, not ${size}`,
    });
  }
});

Deno.test("a full ring takes nothing until buffers were used and collected", () => {
  for (const eventIndex of [true, false]) {
    const ring = new SplitRing(4, eventIndex);
    ring.add(1, 3);
    assert.throws(() => ring.add(2, 2), {
      name: "RangeError",
      message: "A buffer of 2 descriptors does not fit into 1 free ones",
    });
    ring.add(3, 1);
    assert.deepEqual([ring.freeDescriptors, ring.availableCount], [0, 2]);
    const buffer = ring.take()!;
    assert.deepEqual([buffer, ring.freeDescriptors, ring.availableCount], [{ id: 1, descriptors: 3 }, 0, 1]);
    ring.finish(buffer);
    assert.equal(ring.freeDescriptors, 0);
    assert.deepEqual([ring.collect(), ring.freeDescriptors], [[1], 3]);
    assert.deepEqual([ring.collect(), ring.take()?.id, ring.take()], [[], 3, undefined]);
  }
});

Deno.test("EVENT_IDX: one kick wakes the device, none while it works, the next after it watches again", () => {
  const ring = new SplitRing(16, true);
  assert.equal(ring.add(1, 1), true);
  assert.equal(ring.add(2, 1), false); // the event index was passed: it is on its way
  assert.equal(ring.take()!.id, 1);
  assert.equal(ring.add(3, 1), false);
  while (ring.take() !== undefined);
  assert.equal(ring.add(4, 1), false); // not watched yet
  ring.watchAvailable();
  assert.equal(ring.add(5, 1), true);
  assert.equal(ring.add(6, 1), false);
});

Deno.test("EVENT_IDX: one interrupt until the driver watches again, none when it wants none", () => {
  const ring = new SplitRing(16, true);
  for (let id = 1; id <= 6; id++) ring.add(id, 1);
  assert.equal(ring.finish(ring.take()!), true);
  assert.equal(ring.finish(ring.take()!), false);
  assert.deepEqual(ring.collect(), [1, 2]);
  ring.watchUsed(true);
  assert.equal(ring.finish(ring.take()!), true);
  ring.watchUsed(false);
  assert.equal(ring.finish(ring.take()!), false);
  assert.equal(ring.finish(ring.take()!), false);
  ring.watchUsed(true);
  assert.equal(ring.finish(ring.take()!), true);
});

Deno.test("flags: every buffer kicks until the device takes one, every used buffer interrupts while that is wanted", () => {
  const ring = new SplitRing(16, false);
  assert.deepEqual([ring.add(1, 1), ring.add(2, 1)], [true, true]);
  const first = ring.take()!;
  assert.equal(ring.add(3, 1), false);
  assert.equal(ring.finish(first), true);
  assert.equal(ring.finish(ring.take()!), true);
  ring.watchUsed(false);
  assert.equal(ring.finish(ring.take()!), false);
  ring.watchUsed(true);
  ring.watchAvailable();
  assert.equal(ring.add(4, 1), true);
  assert.equal(ring.finish(ring.take()!), true);
});
