/** Bytes that the threads on memory slots quote, each a test named after it, with its sum. */
import assert from "node:assert/strict";
import { parseOptions } from "../../sim/core/options.ts";
import { figureBytes, figures } from "../../sim/kvm/figures.ts";
import { VmSlots } from "../../sim/kvm/memory_region.ts";
import { metadataTerms } from "../../sim/kvm/metadata.ts";
import { slotTables } from "../../sim/kvm/mod.ts";
import { SET_BYTES } from "../../sim/kvm/tree.ts";

/** The sums by hand. */
const BY_HAND: Readonly<Record<number, number>> = {
  2456: 36 * (64 + 4) + 8,
  9000: 132 * (64 + 4) + 24,
  7680: 132 * (56 + 2) + 24,
  7440: 128 * (56 + 2) + 16,
  90112: 2 * 512 * 88,
  2640: 30 * 88,
  [2 ** 31]: 8 * 2 ** 28,
  [2 ** 29]: 2 * 2 ** 28,
  [2 ** 21]: 4 * 2 ** 19,
  [2 ** 26]: 2 * 2 ** 28 / 8,
};

assert.equal(figures().length, 10);
for (const figure of figures()) {
  Deno.test(`bytes: ${figure.target}, ${figure.name}: ${figure.terms.map(({ what }) => what).join("; ")}`, () => {
    assert.equal(figureBytes(figure), figure.target);
    assert.equal(BY_HAND[figure.target], figure.target);
  });
}

function vmOf(kind: string, options: Readonly<Record<string, unknown>> = {}): VmSlots {
  const plugin = slotTables.find(({ name }) => name === kind)!;
  return new VmSlots({ plugin, options: parseOptions(plugin.options, options, []).value, memory: Infinity });
}

function fill(vm: VmSlots, count: number): VmSlots {
  for (let slot = vm.table.slots; slot < count; slot++) {
    vm.setRegion({ slot, gpa: slot * 4096, size: 4096, hva: slot * 4096, flags: 0 });
  }
  return vm;
}

Deno.test("bytes: trimming ids and flags and rounding to 128 places saved 1560 of 9000", () => {
  assert.equal(9000 - 7440, 1560);
});

Deno.test("bytes: today 4288 fixed and 264 a slot, 280 with guest_memfd", () => {
  // A set: 8 generation + 8 last + 16 hva root + 8 gfn root + 128 x 8 buckets + 8 indexes.
  assert.equal(SET_BYTES, 8 + 8 + 16 + 8 + 128 * 8 + 4 + 4);
  assert.equal(vmOf("tree").table.bytes, 4288);
  assert.equal(fill(vmOf("tree"), 30).table.bytes, 4288 + 30 * 264);
  assert.equal(fill(vmOf("tree", { guestMemfd: "on" }), 30).table.bytes, 4288 + 30 * 280);
  // With the limit in use: 8.25 MiB.
  assert.equal(4288 + 32_764 * 264, 8_653_984);
});

Deno.test("bytes: the array that grows takes what its highest number needs, and a word of bits more after 64 places", () => {
  const direct = vmOf("growable", { slotBitmap: "direct" });
  assert.equal(direct.table.bytes, 36 * 68 + 8);
  assert.equal(fill(direct, 60).table.bytes, 64 * 68 + 8);
  assert.equal(fill(direct, 61).table.bytes, 65 * 68 + 16);
  assert.equal(fill(vmOf("growable"), 61).table.bytes, 65 * 68 + 8 + 16);
  // Never flushed: the bits are there from the start, in each of 1000 shadow pages.
  const never = { flush: "never", slotBitmap: "direct", max: 128, shadowPages: 1000 };
  assert.equal(vmOf("growable", never).table.bytes, 36 * 68 + 1000 * 16);
});

Deno.test("bytes: a 1 TiB slot keeps 2 GiB less with the TDP MMU, and twice as much with SMM", () => {
  const sum = (options: Parameters<typeof metadataTerms>[1]) =>
    metadataTerms(2 ** 28, options).reduce((all, { bytes }) => all + bytes, 0);
  // 8 B a page of 4 KiB, 2 MiB and 1 GiB.
  const rmap = 2 ** 31 + 8 * 2 ** 19 + 8 * 2 ** 10;
  const others = 2 ** 29 + 4 * 2 ** 19 + 4 * 2 ** 10;
  const shadow = { tdpMmu: false, smm: false, dirtyLog: false };
  assert.equal(sum(shadow), rmap + others);
  assert.equal(sum({ ...shadow, tdpMmu: true }), others);
  // "5 GiB without TDP MMU, 1 GiB with", by the double of SMM.
  assert.equal(sum({ ...shadow, smm: true }), 2 * (rmap + others));
  assert.equal(Math.round(sum({ ...shadow, smm: true }) / 2 ** 30), 5);
  assert.equal(Math.round(sum({ ...shadow, tdpMmu: true, smm: true }) / 2 ** 30), 1);
});
