/**
 * Requests for pages that may have to wait: for the driver, for the policy, for reclaim, compaction and the OOM killer.
 */
import type { Sim, Task } from "../core/sim.ts";
import { Event, NONE } from "../core/trace.ts";
import { FAILED, type Guest } from "./guest.ts";
import { allocOrKill, type PageRequest } from "./slow_path.ts";

/** How often an allocation is tried again after the policy or a returned block gave hope. */
const RETRIES_MAX = 1000;

/** The requests of one guest. */
export class PageRequests {
  /** Set when no operation starts any more: what waits ends without pages. */
  stopped = false;
  #sim: Sim;
  #guest: Guest;

  /** Requests of `guest`. */
  constructor(sim: Sim, guest: Guest) {
    this.#sim = sim;
    this.#guest = guest;
  }

  /**
   * Gets the pages of a request unless they are there, which took `firstNs`, runs the policy's hook, and uses them. Returns the
   * time of the allocation and of the faults, ns, or FAILED; when it failed because its process was killed there is no row.
   */
  *takeAndUse(request: PageRequest, touch: number, firstNs: number): Task<number> {
    const guest = this.#guest;
    const { handle, order, zone, cpu, owner } = request;
    const startNs = this.#sim.now;
    let costNs = firstNs;
    if (costNs === FAILED) costNs = yield* guest.housekeeping ? this.#reclaimFor(request) : this.#waitFor(request);
    if (this.stopped) return FAILED;
    if (this.#sim.now > startNs) this.stallRow(this.#sim.now - startNs, cpu);
    if (costNs === FAILED) {
      if (!guest.oom.isDead(owner)) guest.allocFailed(handle, order, zone, cpu);
      return FAILED;
    }
    if (guest.needsUse(handle) && !(yield* this.#prepare(request))) return FAILED;
    return costNs + guest.use(handle, touch, cpu);
  }

  /**
   * Runs the policy's hook before pages are used. Nobody may free them meanwhile: when their process is killed they go
   * afterwards. Returns whether it lives.
   */
  *#prepare({ handle, cpu, owner }: PageRequest): Task<boolean> {
    const { oom } = this.#guest;
    const owned = oom.ownerOf(handle);
    oom.own(handle, 1, 0);
    yield* this.#guest.beforeUse(handle);
    oom.own(handle, 1, owned);
    if (!oom.isDead(owner)) return true;
    this.#guest.free(handle, cpu);
    return false;
  }

  /** Waits for memory that the driver has or can get. Returns the time of the allocation, ns, or FAILED. */
  *#waitFor({ handle, order, migratetype, zone, cpu }: PageRequest): Task<number> {
    let costNs: number = FAILED;
    for (let tries = 0; costNs === FAILED && tries < RETRIES_MAX; tries++) {
      // The first try again is at once: blocks may have come back in this very instant.
      if (tries > 0 && (!(yield* this.#memoryMayReturn(order)) || this.stopped)) break;
      costNs = this.#guest.alloc(handle, order, migratetype, zone, cpu);
    }
    return costNs;
  }

  /** Reclaims, compacts and kills, and waits as {@link PageRequests.#waitFor}. */
  *#reclaimFor(request: PageRequest): Task<number> {
    let waits = 0;
    const mayReturn = (order: number) => this.#mayReturnAgain(order, ++waits);
    return yield* allocOrKill(this.#guest, request, mayReturn, () => this.stopped);
  }

  *#mayReturnAgain(order: number, waits: number): Task<boolean> {
    return waits < RETRIES_MAX && !this.stopped && (yield* this.#memoryMayReturn(order)) && !this.stopped;
  }

  /**
   * Lets the policy get memory back, or waits for blocks that the driver is about to put back, or for kswapd to lower the marks;
   * false when none of it helps.
   */
  *#memoryMayReturn(order: number): Task<boolean> {
    const guest = this.#guest;
    if (guest.policy.onPressure !== undefined && (yield* guest.policy.onPressure(order))) return true;
    const heldPages = guest.policy.keepsHeld ? 0 : guest.heldPages;
    if (guest.isolatedPages + heldPages === 0 && !guest.marksBoosted) return false;
    yield guest.returned;
    return true;
  }

  /** A task waited. */
  stallRow(waitNs: number, cpu: number): void {
    this.#sim.trace.write(Event.stall, NONE, NONE, NONE, NONE, NONE, NONE, waitNs, this.#guest.index, cpu);
  }
}
