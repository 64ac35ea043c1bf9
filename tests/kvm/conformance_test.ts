/** Every slot table against a plain map: the same calls, the same errors, the same slots afterwards. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { parseOptions } from "../../sim/core/options.ts";
import { randomStream } from "../../sim/core/random.ts";
import { type MemoryRegion, VmSlots } from "../../sim/kvm/memory_region.ts";
import { slotTables } from "../../sim/kvm/mod.ts";
import { KvmError, type MemorySlot } from "../../sim/kvm/slot_table.ts";
import type { Range } from "../../sim/memory/range.ts";
import { NaiveSlots } from "./naive_slots.ts";

const PAGE = 4096;
const OPERATIONS = Deno.env.get("HINTSIM_TIER") === "slow" ? 1_000_000 : 10_000;
/** Guest pages and VMM pages of the small world in which calls collide. */
const PAGES = 256;

interface Variant {
  readonly title: string;
  readonly kind: string;
  readonly options: Readonly<Record<string, unknown>>;
}

const VARIANTS: readonly Variant[] = [
  ...slotTables.map(({ name }) => ({ title: name, kind: name, options: {} })),
  { title: "fixed, 124", kind: "fixed", options: { user: 124, slotBytes: 56 } },
  { title: "growable, never flushed", kind: "growable", options: { flush: "never", slotBitmap: "direct", max: 128 } },
  { title: "growable, always flushed", kind: "growable", options: { flush: "each", max: 64 } },
  { title: "sorted-by-gfn, flexible", kind: "sorted-by-gfn", options: { flexible: true, user: 32764 } },
  { title: "tree, range zapped", kind: "tree", options: { deleteZap: "slot", guestMemfd: "on" } },
];

/** A table behind the interface, beside a map. */
class Pair {
  readonly zaps: (Range | undefined)[] = [];
  readonly vm: VmSlots;
  readonly naive: NaiveSlots;

  constructor({ kind, options }: Variant, memory = Infinity) {
    const plugin = slotTables.find(({ name }) => name === kind)!;
    const { value } = parseOptions(plugin.options, options, []);
    this.vm = new VmSlots({ plugin, options: value, memory, zap: (range) => this.zaps.push(range) });
    this.naive = new NaiveSlots(this.vm.table.slotsMax);
  }

  call(region: MemoryRegion): string {
    const wanted = this.naive.setRegion(region);
    const { operations } = this.vm.table;
    const before = operations.now();
    let done: string;
    try {
      done = this.vm.setRegion(region);
    } catch (error) {
      if (!(error instanceof KvmError)) throw error;
      done = error.code;
    }
    assert.equal(done, wanted);
    const did = operations.since(before);
    assert.equal(did.swaps, did.srcuWaits);
    if (done === "delete" || done === "move") assert.equal(did.swaps, 2);
    else if (done === "flags") assert.equal(did.swaps, 1);
    else if (done !== "create") assert.equal(did.swaps, 0);
    return done;
  }

  lookup(gfn: number, cpu: number): void {
    assert.deepEqual(this.vm.table.byGfn(gfn, cpu), this.naive.byGfn(gfn));
  }

  walk(first: number, count: number): void {
    const found: MemorySlot[] = [];
    this.vm.table.walkHva({ pfn: first, count }, (slot) => found.push(slot));
    const byId = (slots: MemorySlot[]) => slots.toSorted((a, b) => a.id - b.id);
    assert.deepEqual(byId(found), byId(this.naive.inHva(first, count)));
  }

  compareAll(): void {
    const { table } = this.vm;
    assert.equal(table.slots, this.naive.slots.size);
    assert.deepEqual(new Set([...table.all()].map(({ id }) => id)), new Set(this.naive.slots.keys()));
    for (const [id, slot] of this.naive.slots) assert.deepEqual(table.byId(id), slot);
    for (let id = 0; id < 40; id++) if (!this.naive.slots.has(id)) assert.equal(table.byId(id), undefined);
    assert.equal(table.bytes, table.terms().reduce((sum, { bytes }) => sum + bytes, 0));
    assert.equal(this.vm.allocatedBytes, table.bytes, "what was allocated and not freed is what the table takes");
  }
}

const page = (pfn: number) => pfn * PAGE;

for (const variant of VARIANTS) {
  Deno.test(`${variant.title}: any sequence of calls does what a map does`, () => {
    const region = fc.record({
      slot: fc.oneof(fc.integer({ min: 0, max: 9 }), fc.integer({ min: 30, max: 36 }), fc.constant(32764)),
      gpa: fc.integer({ min: 0, max: 24 }).map(page),
      size: fc.oneof(
        { weight: 4, arbitrary: fc.integer({ min: 0, max: 4 }).map(page) },
        fc.constantFrom(1000, 2 ** 43),
      ),
      hva: fc.integer({ min: 0, max: 24 }).map(page),
      flags: fc.integer({ min: 0, max: 4 }),
    });
    fc.assert(
      fc.property(fc.array(region, { maxLength: 60 }), (regions) => {
        const pair = new Pair(variant);
        for (const one of regions) {
          pair.call(one);
          for (let gfn = 0; gfn < 30; gfn += 3) pair.lookup(gfn, gfn % 5 - 1);
          pair.walk(one.hva / PAGE, 3);
        }
        pair.compareAll();
      }),
      { numRuns: 60, seed: 7 },
    );
  });

  Deno.test(`${variant.title}: ${OPERATIONS} random operations`, () => {
    const random = randomStream(6, 0, variant.title);
    const pair = new Pair(variant);
    const done: Record<string, number> = {};
    for (let n = 0; n < OPERATIONS; n++) {
      const known = [...pair.naive.slots.values()];
      const old = known.length > 0 ? known[random.nextBelow(known.length)] : undefined;
      const kind = random.nextBelow(10);
      let region: MemoryRegion = {
        slot: random.nextBelow(Math.min(48, pair.vm.table.slotsMax + 2)),
        gpa: page(random.nextBelow(PAGES)),
        size: page(1 + random.nextBelow(6)),
        hva: page(random.nextBelow(PAGES)),
        flags: random.nextBelow(4),
      };
      // Of slots that are there: removed, moved, flags changed, or nothing at all.
      if (old !== undefined && kind >= 4) {
        const same = {
          slot: old.id,
          gpa: page(old.gfn),
          size: page(old.pages),
          hva: page(old.hvaPage),
          flags: old.flags,
        };
        if (kind < 6) region = { ...same, size: 0 };
        else if (kind < 8) region = { ...same, gpa: region.gpa };
        else if (kind < 9) region = { ...same, flags: old.flags ^ 1 };
        else region = same;
      }
      const what = pair.call(region);
      done[what] = (done[what] ?? 0) + 1;
      pair.lookup(random.nextBelow(PAGES + 8), random.nextBelow(4) - 1);
      pair.walk(random.nextBelow(PAGES), 1 + random.nextBelow(32));
      assert.deepEqual(
        pair.vm.table.byHva(region.hva / PAGE) === undefined,
        pair.naive.inHva(region.hva / PAGE, 1).length === 0,
      );
      if (n % 1000 === 0) pair.compareAll();
    }
    pair.compareAll();
    for (const what of ["create", "delete", "move", "flags", "none", "EEXIST"]) {
      assert.ok(done[what] > OPERATIONS / 200, `${what}: ${done[what]}`);
    }
  });

  Deno.test(`${variant.title}: without memory nothing changes, and what was there is found`, () => {
    const whole = new Pair(variant);
    const region = (slot: number) => ({ slot, gpa: page(slot * 4), size: page(4), hva: page(slot * 4), flags: 0 });
    const start = whole.vm.allocatedBytes;
    const places = Math.min(whole.vm.table.slotsMax, 33);
    // Memory for the empty table and one slot more: tables of one size need as much again for their copy.
    const memory = start + Math.max(whole.vm.table.slotBytes, 100);
    const poor = new Pair(variant, memory);
    let refused = 0;
    for (let slot = 0; slot < places; slot++) {
      const before = poor.vm.allocatedBytes;
      try {
        poor.vm.setRegion(region(slot));
        poor.naive.setRegion(region(slot));
      } catch (error) {
        assert.ok(error instanceof KvmError);
        assert.equal(error.code, "ENOMEM");
        assert.match(error.message, /for the slots are wanted and .* are left$/);
        assert.equal(poor.vm.allocatedBytes, before);
        refused++;
      }
    }
    assert.ok(refused > 0);
    poor.compareAll();
  });
}
