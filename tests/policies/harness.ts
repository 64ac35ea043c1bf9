/** A small machine for tests of policies: one guest, one policy, no workload; rows are kept as objects. */
import { encodings } from "../../sim/abi/mod.ts";
import { parseOptions } from "../../sim/core/options.ts";
import { randomStream } from "../../sim/core/random.ts";
import { Sim } from "../../sim/core/sim.ts";
import { EVENTS, Trace, type TraceRows } from "../../sim/core/trace.ts";
import { Worker } from "../../sim/core/worker.ts";
import { MOVABLE } from "../../sim/guest/allocator.ts";
import { Buddy } from "../../sim/guest/buddy.ts";
import { Driver } from "../../sim/guest/driver.ts";
import { Guest } from "../../sim/guest/guest.ts";
import type { PolicyPlugin } from "../../sim/guest/plugin.ts";
import type { HintingPolicy } from "../../sim/guest/policy.ts";
import { Zone } from "../../sim/guest/zone.ts";
import { Backing, HostMemory } from "../../sim/host/backing.ts";
import { costProfiles, costsOf } from "../../sim/host/costs.ts";
import { Judge } from "../../sim/host/judge.ts";
import { ORDER_PAGES } from "../../sim/memory/range.ts";
import { Link } from "../../sim/virtio/link.ts";
import { Virtqueue } from "../../sim/virtio/virtqueue.ts";

/** One row of the trace. */
export interface Row {
  timeNs: number;
  event: string;
  pfn: number;
  pages: number;
  order: number;
  message: number;
  bytes: number;
  costNs: number;
}

/** A free block to start with. */
export interface FreeBlock {
  pfn: number;
  order: number;
  migratetype?: number;
}

/** What a test may choose. */
export interface HarnessOptions {
  blocks: readonly FreeBlock[];
  pages: number;
  policy: PolicyPlugin;
  options?: Readonly<Record<string, unknown>>;
  encoding?: string;
  encodingOptions?: Readonly<Record<string, string>>;
  ring?: number;
  watermarks?: { min: number; low: number; high: number };
  /** Where the zones but the last one end; one zone unless told. */
  zoneEnds?: readonly number[];
}

/** One guest with a policy. */
export class Harness {
  readonly rows: Row[] = [];
  readonly sim: Sim;
  /** The first zone. */
  readonly zone: Zone;
  readonly zones: readonly Zone[];
  readonly guest: Guest;
  readonly driver: Driver;
  readonly worker: Worker;
  readonly policy: HintingPolicy;

  constructor(options: HarnessOptions) {
    const trace = new Trace([{ read: (rows) => this.#keep(rows) }]);
    this.sim = new Sim(trace);
    const ends = [...options.zoneEnds ?? [], options.pages];
    this.zones = ends.map((end, index) => zoneOf(options, index, ends[index - 1] ?? 0, end));
    this.zone = this.zones[0];
    const costs = costsOf(costProfiles.find(({ name }) => name === "xeon6252-2024")!);
    const judge = new Judge(options.pages);
    const memory = new HostMemory(Infinity, () => {});
    const host = new Backing({ trace, memory, judge, costs, kind: "thp", pages: options.pages, guest: 0 });
    const { sim, zones } = this;
    this.guest = new Guest({ sim, index: 0, zones, host, judge, costs, initOnAlloc: false });
    const transport = new Virtqueue({ sim, host, costs, guest: 0 }, { size: options.ring ?? 128, eventIndex: true });
    const entry = encodings.find(({ name }) => name === (options.encoding ?? "pfn-len"))!;
    const encoding = entry.create(options.encodingOptions ?? {});
    const link = new Link({ sim, encoding, queue: () => transport, costs, guest: 0 });
    this.driver = new Driver(sim, this.guest, link, costs);
    this.worker = new Worker(sim);
    const { value } = parseOptions(options.policy.options, options.options ?? {}, []);
    const context = {
      sim,
      zones,
      driver: this.driver,
      worker: this.worker,
      costs,
      vcpus: 1,
      maxPfn: options.pages,
      host,
      random: (name: string) => randomStream(1, 0, name),
    };
    this.policy = options.policy.create(context, value);
    this.guest.setPolicy(this.policy);
  }

  /** One request of the host, run to its end. */
  request(): void {
    this.worker.post(() => this.policy.onRequest!({ id: 1 }));
    this.run();
  }

  /** Runs until nothing is left. */
  run(): void {
    this.sim.run();
    this.sim.trace.flush();
  }

  /** The rows of one event. */
  of(event: string): Row[] {
    return this.rows.filter((row) => row.event === event);
  }

  #keep(rows: TraceRows): void {
    for (let i = 0; i < rows.count; i++) {
      this.rows.push({
        timeNs: rows.timeNs[i],
        event: EVENTS[rows.event[i]],
        pfn: rows.pfn[i],
        pages: rows.pages[i],
        order: rows.order[i],
        message: rows.message[i],
        bytes: rows.bytes[i],
        costNs: rows.costNs[i],
      });
    }
  }
}

/** A zone with those of the blocks that lie in it. */
function zoneOf({ blocks, watermarks }: HarnessOptions, index: number, start: number, end: number): Zone {
  const allocator = new Buddy(start, end - start, MOVABLE);
  for (const { pfn, order, migratetype } of blocks) {
    if (pfn >= start && pfn < end) allocator.insert(pfn, order, migratetype ?? MOVABLE, true);
  }
  return new Zone({
    index,
    name: "Normal",
    allocator,
    present: [{ pfn: start, count: end - start }],
    managedPages: end - start,
    watermarks: watermarks ?? { min: 0, low: 0, high: 0 },
  });
}

/** `count` free blocks of one order, next to each other, or with a gap of their own size after each. */
export function blocksOf(count: number, order: number, apart = false): FreeBlock[] {
  const step = ORDER_PAGES[order] * (apart ? 2 : 1);
  return Array.from({ length: count }, (_, index) => ({ pfn: index * step, order }));
}
