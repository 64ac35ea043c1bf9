/** The bytes that the threads on memory slots quote, made by the tables themselves. */
import { parseOptions } from "../core/options.ts";
import { PAGE_SIZE } from "../memory/range.ts";
import { VmSlots } from "./memory_region.ts";
import { metadataTerms } from "./metadata.ts";
import { slotTables } from "./mod.ts";
import type { ByteTerm } from "./slot_table.ts";

/** A figure of a mail. */
export interface Figure {
  /** What it is. */
  readonly name: string;
  /** What the mail says, bytes. */
  readonly target: number;
  /** The sum as the model makes it; terms that the mail leaves out are not in it. */
  readonly terms: readonly ByteTerm[];
  /** The mail. */
  readonly source: string;
}

const MAIL = "mail of 5 Dec 2012, growable memory slot array";
const CHRISTOPHERSON = "Sean Christopherson, lkml 1910.3/01985";
const HILDENBRAND = "David Hildenbrand, virtio-mem memslots, Aug 2023";
const TIB = 2 ** 40;

/** The bytes of a figure. */
export function figureBytes({ terms }: Figure): number {
  return terms.reduce((sum, { bytes }) => sum + bytes, 0);
}

function termsOf(kind: string, options: Readonly<Record<string, unknown>>, slots = 0): readonly ByteTerm[] {
  const plugin = slotTables.find(({ name }) => name === kind)!;
  const { value } = parseOptions(plugin.options, options, []);
  const vm = new VmSlots({ plugin, options: value, memory: Infinity });
  for (let slot = 0; slot < slots; slot++) {
    vm.setRegion({ slot, gpa: slot * PAGE_SIZE, size: PAGE_SIZE, hva: slot * PAGE_SIZE, flags: 0 });
  }
  return vm.table.terms();
}

function mailOf2012(target: number, user: number, slotBytes: number, indexBytes: number, what: string): Figure {
  const options = { user, private: 4, slotBytes, indexBytes };
  return { name: `${user} + 4 slots, ${what}`, target, terms: termsOf("sorted-by-size", options), source: MAIL };
}

/** All figures. */
export function figures(): readonly Figure[] {
  // These two count slots alone, without the head of the array.
  const slotsOnly = (flexible: boolean, slots: number) =>
    termsOf("sorted-by-gfn", { flexible }, slots).filter(({ what }) => !what.includes("generation"));
  const metadata = metadataTerms(TIB / PAGE_SIZE, { tdpMmu: false, smm: false, dirtyLog: true });
  const ofTib = (name: string, target: number, part: RegExp): Figure => ({
    name: `1 TiB slot, ${name}`,
    target,
    terms: metadata.filter(({ what }) => part.test(what)),
    source: HILDENBRAND,
  });
  return [
    mailOf2012(2456, 32, 64, 4, "ids and flags of 8 bytes"),
    mailOf2012(9000, 128, 64, 4, "ids and flags of 8 bytes"),
    mailOf2012(7680, 128, 56, 2, "short ids"),
    mailOf2012(7440, 124, 56, 2, "short ids, a round 128"),
    {
      name: "fixed arrays of two address spaces (~90 KB)",
      target: 90_112,
      terms: slotsOnly(false, 0),
      source: CHRISTOPHERSON,
    },
    {
      name: "30 slots in a flexible array (~2.6 KB)",
      target: 2640,
      terms: slotsOnly(true, 30),
      source: CHRISTOPHERSON,
    },
    ofTib("reverse map of 4 KiB pages", 2 ** 31, /^rmap.* 4 KiB/),
    ofTib("write tracking", 2 ** 29, /^write track/),
    ofTib("large-page counts of 2 MiB", 2 ** 21, /^lpage_info.* 2 MiB/),
    ofTib("dirty bitmaps", 2 ** 26, /^dirty/),
  ];
}
