/**
 * kswapd: it is woken when marks were boosted, or when a request finds every zone below its low mark; it reclaims until a zone
 * is above its high mark again, and takes the boosts back (mm/vmscan.c `wakeup_kswapd`, `kswapd`, `balance_pgdat`). Where a guest
 * does no housekeeping it only takes the boosts back. One task and one set of lists for all nodes of a guest.
 */
import type { Signal, Sim, Task } from "../core/sim.ts";
import { Event, NONE } from "../core/trace.ts";
import { ZONE_NAMES, ZoneType } from "./memory_map.ts";
import { compactGap, DEF_PRIORITY, MAX_RECLAIM_RETRIES, passDone, type Reclaim, SWAP_CLUSTER_MAX } from "./reclaim.ts";
import { PAGEBLOCK_ORDER } from "./allocator.ts";
import type { Zone } from "./zone.ts";

/** For boosts it never looks at more than 1/2^10 of the lists at a time, lest it write back. */
const BOOST_PRIORITY = DEF_PRIORITY - 2;

/** How a guest with housekeeping is kept above its marks. */
export interface KswapdReclaim {
  /** Drops pages. */
  readonly reclaim: Reclaim;
  /** Whether a zone of a type up to `highest` has enough for an order. */
  readonly balanced: (order: number, highest: number) => boolean;
  /** Called when it goes to sleep, with the largest order that it was woken for (`wakeup_kcompactd`). */
  readonly asleep: (order: number) => void;
}

/** What it is made of. */
export interface KswapdParts {
  /** The clock. */
  readonly sim: Sim;
  /** The zones whose requests keep the marks. */
  readonly zones: readonly Zone[];
  /** From the wake-up until it runs, or has done its round where it does not reclaim, ns. */
  readonly roundNs: number;
  /** Notified when requests that failed may succeed. */
  readonly returned: Signal;
  /** How it reclaims; it does not unless told. */
  readonly reclaims?: KswapdReclaim | undefined;
}

/**
 * The task of one guest. It runs when it is woken, and only then.
 *
 * ```ts
 * import { Signal, Sim } from "../core/sim.ts";
 * import { Buddy } from "./buddy.ts";
 * import { Kswapd } from "./kswapd.ts";
 * import { Zone } from "./zone.ts";
 * const sim = new Sim();
 * const parts = { index: 0, name: "Normal", allocator: new Buddy(0, 4096), present: [], managedPages: 4096 };
 * const zone = new Zone({ ...parts, watermarks: { min: 100, low: 125, high: 150 } });
 * new Kswapd({ sim, zones: [zone], roundNs: 2000, returned: new Signal() });
 * zone.boost();
 * if (Number(zone.watermarkBoost) !== 512) throw new Error("a pageblock at least");
 * sim.run();
 * if (Number(zone.watermarkBoost) !== 0 || sim.now !== 2000) throw new Error("taken back, and asleep");
 * ```
 */
export class Kswapd {
  readonly #parts: KswapdParts;
  #awake = false;
  /** Rounds without reclaim: they all reclaim nothing (`kswapd_failures`). */
  #failures = 0;
  /** What it was woken for: the largest order, or -1, and the highest type of zone. */
  #order = -1;
  #highest = 0;

  /** A kswapd that sleeps; from now on fallbacks in the zones boost their marks. */
  constructor(parts: KswapdParts) {
    this.#parts = parts;
    for (const zone of parts.zones) zone.onBoost = () => this.#run();
  }

  /** Whether it runs just now. */
  get awake(): boolean {
    return this.#awake;
  }

  /** Whether the marks of a zone are boosted, so that a request that fails now may succeed after the next round. */
  get boosted(): boolean {
    return this.#parts.zones.some(({ watermarkBoost }) => watermarkBoost > 0);
  }

  /**
   * A request of an order, for zones up to type `highest`, found every zone below its low mark (`wake_all_kswapds`). A hopeless
   * kswapd sleeps on; for boosts it wakes nevertheless, or they would stay for ever.
   */
  wake(order = 0, highest: number = ZoneType.movable): void {
    const { reclaims } = this.#parts;
    if ((reclaims?.reclaim.kswapdFailures ?? this.#failures) >= MAX_RECLAIM_RETRIES) return;
    // Enough is free, but not in blocks that are large enough: that is for compaction.
    if (reclaims !== undefined && !this.#awake && !this.boosted && reclaims.balanced(order, highest)) return;
    this.#order = Math.max(this.#order, order);
    this.#highest = Math.max(this.#highest, highest);
    this.#run();
  }

  /** Takes all boosts back at once: before a run starts no time passes. */
  settle(): void {
    for (const zone of this.#parts.zones) zone.watermarkBoost = 0;
  }

  #run(): void {
    if (this.#awake) return;
    this.#awake = true;
    this.#parts.sim.spawn(this.#work());
  }

  /** Once awake. The boosts stay until its end, so that requests near the marks wait for it. */
  *#work(): Task {
    const { sim, zones, roundNs, returned, reclaims } = this.#parts;
    const boosts = zones.map(({ watermarkBoost }) => watermarkBoost);
    const order = Math.max(0, this.#order);
    // A boost wakes it for the zone itself and those below (`rmqueue`).
    const boosted = zones.filter((_, index) => boosts[index] > 0).map(({ name }) => ZONE_NAMES.indexOf(name));
    const highest = Math.max(this.#order < 0 ? 0 : this.#highest, ...boosted);
    this.#order = -1;
    this.#highest = 0;
    yield roundNs;
    const boostPages = boosts.reduce((sum, pages) => sum + pages, 0);
    if (reclaims === undefined) this.#failures++;
    else {
      this.#setActive(highest, true);
      yield* this.#balance(reclaims, order, highest, boostPages);
      this.#setActive(highest, false);
    }
    zones.forEach((zone, index) => zone.watermarkBoost -= Math.min(zone.watermarkBoost, boosts[index]));
    this.#awake = false;
    if (this.boosted) this.#run();
    else this.#wakeAgain();
    if (!this.#awake) reclaims?.asleep(boostPages > 0 ? Math.max(order, PAGEBLOCK_ORDER) : order);
    sim.notify(returned);
  }

  /** While it reclaims, per-CPU lists keep fewer pages of its zones (`update_reclaim_active`); direct reclaim has no such mark. */
  #setActive(highest: number, active: boolean): void {
    for (const zone of this.#parts.zones) if (ZONE_NAMES.indexOf(zone.name) <= highest) zone.reclaimActive = active;
  }

  /** Requests that came while it was awake. */
  #wakeAgain(): void {
    const order = this.#order;
    const highest = this.#highest;
    this.#order = -1;
    this.#highest = 0;
    if (order >= 0) this.wake(order, highest);
  }

  /**
   * `balance_pgdat`: passes of falling priority until a zone has enough. For boosts alone as many pages as these are reclaimed,
   * and never by much effort; once more than that is needed it starts over without them. Boosts of which nothing comes are no
   * failure here: in a kernel there is always some slab to drop, even right after boot.
   */
  *#balance({ reclaim, balanced }: KswapdReclaim, firstOrder: number, highest: number, boostPages: number): Task {
    // As much as the high marks of the zones that the request may use, their boosts included (`kswapd_shrink_node`).
    const wanted = this.#parts.zones.reduce((sum, { name, watermarks: { high }, watermarkBoost }) => {
      return ZONE_NAMES.indexOf(name) > highest ? sum : sum + Math.max(high + watermarkBoost, SWAP_CLUSTER_MAX);
    }, 0);
    let order = firstOrder;
    let boostLeft = boostPages;
    let total = 0;
    let priority = DEF_PRIORITY;
    while (priority >= 1) {
      const enough = balanced(order, highest);
      if (!enough && boostLeft > 0) {
        boostLeft = 0;
        priority = DEF_PRIORITY;
      }
      if (enough && boostLeft === 0) return;
      const pass = reclaim.pass(priority);
      const lookedAt = pass.inactive + pass.active + pass.slab;
      let pages = 0;
      while (pages < wanted && !passDone(pass)) {
        pages += reclaim.round(pass, wanted - pages, highest, Event.kswapd, order, NONE);
        if (reclaim.roundNs > 0) yield reclaim.roundNs;
      }
      total += pages;
      if (order > 0 && total >= compactGap(order)) order = 0;
      const hadBoost = boostLeft > 0;
      boostLeft = Math.max(0, boostLeft - pages);
      if (boostLeft > 0 && pages === 0) return;
      const raise = lookedAt < wanted && !(hadBoost && priority === BOOST_PRIORITY);
      if (raise || pages === 0) priority--;
    }
    if (total === 0) reclaim.kswapdFailures++;
  }
}
