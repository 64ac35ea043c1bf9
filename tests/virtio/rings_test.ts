/** What holds of a ring whatever its layout, through the one interface. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { PackedRing } from "../../sim/virtio/packed_ring.ts";
import type { Ring, RingBuffer } from "../../sim/virtio/ring.ts";
import { legacySplitBytes, SplitRing } from "../../sim/virtio/split_ring.ts";

const LAYOUTS: Readonly<Record<string, (size: number, eventIndex: boolean) => Ring>> = {
  split: (size, eventIndex) => new SplitRing(size, eventIndex),
  packed: (size, eventIndex) => new PackedRing(size, eventIndex),
};

Deno.test("memory: 26 bytes a descriptor and 12 split, 16 and 8 packed; 5126 bytes for 128 in the legacy layout", () => {
  for (const size of [1, 32, 128, 1024, 32_768]) {
    // Split: a descriptor of 16, a slot of 2 and a used element of 8; flags, index and event index of 2 each, twice.
    assert.equal(new SplitRing(size, true).bytes, 26 * size + 12);
    assert.equal(new PackedRing(size, true).bytes, 16 * size + 8);
  }
  // 2048 + 2 * 131 = 2310 bytes, up to the next page 4096, then 6 + 8 * 128 = 1030.
  assert.equal(legacySplitBytes(128), 5126);
  // 16,384 + 2 * 1027 = 18,438, five pages, then 6 + 8192.
  assert.equal(legacySplitBytes(1024), 20_480 + 8198);
});

/**
 * A driver and a device that keep the rules: the device asks for a kick whenever it finds the ring empty, the driver for an
 * interrupt whenever it has collected. What each side wants is a flag; with an event index it holds for one notification.
 */
Deno.test("notifications come exactly when they were asked for; buffers are lost in neither direction", () => {
  const step = fc.record({ side: fc.constantFrom("add", "device", "finish", "driver", "poll"), choice: fc.nat(1000) });
  for (const [layout, make] of Object.entries(LAYOUTS)) {
    fc.assert(
      fc.property(
        fc.nat(4).map((order) => 2 ** order),
        fc.boolean(),
        fc.array(step, { maxLength: 200, size: "max" }),
        (size, eventIndex, steps) => {
          const ring = make(size, eventIndex);
          const waiting: RingBuffer[] = [];
          const taken: RingBuffer[] = [];
          const used: RingBuffer[] = [];
          let kickWanted = true;
          let interruptWanted = true;
          let id = 0;
          const inUse = () => [...waiting, ...taken, ...used].reduce((sum, { descriptors }) => sum + descriptors, 0);
          for (const { side, choice } of steps) {
            if (side === "add") {
              const buffer = { id: ++id, descriptors: 1 + choice % size };
              if (inUse() + buffer.descriptors > size) {
                assert.throws(() => ring.add(buffer.id, buffer.descriptors), RangeError);
                continue;
              }
              waiting.push(buffer);
              assert.equal(ring.add(buffer.id, buffer.descriptors), kickWanted, `${layout} kick ${id}`);
              if (eventIndex) kickWanted = false;
            } else if (side === "device") {
              const buffer = waiting.shift();
              assert.deepEqual(ring.take(), buffer);
              if (buffer === undefined) ring.watchAvailable();
              else taken.push(buffer);
              kickWanted = buffer === undefined;
            } else if (side === "finish" && taken.length > 0) {
              const [buffer] = taken.splice(choice % taken.length, 1);
              used.push(buffer);
              assert.equal(ring.finish(buffer), interruptWanted, `${layout} interrupt ${buffer.id}`);
              if (eventIndex) interruptWanted = false;
            } else if (side === "driver" || side === "poll") {
              assert.deepEqual(ring.collect(), used.splice(0).map((buffer) => buffer.id));
              interruptWanted = side === "driver";
              ring.watchUsed(interruptWanted);
            }
            assert.deepEqual(
              [ring.freeDescriptors, ring.availableCount, ring.usedCount],
              [size - inUse(), waiting.length, used.length],
            );
          }
        },
      ),
      { numRuns: 300 },
    );
  }
});

Deno.test("200,000 buffers, one by one or three at a time: one kick and one interrupt a batch, over every wrap", () => {
  for (const make of Object.values(LAYOUTS)) {
    for (const batch of [1, 3]) {
      const ring = make(4, true);
      ring.watchAvailable();
      ring.watchUsed(true);
      for (let i = 0; i < 200_000; i += batch) {
        for (let j = 0; j < batch; j++) assert.equal(ring.add(i + j, 1), j === 0, `kick ${i + j}`);
        for (let j = 0; j < batch; j++) assert.equal(ring.finish(ring.take()!), j === 0, `interrupt ${i + j}`);
        assert.equal(ring.take(), undefined);
        ring.watchAvailable();
        assert.equal(ring.collect().length, batch);
        ring.watchUsed(true);
      }
      assert.equal(ring.freeDescriptors, 4);
    }
  }
});
