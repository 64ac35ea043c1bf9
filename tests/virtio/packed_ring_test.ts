import assert from "node:assert/strict";
import fc from "fast-check";
import { PackedRing } from "../../sim/virtio/packed_ring.ts";
import type { RingBuffer } from "../../sim/virtio/ring.ts";
import { NaivePackedRing } from "./naive_packed_ring.ts";

Deno.test("a packed ring has any size from 1 to 32,768", () => {
  for (const size of [1, 3, 100, 32_768]) assert.equal(new PackedRing(size, true).freeDescriptors, size);
  for (const size of [0, -1, 1.5, 32_769, NaN, Infinity]) {
    assert.throws(() => new PackedRing(size, true), {
      name: "RangeError",
      message: `A packed ring has 1 to 32768 descriptors, not ${size}`,
    });
  }
});

Deno.test("EVENT_IDX: a chain that goes over the end of the ring passes the descriptor behind the end", () => {
  const ring = new PackedRing(3, true);
  assert.equal(ring.add(1, 2), true);
  ring.finish(ring.take()!);
  assert.deepEqual(ring.collect(), [1]);
  // The device waits for descriptor 2 of this lap; the next chain is descriptors 2, 0 and 1.
  ring.watchAvailable();
  assert.equal(ring.add(2, 3), true);
  ring.finish(ring.take()!);
  ring.collect();
  // Descriptor 2 again, in the second lap: not that of the first.
  ring.watchAvailable();
  assert.deepEqual([ring.add(3, 1), ring.add(4, 1)], [true, false]);
});

Deno.test("buffers may be used in any order: the device skips the chain of each, and the driver follows", () => {
  const ring = new PackedRing(5, true);
  ring.add(1, 3);
  ring.add(2, 1);
  ring.add(3, 1);
  const [a, b, c] = [ring.take()!, ring.take()!, ring.take()!];
  assert.equal(ring.finish(b), true);
  assert.deepEqual([ring.collect(), ring.freeDescriptors], [[2], 1]);
  assert.equal(ring.add(4, 1), false); // the device has not asked again
  ring.watchUsed(true);
  assert.deepEqual([ring.finish(c), ring.finish(a)], [true, false]);
  assert.deepEqual([ring.collect(), ring.freeDescriptors], [[3, 1], 4]);
  assert.deepEqual(ring.take(), { id: 4, descriptors: 1 });
});

Deno.test("EVENT_IDX: a wish that nobody renews comes true again after two laps, when its wrap counter is back", () => {
  const ring = new PackedRing(2, true);
  const interrupts: boolean[] = [];
  for (let id = 1; id <= 9; id++) {
    ring.add(id, 1);
    interrupts.push(ring.finish(ring.take()!));
    ring.collect();
  }
  // Descriptor 0 in a lap with counter 1: buffers 1, 5 and 9.
  assert.deepEqual(interrupts.flatMap((wanted, index) => wanted ? [index + 1] : []), [1, 5, 9]);
});

/** What is done to a ring; a number chooses among what is possible. */
const COMMANDS = ["add", "take", "finish", "collect", "watchAvailable", "watchUsed", "unwatchUsed"] as const;

Deno.test("any order of steps gives what descriptors with flags in an array give", () => {
  const step = fc.record({ command: fc.constantFrom(...COMMANDS), choice: fc.nat(1000) });
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 9 }),
      fc.boolean(),
      fc.array(step, { maxLength: 150, size: "max" }),
      (size, eventIndex, steps) => {
        const ring = new PackedRing(size, eventIndex);
        const naive = new NaivePackedRing(size, eventIndex);
        const taken: RingBuffer[] = [];
        let id = 0;
        for (const { command, choice } of steps) {
          switch (command) {
            case "add": {
              const descriptors = 1 + choice % size;
              if (descriptors > naive.freeDescriptors) break;
              id++;
              assert.equal(ring.add(id, descriptors), naive.add(id, descriptors));
              break;
            }
            case "take": {
              const buffer = naive.take();
              assert.deepEqual(ring.take(), buffer);
              if (buffer !== undefined) taken.push(buffer);
              break;
            }
            case "finish": {
              const [buffer] = taken.splice(choice % Math.max(1, taken.length), 1);
              if (buffer !== undefined) assert.equal(ring.finish(buffer), naive.finish(buffer));
              break;
            }
            case "collect":
              assert.deepEqual(ring.collect(), naive.collect());
              break;
            case "watchAvailable":
              ring.watchAvailable();
              naive.watchAvailable();
              break;
            default:
              ring.watchUsed(command === "watchUsed");
              naive.watchUsed(command === "watchUsed");
          }
          assert.deepEqual(
            [ring.freeDescriptors, ring.availableCount, ring.usedCount],
            [naive.freeDescriptors, naive.availableCount, naive.usedCount],
          );
        }
        assert.equal(ring.bytes, naive.bytes);
      },
    ),
    { numRuns: 500 },
  );
});
