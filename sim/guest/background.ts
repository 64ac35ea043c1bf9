/** What a guest does about its fragmentation: compaction, kcompactd and khugepaged, wired. */
import type { Sim } from "../core/sim.ts";
import type { Costs } from "../host/costs.ts";
import { MOVABLE } from "./allocator.ts";
import { Compaction } from "./compaction.ts";
import type { CompactionOptions } from "./compaction_options.ts";
import type { Guest } from "./guest.ts";
import { Kcompactd } from "./kcompactd.ts";
import { Khugepaged, type KhugepagedOptions } from "./khugepaged.ts";

/** What it is made of. */
export interface BackgroundParts {
  /** Clock and trace. */
  readonly sim: Sim;
  /** The guest. */
  readonly guest: Guest;
  /** What things cost, ns. */
  readonly costs: Costs;
  /** How it compacts; not at all when false. */
  readonly compaction: CompactionOptions | false;
  /** How huge pages are put together later; not at all when false. */
  readonly khugepaged: KhugepagedOptions | false;
}

/** The background tasks of one guest. */
export class Background {
  /** Its compaction. */
  readonly compaction: Compaction | undefined;
  /** Its kcompactd. */
  readonly kcompactd: Kcompactd | undefined;
  /** Its khugepaged. */
  readonly khugepaged: Khugepaged | undefined;

  /** Tasks that have not started. */
  constructor({ sim, guest, costs, compaction, khugepaged }: BackgroundParts) {
    const { zones } = guest;
    if (compaction !== false) {
      const { proactiveness } = compaction;
      this.compaction = new Compaction({ sim, guest, costs, proactiveness, kswapdRuns: () => guest.kswapdAwake });
      const kswapdRuns = () => guest.kswapdAwake;
      this.kcompactd = new Kcompactd({ sim, zones, compaction: this.compaction, proactiveness, kswapdRuns });
      guest.hooks.compact = (order, migratetype, cpu, mode, zones) =>
        this.compaction!.direct(order, migratetype, cpu, mode, zones);
      guest.hooks.compactionReady = (order, highest) => this.compaction!.ready(order, highest);
      guest.hooks.kswapdAsleep = (order) => this.#kswapdSleeps(order);
    }
    if (khugepaged !== false) {
      const compact = (order: number, among: readonly number[]) =>
        Math.max(0, this.compaction?.direct(order, MOVABLE, 0, "sync-light", among) ?? 0);
      this.khugepaged = new Khugepaged({ sim, guest, costs, ...khugepaged, compact });
      guest.hooks.fellBack = (handle) => this.khugepaged!.add(handle);
    }
  }

  /** The tasks start. */
  start(): void {
    this.kcompactd?.start();
    this.khugepaged?.start();
  }

  /** Nothing starts any more. */
  close(): void {
    if (this.kcompactd !== undefined) this.kcompactd.closing = true;
    if (this.khugepaged !== undefined) this.khugepaged.closing = true;
  }

  /** `kswapd_try_to_sleep`. */
  #kswapdSleeps(order: number): void {
    this.compaction!.resetSkipped();
    this.kcompactd!.wake(order);
  }
}
