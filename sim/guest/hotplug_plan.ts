/** Whether what a scenario plugs and takes out can be, and how much room it needs at most. */
import { InputError } from "../core/options.ts";
import { formatSize } from "../memory/units.ts";
import { mergeRanges, PAGE_SIZE, pagesOf, type Range } from "../memory/range.ts";
import { firstGap, HOTPLUG_START, memoryBlockPages } from "./hotplug.ts";
import type { HotplugEvent, PlugEvent, UnplugEvent } from "./hotplug_options.ts";
import { endOf, intersect, subtract } from "./range_sets.ts";
import { SECTION_PAGES } from "./section_table.ts";

/** Pages below 64 TiB (ADDRESS_MAX), and sections of one zone. */
const PFN_END = 2 ** 34;
const ZONE_SECTIONS_MAX = 65_535;

/** The room that all events together need. */
export interface HotplugReach {
  /** First page frame that no memory will ever have. */
  readonly endPfn: number;
  /** Sections that each zone must be able to hold. */
  readonly sections: number;
}

/** Memory as far as it is known before the run: what a removal takes, and whether it succeeds, shows only then. */
interface Known {
  readonly blockPages: number;
  readonly bootEndPfn: number;
  /** What may exist. */
  possible: Range[];
  /** What exists in any case. */
  certain: Range[];
}

/** Plans the events over the memory of the boot. Throws {@link InputError} whose path begins below `machine`. */
export function planHotplug(boot: readonly Range[], events: readonly HotplugEvent[]): HotplugReach {
  const present = mergeRanges(boot);
  const bootEndPfn = endOf(present);
  const known: Known = {
    blockPages: memoryBlockPages(bootEndPfn),
    bootEndPfn,
    possible: present,
    certain: present,
  };
  // At boot the sections at both ends of a range may exist in part.
  let sections = present.reduce((sum, { count }) => sum + Math.ceil(count / SECTION_PAGES) + 1, 0);
  events.forEach((event, index) => {
    checkBlocks(event, index, known);
    if (event.kind === "remove") return remove(event, index, known);
    add(event, index, known);
    sections += event.bytes / PAGE_SIZE / SECTION_PAGES;
  });
  if (sections > ZONE_SECTIONS_MAX) {
    throw new InputError(
      ["hotplug"],
      "memory of the boot and all that is added are together more than the 8TiB of a zone",
    );
  }
  return { endPfn: endOf(known.possible), sections };
}

function checkBlocks({ kind, bytes, address }: HotplugEvent, index: number, { blockPages, bootEndPfn }: Known): void {
  const blockBytes = blockPages * PAGE_SIZE;
  const refuse = (key: string, value: number) => {
    const end = formatSize(bootEndPfn * PAGE_SIZE);
    const blocks = `memory blocks of ${formatSize(blockBytes)}, as a guest has whose memory ends at ${end}`;
    throw new InputError(["hotplug", index, key], `${value} bytes are no multiple of ${blocks}`);
  };
  if (bytes % blockBytes !== 0) refuse(kind, bytes);
  if (address === undefined) return;
  if (address % blockBytes !== 0) refuse("address", address);
  if (address / PAGE_SIZE < HOTPLUG_START) {
    throw new InputError(["hotplug", index, "address"], "memory comes and goes from 4GiB on only");
  }
}

function add({ address, bytes }: PlugEvent, index: number, known: Known): void {
  const count = bytes / PAGE_SIZE;
  if (address === undefined) return addAnywhere(count, index, known);
  const pfn = address / PAGE_SIZE;
  if (intersect(known.certain, pfn, pfn + count).length > 0) {
    throw new InputError(["hotplug", index, "address"], "there is memory already");
  }
  known.possible = mergeRanges([...known.possible, { pfn, count }]);
  known.certain = mergeRanges([...known.certain, { pfn, count }]);
}

/** The place is the first gap: at the lowest there is none below all memory of the boot, at the highest when all exists. */
function addAnywhere(count: number, index: number, known: Known): void {
  const gap = (taken: readonly Range[]) => {
    return firstGap(known.bootEndPfn, known.blockPages, count, (pfn) => intersect(taken, pfn, pfn + 1).length > 0);
  };
  const lowest = gap(known.certain);
  const last = gap(known.possible);
  if (last + count > PFN_END) throw new InputError(["hotplug", index, "add"], "the memory ends above 64TiB");
  known.possible = mergeRanges([...known.possible, { pfn: lowest, count: last + count - lowest }]);
  if (lowest === last) known.certain = mergeRanges([...known.certain, { pfn: last, count }]);
}

function remove({ address, bytes }: UnplugEvent, index: number, known: Known): void {
  const count = bytes / PAGE_SIZE;
  if (address === undefined) {
    const most = pagesOf(intersect(known.possible, HOTPLUG_START, PFN_END));
    if (count > most) {
      const there = formatSize(most * PAGE_SIZE);
      throw new InputError(
        ["hotplug", index, "remove"],
        `no more than ${there} above 4GiB can be there to be taken out`,
      );
    }
    known.certain = intersect(known.certain, 0, HOTPLUG_START);
    return;
  }
  const pfn = address / PAGE_SIZE;
  if (pagesOf(intersect(known.possible, pfn, pfn + count)) < count) {
    throw new InputError(["hotplug", index, "address"], "there is no memory, or not as much");
  }
  known.certain = subtract(known.certain, [{ pfn, count }]);
}
