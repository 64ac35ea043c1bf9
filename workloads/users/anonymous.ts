/** Anonymous memory: regions that are mapped, written and unmapped, by single pages, larger folios, or huge faults. */
import type { Distribution } from "../../sim/core/distributions.ts";
import { LadderQueue } from "../../sim/core/ladder_queue.ts";
import { fraction, type Options } from "../../sim/core/options.ts";
import {
  faultOrdersField,
  type Lifetime,
  lifetimeField,
  orderDistribution,
  shapedDistribution,
  type Weights,
} from "../distribution_options.ts";
import { type Amount, amountField, amountPages, type Amounts, amountsDistribution, amountsField } from "./amounts.ts";
import { type Backing, burstField, Region } from "./region.ts";
import { type MemoryUser, type OpSink, type UserContext, type UserKind, userKind } from "./user.ts";

/** Options of anonymous memory. */
export interface AnonymousOptions {
  /** Memory in use on the mean. */
  readonly live: Amount;
  /** Sizes of regions. */
  readonly region: Amounts;
  /** How long a region lives, ns. */
  readonly lifetime: Lifetime;
  /** Folios of a fault. */
  readonly orders: Weights;
  /** How many faults of single pages are run as one operation, at most. */
  readonly burst: number;
  /** Share of memory from huge faults. */
  readonly huge: number;
}

const options: Options<AnonymousOptions> = {
  fields: {
    live: amountField("25%", "memory in use"),
    region: amountsField("exponential", "16MiB", "size of a region"),
    lifetime: lifetimeField("30s"),
    orders: faultOrdersField(),
    burst: burstField,
    huge: fraction(0, 0, 1, {
      summary: "share of memory from huge faults, with fallback (THP)",
      source: "mm/huge_memory.c do_huge_pmd_anonymous_page",
    }),
  },
};

/** One process, its regions on one CPU: when one is unmapped others are mapped until there is as much as before. */
class Anonymous implements MemoryUser {
  dueNs = 0;
  #backing: Backing;
  #sizes: Distribution;
  #lifetimes: Distribution;
  #livePages: number;
  #regions = new Map<number, Region>();
  #next = 0;
  #deaths = new LadderQueue({ capacity: 64 });
  #pages = 0;
  #owner = 0;

  constructor(context: UserContext, settings: AnonymousOptions) {
    this.#backing = {
      orders: orderDistribution(settings.orders),
      huge: settings.huge,
      burst: settings.burst,
      random: context.random("anonymous"),
    };
    this.#sizes = amountsDistribution(settings.region, context.memoryPages);
    this.#lifetimes = shapedDistribution(settings.lifetime);
    this.#livePages = Math.floor(amountPages(settings.live, context.memoryPages) / context.cpus);
  }

  act(sink: OpSink): void {
    if (this.#owner === 0) this.#owner = sink.newOwner();
    sink.owner = this.#owner;
    if (this.#deaths.popUntil(sink.nowNs)) this.#unmap(sink, this.#deaths.target);
    else this.#map(sink);
    this.dueNs = this.#pages < this.#livePages ? sink.nowNs : this.#deaths.peekTimeNs();
  }

  end(sink: OpSink): void {
    sink.owner = this.#owner;
    for (const region of this.#regions.values()) region.unmap(sink);
    this.#regions.clear();
  }

  #map(sink: OpSink): void {
    const left = this.#livePages - this.#pages;
    if (left <= 0) return;
    const { random } = this.#backing;
    const region = new Region(this.#backing);
    region.grow(sink, Math.min(left, Math.max(1, Math.round(this.#sizes.draw(random)))));
    this.#pages += region.pages;
    this.#regions.set(this.#next, region);
    this.#deaths.push(sink.nowNs + 1 + Math.round(this.#lifetimes.draw(random)), 0, 0, this.#next++, 0);
  }

  #unmap(sink: OpSink, name: number): void {
    const region = this.#regions.get(name)!;
    this.#pages -= region.pages;
    region.unmap(sink);
    this.#regions.delete(name);
  }
}

/** The kind. */
export const anonymous: UserKind = userKind<AnonymousOptions>({
  kind: "anonymous",
  summary: "regions of anonymous memory that are mapped, written and unmapped",
  source: "mm/memory.c do_anonymous_page, mm/huge_memory.c",
  options,
  create: (context, settings) => new Anonymous(context, settings),
});
