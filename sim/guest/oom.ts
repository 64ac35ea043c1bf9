/**
 * The OOM killer (mm/oom_kill.c): when a task has reclaimed all there is and still finds no memory, the process that has most
 * of it dies.
 *
 * Whose the pages are is noted by handle, so that pages may move and huge pages come together without a word; how much each
 * process has is counted only when somebody has to die. `oom_score_adj` is 0 for all. The reaper frees anonymous memory in the
 * kernel and the exit of the process the rest, both later; here all of it is free at once.
 */
import { Event, NONE, type Trace } from "../core/trace.ts";
import { grown } from "../memory/grown.ts";
import { ORDER_PAGES } from "../memory/range.ts";
import type { AllocationTable } from "./allocation_table.ts";

/** No process: the kernel, the page cache, tmpfs. */
const NOBODY = 0;

/** What it is made of. */
export interface OomKillerParts {
  /** Where the rows go. */
  readonly trace: Trace;
  /** Index of the guest. */
  readonly index: number;
  /** Where its allocations are. */
  readonly allocations: AllocationTable;
  /** Frees what a handle names, with its row; returns the time it takes, ns. */
  readonly free: (handle: number, cpu: number) => number;
}

/** The OOM killer of one guest. Processes are numbers, see `OpColumns.owner`. */
export class OomKiller {
  /** Processes that it killed. */
  kills = 0;
  /** How often there was none to kill. */
  failures = 0;
  /** What the frees of the last kill took, the work of a policy on them included, ns. */
  reapNs = 0;
  readonly #parts: OomKillerParts;
  /** Process by handle. What is left of a free, or waits for an allocation, names no pages and does not count. */
  #owners = new Int32Array(0);
  readonly #dead = new Set<number>();
  /** False when no process had a page and none was given any since. */
  #mayFind = false;

  /** A killer in a guest in which everything is nobody's. */
  constructor(parts: OomKillerParts) {
    this.#parts = parts;
  }

  /** What is or will be allocated under `count` handles from `handle` on is a process's, or nobody's (0). */
  own(handle: number, count: number, owner: number): void {
    if (handle + count > this.#owners.length) {
      if (owner === NOBODY) return;
      this.#owners = grown(this.#owners, Math.max(handle + count, 2 * this.#owners.length));
    }
    if (count === 1) this.#owners[handle] = owner;
    else this.#owners.fill(owner, handle, handle + count);
    if (owner !== NOBODY) this.#mayFind = true;
  }

  /** The process that was told last of a handle, or 0. */
  ownerOf(handle: number): number {
    return handle < this.#owners.length ? this.#owners[handle] : NOBODY;
  }

  /** Whether a process was killed. */
  isDead(owner: number): boolean {
    return this.#dead.size > 0 && this.#dead.has(owner);
  }

  /**
   * There is no memory for a request (`out_of_memory`): kills a process, with a row `oom_kill` that counts its pages and then
   * their `free` rows, which carry the time. Returns the pages, 0 when nobody can be killed; the time is in {@link reapNs}.
   */
  outOfMemory(order: number, cpu: number): number {
    const { trace, index } = this.#parts;
    const { victim, pages } = this.#selectBadProcess();
    trace.write(Event.oomKill, NONE, pages, order, NONE, NONE, NONE, 0, index, cpu);
    if (victim === NOBODY) this.failures++;
    else {
      this.kills++;
      this.#dead.add(victim);
    }
    this.reapNs = victim === NOBODY ? 0 : this.#reap(victim, cpu);
    return pages;
  }

  /**
   * The process with most pages (`select_bad_process`), and how many it has (`oom_badness`: resident memory and page tables; here
   * a kernel stack counts, too). Of equal ones the last in the kernel's list dies, the youngest: here that of the highest number.
   */
  #selectBadProcess(): { victim: number; pages: number } {
    const { allocations } = this.#parts;
    const points = new Map<number, number>();
    for (let handle = 0; this.#mayFind && handle < this.#owners.length; handle++) {
      const owner = this.#owners[handle];
      if (owner === NOBODY || !allocations.find(handle)) continue;
      points.set(owner, (points.get(owner) ?? 0) + ORDER_PAGES[allocations.order]);
    }
    this.#mayFind = points.size > 0;
    let [victim, pages] = [NOBODY, 0];
    for (const [owner, has] of points) {
      if (has > pages || (has === pages && owner > victim)) [victim, pages] = [owner, has];
    }
    return { victim, pages };
  }

  /** Frees all that a process has, by ascending handle (`__oom_reap_task_mm`, `exit_mmap`). Returns the time it takes, ns. */
  #reap(victim: number, cpu: number): number {
    const { allocations, free } = this.#parts;
    let ns = 0;
    for (let handle = 0; handle < this.#owners.length; handle++) {
      if (this.#owners[handle] !== victim) continue;
      this.#owners[handle] = NOBODY;
      if (allocations.find(handle)) ns += free(handle, cpu);
    }
    return ns;
  }
}
