/**
 * Batches across orders and zones: the unused-page report of Liang Li's v6 (linux-mm, 21 Dec 2016).
 *
 * One walk from order 10 down to 0, each over all zones, fills one buffer of 32 KiB. When the next list does not fit, what is
 * there is sent (flag CONT) and the walk goes on with that list; a list that does not even fit into the empty buffer doubles
 * it. The last message carries DONE and is sent in any case. So an answer takes one message more than the buffer overflowed.
 *
 * When the doubled buffer cannot be allocated, as much of the list as fits is told and the rest is left out.
 *
 * Bugs of the posted code (v6 5/5, `send_unused_pages`), with `asPosted`, all after the first buffer that could not be had:
 * - The list that did not fit is not walked again, so that nothing of it is told, nor of that order in later zones.
 * - The next order begins at the zone that failed: the zones before it are left out.
 * - From then on lists are cut where the buffer ends, and never taken up again (`part_fill` is never reset).
 * (A run of 4096 pages that loses its length is a bug of v6's inflation: see the encoding `v6-extended`.)
 *
 * As posted a doubled buffer stays for the life of the device. Here its size is kept, and its pages only during an answer, as
 * pages of the driver that never come back would keep allocations waiting for them.
 */
import { flag, type Options } from "../sim/core/options.ts";
import type { Task } from "../sim/core/sim.ts";
import { MIGRATETYPE_COUNT, ORDER_MAX, UNMOVABLE } from "../sim/guest/allocator.ts";
import {
  type AckWait,
  Blocks,
  collect,
  COLLECT_FIELDS,
  type CollectOptions,
  giveBack,
  rangesOf,
  waitField,
  walkList,
} from "../sim/guest/collect.ts";
import { type PolicyContext, type PolicyPlugin, policyPlugin } from "../sim/guest/plugin.ts";
import type { HintingPolicy } from "../sim/guest/policy.ts";
import type { Zone } from "../sim/guest/zone.ts";
import { ORDER_PAGES, PAGE_SIZE, type Range, sizeOrder } from "../sim/memory/range.ts";

/** Options of v6. */
export interface SpillBatchOptions extends CollectOptions {
  /** How the driver waits for an answer. */
  readonly wait: AckWait;
  /** Whether bugs of the posted code are kept. */
  readonly asPosted: boolean;
}

const options: Options<SpillBatchOptions> = {
  fields: {
    ...COLLECT_FIELDS,
    wait: waitField("busy", "as posted"),
    asPosted: flag(false, {
      summary: "keep the bugs of the posted code: lists and zones left out after a buffer could not be had",
      source: "send_unused_pages, Liang Li v6 5/5, 21 Dec 2016",
    }),
  },
};

/** The first buffer: 4096 words (resp_buf_size = BALLOON_BMAP_SIZE). The probe allocates it. */
const BUFFER_START_BYTES = 32 * 1024;

/** The pages of a buffer that replaced the probe's. */
interface Buffer {
  readonly zone: Zone;
  readonly pfn: number;
  readonly order: number;
}

class SpillBatch implements HintingPolicy {
  #context: PolicyContext;
  #options: SpillBatchOptions;
  #bufferBytes: number;
  #buffer: Buffer | undefined;
  /** The blocks in the buffer and the bytes they take, at most. */
  #blocks = new Blocks();
  #bytes = 0;
  /** Whether lists are cut where the buffer ends. */
  #partFill = false;
  #spills = 0;
  #leftOutBlocks = 0;

  constructor(context: PolicyContext, settings: SpillBatchOptions) {
    this.#context = context;
    this.#options = settings;
    this.#bufferBytes = Math.min(BUFFER_START_BYTES, settings.bufferMax);
  }

  counters(): Readonly<Record<string, number>> {
    return { spills: this.#spills, left_out_blocks: this.#leftOutBlocks };
  }

  *onRequest(): Task {
    const { driver } = this.#context;
    driver.pass();
    this.#takeBuffer();
    this.#partFill = false;
    if (yield* this.#walk()) yield* this.#send();
    this.#freeBuffer();
    yield driver.commit();
  }

  /** All orders; false when the run ends. */
  *#walk(): Task<boolean> {
    const { asPosted } = this.#options;
    let startZone = 0;
    for (let order = ORDER_MAX; order >= 0; order--) {
      const full = this.#mark(order, startZone);
      yield this.#context.driver.commit();
      startZone = Math.max(0, full);
      if (full < 0) continue;
      if (this.#blocks.count > 0) {
        this.#spills++;
        this.#context.driver.counters.overflows++;
        if (!(yield* this.#send())) return false;
      } else if (!this.#growBuffer()) this.#partFill = true;
      // The same order again, from the zone that did not fit; as posted not once a buffer could not be had.
      if (!(asPosted && this.#partFill)) order++;
      else this.#leaveOut(order, startZone);
    }
    return true;
  }

  /** Takes the lists of an order, from a zone on; the index of the zone whose list did not fit, or -1. */
  #mark(order: number, startZone: number): number {
    const { driver, zones } = this.#context;
    const { asPosted } = this.#options;
    for (const zone of zones.slice(startZone)) {
      const fits = this.#bytesWith(zone, order) <= this.#bufferBytes;
      if (!fits && !this.#partFill) return zone.index;
      const free = zone.allocator.nrFree(order);
      const before = this.#blocks.count;
      const limit = fits ? Infinity : this.#room(order);
      if (limit > 0) collect(driver, zone, order, this.#options, this.#blocks, limit);
      const taken = this.#blocks.count - before;
      this.#bytes += taken * driver.recordBytes(order);
      if (fits) continue;
      if (asPosted) {
        this.#leftOutBlocks -= taken;
        return zone.index;
      }
      this.#leftOutBlocks += free - taken;
      this.#partFill = false;
    }
    return -1;
  }

  /** As posted: the lists of this order from a zone on, and those of the next order before it, are never walked. */
  #leaveOut(order: number, startZone: number): void {
    for (const { index, allocator } of this.#context.zones) {
      if (index >= startZone) this.#leftOutBlocks += allocator.nrFree(order);
      else if (order > 0) this.#leftOutBlocks += allocator.nrFree(order - 1);
    }
  }

  /** Bytes of the message if this list were added. v6 knows nr_free; where the size depends on places it has to look. */
  #bytesWith(zone: Zone, order: number): number {
    const { driver } = this.#context;
    const blocks = zone.allocator.nrFree(order);
    const recordBytes = driver.recordBytes(order);
    if (recordBytes > 0 || blocks === 0) return this.#bytes + blocks * recordBytes;
    const count = ORDER_PAGES[order];
    const ranges: Range[] = [];
    for (let index = 0; index < this.#blocks.count; index++) {
      ranges.push({ pfn: this.#blocks.pfn(index), count: ORDER_PAGES[this.#blocks.order(index)] });
    }
    for (let type = 0; type < MIGRATETYPE_COUNT; type++) {
      walkList(zone, order, type, false, (pfn) => ranges.push({ pfn, count }) > 0);
    }
    driver.visit(zone, blocks);
    driver.unlock(zone);
    return driver.bytesOf(ranges) - driver.bytesOf([]);
  }

  /** How many more blocks of an order the buffer takes; where that depends on their places, the driver cuts the message. */
  #room(order: number): number {
    const recordBytes = this.#context.driver.recordBytes(order);
    return recordBytes === 0 ? Infinity : Math.floor((this.#bufferBytes - this.#bytes) / recordBytes);
  }

  /** Sends what the buffer holds, and gives isolated blocks back; false when the run ends. */
  *#send(): Task<boolean> {
    const { driver, zones, costs } = this.#context;
    const { action, wait } = this.#options;
    const busyWait = wait === "busy";
    const headBytes = driver.bytesOf([]);
    let sent = true;
    if (this.#blocks.count > 0) {
      // The header comes in a buffer of its own.
      const ranges = rangesOf(driver, this.#blocks, this.#options, costs);
      sent = yield* driver.send(action, ranges, this.#bufferBytes + headBytes, { busyWait });
    } else if (headBytes > 0) {
      // DONE with nothing besides. A format without a header cannot say it.
      const posted = yield* driver.post(action, [], { busyWait });
      sent = posted !== undefined;
      if (posted !== undefined) yield* driver.wait(posted);
    }
    giveBack(driver, zones, this.#blocks, this.#options);
    this.#blocks.clear();
    this.#bytes = 0;
    yield driver.commit();
    return sent;
  }

  /** The buffer as the answer before left it; the probe's again when it cannot be had. */
  #takeBuffer(): void {
    if (this.#bufferBytes > BUFFER_START_BYTES && !this.#allocate(this.#bufferBytes)) {
      this.#bufferBytes = BUFFER_START_BYTES;
    }
    this.#context.driver.metadata(this.#bufferBytes);
  }

  /** Doubles the buffer (`kmalloc`); false when that fails or the limit is reached. */
  #growBuffer(): boolean {
    const bytes = Math.min(this.#bufferBytes * 2, this.#options.bufferMax);
    if (bytes === this.#bufferBytes || !this.#allocate(bytes)) return false;
    this.#bufferBytes = bytes;
    this.#context.driver.metadata(bytes);
    return true;
  }

  /** Real pages for a buffer, before the old one is freed. More than the largest block cannot be had. */
  #allocate(bytes: number): boolean {
    const { driver } = this.#context;
    let order = sizeOrder(bytes / PAGE_SIZE, ORDER_MAX);
    if (ORDER_PAGES[order] * PAGE_SIZE < bytes) order++;
    const pfn = order > ORDER_MAX ? -1 : driver.allocate(order, UNMOVABLE);
    if (pfn < 0) return false;
    this.#freeBuffer();
    this.#buffer = { zone: driver.takenZone, pfn, order };
    return true;
  }

  #freeBuffer(): void {
    if (this.#buffer === undefined) return;
    const { zone, pfn, order } = this.#buffer;
    this.#context.driver.free(zone, pfn, order);
    this.#buffer = undefined;
  }
}

/** The plug-in. */
export const spillBatch: PolicyPlugin = policyPlugin({
  name: "spill-batch",
  summary: "on a host request one buffer across orders and zones, sent whenever the next list does not fit",
  source: "Liang Li, virtio-balloon v6, 21 Dec 2016",
  options,
  needs: ["requests", "lists"],
  create: (context, settings) => new SpillBatch(context, settings),
});
