/**
 * Free page hinting for migration (VIRTIO_BALLOON_F_FREE_PAGE_HINT): Linux 6.12 drivers/virtio/virtio_balloon.c and QEMU 7.2
 * hw/virtio/virtio-balloon.c.
 *
 * The host writes a command id into the configuration space. The guest allocates blocks of 4 MiB until it gets none or the id
 * changes, hands each over as one buffer, and holds them all until the host says DONE. The queue has no interrupt handler:
 * the driver looks for used buffers itself, and the device polls while it is started.
 *
 * A hint that the device takes when it is not started does nothing. That also holds for Firecracker, which drops hinted pages
 * at once (`action: reclaim`): its device leaves out what belongs to another id than the host's (balloon/device.rs
 * process_free_page_hinting_queue, 2026). So blocks that are freed at DONE with hints still queued are safe there, where
 * domain.md §14 counts them as lost. Its ids begin with 2 instead of 0x80000001.
 */
import { encodings } from "../sim/abi/mod.ts";
import {
  choice,
  duration,
  durationSchema,
  field,
  flag,
  InputError,
  integer,
  optional,
  type Options,
} from "../sim/core/options.ts";
import type { Task } from "../sim/core/sim.ts";
import { ORDER_MAX, UNMOVABLE } from "../sim/guest/allocator.ts";
import {
  HINTING_DONE,
  HINTING_QUEUE,
  HINTING_STOP,
  HintingDevice,
  type MigrationSettings,
} from "../sim/guest/hinting_device.ts";
import { HeldBlocks } from "../sim/guest/held_blocks.ts";
import { type PolicyContext, type PolicyPlugin, policyPlugin } from "../sim/guest/plugin.ts";
import type { HintingPolicy, Posted, SendOptions } from "../sim/guest/policy.ts";
import { type Requests, requestsField } from "../sim/guest/requests.ts";
import type { Zone } from "../sim/guest/zone.ts";
import type { HostAction } from "../sim/host/host.ts";
import { ORDER_PAGES } from "../sim/memory/range.ts";

/** Options of free page hinting. */
export interface FreePageHintingOptions extends MigrationSettings {
  /** When a migration starts. */
  readonly requests: Requests;
  /** What the host may do. */
  readonly action: HostAction;
  /** Whether the guest waits for each buffer before it may use the block again. */
  readonly waitOnAck: boolean;
  /** Whether the guest takes blocks back under pressure. */
  readonly shrinker: boolean;
}

const options: Options<FreePageHintingOptions> = {
  fields: {
    requests: requestsField(),
    stopAfter: optional(
      field(durationSchema(1000), undefined, {
        summary: "the host stops a round after this time to sync its bitmap; without it the guest stops by itself",
        unit: "ns",
        source: "QEMU virtio_balloon_free_page_hint_notify, PRECOPY_NOTIFY_BEFORE_BITMAP_SYNC",
      }),
    ),
    rounds: integer(1, 1, 1_000_000, {
      summary: "rounds of a migration, each with a new id; more than one need stopAfter",
      source: "a pre-copy round each",
    }),
    sync: duration("1ms", { summary: "from a stop to the next id", source: "assumed: the time of a bitmap sync" }),
    done: choice<"end" | "guest-stop" | "never">("end", ["end", "guest-stop", "never"], {
      summary:
        "when the host says DONE, so that the guest frees its blocks: after the last round, or when the guest stops",
      source: "end: QEMU PRECOPY_NOTIFY_CLEANUP; guest-stop: Firecracker acknowledge_on_stop",
    }),
    action: choice<HostAction>("skip", ["skip", "reclaim"], {
      summary: "what the host may do: leave the block out of a migration, or drop it",
      source: "skip: QEMU qemu_guest_free_page_hint; reclaim: Firecracker",
    }),
    waitOnAck: flag(false, {
      summary: "wait for each buffer before its block is held: one round trip a block",
      source: "VIRTIO_BALLOON_F_HINT_WAIT_ON_ACK (J. Thomson, 2026, not upstream)",
    }),
    shrinker: flag(true, {
      summary: "free a held block when an allocation fails, told or not",
      source: "virtio_balloon_shrinker_scan",
    }),
  },
};

/** An id takes a message of its own. */
const ID_BYTES = 4;

/** VIRTIO_BALLOON_HINT_BLOCK_ORDER. */
const BLOCK_ORDER = ORDER_MAX;
const BLOCK_PAGES = ORDER_PAGES[BLOCK_ORDER];
/** Pages that a shrinker is asked for at a time (SHRINK_BATCH, mm/vmscan.c); a block is freed for any part of it. */
const SHRINK_PAGES = 128;
/** A full ring is looked at less and less often, at least this often, ns: the guest's loop takes 200 ns. */
const SPIN_MAX_NS = 10_000;
/** After a migration used buffers are looked for at least this often, ns. */
const COLLECT_MAX_NS = 1_000_000;

class FreePageHinting implements HintingPolicy {
  readonly keepsHeld = true;
  #context: PolicyContext;
  #options: FreePageHintingOptions;
  #device: HintingDevice;
  /** Whether the id has changed since it was read, the id that was read, the one it works for. */
  #unread = false;
  #receivedId = HINTING_STOP;
  #activeId = HINTING_STOP;
  #queued = false;
  #held = new HeldBlocks();
  #lastPosted: Posted | undefined;
  #shrunkBlocks = 0;
  #configAccesses = 0;
  #lostIds = 0;
  #spinNs = 0;

  constructor(context: PolicyContext, settings: FreePageHintingOptions) {
    this.#context = context;
    this.#options = settings;
    this.#device = new HintingDevice(context, settings, {
      configChanged: () => this.#configChanged(),
      migrationEnded: () => context.sim.spawn(this.#collect()),
    });
    if (settings.rounds > 1 && settings.stopAfter === undefined) {
      throw new InputError(["policy", "rounds"], "more than one round needs policy.stopAfter");
    }
  }

  /** A migration starts. One that starts during another is refused, as QEMU does. */
  onCommand(): void {
    if (!this.#device.migrate()) this.#context.driver.counters.droppedRequests++;
  }

  idle(): boolean {
    return !this.#device.migrating && this.#context.worker.idle;
  }

  /** The shrinker (`virtio_balloon_shrinker_scan`): the block that was held last is free again, whatever the host does. */
  *onPressure(order: number): Task<boolean> {
    if (!this.#options.shrinker || this.#held.count === 0) return false;
    this.#shrunkBlocks += this.#release(Math.ceil(Math.max(SHRINK_PAGES, ORDER_PAGES[order]) / BLOCK_PAGES));
    yield this.#context.driver.commit();
    return true;
  }

  counters(): Record<string, number> {
    return {
      held_blocks_peak: this.#held.peak,
      shrunk_blocks: this.#shrunkBlocks,
      config_accesses: this.#configAccesses,
      stale_hints: this.#device.staleHints,
      lost_ids: this.#lostIds,
      spin_ns: this.#spinNs,
    };
  }

  /** The kernel leaves the last used buffers where they are until the next id; here they are taken so that a run can end. */
  *#collect(): Task {
    const { driver } = this.#context;
    for (
      let stepNs = SPIN_MAX_NS;
      !this.#device.migrating && !driver.closing && this.#lastPosted?.answered === false;
    ) {
      yield stepNs;
      stepNs = Math.min(2 * stepNs, COLLECT_MAX_NS);
      driver.poll(HINTING_QUEUE);
    }
  }

  /** The configuration changed: the work item is queued (`virtballoon_changed`). */
  #configChanged(): void {
    this.#unread = true;
    if (this.#queued) return;
    this.#queued = true;
    this.#context.worker.post(() => this.#work());
  }

  /** The guest's work item (`report_free_page_func`). */
  *#work(): Task {
    this.#queued = false;
    const id = yield* this.#readId();
    if (id === HINTING_DONE) {
      this.#release(this.#held.count);
      yield this.#context.driver.commit();
    } else if (id !== HINTING_STOP && id !== this.#activeId) yield* this.#hint(id);
  }

  /** The id of the host, read again only after it changed (`virtio_balloon_cmd_id_received`). */
  *#readId(): Task<number> {
    if (!this.#unread) return this.#receivedId;
    this.#unread = false;
    this.#configAccesses++;
    yield* this.#context.driver.config();
    return this.#receivedId = this.#device.commandId;
  }

  /** `virtio_balloon_report_free_page`. */
  *#hint(id: number): Task {
    const { driver } = this.#context;
    this.#activeId = id;
    driver.pass();
    yield driver.commit();
    yield* this.#sendId(id);
    while (!driver.closing && (yield* this.#readId()) === id) {
      if (!(yield* this.#hintBlock(id))) break;
    }
    yield* this.#sendId(HINTING_STOP);
  }

  /** Sends an id; it is lost where the ring has no room (`send_cmd_id_start` logs an error and goes on). */
  *#sendId(id: number): Task {
    const { driver } = this.#context;
    driver.poll(HINTING_QUEUE);
    if (driver.room(HINTING_QUEUE) < 1) {
      this.#lostIds++;
      return;
    }
    const taken = () => {
      this.#device.takeId(id);
      return false;
    };
    const how = { queue: HINTING_QUEUE, payloadBytes: ID_BYTES, taken };
    this.#lastPosted = (yield* driver.post(this.#options.action, [], how)) ?? this.#lastPosted;
  }

  /** `get_free_page_and_send`: allocates a block and hands it over; false when there is none. */
  *#hintBlock(id: number): Task<boolean> {
    const { driver } = this.#context;
    driver.poll(HINTING_QUEUE);
    const pfn = driver.allocate(BLOCK_ORDER, UNMOVABLE);
    if (pfn < 0) return false;
    const zone = driver.takenZone;
    // One entry is kept for ids.
    if (driver.room(HINTING_QUEUE) > 1) {
      yield driver.commit();
      return yield* this.#handOver(zone, pfn);
    }
    driver.free(zone, pfn, BLOCK_ORDER);
    yield driver.commit();
    return yield* this.#spin(id);
  }

  /** One buffer of 4 MiB. The block is on the list, and may be taken back, as soon as the host was told of it. */
  *#handOver(zone: Zone, pfn: number): Task<boolean> {
    const { driver } = this.#context;
    const { action, waitOnAck } = this.#options;
    const how: SendOptions = { queue: HINTING_QUEUE, busyWait: waitOnAck, taken: () => this.#device.takeHint() };
    const range = { pfn, count: BLOCK_PAGES };
    if (!driver.accepts(range)) driver.counters.unencodable++;
    else if (!driver.fits([range], HINTING_QUEUE)) {
      // A block that takes several messages (a list of pages) is told in full before the next one.
      yield* driver.send(action, [range], Infinity, { ...how, busyWait: true });
    } else {
      const posted = yield* driver.post(action, [range], how);
      if (posted !== undefined) this.#lastPosted = posted;
      // The queue has no interrupt handler, so the driver spins.
      if (posted !== undefined && waitOnAck) yield* driver.wait(posted);
    }
    this.#held.push(pfn, zone.index);
    return !driver.closing;
  }

  /**
   * The guest takes and frees a block again and again until there is room; only the first time has rows. False in a ring that is
   * too small for an id and a block: all is answered and there is no room. The kernel would not come back from there.
   */
  *#spin(id: number): Task<boolean> {
    const { driver, costs } = this.#context;
    let stepNs = costs.allocNs + costs.freeNs;
    while (driver.room(HINTING_QUEUE) <= 1 && !driver.closing && (yield* this.#readId()) === id) {
      if (this.#lastPosted?.answered ?? false) return false;
      yield stepNs;
      this.#spinNs += stepNs;
      stepNs = Math.min(2 * stepNs, SPIN_MAX_NS);
      driver.poll(HINTING_QUEUE);
    }
    return true;
  }

  /** Frees the blocks that were held last (`return_free_pages_to_mm`); returns how many. */
  #release(blocks: number): number {
    const { driver, zones } = this.#context;
    const held = this.#held;
    const count = Math.min(blocks, held.count);
    for (let n = 0; n < count; n++) {
      const top = held.count - 1;
      driver.free(zones[held.zone(top)], held.pfn(top), BLOCK_ORDER);
      held.drop(1);
    }
    return count;
  }
}

/** The plug-in. */
export const freePageHinting: PolicyPlugin = policyPlugin({
  name: "free-page-hinting",
  summary: "on the host's command the guest allocates all blocks of 4 MiB, hands each over, and holds them until DONE",
  source: "Linux 6.12 drivers/virtio/virtio_balloon.c, QEMU 7.2 hw/virtio/virtio-balloon.c (Wei Wang, 2018)",
  options,
  needs: ["requests", "lists"],
  queue: HINTING_QUEUE,
  // An encoding with a header of its own does not fit into such a queue at all.
  skip: encodings.filter(({ create }) => create({}).headBytes === undefined || create({}).descriptors === undefined)
    .map((
      { name },
    ) => ({
      case: `loses nothing and conserves pages over a queue of one descriptor in ${name}`,
      reason: "one descriptor is kept for command ids, so that none is left for a block",
    })),
  create: (context, settings) => new FreePageHinting(context, settings),
});
