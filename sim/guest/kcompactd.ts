/**
 * kcompactd: compacts in the background, for an order that kswapd was asked for, and ahead of need twice a second while free
 * memory is fragmented (mm/compaction.c `kcompactd`). One for all nodes of a guest.
 */
import type { Sim, Task } from "../core/sim.ts";
import type { Compaction } from "./compaction.ts";
import { fragmentationScoreNode, scoreHigh } from "./compaction_score.ts";
import { DEFER_SHIFT_MAX } from "./compaction_state.ts";
import type { Zone } from "./zone.ts";

/** Time between two looks at the score, ns (HPAGE_FRAG_CHECK_INTERVAL_MSEC). */
const CHECK_NS = 500e6;

/** What it is made of. */
export interface KcompactdParts {
  /** The clock. */
  readonly sim: Sim;
  /** The zones of the guest. */
  readonly zones: readonly Zone[];
  /** What it runs. */
  readonly compaction: Compaction;
  /** How eagerly it compacts ahead of need, 0 for never to 100 (vm.compaction_proactiveness). */
  readonly proactiveness: number;
  /** Whether kswapd runs just now; it never does unless told. */
  readonly kswapdRuns?: () => boolean;
}

/** The task of one guest. */
export class Kcompactd {
  /** Proactive compactions. */
  proactiveRuns = 0;
  /** Set when nothing may start any more. */
  closing = false;
  readonly #parts: KcompactdParts;
  readonly #timerKind: number;
  #timer: number | undefined;
  /** The largest order that it was woken for since it last began (`kcompactd_max_order`). */
  #order = 0;
  #awake = false;

  /** A kcompactd that sleeps. */
  constructor(parts: KcompactdParts) {
    this.#parts = parts;
    this.#timerKind = parts.sim.register("kcompactd", () => this.#look());
  }

  /** From now on it looks at the score. */
  start(): void {
    this.#sleep(CHECK_NS);
  }

  /** kswapd, or a request that cannot wait, wants blocks of an order (`wakeup_kcompactd`). */
  wake(order: number): void {
    if (order === 0 || this.closing) return;
    this.#order = Math.max(this.#order, order);
    if (this.#awake || !this.#parts.compaction.worthwhile(this.#order)) return;
    this.#awake = true;
    if (this.#timer !== undefined) this.#parts.sim.cancel(this.#timer);
    this.#timer = undefined;
    this.#parts.sim.spawn(this.#work());
  }

  *#work(): Task {
    while (this.#order > 0 && !this.closing) {
      const order = this.#order;
      this.#order = 0;
      yield* this.#parts.compaction.background(order);
    }
    this.#awake = false;
    this.#sleep(CHECK_NS);
  }

  /** `should_proactive_compact_node`. */
  #look(): void {
    this.#timer = undefined;
    if (this.closing || this.#awake) return;
    const { sim, zones, proactiveness, kswapdRuns } = this.#parts;
    const wanted = proactiveness > 0 && !kswapdRuns?.() && fragmentationScoreNode(zones) > scoreHigh(proactiveness);
    if (!wanted) return this.#sleep(CHECK_NS);
    this.#awake = true;
    sim.spawn(this.#compactAhead());
  }

  *#compactAhead(): Task {
    const { zones, compaction } = this.#parts;
    const before = fragmentationScoreNode(zones);
    this.proactiveRuns++;
    yield* compaction.proactive();
    this.#awake = false;
    if (this.#order > 0) return this.wake(this.#order);
    // Without progress the next one comes after 32 s.
    this.#sleep(fragmentationScoreNode(zones) < before ? CHECK_NS : CHECK_NS * 2 ** DEFER_SHIFT_MAX);
  }

  #sleep(ns: number): void {
    if (!this.closing) this.#timer = this.#parts.sim.after(ns, this.#timerKind);
  }
}
