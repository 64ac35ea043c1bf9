/**
 * kswapd: it is woken when marks were boosted, or when a request finds every zone below its low mark, and takes the boosts back
 * (mm/vmscan.c `wakeup_kswapd`, `balance_pgdat`). Nothing is reclaimed yet. One for all nodes of a guest.
 */
import type { Signal, Sim, Task } from "../core/sim.ts";
import type { Zone } from "./zone.ts";

/** After so many rounds that reclaimed nothing it is not woken for low memory any more (MAX_RECLAIM_RETRIES). */
const FAILURES_MAX = 16;

/** What it is made of. */
export interface KswapdParts {
  /** The clock. */
  readonly sim: Sim;
  /** The zones whose requests keep the marks. */
  readonly zones: readonly Zone[];
  /** From the wake-up until it has done its round, ns. */
  readonly roundNs: number;
  /** Notified when requests that failed may succeed. */
  readonly returned: Signal;
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
  /** Rounds that reclaimed nothing (`kswapd_failures`); as long as there is nothing to reclaim these are all of them. */
  #failures = 0;

  /** A kswapd that sleeps; from now on fallbacks in the zones boost their marks. */
  constructor(parts: KswapdParts) {
    this.#parts = parts;
    for (const zone of parts.zones) zone.onBoost = () => this.#run();
  }

  /** Whether the marks of a zone are boosted, so that a request that fails now may succeed after the next round. */
  get boosted(): boolean {
    return this.#parts.zones.some(({ watermarkBoost }) => watermarkBoost > 0);
  }

  /**
   * A request found every zone below its low mark (`wake_all_kswapds`). A hopeless kswapd sleeps on; for boosts it wakes
   * nevertheless, or they would stay for ever.
   */
  wake(): void {
    if (this.#failures < FAILURES_MAX) this.#run();
  }

  /** Takes all boosts back at once: before a run starts no time passes. */
  settle(): void {
    for (const zone of this.#parts.zones) zone.watermarkBoost = 0;
  }

  #run(): void {
    if (this.#awake) return;
    this.#awake = true;
    this.#parts.sim.spawn(this.#balance());
  }

  /** One round. The boosts stay until its end, so that requests near the marks wait for it. */
  *#balance(): Task {
    const { sim, zones, roundNs, returned } = this.#parts;
    const boosts = zones.map(({ watermarkBoost }) => watermarkBoost);
    yield roundNs;
    zones.forEach((zone, index) => zone.watermarkBoost -= Math.min(zone.watermarkBoost, boosts[index]));
    this.#failures++;
    this.#awake = false;
    if (this.boosted) this.#run();
    sim.notify(returned);
  }
}
