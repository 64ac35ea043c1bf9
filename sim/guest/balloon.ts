/**
 * The balloon driver (drivers/virtio/virtio_balloon.c), whatever the size of its blocks.
 *
 * One work item makes a round at a time (`update_balloon_size_func`): it reads the wanted size, takes or gives back at most one
 * array of blocks, tells the host and waits, writes the size that it has now, and starts again until both are equal. A round
 * is one notification and two accesses to the configuration space. Blocks are free again only after the host's answer.
 */
import { Signal, type Task } from "../core/sim.ts";
import type { HostAction } from "../host/host.ts";
import { mergeRanges, ORDER_PAGES, PAGE_SIZE, type Range, sizeOrder } from "../memory/range.ts";
import { MOVABLE, ORDER_MAX } from "./allocator.ts";
import type { BalloonTarget } from "./balloon_options.ts";
import { HeldBlocks } from "./held_blocks.ts";
import type { PolicyContext } from "./plugin.ts";
import type { HintingPolicy } from "./policy.ts";

/** Pages that one call of the out-of-memory notifier gives back (VIRTIO_BALLOON_OOM_NR_PAGES). */
const OOM_PAGES = 256;

/** How a balloon works. */
export interface BalloonSettings {
  /** Its size at certain times. */
  readonly target: readonly BalloonTarget[];
  /** What the host may do with a page of the balloon. */
  readonly action: HostAction;
  /** Order of its blocks. */
  readonly order: number;
  /** Whether blocks of higher orders are taken first, and split. */
  readonly highestFirst: boolean;
  /** Most blocks of one round. */
  readonly batch: number;
  /** Whether the blocks of a round are sorted and neighbours joined before the host is told. */
  readonly sorted: boolean;
  /** Whether it gives pages back when an allocation fails. */
  readonly deflateOnOom: boolean;
  /** How long it sleeps when there is nothing left to take, ns. */
  readonly retry: number;
}

/** The balloon of one guest. */
export class Balloon implements HintingPolicy {
  /** Pages stay in the balloon until the host wants it smaller. */
  readonly keepsHeld = true;
  #context: PolicyContext;
  #settings: BalloonSettings;
  #blockPages: number;
  #held = new HeldBlocks();
  /** Blocks taken in this round and not yet in the balloon. */
  #taken = new HeldBlocks();
  #wantedBlocks = 0;
  /** The work item waits, runs, or sleeps because nothing was left to take. */
  #busy = false;
  /** The wanted size changed and the work item has not seen it. */
  #changed = false;
  /** Who tells the host holds `balloon_lock`. */
  #locked = false;
  #unlocked: Signal = new Signal();
  #configAccesses = 0;
  #puffWaits = 0;
  #oomBlocks = 0;
  #awakeKind: number;

  /** An empty balloon. */
  constructor(context: PolicyContext, settings: BalloonSettings) {
    this.#context = context;
    this.#settings = settings;
    this.#blockPages = ORDER_PAGES[settings.order];
    this.#awakeKind = context.sim.register("balloon_retry", () => context.worker.post(() => this.#inflate()));
  }

  /** The host's commands come at their times. */
  start(): void {
    const { sim } = this.#context;
    const kind = sim.register("balloon_target", (index) => {
      this.#wantedBlocks = Math.floor(this.#settings.target[index].size / PAGE_SIZE / this.#blockPages);
      this.#changed = true;
      this.#queue();
    });
    this.#settings.target.forEach(({ at }, index) => sim.after(at, kind, index));
  }

  /** A balloon that waits for memory is not idle. */
  idle(): boolean {
    return !this.#busy;
  }

  /** The out-of-memory notifier (`virtio_balloon_oom_notify`): leaks a few pages; nobody takes them back afterwards. */
  *onPressure(): Task<boolean> {
    if (!this.#settings.deflateOnOom || this.#held.count === 0) return false;
    const freed = yield* this.#leak(Math.ceil(OOM_PAGES / this.#blockPages));
    this.#oomBlocks += freed;
    yield* this.#config();
    return freed > 0;
  }

  /** What no row carries. */
  counters(): Record<string, number> {
    return {
      held_blocks_peak: this.#held.peak,
      puff_waits: this.#puffWaits,
      config_accesses: this.#configAccesses,
      oom_blocks: this.#oomBlocks,
    };
  }

  #queue(): void {
    if (this.#busy) return;
    this.#busy = true;
    this.#context.worker.post(() => this.#update());
  }

  /** The first half of a round: reads the wanted size, and takes blocks or gives some back. */
  *#update(): Task {
    const { driver, sim } = this.#context;
    if (this.#changed) driver.pass();
    this.#changed = false;
    yield driver.commit();
    yield* this.#config();
    const missing = this.#wantedBlocks - this.#held.count;
    if (missing <= 0) {
      if (missing < 0) yield* this.#leak(-missing);
      return yield* this.#finish(missing < 0);
    }
    const wanted = Math.min(missing, this.#settings.batch);
    this.#take(wanted);
    yield driver.commit();
    if (this.#taken.count === wanted) return yield* this.#inflate();
    // "Out of puff": it sleeps before it tells of what it got.
    this.#puffWaits++;
    sim.after(this.#settings.retry, this.#awakeKind);
  }

  /** The second half of an inflating round: tells the host. */
  *#inflate(): Task {
    const taken = this.#taken;
    if (taken.count > 0) {
      yield* this.#lock();
      const ranges: Range[] = [];
      // Pages were put on a local list at its head (balloon_page_push): the one taken last is told first.
      for (let n = taken.count - 1; n >= 0; n--) {
        ranges.push({ pfn: taken.pfn(n), count: this.#blockPages });
        this.#held.push(taken.pfn(n), taken.zone(n));
        this.#manage(taken.zone(n), -this.#blockPages);
      }
      taken.drop(taken.count);
      yield* this.#tell(this.#settings.action, ranges, "inflate");
      this.#unlock();
    }
    yield* this.#finish(true);
  }

  /** The end of a round: writes the size, and goes on when it is not the wanted one. */
  *#finish(worked: boolean): Task {
    if (worked) yield* this.#config();
    this.#busy = false;
    if (this.#changed || this.#held.count !== this.#wantedBlocks) this.#queue();
  }

  /** Takes blocks as any task would (`balloon_page_alloc`, GFP_HIGHUSER_MOVABLE), until there are enough or none are left. */
  #take(wanted: number): void {
    const { driver } = this.#context;
    const { order: smallest, highestFirst } = this.#settings;
    const taken = this.#taken;
    let order = highestFirst ? ORDER_MAX : smallest;
    while (taken.count < wanted) {
      order = Math.min(order, smallest + sizeOrder(wanted - taken.count, ORDER_MAX));
      const pfn = driver.allocate(order, MOVABLE);
      if (pfn < 0) {
        if (order === smallest) return;
        order--;
        continue;
      }
      const { index } = driver.takenZone;
      for (let page = 0; page < ORDER_PAGES[order]; page += this.#blockPages) taken.push(pfn + page, index);
    }
  }

  /** Gives back at most so many blocks, the latest first (`leak_balloon`); returns how many. */
  *#leak(wanted: number): Task<number> {
    const { driver, zones } = this.#context;
    const held = this.#held;
    yield* this.#lock();
    const count = Math.min(wanted, this.#settings.batch, held.count);
    const given: { pfn: number; zone: number }[] = [];
    for (let n = 1; n <= count; n++) given.push({ pfn: held.pfn(held.count - n), zone: held.zone(held.count - n) });
    held.drop(count);
    const ranges = given.map(({ pfn }) => ({ pfn, count: this.#blockPages }));
    const told = count > 0 && (yield* this.#tell("give_back", ranges, "deflate"));
    for (const { pfn, zone } of given.reverse()) {
      if (told) {
        driver.free(zones[zone], pfn, this.#settings.order);
        this.#manage(zone, this.#blockPages);
      } else held.push(pfn, zone);
    }
    yield driver.commit();
    this.#unlock();
    return told ? count : 0;
  }

  /** Tells the host and waits for its answer (`tell_host`); false when the run ends. */
  *#tell(action: HostAction, ranges: readonly Range[], queue: string): Task<boolean> {
    const { driver, costs } = this.#context;
    const told = this.#settings.sorted ? mergeRanges(ranges) : ranges;
    if (this.#settings.sorted) driver.spend(compares(ranges.length) * costs.compareNs);
    driver.metadata(driver.bytesOf(told));
    return yield* driver.send(action, told, Infinity, { queue });
  }

  *#config(): Task {
    this.#configAccesses++;
    yield* this.#context.driver.config();
  }

  /**
   * Without DEFLATE_ON_OOM the pages of a balloon do not count as managed (`adjust_managed_page_count`). The recorded guest
   * d512 had lower watermarks as well, which no call of the driver explains; they stay here until the zones are resized.
   */
  #manage(zone: number, pages: number): void {
    if (!this.#settings.deflateOnOom) this.#context.zones[zone].managedPages += pages;
  }

  *#lock(): Task {
    while (this.#locked) yield this.#unlocked;
    this.#locked = true;
  }

  #unlock(): void {
    this.#locked = false;
    this.#context.sim.notify(this.#unlocked);
  }
}

/** Comparisons of sorting n values and looking at each pair of neighbours. */
function compares(n: number): number {
  let depth = 0;
  while (ORDER_PAGES[depth] < n) depth++;
  return n * (depth + 1);
}
