/**
 * A slab cache: objects come and go, a page is freed with its last object.
 *
 * Objects live here alone, in typed columns; only pages are asked of the guest. As in SLUB an object is taken from a page that
 * has room before a new one is allocated (mm/slub.c `get_partial_node`). An object dies at random, so lifetimes are
 * exponential, which leaves nearly empty pages behind when a cache shrinks. A slab that the guest shrank comes back with the next
 * object that is put on it.
 */
import { choice, duration, fraction, integer, type Options } from "../../sim/core/options.ts";
import type { Random } from "../../sim/core/random.ts";
import { ORDER_MAX, RECLAIMABLE, UNMOVABLE } from "../../sim/guest/allocator.ts";
import { OpFlag } from "../../sim/guest/operations.ts";
import { ORDER_PAGES } from "../../sim/memory/range.ts";
import { shareOf } from "./amounts.ts";
import { type MemoryUser, type OpSink, type UserContext, type UserKind, userKind } from "./user.ts";

/** Options of a slab cache. */
export interface SlabOptions {
  /** Objects that it grows to. */
  readonly objects: number;
  /** Time in which it grows to that, ns. */
  readonly grows: number;
  /** Objects of a slab. */
  readonly perSlab: number;
  /** Order of a slab. */
  readonly order: number;
  /** Objects freed and allocated a second. */
  readonly churn: number;
  /** Type. */
  readonly type: "unmovable" | "reclaimable";
  /** Share of objects that are in use, so that their slab cannot be shrunk. */
  readonly pinned: number;
  /** How often it acts, ns. */
  readonly tick: number;
}

const options: Options<SlabOptions> = {
  fields: {
    objects: integer(100000, 0, 1e9, { summary: "objects that the cache grows to", unit: "objects" }),
    grows: duration("1s", { summary: "time in which it grows to that" }, 1),
    perSlab: integer(21, 1, 4096, {
      summary: "objects of a slab",
      unit: "objects",
      source: "/proc/slabinfo: dentry has 21 in a page",
    }),
    order: integer(0, 0, ORDER_MAX, { summary: "order of a slab" }),
    churn: fraction(0, 0, 1e9, { summary: "objects freed and allocated again a second" }),
    type: choice("unmovable", ["unmovable", "reclaimable"], { summary: "whether its shrinker can free slabs" }),
    pinned: fraction(0.3, 0, 1, {
      summary: "reclaimable: share of objects in use; a slab without one may be dropped by the guest",
    }),
    tick: duration("100ms", { summary: "how often it acts" }, 1000),
  },
};

/** The slabs and objects of one CPU. */
class Slab implements MemoryUser {
  dueNs = 0;
  #options: SlabOptions;
  #random: Random;
  #target: number;
  #churnPerTick: number;
  /** Slab of each live object; the first `#count` are valid. */
  #objectSlab: Int32Array;
  #count = 0;
  /** Live objects and handle by slab. */
  #inUse: number[] = [];
  #handle: number[] = [];
  #shrinkable: boolean[] = [];
  /** Slabs with room: a stack, and where in it a slab stands (-1: not at all). */
  #partial: number[] = [];
  #partialAt: number[] = [];
  #freeSlots: number[] = [];
  #owed = 0;

  constructor(context: UserContext, settings: SlabOptions) {
    this.#options = settings;
    this.#random = context.random("slab");
    this.#target = shareOf(settings.objects, context.cpu, context.cpus);
    this.#churnPerTick = settings.churn * settings.tick / 1e9 / context.cpus;
    this.#objectSlab = new Int32Array(this.#target + 1);
  }

  act(sink: OpSink): void {
    const { grows, tick, churn } = this.#options;
    this.#owed += this.#count > 0 ? this.#churnPerTick : 0;
    for (; this.#owed >= 1 && this.#count > 0; this.#owed--) {
      this.#free(sink);
      this.#alloc(sink);
    }
    const wanted = Math.min(this.#target, Math.ceil(this.#target * (sink.nowNs + tick) / grows));
    while (this.#count < wanted) this.#alloc(sink);
    this.dueNs = this.#count < this.#target || churn > 0 ? sink.nowNs + tick : Infinity;
  }

  end(sink: OpSink): void {
    while (this.#count > 0) this.#free(sink);
  }

  #alloc(sink: OpSink): void {
    const fresh = this.#partial.length === 0;
    if (fresh) this.#newSlab(sink);
    const slab = this.#partial[this.#partial.length - 1];
    if (!fresh && this.#shrinkable[slab]) sink.read(this.#handle[slab], this.#options.order, RECLAIMABLE);
    if (++this.#inUse[slab] === this.#options.perSlab) this.#unlist(slab);
    this.#objectSlab[this.#count++] = slab;
  }

  #free(sink: OpSink): void {
    const victim = this.#random.nextBelow(this.#count);
    const slab = this.#objectSlab[victim];
    this.#objectSlab[victim] = this.#objectSlab[--this.#count];
    if (this.#partialAt[slab] < 0) this.#list(slab);
    if (--this.#inUse[slab] > 0) return;
    this.#unlist(slab);
    sink.free(this.#handle[slab]);
    this.#freeSlots.push(slab);
  }

  #newSlab(sink: OpSink): void {
    const slab = this.#freeSlots.pop() ?? this.#inUse.length;
    const { order, type } = this.#options;
    const migratetype = type === "reclaimable" ? RECLAIMABLE : UNMOVABLE;
    this.#inUse[slab] = 0;
    const shrinkable = this.#shrinkable[slab] = this.#droppable();
    this.#handle[slab] = sink.alloc(order, migratetype, ORDER_PAGES[order], shrinkable ? OpFlag.cache : 0);
    this.#list(slab);
  }

  /** Whether no object of a new slab will be in use: the chance that none of them is pinned. */
  #droppable(): boolean {
    const { type, pinned, perSlab } = this.#options;
    if (type !== "reclaimable") return false;
    for (let n = 0; n < perSlab; n++) if (this.#random.nextFloat() < pinned) return false;
    return true;
  }

  #list(slab: number): void {
    this.#partialAt[slab] = this.#partial.push(slab) - 1;
  }

  #unlist(slab: number): void {
    const at = this.#partialAt[slab];
    const last = this.#partial.pop()!;
    if (last !== slab) {
      this.#partial[at] = last;
      this.#partialAt[last] = at;
    }
    this.#partialAt[slab] = -1;
  }
}

/** The kind. */
export const slab: UserKind = userKind<SlabOptions>({
  kind: "slab",
  summary: "a slab cache: many objects a page, a page is freed with its last object",
  source: "mm/slub.c, mm/shrinker.c",
  options,
  create: (context, settings) => new Slab(context, settings),
});
