/** How a host-driven policy gets at the free blocks of an order, and gives them back. */
import type { HostAction } from "../host/host.ts";
import { ORDER_PAGES, type Range } from "../memory/range.ts";
import { choice, type Field, flag, size } from "../core/options.ts";
import type { Costs } from "../host/costs.ts";
import { MIGRATETYPE_COUNT } from "./allocator.ts";
import type { Driver } from "./driver.ts";
import { type Requests, requestsField } from "./requests.ts";
import type { Zone } from "./zone.ts";

/** A free block that a policy is about to tell the host of. */
export interface Block {
  /** Its zone. */
  readonly zone: Zone;
  /** Its first page. */
  readonly pfn: number;
  /** Its order. */
  readonly order: number;
}

/** Options that all list-walking policies have. */
export interface CollectOptions {
  /** What the host may do. */
  readonly action: HostAction;
  /** Whether blocks are taken off their lists until the host has answered. */
  readonly isolate: boolean;
  /** Walk the lists, or allocate the blocks. */
  readonly acquire: "walk" | "allocate";
  /** How neighbouring blocks are joined. */
  readonly merge: "none" | "adjacent" | "sorted";
  /** Largest buffer for one message, bytes. */
  readonly bufferMax: number;
  /** When the host asks. */
  readonly requests: Requests;
}

/** The fields of {@link CollectOptions}. */
export const COLLECT_FIELDS: { readonly [name in keyof CollectOptions]: Field<CollectOptions[name]> } = {
  action: choice<HostAction>("skip", ["skip", "reclaim"], {
    summary: "what the host may do: leave the page out of a migration, or drop it",
    source: "Liang Li v5, 30 Nov 2016: skip",
  }),
  isolate: flag(false, {
    summary: "whether blocks leave their lists until the host has answered",
    source: "as posted in 2016: false",
  }),
  acquire: choice<"walk" | "allocate">("walk", ["walk", "allocate"], {
    summary: "walk the free lists, or allocate the blocks (which zeroes them under init_on_alloc)",
    source: "walk: Liang Li v5; allocate: VIRTIO_BALLOON_F_FREE_PAGE_HINT",
  }),
  merge: choice<"none" | "adjacent" | "sorted">("none", ["none", "adjacent", "sorted"], {
    summary: "join neighbouring blocks: not at all, those that follow each other, or all after sorting",
    source: "Andrea Arcangeli, 2016: pfn/len pays off when neighbours are merged",
  }),
  bufferMax: size("4MiB", 8192, 2 ** 40, {
    summary: "largest buffer for one message",
    source: "one contiguous allocation of order 10",
  }),
  requests: requestsField(),
};

/** Takes the free blocks of one order in one zone, as the options say, and charges the visits. */
export function collect(driver: Driver, zone: Zone, order: number, options: CollectOptions, into: Block[]): void {
  const { allocator } = zone;
  for (let migratetype = 0; migratetype < MIGRATETYPE_COUNT; migratetype++) {
    if (options.acquire === "allocate") {
      for (let pfn = driver.hold(zone, order, migratetype); pfn >= 0; pfn = driver.hold(zone, order, migratetype)) {
        into.push({ zone, pfn, order });
      }
      continue;
    }
    let visits = 0;
    for (let pfn = allocator.first(order, migratetype); pfn >= 0;) {
      const following = allocator.next(pfn, order);
      visits++;
      if (options.isolate && !driver.isolate(zone, pfn, order)) break;
      into.push({ zone, pfn, order });
      pfn = following;
    }
    driver.visit(zone, visits);
    driver.unlock(zone);
  }
}

/** Gives blocks back that were isolated or allocated; the rows are written with the next commit. */
export function giveBack(driver: Driver, blocks: readonly Block[], options: CollectOptions): void {
  if (options.acquire === "allocate") {
    for (const { zone, pfn, order } of blocks) driver.release(zone, pfn, order);
  } else if (options.isolate) {
    for (const { zone, pfn, order } of blocks) driver.putBack(zone, pfn, order, false);
  }
}

/** The ranges of blocks, joined as the options say; the comparisons are charged to the next row of the driver. */
export function rangesOf(driver: Driver, blocks: readonly Block[], options: CollectOptions, costs: Costs): Range[] {
  const ranges: Range[] = blocks.map(({ pfn, order }) => ({ pfn, count: ORDER_PAGES[order] }));
  if (options.merge === "none") return ranges;
  let compares = ranges.length;
  if (options.merge === "sorted") {
    ranges.sort((a, b) => a.pfn - b.pfn);
    let depth = 0;
    while (2 ** depth < ranges.length) depth++;
    compares += ranges.length * depth;
  }
  driver.spend(compares * costs.compareNs);
  const joined: Range[] = [];
  for (const range of ranges) {
    const last = joined[joined.length - 1];
    if (last !== undefined && last.pfn + last.count === range.pfn) {
      joined[joined.length - 1] = { pfn: last.pfn, count: last.count + range.count };
    } else joined.push(range);
  }
  return joined;
}
