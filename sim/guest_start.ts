/** The start state of a guest: what exists, what is in use, what the host backs, with their rows. */
import { Event, NONE, type Trace } from "./core/trace.ts";
import type { Guest } from "./guest/guest.ts";
import type { StartBlocks } from "./guest/start_blocks.ts";
import type { Zone } from "./guest/zone.ts";
import type { Backing } from "./host/backing.ts";
import type { Judge } from "./host/judge.ts";
import { PageBitmap } from "./memory/bitmap.ts";
import { ORDER_PAGES } from "./memory/range.ts";
import type { MachineOptions } from "./scenario_options.ts";

/** What it depends on. */
export interface GuestStartParts {
  /** Where the rows go. */
  readonly trace: Trace;
  /** The guest, with its boot memory free and its policy installed. */
  readonly guest: Guest;
  /** What backs it. */
  readonly backing: Backing;
  /** Who judges. */
  readonly judge: Judge;
  /** What is in use when the run starts, in the order of allocation. */
  readonly start: StartBlocks;
  /** Which memory the host backs: what is in use, all that exists, or none. */
  readonly resident: MachineOptions["resident"];
  /** Pages of its physical address space, memory that comes later included. */
  readonly pages: number;
  /** Page after the memory of the boot. */
  readonly bootEndPfn: number;
}

/** Allocates what is in use when a run starts, and writes the rows of the start state. */
export function writeStart(parts: GuestStartParts): void {
  const { trace, guest, judge, start, bootEndPfn } = parts;
  // What comes back to the lists before the run is not a free that a policy would hear of.
  const { policy } = guest;
  guest.setPolicy({});
  for (let n = 0; n < start.count; n++) {
    guest.allocAtStart(start.handle(n), start.order(n), start.migratetype(n), start.pfn(n));
  }
  // The start rows know free pages and pages in use; what a CPU kept would be in use, and yet could be taken out.
  for (const { index } of guest.zones) guest.drain(index);
  guest.setPolicy(policy);
  const used = new PageBitmap(parts.pages);
  for (const zone of guest.zones) {
    for (const { pfn, count } of zone.present) {
      used.setRange(pfn, count);
      trace.write(Event.present, pfn, count, NONE, zone.index, NONE, NONE, 0, guest.index, NONE);
    }
  }
  // What is not free has an owner, holes and pages outside of every zone included.
  judge.own(0, bootEndPfn);
  for (const zone of guest.zones) {
    forEachFreeRun(zone, (pfn, count) => {
      used.clearRange(pfn, count);
      judge.release(pfn, count);
    });
  }
  for (const zone of guest.zones) {
    used.forEachRun(zone.pages.startPfn, zone.pages.pages, true, (pfn, count) => {
      trace.write(Event.alloc, pfn, count, NONE, zone.index, NONE, NONE, 0, guest.index, NONE);
      judge.write(pfn, count);
    });
  }
  populate(parts, used);
}

function populate({ guest, backing, resident }: GuestStartParts, used: PageBitmap): void {
  for (const zone of guest.zones) {
    if (resident === "all") { for (const { pfn, count } of zone.present) backing.populateAtStart(pfn, count); }
    if (resident !== "used") continue;
    used.forEachRun(zone.pages.startPfn, zone.pages.pages, true, (pfn, count) => {
      backing.populateAtStart(pfn, count);
    });
  }
}

/** Calls `visit` for the free blocks of a zone, those that follow each other on a list and in memory as one run. */
function forEachFreeRun(zone: Zone, visit: (pfn: number, count: number) => void): void {
  let start = 0;
  let end = 0;
  zone.forEachFree((pfn, order) => {
    if (pfn !== end) {
      if (end > start) visit(start, end - start);
      start = pfn;
    }
    end = pfn + ORDER_PAGES[order];
  });
  if (end > start) visit(start, end - start);
}
