/** How a host-driven policy gets at the free blocks of an order, and gives them back. */
import type { HostAction } from "../host/host.ts";
import { grown } from "../memory/grown.ts";
import { forEachAlignedBlock, ORDER_PAGES, type Range } from "../memory/range.ts";
import { choice, type Field, flag, size } from "../core/options.ts";
import type { Costs } from "../host/costs.ts";
import { MIGRATETYPE_COUNT, ORDER_MAX } from "./allocator.ts";
import type { Driver } from "./driver.ts";
import { type Requests, requestsField } from "./requests.ts";
import type { Zone } from "./zone.ts";

/** Blocks whose columns are made first; they are doubled as often as needed. */
const BLOCKS_MIN = 1024;

/** So many blocks of a list are looked up at a time. */
const READ_BLOCKS = 512;

/** Free blocks that a policy is about to tell the host of, in the order in which it came to them, as typed columns. */
export class Blocks {
  #pfns = new Float64Array(BLOCKS_MIN);
  #orders = new Uint8Array(BLOCKS_MIN);
  #zones = new Uint16Array(BLOCKS_MIN);
  #count = 0;

  /** Number of blocks. */
  get count(): number {
    return this.#count;
  }

  /** Appends a block. */
  push(zone: Zone, pfn: number, order: number): void {
    const index = this.#count++;
    if (index === this.#pfns.length) {
      this.#pfns = grown(this.#pfns, 2 * index);
      this.#orders = grown(this.#orders, 2 * index);
      this.#zones = grown(this.#zones, 2 * index);
    }
    this.#pfns[index] = pfn;
    this.#orders[index] = order;
    this.#zones[index] = zone.index;
  }

  /** Forgets all blocks. */
  clear(): void {
    this.#count = 0;
  }

  /** First page of a block. */
  pfn(index: number): number {
    return this.#pfns[index];
  }

  /** Order of a block. */
  order(index: number): number {
    return this.#orders[index];
  }

  /** Index of the zone of a block. */
  zone(index: number): number {
    return this.#zones[index];
  }

  /** How many of the blocks lie in a zone. */
  countIn(zone: Zone): number {
    let blocks = 0;
    for (let index = 0; index < this.#count; index++) if (this.#zones[index] === zone.index) blocks++;
    return blocks;
  }
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

/** How a driver waits for the answer: it spins, or it sleeps until the interrupt. */
export type AckWait = "busy" | "sleep";

/** The option of how a driver waits. */
export function waitField(value: AckWait, why: string): Field<AckWait> {
  return choice<AckWait>(value, ["busy", "sleep"], {
    summary: "wait for the answer spinning, without an interrupt, or sleeping",
    source: `send_resp_data, Liang Li v4 to v6: busy in answers to a request; ${why}`,
  });
}

/**
 * Calls `take` for the blocks of a list, head first, until it returns false; returns how many it was called for. With `leaves`
 * it may take the block that it is called for off the list.
 */
export function walkList(
  { allocator }: Zone,
  order: number,
  migratetype: number,
  leaves: boolean,
  take: (pfn: number) => boolean,
): number {
  let visits = 0;
  if (leaves) {
    for (let pfn = allocator.first(order, migratetype); pfn >= 0;) {
      const following = allocator.next(pfn, order);
      visits++;
      if (!take(pfn)) break;
      pfn = following;
    }
    return visits;
  }
  const pfns = new Float64Array(READ_BLOCKS);
  let read = allocator.read(order, migratetype, -1, pfns);
  while (read > 0) {
    for (let i = 0; i < read; i++) {
      visits++;
      if (!take(pfns[i])) return visits;
    }
    read = read < READ_BLOCKS ? 0 : allocator.read(order, migratetype, pfns[read - 1], pfns);
  }
  return visits;
}

/**
 * Takes the free blocks of one order in one zone, as the options say, and charges the visits. With `limit` it stops after so
 * many blocks.
 */
export function collect(
  driver: Driver,
  zone: Zone,
  order: number,
  options: Pick<CollectOptions, "acquire" | "isolate">,
  into: Blocks,
  limit = Infinity,
): void {
  const end = into.count + limit;
  for (let migratetype = 0; migratetype < MIGRATETYPE_COUNT && into.count < end; migratetype++) {
    if (options.acquire === "allocate") {
      while (into.count < end) {
        const pfn = driver.hold(zone, order, migratetype);
        if (pfn < 0) break;
        into.push(zone, pfn, order);
      }
      continue;
    }
    const visits = walkList(zone, order, migratetype, options.isolate, (pfn) => {
      if (options.isolate && !driver.isolate(zone, pfn, order)) return false;
      into.push(zone, pfn, order);
      return into.count < end;
    });
    driver.visit(zone, visits);
    driver.unlock(zone);
  }
}

/** Gives blocks back that were isolated or allocated; the rows are written with the next commit. */
export function giveBack(
  driver: Driver,
  zones: readonly Zone[],
  blocks: Blocks,
  options: Pick<CollectOptions, "acquire" | "isolate">,
): void {
  const allocated = options.acquire === "allocate";
  if (!allocated && !options.isolate) return;
  for (let index = 0; index < blocks.count; index++) {
    const zone = zones[blocks.zone(index)];
    if (allocated) driver.release(zone, blocks.pfn(index), blocks.order(index));
    else driver.putBack(zone, blocks.pfn(index), blocks.order(index), false);
  }
}

/** The ranges of blocks, joined as the options say; the comparisons are charged to the next row of the driver. */
export function rangesOf(driver: Driver, blocks: Blocks, options: CollectOptions, costs: Costs): Range[] {
  const ranges: Range[] = [];
  for (let index = 0; index < blocks.count; index++) {
    ranges.push({ pfn: blocks.pfn(index), count: ORDER_PAGES[blocks.order(index)] });
  }
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

/** Runs as the encoding can say them: whole, or else block by block, so that a granule inside of a run is not lost with it. */
export function sayable(driver: Driver, runs: readonly Range[]): Range[] {
  const ranges: Range[] = [];
  for (const run of runs) {
    if (driver.accepts(run)) ranges.push(run);
    else {
      const push = (pfn: number, order: number) => void ranges.push({ pfn, count: ORDER_PAGES[order] });
      forEachAlignedBlock(run.pfn, run.count, ORDER_MAX, push);
    }
  }
  return ranges;
}
