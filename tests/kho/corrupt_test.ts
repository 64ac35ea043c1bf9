import assert from "node:assert/strict";
import { randomStream } from "../../sim/core/random.ts";
import { trackersAndPosted } from "../../sim/kho/mod.ts";
import { type Handover, KhoError, type Tracker, type TrackerPlugin } from "../../sim/kho/tracker.ts";
import { Operations } from "../../sim/memory/page_set.ts";
import { allocator } from "./naive_set.ts";

const SLOW = Deno.env.get("HINTSIM_TIER") === "slow";
const ROOT = 2 ** 37;

function pluginOf(name: string): TrackerPlugin {
  return trackersAndPosted.find((plugin) => plugin.name === name)!;
}

/** A copy of a handover, whose bytes may be changed. */
function copyOf(handover: Handover): Handover {
  const pages = handover.pages.map(({ pfn, bytes }) => {
    const copy = new Uint8Array(4096);
    copy.set(bytes);
    return { pfn, bytes: copy };
  });
  return { ...handover, pages };
}

function walk(plugin: TrackerPlugin, handover: Handover): number {
  let pages = 0;
  plugin.walk(handover, (_, count) => void (pages += count), new Operations());
  return pages;
}

/** Writes 64 bits to a page of a handover. */
function poke(handover: Handover, pfn: number, byte: number, value: number): void {
  const page = handover.pages.find((one) => one.pfn === pfn)!;
  new DataView(page.bytes.buffer).setBigUint64(byte, BigInt(value), true);
}

/** Several ranges, orders and bitmaps: each design has more than one of everything. */
function fill(tracker: Tracker): void {
  for (let folio = 0; folio < 400; folio++) tracker.preserveFolio(3 * folio, 0);
  for (let bitmap = 1; bitmap < 300; bitmap++) tracker.preserveFolio(bitmap * 32_768, 0);
  tracker.preserveFolio(2 ** 30, 9);
  tracker.preserveFolio(2 ** 30 + 2 ** 18, 18);
}

/** What the damage is, where it is done: page, byte, value; and what the walk must say. */
type Damage = readonly [what: string, pfn: number, byte: number, value: number, words: RegExp];

const LATER = /is reached for the second time/;
const OUTSIDE = /address 0x7b000 is not in the handover/;
const UNALIGNED = /is not a multiple of/;

/** Page frames: those of the tracker from 2^36 on, those that were composed from 2^37 on. */
const FIRST = 2 ** 36;
const ADDRESS = (pfn: number) => pfn * 4096;

const DAMAGES: readonly (readonly [design: string, damages: readonly Damage[]])[] = [
  ...["xarray-bitmaps-512", "xarray-bitmaps-page"].map((name) =>
    [name, [
      ["order", ROOT, 8, 41 + 255 * 2 ** 32, /page 137438953472, byte 8: order 41 is more than 40/],
      ["count of 256", ROOT, 8, 256 * 2 ** 32, /byte 12: 256 entries: a chunk has 1 to 255/],
      ["count of 0", ROOT, 8, 0, /byte 12: 0 entries/],
      ["start", ROOT, 16, 4096, /byte 16: no bitmap of order 0 starts at address 0x1000/],
      ["start beyond memory", ROOT, 16, 2 ** 52, /byte 16: no bitmap of order 0 starts at address 0x10000000000000/],
      ["bitmap outside", ROOT, 24, 0x7b000, OUTSIDE],
      ["bitmap unaligned", ROOT, 24, ADDRESS(FIRST) + 8, UNALIGNED],
      ["next outside", ROOT, 0, 0x7b000, OUTSIDE],
      ["next unaligned", ROOT, 0, ADDRESS(ROOT + 1) + 1, UNALIGNED],
      ["loop", ROOT + 1, 0, ADDRESS(ROOT), LATER],
      ["loop onto itself", ROOT, 0, ADDRESS(ROOT), LATER],
    ]] as const
  ),
  ["tables-bitmaps", [
    ["magic", ROOT, 0, 0x4b415253, /byte 0: no KHO array begins here \(magic\)/],
    ["version", ROOT, 0, 0x4b415252 + 2 ** 32, /byte 4: version 1 is not 0/],
    ["first outside", ROOT, 8, 0x7b000, OUTSIDE],
    ["first unaligned", ROOT, 8, ADDRESS(ROOT + 2) + 8, UNALIGNED],
    ["position", ROOT + 2, 8, 510, /byte 8: starts at position 510, not at 0/],
    ["loop", ROOT + 2, 0, ADDRESS(ROOT + 2), LATER],
    ["entry outside", ROOT + 2, 16, 0x7b000, OUTSIDE],
    ["entry unaligned", ROOT + 2, 16, ADDRESS(ROOT + 1) + 8, UNALIGNED],
    ["order", ROOT + 1, 8, 41, /page 137438953473, byte 8: order 41/],
    ["reserved", ROOT + 1, 8, 2 ** 32, /byte 12: reserved bytes are not zero/],
    ["bitmap outside", ROOT + 1, 16, 0x7b000, OUTSIDE],
  ]],
  ["page-tables", [
    ["order", ROOT, 8 * 41, ADDRESS(FIRST), /byte 328: order 41 is more than 40/],
    ["root outside", ROOT, 0, 0x7b000, OUTSIDE],
    ["root unaligned", ROOT, 0, ADDRESS(FIRST) + 8, UNALIGNED],
    ["table outside", FIRST, 0, 0x7b000, OUTSIDE],
    ["loop", FIRST, 8, ADDRESS(FIRST), LATER],
    ["beyond memory", FIRST, 8 * 511, ADDRESS(FIRST + 1), /byte 4088: slot 511 is beyond the last physical address/],
  ]],
  ["radix", [
    ["table outside", FIRST, 16, 0x7b000, OUTSIDE],
    ["table unaligned", FIRST, 16, ADDRESS(FIRST + 1) + 8, UNALIGNED],
    ["loop", FIRST, 0, ADDRESS(FIRST), LATER],
    ["key beyond 53 bits", FIRST, 8 * 4, ADDRESS(FIRST + 1), /byte 32: slot 4 is beyond the last physical address/],
  ]],
  ["maple-ranges", [
    ["count of 171", ROOT, 8, 171, /byte 8: 171 ranges: a page has 1 to 170/],
    ["count of 0", ROOT, 8, 0, /byte 8: 0 ranges/],
    ["order", ROOT, 32, 41, /byte 32: order 41 is more than 40/],
    ["start unaligned", ROOT, 16, 5, /byte 16: no folio of order 0 starts at address 0x5/],
    ["size of 0", ROOT, 24, 0, /byte 24: 0 bytes are no folios of order 0/],
    ["size unaligned", ROOT, 24, 100, /byte 24: 100 bytes are no folios/],
    ["folios too large", ROOT, 32, 9, /byte 24: 4096 bytes are no folios of order 9/],
    ["overlap", ROOT, 24, ADDRESS(4), /byte 40: address 0x3000 is below the end of the range before it/],
    ["beyond memory", ROOT, 24, 2 ** 52 + 4096, /byte 24: 4503599627374592 bytes go beyond the last physical address/],
    ["next outside", ROOT, 0, 0x7b000, OUTSIDE],
    ["loop", ROOT + 1, 0, ADDRESS(ROOT), LATER],
  ]],
  ["extent-list", [
    ["count of 171", FIRST, 8, 171, /byte 8: 171 ranges/],
    ["size of 0", FIRST, 24, 0, /byte 24: 0 bytes/],
    ["loop", FIRST + 1, 0, ADDRESS(FIRST), LATER],
    ["next outside", FIRST, 0, 0x7b000, OUTSIDE],
  ]],
  ["memblock", [
    ["count", ROOT, 0, 2000, /byte 0: 2000 regions in an array of 1024/],
    ["max", ROOT, 8, 5, /byte 8: an array of 5 regions: it has at least 128/],
    ["total", ROOT, 16, 4096, /byte 16: \d+ bytes in the regions, not 4096/],
    ["array outside", ROOT, 24, 0x7b000, OUTSIDE],
    ["array unaligned", ROOT, 24, ADDRESS(FIRST) + 8, UNALIGNED],
  ]],
];

for (const [name, damages] of DAMAGES) {
  Deno.test(`${name}: corrupt data is refused with the place`, () => {
    const plugin = pluginOf(name);
    const tracker = plugin.create(allocator());
    fill(tracker);
    const sound = tracker.serialize(allocator(ROOT));
    assert.equal(walk(plugin, copyOf(sound)), tracker.count);
    for (const [what, pfn, byte, value, words] of damages) {
      const damaged = copyOf(sound);
      poke(damaged, pfn, byte, value);
      const isRefused = (error: unknown) =>
        error instanceof KhoError && error.code === "corrupt" && /^page \d+, byte \d+: /.test(error.message) &&
        words.test(error.message);
      assert.throws(() => walk(plugin, damaged), isRefused, what);
    }
  });
}

Deno.test("radix: a key that is of no order, a bit beyond the last physical address", () => {
  const plugin = pluginOf("radix");
  const tracker = plugin.create(allocator());
  tracker.preserveFolio(0, 40); // key 2^12, in leaf 0: tables 0 to 4 and the leaf, page 5
  const damaged = copyOf(tracker.serialize(allocator(ROOT)));
  poke(damaged, FIRST + 5, 0, 2);
  assert.throws(() => walk(plugin, damaged), /page 68719476741, byte 0: key 1 is of no order/);
  const bitmaps = pluginOf("xarray-bitmaps-512");
  const other = bitmaps.create(allocator());
  other.preserveFolio(0, 30); // 1024 folios of order 30 are all the memory there can be
  const beyond = copyOf(other.serialize(allocator(ROOT)));
  poke(beyond, FIRST, 128, 1); // bit 1024
  assert.throws(
    () => walk(bitmaps, beyond),
    /page 68719476736, byte 128: bit 1024 is beyond the last physical address/,
  );
});

Deno.test("memblock: damage inside of the array", () => {
  const plugin = pluginOf("memblock");
  const tracker = plugin.create(allocator());
  for (let region = 0; region < 100; region++) tracker.preserve(10 * region, 2);
  const sound = tracker.serialize(allocator(ROOT));
  const damages: [byte: number, value: number, words: RegExp][] = [
    [24, 4096, /byte 24: address 0x1000 is below the end of the region before it/],
    [24, 5, /byte 24: address 0x5 starts no page/],
    [32, 0, /byte 32: 0 bytes are no pages/],
    [24 * 99 + 8, 2 ** 52, /byte 2384: 4503599627370496 bytes go beyond the last physical address/],
  ];
  for (const [byte, value, words] of damages) {
    const damaged = copyOf(sound);
    poke(damaged, FIRST, byte, value);
    assert.throws(() => walk(plugin, damaged), words);
  }
  const cut = { ...sound, pages: sound.pages.filter(({ pfn }) => pfn === ROOT) };
  assert.throws(() => walk(plugin, cut), /page 137438953472, byte 24: address 0x1000000000000 is not in the handover/);
});

for (const plugin of trackersAndPosted) {
  Deno.test(`${plugin.name}: a root that is not there`, () => {
    const tracker = plugin.create(allocator());
    tracker.preserveFolio(0, 0);
    const handover = { ...tracker.serialize(allocator(ROOT)), rootPfn: 77 };
    assert.throws(() => walk(plugin, handover), /page 77, the root, is not in the handover/);
  });

  Deno.test(`${plugin.name}: a word that is damaged anywhere is refused with its place or means other pages`, () => {
    const random = randomStream(6, 0, plugin.name);
    const tracker = plugin.create(allocator());
    fill(tracker);
    const sound = tracker.serialize(allocator(ROOT));
    let refused = 0;
    for (let round = 0; round < (SLOW ? 5000 : 150); round++) {
      // Half of the damage is among the first pages: in most designs others hold nothing but bits.
      const page = sound.pages[random.nextBelow(round % 2 === 0 ? 4 : sound.pages.length) % sound.pages.length];
      const damaged = { ...page, bytes: page.bytes.slice() };
      const byte = random.nextBelow(Math.min(256, damaged.bytes.length));
      damaged.bytes[byte] ^= 1 << random.nextBelow(8);
      try {
        walk(plugin, { ...sound, pages: sound.pages.map((one) => one === page ? damaged : one) });
      } catch (error) {
        assert.ok(error instanceof KhoError, String(error));
        assert.equal(error.code, "corrupt");
        assert.match(error.message, /^page \d+, (byte \d+: |of the array)/);
        refused++;
      }
    }
    assert.ok(refused > 0);
  });
}
