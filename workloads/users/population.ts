/** Blocks that arrive at a rate and live for a time: what kernel pages, tmpfs and network buffers have in common. */
import type { Distribution } from "../../sim/core/distributions.ts";
import { exponential } from "../../sim/core/distributions.ts";
import { LadderQueue } from "../../sim/core/ladder_queue.ts";
import type { Random } from "../../sim/core/random.ts";
import { ORDER_PAGES } from "../../sim/memory/range.ts";
import type { MemoryUser, OpSink } from "./user.ts";

/** What a population is made of. */
export interface PopulationParts {
  /** Random numbers. */
  readonly random: Random;
  /** Orders. */
  readonly orders: Distribution;
  /** Migratetype of its blocks. */
  readonly migratetype: number;
  /** Flags of its allocations, see OpFlag. */
  readonly flags: number;
  /** Lifetimes, ns. */
  readonly lifetimes: Distribution;
  /** Pages that it has at once when its phase starts. */
  readonly startPages: number;
  /** Mean pause between arrivals, ns; Infinity for none. */
  readonly gapNs: number;
}

/** Arrivals at random times (Poisson), each with a lifetime of its own. */
export class Population implements MemoryUser {
  dueNs = 0;
  #parts: PopulationParts;
  #gaps: Distribution | undefined;
  #deaths = new LadderQueue({ capacity: 64 });
  #live = new Set<number>();
  #nextNs = 0;
  #started = false;

  /** A population that has not started. */
  constructor(parts: PopulationParts) {
    this.#parts = parts;
    this.#gaps = parts.gapNs < Infinity ? exponential(parts.gapNs) : undefined;
  }

  act(sink: OpSink): void {
    if (!this.#started) this.#start(sink);
    else if (this.#deaths.popUntil(sink.nowNs)) this.#die(sink, this.#deaths.target);
    else if (this.#nextNs <= sink.nowNs) {
      this.#arrive(sink);
      this.#nextNs = sink.nowNs + this.#gap();
    }
    this.dueNs = Math.min(this.#nextNs, this.#deaths.peekTimeNs());
  }

  end(sink: OpSink): void {
    for (const handle of this.#live) sink.free(handle);
    this.#live.clear();
  }

  #start(sink: OpSink): void {
    this.#started = true;
    for (let pages = 0; pages < this.#parts.startPages;) pages += this.#arrive(sink);
    this.#nextNs = sink.nowNs + this.#gap();
  }

  #arrive(sink: OpSink): number {
    const { random, orders, migratetype, flags, lifetimes } = this.#parts;
    const order = orders.draw(random);
    const handle = sink.alloc(order, migratetype, ORDER_PAGES[order], flags);
    this.#live.add(handle);
    this.#deaths.push(sink.nowNs + 1 + Math.round(lifetimes.draw(random)), 0, 0, handle, 0);
    return ORDER_PAGES[order];
  }

  #die(sink: OpSink, handle: number): void {
    this.#live.delete(handle);
    sink.free(handle);
  }

  #gap(): number {
    return this.#gaps === undefined ? Infinity : 1 + Math.round(this.#gaps.draw(this.#parts.random));
  }
}
